"""Binned maps as plain arrays, checked at the door."""

from typing import Any, NamedTuple

import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arguments import nearest, shown
from ..coordinates import Points
from ..files.missing import stands_out
from ..units import internal, plain, with_unit

VELOCITY = u.kpc / u.Myr
MEANS = ("pos_mean", "vel_mean")
# What maps in memory and on file hold, besides which verbs take no arguments as data.
COLUMNS = ("pos", "vel", "label", "label_err", "counts", "selection", *MEANS)
COLUMNS += ("pos_edges", "vel_edges", "s", "n_stars", "n_outside", "n_not_finite")
COLUMNS += ("n_saturated", "name", "frame", "label_unit")
# What the stars' gradient in the guiding radius adds to the labels, and its error.
PARTS = ("R_g_part", "R_g_part_err")
COLUMNS += ("R_g_mean", "R_g_gradient", *PARTS)
# Bounds of what a map may hold: squares of labels must not overflow, no galaxy is that large.
LARGEST, FARTHEST, LIGHT = 1e100, 1e5, 306.6


class Map(eqx.Module):
    """A binned map as plain arrays: places (kpc, kpc/Myr), label and error, or counts.

    Places are the mean ones of the pixels' stars where the map has them, centres otherwise.
    """

    pos: Float[Array, " n"]
    vel: Float[Array, " n"]
    label: Float[Array, " n"]
    label_err: Float[Array, " n"]

    @property
    def points(self) -> Points:
        """Where the pixels lie."""
        return Points(self.pos, self.vel)


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


def read_map(data: Any, kind: str = "gaussian") -> Map:
    """The usable pixels of a binned map as plain arrays.

    Labels are at the stars' mean places ``pos_mean`` and ``vel_mean``, if the map has these;
    counts, which are of whole pixels, at the centres.  A `Map` that was read is returned as it is.
    Pixels with a label that is not finite, or an error that is not finite and positive, are left
    out; so are, in Poisson maps, those whose counts are not finite.  A label that is a catalogue's
    mark of a missing value and lies apart from all others (`stands_out`) is not finite either.

    Raises ``ValueError`` for a missing entry, unequal shapes, negative errors or counts, counts
    that are not whole, one mean place without the other, numbers that no map can have, and for a
    map with fewer than two usable pixels.
    """
    if isinstance(data, Map):
        require_x64()
        if kind != "gaussian":
            raise ValueError("counts must be given as a map that has them, not as one of labels.")
        return data
    return read_pixels(data, kind).map


class Pixels(NamedTuple):
    """A map as it was read: the usable pixels at their places, the centres of these, and which.

    `good` tells, of all pixels of the map in its order, the usable ones.
    """

    map: Map
    centres: Points
    good: np.ndarray


def read_pixels(data: Any, kind: str = "gaussian") -> Pixels:
    """The usable pixels of a binned map, read once (see `read_map`)."""
    require_x64()
    data = as_dictionary(data)
    names = ("label", "label_err") if kind == "gaussian" else ("counts",)
    given = [n for n in MEANS if data.get(n) is not None]
    if len(given) == 1 and kind == "gaussian":
        other = next(n for n in MEANS if n not in given)
        raise ValueError(
            f"the binned map must have both {' and '.join(MEANS)} or neither, but {other} is "
            f"missing (given: {', '.join(map(str, data))})."
        )
    missing = [n for n in ("pos", "vel", *names) if n not in data]
    if missing:
        raise ValueError(
            f"the binned map must have {', '.join(('pos', 'vel', *names))}, "
            f"but {', '.join(missing)} is missing (given: {', '.join(map(str, data))})."
        )
    where = ["pos", "vel", *(MEANS if given and kind == "gaussian" else ())]
    places = [_coordinate(data[n], n) for n in where]
    values = [_column(data[n], n, data[names[0]]) for n in names]
    sizes = {n: a.size for n, a in zip((*where, *names), (*places, *values), strict=True)}
    if len(set(sizes.values())) > 1:
        text = ", ".join(f"{n} {s}" for n, s in sizes.items())
        raise ValueError(f"the arrays of the map must have equal length, but have: {text}.")
    # Grids of another order have as many pixels, and each label at the place of another.
    shapes = {n: tuple(k for k in np.shape(data[n]) if k != 1) for n in (*where, *names)}
    if len({shape for shape in shapes.values() if len(shape) > 1}) > 1:
        text = ", ".join(f"{n} {shape}" for n, shape in shapes.items())
        raise ValueError(f"the arrays of the map must have one shape, but have: {text}.")
    last = "label_err" if kind == "gaussian" else "counts"
    if kind == "gaussian":
        values[0] = np.where(stands_out(values[0]), np.nan, values[0])
    # A pixel without a label may have any mark for its error.
    negative = values[-1][np.isfinite(values[0]) & (values[-1] < 0)]
    if negative.size:
        raise ValueError(
            f"{last} must not be negative, but {negative.size} pixels are (the smallest: "
            f"{negative.min():.4g})."
        )
    if kind == "poisson" and np.any(broken := values[0] % 1 > 0):
        first = int(np.argmax(broken))
        raise ValueError(
            f"counts must be whole numbers of stars, but pixel {first} has {values[0][first]:.6g}."
        )
    good = np.all(np.isfinite([*places, *values]), axis=0)
    if kind == "gaussian":
        good &= values[1] > 0
    if good.sum() < 2:
        raise ValueError(
            f"the map must have at least two usable pixels, but {good.sum()} of {good.size} "
            f"have a finite pos, vel, {' and '.join(names)}{' > 0' * (kind == 'gaussian')}."
        )
    for name, centre, mean in zip(MEANS, places, places[2:], strict=False):
        _check_mean(mean[good], centre[good], name)
    pos, vel = places[-2:]
    # The centres, and then the mean places where there are any.
    for x, y in zip(places[::2], places[1::2], strict=True):
        _check_size(x[good], "pos", FARTHEST, " kpc: check its unit")
        _check_size(y[good], "vel", LIGHT, " kpc/Myr, the speed of light: check its unit")
    for name, x in zip(names, values, strict=True):
        _check_size(x[good], name, LARGEST)
    if kind == "gaussian" and (smallest := values[1][good].min()) < 1 / LARGEST:
        raise ValueError(f"label_err must be above {1 / LARGEST:.0e}, but is {smallest:.3g}.")
    columns = [values[0], values[-1]]
    middle = Points(*(jnp.asarray(a[good]) for a in places[:2]))
    return Pixels(Map(*(jnp.asarray(a[good]) for a in (pos, vel, *columns))), middle, good)


def read_parts(data: dict, good: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """What the gradient in R_g adds to the labels of the pixels that `read_map` uses, if known.

    Pixels of which it is not known have a part of zero.  Raises ``ValueError`` for parts of another
    length than the map, and for one part without the other.
    """
    if not _has_parts(data):
        return {}
    good = read_pixels(data).good if good is None else good
    return {name: np.nan_to_num(_part(data, name, good.size)[good]) for name in PARTS}


def _has_parts(data: dict) -> bool:
    """Whether a map has the parts of the gradient; a ``ValueError`` where it has one of the two."""
    missing = [name for name in PARTS if data.get(name) is None]
    if len(missing) == 1:
        raise ValueError(
            f"the binned map must have both {' and '.join(PARTS)} or neither, but {missing[0]} is "
            f"missing (given: {', '.join(map(str, data))})."
        )
    return not missing


def _part(data: dict, name: str, n: int) -> np.ndarray:
    """A part of the gradient, shape (n,), NaN where it is not known.

    Raises ``ValueError`` for another length, and for values that no map can have.
    """
    label, part = with_unit(data["label"], "label"), with_unit(data[name], name)
    unit = getattr(label, "unit", None)
    if unit is not None and getattr(part, "unit", None) is not None:
        part = internal(part, unit, name)
    values = np.ravel(plain(getattr(part, "value", part), f"{name} of the map"))
    if values.size != n:
        raise ValueError(f"{name} must have {n} pixels, but has {values.size}.")
    values = np.where(np.isfinite(values) & ~stands_out(values), values, np.nan)
    if name == PARTS[1] and np.any(values < 0):
        raise ValueError(
            f"{name} must not be negative, but {np.sum(values < 0)} pixels are (the smallest: "
            f"{np.nanmin(values):.4g})."
        )
    _check_size(values[np.isfinite(values)], name, LARGEST)
    return values


def without_gradient(data: dict) -> dict:
    """The map with its labels brought to one guiding radius, and errors with the gradient's.

    Pixels of which the part is not known are left without a label.  Raises ``ValueError`` for maps
    that do not know the part of the gradient.
    """
    if not _has_parts(data) or any(data.get(name) is None for name in ("label", "label_err")):
        raise ValueError(
            'detrend="R_g" needs a map that knows its stars\' guiding radii (R_g_part and '
            "R_g_part_err): bin them with get_binned_label(..., R_g=...), or with `oti bin`."
        )
    label, error = (with_unit(data[name], name) for name in ("label", "label_err"))
    shape, unit = np.shape(label), getattr(label, "unit", None)
    part, part_err = (_part(data, name, int(np.prod(shape))).reshape(shape) for name in PARTS)
    if unit is not None:
        part, part_err = part * unit, part_err * unit
    else:
        label, error = plain(label, "label"), _column(error, "label_err", label).reshape(shape)
    left = {name: x for name, x in data.items() if name not in PARTS}
    return left | {"label": label - part, "label_err": np.sqrt(error**2 + part_err**2)}


def _check_mean(mean: np.ndarray, centre: np.ndarray, name: str) -> None:
    """Raise a ``ValueError`` for mean places of stars that lie outside of their pixels.

    A pixel is no wider than the widest gap between the centres, or than a square one would be.
    """
    width = max(np.diff(np.unique(centre)).max(initial=0.0), np.ptp(centre) / np.sqrt(centre.size))
    off = float(np.median(np.abs(mean - centre)))
    if off > width > 0:
        raise ValueError(
            f"{name} must lie inside the pixels around {name.removesuffix('_mean')}, which are at "
            f"most {width:.3g} wide, but half of the pixels have it {off:.3g} or more away: check "
            "its frame and the order of the pixels."
        )


def _check_size(x: np.ndarray, name: str, most: float, hint: str = "") -> None:
    if (largest := np.abs(x).max(initial=0.0)) > most:
        raise ValueError(
            f"{name} of the map reaches {largest:.3g}, but must not exceed {most:.3g}{hint}."
        )


def kind_of(data) -> str:
    """What a map holds: "gaussian" for labels with errors, "poisson" for counts alone."""
    if isinstance(data, Map):
        return "gaussian"
    return "gaussian" if "label" in as_dictionary(data) else "poisson"


def check_names(data: dict, verb: str, others: tuple[str, ...] = ()) -> None:
    """Raise a ``ValueError`` for an argument of `verb` that is no column of a map.

    `others` are its further arguments, which may have been meant.
    """
    for name in data:
        if name not in COLUMNS:
            close = nearest(name, (*COLUMNS, *others), 0.6)
            raise ValueError(f"{verb} has no argument {shown(name)}{close}")


def as_dictionary(data, name: str = "the binned map") -> dict:
    """A map given as a dictionary or a table.  Raises ``ValueError`` for anything else."""
    if hasattr(data, "colnames"):
        return {name: data[name] for name in data.colnames}
    if not isinstance(data, dict):
        raise ValueError(
            f"{name} must be a dictionary or a table, but {type(data).__name__} was given."
        )
    return data


def places_of(data: dict) -> tuple[u.Quantity, u.Quantity]:
    """Where a map's labels are compared with a model: pos and vel, the stars' means if known."""
    return _place(data, "pos", "gaussian"), _place(data, "vel", "gaussian")


def _place(data: dict, name: str, kind: str):
    mean = data.get(f"{name}_mean") if kind == "gaussian" else None
    return data[name] if mean is None else mean


def _coordinate(x, name: str) -> np.ndarray:
    """A column of places in kpc or kpc/Myr, NaN where masked and for marks of a missing value."""
    unit = u.kpc if name.startswith("pos") else VELOCITY
    plane = np.ravel(internal(x, unit, name))
    stated = with_unit(x, name).value
    # Marks are numbers of the column's own unit.
    stated = np.ravel(np.asarray(getattr(stated, "unmasked", stated), float))
    return np.where(stands_out(stated), np.nan, plane)


def _column(x, name: str, label) -> np.ndarray:
    """A column of the map as numbers, NaN where masked, an error in the unit of its label.

    Numbers without a unit are in dex, as abundances are.
    """
    x, unit = with_unit(x, name), getattr(with_unit(label, "label"), "unit", None)
    if name == "label_err" and (unit is not None or getattr(x, "unit", None) is not None):
        x = u.Quantity(plain(x, name) if getattr(x, "unit", None) is None else x, copy=False)
        if unit in (None, u.dex, u.dimensionless_unscaled):
            unit = u.dex if x.unit == u.dex else u.dimensionless_unscaled
        x = internal(x, unit, name)
    return np.ravel(plain(getattr(x, "value", x), f"{name} of the map"))


def pad(data: Map, block: int = 1024) -> Map:
    """The map filled up with pixels without weight, so that maps of like size share a program."""
    extra = -data.pos.size % block
    # By numpy: padding by JAX would be a program for each number of pixels.
    columns = [np.pad(c, (0, extra), mode="edge") for c in (data.pos, data.vel, data.label)]
    error = np.pad(data.label_err, (0, extra), constant_values=np.inf)
    return Map(*map(jnp.asarray, (*columns, error)))
