import jax
import jax.numpy as jnp
import numpy as np
import pytest

from torusimaging.splines import QuadraticSpline, check_knots

KNOTS = np.array([0.0, 1.0, 2.5, 4.0])
SLOPES = np.array([1.0, 0.2, 2.0])
SPLINE = QuadraticSpline(jnp.asarray(KNOTS), jnp.asarray(0.3), jnp.asarray(SLOPES))


def by_linear_system(x):
    """The same spline from its defining equations, solved as a dense system."""
    n = len(KNOTS) - 1
    matrix, right = np.zeros((3 * n, 3 * n)), np.zeros(3 * n)
    row = 0

    def add(segment, coefficients, value):
        nonlocal row
        matrix[row, 3 * segment : 3 * segment + 3] += coefficients
        right[row] = value
        row += 1

    add(0, [KNOTS[0] ** 2, KNOTS[0], 1], 0.3)
    add(0, [1, 0, 0], 0.0)
    for i in range(n):
        add(i, [2 * KNOTS[i + 1], 1, 0], SLOPES[i])
    for i in range(1, n):
        k = KNOTS[i]
        add(i, [k**2, k, 1], 0.0)
        matrix[row - 1, 3 * i - 3 : 3 * i] = [-(k**2), -k, -1]
        add(i, [2 * k, 1, 0], SLOPES[i - 1])
    c = np.linalg.solve(matrix, right).reshape(n, 3)
    i = np.clip(np.searchsorted(KNOTS, x, side="right") - 1, 0, n - 1)
    return c[i, 0] * x**2 + c[i, 1] * x + c[i, 2]


def test_equals_the_dense_system():
    # Both are exact up to rounding.
    x = np.linspace(0, 4, 201)
    np.testing.assert_allclose(SPLINE(jnp.asarray(x)), by_linear_system(x), atol=1e-12)


def test_derivatives_match_autodiff():
    x = jnp.linspace(-1.0, 6.0, 57) + 0.013
    np.testing.assert_allclose(SPLINE.derivative(x), jax.vmap(jax.grad(SPLINE))(x), atol=1e-13)
    second = jax.vmap(jax.grad(SPLINE.derivative))(x)
    np.testing.assert_allclose(SPLINE.second_derivative(x), second, atol=1e-13)


def test_straight_beyond_the_knots():
    np.testing.assert_allclose(SPLINE.derivative(jnp.array([-3.0, 9.0])), [1.0, 2.0], atol=1e-13)


@pytest.mark.parametrize("bad", [[0.0, 0.0], [1.0], [0.0, np.nan], [0.0, 2.0, 1.0]])
def test_bad_knots(bad):
    with pytest.raises(ValueError, match="label_knots must be a finite, strictly increasing"):
        check_knots(bad, "label_knots")
