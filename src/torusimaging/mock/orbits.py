r"""Orbits in an even one-dimensional potential: exact quadrature, and tables for many stars.

An orbit of half-height z_max is written z = z_max sin x, v_z = z_max cos x kappa(x), with

    kappa^2(x) = 2 [Phi(z_max) - Phi(z)] / (z_max^2 - z^2),

which is smooth and positive everywhere, the turning points included. Then

    J = (2/pi) \int_0^{pi/2} z_max^2 cos^2 x kappa dx,    T = 4 \int_0^{pi/2} dx / kappa,
    theta(x) = Omega \int_0^x dx' / kappa,                Omega = 2 pi / T,

without a singular integrand (Arnold, Mathematical Methods of Classical Mechanics, sec. 50).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from scipy.ndimage import map_coordinates, spline_filter

Array = NDArray[np.float64]

ORDER = 5
PAD = 24  # a quintic spline forgets its boundary condition as 0.43 a node: 2e-9 of an error there
STEP = 0.025
BLOCK = 2000


class EvenPotential(Protocol):
    """What the tables need to know of a potential."""

    omega0: float
    smallest_scale: float

    def kappa(self, z: Array, z_max: Array) -> Array: ...
    def potential(self, z: Array) -> Array: ...
    def z_max(self, energy: Array) -> Array: ...


def _graded_nodes(n_gauss: int = 16, n_low: int = 12, n_high: int = 5) -> tuple[Array, Array]:
    # Panels shrink towards both ends: thin layers are sharp in x near the plane, and the branch
    # points of kappa come near the turning point, both for orbits much higher than the layers.
    low = 0.5 ** np.arange(n_low, 0, -1)
    edges = np.concatenate([[0.0], low, 1 - 0.5 ** np.arange(2, n_high + 1), [1.0]])
    nodes, weights = np.polynomial.legendre.leggauss(n_gauss)
    half = np.diff(edges)[:, None] / 2
    middle = (edges[1:] + edges[:-1])[:, None] / 2
    return (middle + half * nodes).ravel(), (half * weights).ravel()


def integrate(potential: EvenPotential, z_max: Array, x: Array, integrand: Callable) -> Array:
    """The integral of integrand(x', kappa) from 0 to x (at most pi/2), orbit by orbit."""
    nodes, weights = _graded_nodes()
    total = np.empty(z_max.shape)
    for start in range(0, z_max.size, BLOCK):
        part = slice(start, start + BLOCK)
        phase = x[part, None] * nodes
        height = z_max[part, None]
        kappa = potential.kappa(height * np.sin(phase), height)
        total[part] = x[part] * (integrand(phase, kappa) @ weights)
    return total


def action_integrand(x: Array, kappa: Array) -> Array:
    """(2/pi) cos^2 x kappa: its integral over a quarter orbit is J / z_max^2."""
    return 2 / np.pi * np.cos(x) ** 2 * kappa


def time_integrand(x: Array, kappa: Array) -> Array:
    """dt/dx = 1 / kappa."""
    return 1 / kappa


def fold(phase: Array) -> tuple[Array, Array]:
    """Split a phase into k pi and the rest, in [-pi/2, pi/2]."""
    base = np.pi * np.round(phase / np.pi)
    return base, np.clip(phase - base, -np.pi / 2, np.pi / 2)


def wrap(angle: Array) -> Array:
    """The angle in [0, 2 pi); rounding never returns 2 pi itself."""
    wrapped = np.mod(angle, 2 * np.pi)
    return np.where(wrapped >= 2 * np.pi, 0.0, wrapped)


@dataclass(frozen=True)
class Grid:
    """Nodes at scale * sinh(STEP * i): even near zero, geometric far from it."""

    scale: float
    n: int
    step: float = STEP

    @classmethod
    def reaching(cls, top: float, scale: float) -> "Grid":
        """The grid whose node n is `top`."""
        n = int(np.ceil(np.arcsinh(top / scale) / STEP))
        return cls(scale, n, float(np.arcsinh(top / scale) / n))

    def nodes(self, first: int = 0) -> Array:
        """The values at nodes first, ..., n + PAD."""
        return self.scale * np.sinh(self.step * np.arange(first, self.n + PAD + 1))

    def index(self, value: Array) -> Array:
        """The place of each value on the grid, counted in nodes."""
        return np.arcsinh(value / self.scale) / self.step

    def value(self, index: Array) -> Array:
        """The value at a place: the inverse of `index`."""
        return self.scale * np.sinh(self.step * index)


def mirrored(values: Array, parity: int, axis: int = 0) -> Array:
    """Continue values at nodes 0 ... n + PAD to PAD negative nodes, by their parity."""
    values = np.moveaxis(values, axis, 0)
    return np.moveaxis(np.concatenate([parity * values[PAD:0:-1], values]), 0, axis)


def spline_coefficients(values: Array) -> Array:
    """Quintic B-spline coefficients of values on a uniform grid of one or two dimensions."""
    return spline_filter(values, order=ORDER, mode="mirror")


def spline_value(coefficients: Array, *index: Array) -> Array:
    """The spline of a mirrored grid at places counted in nodes from zero."""
    # The padding is added here only: places near zero keep all their digits until then.
    places = np.stack(index) + PAD
    return map_coordinates(coefficients, places, order=ORDER, prefilter=False, mode="nearest")


@dataclass(frozen=True)
class PhaseTable:
    """J, Omega, z_max(E) and the angle of every orbit below a height, to a relative 1e-8.

    An orbit is known by its place on the grid of z_max; the angle and the eccentric phase x
    (z = z_max sin x) are tabulated as their difference, which is odd and has period pi.
    """

    potential: EvenPotential
    orbits: Grid
    speeds: Grid
    phases: Grid
    _root_action_per_height: Array
    _omega: Array
    _height_per_speed: Array
    _angle_minus_x: Array
    _x_minus_angle: Array

    def orbit(self, energy: Array) -> Array:
        """The place (in grid nodes) of the orbit of each energy (kpc^2/Myr^2)."""
        speed = np.sqrt(2 * energy)
        return self.orbits.index(
            speed * spline_value(self._height_per_speed, self.speeds.index(speed))
        )

    def action(self, orbit: Array) -> Array:
        """J (kpc^2/Myr) of the orbits at these places."""
        height = self.orbits.value(orbit)
        return (height * spline_value(self._root_action_per_height, orbit)) ** 2

    def frequency(self, orbit: Array) -> Array:
        """Omega (rad/Myr) of the orbits at these places."""
        return spline_value(self._omega, orbit)

    def angle(self, orbit: Array, x: Array) -> Array:
        """The canonical angle (rad) at the eccentric phase x."""
        return x + self._difference(self._angle_minus_x, orbit, x)

    def phase(self, orbit: Array, angle: Array) -> Array:
        """The eccentric phase x (rad) at the canonical angle."""
        return angle + self._difference(self._x_minus_angle, orbit, angle)

    def _difference(self, coefficients: Array, orbit: Array, phase: Array) -> Array:
        rest = fold(phase)[1]
        return np.sign(rest) * spline_value(coefficients, orbit, self.phases.index(np.abs(rest)))


def tabulate_orbits(potential: EvenPotential, z_top: float) -> PhaseTable:
    """Tabulate all orbits of half-height up to `z_top` (kpc)."""
    scale = min(potential.smallest_scale, z_top)
    orbits = Grid.reaching(z_top, scale)
    speeds = Grid.reaching(
        float(np.sqrt(2 * potential.potential(np.array(z_top)))), scale * potential.omega0
    )
    phases = Grid.reaching(np.pi / 2, scale / z_top)
    root_action_per_height, omega, angle = _orbit_rows(potential, orbits, phases)
    x = phases.nodes()
    x_of_angle = np.stack([_invert(x, row) for row in angle])
    speed = speeds.nodes()[1:]
    height_per_speed = np.append(1 / potential.omega0, potential.z_max(speed**2 / 2) / speed)
    return PhaseTable(
        potential,
        orbits,
        speeds,
        phases,
        spline_coefficients(mirrored(root_action_per_height, 1)),
        spline_coefficients(mirrored(omega, 1)),
        spline_coefficients(mirrored(height_per_speed, 1)),
        _plane_coefficients(angle - x),
        _plane_coefficients(x_of_angle - x),
    )


def _plane_coefficients(values: Array) -> Array:
    return spline_coefficients(mirrored(mirrored(values, 1, axis=0), -1, axis=1))


def _orbit_rows(potential: EvenPotential, orbits: Grid, phases: Grid) -> tuple[Array, Array, Array]:
    # One pass of Gauss quadrature between neighbouring phase nodes gives all three integrals.
    height, x = orbits.nodes(), phases.nodes()
    nodes, weights = np.polynomial.legendre.leggauss(8)
    half = np.diff(x)[:, None] / 2
    at = (x[:-1, None] + half + half * nodes).ravel()
    kappa = potential.kappa(np.abs(height[:, None] * np.sin(at)), height[:, None])

    def cumulate(integrand: Callable) -> Array:
        panels = integrand(at, kappa).reshape(height.size, half.size, -1) @ weights * half[:, 0]
        return np.pad(np.cumsum(panels, axis=1), ((0, 0), (1, 0)))

    time = cumulate(time_integrand)
    quarter = phases.n
    omega = np.pi / 2 / time[:, quarter]
    root_action_per_height = np.sqrt(cumulate(action_integrand)[:, quarter])
    return root_action_per_height, omega, omega[:, None] * time


def _invert(x: Array, angle: Array) -> Array:
    # x where the increasing function angle(x) takes the values of the grid x itself; the odd
    # continuation makes the spline as good at zero as elsewhere.
    knots = np.concatenate([-angle[:0:-1], angle])
    values = np.concatenate([-x[:0:-1], x])
    return make_interp_spline(knots, values, k=ORDER)(x)
