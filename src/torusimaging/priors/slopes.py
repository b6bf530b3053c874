"""Priors of slopes as residuals, whose squares, halved, are minus the ln of the prior."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def slope_residuals(
    vals: Float[Array, " n"],
    reference: Float[Array, "..."],
    l2_sigma: Float[Array, ""],
    smooth_sigma: Float[Array, ""],
) -> Float[Array, " k"]:
    r"""Residuals of the default prior on ln-slopes: a normal about a reference and a random walk.

    With d_i = v_i - v_ref,i:  -2 ln p = sum (d_i / l2_sigma)^2 + sum ((d_{i+1} - d_i) /
    smooth_sigma)^2 + const.  Unlike a normal on the slope itself it holds ln-slopes of vanishing
    slopes in place, so the posterior has no direction that is flat to minus infinity.
    """
    off = vals - reference
    return jnp.concatenate([off / l2_sigma, jnp.diff(off) / smooth_sigma])


def student_residuals(residuals: Float[Array, " n"], dof: Float[Array, ""]) -> Float[Array, " n"]:
    r"""Residuals whose squares, halved, are minus the ln of a multivariate Student's t.

    The given ones, y, are normal of sd tau with an unknown tau: tau^2 is inverse-gamma of shape
    dof/2 and scale dof/2.  Integrated over tau, -2 ln p = (dof + n) ln(1 + Q / dof) + const. with
    Q = \|y\|^2 (Gelman et al. 2013, Bayesian Data Analysis, section 12.1), which is the square of
    y sqrt((dof + n) ln(1 + Q / dof) / Q).
    """
    square = jnp.sum(residuals**2) / dof
    # ln(1 + q) / q at small q by its series: the quotient has no slope at 0.
    small = square < 1e-4
    safe = jnp.where(small, 1.0, square)
    ratio = jnp.where(small, 1 - square / 2 + square**2 / 3, jnp.log1p(safe) / safe)
    return residuals * jnp.sqrt((1 + residuals.size / dof) * ratio)


def published_slope_residuals(
    vals: Float[Array, " n"], l2_sigma: Float[Array, ""], smooth_sigma: Float[Array, ""]
) -> Float[Array, " k"]:
    """Residuals of a normal prior on the slopes exp(v) themselves and on their differences.

    Source: the description in the published tutorial (Price-Whelan et al. 2025).
    """
    slopes = jnp.exp(vals)
    return jnp.concatenate([slopes / l2_sigma, jnp.diff(slopes) / smooth_sigma])
