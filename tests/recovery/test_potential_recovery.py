"""Fits of the potential model to exact fields, a full disc and real maps."""

import importlib.util
import pathlib
import sys

import astropy.units as u
import numpy as np
import pytest
from scipy.stats import chi2

import torusimaging as oti

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"
BINS = {"pos": np.linspace(-1.2, 1.2, 81) * u.kpc, "vel": np.linspace(-70, 70, 81) * u.km / u.s}
FIELDS = {
    "thin + thick + halo": oti.mock.solar_potential(),
    "one sech^2": oti.mock.Potential1D([(0.08e9, 0.25)]),
    "harmonic": oti.mock.Potential1D([], 0.04e9),
}
LEVELS = ("p16", "p84", "p2_5", "p97_5")
# gala 1.11's a_z of MilkyWayPotential2022 at R = 8.21 kpc, in km/s/Myr.
DISC_HEIGHT = np.array([0.2, 0.4, 0.6, 0.9])
DISC_TRUTH = np.array([-1.05002922, -1.42514028, -1.61340319, -1.81008463])


def mock_map(stars, field, seed):
    survey = oti.mock.draw_stars(
        stars, field, seed=seed, selection="survey", midplane=(0.02 * u.kpc, -0.5 * u.km / u.s)
    )
    return survey, oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, BINS, label_err=survey.label_err
    )


def exact_map(field, stars):
    """The map that infinitely many stars would give, with the errors that `stars` leave."""
    spec = importlib.util.spec_from_file_location("bias", BENCHMARKS / "bias.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module.exact_map(field, stars)


@pytest.mark.parametrize("name", FIELDS)
def test_a_million_stars_on_average(name):
    """Exact labels with the errors of 1e6 stars: a_z within 3 %, 2 sd, rho within 2 sd.

    What is left is the model's and the prior's own error, so this is a statement on the mean of
    all surveys, which no choice of a survey can flatter.
    """
    field, height = FIELDS[name], np.linspace(0.16, 0.98, 10)
    fit = oti.fit_map(exact_map(field, 1e6)).laplace()
    assert fit.state.reliable
    table = oti.profiles(fit, height * u.kpc, literature=False)
    truths = {"a_z": field.acceleration(height), "rho": field.density(height)}
    units = {"a_z": u.kpc / u.Myr**2, "rho": u.Msun / u.kpc**3}
    for column, truth in truths.items():
        low, middle, high = (
            table[f"{column}_{k}"].to_value(units[column]) for k in ("p16", "median", "p84")
        )
        assert np.max(np.abs(2 * (middle - truth) / (high - low))) < 2
        if column == "a_z":
            assert np.max(np.abs(middle / truth - 1)) < 0.03


@pytest.mark.parametrize("name", FIELDS)
def test_a_million_stars(name):
    """The first three surveys: chi^2 of a_z at four heights with the posteriors' covariances."""
    field, height = FIELDS[name], np.array([0.2, 0.4, 0.6, 0.9])
    total = 0.0
    for seed in (2, 1, 0):
        survey, binned = mock_map(1_000_000, field, seed)
        fit = oti.fit_map(binned)
        a = [
            fit.model.get_acceleration((height + float(p["pos0"])) * u.kpc, p).value
            for p in fit.laplace().draws(400)
        ]
        error = np.mean(a, axis=0) - field.acceleration(height)
        total += error @ np.linalg.solve(np.cov(a, rowvar=False), error)
    assert chi2(12).sf(total) > 0.01
    assert abs(fit.params["pos0"] - 0.02) < 0.002
    few = slice(0, 20_000)
    stars = fit.model.compute_action_angle(survey.pos[few], survey.vel[few], fit.params)
    good = stars["flag"] == 0
    assert abs(np.median(stars["J"][good] / survey.J[few][good]) - 1) < 0.02


def well_sized(pulls: np.ndarray) -> bool:
    """Whether errors are neither twice too small nor twice too large, by their mean square pull.

    Of 16 surveys at three heights, whose pulls have a correlation of about a half, the mean square
    is that of some 24 independent ones: within 0.4 to 1.9 but for a hundredth, and with intervals
    half as wide above 1.9, with intervals twice as wide below 0.4, but for a few hundredths.
    """
    return 0.4 < np.mean(pulls**2) < 1.9


def test_intervals_cover_the_truth():
    """Sixteen surveys of 5e4 stars: intervals half, or twice, as wide would not pass."""
    field, height = FIELDS["thin + thick + halo"], np.array([0.25, 0.5, 1.0])
    truth = field.acceleration(height)
    pulls, inside = [], []
    for seed in range(16):
        fit = oti.fit_map(mock_map(50_000, field, 500 + seed)[1]).laplace(seed=seed)
        table = oti.profiles(fit, height * u.kpc, literature=False)
        low, high, lowest, highest = (table[f"a_z_{k}"].to_value(u.kpc / u.Myr**2) for k in LEVELS)
        middle = table["a_z_median"].to_value(u.kpc / u.Myr**2)
        pulls.append((middle - truth) / np.where(middle < truth, high - middle, middle - low))
        inside.append([(low < truth) & (truth < high), (lowest < truth) & (truth < highest)])
    pulls = np.array(pulls)
    assert well_sized(pulls)
    assert not well_sized(2 * pulls) and not well_sized(pulls / 2)
    # Where the median is on the far side, its own half of the interval is what must hold the truth.
    narrow, wide = np.mean(inside, axis=(0, 2))
    assert 0.5 < narrow < 0.88 and wide > 0.85


def test_full_disc_mock(shared_data):
    """A quasi-isothermal disc in MilkyWayPotential2022, with Agama's actions.

    a_z at four heights is consistent with the truth (chi^2 with the posterior's covariance,
    p > 0.01), and J, Omega and theta are no worse than the spline model's.
    """
    stars = np.load(shared_data / "mock_disk_mw2022.npz")
    pos = stars["pos_kpc"][:, 2] * u.kpc
    vel = stars["vel_kpc_per_myr"][:, 2] * u.kpc / u.Myr
    binned = oti.data.get_binned_label(pos, vel, stars["mg_fe"], BINS, label_err=stars["mg_fe_err"])
    found = {}
    for name in ("potential", "spline"):
        fit = oti.fit_map(binned, model=name)
        table = fit.model.compute_action_angle(pos, vel, fit.params)
        good = table["flag"] == 0
        assert good.mean() > 0.9
        J = table["J"].value[good] / stars["action_R_z_phi"][good, 1]
        omega = table["Omega"].value[good] / stars["frequency_R_z_phi"][good, 1]
        off = table["theta"].value[good] - stars["angle_R_z_phi"][good, 1]
        off = (off + np.pi) % (2 * np.pi) - np.pi
        found[name] = [_spread(x) for x in (J, omega, off)]
        if name == "potential":
            draws = fit.laplace().draws(400)
            a = [
                fit.model.get_acceleration((DISC_HEIGHT + float(p["pos0"])) * u.kpc, p).to_value(
                    u.km / u.s / u.Myr
                )
                for p in draws
            ]
            error = np.mean(a, axis=0) - DISC_TRUTH
            distance = error @ np.linalg.solve(np.cov(a, rowvar=False), error)
            assert chi2(4).sf(distance) > 0.01
            assert abs(np.median(J) - 1) < 0.03
            assert abs(np.median(omega) - 1) < 0.05
            assert abs(np.median(off)) < 0.01
    for ours, theirs in zip(*found.values(), strict=True):
        assert ours < 1.1 * theirs


def _spread(x) -> float:
    low, high = np.percentile(x, [16, 84])
    return (high - low) / 2


def test_real_maps(shared_data):
    """The published midplane and, on the second map, density and surface density."""
    first = oti.data.read_map(shared_data / "apogee_dr17_solar_88k_binned.csv")
    fit = oti.fit_map(first)
    assert abs(fit.params["pos0"] * 1e3 - 40.4) < 5
    assert abs(fit.params["vel0"] * 977.79222 - 0.3) < 0.6
    assert 0.5 < fit.chi2_per_pixel < 1.5
    second = oti.data.read_map(shared_data / "apogee_dr17_solar_binned.csv", scatter=0.05)
    rows = oti.fit_map(second).laplace().derived()
    rho, sigma = (row for row in rows if row["quantity"] in ("rho(0)", "Sigma(1.1 kpc)"))
    assert abs(rho["median"] - 0.081) < 3 * (rho["p84"] - rho["p16"]) / 2
    assert abs(sigma["median"] - 68.3) < 3 * (sigma["p84"] - sigma["p16"]) / 2


def test_same_fit_in_any_unit(shared_data):
    binned = oti.data.read_map(shared_data / "apogee_dr17_solar_88k_binned.csv")
    fits = [
        oti.fit_map(binned | {"pos": binned["pos"].to(p), "vel": binned["vel"].to(v)})
        for p, v in ((u.kpc, u.km / u.s), (u.pc, u.m / u.s))
    ]
    z = np.array([-0.8, 0.3, 1.0]) * u.kpc
    one, other = (f.model.get_acceleration(z, f.params).value for f in fits)
    np.testing.assert_allclose(other, one, rtol=1e-9)
