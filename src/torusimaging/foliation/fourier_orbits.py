r"""Actions, angles and frequencies of any Fourier foliation, from tables over its contours.

On a contour r = const, with (X, Y) area-preserving (see `foliation.fourier`):

* J(r) = (1/4 pi) \oint r_e^2 dtheta_e, the enclosed area over 2 pi; a periodic integrand, so the
  trapezoid rule converges fast.
* theta = (1/2) d/dJ \int_0^theta_e r_e^2 dtheta_e', that is F(theta_e) with
  F = \int_0^theta_e g / g_0, g = r_e dr_e/dr, g_0 its mean over the contour, dJ/dr = g_0.
* T = \oint dq/p, Omega = 2 pi / T.

These depend on r (and, for theta, on theta_e) alone: they are tabulated once for a set of
parameters, and a star then costs one forward map and a few interpolations.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..coordinates import Points
from .base import solve_ray
from .tables import BEYOND, INSIDE, NOT_FINITE, Orbits, cubic_rows, hermite_rows, interpolate_rows


def solve_r_e(foliation: Any, r: Array, theta_e: Array, max_steps: int = 100) -> Array:
    """Elliptical radius of the point at angle theta_e on the orbit r.

    NaN where no root is found (the orbit does not reach that direction).
    """
    r, theta_e = jnp.broadcast_arrays(jnp.asarray(r, float), jnp.asarray(theta_e, float))
    return solve_ray(
        lambda u: foliation.distort(u, theta_e) - r,
        lambda u: foliation.distort_slope(u, theta_e),
        r,
        r,
        max_steps,
    )


class OrbitTable(eqx.Module):
    """J, Omega and the angle correction of a foliation on a grid of orbits and angles."""

    r_max: Float[Array, ""]
    period: float = eqx.field(static=True)
    action_ratio: Float[Array, " n"]
    omega: Float[Array, " n"]
    omega_energy: Float[Array, " n"]
    shift: Float[Array, "n m"]
    shift_slope: Float[Array, "n m"]

    @property
    def r(self) -> Float[Array, " n"]:
        """Orbit radii of the rows, from 0 to r_max."""
        return jnp.linspace(0.0, 1.0, self.omega.shape[0]) * self.r_max


def last_radius(foliation: Any, r_e_max: Array, n_r: int = 512, n_theta: int = 65):
    """(r_max, r_e limit): the largest orbit that stays inside `r_e_max` and crosses no other."""
    r_e = jnp.linspace(0.0, 1.0, n_r + 1)[1:, None] * r_e_max
    theta = jnp.linspace(0.0, jnp.pi, n_theta)
    slope = jnp.min(foliation.distort_slope(r_e, theta), axis=1)
    # The last r_e before the first crossing; cumulative, since all smaller orbits must be valid.
    valid = jnp.cumprod(slope > 0.0)
    limit = jnp.max(jnp.where(valid == 1, r_e[:, 0], 0.0))
    return jnp.min(foliation.distort(limit, theta)), limit


@eqx.filter_jit
def tabulate(foliation: Any, r_e_max: Array, n_r: int = 257, n_theta: int = 256) -> OrbitTable:
    """Tabulate the orbits inside `r_e_max` (kpc^(1/2) (kpc/Myr)^(1/2), the unit of r).

    The integral for the angle uses Simpson's rule in each of `n_theta` cells.
    """
    r_max, _ = last_radius(foliation, r_e_max)
    period = jnp.pi / 2 if foliation.even else jnp.pi
    theta = jnp.linspace(0.0, period, 2 * n_theta + 1)
    # The row r = 0 is the harmonic limit; it is set by hand, not solved.
    r = jnp.linspace(0.0, 1.0, n_r)[1:, None] * r_max
    r_e = solve_r_e(foliation, r, theta)
    slope = foliation.distort_slope(r_e, theta)
    weights = jnp.ones(theta.size).at[jnp.array([0, -1])].set(0.5) / (theta.size - 1)

    g = r_e / slope
    g0 = g @ weights
    cell = period / n_theta
    pieces = cell / 6 * (g[:, :-2:2] + 4 * g[:, 1::2] + g[:, 2::2])
    total = jnp.concatenate([jnp.zeros((n_r - 1, 1)), jnp.cumsum(pieces, axis=1)], axis=1)
    total = total * (period / total[:, -1:])
    nodes = theta[::2]
    if foliation.has_force:
        time = (1.0 + foliation.angle_slope(r_e, theta)) @ weights
        omega = foliation.omega0 / time
        side = 0 if foliation.convention == "vp" else (-1 if foliation.even else n_theta)
        q = r_e[:, side] / jnp.sqrt(foliation.omega0)
        force = -foliation.acceleration(q + foliation.pos0)
        energy_slope = force / jnp.sqrt(foliation.omega0) / slope[:, side]
        omega_energy = energy_slope / g0
    else:
        omega = omega_energy = jnp.full(n_r - 1, jnp.nan)
    zero = jnp.zeros((1, n_theta + 1))
    centre = jnp.ones(1) * (foliation.omega0 if foliation.has_force else jnp.nan)
    return OrbitTable(
        r_max=r_max,
        period=float(jnp.pi / 2 if foliation.even else jnp.pi),
        action_ratio=jnp.concatenate([jnp.ones(1), (r_e**2) @ weights / r[:, 0] ** 2]),
        omega=jnp.concatenate([centre, omega]),
        omega_energy=jnp.concatenate([centre, omega_energy]),
        shift=jnp.concatenate([zero, total - nodes]),
        shift_slope=jnp.concatenate([zero, g[:, ::2] / g0[:, None] - 1.0]),
    )


def _canonical(table: OrbitTable, even: bool, row, weights, theta_e: Array) -> Array:
    """F(theta_e) for any theta_e in [0, 2 pi), by the symmetries of the cosine series."""
    flip = theta_e > jnp.pi
    folded = jnp.where(flip, 2 * jnp.pi - theta_e, theta_e)
    sign = jnp.where(flip, -1.0, 1.0)
    if even:
        far = folded > jnp.pi / 2
        folded = jnp.where(far, jnp.pi - folded, folded)
        sign = jnp.where(far, -sign, sign)
    return theta_e + sign * hermite_rows(
        table.shift, table.shift_slope, table.period, row, weights, folded
    )


@eqx.filter_jit
def orbits(foliation: Any, table: OrbitTable, points: Points) -> Orbits:
    """Action, angle, frequency and period of points; NaN and a flag where the model ends.

    flag: 0 inside, 1 beyond the last orbit of the table, 2 input not finite.
    """
    r = foliation.radius(points)
    _, theta_e = foliation.elliptical(points)
    finite = jnp.isfinite(points.pos) & jnp.isfinite(points.vel)
    # A far star may fold back to a small r beyond the last knot: its r_e must be inside, too.
    reach = _inside_last(foliation, table, points)
    inside = finite & (r <= table.r_max) & reach
    flag = jnp.where(finite, jnp.where(inside, INSIDE, BEYOND), NOT_FINITE)
    x = jnp.where(inside, r / table.r_max, 0.0)
    row, weights = cubic_rows(x, table.omega.shape[0])
    theta_e = jnp.where(inside, theta_e, 0.0)
    theta = _canonical(table, foliation.even, row, weights, theta_e)
    if foliation.convention == "vp":
        right = jnp.full_like(theta_e, jnp.pi / 2)
        theta = _canonical(table, foliation.even, row, weights, right) - theta
    action = 0.5 * r**2 * interpolate_rows(table.action_ratio, row, weights)
    omega = interpolate_rows(table.omega, row, weights)
    nan = jnp.where(inside, 0.0, jnp.nan)
    theta = jnp.mod(theta, 2 * jnp.pi)
    return Orbits(action + nan, theta + nan, omega + nan, 2 * jnp.pi / omega + nan, flag)


def _inside_last(foliation, table: OrbitTable, points: Points) -> Array:
    """Whether a star lies inside the last orbit: r_e at most that orbit's r_e + rounding.

    The largest r_e on the last orbit bounds every valid star, because contours inside it are
    nested.
    """
    angles = jnp.linspace(0.0, jnp.pi, 257)
    edge = jnp.max(solve_r_e(foliation, jnp.full_like(angles, table.r_max), angles))
    x, y = foliation.scaled(points)
    return jnp.hypot(x, y) <= edge * (1 + 1e-12)
