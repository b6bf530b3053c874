"""The Fourier family: ellipses distorted by a cosine series in the elliptical angle."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..coordinates import Points
from .base import Foliation
from .fourier_orbits import orbits, solve_r_e, tabulate
from .tables import Orbits


class UserFunction(eqx.Module):
    """A user's e_m(r_e, params) with its first two derivatives by automatic differentiation."""

    func: Callable = eqx.field(static=True)
    params: Any

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.func(x, **self.params)

    def derivative(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """First derivative; `func` acts element by element."""
        return jax.jvp(self, (x,), (jnp.ones_like(x),))[1]

    def second_derivative(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Second derivative."""
        return jax.jvp(self.derivative, (x,), (jnp.ones_like(x),))[1]

    def jet(self, x: Float[Array, "..."]) -> tuple[Array, Array, Array]:
        """(f, f', f'')."""
        return self(x), self.derivative(x), self.second_derivative(x)


def _chebyshev_t(m: int, c: Float[Array, "..."]) -> Float[Array, "..."]:
    """cos(m theta) as a polynomial in c = cos(theta)."""
    previous, current = jnp.ones_like(c), c
    if m == 0:
        return previous
    for _ in range(m - 1):
        previous, current = current, 2 * c * current - previous
    return current


def _chebyshev_u(m: int, c: Float[Array, "..."]) -> Float[Array, "..."]:
    """sin((m + 1) theta) / sin(theta) as a polynomial in c = cos(theta)."""
    previous, current = jnp.zeros_like(c), jnp.ones_like(c)
    for _ in range(m):
        previous, current = current, 2 * c * current - previous
    return current


class FourierFoliation(Foliation):
    r"""Orbits as contours of r = r_e [1 + sum_m e_m(r_e) cos(m theta_e)].

    With q = pos - pos0, p = vel - vel0, X = p / sqrt(Omega0) and Y = q sqrt(Omega0):
    r_e = sqrt(X^2 + Y^2) and theta_e = atan2(Y, X) ("pv") or atan2(X, Y) ("vp").  e_m(0) = 0, so
    that r -> sqrt(2 J) near the centre.  Valid where dr/dr_e > 0 (contours do not cross).

    Parameters
    ----------
    frequency : scalar, rad/Myr, of the smallest orbits
    pos0, vel0 : scalars, kpc and kpc/Myr
    e_funcs : one callable per order, with ``derivative``, ``second_derivative`` and ``jet``
    orders : the orders m >= 1.  convention : "pv" or "vp"
    end : elliptical radius (kpc Myr^-1/2) where the functions end

    Source: Price-Whelan et al. 2025 (arXiv:2401.07903), equations 20-24.
    """

    frequency: Float[Array, ""]
    pos0: Float[Array, ""]
    vel0: Float[Array, ""]
    e_funcs: tuple
    orders: tuple[int, ...] = eqx.field(static=True)
    convention: str = eqx.field(static=True)
    end: Float[Array, ""]

    @property
    def omega0(self) -> Float[Array, ""]:
        """The frequency of the smallest orbits."""
        return self.frequency

    @property
    def even(self) -> bool:
        """Whether every order is even (contours have both mirror symmetries)."""
        return all(m % 2 == 0 for m in self.orders)

    @property
    def one_field(self) -> bool:
        """Contours of any shape need not be the orbits of a potential."""
        return False

    @property
    def clockwise(self) -> bool:
        """Whether angles are counted from the vel axis, as "pv" does."""
        return self.convention == "pv"

    @property
    def reach(self) -> Float[Array, ""]:
        """The height above the centre up to which the functions have values."""
        return self.end / jnp.sqrt(self.omega0)

    @property
    def has_force(self) -> bool:
        """Whether contours meet the pos axis at right angles, so that a force law exists."""
        return self.even or self.convention == "vp"

    def radius(self, points: Points) -> Array:
        """The orbit radius r of points, without a trigonometric function."""
        x, y = self.scaled(points)
        square = x**2 + y**2
        # The centre itself has no angle; any one serves, since e_m(0) = 0.
        centre = square == 0
        safe = jnp.where(centre, 1.0, square)
        r_e = jnp.where(centre, 0.0, jnp.sqrt(safe))
        sign = 1.0 if self.convention == "pv" else -1.0
        if self.even:
            c2 = sign * (x**2 - y**2) / safe
            cosines = [_chebyshev_t(m // 2, c2) for m in self.orders]
        else:
            c = (x if self.convention == "pv" else y) / jnp.sqrt(safe)
            cosines = [_chebyshev_t(m, c) for m in self.orders]
        total = sum(e(r_e) * c for e, c in zip(self.e_funcs, cosines, strict=True))
        return r_e * (1.0 + total)

    def distort(self, r_e: Array, theta_e: Array) -> Array:
        """r(r_e, theta_e)."""
        total = sum(
            e(r_e) * jnp.cos(m * theta_e) for m, e in zip(self.orders, self.e_funcs, strict=True)
        )
        return r_e * (1.0 + total)

    def distort_slope(self, r_e: Array, theta_e: Array) -> Array:
        """dr/dr_e = 1 + sum_m (e_m + r_e e_m') cos(m theta_e); contours cross where it is <= 0."""
        return 1.0 + sum(
            (e(r_e) + r_e * e.derivative(r_e)) * jnp.cos(m * theta_e)
            for m, e in zip(self.orders, self.e_funcs, strict=True)
        )

    def point(self, r: Array, angle: Array) -> Points:
        """The points at elliptical angles on the orbits r: the inverse map."""
        return self.at_elliptical(solve_r_e(self, r, angle), angle)

    def orbits(self, points: Points) -> Orbits:
        """Action, angle, frequency, period and flag of points (see `fourier_orbits`)."""
        return orbits(self, tabulate(self, self.end), points)

    def axis_cosines(self, q: Array) -> list[Array]:
        """cos(m theta_e) on the pos axis, where the sign of q decides the side."""
        if self.convention == "pv":
            return [(-1.0) ** (m // 2) * jnp.ones_like(q) for m in self.orders]
        return [jnp.where(q < 0, (-1.0) ** m, 1.0) for m in self.orders]

    def acceleration(self, pos: Array) -> Array:
        r"""a(pos) = -Omega0^2 q N / D on the pos axis, the limit of -p (dr/dq)/(dr/dp) at p -> 0.

        N = 1 + sum c_m (e_m + u e_m'), D = 1 + sum c_m (e_m (1 - m^2) + u e_m'),
        u = sqrt(Omega0) abs(q), c_m = cos(m theta_e) on the axis.  NaN for odd m in "pv": no force
        law independent of velocity has such contours.
        """
        return self._axis(pos)[0]

    def acceleration_slope(self, pos: Array) -> Array:
        """da/dpos on the pos axis, in closed form (see `acceleration`)."""
        return self._axis(pos)[1]

    def _axis(self, pos: Array) -> tuple[Array, Array]:
        q = pos - self.pos0
        if not self.has_force:
            nan = jnp.full_like(q, jnp.nan)
            return nan, nan
        u = jnp.sqrt(self.omega0) * jnp.abs(q)
        ratio, slope = self.axis_ratio(u, self.axis_cosines(q), self.jets(u))
        return -(self.omega0**2) * q * ratio, -(self.omega0**2) * slope

    def jets(self, r_e: Array) -> list[tuple[Array, Array, Array]]:
        """(e_m, e_m', e_m'') of every order."""
        return [e.jet(r_e) for e in self.e_funcs]

    def axis_ratio(self, u: Array, cosines: list, jets: list) -> tuple[Array, Array]:
        """(N / D, d(u N / D)/du) of `acceleration`, given c_m and the jets at u."""
        n, d, dn, dd = jnp.ones_like(u), jnp.ones_like(u), jnp.zeros_like(u), jnp.zeros_like(u)
        for m, c, (f0, f1, f2) in zip(self.orders, cosines, jets, strict=True):
            n = n + c * (f0 + u * f1)
            d = d + c * (f0 * (1 - m**2) + u * f1)
            dn = dn + c * (2 * f1 + u * f2)
            dd = dd + c * (f1 * (2 - m**2) + u * f2)
        return n / d, n / d + u * (dn * d - n * dd) / d**2

    def angle_slope(self, r_e: Array, theta_e: Array) -> Array:
        """d ln r_e / d theta_e along a contour, divided by cot (pv) or -tan (vp) of theta_e.

        This is the factor of the time integral: dq / p = dtheta [1 + factor] / Omega0, finite at
        the turning points because the zero of sin(m theta_e) is divided out by Chebyshev
        polynomials, never numerically.
        """
        c, s2, c2 = jnp.cos(theta_e), jnp.sin(theta_e) ** 2, jnp.cos(2 * theta_e)
        total = jnp.zeros_like(r_e)
        for m, e in zip(self.orders, self.e_funcs, strict=True):
            if self.convention == "pv":
                ratio = 2 * s2 * _chebyshev_u(m // 2 - 1, c2)
            else:
                ratio = -c * _chebyshev_u(m - 1, c)
            total = total + m * e(r_e) * ratio
        return total / self.distort_slope(r_e, theta_e)
