r"""The potential family: orbits of H = p^2/2 + Phi(q), with Phi'' = 4 pi G rho and rho > 0."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..coordinates import Points
from .base import Foliation, point_on_ray, unit_vector
from .density import FOUR_PI_G, Side
from .grid import HalfTable, OrbitGrid, side_frequency2
from .potential_orbits import potential_orbits
from .series import chebyshev, chebyshev_once
from .tables import INSIDE, OUTWARD, Orbits

# Terms of the series of r / s in a map of the speed s to [-1, 1] that opens up its first fifth.
TERMS, CORE = 25, 0.2
_NODES = np.cos(np.pi * (np.arange(TERMS) + 0.5) / TERMS)
_TO_SERIES = (np.where(np.arange(TERMS) == 0, 1, 2)[:, None] / TERMS) * np.cos(
    np.arange(TERMS)[:, None] * np.arccos(_NODES)
)


class SpeedSeries(eqx.Module):
    """r of orbits in a potential as a Chebyshev series: few numbers, and no table to look up.

    It is good to 1e-6 of r for a smooth density and to 1e-5 for one with kinks.
    """

    pos0: Float[Array, ""]
    vel0: Float[Array, ""]
    above: Side
    below: Side | None
    series: Float[Array, " t"]
    last: Float[Array, ""]
    slope: Float[Array, ""]

    @classmethod
    def of(cls, foliation: "PotentialFoliation") -> "SpeedSeries":
        """The series of a foliation's orbits up to the last of its grid."""
        tables = [HalfTable.of(side, foliation.grid) for side in foliation.all_sides]
        last = jnp.min(jnp.stack([table.speed[-1] for table in tables]))
        t = (jnp.asarray(_NODES) + 1) / 2
        s = CORE * last * t / (1 + CORE - t)
        series = jnp.asarray(_TO_SERIES) @ (_mean_radius(tables, s) / s)
        # Beyond the last orbit r goes on as a straight line.
        _, slope = jax.jvp(lambda x: _mean_radius(tables, x), (last,), (jnp.ones(()),))
        own = foliation.pos0, foliation.vel0, foliation.above, foliation.below
        return cls(*own, series, last, slope)

    def radius(self, points: Points, once: bool = False) -> Float[Array, "..."]:
        """sqrt(2 J) of the orbits through points."""
        s = _speed(self, points, once)
        beyond = jnp.maximum(s - self.last, 0.0)
        s = s - beyond
        x = 2 * (1 + CORE) * s / (s + CORE * self.last) - 1
        ratio = (chebyshev_once if once else chebyshev)(self.series, x)
        return s * ratio + self.slope * beyond

    def phase(self, points: Points) -> tuple[Array, Array]:
        """As `Foliation.phase`."""
        omega0 = jnp.sqrt(side_frequency2(self.above))
        return unit_vector(points.vel - self.vel0, omega0 * (points.pos - self.pos0))


def _on_sides(orbits: Any, q: Array, of: Callable[[Side, Array], Array]) -> Array:
    """A side's function at |q|, on the side of q, of what has sides."""
    x = jnp.abs(q)
    if orbits.below is None:
        return of(orbits.above, x)
    return jnp.where(q >= 0, of(orbits.above, x), of(orbits.below, x))


def _potential(orbits: Any, pos: Array, once: bool = False) -> Array:
    """Phi, 0 at the plane, of what has sides and a centre."""

    def of(side, x):
        return side.potential_once(x) if once else side.potential(x)

    return _on_sides(orbits, pos - orbits.pos0, of)


def _speed(orbits: Any, points: Points, once: bool = False) -> Array:
    """sqrt(2 E) of orbits through points."""
    twice = (points.vel - orbits.vel0) ** 2 + 2 * _potential(orbits, points.pos, once)
    # The root's slope is infinite at the centre, where a pixel may lie.
    safe = jnp.where(twice > 0, twice, 1.0)
    # At the centre the speed is zero; what is not a number stays one.
    return jnp.where(twice > 0, jnp.sqrt(safe), twice)


def _mean_radius(tables: list[HalfTable], s: Array) -> Array:
    """r of the orbits of speed s, whose action is the mean of those of the sides."""
    radii = [table.radius(s) for table in tables]
    return radii[0] if len(radii) == 1 else jnp.hypot(*radii) / jnp.sqrt(2.0)


class PotentialFoliation(Foliation):
    """Orbits about (pos0, vel0) in the potential of a density above and, perhaps, below.

    Parameters
    ----------
    pos0, vel0 : scalars, kpc and kpc/Myr
    above, below : the densities of the two sides; one side for both with ``below=None``
    grid : the orbits of which r is tabulated
    fine : those of which actions, angles and frequencies are
    height : height (kpc) up to which acceleration and density are given
    """

    pos0: Float[Array, ""]
    vel0: Float[Array, ""]
    above: Side
    below: Side | None
    grid: OrbitGrid
    fine: OrbitGrid
    height: Float[Array, ""]

    @property
    def reach(self) -> Float[Array, ""]:
        """The height up to which acceleration and density are given."""
        return self.height

    @property
    def sides(self) -> tuple[Side, Side | None]:
        """The densities above and, where it differs, below the plane."""
        return self.above, self.below

    @property
    def all_sides(self) -> list[Side]:
        """The densities of the sides that differ."""
        return [self.above] if self.below is None else [self.above, self.below]

    @property
    def omega0(self) -> Float[Array, ""]:
        """Frequency of the smallest oscillations, sqrt(4 pi G rho(0)), in rad/Myr."""
        return jnp.sqrt(side_frequency2(self.above))

    def potential(self, pos: Float[Array, "..."]) -> Float[Array, "..."]:
        """Phi, 0 at the plane, in kpc^2/Myr^2."""
        return _potential(self, pos)

    def acceleration(self, pos: Float[Array, "..."]) -> Float[Array, "..."]:
        """-dPhi/dpos in kpc/Myr^2."""
        q = pos - self.pos0
        return -jnp.sign(q) * _on_sides(self, q, lambda side, x: side.force(x))

    def acceleration_slope(self, pos: Float[Array, "..."]) -> Float[Array, "..."]:
        """da/dpos = -4 pi G rho in 1/Myr^2."""
        return -FOUR_PI_G * _on_sides(self, pos - self.pos0, lambda side, x: side.density(x))

    def speed(self, points: Points) -> Float[Array, "..."]:
        """sqrt(2 E), the speed with which the orbits through points cross the plane."""
        return _speed(self, points)

    def radius(self, points: Points) -> Float[Array, "..."]:
        """r = sqrt(2 J) of the orbits through points, in kpc Myr^-1/2."""
        tables = [HalfTable.of(side, self.grid) for side in self.all_sides]
        return _mean_radius(tables, self.speed(points))

    def prepared(self) -> SpeedSeries:
        """r as a series in the speed, for many points."""
        return SpeedSeries.of(self)

    def last_speed(self) -> Float[Array, ""]:
        """The speed at the plane of the last orbit that turns within the fine grid."""
        top = self.above.potential(self.fine.top)
        if self.below is not None:
            top = jnp.minimum(top, self.below.potential(self.fine.top))
        return jnp.sqrt(2 * top)

    def point(self, r: Array, angle: Array) -> Points:
        """The points at elliptical angles on the orbits r: the inverse map."""
        return point_on_ray(self, r, angle)

    def orbits(self, points: Points) -> Orbits:
        """Action, angle, frequency, period and flag of points (see `potential_orbits`)."""
        found = potential_orbits(self, points)
        last = jnp.min(jnp.stack([side.potential(self.height) for side in self.all_sides]))
        outward = (found.flag == INSIDE) & (self.speed(points) > jnp.sqrt(2 * last))
        return found._replace(flag=jnp.where(outward, OUTWARD, found.flag))
