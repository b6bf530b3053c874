"""The smooth density: its prior, draws of it, what normalises it, settings and bad input."""

import astropy.units as u
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats
from scipy.special import gammaln

import torusimaging as oti
from torusimaging.models import SmoothDensity
from torusimaging.models.layers import LayeredDensity
from torusimaging.models.smooth import cold_reference, smooth_knots
from torusimaging.parameters import Layout, make_bounds
from torusimaging.priors.joint import Prior
from torusimaging.priors.slopes import student_residuals

HEIGHT, TOP = 1.2, 1.6
KNOTS = smooth_knots(16, HEIGHT, TOP)


def form(**options) -> SmoothDensity:
    return SmoothDensity.about(KNOTS, 0.075, HEIGHT, **options)


def model(**options) -> oti.TorusImaging1DPotential:
    return oti.TorusImaging1DPotential([0.0, 0.1, 0.4], form(**options), HEIGHT, TOP)


def prior_of(made) -> Prior:
    params = made.floats(made.template())
    bounds = {
        "pos0": (-0.1, 0.1),
        "vel0": (-0.01, 0.01),
        "label_params": {"label_vals": (np.r_[-1.0, -30, -30], np.r_[1.0, 30, 30])},
    }
    layout = Layout.of(params)
    return Prior.of(made, params, layout, make_bounds(layout, params, bounds))


def entries(prior: Prior, name: str) -> np.ndarray:
    return np.array([i for i, n in enumerate(prior.layout.names()) if name in n])


def test_residuals_of_a_student_t():
    """Half their squares are minus the ln density of numpyro's, but for a constant."""
    rng, dof = np.random.default_rng(0), 4.0
    root = np.tril(rng.normal(size=(5, 5))) + 3 * np.eye(5)
    known = dist.MultivariateStudentT(dof, jnp.zeros(5), jnp.asarray(root))
    for scale in (1e-6, 0.01, 1.0, 1e3):
        x = scale * rng.normal(size=5)
        y = jnp.asarray(np.linalg.solve(root, x))
        half = 0.5 * float(jnp.sum(student_residuals(y, jnp.asarray(dof)) ** 2))
        expected = float(known.log_prob(jnp.zeros(5)) - known.log_prob(jnp.asarray(x)))
        assert half == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_wide_t_is_the_normal():
    at = {"ln_rho": jnp.asarray(form().reference) + jnp.sin(jnp.arange(15.0))}
    one, other = model(dof=1e6), model(dof=None)
    params = one.floats(one.template()) | {"density_params": at}
    np.testing.assert_allclose(
        one.prior_residuals(params), other.prior_residuals(params), rtol=2e-5
    )


def test_the_prior_is_an_even_matern_process():
    """Draws have the covariance of a stationary process given that its slope at the plane is 0.

    Found here from the joint normal of the values and of a slope by differences over 1e-4.
    """
    made = model(dof=None, level_sigma=0.5, amplitude=1.5, length=0.8)
    prior = prior_of(made)
    ln_rho = prior.draw(20_000, 0)[:, entries(prior, "density_params")]
    x = np.arcsinh((KNOTS[1:] + KNOTS[:-1]) / 2 / float(made.density.core))
    step = 1e-4

    def matern(y, z):
        r = np.sqrt(3) * np.abs(np.subtract.outer(y, z)) / 0.8
        return 1.5**2 * (1 + r) * np.exp(-r)

    ends = np.array([-step, step])
    difference = np.array([-1.0, 1.0])
    shared = matern(x, ends) @ difference
    expected = matern(x, x) - np.outer(shared, shared) / (
        difference @ matern(ends, ends) @ difference
    )
    expected += 0.5**2
    # A covariance of normals of variance 2.5 has an error of at most 2.5 sqrt(2 / n).
    np.testing.assert_allclose(np.cov(ln_rho, rowvar=False), expected, atol=5 * 2.5 * 0.01)
    own = np.linalg.inv(prior.blocks[0].matrix[:, entries(prior, "density_params")][:15])
    np.testing.assert_allclose(own @ own.T, expected, atol=1e-3)


def test_how_free_the_shape_is():
    """The sd of the ln ratio that varies most among draws, and of no shape for another form."""
    made = model(dof=None, level_sigma=0.5, amplitude=1.5, length=0.8)
    prior = prior_of(made)
    ln_rho = prior.draw(20_000, 0)[:, entries(prior, "density_params")]
    sds = np.std(ln_rho[:, :, None] - ln_rho[:, None, :], axis=0)
    assert made.density.shape_sd == pytest.approx(sds.max(), rel=0.03)
    assert LayeredDensity(oti.solar_layers()).shape_sd == np.inf


def test_draws_of_the_learned_smoothness_are_student_t():
    """The first cell's ln density over its sd has a t of the same degrees of freedom."""
    made = model(dof=5.0, level_sigma=0.6, amplitude=0.8)
    prior = prior_of(made)
    first = prior.draw(20_000, 1)[:, entries(prior, "ln_rho[0]")[0]]
    scaled = (first - float(made.density.reference[0])) / np.hypot(0.6, 0.8)
    assert stats.kstest(scaled, stats.t(5).cdf).pvalue > 1e-3
    assert stats.kstest(scaled, stats.norm.cdf).pvalue < 1e-3
    shown = made.priors["density_params.ln_rho"]
    assert isinstance(shown, dist.MultivariateStudentT) and float(shown.df) == 5.0


def test_normalisation_of_the_learned_smoothness():
    """The integral of (1 + Q / dof)^(-(dof + n) / 2) over n parameters, in closed form."""
    shares = []
    for options in ({"dof": 5.0}, {"dof": None}):
        prior = prior_of(model(**options))
        own = entries(prior, "density_params")
        rows = np.any(prior.blocks[0].matrix[:, own] != 0, axis=1)
        n, (_, ln_det) = own.size, np.linalg.slogdet(prior.blocks[0].matrix[np.ix_(rows, own)])
        if (dof := options["dof"]) is None:
            expected = 0.5 * n * np.log(2 * np.pi)
        else:
            expected = gammaln(dof / 2) - gammaln((dof + n) / 2) + 0.5 * n * np.log(dof * np.pi)
        shares.append(prior.ln_normalisation()[0] - (expected - ln_det))
    # What is left is of the label and the widths of uniforms: the same for both.
    assert shares[0] == pytest.approx(shares[1], abs=1e-3)


def test_a_prior_of_one_cell_multiplies():
    """With rho(0) given, the draws are near it there, and far away as free as before."""
    made = model().with_priors({"density_params.ln_rho[0]": dist.Normal(18.0, 0.01)})
    prior = prior_of(made)
    draws = prior.draw(4000, 0)[:, entries(prior, "density_params")]
    # The product of a t of sd 1 and a normal of sd 0.01 lies within 1e-4 of the narrow one.
    assert np.mean(draws[:, 0]) == pytest.approx(18.0, abs=1e-3)
    free = prior_of(model()).draw(4000, 0)[:, entries(prior, "density_params")]
    # Its neighbours hardly know of it: two are free to differ as before.
    one, other = (np.std(np.diff(d, axis=1)[:, 12]) for d in (draws, free))
    assert one == pytest.approx(other, rel=0.15)


def test_the_two_sides_share_the_plane():
    made = model(asymmetric=True)
    params = made.floats(made.template())
    below = params["density_params"]["ln_rho_below"] - 1.0
    params["density_params"]["ln_rho_below"] = below
    at = made.get_density(np.array([-1e-9, 1e-9]) * u.kpc, params).value
    assert at[0] == pytest.approx(at[1], rel=1e-6)
    far = made.get_density(np.array([-1.0, 1.0]) * u.kpc, params).value
    assert far[0] == pytest.approx(far[1] / np.e, rel=1e-3)
    assert made.meaning("density_params.ln_rho_below[0]").startswith("the density below the plane")


def test_the_reference_is_cold_at_the_plane():
    z = np.array([0.0, 0.1, 0.3, 5.0])
    rho = cold_reference(z, 0.075, HEIGHT) / cold_reference(0.0, 0.075, HEIGHT)
    np.testing.assert_allclose(rho[[0, 3]], [1.0, 0.08], rtol=1e-3)
    assert rho[1] < 0.7 and np.all(np.diff(rho) < 0)


def test_settings_make_the_same_form():
    for made in (form(dof=None), form(asymmetric=True, amplitude=1.0)):
        settings = made.settings()
        assert settings.pop("form") == "smooth"
        again = SmoothDensity.from_settings(settings)
        assert again.settings() == made.settings()


def test_bad_arguments():
    for text, options in (
        ("at least 4 heights", {"knots": [0.0, 0.5, 1.2]}),
        ("at least 1.2e-06 apart", {"knots": [0.0, 1e-12, 0.5, 0.9, 1.2]}),
        ("must start at 0", {"knots": [0.1, 0.5, 1.0, 1.2]}),
        ("dof must be more than 2", {"dof": 2.0}),
        ("dof must be more than 2", {"dof": np.nan}),
        ("amplitude must be from 0.001 to 100", {"amplitude": 0.0}),
        ("length must be from 0.001 to 100", {"length": 1e-300}),
        ("core must be positive", {"core": 0.0}),
        ("level_sigma must be from 0.001 to 100", {"level_sigma": np.inf}),
        ("asymmetry_sigma must be from 0.001 to 100", {"asymmetry_sigma": "wide"}),
        ("finite logarithms", {"reference": 1e8}),
        ("one for each of 4 cells", {"reference": [18.0, 17.0]}),
        ("asymmetric must be True or False", {"asymmetric": 1}),
    ):
        good = {"knots": [0.0, 0.2, 0.5, 0.9, 1.2], "reference": 18.0, "core": 0.1}
        with pytest.raises(ValueError, match=text):
            SmoothDensity(**good | options)
    assert float(model().smoothed(0.5).density.scales[1]) == 1.0
    with pytest.raises(ValueError, match="factor must be positive"):
        model().smoothed(0.0)
