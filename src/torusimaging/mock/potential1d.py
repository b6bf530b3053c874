"""Exact one-dimensional galaxies: layers of sech^2 density in a constant dark background."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import astropy.units as u
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..units import internal, plain, with_unit
from .orbits import (
    PhaseTable,
    action_integrand,
    fold,
    integrate,
    tabulate_orbits,
    time_integrand,
    wrap,
)

Array = NDArray[np.float64]

# astropy.constants.G.to_value("kpc3 / (Msun Myr2)")
G = 4.498502151469554e-12
DENSITY = u.Msun / u.kpc**3
TINY = 1e-150  # its square is still a normal number
HIGHEST = 1e9  # kpc of a table of orbits
DIRECT = 5000  # more stars than this are served by a table
SPEED, ENERGY, FREQUENCY = u.kpc / u.Myr, (u.kpc / u.Myr) ** 2, u.rad / u.Myr
Method = TypeVar("Method", bound=Callable)


def _quantities(out: u.UnitBase, *kinds: u.UnitBase) -> Callable[[Method], Method]:
    """Let a method of plain arrays take quantities of `kinds`, all or none, and return one."""

    def decorate(method: Method) -> Method:
        names = list(inspect.signature(method).parameters)[1:]

        @functools.wraps(method)
        def call(self, *args, **named):
            given = dict(zip(names, args, strict=False)) | named
            if len(args) > len(names) or given.keys() != set(names):
                # Python's own words about arguments that are missing or too many.
                return method(self, *args, **named)
            given = {name: with_unit(x, name) for name, x in given.items()}
            if not any(isinstance(x, u.Quantity) for x in given.values()):
                return method(self, **{name: plain(x, name) for name, x in given.items()})
            units = dict(zip(names, kinds, strict=True))
            values = {name: internal(x, units[name], name) for name, x in given.items()}
            return method(self, **values) * out

        return cast(Method, call)

    return decorate


@dataclass(frozen=True, init=False)
class Potential1D:
    r"""The vertical potential of plane layers, rho(z) = sum_i rho_i sech^2(z/h_i) + rho_dm.

    Everything is closed form except the orbits: with x = z/h and one-dimensional Poisson,
    a = -4 pi G [sum rho_i h_i tanh x_i + rho_dm z] and
    Phi = 4 pi G [sum rho_i h_i^2 ln cosh x_i + rho_dm z^2 / 2], Phi(0) = 0 (Spitzer 1942).
    No layers gives the harmonic oscillator; one layer and no dark matter the isothermal sheet.

    The orbit methods (`action`, `frequency`, `angle`, `action_of`) use Gauss quadrature to a
    relative 1e-10 for up to 5000 orbits a call, and a table of orbits to 1e-8 (angles: to
    1e-8 rad) for more. Values that are not finite give NaN.

    Methods take quantities and return one; plain numbers are in kpc, Myr and Msun, and so is then
    what they return.

    Parameters
    ----------
    layers : sequence of (rho, h)
        Midplane density (Msun/kpc^3) and scale height (kpc) of each layer, as quantities or as
        plain numbers in these units.
    rho_dm : float or Quantity
        Constant density (Msun/kpc^3).

    Raises
    ------
    ValueError
        For a negative density, a height that is not positive, or no mass at all.
    UnitError
        For a quantity of the wrong dimension.
    """

    layers: tuple[tuple[float, float], ...]
    rho_dm: float

    def __init__(self, layers: Sequence[tuple] = (), rho_dm: float | u.Quantity = 0.0) -> None:
        if not isinstance(layers, Sequence) or isinstance(layers, str):
            raise ValueError(f"layers must be pairs (density, height), but {layers!r} was given.")
        pairs = tuple(_checked_layer(layer) for layer in layers)
        dark = _checked_density(rho_dm, "rho_dm")
        if dark + sum(rho for rho, _ in pairs) == 0:
            raise ValueError("layers and rho_dm hold no mass: at least one density must be > 0.")
        object.__setattr__(self, "layers", pairs)
        object.__setattr__(self, "rho_dm", dark)

    @property
    def omega0(self) -> float:
        """The frequency of the smallest oscillations, sqrt(4 pi G rho(0)), in rad/Myr."""
        return float(np.sqrt(4 * np.pi * G * self.density(0.0)))

    @property
    def smallest_scale(self) -> float:
        """The thinnest layer's scale height in kpc; infinite without layers."""
        return min((h for rho, h in self.layers if rho > 0), default=np.inf)

    @_quantities(DENSITY, u.kpc)
    def density(self, z: ArrayLike) -> Array:
        """Mass density at height z (kpc), in Msun/kpc^3."""
        z = np.asarray(z, dtype=float)
        total = np.full(z.shape, self.rho_dm)
        for rho, h in self.layers:
            decay = np.exp(-2 * np.abs(z) / h)
            total = total + 4 * rho * decay / (1 + decay) ** 2
        return total

    @_quantities(u.Msun / u.kpc**2, u.kpc)
    def surface_density(self, z: ArrayLike) -> Array:
        """Mass per area between -z and z (kpc), in Msun/kpc^2."""
        return -self.acceleration(z) / (2 * np.pi * G)

    @_quantities(u.kpc / u.Myr**2, u.kpc)
    def acceleration(self, z: ArrayLike) -> Array:
        """Vertical acceleration at height z (kpc), in kpc/Myr^2."""
        z = np.asarray(z, dtype=float)
        total = self.rho_dm * z
        for rho, h in self.layers:
            total = total + rho * h * np.tanh(z / h)
        return -4 * np.pi * G * total

    @_quantities(ENERGY, u.kpc)
    def potential(self, z: ArrayLike) -> Array:
        """Potential at height z (kpc) above that of the midplane, in kpc^2/Myr^2."""
        z = np.asarray(z, dtype=float)
        total = self.rho_dm * z**2 / 2
        for rho, h in self.layers:
            total = total + rho * h**2 * _ln_cosh(z / h)
        return 4 * np.pi * G * total

    @_quantities(FREQUENCY, u.kpc, u.kpc)
    def kappa(self, z: ArrayLike, z_max: ArrayLike) -> Array:
        """sqrt(2 [Phi(z_max) - Phi(z)] / (z_max^2 - z^2)) in rad/Myr, without cancellation."""
        z, z_max = np.abs(z, dtype=float), np.asarray(z_max, dtype=float)
        total = np.full(np.broadcast_shapes(z.shape, z_max.shape), self.rho_dm)
        for rho, h in self.layers:
            total += 2 * rho * _ln_cosh_slope(z_max / h, z / h)
        return np.sqrt(4 * np.pi * G * total)

    @_quantities(u.kpc, ENERGY)
    def z_max(self, energy: ArrayLike) -> Array:
        """Half-height (kpc) of the orbit of each energy (kpc^2/Myr^2, not negative)."""
        energy = _checked_energy(energy)
        # Phi is convex and below omega0^2 z^2 / 2: Newton starts below the root, steps over it
        # once and then falls on it from above, so no bracket is needed.
        z = np.sqrt(2 * energy) / self.omega0
        safe = z > 0
        for _ in range(100):
            slope = np.where(safe, -self.acceleration(z), 1.0)
            step = np.where(safe, (energy - self.potential(z)) / slope, 0.0)
            z = z + step
            if np.all(np.abs(step[safe]) <= 4e-15 * z[safe]):
                return z
        raise RuntimeError("z_max did not converge in 100 Newton steps.")

    @_quantities(u.kpc**2 / u.Myr, ENERGY)
    def action(self, energy: ArrayLike) -> Array:
        """J = (2/pi) int_0^zmax sqrt(2 (E - Phi)) dz in kpc^2/Myr (E in kpc^2/Myr^2)."""
        energy = _checked_energy(energy)
        if energy.size > DIRECT:
            table = self._table(energy)
            return _where_finite(energy, lambda e: table.action(table.orbit(e)))
        height, quarter = _quarter(self.z_max(energy))
        total = height**2 * integrate(self, height, quarter, action_integrand)
        return total.reshape(energy.shape)

    @_quantities(FREQUENCY, ENERGY)
    def frequency(self, energy: ArrayLike) -> Array:
        """Omega = 2 pi / T in rad/Myr (E in kpc^2/Myr^2)."""
        energy = _checked_energy(energy)
        if energy.size > DIRECT:
            table = self._table(energy)
            return _where_finite(energy, lambda e: table.frequency(table.orbit(e)))
        height, quarter = _quarter(self.z_max(energy))
        time = integrate(self, height, quarter, time_integrand)
        return (np.pi / 2 / time).reshape(energy.shape)

    @_quantities(ENERGY, u.kpc, SPEED)
    def energy(self, z: ArrayLike, vz: ArrayLike) -> Array:
        """E = v_z^2 / 2 + Phi(z) in kpc^2/Myr^2 (z in kpc, v_z in kpc/Myr)."""
        z, vz = _together(z, vz)
        return vz**2 / 2 + self.potential(z)

    @_quantities(u.kpc**2 / u.Myr, u.kpc, SPEED)
    def action_of(self, z: ArrayLike, vz: ArrayLike) -> Array:
        """J (kpc^2/Myr) of stars at height z (kpc) and velocity v_z (kpc/Myr)."""
        return self.action(self.energy(z, vz))

    @_quantities(u.rad, u.kpc, SPEED)
    def angle(self, z: ArrayLike, vz: ArrayLike) -> Array:
        """The canonical angle in [0, 2 pi): 0 at z = 0 moving up (z in kpc, v_z in kpc/Myr)."""
        z, vz = _together(z, vz)
        energy = self.energy(z, vz)
        if z.size > DIRECT:
            table = self._table(energy)
            return _where_finite(energy, self._angle_from, z, vz, table)
        height, quarter = _quarter(self.z_max(energy))
        x = np.arctan2(z * self.kappa(z, height.reshape(z.shape)), vz).ravel()
        base, rest = fold(x)
        time = integrate(self, height, np.abs(rest), time_integrand)
        whole = integrate(self, height, quarter, time_integrand)
        turned = base + np.copysign(np.pi / 2 * time / whole, rest)
        return wrap(turned).reshape(z.shape)

    def _angle_from(self, energy: Array, z: Array, vz: Array, table: PhaseTable) -> Array:
        orbit = table.orbit(energy)
        x = np.arctan2(z * self.kappa(z, table.orbits.value(orbit)), vz)
        return wrap(table.angle(orbit, x))

    def tabulate(self, z_top: float | u.Quantity) -> PhaseTable:
        """A table of all orbits of half-height up to `z_top` (kpc)."""
        height = _scalar(z_top, u.kpc, "z_top")
        if not 0 < height < HIGHEST:
            raise ValueError(
                f"z_top must be a positive height in kpc, below {HIGHEST:g}, not {z_top}."
            )
        return tabulate_orbits(self, height)

    def _table(self, energy: Array) -> PhaseTable:
        finite = energy[np.isfinite(energy)]
        highest = self.z_max(finite.max(initial=0.0))
        return self.tabulate(float(highest) if highest > 0 else 1.0)


def solar_potential() -> Potential1D:
    """A realistic potential at the Sun's radius: gas, thin disc, thick disc, dark matter.

    The midplane density is 0.098 Msun/pc^3, the surface density within 1.1 kpc 70 Msun/pc^2 and
    the dark matter 0.01 Msun/pc^3, close to McKee, Parravano & Hollenbach (2015) and to
    Bovy & Rix (2013).
    """
    per_cubic_pc = 1e9
    layers = ((0.040, 0.13), (0.042, 0.33), (0.006, 1.1))
    return Potential1D([(rho * per_cubic_pc, h) for rho, h in layers], 0.010 * per_cubic_pc)


def _quarter(z_max: Array) -> tuple[Array, Array]:
    height = np.ravel(z_max)
    return height, np.full(height.shape, np.pi / 2)


def _where_finite(energy: Array, evaluate: Callable, *args) -> Array:
    # Spline look-ups of NaN are undefined, so only finite energies reach them.
    good = np.isfinite(energy)
    if good.all():
        return evaluate(energy, *args)
    result = np.full(energy.shape, np.nan)
    picked = [a[good] if isinstance(a, np.ndarray) else a for a in args]
    result[good] = evaluate(energy[good], *picked)
    return result


def _ln_cosh(x: Array) -> Array:
    # Two forms: the first keeps all digits near zero, the second never overflows.
    x = np.abs(x)
    near = np.log1p(2 * np.sinh(np.minimum(x, 1.0) / 2) ** 2)
    return np.where(x < 1, near, x + np.log1p(np.exp(-2 * x)) - np.log(2))


def _ln_cosh_slope(top: Array, x: Array) -> Array:
    # (ln cosh top - ln cosh x) / (top^2 - x^2), from
    # cosh top / cosh x - 1 = (1 - e^(-top-x)) (e^(top-x) - 1) / (1 + e^(-2x)); 1/2 at the origin.
    rise, total = top - x, top + x
    rise = np.where(np.abs(rise) < TINY, TINY, rise)
    total = np.where(total < TINY, TINY, total)
    decay = 1 + np.exp(-2 * x)
    difference = np.log1p(-np.expm1(-total) * np.expm1(np.minimum(rise, 600.0)) / decay)
    if np.max(rise, initial=0.0) > 600:
        difference = np.where(rise > 600, rise - np.log(decay), difference)
    return difference / (rise * total)


def _checked_density(rho: float | u.Quantity, name: str) -> float:
    value = _scalar(rho, DENSITY, name)
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be a density >= 0 in Msun/kpc^3, not {value:g}.")
    return value


def _scalar(x: float | u.Quantity, unit: u.UnitBase, name: str) -> float:
    try:
        value = internal(x, unit, name, allow_plain=True)
    except (TypeError, ValueError) as error:
        if isinstance(error, u.UnitsError):
            raise
        value = np.empty(1)
    if value.ndim:
        raise ValueError(f"{name} must be one number, not {x!r}.")
    return float(value)


def _checked_layer(layer: tuple) -> tuple[float, float]:
    if not isinstance(layer, Sequence) or isinstance(layer, str) or len(layer) != 2:
        raise ValueError(f"a layer must be a pair (density, height), but {layer!r} was given.")
    rho, h = layer
    height = _scalar(h, u.kpc, "the scale height h of a layer")
    if not (np.isfinite(height) and height > 0):
        raise ValueError(f"the scale height h of a layer must be > 0 kpc, not {height:g}.")
    return _checked_density(rho, "the density of a layer"), height


def _together(z: ArrayLike, vz: ArrayLike) -> tuple[Array, Array]:
    """Heights and velocities as arrays of one shape."""
    z, vz = np.asarray(z, dtype=float), np.asarray(vz, dtype=float)
    try:
        z, vz = np.broadcast_arrays(z, vz)
    except ValueError:
        raise ValueError(
            f"z and vz must be of one shape, or one of them one number, but have shapes {z.shape} "
            f"and {vz.shape}."
        ) from None
    return z, vz


def _checked_energy(energy: ArrayLike) -> Array:
    energy = np.asarray(energy, dtype=float)
    if np.any(energy < 0):
        raise ValueError(
            f"energy is measured from the midplane and must be >= 0, not {np.nanmin(energy):g}."
        )
    return np.where(np.isfinite(energy), energy, np.nan)
