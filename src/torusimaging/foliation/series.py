"""Sums of simple functions at many places: a value and, where asked for, fast slopes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def powers_once(
    weights: Float[Array, " k"], knots: Float[Array, " k"], x: Float[Array, " n"], power: int
) -> Float[Array, " n"]:
    r"""\sum_k w_k (x - x_k)_+^power of many x, whose first derivatives are fast, and the only ones.

    Reverse differentiation of the plain sum goes through all x once for each weight.  Here the
    derivatives in the weights are one product of a matrix and a vector, and that in x is made
    beside the value; in the knots there is none.  Second derivatives would be wrong.
    """
    at, knots = jax.lax.stop_gradient((x, knots))
    rise = jnp.maximum(at - knots[:, None], 0.0)
    slope = jnp.zeros_like(at)
    for k in range(knots.shape[0]):
        step = jnp.maximum(at - knots[k], 0.0) ** (power - 1) if power > 1 else at > knots[k]
        slope = slope + power * weights[k] * step
    return weights @ rise**power + jax.lax.stop_gradient(slope) * (x - at)


def chebyshev(series: Float[Array, " k"], x: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""\sum_k c_k T_k(x) by Clenshaw's recurrence, unrolled: no search in a table."""
    one, two = jnp.zeros_like(x), jnp.zeros_like(x)
    for k in range(series.shape[0] - 1, 0, -1):
        one, two = series[k] + 2 * x * one - two, one
    return series[0] + x * one - two


def chebyshev_once(series: Float[Array, " k"], x: Float[Array, " n"]) -> Float[Array, " n"]:
    """The same of many x, with first derivatives alone, as `powers_once`; two terms or more."""
    at = jax.lax.stop_gradient(x)
    terms = [jnp.ones_like(at), at]
    for _ in range(2, series.shape[0]):
        terms.append(2 * at * terms[-1] - terms[-2])
    # The derivative is a sum of k c_k U_(k-1).
    slope, two = jnp.zeros_like(at), jnp.zeros_like(at)
    for k in range(series.shape[0] - 1, 0, -1):
        slope, two = k * series[k] + 2 * at * slope - two, slope
    return series @ jnp.stack(terms) + jax.lax.stop_gradient(slope) * (x - at)
