"""Units at the public door: quantities in, plain float64 arrays inside."""

import warnings

import astropy.units as u
import numpy as np

from .arguments import shown


class UnitError(u.UnitsError, ValueError):
    """A quantity without a unit, or with one of the wrong kind."""


def internal(x, unit: u.UnitBase, name: str, allow_plain: bool = False) -> np.ndarray:
    """The value of the quantity `x` in `unit`, as a float64 array.

    A table's column that has a unit is a quantity.  Masked values are NaN.  Raises `UnitError` for
    a plain number (unless `allow_plain`) and for the wrong dimension, and ``ValueError`` for what
    is no number.
    """
    x = with_unit(x, name)
    if not isinstance(x, u.Quantity):
        if allow_plain:
            return plain(x, name)
        raise UnitError(f"{name} has no unit: attach one, for example {name} * u.Unit('{unit}').")
    if x.dtype.kind not in "iufb":
        raise ValueError(f"{name} must be real numbers, but holds {x.dtype}.")
    if hasattr(x, "mask"):
        x = x.filled(np.nan)
    try:
        return np.asarray(x.to_value(unit), dtype=float)
    except u.UnitConversionError:
        wanted = f"a unit like {unit}" if str(unit) else "no unit"
        raise UnitError(
            f"{name} must have {wanted}, but {str(x.unit) or 'no unit'} was given."
        ) from None


def with_unit(x, name: str):
    """A quantity of what has a unit without being one, as a column of a table; all else as it is.

    Masked values are NaN.  Raises `UnitError` for a unit that is not understood and
    ``ValueError`` for a column that holds no numbers.
    """
    unit = getattr(x, "unit", None)
    if isinstance(x, u.Quantity) or unit is None:
        return x
    known = stated_unit(unit)
    if _is_unknown(known):
        raise UnitError(f"{name} has the unit '{unit}', which is not understood.")
    return u.Quantity(plain(x, name), known)


def plain(x, name: str) -> np.ndarray:
    """Plain numbers as a float64 array, masked ones as NaN; a ``ValueError`` for anything else."""
    try:
        # Text would be taken for the number that it spells, in whatever notation.
        if (values := np.ma.asarray(x)).dtype.kind not in "iufbO":
            raise ValueError
        return np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be numbers, but {shown(x)} was given.") from None


PLACES = {"pos0": u.kpc, "vel0": u.kpc / u.Myr}


def plain_parameter(x, name: str) -> np.ndarray:
    """A parameter as a plain array: quantities in internal units, which only places have.

    Raises `UnitError` for a quantity of the wrong dimension and ``ValueError`` for no number.
    """
    x = with_unit(x, name)
    if isinstance(x, u.Quantity):
        return internal(x, PLACES.get(name.split("[")[0], u.dimensionless_unscaled), name)
    return plain(x, name)


def plane_units(units) -> tuple[u.UnitBase, u.UnitBase]:
    """The units of position and velocity that `units` stands for.

    `units` is a unit system that is indexed by "length" and "time" (gala's), or a list of units
    that holds a length and a time or a speed.  Raises `UnitError` for anything else.
    """
    try:
        members = [units["length"], units["time"]]
    except (TypeError, KeyError, IndexError, AttributeError, ValueError):
        members = list(units) if np.iterable(units) and not isinstance(units, str) else [units]
    found = {}
    for member in members:
        try:
            found[str(u.Unit(member).physical_type).split("/")[0]] = u.Unit(member)
        except (TypeError, ValueError, OverflowError, AttributeError):
            break
    if "length" not in found or not {"time", "speed"} & set(found):
        raise UnitError(
            "units must be a unit system or a list with a length and a time or a speed, but "
            f"{shown(units)} was given."
        )
    speed = found["speed"] if "speed" in found else found["length"] / found["time"]
    return found["length"], speed


def check_units(units) -> None:
    """Check what a model is given as `units`, which has no effect: parameters are in kpc and Myr.

    Raises `UnitError` for what is no unit system (see `plane_units`), and warns of any other.
    """
    if units is not None and plane_units(units) != (u.kpc, u.kpc / u.Myr):
        warnings.warn(
            "units has no effect here: a model's parameters are in kpc and Myr, and data carry "
            "their own units.",
            stacklevel=3,
        )


def stated_unit(text: str | u.UnitBase | None) -> u.UnitBase | None:
    """The unit that a file states, in whichever of the usual notations; None where it states none.

    What is not understood is an ``UnrecognizedUnit``: it is not the same as no unit.  That a
    reader did not understand it in one notation does not bar the others.
    """
    if text is None or (isinstance(text, u.UnitBase) and not _is_unknown(text)):
        return text
    text = str(text).strip()
    if not text:
        return None
    for notation in ("generic", "fits", "vounit", "cds"):
        try:
            return u.Unit(text, format=notation)
        except (ValueError, TypeError):
            continue
    return u.UnrecognizedUnit(text)


def label_unit(label) -> u.UnitBase | None:
    """The unit of a label, or a unit itself, that its map keeps: none for plain numbers.

    Abundances in dex are plain numbers, as everywhere.
    """
    unit = label if isinstance(label, u.UnitBase) else getattr(label, "unit", None)
    return None if unit in (None, u.dimensionless_unscaled, u.dex) else unit


def unit_words(unit: u.UnitBase | None) -> str:
    """A unit in words that lead back to it, a user's own in terms of others; none for None."""
    if unit is None:
        return ""
    text = str(unit)
    return text if stated_unit(text) == unit else str(unit.decompose())


def _is_unknown(unit: u.UnitBase) -> bool:
    return isinstance(unit, u.UnrecognizedUnit)
