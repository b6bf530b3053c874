"""The verdicts of fits of which it is known what they should be.

python benchmarks/verdicts.py [CLEAN] [FOLDER]   # clean mocks, default 100; folder of the data

Draws are by importance sampling, or by NUTS where those are not reliable.  `FOLDER` holds the real
maps and the disc mock; without it only mocks of this package are judged.
"""

import collections
import sys
from pathlib import Path

import astropy.units as u
import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import torusimaging as oti  # noqa: E402

BINS = {"pos": np.linspace(-1.2, 1.2, 61) * u.kpc, "vel": np.linspace(-70, 70, 61) * u.km / u.s}
KMS = (1 * u.km / u.s).to_value(u.kpc / u.Myr)
CIRCULAR = 229 * u.km / u.s


def fitted(binned: dict, frame=None, **options):
    """The fit with draws that can be relied on."""
    fit = oti.fit_map(binned, frame, **options)
    quick = fit.laplace()
    return quick if quick.state.reliable else fit.sample()


def mock(seed: int, stars: int = 100_000):
    """A clean survey's map."""
    survey = oti.mock.draw_stars(stars, seed=seed, selection="survey")
    return binned_of(survey.pos, survey.vel, survey)


def binned_of(pos, vel, survey):
    """The map of stars at other places than the survey's own."""
    return oti.data.get_binned_label(pos, vel, survey.label, BINS, label_err=survey.label_err)


def spiral(seed: int, kick: float = 8.0, time: float = 400.0, stars: int = 100_000):
    """A survey that was kicked in v_z (km/s) and has wound up since (Myr): a phase spiral."""
    survey = oti.mock.draw_stars(stars, seed=seed)
    z, v = survey.pos.to_value(u.kpc), survey.vel.to_value(u.kpc / u.Myr) + kick * KMS
    grid = np.linspace(-6, 6, 4001)
    pull = survey.potential.acceleration(grid)
    step = 0.5
    v = v + step / 2 * np.interp(z, grid, pull)
    for _ in range(int(time / step)):
        z = z + step * v
        v = v + step * np.interp(z, grid, pull)
    v = v - step / 2 * np.interp(z, grid, pull)
    return binned_of(z * u.kpc, v * u.kpc / u.Myr, survey)


def lopsided(seed: int):
    """A clean survey's stars on one side of the plane alone."""
    binned = mock(seed)
    up = binned["pos"] > 0 * u.kpc
    return {k: binned[k][up] for k in ("pos", "vel", "label", "label_err", "counts")}


def giants(folder: Path):
    """Seismic giants, nearly all above the plane."""
    rows = np.genfromtxt(folder / "stars_seismic_giants.csv", delimiter=",", names=True, dtype=None)
    bins = {"pos": np.linspace(-1.2, 1.2, 25) * u.kpc, "vel": np.linspace(-60, 60, 25) * u.km / u.s}
    z, v = rows["z_kpc"] * u.kpc, rows["vz_kms"] * u.km / u.s
    return oti.data.get_binned_label(z, v, rows["alpha"], bins, label_err=rows["alpha_err"])


def disc(folder: Path, label: str):
    """The disc mock's map with the stars' guiding radii."""
    stars = np.load(folder / "mock_disk_mw2022.npz")
    x, v = stars["pos_kpc"], stars["vel_kpc_per_myr"]
    R_g = np.abs(x[:, 0] * v[:, 1] - x[:, 1] * v[:, 0]) * u.kpc**2 / u.Myr / CIRCULAR
    error = stars[f"{label}_err"]
    z, v_z = x[:, 2] * u.kpc, v[:, 2] * u.kpc / u.Myr
    return oti.data.get_binned_label(z, v_z, stars[label], BINS, label_err=error, R_g=R_g.to(u.kpc))


def second(folder: Path):
    """The second real map with the intrinsic scatter in its errors."""
    return oti.data.read_map(folder / "apogee_dr17_solar_binned.csv", scatter=0.05)


def show(name: str, fit) -> None:
    """One line a fit: the verdict and its reasons, shortened."""
    verdict = fit.verdict
    print(f"{name:<44}{verdict.word}", flush=True)
    for finding in verdict.findings[:3]:
        print(f"    {finding.text[:150]}")


def main(clean: int = 100, folder: str | None = None) -> None:
    """Print the verdicts."""
    for kick in (2.0, 4.0, 8.0):
        show(f"phase spiral, kick of {kick:g} km/s", fitted(spiral(1, kick)))
    show("one side of the plane", fitted(lopsided(2)))
    if folder is not None:
        data = Path(folder)
        first = oti.data.read_map(data / "apogee_dr17_solar_88k_binned.csv")
        show("real map 1", fitted(first))
        show("real map 1, two sides", fitted(first, asymmetric=True))
        show("real map 1, spline model", fitted(first, model="spline"))
        show("real map 2", fitted(second(data)))
        show("seismic giants, one side", fitted(giants(data)))
        show("disc mock, [Mg/Fe]", fitted(disc(data, "mg_fe")))
        show("disc mock, [Fe/H]", fitted(disc(data, "fe_h")))
        show("disc mock, [Fe/H], detrended", fitted(disc(data, "fe_h"), detrend="R_g"))
    words = collections.Counter()
    for seed in range(clean):
        fit = fitted(mock(1000 + seed))
        words[fit.verdict.word] += 1
        if fit.verdict.level:
            show(f"clean mock {seed}", fit)
    print(f"{clean} clean mocks: {dict(words)}")


if __name__ == "__main__":
    main(*(int(x) for x in sys.argv[1:2]), *sys.argv[2:3])
