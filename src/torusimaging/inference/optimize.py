"""Second-order optimisation, with an outcome that a person and a script can read."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Float

CONVERGED, MAX_STEPS, NOT_FINITE, AT_LIMIT = 0, 1, 2, 3
MESSAGES = {
    CONVERGED: "The optimiser converged.",
    MAX_STEPS: "The optimiser did not converge within the allowed number of steps.",
    NOT_FINITE: "The objective is not finite where the optimiser stopped.",
    AT_LIMIT: "The optimiser stopped at a limit of the parameters.",
}


class OptimizeState(NamedTuple):
    """How an optimisation ended: `code` 0 is success, `message` says it in a sentence."""

    success: bool
    code: int
    message: str
    iter_num: int
    value: float


class OptimizeResult(NamedTuple):
    """Best parameters, the state of the optimiser, and the data and model they belong to."""

    params: dict
    state: OptimizeState


@eqx.filter_jit
def minimise_squares(
    residuals: Callable, start: Float[Array, " d"], args: Any, max_steps: int
) -> tuple[Float[Array, " d"], Array, Array]:
    """Levenberg-Marquardt: minimise half the sum of ``residuals(z, args) ** 2`` from `start`.

    Returns the best z, the number of steps and whether the solver says it converged.
    """
    solver = optx.LevenbergMarquardt(rtol=1e-7, atol=1e-7)
    out = optx.least_squares(residuals, solver, start, args, max_steps=max_steps, throw=False)
    return out.value, out.stats["num_steps"], out.result == optx.RESULTS.successful


@eqx.filter_jit
def minimise(
    objective: Callable, start: Float[Array, " d"], args: Any, max_steps: int
) -> tuple[Float[Array, " d"], Array, Array]:
    """BFGS for objectives that are no sum of squares; returns as `minimise_squares`."""
    solver = optx.BFGS(rtol=1e-9, atol=1e-9)
    out = optx.minimise(objective, solver, start, args, max_steps=max_steps, throw=False)
    return out.value, out.stats["num_steps"], out.result == optx.RESULTS.successful


def describe(value: float, steps: int, successful: bool) -> OptimizeState:
    """The state that goes with an objective value, a number of steps and the solver's word."""
    code = CONVERGED if successful else MAX_STEPS
    if not jnp.isfinite(value):
        code = NOT_FINITE
    return OptimizeState(code == CONVERGED, code, MESSAGES[code], int(steps), float(value))
