"""Binned maps as plain arrays, checked at the door."""

import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..units import internal

VELOCITY = u.kpc / u.Myr


class Map(eqx.Module):
    """A binned map as plain arrays: pixel centres (kpc, kpc/Myr), label and error, or counts."""

    pos: Float[Array, " n"]
    vel: Float[Array, " n"]
    label: Float[Array, " n"]
    label_err: Float[Array, " n"]


def require_x64() -> None:
    """Raise a ``RuntimeError`` unless JAX works in double precision."""
    if not jax.config.read("jax_enable_x64"):
        raise RuntimeError(
            "JAX works in float32 here, which a fit cannot use: run "
            'jax.config.update("jax_enable_x64", True) before anything else.'
        )


def read_map(data: dict, kind: str = "gaussian") -> Map:
    """The usable pixels of a binned map as plain arrays.

    Pixels with a label that is not finite, or an error that is not finite and positive, are left
    out; so are, in Poisson maps, those whose counts are not finite.

    Raises ``ValueError`` for a missing entry, unequal shapes, negative errors or counts, and for
    a map with fewer than two usable pixels.
    """
    names = ("label", "label_err") if kind == "gaussian" else ("counts",)
    missing = [n for n in ("pos", "vel", *names) if n not in data]
    if missing:
        raise ValueError(
            f"the binned map must have {', '.join(('pos', 'vel', *names))}, "
            f"but {', '.join(missing)} is missing (given: {', '.join(map(str, data))})."
        )
    pos = np.ravel(internal(data["pos"], u.kpc, "pos"))
    vel = np.ravel(internal(data["vel"], VELOCITY, "vel"))
    values = [np.ravel(np.asarray(data[n], dtype=float)) for n in names]
    sizes = {n: a.size for n, a in zip(("pos", "vel", *names), (pos, vel, *values), strict=True)}
    if len(set(sizes.values())) > 1:
        text = ", ".join(f"{n} {s}" for n, s in sizes.items())
        raise ValueError(f"the arrays of the map must have equal length, but have: {text}.")
    last = "label_err" if kind == "gaussian" else "counts"
    if np.any(values[-1] < 0):
        raise ValueError(
            f"{last} must not be negative, but {np.sum(values[-1] < 0)} pixels are (the smallest: "
            f"{np.nanmin(values[-1]):.4g})."
        )
    good = np.isfinite(pos) & np.isfinite(vel) & np.all(np.isfinite(values), axis=0)
    if kind == "gaussian":
        good &= values[1] > 0
    if good.sum() < 2:
        raise ValueError(
            f"the map must have at least two usable pixels, but {good.sum()} of {good.size} "
            f"have a finite {' and '.join(names)}."
        )
    columns = [values[0], values[-1]]
    return Map(*(jnp.asarray(a[good]) for a in (pos, vel, *columns)))


def pad(data: Map, block: int = 1024) -> Map:
    """The map filled up with pixels without weight, so that maps of like size share a program."""
    extra = -data.pos.size % block
    columns = [jnp.pad(c, (0, extra), mode="edge") for c in (data.pos, data.vel, data.label)]
    return Map(*columns, jnp.pad(data.label_err, (0, extra), constant_values=jnp.inf))
