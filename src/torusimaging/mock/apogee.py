"""A survey mock in the two FITS files of APOGEE DR17 x Gaia DR3, with the fate of every star known.

The stars' heights, vertical velocities and labels are those of an exact steady state, as
`draw_stars` has them; radii, azimuths and in-plane velocities are those of a disc.  Each star has
at most one fault, so that the number each cut must remove does not depend on the cuts' order.  The
sky coordinates come from Astropy's own transformation.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import astropy.units as u
import numpy as np

from ..files.paths import as_path
from .apogee_files import ALLSTAR_FILE, GAIA_FILE, split_rows, write_allstar, write_gaia
from .potential1d import Potential1D
from .survey import MockSurvey, checked_count, draw_stars, streams, tanh_label

KMS = u.km / u.s
R0, Z_SUN, V_SUN = 8.3 * u.kpc, 20.8 * u.pc, (12.9, 245.6, 7.78) * KMS
V_CIRC = 229.0  # km/s, flat: the guiding radius of the published tutorial
# The bits that the published tutorial cuts, by number.
BITS: Mapping[str, tuple[int, ...]] = {
    "ASPCAPFLAG": (7, 23),
    "STARFLAG": (9, 18, 16, 17, 23),
    "APOGEE_TARGET1": (9, 18, 24, 26),
    "APOGEE_TARGET2": (10, 18),
    "APOGEE2_TARGET1": (9, 18, 20, 21, 22, 23, 24, 26),
    "APOGEE2_TARGET2": (10,),
    "APOGEE2_TARGET3": (5, 14, 15),
}
HIGHEST = {"ASPCAPFLAG": 41, "STARFLAG": 25, "APOGEE_TARGET1": 30, "APOGEE_TARGET2": 22}
CLUSTERS = 62  # bits of MEMBERFLAG
SCATTER = 0.06  # of the label, intrinsic
# Parameters of the spectrum: their range, and their error at a signal to noise of 100.
PARAMETERS = {"TEFF": (3800.0, 5300.0, 40.0), "LOGG": (1.0, 3.6, 0.05)}
FE_H = (-0.15, 0.25, 0.012)  # mean, spread and that error
FAULTS = ("parallax", "velocity", "proper motion", "label", "R", "y", "dR", "vR")


@dataclass(frozen=True)
class MockApogee:
    """The two files of a mock survey and what must come out of them.

    Attributes
    ----------
    allstar, gaia : the files
    rows : number of rows of each file ("allstar", "gaia"), of their join ("joined") and of
        sources ("unique")
    removed : number of stars with each fault: (flag, bit) for the tutorial's bits,
        ("MEMBERFLAG", "any"), and "parallax", "velocity", "proper motion", "label", "R", "y",
        "dR", "vR"
    source_id : Gaia's numbers of the stars without a fault, increasing
    z, v_z, label : their true height, vertical velocity and observed label, in the same order
    pos0, vel0 : the midplane's place in the frame
    potential : the true vertical potential
    """

    allstar: Path
    gaia: Path
    rows: Mapping[str, int]
    removed: Mapping[tuple[str, int | str] | str, int]
    source_id: np.ndarray
    z: u.Quantity
    v_z: u.Quantity
    label: np.ndarray
    pos0: u.Quantity
    vel0: u.Quantity
    potential: Potential1D

    @property
    def files(self) -> list[Path]:
        return [self.allstar, self.gaia]


def write_apogee(
    folder: str | os.PathLike,
    n: int = 20_000,
    seed: int = 0,
    *,
    contamination: float = 0.3,
    potential: Potential1D | None = None,
    sun: tuple[u.Quantity, u.Quantity] = (0.02 * u.kpc, -0.5 * KMS),
) -> MockApogee:
    """Write a mock of the two files that the published tutorial joins.

    Parameters
    ----------
    folder : where to write, an existing folder
    n : number of different stars that both files hold, at least 100
    seed : seed of all random numbers
    contamination : the fraction of stars with a fault, 0 to 1
    potential, sun : the true potential and the midplane's place, as in `draw_stars`

    The files have the survey's column names and types, among them vectors and text that no cut
    needs; stars observed twice (their second spectrum has its own noise and, mostly, half the SNR
    and twice the errors), stars in only one of the files, and harmless flags.  Every value is a
    true one with noise of its stated error.  The same arguments give the same bytes.

    Raises ``ValueError`` for a small n or a contamination outside [0, 1], and ``OSError`` where
    the folder cannot be written.
    """
    n = checked_count(n)
    if n < 100:
        raise ValueError(f"n must be at least 100 stars, but {n} was given.")
    if not isinstance(contamination, Real) or not 0 <= contamination <= 1:
        raise ValueError(f"contamination must lie between 0 and 1, not {contamination!r}.")
    folder = as_path(folder, "folder", "be a path")
    first, *others = streams(seed, "apogee").spawn(6)
    fate_rng, rng, sky_rng, row_rng, file_rng = (np.random.default_rng(s) for s in others)
    star_seed = int(first.generate_state(1, np.uint64)[0])
    survey = draw_stars(n, potential, star_seed, "survey", sun=sun, label_scatter=SCATTER)
    fates = _fates(fate_rng, n, contamination)
    spectra = _Spectra.draw(rng, survey)
    columns = _columns(rng, spectra, survey, fates)
    _observe(sky_rng, columns, survey, fates)
    allstar, gaia, rows = split_rows(
        row_rng, columns, lambda *a: _again(row_rng, spectra, columns, *a)
    )
    write_allstar(folder / ALLSTAR_FILE, allstar, file_rng)
    write_gaia(folder / GAIA_FILE, gaia, file_rng)
    good = np.array([fate is None for fate in fates])
    order = np.argsort(columns["source_id"][good])
    return MockApogee(
        allstar=folder / ALLSTAR_FILE,
        gaia=folder / GAIA_FILE,
        rows=rows,
        removed={k: sum(fate == k for fate in fates) for k in _kinds()},
        source_id=columns["source_id"][good][order],
        z=survey.pos[good][order],
        v_z=survey.vel[good][order].to(KMS),
        label=columns["MG_FE"][good][order],
        pos0=survey.pos0,
        vel0=survey.vel0,
        potential=survey.potential,
    )


def _kinds() -> list:
    bits = [(flag, number) for flag, numbers in BITS.items() for number in numbers]
    return [*bits, ("MEMBERFLAG", "any"), *FAULTS]


def _fates(rng: np.random.Generator, n: int, contamination: float) -> list:
    """The fault of each star, or None."""
    kinds = _kinds()
    which = rng.integers(len(kinds), size=n)
    faulty = rng.random(n) < contamination
    return [kinds[k] if bad else None for k, bad in zip(which, faulty, strict=True)]


def _has(fates: list, fault: object) -> np.ndarray:
    return np.array([fate == fault for fate in fates])


@dataclass(frozen=True)
class _Spectra:
    """What spectra measure: true values and errors of each star, by column, shape (n_stars,)."""

    true: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    snr: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, survey: MockSurvey) -> "_Spectra":
        n = len(survey)
        snr = rng.lognormal(4.8, 0.5, n)
        true = {k: rng.uniform(low, high, n) for k, (low, high, _) in PARAMETERS.items()}
        errors = {k: error * 100 / snr for k, (*_, error) in PARAMETERS.items()}
        mean, spread, error = FE_H
        true["FE_H"], errors["FE_H"] = rng.normal(mean, spread, n), error * 100 / snr
        true["MG_FE"], errors["MG_FE"] = _true_label(rng, survey), survey.label_err
        return cls(true, errors, snr)

    def observe(self, rng: np.random.Generator, rows, factor: float) -> dict[str, np.ndarray]:
        """Another spectrum of the stars `rows`, with `factor` times the errors."""
        out = {"SNR": self.snr[rows] / factor}
        for name, true in self.true.items():
            error = factor * self.errors[name][rows]
            out[name] = true[rows] + error * rng.standard_normal(error.size)
            out[f"{name}_ERR"] = error
        return {name: values.astype("f4") for name, values in out.items()}


def _true_label(rng: np.random.Generator, survey: MockSurvey) -> np.ndarray:
    """Labels without measurement errors, drawn from what the observed ones leave possible."""
    mean = tanh_label(survey.J.to_value(u.kpc**2 / u.Myr))
    weight = SCATTER**2 / (SCATTER**2 + survey.label_err**2)
    spread = np.sqrt(weight) * survey.label_err
    return mean + weight * (survey.label - mean) + spread * rng.standard_normal(len(survey))


def _again(
    rng: np.random.Generator, spectra: _Spectra, columns: dict, rows: np.ndarray, factor: float
) -> dict[str, np.ndarray]:
    """The second observation of stars: what the first lacks, it lacks too; no fate changes."""
    first = {name: values[rows] for name, values in columns.items()}
    out = spectra.observe(rng, rows, factor)
    for name in ("MG_FE", "MG_FE_ERR"):
        out[name] = np.where(np.isfinite(first[name]), out[name], first[name])
    velocity, error = first["radial_velocity"], factor * first["radial_velocity_error"]
    # From one noisy velocity to another of the same star.
    noise = rng.normal(0, np.hypot(error, first["radial_velocity_error"]))
    moved = (velocity + noise).astype("f4").astype(float)
    same = np.all(_inside(first | {"radial_velocity": moved}) == _inside(first), axis=0)
    known = np.isfinite(velocity) & (velocity != -9999)
    out["radial_velocity"] = np.where(known & same, moved, velocity)
    out["radial_velocity_error"] = error
    return out


def _columns(
    rng: np.random.Generator, spectra: _Spectra, survey: MockSurvey, fates: list
) -> dict[str, np.ndarray]:
    """Names, flags, labels and stellar parameters, one row for each star."""
    n = len(fates)
    out = {
        "source_id": rng.permutation(np.arange(n)) * 7919 + 4_000_000_000_000_000_000,
        **spectra.observe(rng, slice(None), 1.0),
    }
    # The first observation of the label is the one that comes with the star.
    out["MG_FE"] = survey.label.astype("f4")
    for flag, numbers in BITS.items():
        free = [b for b in range(HIGHEST.get(flag, 30) + 1) if b not in numbers]
        harmless = np.where(rng.random(n) < 0.1, 1 << rng.choice(free, n), 0)
        fault = np.array([1 << fate[1] if fate and fate[0] == flag else 0 for fate in fates])
        out[flag] = harmless | fault
    member = _has(fates, ("MEMBERFLAG", "any"))
    out["MEMBERFLAG"] = np.where(member, 1 << rng.integers(0, CLUSTERS, n), 0)
    no_label = _has(fates, "label")
    out["MG_FE"][no_label] = np.nan
    out["MG_FE_ERR"][no_label] = np.nan
    return out


def _observe(rng: np.random.Generator, columns: dict, survey, fates: list) -> None:
    """Add what Gaia and the spectrograph measure, with errors that change no star's fate."""
    true = _sky(_disc(rng, survey, fates))
    n = len(fates)
    faint = rng.random(n)
    scale = 0.015 * 10 ** (0.5 * faint)
    errors = {
        "parallax": scale,
        "pmra": scale * rng.uniform(0.8, 1.2, n),
        "pmdec": scale * rng.uniform(0.8, 1.2, n),
        "radial_velocity": 0.05 * 10**faint,
    }
    rho = rng.uniform(-0.4, 0.4, n)
    noise = rng.standard_normal((4, n))
    noise[1] = rho * noise[0] + np.sqrt(1 - rho**2) * noise[1]
    noisy = dict(true)
    for row, (name, sigma) in zip(noise, errors.items(), strict=True):
        noisy[name] = true[name] + row * sigma
    exact = dict(true) | {"radial_velocity": true["radial_velocity"].astype("f4").astype(float)}
    noisy["radial_velocity"] = noisy["radial_velocity"].astype("f4").astype(float)
    safe = np.all(_inside(noisy) == _inside(exact), axis=0)
    for name, sigma in errors.items():
        columns[name] = np.where(safe, noisy[name], exact[name])
        columns[f"{name}_error"] = sigma
    columns |= {"ra": true["ra"], "dec": true["dec"], "parallax_pmra_corr": rho}
    columns |= {"ra_error": 0.7 * scale, "dec_error": 0.7 * scale}
    missing, odd = _has(fates, "velocity"), rng.random(n) < 0.5
    columns["radial_velocity"][missing] = np.where(odd, np.nan, -9999.0)[missing]
    columns["pmra"][_has(fates, "proper motion")] = np.nan
    bad = _has(fates, "parallax")
    columns["parallax"][bad] = np.where(odd, np.nan, -0.1 * (1 + faint))[bad]


def _disc(rng: np.random.Generator, survey, fates: list) -> dict[str, np.ndarray]:
    """Places (kpc) and velocities (km/s) of disc stars, far from every cut's edge."""
    n = len(fates)
    sign = np.where(rng.random(n) < 0.5, -1, 1)
    R = rng.uniform(7.4, 9.2, n)
    R = np.where(_has(fates, "R"), 8.3 + sign * rng.uniform(1.1, 1.7, n), R)
    y = rng.uniform(-0.9, 0.9, n)
    y = np.where(_has(fates, "y"), sign * rng.uniform(1.1, 1.6, n), y)
    lag = np.clip(rng.normal(0, 0.4, n), -1.3, 1.3)
    lag = np.where(_has(fates, "dR"), sign * rng.uniform(1.7, 2.5, n), lag)
    v_R = np.clip(rng.normal(0, 12, n), -23, 23)
    v_R = np.where(_has(fates, "vR"), sign * rng.uniform(27, 60, n), v_R)
    x, v_phi = -np.sqrt(R**2 - y**2), -V_CIRC * (R - lag) / R
    return {
        "x": x,
        "y": y,
        "z": survey.pos.to_value(u.kpc),
        "v_x": (x * v_R - y * v_phi) / R,
        "v_y": (y * v_R + x * v_phi) / R,
        "v_z": survey.vel.to_value(KMS),
    }


def _frame():
    """The tutorial's frame, by Astropy alone."""
    import astropy.coordinates as coord

    with coord.galactocentric_frame_defaults.set("v4.0"):
        return coord.Galactocentric(galcen_distance=R0, z_sun=Z_SUN, galcen_v_sun=V_SUN)


def _sky(stars: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ICRS coordinates in the catalogue's units, by Astropy."""
    import astropy.coordinates as coord

    place = coord.CartesianRepresentation(*(stars[k] for k in "xyz"), unit=u.kpc)
    speed = coord.CartesianDifferential(*(stars[f"v_{k}"] for k in "xyz"), unit=KMS)
    icrs = _frame().realize_frame(place.with_differentials(speed)).transform_to(coord.ICRS())
    return {
        "ra": icrs.ra.to_value(u.deg),
        "dec": icrs.dec.to_value(u.deg),
        "parallax": 1 / icrs.distance.to_value(u.kpc),
        "pmra": icrs.pm_ra_cosdec.to_value(u.mas / u.yr),
        "pmdec": icrs.pm_dec.to_value(u.mas / u.yr),
        "radial_velocity": icrs.radial_velocity.to_value(KMS),
    }


def _inside(sky: dict[str, np.ndarray]) -> np.ndarray:
    """Whether stars pass the tutorial's cuts on R, y, R - R_g and v_R, by Astropy, shape (4, n)."""
    import astropy.coordinates as coord

    stars = coord.ICRS(
        ra=sky["ra"] * u.deg,
        dec=sky["dec"] * u.deg,
        distance=u.kpc / np.maximum(sky["parallax"], 1e-3),
        pm_ra_cosdec=sky["pmra"] * u.mas / u.yr,
        pm_dec=sky["pmdec"] * u.mas / u.yr,
        radial_velocity=sky["radial_velocity"] * KMS,
    ).transform_to(_frame())
    x, y, _ = stars.cartesian.xyz.to_value(u.kpc)
    v_x, v_y, _ = stars.velocity.d_xyz.to_value(KMS)
    R = np.hypot(x, y)
    R_g = np.abs(x * v_y - y * v_x) / V_CIRC
    return np.stack(
        [
            np.abs(R - R0.value) < 1,
            np.abs(y) < 1,
            np.abs(R - R_g) < 1.5,
            np.abs((x * v_x + y * v_y) / R) < 25,
        ]
    )
