"""Monotone quadratic splines, given by a value at the first knot and slopes at the others."""

import astropy.units as u
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .arguments import shown
from .units import internal, plain, plain_parameter


class QuadraticSpline(eqx.Module):
    r"""A quadratic spline :math:`f` with a given value at the first knot and given slopes.

    The slope :math:`f'` is linear between knots and takes the value ``slopes[i]`` at
    ``knots[i + 1]``.  The first segment is straight, which closes the system: the slope at the
    first knot equals ``slopes[0]``.  Then, with :math:`(x)_+ = \max(x, 0)` and :math:`s_i` the
    curvature of segment *i* (:math:`s_0 = 0`),

    .. math:: f(x) = f_0 + d_1 (x - x_0)
              + \tfrac12 \sum_{i \ge 1} (s_i - s_{i-1}) (x - x_i)_+^2 ,

    a sum of truncated powers: no linear system, no search for the segment.  Slopes of one sign
    make it monotone.  Outside the knots the spline goes on as a straight line with the slope of
    the end knot, so it stays monotone there.

    Parameters
    ----------
    knots : array, shape (n,), n >= 2, increasing
    value : scalar, the value at ``knots[0]``
    slopes : array, shape (n - 1,), the slopes at ``knots[1:]``

    Source: Price-Whelan et al. 2025 (arXiv:2401.07903), section 3, for the definition.
    """

    knots: Float[Array, " n"]
    value: Float[Array, ""]
    slopes: Float[Array, " m"]

    def bends(self) -> Float[Array, " m"]:
        """Change of curvature at ``knots[1:]``; the last one ends the curvature."""
        curvature = jnp.diff(self.slopes) / jnp.diff(self.knots)[1:]
        edge = jnp.zeros(1, self.slopes.dtype)
        return jnp.diff(jnp.concatenate([edge, curvature, edge]))

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The value f(x)."""
        out = self.value + self.slopes[0] * (x - self.knots[0])
        bends = self.bends()
        # Unrolled on purpose: a handful of fused multiply-adds beats a gather on a CPU.
        for i in range(bends.shape[0]):
            out = out + 0.5 * bends[i] * jnp.maximum(x - self.knots[i + 1], 0.0) ** 2
        return out

    def derivative(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The slope f'(x)."""
        out = jnp.zeros_like(x) + self.slopes[0]
        bends = self.bends()
        for i in range(bends.shape[0]):
            out = out + bends[i] * jnp.maximum(x - self.knots[i + 1], 0.0)
        return out

    def second_derivative(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The curvature f''(x), constant between knots (at a knot: that of the segment left)."""
        out = jnp.zeros_like(x)
        bends = self.bends()
        for i in range(bends.shape[0]):
            out = out + jnp.where(x > self.knots[i + 1], bends[i], 0.0)
        return out

    def jet(self, x: Float[Array, "..."]) -> tuple[Array, Array, Array]:
        """(f, f', f'') in array form: a short program, for a few points rather than for maps."""
        bends, rise = self.bends(), jnp.maximum(x[..., None] - self.knots[1:], 0.0)
        value = self.value + self.slopes[0] * (x - self.knots[0]) + 0.5 * rise**2 @ bends
        steps = (rise > 0).astype(bends.dtype)
        return value, self.slopes[0] + rise @ bends, steps @ bends


def check_knots(knots, name: str) -> None:
    """Raise a ``ValueError`` unless `knots` is a finite increasing list of two or more numbers."""
    k = plain(knots, name)
    if k.ndim != 1 or k.size < 2 or not np.all(np.isfinite(k)) or np.any(np.diff(k) <= 0):
        raise ValueError(
            f"{name} must be a finite, strictly increasing list of at least two knots, "
            f"but {shown(k.tolist())} was given."
        )


# The least distance of two knots in units of the last: closer ones cannot be told apart.
CLOSEST = 1e-6


def radial_knots(knots, unit: u.UnitBase, name: str) -> np.ndarray:
    """Knots in radius or height as plain numbers in `unit`, which plain ones are in.

    Raises ``ValueError`` as `check_knots` does, unless they start at 0, and for two that are closer
    to each other than a millionth of the last.
    """
    values = internal(knots, unit, name, allow_plain=True)
    check_knots(values, name)
    if values[0] != 0:
        raise ValueError(f"{name} must start at 0, but starts at {values[0]:g}.")
    gaps = np.diff(values)
    if gaps.min() < CLOSEST * values[-1]:
        raise ValueError(
            f"{name} must be at least {CLOSEST * values[-1]:.2g} apart, a millionth of the last, "
            f"but two of them are {gaps.min():.2g} apart."
        )
    return values


def plain_radii(radii, name: str) -> np.ndarray:
    """Plain numbers; a ``ValueError`` where one is negative, beyond which no spline goes."""
    values = plain_parameter(radii, name)
    if np.any(values < 0):
        raise ValueError(f"{name} must not be negative, but {np.nanmin(values):g} was given.")
    return values
