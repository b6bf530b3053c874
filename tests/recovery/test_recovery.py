"""Fits of the spline model to exact mocks and the real map against what is known of them."""

import astropy.units as u
import numpy as np
import pytest

import torusimaging as oti

BINS = {"pos": np.linspace(-1.2, 1.2, 81) * u.kpc, "vel": np.linspace(-70, 70, 81) * u.km / u.s}
TUTORIAL = {
    "model": "spline",
    "label_knots": 4,
    "e_knots": {2: 8, 4: 4},
    "e_knots_spacing_power": 0.5,
}
ACCELERATION = u.km / u.s / u.Myr


def fit_mock(n: int, seed: int, sun=None):
    survey = oti.mock.draw_stars(n, seed=seed, selection="survey", sun=sun)
    binned = oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, BINS, label_err=survey.label_err
    )
    return survey, binned, oti.fit_map(binned, model="spline")


def acceleration_pulls(survey, fit, height):
    """Relative error and error over sd of a_z at heights (kpc) above the midplane."""
    truth = survey.potential.acceleration(height)

    def at(params):
        z = (height + float(params["pos0"])) * u.kpc
        return fit.model.get_acceleration(z, params).to_value(u.kpc / u.Myr**2)

    draws = fit.model.get_crlb_error_samples(fit.params, fit.data, size=100, seed=0)
    sd = np.std([at(p) for p in draws], axis=0)
    error = at(fit.params) - truth
    return error / truth, error / sd


def test_a_million_stars():
    survey, binned, fit = fit_mock(1_000_000, 1, (0.02 * u.kpc, -0.5 * u.km / u.s))
    assert abs(binned["s"] - 0.06) < 0.001
    relative, pulls = acceleration_pulls(survey, fit, np.linspace(0.22, 0.98, 20))
    assert np.max(np.abs(relative)) < 0.04
    assert np.max(np.abs(pulls)) < 2
    sd = fit.model.get_crlb_uncertainties(fit.params, fit.data)
    assert abs(fit.params["pos0"] - 0.02) < 3 * sd["pos0"]
    assert abs(fit.params["vel0"] * 977.79222 + 0.5) < 3 * sd["vel0"] * 977.79222
    few = slice(0, 20_000)
    table = fit.model.compute_action_angle(survey.pos[few], survey.vel[few], fit.params)
    good = np.isfinite(table["J"])
    assert abs(np.median(table["J"][good] / survey.J[few][good]) - 1) < 0.02


def harmonic_map(side: int, seed: int | None = None) -> dict:
    """Pixels of a harmonic field of 0.08 rad/Myr, label linear in r, with 1e5 stars' errors.

    Without a seed the labels have no noise.
    """
    z, v = (
        g.ravel() for g in np.meshgrid(np.linspace(-1.7, 1.7, side), np.linspace(-135, 135, side))
    )
    vel = v / 977.7922216807892
    r = np.sqrt(z**2 * 0.08 + vel**2 / 0.08)
    number = 1e5 * np.exp(-0.5 * 0.08 * r**2 / (50 / 977.7922216807892) ** 2)
    err = 0.06 / np.sqrt(np.maximum(number * (3.4 * 270) / (side**2 * 2 * np.pi * 0.64 * 50), 0.5))
    noise = 0.0 if seed is None else np.random.default_rng(seed).normal(0, err)
    return {
        "pos": z * u.kpc,
        "vel": v * u.km / u.s,
        "label": 0.1 + 0.5 * r + noise,
        "label_err": err,
    }


def test_a_harmonic_field_has_circles():
    """Orbits of an oscillator: slopes that cannot vanish put Omega0 4 to 6 % too high."""
    exact = harmonic_map(32)
    fit = oti.fit_map(exact, model="spline")
    assert abs(np.exp(fit.params["ln_Omega0"]) / 0.08 - 1) < 0.005
    rigid = oti.fit_map(exact, model="spline", amplitude_sigma=None)
    assert np.exp(rigid.params["ln_Omega0"]) / 0.08 - 1 > 0.03
    pulls = []
    for seed in range(6):
        data = harmonic_map(32, seed)
        params = fit.model.optimize(fit.start, bounds=fit.bounds, **data).params
        sd = float(fit.model.get_crlb_uncertainties(params, data)["ln_Omega0"])
        assert sd < 0.02
        pulls.append((float(params["ln_Omega0"]) - np.log(0.08)) / sd)
    # Six independent normal numbers: the mean within 3 / sqrt(6), each within 3.
    assert abs(np.mean(pulls)) < 1.2 and np.max(np.abs(pulls)) < 3


def test_the_prior_does_not_drag_small_samples():
    """Mean error of six surveys of 2e5 stars: a drag of one sd of a fit would be 2.4 of its own."""
    height = np.array([0.25, 0.5, 0.75])
    pulls = [
        acceleration_pulls(survey, fit, height)[1]
        for survey, _, fit in (fit_mock(200_000, seed) for seed in range(6))
    ]
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 2 / np.sqrt(6))


def read_real(shared_data):
    return oti.data.read_map(shared_data / "apogee_dr17_solar_88k_binned.csv")


def test_real_map(shared_data):
    """The published fit's midplane, 40.4 pc and 0.3 km/s, and a plausible disc."""
    fit = oti.fit_map(read_real(shared_data), **TUTORIAL)
    assert fit.optimizer.iter_num <= 40
    assert abs(fit.params["pos0"] * 1e3 - 40.4) < 5
    assert abs(fit.params["vel0"] * 977.79222 - 0.3) < 0.6
    assert 0.5 < fit.chi2_per_pixel < 1.5
    a = fit.model.get_acceleration(1 * u.kpc, fit.params).to_value(ACCELERATION)
    assert -2.7 < a < -1.8


def test_real_map_is_the_same_in_any_unit(shared_data):
    binned = read_real(shared_data)
    fits = [
        oti.fit_map(binned | {"pos": binned["pos"].to(p), "vel": binned["vel"].to(v)}, **TUTORIAL)
        for p, v in ((u.kpc, u.km / u.s), (u.kpc, u.kpc / u.Myr), (u.pc, u.m / u.s))
    ]
    z = np.array([-0.8, 0.3, 1.0]) * u.kpc
    one, *others = (f.model.get_acceleration(z, f.params).value for f in fits)
    for other in others:
        np.testing.assert_allclose(other, one, rtol=1e-10)


def test_optimum_is_at_least_as_good_as_a_first_order_one():
    """L-BFGS-B on the same objective, run to convergence, finds nothing lower."""
    import jax
    from scipy.optimize import minimize

    from torusimaging.inference.problem import minus_ln_posterior

    fit = fit_mock(50_000, 3)[2]
    start = fit.problem.free(fit.start)
    function = jax.jit(jax.value_and_grad(lambda z: minus_ln_posterior(z, fit.problem)))
    other = minimize(
        lambda z: tuple(np.asarray(x, float) for x in function(z)),
        np.asarray(start),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-15, "gtol": 1e-8},
    )
    assert fit.optimizer.value <= other.fun + 1e-6


def test_price_whelan_prior_can_be_chosen():
    _, binned, default = fit_mock(50_000, 4)
    fit = oti.fit_map(binned, model="spline", prior="price-whelan25")
    assert fit.optimizer.success and fit.model.prior == "price-whelan25"
    # The same data, another prior: the midplane is where it was, the orbits are not.
    assert abs(fit.params["pos0"] - default.params["pos0"]) < 0.005
    assert fit.params["ln_Omega0"] != pytest.approx(default.params["ln_Omega0"], abs=1e-4)
