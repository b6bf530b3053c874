"""What every family of orbits answers; a new family is one class that does."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..coordinates import Points
from .density import Side
from .tables import Orbits


class Foliation(eqx.Module):
    """Orbits about a centre in the (pos, vel) plane, for one set of parameters (abstract).

    Attributes that a family declares: ``pos0`` (kpc) and ``vel0`` (kpc/Myr), where the smallest
    orbits lie.  Arrays are plain, in kpc, Myr, kpc/Myr and rad; methods that take points return one
    value for each of them.
    """

    pos0: eqx.AbstractVar[Float[Array, ""]]
    vel0: eqx.AbstractVar[Float[Array, ""]]

    @property
    @abc.abstractmethod
    def omega0(self) -> Float[Array, ""]:
        """The frequency of the smallest orbits."""

    @property
    @abc.abstractmethod
    def reach(self) -> Float[Array, ""]:
        """The height above the centre up to which acceleration and density are given."""

    @property
    def has_force(self) -> bool:
        """Whether a force that depends on position alone has such orbits."""
        return True

    @property
    def one_field(self) -> bool:
        """Whether the orbits are those of one potential by construction."""
        return True

    @property
    def sides(self) -> tuple[Side, Side | None] | None:
        """The density above and, where it differs, below the plane; None where not modelled."""
        return None

    @property
    def clockwise(self) -> bool:
        """Whether the angle of `elliptical` starts on the vel axis; else it starts on the pos axis.

        From the vel axis it grows along an orbit, from the pos axis it falls.
        """
        return True

    @abc.abstractmethod
    def radius(self, points: Points) -> Array:
        """r of the orbits through points, growing outwards; sqrt(2 J) near the centre."""

    def prepared(self) -> Any:
        """What has ``radius(points, once)`` and ``phase(points)`` for many points.

        All that the points share is worked out.
        It may be an approximation that no data can tell from `radius`.  With `once` first
        derivatives are all that is asked for, which may make them faster.
        """
        return Plainly(self)

    @abc.abstractmethod
    def orbits(self, points: Points) -> Orbits:
        """Action, angle, frequency, period and flag of points, shape (n,); NaN beyond the end."""

    @abc.abstractmethod
    def point(self, r: Array, angle: Array) -> Points:
        """The points on orbits of radius r at angles of `elliptical`: the inverse map."""

    @abc.abstractmethod
    def acceleration(self, pos: Array) -> Array:
        """The acceleration at `pos`, in kpc/Myr^2."""

    @abc.abstractmethod
    def acceleration_slope(self, pos: Array) -> Array:
        """d(acceleration)/d(pos), in 1/Myr^2."""

    def scaled(self, points: Points) -> tuple[Array, Array]:
        """(X, Y) = (p / sqrt(Omega0), q sqrt(Omega0)), an area-preserving map of the plane."""
        root = jnp.sqrt(self.omega0)
        return (points.vel - self.vel0) / root, (points.pos - self.pos0) * root

    def elliptical(self, points: Points) -> tuple[Array, Array]:
        """Radius and angle in [0, 2 pi) of the harmonic limit."""
        x, y = self.scaled(points)
        first, second = (y, x) if self.clockwise else (x, y)
        angle = jnp.arctan2(first, second)
        return jnp.hypot(x, y), jnp.where(angle < 0, angle + 2 * jnp.pi, angle)

    def phase(self, points: Points) -> tuple[Array, Array]:
        """Cosine and sine of the angle of the harmonic limit, 0 at pos0 moving up.

        Both are 0 at the centre.
        """
        return unit_vector(*self.scaled(points))

    def at_elliptical(self, r_e: Array, angle: Array) -> Points:
        """The point of an elliptical radius and angle: the inverse of `elliptical`."""
        first, second = r_e * jnp.sin(angle), r_e * jnp.cos(angle)
        x, y = (second, first) if self.clockwise else (first, second)
        root = jnp.sqrt(self.omega0)
        return Points(y / root + self.pos0, x * root + self.vel0)


class Plainly(eqx.Module):
    """A foliation as `Foliation.prepared` gives it where nothing can be worked out beforehand."""

    foliation: Foliation

    def radius(self, points: Points, once: bool = False) -> Array:
        """r of the orbits through points."""
        return self.foliation.radius(points)

    def phase(self, points: Points) -> tuple[Array, Array]:
        """As `Foliation.phase`."""
        return self.foliation.phase(points)


def unit_vector(x: Array, y: Array) -> tuple[Array, Array]:
    """(x, y) over its length, and zero where it has none."""
    squared = x**2 + y**2
    length = jnp.sqrt(jnp.where(squared > 0, squared, 1.0))
    return x / length, y / length


def solve_ray(
    excess: Callable[[Array], Array],
    slope: Callable[[Array], Array],
    start: Array,
    scale: Array,
    max_steps: int = 100,
) -> Array:
    """Roots u > 0 of a function that rises from below 0, to a relative 1e-13.

    Newton's iteration kept inside a bracket that grows until it holds the root.  NaN where none is
    found; `scale` is the size of a value to whose 1e-12 a root is one.
    """

    def grow(state):
        hi, steps = state
        return jnp.where(excess(hi) < 0, 2 * hi, hi), steps + 1

    def must_grow(state):
        hi, steps = state
        return jnp.any(excess(hi) < 0) & (steps < 60)

    hi, _ = jax.lax.while_loop(must_grow, grow, (jnp.maximum(1.5 * start, 1e-300), 0))

    def step(state):
        u, lo, hi, _, n = state
        f = excess(u)
        lo, hi = jnp.where(f < 0, u, lo), jnp.where(f < 0, hi, u)
        new = u - f / slope(u)
        inside = (new >= lo) & (new <= hi)
        new = jnp.where(inside, new, 0.5 * (lo + hi))
        return new, lo, hi, jnp.abs(new - u), n + 1

    def unfinished(state):
        u, _, _, change, n = state
        return jnp.any(change > 1e-13 * jnp.abs(u)) & (n < max_steps)

    state = (start, jnp.zeros_like(start), hi, jnp.full_like(start, jnp.inf), 0)
    u = jax.lax.while_loop(unfinished, step, state)[0]
    return jnp.where(jnp.abs(excess(u)) <= 1e-12 * jnp.maximum(scale, 1e-300), u, jnp.nan)


def point_on_ray(foliation: Foliation, r: Array, angle: Array) -> Points:
    """`Foliation.point` of any family whose orbits are star-shaped about the centre.

    Along the ray of an angle r grows with the elliptical radius: its value is the root of that.
    """
    r, angle = jnp.broadcast_arrays(jnp.asarray(r, float), jnp.asarray(angle, float))

    def radius(r_e):
        return foliation.radius(foliation.at_elliptical(r_e, angle))

    def slope(r_e):
        return jax.jvp(radius, (r_e,), (jnp.ones_like(r_e),))[1]

    r_e = solve_ray(lambda u: radius(u) - r, slope, r, r)
    return foliation.at_elliptical(r_e, angle)
