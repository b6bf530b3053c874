"""The verbs that every model of the vertical phase plane shares."""

import abc

import astropy.units as u
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from astropy.table import QTable
from jaxtyping import Array

from ..data.pixels import VELOCITY, require_x64
from ..foliation.density import G
from ..foliation.tables import BEYOND, NOT_FINITE, OUTWARD, Orbits
from ..units import internal
from .inference import Inference
from .posterior import evaluate_label

ACCELERATION = u.kpc / u.Myr**2


class OrbitModel(Inference):
    """A map of a label over the (pos, vel) plane whose contours are orbits (abstract)."""

    @abc.abstractmethod
    def reach(self, params: dict) -> Array:
        """The height (kpc) above the plane's centre up to which the model has values."""

    @abc.abstractmethod
    def orbits(self, params: dict, pos: Array, vel: Array) -> Orbits:
        """Action-angle variables at plain positions and velocities, shape (n,)."""

    @property
    def form(self) -> str:
        """Which form of the density the model has, in words; empty where it has one alone."""
        return ""

    def meaning(self, name: str) -> str:
        """What a parameter stands for, in words; its name where there are none."""
        return name

    def get_label(self, pos: u.Quantity, vel: u.Quantity, params: dict) -> np.ndarray:
        """The model's label at (pos, vel), quantities of one shape; an array of that shape."""
        p, v = _plane(pos, vel)
        return np.asarray(evaluate_label(self, self.floats(params), p, v))

    def compute_elliptical(
        self, pos: u.Quantity, vel: u.Quantity, params: dict
    ) -> tuple[u.Quantity, u.Quantity]:
        """Elliptical radius (kpc Myr^-1/2) and angle (rad, in [0, 2 pi)) of points."""
        p, v = _plane(pos, vel)
        r_e, theta = self.foliation(self.floats(params, label=False)).elliptical(p, v)
        return np.asarray(r_e) * u.kpc / u.Myr**0.5, np.asarray(theta) * u.rad

    def get_acceleration(self, pos: u.Quantity, params: dict) -> u.Quantity:
        """The acceleration at `pos` (length), in kpc/Myr^2; NaN beyond the model's last knot."""
        return self._axis(pos, params)[0] * ACCELERATION

    def get_acceleration_deriv(self, pos: u.Quantity, params: dict) -> u.Quantity:
        """The derivative da/dpos at `pos`, in 1/Myr^2; NaN beyond the model's last knot."""
        return self._axis(pos, params)[1] / u.Myr**2

    def get_density(self, pos: u.Quantity, params: dict) -> u.Quantity:
        """Mass density -(da/dpos) / (4 pi G), in Msun/kpc^3, by the 1-D Poisson equation."""
        return -self._axis(pos, params)[1] / (4 * np.pi * G) * u.Msun / u.kpc**3

    def get_surface_density(self, height: u.Quantity, params: dict) -> u.Quantity:
        """Mass within +-height of the plane's centre, in Msun/kpc^2.

        [a(-height) - a(height)] / (4 pi G), which is |a| / (2 pi G) for a symmetric field.
        Raises ``ValueError`` for a negative height.
        """
        centre, h = self.floats(params, label=False)["pos0"], heights_of(height)
        above, below = (self._axis(u.Quantity(centre + x, u.kpc), params)[0] for x in (h, -h))
        return (below - above) / (4 * np.pi * G) * u.Msun / u.kpc**2

    def _axis(self, pos: u.Quantity, params: dict) -> tuple[np.ndarray, np.ndarray]:
        p = jnp.asarray(internal(pos, u.kpc, "pos"))
        a, slope = _axis(self, self.floats(params, label=False), p)
        return np.asarray(a), np.asarray(slope)

    def compute_action_angle(self, pos: u.Quantity, vel: u.Quantity, params: dict) -> QTable:
        """Action, angle, frequency and period of stars, from the contours alone.

        Returns a `QTable` with J (kpc^2/Myr), theta (rad, in [0, 2 pi), 0 at pos0 moving up),
        Omega (rad/Myr), T (Myr) and flag: 0 inside the data, 1 beyond the model's last orbit, 2
        input not finite, 3 on an orbit that turns beyond the data: its values are there, but rest
        on the prior's density.  Stars of flag 1 and 2 are NaN; ``meta["n_outside"]``,
        ``meta["n_not_finite"]`` and ``meta["n_outward"]`` count those of 1, 2 and 3.
        """
        require_x64()
        p, v = (jnp.atleast_1d(x) for x in _plane(pos, vel))
        params = self.floats(params, label=False)
        shape = p.shape
        # Numbers of stars are rounded up to an eighth of a power of two: few programs serve all.
        size = max(p.size, 256)
        step = 2 ** (int(np.log2(size)) - 3)
        extra = -size % step + size - p.size
        stars = [jnp.pad(jnp.ravel(x), (0, extra), mode="edge") for x in (p, v)] if p.size else None
        out = _orbits(self, params, *stars) if stars else [np.zeros(0)] * 5
        columns = [np.asarray(x)[: p.size].reshape(shape) for x in out]
        table = QTable()
        names = ("J", "theta", "Omega", "T")
        units = (u.kpc**2 / u.Myr, u.rad, u.rad / u.Myr, u.Myr)
        for name, unit, column in zip(names, units, columns, strict=False):
            table[name] = column * unit
        table["flag"] = columns[-1]
        table.meta["n_outside"] = int(np.sum(columns[-1] == BEYOND))
        table.meta["n_not_finite"] = int(np.sum(columns[-1] == NOT_FINITE))
        table.meta["n_outward"] = int(np.sum(columns[-1] == OUTWARD))
        return table


def heights_of(height: u.Quantity) -> np.ndarray:
    """Heights of a layer above its middle in kpc.  Raises ``ValueError`` for negative ones."""
    plain = internal(height, u.kpc, "height")
    if np.any(plain < 0):
        raise ValueError(f"height must not be negative, but {np.nanmin(plain):g} kpc was given.")
    return plain


@eqx.filter_jit
def _orbits(model, params, pos, vel):
    return model.orbits(params, pos, vel)


@eqx.filter_jit
def _axis(model, params, pos):
    foliation = model.foliation(params)
    inside = jnp.abs(pos - foliation.pos0) <= model.reach(params)
    nan = jnp.where(inside, 0.0, jnp.nan)
    return foliation.acceleration(pos) + nan, foliation.acceleration_slope(pos) + nan


def _plane(pos: u.Quantity, vel: u.Quantity) -> tuple[Array, Array]:
    p, v = internal(pos, u.kpc, "pos"), internal(vel, VELOCITY, "vel")
    if p.shape != v.shape:
        try:
            p, v = np.broadcast_arrays(p, v)
        except ValueError:
            raise ValueError(
                f"pos and vel must have equal shapes, but {p.shape} and {v.shape} were given."
            ) from None
    return jnp.asarray(p), jnp.asarray(v)
