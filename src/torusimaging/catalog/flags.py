"""Bits of quality, targeting and membership flags, by name or number."""

from collections.abc import Iterable

import numpy as np

from ..arguments import nearest, shown
from ..files.formats import filled
from .surveys.base import ANY
from .surveys.registry import BITS


def bit(flag: str, name: str | int) -> int:
    """The number of a bit, by its name or as it is.

    Parameters
    ----------
    flag : the flag's column, such as "STARFLAG"; columns that are not APOGEE's have numbers only
    name : the bit's name, such as "PERSIST_HIGH", in any case, or its number, 0 to 63

    Raises ``ValueError`` for an unknown name (with the nearest) or a number out of range.
    """
    if isinstance(name, str):
        return _number(flag, name)
    if not isinstance(name, int | np.integer) or isinstance(name, bool) or not 0 <= name <= 63:
        raise ValueError(f"a bit of {flag} must be a name or a number 0 to 63, not {name!r}.")
    return int(name)


def _number(flag: str, name: str) -> int:
    if not isinstance(flag, str):
        raise ValueError(f"flag must be the name of a column, but {shown(flag)} was given.")
    if flag not in BITS:
        raise ValueError(
            f"the bits of {flag} have no names here, so {name!r} must be a number (flags with "
            f"names: {', '.join(BITS)})."
        )
    names = {known.upper(): number for known, number in BITS[flag].items()}
    if name.upper() in names:
        return names[name.upper()]
    raise ValueError(f"{flag} has no bit {name!r}{nearest(name, BITS[flag], 0.4)}")


def is_set(flag: str, values: np.ndarray, bits: str | Iterable[str | int]) -> np.ndarray:
    """Whether any of `bits` is set in the values of a flag.

    Parameters
    ----------
    flag : the flag's column
    values : whole numbers, shape (n_stars,)
    bits : names or numbers of bits, or "any" for every bit there is

    Returns a boolean array, shape (n_stars,).  Raises ``ValueError`` for unknown bits and for
    values that are no whole numbers: a missing flag is no clean star.
    """
    if np.ma.getmaskarray(values).any():
        values = filled(values, flag)
    if unit := str(getattr(values, "unit", None) or ""):
        raise ValueError(f"{flag} must hold whole numbers, but has the unit {unit}.")
    values = np.atleast_1d(np.asarray(values))
    if values.dtype.kind == "f":
        bad = ~((np.abs(values) < 2.0**63) & (values == np.trunc(values)))
        if bad.any():
            raise ValueError(
                f"{flag} must hold whole numbers, but is missing or broken for {bad.sum()} of "
                f"{bad.size} stars (the first: {values[bad][0]:g}): leave those stars out."
            )
        values = values.astype(np.int64)
    if values.dtype.kind not in "iub":
        raise ValueError(f"{flag} must hold whole numbers, but holds text, such as {values[:1]}.")
    if isinstance(bits, str) and bits == ANY:
        return values != 0
    if isinstance(bits, str) or np.ndim(bits) != 1 or not isinstance(bits, Iterable):
        raise ValueError(f"the bits of {flag} must be a list or 'any', not {bits!r}.")
    mask = 0
    for name in bits:
        mask |= 1 << bit(flag, name)
    # As unsigned numbers of their own width, the highest bit is a bit like any other.
    unsigned = values.astype(values.dtype.newbyteorder("=")).view(f"u{values.dtype.itemsize}")
    return (unsigned.astype(np.uint64) & np.uint64(mask)) != 0
