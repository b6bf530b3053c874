import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares

from torusimaging.inference.optimize import minimise_squares


def rosenbrock(z, args):
    return jnp.array([10 * (z[1] - z[0] ** 2), 1 - z[0]])


def decay(z, args):
    x, y = args
    return z[0] * jnp.exp(-z[1] * x) + z[2] - y


def test_zero_residuals():
    # The minimum of the Rosenbrock function is (1, 1) with value 0.
    z, steps, good = minimise_squares(rosenbrock, jnp.array([-1.2, 1.0]), None, 100)
    np.testing.assert_allclose(z, [1, 1], atol=1e-9)
    assert good and steps < 40


def test_agrees_with_minpack():
    rng = np.random.default_rng(1)
    x = np.linspace(0, 4, 200)
    y = 2 * np.exp(-1.3 * x) + 0.5 + 0.05 * rng.standard_normal(x.size)
    data, start = (jnp.asarray(x), jnp.asarray(y)), np.array([1.0, 0.3, 0.0])
    z, _, good = minimise_squares(decay, jnp.asarray(start), data, 100)
    other = least_squares(
        lambda p: p[0] * np.exp(-p[1] * x) + p[2] - y, start, method="lm", xtol=1e-14, ftol=1e-14
    )
    assert good
    np.testing.assert_allclose(z, other.x, rtol=1e-7)
    np.testing.assert_allclose(0.5 * np.sum(decay(z, data) ** 2), other.cost, rtol=1e-12)


def test_too_few_steps():
    _, steps, good = minimise_squares(rosenbrock, jnp.array([-1.2, 1.0]), None, 3)
    assert steps == 3 and not good


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_residuals_that_are_not_finite(bad):
    _, steps, good = minimise_squares(rosenbrock, jnp.array([bad, 1.0]), None, 50)
    assert not good and steps == 1


def test_steps_out_of_the_domain_are_shortened():
    # sqrt(z) - 0.1 from z = 9: the first full steps land at negative z, where it is NaN.
    z, _, good = minimise_squares(lambda z, _: jnp.sqrt(z) - 0.1, jnp.array([9.0]), None, 100)
    assert good
    np.testing.assert_allclose(z, [0.01], rtol=1e-8)
