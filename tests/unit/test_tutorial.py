"""The calls of the published tutorial, from stars to actions, on a small mock."""

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.constants import G

import torusimaging as oti


class Galactic:
    """What a unit system of gala offers."""

    def __getitem__(self, name):
        return {"length": u.kpc, "time": u.Myr, "mass": u.Msun, "angle": u.rad}[name]


@pytest.fixture(scope="module")
def survey():
    return oti.mock.draw_stars(
        60_000, seed=2, selection="survey", midplane=(0.02 * u.kpc, -1 * u.km / u.s)
    )


@pytest.fixture(scope="module")
def bdata(survey):
    bins = {
        "pos": np.linspace(-1, 1, 41) * 1.2 * u.kpc,
        "vel": np.linspace(-1, 1, 41) * 70 * u.km / u.s,
    }
    return oti.data.get_binned_label(
        pos=survey.pos.astype("f8"),
        vel=survey.vel.astype("f8"),
        label=survey.label,
        label_err=survey.label_err,
        bins=bins,
        units=Galactic(),
        s_N_thresh=16,
    )


@pytest.fixture(scope="module")
def problem(bdata):
    model, bounds, init = oti.TorusImaging1DSpline.auto_init(
        bdata,
        label_knots=4,
        e_knots={2: 8, 4: 4},
        label_l2_sigma=1.0,
        label_smooth_sigma=0.5,
        e_l2_sigmas={2: 1.0, 4: 1.0},
        e_smooth_sigmas={2: 0.5, 4: 0.5},
        dacc_strength=1e2,
        e_knots_spacing_power=0.5,
    )
    for m, size in ((2, 0.1), (4, 0.01)):
        vals = init["e_params"][m]["vals"]
        init["e_params"][m]["vals"] = np.full_like(vals, np.log(size / model._label_knots.max()))
    return model, bounds, init


@pytest.fixture(scope="module")
def clean(bdata):
    good = np.isfinite(bdata["label"]) & np.isfinite(bdata["label_err"]) & (bdata["label_err"] > 0)
    return {k: bdata[k][good] for k in ("pos", "vel", "label", "label_err")}


@pytest.fixture(scope="module")
def result(problem, clean):
    model, bounds, init = problem
    return model.optimize(init, objective="gaussian", bounds=bounds, **clean)


@pytest.fixture(scope="module")
def chains(problem, bdata, result):
    model, bounds, _ = problem
    return model.mcmc_run_label(
        bdata, p0=result.params, bounds=bounds, rng_seed=42, num_warmup=200, num_steps=100
    )


def test_optimum(result):
    assert result.state.success and 0 < result.state.iter_num <= 40


def test_panels_and_splines(problem, bdata, result):
    model, _, init = problem
    fig, axes = oti.plot.plot_data_models_residual(
        bdata, model, init, vlim_residual=5, residual_normalization=bdata["label_err"]
    )
    axes[1].set_title("initial model")
    assert oti.plot.plot_data_model_residual is oti.plot.plot_data_models_residual
    oti.plot.plot_spline_functions(model, result.params)
    plt.close("all")


def test_posterior_samples(problem, chains, survey):
    model, _, _ = problem
    state, samples = chains
    best = samples[state.logdensity.argmax()]
    z = np.linspace(-1, 1, 64) * 1.2 * u.kpc
    last = samples[-128:]
    assert len(last) == 128 and len(samples) == 400
    for params in list(last)[:3] + [best]:
        a = model.get_acceleration(z, params)
        slope = model.get_acceleration_deriv(z, params)
        density = (-slope / (4 * np.pi * G)).to(u.Msun / u.pc**3)
        np.testing.assert_allclose(density, model.get_density(z, params), rtol=1e-8)
        assert a.unit.is_equivalent(u.km / u.s / u.Myr)
    pos0 = np.array([p["pos0"] for p in samples]) * 1e3
    # The Sun's place within five of its standard deviations, which are a few pc.
    assert 0.5 < np.std(pos0) < 8 and abs(np.mean(pos0) - 20) < 5 * np.std(pos0)
    table = model.compute_action_angle(survey.pos, survey.vel, params=best)
    assert set("J theta Omega T".split()) <= set(table.colnames)
    inside = table["flag"] == 0
    assert abs(np.median(table["J"][inside] / survey.J[inside]) - 1) < 0.1


def test_curvature_covariances(problem, clean, result):
    model = problem[0]
    cov = model.get_crlb(result.params, clean)
    fisher = model.get_crlb(result.params, clean, inv=True)
    np.testing.assert_allclose(cov @ fisher, np.eye(len(cov)), atol=1e-5)
    sd = model.get_crlb_uncertainties(result.params, clean)
    draws = model.get_crlb_error_samples(result.params, clean, size=2000, seed=1)
    # 2,000 draws tell a standard deviation to 1.6 %.
    assert abs(np.std([d["pos0"] for d in draws]) / sd["pos0"] - 1) < 0.08
    oti.plot.plot_cov_corner(cov[-3:, -3:], mean=np.zeros(3), labels=list("abc"))
    plt.close("all")


def test_likelihoods_and_objectives(problem, clean, result):
    from scipy.stats import norm, poisson

    model = problem[0]
    value = model.ln_gaussian_likelihood(result.params, **clean)
    fit = model.get_label(clean["pos"], clean["vel"], result.params)
    np.testing.assert_allclose(value, norm.logpdf(clean["label"], fit, clean["label_err"]).sum())
    np.testing.assert_allclose(
        model.objective_gaussian(result.params, **clean), result.state.value, rtol=1e-12
    )
    counts = np.round(np.exp(3 * fit))
    value = model.ln_poisson_likelihood(result.params, clean["pos"], clean["vel"], counts)
    np.testing.assert_allclose(value, poisson.logpmf(counts, np.exp(fit)).sum())
    assert np.isfinite(model.objective_poisson(result.params, clean["pos"], clean["vel"], counts))


def test_elliptical_coordinates_and_checks(problem, result):
    model, bounds, _ = problem
    params = result.params
    r_e, theta = model.compute_elliptical(
        (params["pos0"] + 0.3) * u.kpc, params["vel0"] * u.kpc / u.Myr, params
    )
    np.testing.assert_allclose(r_e.value, 0.3 * np.exp(0.5 * params["ln_Omega0"]))
    np.testing.assert_allclose(theta.to_value(u.rad), np.pi / 2)
    good, slope = model.check_e_funcs(params)
    assert good and np.all(slope > 0)
    lower, upper = model.unpack_bounds(bounds)
    assert lower["pos0"] < params["pos0"] < upper["pos0"]


def test_counts_can_be_fitted(survey):
    """ln counts of a steady state without selection are a function of the orbit as well."""
    stars = oti.mock.draw_stars(200_000, seed=3)
    bins = {"pos": np.linspace(-0.6, 0.6, 31) * u.kpc, "vel": np.linspace(-40, 40, 31) * u.km / u.s}
    counts = oti.data.get_binned_counts(stars.pos, stars.vel, bins)
    data = {k: counts[k].ravel() for k in ("pos", "vel", "counts")}
    model, bounds, init = oti.TorusImaging1DSpline.auto_init(
        data, label_knots=6, e_knots={2: 5, 4: 3}
    )
    assert model.label.sign == -1
    result = model.optimize(init, objective="poisson", bounds=bounds, **data)
    assert result.state.success
    z = np.array([0.25, 0.45])
    a = model.get_acceleration((z + float(result.params["pos0"])) * u.kpc, result.params).value
    np.testing.assert_allclose(a / stars.potential.acceleration(z), 1, atol=0.08)
