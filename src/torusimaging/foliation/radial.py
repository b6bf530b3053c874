r"""Orbits of stars at other radii, where the field is stronger or weaker but of one shape.

With Phi(z | R) = k Phi(z), k = exp(-(R - R0) / h), a star's motion in time t is the motion at R0 in
time sqrt(k) t: (q, p / sqrt(k)) lies on an orbit at R0, and

    J = sqrt(k) J_0,   theta = theta_0,   Omega = sqrt(k) Omega_0,   T = T_0 / sqrt(k),

so that r = sqrt(2 J) = k^(1/4) r_0.  One table of orbits serves all radii.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..coordinates import Points
from .base import Foliation
from .density import Side
from .tables import Orbits


class RadialFoliation(Foliation):
    """The orbits `here`, at R0, for stars at any radius; points without an R lie at R0.

    Parameters
    ----------
    pos0, vel0 : their centre
    here : the orbits at R0
    R0 : kpc
    inv_h : 1/h (1/kpc); zero for a field that is the same at all radii
    """

    pos0: Float[Array, ""]
    vel0: Float[Array, ""]
    here: Foliation
    R0: Float[Array, ""]
    inv_h: Float[Array, ""]

    @classmethod
    def around(cls, here: Foliation, R0: Array, inv_h: Array) -> "RadialFoliation":
        """The orbits at all radii, from those at R0."""
        return cls(here.pos0, here.vel0, here, R0, inv_h)

    @property
    def omega0(self) -> Array:
        """The frequency of the smallest orbits at R0."""
        return self.here.omega0

    @property
    def reach(self) -> Array:
        """The height up to which acceleration and density are given."""
        return self.here.reach

    @property
    def has_force(self) -> bool:
        """Whether a force that depends on position alone has such orbits."""
        return self.here.has_force

    @property
    def one_field(self) -> bool:
        """Whether the orbits are those of one potential by construction."""
        return self.here.one_field

    @property
    def sides(self) -> tuple[Side, Side | None] | None:
        """The density above and, where it differs, below the plane at R0."""
        return self.here.sides

    @property
    def clockwise(self) -> bool:
        """Whether the angle of `elliptical` starts on the vel axis."""
        return self.here.clockwise

    def radius(self, points: Points) -> Array:
        """r of the orbits through points."""
        scaled, root = self.at_R0(points)
        return root * self.here.radius(scaled)

    def phase(self, points: Points) -> tuple[Array, Array]:
        """Cosine and sine of the angle of the harmonic limit."""
        return self.here.phase(self.at_R0(points)[0])

    def prepared(self) -> "Prepared":
        """The orbits at R0 for many points, and how those of other radii differ."""
        return Prepared(self, self.here.prepared())

    def orbits(self, points: Points) -> Orbits:
        """Action, angle, frequency, period and flag of points."""
        scaled, root = self.at_R0(points)
        found, speed = self.here.orbits(scaled), root**2
        return found._replace(J=found.J * speed, Omega=found.Omega * speed, T=found.T / speed)

    def point(self, r: Array, angle: Array) -> Points:
        """The points at R0 on orbits of radius r at elliptical angles."""
        return self.here.point(r, angle)

    def acceleration(self, pos: Array) -> Array:
        """The acceleration at R0."""
        return self.here.acceleration(pos)

    def acceleration_slope(self, pos: Array) -> Array:
        """d(acceleration)/d(pos) at R0."""
        return self.here.acceleration_slope(pos)

    def at_R0(self, points: Points) -> tuple[Points, Array]:
        """The points on the same orbits at R0, and k^(1/4)."""
        if points.R is None:
            return points, jnp.ones(())
        root = jnp.exp(-0.25 * self.inv_h * (points.R - self.R0))
        vel = self.vel0 + (points.vel - self.vel0) / root**2
        return Points(points.pos, vel), root


class Prepared(eqx.Module):
    """A `RadialFoliation` for many points."""

    foliation: RadialFoliation
    here: Any

    def radius(self, points: Points, once: bool = False) -> Array:
        """r of the orbits through points."""
        scaled, root = self.foliation.at_R0(points)
        return root * self.here.radius(scaled, once)

    def phase(self, points: Points) -> tuple[Array, Array]:
        """As `Foliation.phase`."""
        return self.here.phase(self.foliation.at_R0(points)[0])
