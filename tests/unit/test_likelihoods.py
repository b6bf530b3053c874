"""Likelihoods against scipy's."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm, poisson

from torusimaging.data.pixels import Map
from torusimaging.likelihoods import GaussianPixels, PoissonPixels


def test_gaussian():
    label, fit, err = jnp.array([[0.1, 0.3], [0.2, 0.25], [0.05, 0.2]])
    np.testing.assert_allclose(
        GaussianPixels(Map(fit, fit, label, err)).ln(fit), norm.logpdf(label, fit, err).sum()
    )


def test_deviance_residuals_are_the_poisson_likelihood():
    counts = jnp.array([0.0, 1.0, 3.0, 40.0, 1e4])
    rate = jnp.array([0.3, 1.0, 3.02, 31.0, 1.2e4])
    d = PoissonPixels(Map(rate, rate, counts, counts)).residuals(jnp.log(rate))
    perfect = poisson.logpmf(counts, counts)
    np.testing.assert_allclose(0.5 * d**2, perfect - poisson.logpmf(counts, rate), atol=1e-10)
    np.testing.assert_array_equal(np.sign(d[3:]), [-1, 1])


def test_deviance_residuals_are_smooth_where_counts_meet_the_rate():
    nine = jnp.array([9.0])
    pixel = PoissonPixels(Map(nine, nine, nine, nine))
    slope = jax.vmap(jax.grad(lambda x: pixel.residuals(x[None])[0]))
    t = jnp.array([-0.0101, -0.0099, 0.0, 0.0099, 0.0101]) + jnp.log(9.0)
    # d = sqrt(k) (t + t^2 / 6 + ...), so d' = sqrt(k) (1 + t / 3) to second order.
    np.testing.assert_allclose(slope(t), 3 * (1 + (t - jnp.log(9.0)) / 3), rtol=2e-5)
