"""Objectives of many data: value and slope by all cores, curvature, and the way to the minimum."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.optimize import minimize

from ..parallel import Threads, cores

# Steps of a free vector whose entries change things by some hundredths: slopes are good to 1e-12.
STEP = 1e-4
ROUNDS = 4  # times that BFGS begins


@eqx.filter_jit
def _data(z: Array, problem: Any, part: Array, parts: int) -> tuple[Array, Array]:
    def cost(y):
        share = part, parts
        return problem.likelihood.cost_of(problem.model, problem.params(y), share)

    return jax.value_and_grad(cost)(z)


@eqx.filter_jit
def _prior(z: Array, problem: Any, prior: Any) -> tuple[Array, Array]:
    return jax.value_and_grad(prior)(z, problem)


class Slopes:
    """Value and slope of an objective: minus the ln likelihood of shares of the data, and a prior.

    `prior` is minus the ln of one as a function of (z, problem).  Each core has a share of the
    data; one program serves all of them.
    """

    def __init__(self, problem: Any, prior: Any):
        self.problem, self.prior = problem, prior
        self.parts = cores() if problem.likelihood.shares > 1 else 1

    def __call__(self, z: Array) -> tuple[float, np.ndarray]:
        """Value and slope at z."""
        with Threads(self.parts) as pool:
            parts = list(
                pool.map(
                    lambda k: jax.block_until_ready(
                        _data(z, self.problem, jnp.asarray(k), self.parts)
                    ),
                    range(self.parts),
                )
            )
        values, slopes = zip(*parts, _prior(z, self.problem, self.prior), strict=True)
        return float(sum(map(float, values))), np.sum([np.asarray(x) for x in slopes], axis=0)

    def curvature(self, z: Array) -> np.ndarray:
        """Second derivatives as central differences of slopes, shape (d, d)."""
        columns = []
        for unit in np.eye(z.size) * STEP:
            ends = [self(z + sign * unit)[1] for sign in (1, -1)]
            columns.append((ends[0] - ends[1]) / (2 * STEP))
        raw = np.stack(columns)
        return 0.5 * (raw + raw.T)

    def minimise(self, start: Array, max_steps: int, accuracy: float) -> tuple[Array, int, bool]:
        """scipy's BFGS in units of the curvature at the start: z, number of steps, how it ended.

        It ends where a Newton step would lower the objective by less than `accuracy`.  Where it
        ends before, it begins again in units of the curvature there.
        """
        z, steps = start, 0
        for _ in range(ROUNDS):
            curvature = self.curvature(z)
            if not np.all(np.isfinite(curvature)):
                return z, steps, False
            sizes, vectors = np.linalg.eigh(curvature)
            # Away from a minimum some curvatures are negative; steps along them are as long.
            sizes = np.maximum(np.abs(sizes), 1e-10 * np.abs(sizes).max())
            root, begin = vectors / np.sqrt(sizes), z

            def expand(w, root=root, begin=begin):
                value, slope = self(begin + jnp.asarray(root @ w))
                return value, root.T @ slope

            found = minimize(
                expand,
                np.zeros(z.size),
                jac=True,
                method="BFGS",
                options={"gtol": np.sqrt(2 * accuracy / z.size), "maxiter": max_steps - steps},
            )
            z, steps = begin + jnp.asarray(root @ found.x), steps + int(found.nit)
            if found.success or steps >= max_steps:
                return z, steps, bool(found.success)
        return z, steps, False
