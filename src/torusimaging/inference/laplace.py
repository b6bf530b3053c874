"""The normal approximation of a posterior at its maximum."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats
from jaxtyping import Array, Float


@eqx.filter_jit
def _hessian(objective: Callable, z: Float[Array, " d"], args: Any) -> Float[Array, "d d"]:
    return jax.hessian(objective)(z, args)


def curvature(objective: Callable, z: Float[Array, " d"], args: Any) -> np.ndarray:
    """Second derivatives of ``objective(z, args)`` along each component of z, shape (d,)."""
    return np.diag(np.asarray(_hessian(objective, z, args)))


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


class Weighted(NamedTuple):
    """Draws w of the standard normal, with the ln posterior there and smoothed weights.

    `ln_ratio` are the raw ln weights, none more than 700 below the largest; `ln_weights` are
    smoothed and normalised; `pareto_k` is the shape of the tail of the raw ones; `ln_mean`, the ln
    of the smoothed weights' mean, estimates that of the integral of the posterior over w.
    """

    draws: np.ndarray
    logdensity: np.ndarray
    ln_ratio: np.ndarray
    ln_weights: np.ndarray
    pareto_k: float
    ln_mean: float

    @property
    def ess(self) -> float:
        """Effective number of draws, 1 / sum of the squared weights."""
        return float(1 / np.sum(np.exp(2 * self.ln_weights)))


@eqx.filter_jit
def _ln_densities(ln_density: Callable, draws: Float[Array, "n d"], args: Any) -> Array:
    return jax.lax.map(lambda w: ln_density(w, args), draws, batch_size=16)


def weigh_normal(ln_density: Callable, args: Any, d: int, size: int, seed: int) -> Weighted:
    """Importance weights of draws from the standard normal for ``exp(ln_density(w, args))``.

    Raw weights are smoothed by a generalised Pareto fit of their tail, whose shape k says whether
    they can be trusted: below 0.7 they can (Vehtari et al. 2024, arXiv:1507.02646).  A draw where
    the density is not finite has no weight.
    """
    draws = np.random.default_rng(seed).standard_normal((size, d))
    logdensity = np.asarray(_ln_densities(ln_density, jnp.asarray(draws), args))
    ratio = logdensity + 0.5 * np.sum(draws**2, axis=1)
    ratio = np.where(np.isfinite(ratio), ratio, -np.inf)
    if not np.isfinite(ratio).any():
        raise ValueError("the posterior is not finite at any draw of its normal approximation.")
    top = ratio.max()
    ratio = np.maximum(ratio - top, -700.0)
    # It takes minus the ln ratio, as leave-one-out cross-validation has it.
    ln_weights, k = array_stats.psislw(-ratio)
    ln_weights = np.asarray(ln_weights)
    ln_weights = ln_weights - np.logaddexp.reduce(ln_weights)
    # Smoothing leaves the middle draw alone: there the two differ by the normalisation.
    middle = np.argsort(ratio)[size // 2]
    ln_sum = top + ratio[middle] - ln_weights[middle] + 0.5 * d * np.log(2 * np.pi)
    ln_mean = float(ln_sum - np.log(size))
    return Weighted(draws, logdensity, ratio + top, ln_weights, float(k), ln_mean)
