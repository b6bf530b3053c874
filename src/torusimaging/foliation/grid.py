r"""Tables of the orbits in a density: turning heights, quadrature rules, r against the speed.

Each side of the plane is tabulated over orbits that turn at fixed heights h.  With x = h sin(u),

    kappa(u)^2 = 2 [Phi(h) - Phi(x)] / (h^2 cos^2 u),      s = sqrt(2 Phi(h)), the speed at q = 0,
    J(s) = (2/pi) h^2 \int_0^{pi/2} kappa cos^2 u du,      dJ/dE = 1/Omega = (2/pi) \int du / kappa,

for an orbit symmetric about the plane; the integrands are smooth between the kinks of rho, where
the Gauss-Legendre rule is split.  r = sqrt(2 J) is a cubic Hermite function of s, whose slope
s / (Omega r) is known.  With two different sides, J and 1/Omega are the means of theirs.
"""

from collections.abc import Callable
from functools import lru_cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .density import FOUR_PI_G, Side, potential_matrix, smooth_potential_matrix

# Orbit heights are even in asinh(height / core): small orbits feel the thinnest layers.
STRETCH = 4.0
# Orbits of a fit, and of the actions of stars, whose frequencies are then good to 1e-8.
COARSE, FINE = 128, 1024
SMOOTH_NODES = 40  # of the rules on an orbit in a smooth spline's potential


class OrbitGrid(eqx.Module):
    """Turning heights (kpc) of the tabulated orbits and the quadrature nodes on each.

    `basis`, if there is one, holds kappa^2 of every node for each value of a density that is
    linear in them (`LinearSide`, `SmoothSide`) being 1 alone.  `even` are the orbits whose heights
    are even in asinh; those that turn at a kink are besides them.
    """

    heights: Float[Array, " n"]
    sines: Float[Array, "n m"]
    cosines: Float[Array, "n m"]
    weights: Float[Array, "n m"]
    even: Int[Array, " e"]
    basis: Float[Array, "n m k"] | None = None

    @classmethod
    def reaching(
        cls, top: float, kinks: np.ndarray | tuple = (), n: int = COARSE, nodes: int = 32
    ) -> "OrbitGrid":
        """`n` orbits up to the height `top`, with rules split at the heights `kinks`.

        The orbits that turn at a kink, where derivatives of J(s) jump, are added to them.  A rule
        has `nodes` nodes, or 8 between each two kinks if that is more.
        """
        places = tuple(np.asarray(kinks, dtype=float).tolist())
        return cls(*map(jnp.asarray, _orbits(float(top), places, n, nodes)))

    @classmethod
    def for_knots(cls, top: float, knots: np.ndarray, n: int = COARSE) -> "OrbitGrid":
        """The grid, with basis, for densities that are straight between knots (`LinearSide`)."""
        return cls.reaching(top, knots, n)._with_basis(potential_matrix, knots)

    @classmethod
    def for_smooth(cls, top: float, knots: np.ndarray, n: int = COARSE) -> "OrbitGrid":
        """The grid for densities that are smooth splines (`SmoothSide`), with basis for fits.

        Their potential has three continuous derivatives: the rules need no split at the knots.
        """
        if n > COARSE:
            # Actions of stars are asked for once, where a fit asks thousands of times.
            return cls.reaching(top, n=n, nodes=2 * SMOOTH_NODES)
        grid = cls.reaching(top, n=n, nodes=SMOOTH_NODES)
        return grid._with_basis(smooth_potential_matrix, knots)

    def _with_basis(self, matrix: Callable, knots: np.ndarray) -> "OrbitGrid":
        h, sines = np.asarray(self.heights)[:, None], np.asarray(self.sines)
        rise = matrix(h, knots) - matrix(h * sines, knots)
        basis = 2 * rise / (h * np.asarray(self.cosines))[..., None] ** 2
        return eqx.tree_at(
            lambda g: g.basis, self, jnp.asarray(basis), is_leaf=lambda leaf: leaf is None
        )

    @property
    def top(self) -> Float[Array, ""]:
        """Height of the last orbit."""
        return self.heights[-1]


@lru_cache(maxsize=16)
def _orbits(top: float, places: tuple[float, ...], n: int, nodes: int) -> tuple[np.ndarray, ...]:
    """The arrays of `OrbitGrid.reaching`, made once for the start, the model and what checks it."""
    x = np.arange(1, n + 1) / n
    even = top * np.sinh(STRETCH * x) / np.sinh(STRETCH)
    kinks = np.asarray(places, dtype=float)
    kinks = kinks[(kinks > 0) & (kinks < top)]
    # A kink next to an even height would leave a cell too narrow to divide by.
    apart = np.abs(kinks[:, None] - even).min(axis=1, initial=np.inf) > 1e-6 * kinks
    heights = np.sort(np.r_[even, kinks[apart]])
    rows = []
    for h in heights:
        edges = np.r_[0.0, np.arcsin(kinks[kinks < h * (1 - 1e-9)] / h), np.pi / 2]
        rows.append(_split_rule(edges, max(8, -(-nodes // (edges.size - 1)))))
    width = max(u.size for u, _ in rows)
    u = np.array([np.r_[u, np.zeros(width - u.size)] for u, _ in rows])
    w = np.array([np.r_[w, np.zeros(width - w.size)] for _, w in rows])
    step = max(1, n // COARSE)
    rows = np.searchsorted(heights, even)[step - 1 :: step]
    return heights, np.sin(u), np.cos(u), w, rows


# A rule is the solution of an eigenvalue problem, and each orbit of a grid takes the same few.
_legendre = lru_cache(maxsize=64)(np.polynomial.legendre.leggauss)


def _split_rule(edges: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    t, w = _legendre(n)
    half = np.diff(edges)[:, None] / 2
    middle = (edges[1:] + edges[:-1])[:, None] / 2
    return (middle + half * t).ravel(), (half * w).ravel()


class HalfTable(eqx.Module):
    """Orbits of one side, symmetrised: the speed s at the plane, and functions of it.

    Each row of `cells` holds the start and inverse width of a cell in s and the coefficients of
    r(s) there.
    """

    speed: Float[Array, " n"]
    cells: Float[Array, "c 6"]
    slope_end: Float[Array, ""]

    @classmethod
    def of(cls, side: Side, grid: OrbitGrid) -> "HalfTable":
        """The table of a side over the orbits of a grid."""
        speed, action, inverse = orbit_integrals(side, grid)
        r = jnp.sqrt(2 * action)
        slope = speed * inverse / r
        # At the plane Phi = Omega_0^2 x^2 / 2, hence r = s / sqrt(Omega_0).
        root = jnp.sqrt(jnp.sqrt(jnp.maximum(side_frequency2(side), 1e-300)))[None]
        zero = jnp.zeros(1)
        speed = jnp.concatenate([zero, speed])
        r, slope = jnp.concatenate([zero, r]), jnp.concatenate([1 / root, slope])
        return cls(speed, hermite_cells(speed, r, slope), slope[-1])

    def radius(self, s: Float[Array, "..."]) -> Float[Array, "..."]:
        """sqrt(2 J) of the orbits of speed s; a straight line beyond the table."""
        beyond = jnp.maximum(s - self.speed[-1], 0.0)
        return evaluate_cells(self.speed, self.cells, s - beyond) + self.slope_end * beyond


def side_frequency2(side: Side) -> Array:
    """Omega_0^2 = 4 pi G rho(0)."""
    return FOUR_PI_G * side.density(jnp.zeros(1))[0]


def orbit_integrals(side: Side, grid: OrbitGrid) -> tuple[Array, Array, Array]:
    """Speed at the plane, action and 1/Omega of a grid's orbits, each of shape (n,)."""
    h = grid.heights
    kappa = jnp.sqrt(side.kappa2(grid))
    action = (2 / jnp.pi) * h**2 * jnp.sum(grid.weights * kappa * grid.cosines**2, axis=1)
    inverse = (2 / jnp.pi) * jnp.sum(grid.weights / kappa, axis=1)
    return jnp.sqrt(2 * side.potential(h)), action, inverse


def hermite_cells(x: Array, y: Array, slope: Array) -> Array:
    """Rows (x_i, 1 / width, c_0..c_3) of the cubic Hermite interpolant of y(x)."""
    width = jnp.diff(x)
    rise, a, b = jnp.diff(y), slope[:-1] * width, slope[1:] * width
    columns = (x[:-1], 1 / width, y[:-1], a, 3 * rise - 2 * a - b, a + b - 2 * rise)
    return jnp.stack(columns, axis=1)


def evaluate_cells(edges: Array, cells: Array, x: Array) -> Array:
    """The interpolant of `hermite_cells` at x; the first and last cubic go on beyond the ends."""
    index = jnp.searchsorted(edges, jax.lax.stop_gradient(x), side="right") - 1
    rows = cells[jnp.clip(index, 0, cells.shape[0] - 1)]
    t = (x - rows[..., 0]) * rows[..., 1]
    return rows[..., 2] + t * (rows[..., 3] + t * (rows[..., 4] + t * rows[..., 5]))
