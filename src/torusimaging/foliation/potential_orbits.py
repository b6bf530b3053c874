r"""Actions, angles and frequencies of stars in the potential family.

See `foliation.grid` for the formulae.  On each side of the plane, with phi the phase there
(0 at the plane, pi / 2 at the turning point), the time since the plane is

    t(phi; s) = \int_0^phi g(s sin phi') dphi',     g(w) = w / |dPhi/dq| where sqrt(2 Phi(q)) = w,

so t Omega_side - phi is tabulated over (s, phi); the canonical angle is Omega times the time since
the star last moved up through the plane.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..coordinates import Points
from .density import Side
from .grid import (
    STRETCH,
    HalfTable,
    OrbitGrid,
    evaluate_cells,
    hermite_cells,
    orbit_integrals,
    side_frequency2,
)
from .tables import BEYOND, INSIDE, NOT_FINITE, Orbits, cubic_rows, hermite_rows

N_PHASE = 64


class SideOrbits(eqx.Module):
    """Orbits of one side over the speed s at the plane: r, 1/Omega, height and phase shift."""

    half: HalfTable
    inverse: Float[Array, "c 6"]
    height: Float[Array, "c 6"]
    top: Float[Array, ""]
    shift: Float[Array, "n m"]
    shift_slope: Float[Array, "n m"]

    @classmethod
    def of(cls, side: Side, grid: OrbitGrid) -> "SideOrbits":
        """Tabulate a side over the orbits of a grid."""
        half = HalfTable.of(side, grid)
        s, inverse = half.speed, orbit_integrals(side, grid)[2]
        centre = 1 / jnp.sqrt(side_frequency2(side))[None]
        slope = _inverse_slope(side, grid)
        inverse = jnp.concatenate([centre, inverse])
        # The quadratic through the first cell's ends and last slope; the cell is tiny.
        first = 2 * (inverse[1] - inverse[0]) / s[1] - slope[0]
        slope = jnp.concatenate([first[None], slope])
        heights = jnp.concatenate([jnp.zeros(1), grid.heights])
        rise = jnp.concatenate([centre, s[1:] / side.force(grid.heights)])
        rows = jnp.concatenate([jnp.zeros(1, int), grid.even + 1])
        shift, shift_slope = _phase_shift(side, s[rows], heights[rows], inverse[rows])
        return cls(
            half,
            hermite_cells(s, inverse, slope),
            hermite_cells(s, heights, rise),
            grid.top,
            shift,
            shift_slope,
        )

    def time(self, s: Array, phase: Array, inverse: Array) -> Array:
        """Time since the plane at phases in [0, pi]."""
        height = evaluate_cells(self.half.speed, self.height, s)
        # The table's heights are even in this variable.
        x = jnp.arcsinh(jnp.sinh(STRETCH) * height / self.top) / STRETCH
        row, weights = cubic_rows(jnp.clip(x, 0.0, 1.0), self.shift.shape[0])
        late = phase > jnp.pi / 2
        folded = jnp.where(late, jnp.pi - phase, phase)
        shift = hermite_rows(self.shift, self.shift_slope, jnp.pi / 2, row, weights, folded)
        return inverse * (phase + jnp.where(late, -shift, shift))


def _inverse_slope(side: Side, grid: OrbitGrid) -> Array:
    """d(1/Omega)/ds of the grid's orbits: the quadrature's integrand differentiated at fixed u."""
    h, kappa2 = grid.heights, side.kappa2(grid)
    pull = side.force(h)
    moved = pull[:, None] - grid.sines * side.force(h[:, None] * grid.sines)
    change = 2 * moved / (h[:, None] * grid.cosines) ** 2 - 2 * kappa2 / h[:, None]
    by_height = -(2 / jnp.pi) * jnp.sum(grid.weights * change / (2 * kappa2**1.5), axis=1)
    return by_height * jnp.sqrt(2 * side.potential(h)) / pull


def _phase_shift(side: Side, s: Array, heights: Array, inverse: Array) -> tuple[Array, Array]:
    """t Omega_side - phi and its slope at N_PHASE + 1 phases in [0, pi / 2], a row for each s."""
    phase = jnp.linspace(0.0, jnp.pi / 2, 2 * N_PHASE + 1)
    w = s[1:, None] * jnp.sin(phase)
    q = jnp.interp(w, s, heights)
    inside = w > 0
    for _ in range(5):
        pull = jnp.where(inside, side.force(q), 1.0)
        q = jnp.where(inside, q - (side.potential(q) - w**2 / 2) / pull, 0.0)
    g = jnp.where(inside, w / jnp.where(inside, side.force(q), 1.0), inverse[0])
    cell = jnp.pi / 2 / N_PHASE
    pieces = cell / 6 * (g[:, :-2:2] + 4 * g[:, 1::2] + g[:, 2::2])
    total = jnp.concatenate([jnp.zeros((w.shape[0], 1)), jnp.cumsum(pieces, axis=1)], axis=1)
    # The last column is a quarter of the orbit exactly, so angles close.
    total = total * (jnp.pi / 2 / total[:, -1:])
    slope = g[:, ::2] / inverse[1:, None] - 1.0
    zero = jnp.zeros((1, N_PHASE + 1))
    return (
        jnp.concatenate([zero, total - phase[::2]]),
        jnp.concatenate([zero, slope]),
    )


@eqx.filter_jit
def potential_orbits(foliation: Any, points: Points) -> Orbits:
    """Action, angle, frequency and period of points; NaN and a flag beyond the last orbit.

    `foliation` is a `PotentialFoliation`, of which the fine grid is taken.  flag: 0 inside, 1
    beyond the last orbit of the grid, 2 input not finite.
    """
    pos, vel, grid = points.pos, points.vel, foliation.fine
    finite = jnp.isfinite(pos) & jnp.isfinite(vel)
    s = foliation.speed(Points(jnp.where(finite, pos, 0.0), jnp.where(finite, vel, 0.0)))
    inside = finite & (s <= foliation.last_speed())
    flag = jnp.where(finite, jnp.where(inside, INSIDE, BEYOND), NOT_FINITE)
    q = jnp.where(inside, pos - foliation.pos0, 0.0)
    p = jnp.where(inside, vel - foliation.vel0, 0.0)
    s = jnp.where(inside, s, 0.0)
    w = jnp.sqrt(2 * foliation.potential(q + foliation.pos0))
    up = SideOrbits.of(foliation.above, grid)
    r, inverse = up.half.radius(s), evaluate_cells(up.half.speed, up.inverse, s)
    if foliation.below is None:
        phase = jnp.arctan2(w, jnp.where(q >= 0, p, -p))
        time = up.time(s, phase, inverse) + jnp.where(q >= 0, 0.0, jnp.pi * inverse)
        action, mean = r**2 / 2, inverse
    else:
        down = SideOrbits.of(foliation.below, grid)
        low = evaluate_cells(down.half.speed, down.inverse, s)
        above = up.time(s, jnp.arctan2(w, p), inverse)
        below = jnp.pi * inverse + down.time(s, jnp.arctan2(w, -p), low)
        time = jnp.where(q >= 0, above, below)
        action, mean = (r**2 + down.half.radius(s) ** 2) / 4, (inverse + low) / 2
    nan = jnp.where(inside, 0.0, jnp.nan)
    theta = jnp.mod(time / mean, 2 * jnp.pi)
    return Orbits(action + nan, theta + nan, 1 / mean + nan, 2 * jnp.pi * mean + nan, flag)
