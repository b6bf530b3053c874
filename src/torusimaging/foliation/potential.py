r"""The potential family: orbits of H = p^2/2 + Phi(q), with Phi'' = 4 pi G rho and rho > 0."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..coordinates import Points
from .base import Foliation, point_on_ray
from .density import FOUR_PI_G, Side
from .grid import HalfTable, OrbitGrid, side_frequency2
from .potential_orbits import potential_orbits
from .tables import INSIDE, OUTWARD, Orbits


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
    def omega0(self) -> Float[Array, ""]:
        """Frequency of the smallest oscillations, sqrt(4 pi G rho(0)), in rad/Myr."""
        return jnp.sqrt(side_frequency2(self.above))

    def _both(self, q: Array, of) -> Array:
        """A side's function at |q|, on the side of q."""
        x = jnp.abs(q)
        if self.below is None:
            return of(self.above, x)
        return jnp.where(q >= 0, of(self.above, x), of(self.below, x))

    def potential(self, pos: Float[Array, "..."]) -> Float[Array, "..."]:
        """Phi, 0 at the plane, in kpc^2/Myr^2."""
        return self._both(pos - self.pos0, lambda side, x: side.potential(x))

    def acceleration(self, pos: Float[Array, "..."]) -> Float[Array, "..."]:
        """-dPhi/dpos in kpc/Myr^2."""
        q = pos - self.pos0
        return -jnp.sign(q) * self._both(q, lambda side, x: side.force(x))

    def acceleration_slope(self, pos: Float[Array, "..."]) -> Float[Array, "..."]:
        """da/dpos = -4 pi G rho in 1/Myr^2."""
        return -FOUR_PI_G * self._both(pos - self.pos0, lambda side, x: side.density(x))

    def speed(self, points: Points) -> Float[Array, "..."]:
        """sqrt(2 E), the speed with which the orbits through points cross the plane."""
        twice = (points.vel - self.vel0) ** 2 + 2 * self.potential(points.pos)
        # The root's slope is infinite at the centre, where a pixel may lie.
        safe = jnp.where(twice > 0, twice, 1.0)
        # At the centre the speed is zero; what is not a number stays one.
        return jnp.where(twice > 0, jnp.sqrt(safe), twice)

    def radius(self, points: Points) -> Float[Array, "..."]:
        """r = sqrt(2 J) of the orbits through points, in kpc Myr^-1/2."""
        s = self.speed(points)
        up = HalfTable.of(self.above, self.grid).radius(s)
        if self.below is None:
            return up
        down = HalfTable.of(self.below, self.grid).radius(s)
        return jnp.hypot(up, down) / jnp.sqrt(2.0)

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
        sides = [self.above] if self.below is None else [self.above, self.below]
        last = jnp.min(jnp.stack([side.potential(self.height) for side in sides]))
        outward = (found.flag == INSIDE) & (self.speed(points) > jnp.sqrt(2 * last))
        return found._replace(flag=jnp.where(outward, OUTWARD, found.flag))
