"""The field of a foliation on the vertical axis: a_z, density and surface density, once for all.

Arrays are plain (kpc, Myr, Msun); all is NaN beyond the foliation's reach, and for orbits that no
force has.
"""

import astropy.units as u
import jax.numpy as jnp
from jaxtyping import Array

from .base import Foliation
from .density import G

ACCELERATION = u.kpc / u.Myr**2
DENSITY = u.Msun / u.kpc**3
SURFACE_DENSITY = u.Msun / u.kpc**2
CENTRE = 0.05  # kpc; the mean density within it is called rho(0)


def axis(foliation: Foliation, pos: Array) -> tuple[Array, Array]:
    """(a, da/dpos) at `pos`, in kpc/Myr^2 and 1/Myr^2."""
    inside = jnp.abs(pos - foliation.pos0) <= foliation.reach
    nan = jnp.where(inside, 0.0, jnp.nan)
    return foliation.acceleration(pos) + nan, foliation.acceleration_slope(pos) + nan


def density_of(slope):
    """-(da/dpos) / (4 pi G) in Msun/kpc^3, by the one-dimensional Poisson equation."""
    return -slope / (4 * jnp.pi * G)


def pull(foliation: Foliation, height: Array) -> Array:
    """a(-height) - a(height), with heights from the centre; not cut at the reach."""
    centre = foliation.pos0
    return foliation.acceleration(centre - height) - foliation.acceleration(centre + height)


def surface_density(foliation: Foliation, height: Array) -> Array:
    """Mass within +-height of the centre, [a(-height) - a(height)] / (4 pi G), in Msun/kpc^2."""
    inside = height <= foliation.reach
    return jnp.where(inside, pull(foliation, height) / (4 * jnp.pi * G), jnp.nan)


def central_density(foliation: Foliation) -> Array:
    """The mean density within 50 pc of the centre, in Msun/kpc^3: what is called rho(0)."""
    return surface_density(foliation, jnp.asarray(CENTRE)) / (2 * CENTRE)
