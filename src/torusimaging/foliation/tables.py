"""Look-ups that the tables of every orbit family share."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# Of a star: inside the model; beyond its last orbit; not finite; on an orbit that turns beyond the
# data, so that its action rests on the prior's density.
INSIDE, BEYOND, NOT_FINITE, OUTWARD = 0, 1, 2, 3


class Orbits(NamedTuple):
    """Action-angle variables of stars (kpc^2/Myr, rad, rad/Myr, Myr) with a flag for each."""

    J: Float[Array, " s"]
    theta: Float[Array, " s"]
    Omega: Float[Array, " s"]
    T: Float[Array, " s"]
    flag: Int[Array, " s"]


def cubic_rows(x: Array, n: int) -> tuple[Array, tuple[Array, Array, Array, Array]]:
    """Row and weights of four-point Lagrange interpolation at x in [0, 1] on n even nodes."""
    s = x * (n - 1)
    row = jnp.clip(jnp.floor(s).astype(jnp.int32), 1, n - 3)
    t = s - row
    return row - 1, (
        -t * (t - 1) * (t - 2) / 6,
        (t + 1) * (t - 1) * (t - 2) / 2,
        -(t + 1) * t * (t - 2) / 2,
        (t + 1) * t * (t - 1) / 6,
    )


def interpolate_rows(column: Array, row: Array, weights) -> Array:
    """A column of a table at rows and weights of `cubic_rows`."""
    return sum(w * column[row + k] for k, w in enumerate(weights))


def hermite_rows(
    values: Float[Array, "n m"],
    slopes: Float[Array, "n m"],
    period: float,
    row: Array,
    weights,
    angle: Array,
) -> Array:
    """A table over rows and angles in [0, period]: Hermite in the angle, Lagrange in the rows."""
    n = values.shape[1] - 1
    cell = period / n
    s = angle / cell
    i = jnp.clip(jnp.floor(s).astype(jnp.int32), 0, n - 1)
    t = s - i
    h00, h10 = (1 + 2 * t) * (1 - t) ** 2, t * (1 - t) ** 2
    h01, h11 = t**2 * (3 - 2 * t), t**2 * (t - 1)
    flat, slope, width = values.ravel(), slopes.ravel(), n + 1
    out = jnp.zeros_like(angle)
    for k, w in enumerate(weights):
        at = (row + k) * width + i
        value = h00 * flat[at] + h01 * flat[at + 1]
        out = out + w * (value + cell * (h10 * slope[at] + h11 * slope[at + 1]))
    return out
