import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares

from torusimaging.inference.laplace import hessian, inverse_root, weigh_normal
from torusimaging.inference.optimize import (
    CONVERGED,
    MAX_STEPS,
    MESSAGES,
    NOT_FINITE,
    STALLED,
    describe,
    judge,
    minimise,
    minimise_squares,
)


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


def test_steps_that_only_shrink_are_no_end():
    # The slope asks for z < 0, where nothing is finite: z = 0 is no minimum that was found.
    def edge(z, _):
        return jnp.where(z < 0, jnp.nan, 1.0 + z)

    z, _, good = minimise_squares(edge, jnp.zeros(1), None, 60)
    assert not good
    assert judge(half(edge), z, None, 0.5, bool(good)) == STALLED


def half(residuals):
    """The objective of residuals."""
    return lambda z, args: 0.5 * jnp.sum(residuals(z, args) ** 2)


def test_failures_are_told_apart():
    start, far = jnp.array([-1.2, 1.0]), jnp.array([jnp.nan, 1.0])
    objective = half(rosenbrock)
    z, _, good = minimise_squares(rosenbrock, start, None, 3)
    assert judge(objective, z, None, float(objective(z, None)), bool(good)) == MAX_STEPS
    z, _, good = minimise(objective, start, None, 4)
    assert not good and judge(objective, z, None, float(objective(z, None)), False) == MAX_STEPS
    z, _, good = minimise(objective, far, None, 4)
    assert judge(objective, z, None, float(objective(z, None)), bool(good)) == NOT_FINITE
    texts = {describe(code, 1.0, 4, []).message for code in MESSAGES}
    assert len(texts) == len(MESSAGES)
    assert not any(describe(c, 1.0, 4, []).success for c in (MAX_STEPS, NOT_FINITE, STALLED))


def test_a_minimum_within_rounding_is_one():
    # A constant of 1e9 leaves 1e-7 of the objective: BFGS cannot end by its own tolerances.
    def lifted(z, _):
        return 1e9 + half(rosenbrock)(z, None)

    z, steps, good = minimise(lifted, jnp.array([-1.2, 1.0]), None, 300)
    np.testing.assert_allclose(z, [1, 1], atol=1e-3)
    assert judge(lifted, jnp.ones(2), None, 1e9, False) == CONVERGED
    assert judge(lifted, z, None, float(lifted(z, None)), bool(good)) == CONVERGED


def test_curvature_of_parameters_of_any_scale():
    # Correlation 0.6 and sds of 1e-7, 1 and 1e6; the closed form of the covariance is known.
    sd = np.array([1e-7, 1.0, 1e6])
    correlation = np.array([[1, 0.6, 0], [0.6, 1, 0], [0, 0, 1.0]])
    covariance = correlation * sd * sd[:, None]
    precision = np.linalg.inv(correlation) / sd / sd[:, None]

    def objective(z, _):
        return 0.5 * z @ jnp.asarray(precision) @ z

    factor = inverse_root(hessian(objective, jnp.zeros(3), None))
    np.testing.assert_allclose(factor @ factor.T / sd / sd[:, None], correlation, atol=1e-9)
    assert covariance[0, 1] == pytest.approx((factor @ factor.T)[0, 1])


@pytest.mark.parametrize(
    "curvature",
    [[[1.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, -1e-9]], [[1e12, 0.0], [0.0, 0.0]]],
)
def test_curvature_that_is_not_positive(curvature):
    with pytest.raises(ValueError, match="not positive in every direction"):
        inverse_root(np.array(curvature))


def test_draws_next_to_none_of_which_have_weight_are_not_trusted():
    """A density far narrower than its normal approximation leaves no tail of weights to fit."""
    found = weigh_normal(lambda w, scale: -scale * jnp.sum(jnp.abs(w)), jnp.array(1e8), 4, 500, 0)
    assert found.pareto_k == np.inf and np.isfinite(found.ln_weights).all()
    assert found.ess < 5
