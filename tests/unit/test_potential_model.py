"""The potential model's verbs, forms of density and bad input."""

import astropy.units as u
import jax.numpy as jnp
import numpy as np
import pytest

import torusimaging as oti
from torusimaging.models import FreeDensity, Layer, LayeredDensity, UserDensity

BINS = {"pos": np.linspace(-1.2, 1.2, 41) * u.kpc, "vel": np.linspace(-70, 70, 41) * u.km / u.s}
AUTO = oti.TorusImaging1DPotential.auto_init


def make_map(stars=50_000, seed=0):
    survey = oti.mock.draw_stars(stars, seed=seed, selection="survey")
    binned = oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, BINS, label_err=survey.label_err
    )
    good = np.isfinite(binned["label"]) & (binned["label_err"] > 0)
    return survey, {k: binned[k][good] for k in ("pos", "vel", "label", "label_err", "counts")}


@pytest.fixture(scope="module")
def survey_map():
    return make_map()


@pytest.fixture(scope="module")
def fit(survey_map):
    return oti.fit_map(survey_map[1])


def test_the_published_verbs(survey_map, fit):
    survey, data = survey_map
    model, params = fit.model, fit.params
    assert fit.optimizer.success and fit.optimizer.iter_num <= 40
    z = np.array([-0.5, 0.1, 0.9]) * u.kpc
    a = model.get_acceleration(z, params)
    slope = model.get_acceleration_deriv(z, params)
    step = 1e-5 * u.kpc
    around = [model.get_acceleration(z + s, params) for s in (step, -step)]
    finite = (around[0] - around[1]) / (2 * step)
    np.testing.assert_allclose(finite.value, slope.value, rtol=1e-5)
    assert np.all(model.get_density(z, params) > 0)
    assert np.isnan(model.get_acceleration(1.5 * u.kpc, params))
    label = model.get_label(survey.pos[:100], survey.vel[:100], params)
    assert label.shape == (100,) and np.std(label) > 0.01
    table = model.compute_action_angle(survey.pos[:500], survey.vel[:500], params)
    ratio = np.median(table["J"][table["flag"] == 0] / survey.J[:500][table["flag"] == 0])
    assert abs(ratio - 1) < 0.1
    inner = {k: data[k] for k in ("pos", "vel", "label", "label_err")}
    assert model.get_crlb_uncertainties(params, inner)["pos0"] < 0.02
    assert model.objective_gaussian(params, **inner) == pytest.approx(fit.optimizer.value)
    r_e, theta = model.compute_elliptical(survey.pos[:3], survey.vel[:3], params)
    assert r_e.shape == theta.shape == (3,)
    assert np.all(np.isfinite(a))
    far = model.compute_action_angle([0.1, 90.0, np.nan] * u.kpc, [0, 0, 0] * u.km / u.s, params)
    assert list(far["flag"]) == [0, 1, 2] and far.meta["n_outside"] == 1


def test_counts_can_be_fitted(survey_map):
    _, data = survey_map
    counts = {k: data[k] for k in ("pos", "vel", "counts")}
    model, bounds, start = AUTO(counts)
    result = model.optimize(start, objective="poisson", bounds=bounds, throw=False, **counts)
    assert np.isfinite(result.state.value)
    assert np.all(model.get_density([0.1, 0.5] * u.kpc, result.params) > 0)


def test_laplace_and_nuts_agree(fit):
    """Means within a quarter and sds within a quarter: 400 draws have errors of 5 to 7 %."""
    quick = fit.laplace(num_draws=2000)
    assert quick.state.reliable and quick.state.ess > 400
    long = fit.sample(num_warmup=200, num_steps=400, num_chains=2)
    assert long.state.divergent_fraction < 0.02
    one, two = quick.summary(), long.summary()
    assert np.all(np.abs(one["mean"] - two["mean"]) < 0.3 * two["sd"])
    np.testing.assert_allclose(one["sd"] / two["sd"], 1.0, atol=0.25)


def test_a_saved_fit_is_the_same(fit, tmp_path):
    one = fit.laplace(num_draws=50)
    two = oti.load(one.save(tmp_path / "fit.nc"))
    assert one.state.verdict == two.state.verdict
    np.testing.assert_array_equal(one.samples.draws, two.samples.draws)
    z = np.linspace(-1, 1, 9) * u.kpc
    np.testing.assert_array_equal(
        one.model.get_density(z, one.params), two.model.get_density(z, two.params)
    )


@pytest.mark.parametrize("asymmetric", [False, True])
def test_layers(survey_map, tmp_path, asymmetric):
    fit = oti.fit_map(survey_map[1], density="solar", asymmetric=asymmetric)
    assert fit.optimizer.success
    table = oti.profiles(fit, [0.0, 0.5, 1.0] * u.kpc)
    assert np.all(table["rho_dm_median"] < table["rho_median"])
    dark = fit.model.get_dark_surface_density(1 * u.kpc, fit.params)
    rho = fit.model.get_dark_density(0.5 * u.kpc, fit.params)
    assert (dark / rho).to_value(u.kpc) == pytest.approx(2.0)
    again = oti.load(fit.save(tmp_path / "fit.nc"))
    assert again.model.density.layers == fit.model.density.layers


def test_asymmetric_density(survey_map):
    fit = oti.fit_map(survey_map[1], asymmetric=True)
    z = 0.4 * u.kpc
    pos0 = float(fit.params["pos0"]) * u.kpc
    up, down = (fit.model.get_density(pos0 + x, fit.params) for x in (z, -z))
    assert up != down and abs(up / down - 1) < 1
    mass = fit.model.get_surface_density(z, fit.params)
    steps = np.linspace(-0.4, 0.4, 4001) * u.kpc
    whole = np.trapezoid(fit.model.get_density(pos0 + steps, fit.params), steps)
    assert (mass / whole).to_value(u.one) == pytest.approx(1, rel=1e-5)


def test_a_users_density(survey_map, tmp_path):
    def disc(z, ln_rho, ln_h):
        return jnp.exp(ln_rho) / jnp.cosh(z / jnp.exp(ln_h)) ** 2 + 1e7

    start = {"ln_rho": (18.0, 1.0), "ln_h": (-1.2, 0.5)}
    fit = oti.fit_map(survey_map[1], density=disc, density_params=start)
    assert fit.optimizer.success
    assert fit.model.get_density(fit.params["pos0"] * u.kpc, fit.params).value > 5e7
    with pytest.raises(ValueError, match="cannot be saved"):
        fit.save(tmp_path / "fit.nc")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"negative, but is .* at z = 0\.39"):
        AUTO(survey_map[1], density=lambda z: 1e8 * jnp.cos(4 * z))
    with pytest.raises(ValueError, match="must name the arguments.*'a'"):
        AUTO(survey_map[1], density=lambda z, a: a + 0 * z)
    with pytest.raises(ValueError, match=r"density_params\['a'\] must be a pair"):
        AUTO(survey_map[1], density=lambda z, a: a + 0 * z, density_params={"a": 1e7})


def test_negative_user_density_later_on(survey_map):
    """Parameters that turn the density negative are refused by every verb."""
    model, _, start = AUTO(
        survey_map[1],
        density=lambda z, a: 1e8 * (1 - a * z),
        density_params={"a": (0.1, 0.1)},
    )
    bad = start | {"density_params": {"a": 2.0}}
    with pytest.raises(ValueError, match=r"at z = 0\.5"):
        model.get_acceleration(0.1 * u.kpc, bad)


def test_free_labels(survey_map):
    fit = oti.fit_map(survey_map[1], label_monotone=False)
    assert fit.optimizer.success
    r = np.linspace(0, 0.4, 5)
    assert np.all(np.diff(fit.model.eval_label(r, fit.params)) > 0)


def test_one_sided_map(survey_map):
    """The side without a star is known by the prior on its difference from the other alone."""
    _, data = survey_map
    up = data["pos"] > 0
    fit = oti.fit_map({k: v[up] for k, v in data.items()}, asymmetric=True).laplace()
    derived = dict(zip(fit.derived()["quantity"], fit.derived()["from_data"], strict=True))
    assert derived["pos0"] > 0.9
    below, above = 1 - oti.profiles(fit, [-0.8, 0.8] * u.kpc)["a_z_from_data"]
    assert below > 5 * above


def test_bad_input(survey_map):
    _, data = survey_map
    rng = np.random.default_rng(0)
    free = {"density": "free"}
    flat = data | {"label": 0.1 + data["label_err"] * rng.normal(size=data["label"].size)}
    for text, change, options in (
        ("cannot constrain the orbits", flat, {}),
        ("strictly increasing", data, {"density_knots": [0, 0.5, 0.4, 1.3]}),
        ("must cover the data", data, {"density_knots": [0, 0.3, 0.6]}),
        ("must start at 0", data, {"density_knots": [0.1, 0.6, 1.3]}),
        ("at least 4 knots", data, {"density_knots": 3}),
        ("at least 3 knots", data, free | {"density_knots": 2}),
        ("must be one of smooth, free, solar", data, {"density": "sollar"}),
        ("even in asinh", data, {"density_knots_spacing_power": 0.6}),
        ("density_knots are of a smooth or free", data, {"density": "solar", "density_knots": 8}),
        ("did you mean 'amplitude'", data, {"density_options": {"amplitud": 1.0}}),
        ("label_sign must be", data, {"label_sign": 0}),
        ("label_smooth_sigma must be positive", data, {"label_smooth_sigma": 0}),
        (
            "step_sigma must be positive",
            data,
            {"density": "free", "density_options": {"step_sigma": -1.0}},
        ),
        (
            "did you mean 'step_sigma'",
            data,
            {"density": "free", "density_options": {"step_sigm": 1.0}},
        ),
        ("did you mean 'label_sign'", data, {"label_sing": 1}),
        ("heights in kpc", data, {"density_knots": [0, 100, 300, 600, 1300]}),
        ("unit like", data, {"label_knots": [0, 0.1, 0.3] * u.deg}),
        ("label_knots must be at least 2", data, {"label_knots": np.nan}),
        ("a list of layers or a function, but 3.0", data, {"density": 3.0}),
        ("JAX function", data, {"density": lambda z: np.exp(z) if z < 1 else z}),
        ("one real number for each", data, {"density": lambda z: jnp.ones(3)}),
        ("in Msun/kpc", data, {"density": lambda z: 0.1 + 0 * z}),
        ("with vel", data | {"label": np.abs(data["pos"].value)}, {}),
    ):
        with pytest.raises(ValueError, match=text):
            AUTO(change, **options)
    with pytest.raises(ValueError, match="must be one of potential, spline"):
        oti.fit_map(data, model="sline")
    with pytest.raises(ValueError, match="density_params, label_params is missing"):
        model, _, start = AUTO(data)
        model.get_acceleration(0 * u.kpc, {"pos0": 0.0, "vel0": 0.0})
    with pytest.raises(ValueError, match="no part that counts as dark"):
        model.get_dark_density(0 * u.kpc, start)
    with pytest.raises(ValueError, match="num_draws"):
        model.laplace_run_label(data, start, num_draws=1)


def test_what_is_no_number_stays_none(fit):
    model, params = fit.model, fit.params
    assert np.isnan(model.get_label([np.nan] * u.kpc, [0] * u.km / u.s, params))
    with pytest.raises(ValueError, match="pos0 is nan"):
        model.get_label([0.1] * u.kpc, [0] * u.km / u.s, params | {"pos0": np.nan})
    with pytest.raises(ValueError, match="did you mean 'pos0'"):
        model.get_acceleration(0.1 * u.kpc, params | {"pos00": 0.1})
    with pytest.raises(ValueError, match="ln_rho in params must have shape"):
        model.get_acceleration(0.1 * u.kpc, params | {"density_params": {"ln_rho": np.ones(3)}})
    one, two = (
        model.get_acceleration(0.1 * u.kpc, params | {"pos0": x}) for x in (0.02, 20 * u.pc)
    )
    assert one == two
    assert model.get_surface_density(0.5 * u.kpc, params) > 0
    with pytest.raises(ValueError, match="height must not be negative, but -1 kpc was given"):
        model.get_surface_density([0.5, -1.0] * u.kpc, params)


def test_masked_pixels_are_left_out(survey_map, fit):
    _, data = survey_map
    bad = np.random.default_rng(0).random(data["label"].size) < 0.05
    filled = np.where(bad, -9.99, data["label"])
    masked = oti.fit_map(data | {"label": np.ma.masked_array(filled, mask=bad)})
    assert masked.data["label"].size == np.sum(~bad)
    assert abs(masked.params["pos0"] - fit.params["pos0"]) < 0.01


def test_a_pixel_that_says_nothing_does_not_decide_the_reach(survey_map, fit):
    _, data = survey_map
    far = {"pos": 3 * u.kpc, "vel": 0 * u.km / u.s, "label": 0.25, "label_err": 10.0}
    more = {k: np.append(data[k], v) for k, v in far.items()}
    found = oti.fit_map(more)
    assert abs(found.model.height - fit.model.height) < 1e-3


def test_dark_matter_below_the_plane():
    rho, pc = 0.02 * u.Msun / u.pc**3, u.pc
    form = LayeredDensity([Layer("halo", "exponential", rho, 0.1, 2000 * pc, dark=True)], True)
    model = oti.TorusImaging1DPotential([0.0, 0.4], form, 1.2, 2.0)
    params = model.template() | {
        "density_params": {
            "halo": {"ln_rho": np.log(2e7), "ln_h": np.log(2.0), "ln_h_below": np.log(0.5)}
        }
    }
    below = model.get_dark_density(-1 * u.kpc, params).value
    assert below == pytest.approx(2e7 * np.exp(-2.0))
    mass = model.get_dark_surface_density(1 * u.kpc, params).value
    expected = 2e7 * (2 * (1 - np.exp(-0.5)) + 0.5 * (1 - np.exp(-2.0)))
    assert mass == pytest.approx(expected)
    assert mass == pytest.approx(model.get_surface_density(1 * u.kpc, params).value)


def test_bad_forms():
    rho, pc = u.Msun / u.pc**3, u.pc
    with pytest.raises(ValueError, match="kind of layer 'gas'"):
        Layer("gas", "sech", 0.01 * rho, 0.1)
    with pytest.raises(ValueError, match="rho_sigma of layer 'gas'"):
        Layer("gas", "sech2", 0.01 * rho, 0.0)
    for plain in ((1e7, 100 * pc), (0.01 * rho, 0.1), (0.01 * u.kpc, 100 * pc)):
        with pytest.raises(u.UnitsError, match="of layer 'gas'"):
            Layer("gas", "sech2", plain[0], 0.1, plain[1])
    gas = Layer("gas", "sech2", 0.04 * rho, 0.1, 150 * pc)
    assert gas.rho == pytest.approx(4e7) and gas.height == pytest.approx(0.15)
    with pytest.raises(ValueError, match="different names"):
        LayeredDensity([gas, gas])
    with pytest.raises(ValueError, match="must be a function"):
        UserDensity(1.0, {}, 1.0)
    with pytest.raises(ValueError, match="level_sigma"):
        FreeDensity([0.0, 1.0], [18.0, 17.0], level_sigma=np.nan)
    with pytest.raises(ValueError, match="top must be at least height"):
        oti.TorusImaging1DPotential([0.0, 1.0], LayeredDensity([gas]), 1.0, 0.5)


def test_model_figures(fit):
    import matplotlib.pyplot as plt

    for figure, _ in (
        oti.plot.plot_spline_functions(fit.model, fit.params),
        oti.plot.plot_acceleration_density(fit.model, fit.params),
        oti.plot.plot_data_models_residual(fit.data, fit.model, fit.params),
    ):
        assert figure.axes
        plt.close(figure)
