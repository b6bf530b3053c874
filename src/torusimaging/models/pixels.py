"""Binned maps as plain arrays, checked at the door."""

import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..units import internal, with_unit

VELOCITY = u.kpc / u.Myr
MEANS = ("pos_mean", "vel_mean")


class Map(eqx.Module):
    """A binned map as plain arrays: places (kpc, kpc/Myr), label and error, or counts.

    Places are the mean ones of the pixels' stars where the map has them, centres otherwise.
    """

    pos: Float[Array, " n"]
    vel: Float[Array, " n"]
    label: Float[Array, " n"]
    label_err: Float[Array, " n"]


def require_x64(model=None) -> None:
    """Raise a ``RuntimeError`` unless JAX, and the arrays of `model`, are in double precision."""
    line = 'jax.config.update("jax_enable_x64", True)'
    if not jax.config.read("jax_enable_x64"):
        raise RuntimeError(
            f"JAX works in float32 here, which a fit cannot use: run {line} before anything else."
        )
    kinds = {x.dtype for x in jax.tree.leaves(model) if eqx.is_inexact_array(x)}
    if single := kinds - {np.dtype(float)}:
        raise RuntimeError(
            f"the model holds {single.pop().name} numbers, which a fit cannot use: run {line} "
            "before anything else, and make the model anew."
        )


def read_map(data: dict, kind: str = "gaussian") -> Map:
    """The usable pixels of a binned map as plain arrays.

    Labels are at the stars' mean places ``pos_mean`` and ``vel_mean``, if the map has these;
    counts, which are of whole pixels, at the centres.
    Pixels with a label that is not finite, or an error that is not finite and positive, are left
    out; so are, in Poisson maps, those whose counts are not finite.

    Raises ``ValueError`` for a missing entry, unequal shapes, negative errors or counts, and for
    a map with fewer than two usable pixels.
    """
    require_x64()
    data = as_dictionary(data)
    names = ("label", "label_err") if kind == "gaussian" else ("counts",)
    missing = [n for n in ("pos", "vel", *names) if n not in data]
    if missing:
        raise ValueError(
            f"the binned map must have {', '.join(('pos', 'vel', *names))}, "
            f"but {', '.join(missing)} is missing (given: {', '.join(map(str, data))})."
        )
    pos, vel = (
        np.ravel(internal(_place(data, name, kind), unit, name))
        for name, unit in (("pos", u.kpc), ("vel", VELOCITY))
    )
    values = [_column(data[n], n, data[names[0]]) for n in names]
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
            f"have a finite pos, vel, {' and '.join(names)}{' > 0' * (kind == 'gaussian')}."
        )
    columns = [values[0], values[-1]]
    return Map(*(jnp.asarray(a[good]) for a in (pos, vel, *columns)))


def as_dictionary(data) -> dict:
    """A map given as a dictionary or a table.  Raises ``ValueError`` for anything else."""
    if hasattr(data, "colnames"):
        return {name: data[name] for name in data.colnames}
    if not isinstance(data, dict):
        raise ValueError(
            f"the binned map must be a dictionary or a table, but {type(data).__name__} was given."
        )
    return data


def places_of(data: dict) -> tuple[u.Quantity, u.Quantity]:
    """Where a map's labels are compared with a model: pos and vel, the stars' means if known."""
    return _place(data, "pos", "gaussian"), _place(data, "vel", "gaussian")


def _place(data: dict, name: str, kind: str):
    mean = data.get(f"{name}_mean") if kind == "gaussian" else None
    return data[name] if mean is None else mean


def _column(x, name: str, label) -> np.ndarray:
    """A column of the map as numbers, NaN where masked, an error in the unit of its label."""
    x, unit = with_unit(x, name), getattr(with_unit(label, "label"), "unit", None)
    if unit is not None and name != "label":
        x = u.Quantity(x, copy=False) if getattr(x, "unit", None) is None else x
        x = internal(x, unit, name)
    x = getattr(x, "value", x)
    kind = np.ma.asarray(x).dtype.kind
    if kind not in "iufbO":
        raise ValueError(
            f"{name} of the map must hold real numbers, but holds {np.asarray(x).dtype}."
        )
    return np.ravel(np.ma.filled(np.ma.asarray(x, dtype=float), np.nan))


def pad(data: Map, block: int = 1024) -> Map:
    """The map filled up with pixels without weight, so that maps of like size share a program."""
    extra = -data.pos.size % block
    columns = [jnp.pad(c, (0, extra), mode="edge") for c in (data.pos, data.vel, data.label)]
    return Map(*columns, jnp.pad(data.label_err, (0, extra), constant_values=jnp.inf))
