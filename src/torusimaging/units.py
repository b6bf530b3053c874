"""Units at the public door: quantities in, plain float64 arrays inside."""

import astropy.units as u
import numpy as np


class UnitError(u.UnitsError, ValueError):
    """A quantity without a unit, or with one of the wrong kind."""


def internal(x, unit: u.UnitBase, name: str, allow_plain: bool = False) -> np.ndarray:
    """The value of the quantity `x` in `unit`, as a float64 array.

    Raises `UnitError` for a plain number (unless `allow_plain`) and for the wrong dimension.
    """
    if not isinstance(x, u.Quantity):
        if allow_plain:
            return np.asarray(x, dtype=float)
        raise UnitError(f"{name} has no unit: attach one, for example {name} * u.Unit('{unit}').")
    try:
        return np.asarray(x.to_value(unit), dtype=float)
    except u.UnitConversionError:
        raise UnitError(
            f"{name} must have a unit like {unit}, but {x.unit or 'no unit'} was given."
        ) from None
