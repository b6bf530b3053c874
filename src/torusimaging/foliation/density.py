r"""Mass densities of one side of the plane, with their force and potential.

A side is described in the height x = |pos - pos0| >= 0 (kpc): ``density`` (Msun/kpc^3), ``force``
(the pull towards the plane, 4 pi G \int_0^x rho dx', in kpc/Myr^2) and ``potential``
(\int_0^x force dx', in kpc^2/Myr^2).  Poisson's equation in one dimension holds exactly.
"""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .series import powers_once

# astropy.constants.G.to_value("kpc3 / (Msun Myr2)")
G = 4.498502151469554e-12
FOUR_PI_G = 4 * np.pi * G
KINDS = ("sech2", "exponential", "constant")


class Side(eqx.Module):
    """Density, force and potential at heights x >= 0 on one side of the plane (abstract)."""

    @abc.abstractmethod
    def density(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Mass density in Msun/kpc^3."""

    @abc.abstractmethod
    def force(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Pull towards the plane in kpc/Myr^2."""

    @abc.abstractmethod
    def potential(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Potential above the plane's in kpc^2/Myr^2."""

    def potential_once(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """`potential` at many heights, with first derivatives and perhaps no others."""
        return self.potential(x)

    def kappa2(self, grid) -> Float[Array, "n m"]:
        """2 [Phi(h) - Phi(h sin u)] / (h cos u)^2 at the nodes of an `OrbitGrid`."""
        h = grid.heights[:, None]
        rise = self.potential(h) - self.potential(h * grid.sines)
        return 2 * rise / (h * grid.cosines) ** 2


class LinearSide(Side):
    r"""rho straight between knots and constant beyond the last.

    With b_k the change of slope at knot x_k: rho = rho_0 + \sum b_k (x - x_k)_+, so that
    force / 4 pi G = rho_0 x + \sum b_k (x - x_k)_+^2 / 2 and
    potential / 4 pi G = rho_0 x^2 / 2 + \sum b_k (x - x_k)_+^3 / 6.
    """

    knots: Float[Array, " k"]
    values: Float[Array, " k"]

    def _bends(self) -> Float[Array, " k"]:
        slopes = jnp.diff(self.values) / jnp.diff(self.knots)
        edge = jnp.zeros(1, self.values.dtype)
        return jnp.diff(jnp.concatenate([edge, slopes, edge]))

    def _sum(self, x: Array, power: int) -> Array:
        bends, total = self._bends(), jnp.zeros_like(x)
        # Unrolled on purpose: fused multiply-adds beat a search for the interval on a CPU.
        for i in range(self.knots.size):
            total = total + bends[i] * jnp.maximum(x - self.knots[i], 0.0) ** power
        return total

    def density(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Mass density in Msun/kpc^3."""
        return jnp.interp(x, self.knots, self.values)

    def force(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Pull towards the plane in kpc/Myr^2."""
        return FOUR_PI_G * (self.values[0] * x + self._sum(x, 2) / 2)

    def potential(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Potential above the plane's in kpc^2/Myr^2."""
        return FOUR_PI_G * (self.values[0] * x**2 / 2 + self._sum(x, 3) / 6)

    def potential_once(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """`potential` at many heights, with fast first derivatives and no others."""
        sums = powers_once(self._bends(), self.knots, x, 3)
        return FOUR_PI_G * (self.values[0] * x**2 / 2 + sums / 6)

    def kappa2(self, grid) -> Float[Array, "n m"]:
        """2 [Phi(h) - Phi(h sin u)] / (h cos u)^2 at a grid's nodes: linear in the values."""
        return super().kappa2(grid) if grid.basis is None else grid.basis @ self.values


def potential_matrix(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """The potential of `LinearSide` at x for a unit value at each knot; shape x.shape + (k,)."""
    slopes = np.diff(np.eye(len(knots)), axis=0) / np.diff(knots)[:, None]
    edge = np.zeros((1, len(knots)))
    bends = np.diff(np.concatenate([edge, slopes, edge]), axis=0)
    cubes = np.maximum(x[..., None] - knots, 0.0) ** 3 / 6
    return FOUR_PI_G * (x[..., None] ** 2 / 2 * (np.arange(len(knots)) == 0) + cubes @ bends)


class SmoothSide(Side):
    r"""rho of quadratic splines even about the plane, with a continuous slope, linear in `values`.

    `knots` go from 0 to the last, where the slope is 0 and beyond which rho is constant; there is
    one of the `values` for each cell between them, at its middle (`middles`), and rho lies between
    the smallest and the largest of these: positive values make a positive density.  With g_i the
    middles and v_i the values, rho'(x_i) = (v_i - v_{i-1}) / (g_i - g_{i-1}) at the inner knots and
    0 at both ends, which are the coefficients of B-splines of degree 2 (de Boor 1978, chapter IX).
    With b_i the change of rho'' at knot x_i

        rho = v_0 + \sum b_i (x - x_i)_+^2 / 2,
        force / 4 pi G = v_0 x + \sum b_i (x - x_i)_+^3 / 6,
        potential / 4 pi G = v_0 x^2 / 2 + \sum b_i (x - x_i)_+^4 / 24.
    """

    knots: Float[Array, " k"]
    values: Float[Array, " c"]

    def _sum(self, x: Array, power: int) -> Array:
        bends, total = _curvature_steps(self.knots, self.values, jnp), jnp.zeros_like(x)
        # Unrolled on purpose, as in `LinearSide`.
        for i in range(self.knots.size):
            total = total + bends[i] * jnp.maximum(x - self.knots[i], 0.0) ** power
        return total

    def density(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Mass density in Msun/kpc^3."""
        # In each cell a value is the middle one of the parabola's three Bernstein coefficients, and
        # rho at the knots the others: a sum of positive terms, which no round-off makes negative.
        width = jnp.diff(self.knots)
        share = width[1:] / (width[1:] + width[:-1])
        inner = share * self.values[:-1] + (1 - share) * self.values[1:]
        edges = jnp.concatenate([self.values[:1], inner, self.values[-1:]])
        cell = jnp.searchsorted(self.knots, x, side="right") - 1
        cell = jnp.clip(cell, 0, self.values.size - 1)
        t = jnp.clip((x - self.knots[cell]) / width[cell], 0.0, 1.0)
        ends = edges[cell] * (1 - t) ** 2 + edges[cell + 1] * t**2
        return ends + 2 * self.values[cell] * t * (1 - t)

    def force(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Pull towards the plane in kpc/Myr^2."""
        return FOUR_PI_G * (self.values[0] * x + self._sum(x, 3) / 6)

    def potential(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Potential above the plane's in kpc^2/Myr^2."""
        return FOUR_PI_G * (self.values[0] * x**2 / 2 + self._sum(x, 4) / 24)

    def potential_once(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """`potential` at many heights, with fast first derivatives and no others."""
        sums = powers_once(_curvature_steps(self.knots, self.values, jnp), self.knots, x, 4)
        return FOUR_PI_G * (self.values[0] * x**2 / 2 + sums / 24)

    def kappa2(self, grid) -> Float[Array, "n m"]:
        """2 [Phi(h) - Phi(h sin u)] / (h cos u)^2 at a grid's nodes: linear in the values."""
        return super().kappa2(grid) if grid.basis is None else grid.basis @ self.values


def middles(knots: np.ndarray) -> np.ndarray:
    """Heights of the middles of the cells between knots."""
    return (knots[1:] + knots[:-1]) / 2


def _curvature_steps(knots, values, xp):
    """Change of rho'' of a `SmoothSide` at each knot, along the first axis of `values`."""
    zero = xp.zeros((1, *values.shape[1:]))
    shape = (-1,) + (1,) * (values.ndim - 1)
    slopes = xp.diff(values, axis=0) / xp.diff((knots[1:] + knots[:-1]) / 2).reshape(shape)
    slopes = xp.concatenate([zero, slopes, zero])
    curvature = xp.diff(slopes, axis=0) / xp.diff(knots).reshape(shape)
    return xp.diff(xp.concatenate([zero, curvature, zero]), axis=0)


def smooth_potential_matrix(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """The potential of `SmoothSide` at x for each value being 1 alone; x.shape + (k - 1,)."""
    units = np.eye(len(knots) - 1)
    fourth = np.maximum(x[..., None] - knots, 0.0) ** 4 / 24
    rise = fourth @ _curvature_steps(knots, units, np)
    return FOUR_PI_G * (x[..., None] ** 2 / 2 * units[0] + rise)


class LayeredSide(Side):
    """A sum of layers: rho sech^2(x/h), rho exp(-x/h), or a constant rho (h is not used)."""

    kinds: tuple[str, ...] = eqx.field(static=True)
    rho: tuple[Float[Array, ""], ...]
    scale: tuple[Float[Array, ""], ...]

    def _sum(self, x: Array, shapes: dict[str, Callable], power: int) -> Array:
        total = jnp.zeros_like(x)
        for kind, rho, h in zip(self.kinds, self.rho, self.scale, strict=True):
            total = total + rho * h**power * shapes[kind](x / h)
        return total

    def density(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Mass density in Msun/kpc^3."""
        return self._sum(x, {"sech2": _sech2, "exponential": _decay, "constant": jnp.ones_like}, 0)

    def force(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Pull towards the plane in kpc/Myr^2."""
        shapes = {
            "sech2": jnp.tanh,
            "exponential": lambda y: -jnp.expm1(-y),
            "constant": lambda y: y,
        }
        return FOUR_PI_G * self._sum(x, shapes, 1)

    def potential(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Potential above the plane's in kpc^2/Myr^2."""
        shapes = {
            "sech2": _ln_cosh,
            "exponential": lambda y: y + jnp.expm1(-y),
            "constant": lambda y: y**2 / 2,
        }
        return FOUR_PI_G * self._sum(x, shapes, 2)


class FunctionSide(Side):
    r"""A user's density function; force and potential by Gauss-Legendre quadrature from 0 to x.

    force = 4 pi G x \int_0^1 rho(xt) dt, potential = 4 pi G x^2 \int_0^1 (1 - t) rho(xt) dt with
    48 nodes: to a relative 1e-10 for functions that vary on more than a twentieth of x.
    """

    function: Callable = eqx.field(static=True)
    params: dict
    sign: int = eqx.field(static=True)
    factor: Float[Array, ""] | float = 1.0

    def density(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Mass density in Msun/kpc^3."""
        return self.factor * self.function(self.sign * x, **self.params) + jnp.zeros_like(x)

    def force(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Pull towards the plane in kpc/Myr^2."""
        t, w = _unit_rule()
        return FOUR_PI_G * x * (self.density(x[..., None] * t) @ w)

    def potential(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Potential above the plane's in kpc^2/Myr^2."""
        t, w = _unit_rule()
        return FOUR_PI_G * x**2 * (self.density(x[..., None] * t) @ (w * (1 - t)))


def _unit_rule(n: int = 48) -> tuple[np.ndarray, np.ndarray]:
    t, w = np.polynomial.legendre.leggauss(n)
    return (1 + t) / 2, w / 2


def _sech2(y: Array) -> Array:
    decay = jnp.exp(-2 * y)
    return 4 * decay / (1 + decay) ** 2


def _decay(y: Array) -> Array:
    return jnp.exp(-y)


def _ln_cosh(y: Array) -> Array:
    return y + jnp.log1p(0.5 * jnp.expm1(-2 * y))
