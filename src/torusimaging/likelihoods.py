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
