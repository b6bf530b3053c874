"""Likelihoods of binned data."""

import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float


def gaussian_residuals(
    model: Float[Array, " n"], label: Float[Array, " n"], label_err: Float[Array, " n"]
) -> Float[Array, " n"]:
    """(label - model) / label_err."""
    return (label - model) / label_err


def ln_gaussian(
    model: Float[Array, " n"], label: Float[Array, " n"], label_err: Float[Array, " n"]
) -> Float[Array, ""]:
    """Sum of ln N(label | model, label_err), normalised."""
    chi = gaussian_residuals(model, label, label_err)
    return -0.5 * jnp.sum(chi**2 + jnp.log(2 * jnp.pi * label_err**2))


def ln_poisson(ln_rate: Float[Array, " n"], counts: Float[Array, " n"]) -> Float[Array, ""]:
    """Sum of ln Poisson(counts | exp(ln_rate)), normalised."""
    return jnp.sum(counts * ln_rate - jnp.exp(ln_rate) - gammaln(counts + 1.0))


def poisson_residuals(ln_rate: Array, counts: Array) -> Array:
    r"""Signed roots of the deviance: half their squares sum to -ln Poisson up to a constant.

    With t = ln(rate / k):  d = sign(t) sqrt(2 k (e^t - 1 - t)) for k > 0 and sqrt(2 rate) for
    k = 0 (McCullagh & Nelder 1989, section 2.4).  It is smooth through t = 0, where a series
    replaces the difference of nearly equal terms.
    """
    k = jnp.where(counts > 0, counts, 1.0)
    t = ln_rate - jnp.log(k)
    near = jnp.abs(t) < 1e-2
    far = jnp.where(near, 1.0, t)
    series = jnp.where(near, t, 0.0)
    squared = 1 + series / 3 + series**2 / 12 + series**3 / 60 + series**4 / 360
    slope = jnp.where(near, squared, 2 * (jnp.expm1(far) - far) / far**2)
    return jnp.where(
        counts > 0, jnp.sqrt(k) * t * jnp.sqrt(slope), jnp.sqrt(2.0) * jnp.exp(0.5 * ln_rate)
    )
