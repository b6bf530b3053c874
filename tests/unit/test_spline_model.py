"""The spline model's verbs on a small exact map."""

import astropy.units as u
import jax
import numpy as np
import pytest

import torusimaging as oti

KPC_MYR = u.kpc / u.Myr


@pytest.fixture(scope="module")
def problem():
    """A noisy map made from the model itself, the model, bounds and start."""
    grid = np.meshgrid(np.linspace(-1, 1, 25), np.linspace(-0.06, 0.06, 25), indexing="ij")
    pos, vel = (g.ravel() for g in grid)
    r = np.hypot((pos - 0.03) * np.sqrt(0.075), (vel + 0.001) / np.sqrt(0.075))
    rng = np.random.default_rng(3)
    err = np.full(pos.size, 0.01)
    label = 0.25 * np.tanh(3 * r) + rng.normal(0, err)
    data = {"pos": pos * u.kpc, "vel": vel * KPC_MYR, "label": label, "label_err": err}
    return data, oti.TorusImaging1DSpline.auto_init(data, label_knots=4, e_knots={2: 4, 4: 3})


@pytest.fixture(scope="module")
def fit(problem):
    data, (model, bounds, start) = problem
    return model.optimize(start, bounds=bounds, **data)


def test_fit_recovers_the_centre_and_reports(problem, fit):
    assert fit.state.success and fit.state.code == 0
    # 625 pixels of 0.01 dex place the centre to a few pc; five of these sd are allowed.
    sd = problem[1][0].get_crlb_uncertainties(fit.params, problem[0])
    assert abs(fit.params["pos0"] - 0.03) < 5 * sd["pos0"]
    assert abs(fit.params["vel0"] + 0.001) < 5 * sd["vel0"]


def test_units_of_the_map_do_not_matter(problem, fit):
    data, (model, bounds, start) = problem
    for unit in (u.km / u.s, u.m / u.s):
        other = model.optimize(start, bounds=bounds, **(data | {"vel": data["vel"].to(unit)}))
        np.testing.assert_allclose(other.params["pos0"], fit.params["pos0"], rtol=1e-10)
        np.testing.assert_allclose(other.params["ln_Omega0"], fit.params["ln_Omega0"], rtol=1e-10)


def test_caller_objects_are_not_changed(problem):
    data, (model, bounds, start) = problem
    before = jax.tree.map(np.copy, start)
    model.optimize(start, bounds=bounds, **data)
    jax.tree.map(np.testing.assert_array_equal, before, start)


def test_sampling(problem, fit):
    data, (model, bounds, _) = problem
    state, samples = model.mcmc_run_label(
        data, fit.params, bounds, rng_seed=1, num_warmup=200, num_steps=100, num_chains=2
    )
    assert len(samples) == 200 and state.logdensity.shape == (200,)
    assert set(samples[state.logdensity.argmax()]) == set(fit.params)
    assert len(samples[-10:]) == 10
    assert state.rhat["pos0"] < 1.1
    assert "chains" in state.verdict


def test_axis_quantities(problem, fit):
    model = problem[1][0]
    z = np.array([-0.5, 0.5]) * u.kpc
    a = model.get_acceleration(z, fit.params)
    assert a[0] > 0 > a[1]
    density = model.get_density(z, fit.params)
    assert density.unit == u.Msun / u.kpc**3 and np.all(density > 0)
    assert np.isnan(model.get_acceleration(5 * u.kpc, fit.params))


def test_action_angle_counts(problem, fit):
    model = problem[1][0]
    out = model.compute_action_angle([0.1, 30.0] * u.kpc, [0.0, 0.0] * u.km / u.s, fit.params)
    assert out.meta["n_outside"] == 1 and np.isnan(out["J"][1]) and out["J"][0] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vel": np.zeros(625)}, "vel has no unit"),
        ({"vel": np.zeros(625) * u.kpc}, "vel must have a unit like kpc / Myr"),
        ({"label": np.zeros(3)}, "equal length"),
        ({"label": np.full(625, np.nan)}, "at least two usable pixels"),
        ({"label_err": np.full(625, -1.0)}, "label_err must not be negative"),
    ],
)
def test_bad_maps(problem, change, message):
    data, (model, bounds, start) = problem
    with pytest.raises(ValueError, match=message):
        model.optimize(start, bounds=bounds, **(data | change))


KNOTS = np.linspace(0.0, 0.4, 4), {2: np.linspace(0.0, 0.4, 3)}


def params_of(**distortion):
    label = {"label_vals": np.array([0.0, -0.5, -0.5, -0.5])}
    centre = {"pos0": 0.0, "vel0": 0.0, "ln_Omega0": np.log(0.07)}
    vals = {"vals": np.log([0.5, 0.9])}
    return centre | {"e_params": {2: vals | distortion}, "label_params": label}


def test_amplitudes_scale_the_distortions():
    """Parameters without them, as the published ones, are those of amplitude 1; 0 makes circles."""
    model = oti.TorusImaging1DSpline(*KNOTS)
    z = np.linspace(0.1, 1.0, 7) * u.kpc
    plain, one = (model.get_acceleration(z, p) for p in (params_of(), params_of(amplitude=1.0)))
    np.testing.assert_array_equal(plain, one)
    harmonic = model.get_acceleration(z, params_of(amplitude=0.0)).to_value(u.kpc / u.Myr**2)
    np.testing.assert_allclose(harmonic, -(0.07**2) * z.value, rtol=1e-12)
    e2 = [model.get_es(0.3, params_of(amplitude=a))[2] for a in (1.0, -0.3)]
    np.testing.assert_allclose(e2[1], -0.3 * e2[0], rtol=1e-12)


def test_settings_make_the_model_again():
    """Those of files from before there were amplitudes make a model without them."""
    model = oti.TorusImaging1DSpline(*KNOTS, amplitude_sigma=2.0)
    settings = model.settings()
    again = oti.TorusImaging1DSpline.from_settings(settings)
    assert again.settings() == settings and set(again.template()["e_params"][2]) == {
        "vals",
        "amplitude",
    }
    del settings["amplitude_sigma"]
    old = oti.TorusImaging1DSpline.from_settings(settings)
    published = oti.TorusImaging1DSpline(*KNOTS, prior="price-whelan25")
    for without in (old, published):
        assert set(without.template()["e_params"][2]) == {"vals"}
    with pytest.raises(ValueError, match="params have no 'e_params.2.amplitude'"):
        old.get_acceleration(0.5 * u.kpc, params_of(amplitude=1.0))


def test_bad_settings(problem):
    data, (model, bounds, start) = problem
    with pytest.raises(ValueError, match="objective must be one of"):
        model.optimize(start, objective="median", **data)
    with pytest.raises(ValueError, match="start of pos0 must lie strictly inside"):
        model.optimize(start, bounds={"pos0": (5.0, 6.0)}, **data)
    with pytest.raises(ValueError, match="did you mean 'pos0'"):
        model.optimize(start, bounds={"pos": (5.0, 6.0)}, **data)
    with pytest.raises(ValueError, match="label_knots must be a finite, strictly increasing"):
        oti.TorusImaging1DSpline([0, 0], {2: [0, 1]})
    with pytest.raises(ValueError, match="label_l2_sigma must be positive"):
        oti.TorusImaging1DSpline([0, 1], {2: [0, 1]}, label_l2_sigma=-1.0)
    for sigma in (0.0, np.nan, -1.0):
        with pytest.raises(ValueError, match="amplitude_sigma must be positive or None, but"):
            oti.TorusImaging1DSpline([0, 1], {2: [0, 1]}, amplitude_sigma=sigma)
    with pytest.raises(ValueError, match="e_signs must be for the orders 2"):
        oti.TorusImaging1DSpline([0, 1], {2: [0, 1]}, {4: 1})
    with pytest.raises(ValueError, match="e_params is missing"):
        model.get_acceleration(1 * u.kpc, {"pos0": 0.0, "vel0": 0.0, "ln_Omega0": 0.0})
    with pytest.raises(ValueError, match="orders m"):
        oti.TorusImaging1DSpline([0, 1], {0: [0, 1]})
    with pytest.raises(RuntimeError, match="did not converge"):
        model.optimize(start, bounds=bounds, max_steps=2, **data)


@pytest.mark.parametrize("scale", [-1e6, 1e-9])
def test_scale_of_the_label_does_not_matter(problem, fit, scale):
    """Labels in any unit, rising or falling, have the same orbits."""
    data = problem[0]
    scaled = data | {"label": scale * data["label"], "label_err": abs(scale) * data["label_err"]}
    model, bounds, start = oti.TorusImaging1DSpline.auto_init(
        scaled, label_knots=4, e_knots={2: 4, 4: 3}
    )
    other = model.optimize(start, bounds=bounds, **scaled)
    for name in ("pos0", "vel0", "ln_Omega0"):
        np.testing.assert_allclose(other.params[name], fit.params[name], atol=1e-6)
