"""A third family of orbits and another likelihood, each in one place: everything works on them.

Both are the examples of ``docs/architecture.md``, as they stand there.
"""

import pathlib
import re
from dataclasses import replace

import astropy.units as u
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.optimize import minimize

import torusimaging as oti
from torusimaging.coordinates import Points
from torusimaging.data.pixels import read_map
from torusimaging.foliation import field
from torusimaging.inference.problem import minus_ln_posterior
from torusimaging.likelihoods import GaussianPixels
from torusimaging.models.registry import MODELS

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "architecture.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
SPACE: dict = {}
exec(compile(BLOCKS[0], PAGE.name, "exec"), SPACE)
exec(compile(BLOCKS[-1].partition("robust = ")[0], PAGE.name, "exec"), SPACE)
Slab, SlabModel, StudentPixels = (SPACE[k] for k in ("Slab", "SlabModel", "StudentPixels"))

OMEGA, H, END = 0.08, 0.3, 1.1
SLAB = Slab(*map(jnp.asarray, (OMEGA, 0.02, 0.001, H, 2.0)))
TRUTH = {"ln_omega": np.log(OMEGA), "ln_h": np.log(H), "pos0": 0.01, "vel0": -0.0005}


def phi(q):
    return (OMEGA * H) ** 2 * (np.sqrt(1 + (q / H) ** 2) - 1)


def speed(q, energy):
    return np.sqrt(max(2 * (energy - phi(q)), 0.0))


def pixels(seed=0, error=0.005):
    """A map of the slab's own labels with noise, 25 by 25 pixels."""
    pos, vel = (
        x.ravel() for x in np.meshgrid(np.linspace(-1, 1, 25), np.linspace(-0.06, 0.06, 25))
    )
    slab = Slab(*(jnp.asarray(x) for x in (OMEGA, TRUTH["pos0"], TRUTH["vel0"], H, END)))
    r = np.asarray(slab.radius(Points(jnp.asarray(pos), jnp.asarray(vel))))
    noise = np.random.default_rng(seed).normal(size=r.size)
    return {
        "pos": pos * u.kpc,
        "vel": vel * u.kpc / u.Myr,
        "label": 0.1 + 0.4 * np.tanh(2 * r) + error * noise,
        "label_err": np.full(r.size, error),
    }


# A prior of discs that the map can hold, for draws of it.
PRIORS = {
    "pos0": dist.Normal(0.0, 0.03),
    "vel0": dist.Normal(0.0, 0.002),
    "ln_omega": dist.Normal(np.log(OMEGA), 0.1),
    "ln_h": dist.Normal(np.log(H), 0.2),
    "label_params.label_vals": dist.Normal(np.r_[0.1, np.full(5, -0.5)], 0.2),
}


@pytest.fixture(scope="module")
def fit():
    return oti.fit_map(pixels(), model=SlabModel).laplace()


@pytest.fixture
def named():
    """The one line that gives the family a name."""
    MODELS["slab"] = SlabModel
    yield
    MODELS.pop("slab", None)


def test_the_family_is_right():
    """Actions by adaptive quadrature, angles along an orbit integrated in time, the inverse map."""
    rng = np.random.default_rng(1)
    points = Points(*(jnp.asarray(rng.normal(c, s, 50)) for c, s in ((0.02, 0.4), (0.001, 0.03))))
    back = SLAB.point(SLAB.radius(points), SLAB.elliptical(points)[1])
    np.testing.assert_allclose(back.pos, points.pos, atol=1e-12)
    np.testing.assert_allclose(back.vel, points.vel, atol=1e-12)
    found = SLAB.orbits(points)
    for i in np.flatnonzero(np.asarray(found.flag) == 0)[:5]:
        energy = (points.vel[i] - 0.001) ** 2 / 2 + phi(points.pos[i] - 0.02)
        top = H * np.sqrt((1 + energy / (OMEGA * H) ** 2) ** 2 - 1)
        area = quad(speed, 0, top, args=(energy,), epsabs=1e-12)[0]
        assert float(found.J[i]) == pytest.approx(2 / np.pi * area, rel=1e-6)
    times = np.linspace(0, 100, 30)

    def rhs(_, y):
        return [y[1] - 0.001, float(SLAB.acceleration(jnp.asarray(y[0])))]

    path = solve_ivp(rhs, (0, 100), [0.5, 0.02], "DOP853", times, rtol=1e-11, atol=1e-14).y
    along = SLAB.orbits(Points(*map(jnp.asarray, path)))
    off = np.asarray(along.theta) - np.asarray(along.theta[0] + along.Omega[0] * times)
    assert np.ptp(along.J) < 1e-10 and np.abs((off + np.pi) % (2 * np.pi) - np.pi).max() < 1e-8
    z = jnp.linspace(-0.9, 0.9, 7)
    slope = jax.vmap(jax.grad(SLAB.acceleration))(z)
    np.testing.assert_allclose(SLAB.acceleration_slope(z), slope, rtol=1e-12)
    assert float(field.central_density(SLAB)) == pytest.approx(
        -float(SLAB.acceleration(jnp.asarray(0.07))) / (2 * np.pi * field.G * 0.1), rel=1e-12
    )


def test_the_family_is_recovered(fit):
    """Within four of its own errors: eight numbers of which one is off by that in 2,000 runs."""
    table = fit.summary()
    for name, true in TRUTH.items():
        row = table[list(table["parameter"]).index(name)]
        assert abs(row["mean"] - true) < 4 * row["sd"]
    assert fit.verdict.word == "trust"


def test_every_verb_works_on_the_family(fit, named, tmp_path):
    sampled = fit.sample(num_warmup=100, num_steps=60, num_chains=2)
    assert np.isfinite(sampled.samples.draws).all()
    assert oti.profiles(fit)["rho_from_data"][0] > 0.9
    back = oti.load(fit.save(tmp_path / "fit.nc"))
    assert isinstance(back.model, SlabModel) and back.params["ln_h"] == fit.params["ln_h"]
    np.testing.assert_array_equal(back.samples.draws, fit.samples.draws)
    del MODELS["slab"]
    with pytest.raises(ValueError, match="cannot be read here: its kind 'slab' is not among"):
        oti.load(tmp_path / "fit.nc")
    MODELS["slab"] = SlabModel
    assert "Verdict: " in sampled.report(tmp_path / "out")
    assert {"model.png", "profiles.png", "trace.png"} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }
    oti.plot.plot_spline_functions(fit.model, fit.params)
    plt.close("all")
    tight = oti.fit_map(pixels(), model=SlabModel, priors=PRIORS)
    ranks = oti.calibrate(tight, 10, sampler="laplace", num_steps=200, processes=1)
    assert ranks.good.sum() >= 9
    other = oti.fit_map(pixels())
    compared = oti.compare_models({"slab": fit, "potential": other})
    assert set(compared.table["model"]) == {"slab", "potential"}
    assert oti.check_goodness(fit).p > 1e-3
    actions = fit.actions([0.3, 0.6] * u.kpc, [10, 20] * u.km / u.s, draws=10)
    assert np.isfinite(actions["J_err"]).all()
    for verb, text in (
        (oti.check_asymmetry, "must be of the potential model"),
        (oti.check_consistency, "must be of the Fourier family"),
    ):
        with pytest.raises(ValueError, match=text):
            verb(fit)


def test_a_family_without_a_name_is_not_saved(fit, tmp_path):
    with pytest.raises(ValueError, match="a SlabModel cannot be saved"):
        fit.save(tmp_path / "fit.nc")
    with pytest.raises(ValueError, match="model must be one of potential, spline"):
        oti.fit_map(pixels(), model="slab")
    with pytest.raises(ValueError, match="SlabModel has no 'label_knot'; did you mean"):
        oti.fit_map(pixels(), model=SlabModel, label_knot=4)


@pytest.fixture(scope="module")
def spoilt():
    """The map with a tenth of its labels off by ten errors."""
    data = pixels(seed=2)
    rng = np.random.default_rng(3)
    off = rng.random(data["label"].size) < 0.1
    return data | {"label": data["label"] + off * 10 * data["label_err"] * rng.choice([-1, 1], 625)}


@pytest.fixture(scope="module")
def robust(spoilt):
    return oti.fit_map(spoilt, model=SlabModel, likelihood=StudentPixels)


def test_the_optimum_of_another_likelihood(robust, spoilt):
    """Nothing lower is found by scipy, and the truth is within its errors."""
    assert not robust.problem.least_squares and robust.optimizer.success
    z = robust.problem.free(robust.params)
    function = jax.jit(jax.value_and_grad(lambda z: minus_ln_posterior(z, robust.problem)))
    other = minimize(
        lambda z: tuple(np.asarray(x, float) for x in function(jnp.asarray(z))),
        np.asarray(z) + 0.01,
        jac=True,
    )
    assert robust.optimizer.value <= other.fun + 1e-6
    drawn = robust.laplace()
    table = drawn.summary()
    for name, true in TRUTH.items():
        row = table[list(table["parameter"]).index(name)]
        assert abs(row["mean"] - true) < 4 * row["sd"]


def test_draws_of_another_likelihood(robust):
    """Importance draws and NUTS agree: 1,000 and some 600 of them know a mean to 0.05 sd."""
    drawn, sampled = robust.laplace(), robust.sample(num_warmup=300, num_steps=500)
    assert drawn.state.reliable
    one, two = drawn.samples.draws, sampled.samples.draws
    assert np.abs((one.mean(axis=0) - two.mean(axis=0)) / two.std(axis=0)).max() < 0.25
    np.testing.assert_allclose(one.std(axis=0), two.std(axis=0), rtol=0.2)


def test_leave_one_out_of_another_likelihood(robust, spoilt):
    """Outliers are predicted by the wide law, and its pixels' terms are those of the t."""
    normal = oti.fit_map(spoilt, model=SlabModel)
    found = oti.compare_models({"t": robust, "normal": normal})
    assert found.best == "t" and found.table["d_elpd"][1] < -100
    own = StudentPixels.read(spoilt).pointwise(
        jnp.asarray(robust.model.get_label(spoilt["pos"], spoilt["vel"], robust.params))
    )
    # One of 625 pixels left out moves its term by a few parts of itself.
    assert found.elpd["t"].sum() == pytest.approx(float(own.sum()), abs=3 * 10)
    assert np.median(np.abs(found.elpd["t"] - np.asarray(own))) < 0.05


def test_calibration_of_another_likelihood(spoilt):
    """Simulated maps scatter by the likelihood's own law."""
    robust = oti.fit_map(spoilt, model=SlabModel, likelihood=StudentPixels, priors=PRIORS)
    found = oti.calibrate(robust, 12, sampler="laplace", num_steps=200, processes=1)
    assert found.good.sum() >= 10 and "ln likelihood" in found.names
    again = oti.calibrate(robust, 10, sampler="laplace", num_steps=200, processes=1)
    np.testing.assert_array_equal(again.ranks, found.ranks[:10])


def test_replicated_data_of_another_likelihood(robust, spoilt):
    """They have the tails of the t, and their misfit is that of the t: no chi^2 stands there."""
    model = jnp.asarray(robust.model.get_label(spoilt["pos"], spoilt["vel"], robust.params))
    own = StudentPixels.read(spoilt).simulate(model, np.random.default_rng(5))
    drawn = replace(robust, data=robust.data | own).laplace()
    _, axes = oti.plot.plot_posterior_predictive(drawn, draws=200)
    assert axes[4].get_xlabel() == "-2 ln likelihood"
    (text,) = axes[4].texts
    assert 0.01 < float(text.get_text().split("= ")[1]) < 0.99
    plt.close("all")
    terms = StudentPixels.read(drawn.data).pointwise(model)
    assert f"-2 ln likelihood per pixel {-2 * float(terms.mean()):.2f}." in drawn.report()
    wrong = replace(drawn, data=drawn.data | {"label_err": 0.2 * drawn.data["label_err"]})
    _, axes = oti.plot.plot_posterior_predictive(wrong, draws=50)
    assert float(axes[4].texts[0].get_text().split("= ")[1]) < 0.02
    plt.close("all")


def test_what_another_likelihood_cannot_do_is_said(robust, tmp_path):
    drawn = robust.laplace()
    assert any("sum of squares" in problem for problem in drawn.problems)
    with pytest.raises(ValueError, match="must be a sum of squares"):
        oti.check_goodness(drawn)
    with pytest.raises(ValueError, match="likelihood StudentPixels cannot be saved"):
        _named_save(drawn, tmp_path / "fit.nc")
    with pytest.raises(ValueError, match="likelihood must be one of gaussian, poisson"):
        oti.fit_map(pixels(), model=SlabModel, likelihood="student")
    assert isinstance(oti.fit_map(pixels()).problem.likelihood, GaussianPixels)
    assert read_map(pixels()).pos.size == 625


def _named_save(fit, path):
    MODELS["slab"] = SlabModel
    try:
        return fit.save(path)
    finally:
        del MODELS["slab"]
