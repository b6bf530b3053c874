"""The optimum of a problem."""

import jax
import numpy as np

from . import optimize
from .problem import Problem, evaluate, minus_ln_posterior, residuals


def solve(problem: Problem, start: dict, max_steps: int, throw: bool) -> optimize.OptimizeResult:
    """Maximise the posterior of the parameters from `start`.

    Raises ``RuntimeError`` with the state's sentence, unless ``throw=False``, where the optimiser
    did not converge.
    """
    z = problem.free(start)
    if problem.least_squares:
        z, steps, good = optimize.minimise_squares(residuals, z, problem, max_steps)
    else:
        z, steps, good = optimize.minimise(minus_ln_posterior, z, problem, max_steps)
    value = float(evaluate(minus_ln_posterior, z, problem))
    code = optimize.judge(minus_ln_posterior, z, problem, value, bool(good))
    # At a bound z runs to infinity: the optimum is then put just inside.
    z, limited = problem.bounds.inside(z)
    names = [n for n, end in zip(problem.layout.names(), limited, strict=True) if end]
    state = optimize.describe(code, value, int(steps), names)
    if throw and not state.success:
        raise RuntimeError(f"{state.message} (objective {state.value:.6g}, {steps} steps)")
    return optimize.OptimizeResult(jax.tree.map(np.asarray, problem.params(z)), state)
