"""Priors by name: what they do to fits, how they are drawn and normalised, and bad ones."""

import astropy.units as u
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import torusimaging as oti
from torusimaging.checks.simulations import Campaign
from torusimaging.parameters import Layout, make_bounds
from torusimaging.priors.joint import BATCH, COUNTED, MOST_TRIED, Prior
from torusimaging.priors.named import as_arrays, entry, from_numbers, to_numbers

BINS = {"pos": np.linspace(-1.2, 1.2, 31) * u.kpc, "vel": np.linspace(-70, 70, 31) * u.km / u.s}
KINDS = ("potential", "spline")


@pytest.fixture(scope="module")
def binned():
    survey = oti.mock.draw_stars(20_000, seed=0, selection="survey")
    return oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, BINS, label_err=survey.label_err
    )


@pytest.fixture(scope="module")
def fits(binned):
    return {kind: oti.fit_map(binned, model=kind) for kind in KINDS}


def prior_of(fit, model=None):
    model = fit.model if model is None else model
    params = model.floats(fit.params)
    layout = Layout.of(params)
    return Prior.of(model, params, layout, make_bounds(layout, params, fit.bounds, model.given))


def test_a_normal_prior_is_one_more_datum(fits, binned):
    """The optimum with a narrow prior on pos0 is the precision-weighted mean, to first order."""
    fit = fits["potential"]
    data = {k: fit.data[k] for k in ("pos", "vel", "label", "label_err", "pos_mean", "vel_mean")}
    sd = fit.model.get_crlb_uncertainties(fit.params, data)["pos0"]
    prior = dist.Normal(fit.params["pos0"] + sd, sd)
    found = oti.fit_map(binned, priors={"pos0": prior})
    assert (found.params["pos0"] - fit.params["pos0"]) / sd == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_shown_priors_are_those_that_act(fits, kind):
    """ln p of the shown distributions differs from the objective's prior by a constant."""
    fit, rng = fits[kind], np.random.default_rng(0)
    shown = fit.model.priors
    assert "label_params.label_vals[1:]" in shown
    sums = []
    for _ in range(3):
        params = fit.model.draw_prior(fit.params, fit.bounds, 1, int(rng.integers(99)))[0]
        params = fit.model.floats(params)
        squares = jnp.sum(fit.model.prior_residuals(params) ** 2)
        squares -= jnp.sum(fit.model.constraints(params) ** 2)
        ln_p = sum(jnp.sum(d.log_prob(entry(params, name))) for name, d in shown.items())
        sums.append(float(ln_p + 0.5 * squares))
    np.testing.assert_allclose(sums, sums[0], atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_have_the_prior_s_moments(fits, kind):
    """Inside the bounds; uniforms and normals with the means and covariances they should have."""
    fit = fits[kind]
    prior = prior_of(fit)
    draws = prior.draw(4000, 0)
    assert draws.shape == (4000, prior.layout.size)
    low, high = np.asarray(prior.bounds.lower), np.asarray(prior.bounds.upper)
    assert np.all((draws > low) & (draws < high))
    if kind == "potential":
        # The spline model's constraints tie its parameters to each other.
        low, high = low[prior.uniform], high[prior.uniform]
        off = draws[:, prior.uniform].mean(axis=0) - 0.5 * (low + high)
        assert np.all(np.abs(off) < 4 * (high - low) / np.sqrt(12 * 4000))
        a = prior.blocks[0].matrix[:, prior.blocks[0].entries]
        covariance = np.linalg.inv(a.T @ a)
        # The density's entries are a Student's t, of a larger covariance than its scale matrix.
        dof = float(fit.model.density.dof)
        wider = np.array(["ln_rho" in prior.layout.names()[i] for i in prior.blocks[0].entries])
        covariance *= np.where(wider[:, None] & wider, dof / (dof - 2), 1.0)
        found = np.cov(draws[:, prior.blocks[0].entries], rowvar=False)
        np.testing.assert_allclose(found, covariance, atol=0.1 * np.diag(covariance).max())


def test_normalisation_against_closed_forms(fits):
    """Uniform widths, a normal's and a half normal's integral."""
    fit = fits["potential"]
    base, _ = prior_of(fit).ln_normalisation()
    lower, upper = fit.bounds["vel0"]
    model = fit.model.with_priors({"vel0": dist.Normal(0.0, 1e-4)})
    other, _ = prior_of(fit, model).ln_normalisation()
    expected = np.log(1e-4 * np.sqrt(2 * np.pi)) - np.log(upper - lower)
    assert other - base == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        dist.StudentT(3.0, 0.02, 0.001),
        dist.TruncatedNormal(0.02, 0.01, low=0.0, high=0.1),
        dist.Uniform(-0.2, 0.2),
    ],
)
def test_other_distributions(fits, binned, given, tmp_path):
    fit = oti.fit_map(binned, priors={"pos0": given})
    assert fit.optimizer.success
    draws = fit.model.draw_prior(fit.params, fit.bounds, 2000)
    column = draws.draws[:, draws.names.index("pos0")]
    assert np.mean(column) == pytest.approx(float(given.mean), abs=0.02)
    again = oti.load(fit.save(tmp_path / "fit.nc"))
    assert list(again.model.given) == ["pos0"]
    x = jnp.asarray(0.021)
    assert float(again.model.given["pos0"].log_prob(x)) == pytest.approx(float(given.log_prob(x)))


def test_entries_of_a_vector(fits, binned):
    """A prior for one knot multiplies the default one."""
    fit = fits["potential"]
    free = fit.params["density_params"]["ln_rho"][0]
    name = "density_params.ln_rho[0]"
    tight = oti.fit_map(binned, priors={name: dist.Normal(free + 0.5, 0.001)})
    assert tight.params["density_params"]["ln_rho"][0] == pytest.approx(free + 0.5, abs=0.01)
    assert {name, "density_params.ln_rho"} <= set(tight.model.priors)
    loose = fit.model.with_priors({"density_params.ln_rho": dist.Normal(17.0, 5.0)})
    assert "density_params.ln_rho" in loose.given and len(loose.priors) == len(fit.model.priors)


@pytest.mark.parametrize(
    "given",
    [
        dist.Normal(0.0, 1.0),
        dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)),
        dist.LogNormal(0.0, 1.0),
        dist.TruncatedNormal(0.0, 1.0, low=-1.0),
        dist.Normal(jnp.zeros(3), 1.0).to_event(1),
    ],
)
def test_distributions_on_file(given):
    one = as_arrays({"x": given})["x"]
    again = as_arrays({"x": from_numbers(to_numbers(one))})["x"]
    x = jnp.full(one.event_shape, 0.5)
    assert float(again.log_prob(x)) == float(one.log_prob(x))


def test_one_sided_limits():
    params = {"a": 1.0, "b": 2.0, "c": -3.0}
    layout = Layout.of(params)
    bounds = make_bounds(layout, params, {"a": (0.0, np.inf), "b": (-np.inf, 5.0)})
    z = bounds.free(layout.flatten(params))
    np.testing.assert_allclose(bounds.constrain(z), [1.0, 2.0, -3.0])
    step = 1e-6
    slope = (bounds.constrain(z + step) - bounds.constrain(z - step)) / (2 * step)
    np.testing.assert_allclose(bounds.ln_jacobian(z), np.sum(np.log(np.abs(slope))), rtol=1e-6)


def test_limits_leave_the_objective_and_its_curvature(fits):
    """A uniform prior wider than the posterior changes neither; a normal one adds its own."""
    fit = fits["potential"]
    names = ("pos", "vel", "label", "label_err", "pos_mean", "vel_mean")
    data = {name: fit.data[name] for name in names}
    flat = fit.model.with_priors({"pos0": dist.Uniform(-0.2, 0.2)})
    cut = fit.model.with_priors({"pos0": dist.TruncatedNormal(0.0, 0.1, low=-0.3, high=0.3)})
    plain = fit.model.with_priors({"pos0": dist.Normal(0.0, 0.1)})
    for model, same in ((flat, fit.model), (cut, plain)):
        a, b = (m.objective_gaussian(fit.params, **data) for m in (model, same))
        assert a == pytest.approx(b, rel=1e-12)
        a, b = (m.get_crlb_uncertainties(fit.params, data)["pos0"] for m in (model, same))
        assert a == pytest.approx(b, rel=1e-9)
    outside = fit.model.with_priors({"pos0": dist.Uniform(0.3, 0.6)})
    with pytest.raises(ValueError, match="has no probability"):
        outside.objective_gaussian(fit.params, **data)


ABOVE, BELOW = dist.TruncatedNormal(0.0, 0.1, low=0.05), dist.TruncatedNormal(0.0, 0.1, high=-0.05)


@pytest.mark.parametrize("prior", [ABOVE, BELOW])
def test_an_optimum_at_a_one_sided_limit(binned, prior):
    """It is named, sampled inside the limit, and its goodness can be tested."""
    fit = oti.fit_map(binned, priors={"pos0": prior})
    assert 0 < abs(fit.params["pos0"]) - 0.05 < 1e-6
    assert "pos0" in fit.optimizer.message and fit.problems
    drawn = fit.laplace()
    column = drawn.samples.draws[:, drawn.samples.names.index("pos0")]
    assert np.abs(column).min() > 0.05 and drawn.state.pareto_k < 0.7
    assert np.isfinite(oti.check_goodness(fit).chi2)


def test_volume_of_a_flat_prior(fits):
    """A uniform wider than the bounds has the volume between these."""
    fit = fits["potential"]
    low, high = (float(x) for x in fit.bounds["pos0"])
    volumes = []
    for factor in (1.0, 5.0):
        edge = factor * max(abs(low), abs(high))
        wide = fit.model.with_priors({"pos0": dist.Uniform(-edge, edge)})
        volumes.append(prior_of(fit, wide).ln_normalisation())
    error = np.hypot(volumes[0][1], volumes[1][1])
    assert volumes[0][0] == pytest.approx(volumes[1][0], abs=4 * error + 1e-9)


def test_draws_of_a_density_that_may_be_negative(binned):
    """The prior has no draws that the posterior forbids."""

    def density(z, rho, dip):
        return rho * (jnp.exp(-jnp.abs(z) / 0.3) - dip)

    start = {"rho": (1e8, 3e7), "dip": (0.0, 0.05)}
    fit = oti.fit_map(binned, density=density, density_params=start)
    drawn = fit.model.draw_prior(fit.params, fit.bounds, 200)
    for params in drawn:
        fit.model.check(params)


RANGE, FLAT = "density_params.ln_rho[1:3]", dist.Uniform(-1.0, 1.0)


def test_a_prior_that_the_data_contradict_is_a_problem(binned):
    fit = oti.fit_map(binned, priors={"pos0": dist.Normal(0.3, 0.01)})
    assert any("pos0 lies" in text and "contradict" in text for text in fit.problems)


def test_bad_priors(fits, binned):
    fit = fits["potential"]
    for text, priors in (
        ("did you mean 'pos0'", {"pos": dist.Normal(0.0, 1.0)}),
        ("has 15 values", {"density_params.ln_rho[30]": dist.Normal(0.0, 1.0)}),
        ("must have shape", {"pos0": dist.Normal(jnp.zeros(3), 1.0)}),
        ("no parameter 'density_params.ln_rho.1:3.'", {RANGE: dist.Normal(18.0, 0.1)}),
        ("must be a dictionary", [dist.Normal(0.0, 1.0)]),
        (
            "must not overlap",
            {"label_params.label_vals": dist.Normal(0, 1), "label_params.label_vals[0]": FLAT},
        ),
        ("proper distribution", {"vel0": dist.Poisson(3.0)}),
        ("with a density, but is a Delta", {"vel0": dist.Delta(0.0)}),
        ("must have low < high", {"vel0": dist.Uniform(1.0, -1.0)}),
        ("plain numbers in the parameter's unit", {"pos0": dist.Normal(0 * u.pc, 5 * u.pc)}),
        ("must be a numpyro distribution", {"vel0": 3.0}),
        (
            "proper distribution",
            {"vel0": dist.ImproperUniform(dist.constraints.real, (), ())},
        ),
    ):
        with pytest.raises(ValueError, match=text):
            oti.fit_map(binned, priors=priors)
    model = fit.model.with_priors({"pos0": dist.Uniform(0.3, 0.6)})
    with pytest.raises(ValueError, match="has no probability"):
        model.laplace_run_label(fit.data, fit.params, fit.bounds)
    with pytest.raises(ValueError, match="must have a prior or two bounds"):
        fit.model.draw_prior(fit.params, None, 10)
    published = oti.fit_map(binned, model="spline", prior="price-whelan25")
    with pytest.raises(ValueError, match="no distribution"):
        published.model.draw_prior(published.params, published.bounds, 10)


def test_random_numbers_are_used_once(fits):
    """Draws of a prior, its volume, and the parts of a calibration have streams of their own."""
    prior = prior_of(fits["spline"])
    rng, found, tried = np.random.default_rng(3), 0, 0
    while found < COUNTED and tried < MOST_TRIED:
        found, tried = found + len(prior._batch(rng)), tried + BATCH
    _, sd = prior.ln_normalisation(3)
    of_draws = np.sqrt((1 - found / tried) / found)
    assert sd == pytest.approx(of_draws, rel=0.1) and sd != of_draws
    problem = Campaign.of(fits["spline"], 10, {"seed": 3})
    # Simulation 1 has the stream (3, 1): the other starts must not be of one of its words.
    for word in np.random.SeedSequence([3, 1]).generate_state(4):
        same = fits["spline"].model.draw_prior(problem.start, problem.bounds, 3, int(word))
        assert not np.any(same.draws == problem.others[:3])
