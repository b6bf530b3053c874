"""Second-order optimisation, with an outcome that a person and a script can read."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float

from .laplace import hessian, inverse_root

CONVERGED, MAX_STEPS, NOT_FINITE, AT_LIMIT, STALLED = 0, 1, 2, 3, 4
MESSAGES = {
    CONVERGED: "The optimiser converged.",
    MAX_STEPS: "The optimiser did not converge: it was still on its way down after its last step; "
    "allow more of them (max_steps), start nearer to the optimum, or use fewer knots or narrower "
    "priors.",
    NOT_FINITE: "The objective is not finite where the optimiser started: start with parameters "
    "that give every pixel a label.",
    AT_LIMIT: "The optimiser converged at a limit of the parameters",
    STALLED: "The optimiser did not converge: it stalled where no step lowers the objective by "
    "more than its rounding, or stays where it is finite, though its slope is not zero; start "
    "elsewhere, or use narrower priors.",
}
# A minimum is reached where a Newton step would lower minus the ln posterior by no more than this,
# that is, a thousandth of a standard deviation.
NEGLIGIBLE = 1e-6


class OptimizeState(NamedTuple):
    """How an optimisation ended; `message` says it.

    `code` is 0 for success, 3 for success at a limit, 1 where the steps did not suffice, 2 where
    the objective is not finite at the start, and 4 where no step lowers it any more.
    """

    success: bool
    code: int
    message: str
    iter_num: int
    value: float


class OptimizeResult(NamedTuple):
    """Best parameters, the state of the optimiser, and the data and model they belong to."""

    params: dict
    state: OptimizeState


class SquaresFit(NamedTuple):
    """Where Levenberg-Marquardt stands: the best z so far, with its expansion, and a trial.

    `value`, `gradient` and `normal` are half the sum of squares, J^T r and J^T J at z.
    """

    z: Float[Array, " d"]
    value: Float[Array, ""]
    gradient: Float[Array, " d"]
    normal: Float[Array, "d d"]
    trial: Float[Array, " d"]
    expected: Float[Array, ""]
    damping: Float[Array, ""]
    growth: Float[Array, ""]
    steps: Array
    finished: Array


def _scale(normal: Float[Array, "d d"]) -> Float[Array, " d"]:
    """The diagonal of J^T J; a floor for parameters at their limit, without curvature."""
    diagonal = jnp.diag(normal)
    return jnp.maximum(diagonal, 1e-10 * jnp.max(diagonal))


def _cosine(gradient: Array, normal: Array, value: Array) -> Array:
    """The largest cosine of the angle between the residuals and a column of J."""
    return jnp.max(jnp.abs(gradient) / jnp.sqrt(_scale(normal) * 2 * value))


def minimise_squares(
    residuals: Callable, start: Float[Array, " d"], args: Any, max_steps: int
) -> tuple[Float[Array, " d"], Array, Array]:
    """The best z, the number of steps and whether they ended well, of `fit_squares`."""
    fit = fit_squares(residuals, start, args, max_steps)
    return fit.z, fit.steps, fit.finished


@eqx.filter_jit
def fit_squares(
    residuals: Callable, start: Float[Array, " d"], args: Any, max_steps: int
) -> SquaresFit:
    r"""Levenberg-Marquardt: minimise half the sum of ``residuals(z, args) ** 2`` from `start`.

    Steps solve (J^T J + \mu D) s = -J^T r, D the diagonal of J^T J; \mu follows the ratio of the
    actual to the expected decrease.  It ends where every column of J is orthogonal to r, or where
    a step no longer changes z or the value; `finished` says whether it ended so.  Steps that only
    shrink because the residuals are not finite beyond z are no such end.

    Source: Nielsen 1999 (IMM-REP-1999-05) for \mu; More 1978 for the scaling and the tests.
    """

    def expand(z):
        r, push = jax.linearize(lambda y: residuals(y, args), z)
        jacobian = jax.vmap(push, out_axes=-1)(jnp.eye(z.size))
        return 0.5 * r @ r, r @ jacobian, jacobian.T @ jacobian

    def step(fit: SquaresFit) -> SquaresFit:
        # The only place that calls `residuals`, even for the start: it is compiled once.
        value, gradient, normal = expand(fit.trial)
        first = fit.steps == 0
        # Where the decrease drowns in round-off of the value, the gradient still tells the way.
        close = (jnp.abs(value - fit.value) <= 1e-11 * fit.value) & (
            _cosine(gradient, normal, value) < _cosine(fit.gradient, fit.normal, fit.value)
        )
        better = first | (value < fit.value) | close
        # A trial that is z itself, to rounding, tells nothing.
        apart = jnp.abs(fit.trial - fit.z) > 1e-15 * (1.0 + jnp.abs(fit.z))
        known = jnp.isfinite(value) & jnp.any(apart)
        ratio = jnp.where(first, 0.5, jnp.where(close, 1.0, (fit.value - value) / fit.expected))
        shrink = jnp.maximum(1 / 3, 1 - (2 * ratio - 1) ** 3)
        damping = fit.damping * jnp.where(better, jnp.where(first, 1.0, shrink), fit.growth)
        growth = jnp.where(better, 2.0, 2 * fit.growth)
        z, value, gradient, normal = jax.tree.map(
            lambda new, old: jnp.where(better, new, old),
            (fit.trial, value, gradient, normal),
            (fit.z, fit.value, fit.gradient, fit.normal),
        )
        scale = _scale(normal)
        move = -jax.scipy.linalg.solve(normal + damping * jnp.diag(scale), gradient, assume_a="pos")
        expected = 0.5 * move @ (damping * scale * move - gradient)
        still = known & jnp.all(jnp.abs(move) <= 1e-12 * (1.0 + jnp.abs(z)))
        # Kinks of the one-sided priors can leave steps that no longer lower the value.
        flat = known & (jnp.abs(fit.value - value) <= 1e-14 * value) & (expected <= 1e-13 * value)
        finished = (value == 0) | (_cosine(gradient, normal, value) <= 1e-11) | still | flat
        return SquaresFit(
            z, value, gradient, normal, z + move, expected, damping, growth, fit.steps + 1, finished
        )

    def unfinished(fit: SquaresFit):
        return ~fit.finished & (fit.steps < max_steps) & jnp.isfinite(fit.value)

    d = start.size
    zero, one = jnp.zeros(()), jnp.ones(())
    fit = SquaresFit(
        start,
        zero,
        jnp.zeros(d),
        jnp.eye(d),
        start,
        one,
        1e-3 * one,
        2 * one,
        jnp.array(0),
        jnp.array(False),
    )
    return jax.lax.while_loop(unfinished, step, fit)


@eqx.filter_jit
def minimise(
    objective: Callable, start: Float[Array, " d"], args: Any, max_steps: int
) -> tuple[Float[Array, " d"], Array, Array]:
    """BFGS for objectives that are no sum of squares; returns as `minimise_squares`."""
    solver = optx.BFGS(rtol=1e-9, atol=1e-9)
    out = optx.minimise(objective, solver, start, args, max_steps=max_steps, throw=False)
    return out.value, out.stats["num_steps"], out.result == optx.RESULTS.successful


def judge(
    objective: Callable,
    z: Float[Array, " d"],
    args: Any,
    value: float,
    good: bool,
    curvature: Callable[[Array], np.ndarray] | None = None,
) -> int:
    """The code of an optimisation that ended at `z`, where the solver's word was `good`.

    A solver that failed may yet be at the minimum to within rounding.  `curvature` gives second
    derivatives at z, by default `laplace.hessian`.
    """
    if not jnp.isfinite(value):
        return NOT_FINITE
    if good:
        return CONVERGED
    slope = np.asarray(_slope(objective, z, args))
    try:
        matrix = hessian(objective, z, args) if curvature is None else curvature(z)
        root = inverse_root(matrix)
    except ValueError:
        pass
    else:
        if 0.5 * np.sum((root.T @ slope) ** 2) <= NEGLIGIBLE:
            return CONVERGED
    lowest = float(jnp.nanmin(_downhill(objective, z, slope, args)))
    return MAX_STEPS if lowest < value - 1e-13 * abs(value) else STALLED


@eqx.filter_jit
def _slope(objective: Callable, z: Float[Array, " d"], args: Any) -> Float[Array, " d"]:
    return jax.grad(objective)(z, args)


@eqx.filter_jit
def _downhill(objective: Callable, z: Array, slope: Array, args: Any) -> Float[Array, " n"]:
    """The objective at z and at steps of ever smaller size against its slope."""
    sizes = jnp.concatenate([jnp.zeros(1), jnp.logspace(0.0, -12.0, 25)])
    unit = slope / jnp.sqrt(jnp.maximum(slope @ slope, 1e-300))
    return jax.lax.map(lambda size: objective(z - size * unit, args), sizes)


def describe(code: int, value: float, steps: int, limited: list[str]) -> OptimizeState:
    """The state of an optimisation that ended with a code, an objective value and after `steps`.

    `limited` are the parameters that ended at one of their bounds.
    """
    message = MESSAGES[code]
    if code == CONVERGED and limited:
        code, message = AT_LIMIT, f"{MESSAGES[AT_LIMIT]}: {', '.join(limited)}."
    return OptimizeState(code in (CONVERGED, AT_LIMIT), code, message, int(steps), float(value))
