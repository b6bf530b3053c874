"""The normal approximation of a posterior at its maximum."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


@eqx.filter_jit
def _hessian(objective: Callable, z: Float[Array, " d"], args: Any) -> Float[Array, "d d"]:
    return jax.hessian(objective)(z, args)


def laplace_factor(objective: Callable, z: Float[Array, " d"], args: Any) -> Float[Array, "d d"]:
    """A matrix L with L L^T = inverse Hessian of ``objective(z, args)`` at `z`.

    Raises ``ValueError`` where the Hessian is not positive definite, that is, where `z` is no
    minimum or a direction is not constrained at all.
    """
    hessian = np.asarray(_hessian(objective, z, args))
    values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T))
    if not np.all(np.isfinite(values)) or values[0] <= 1e-12 * values[-1]:
        raise ValueError(
            "the curvature of the posterior is not positive in every direction "
            f"(smallest eigenvalue {values[0]:.3g}): optimise first, or use a tighter prior."
        )
    return jnp.asarray(vectors / np.sqrt(values))
