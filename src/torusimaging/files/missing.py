"""The numbers that catalogues write where they know nothing."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

# APOGEE writes -9999 and, in its DR14 to DR16, -9999.99 and -999.99; SDSS, LAMOST and SDSS-V
# -9999 and -999; the open clusters of OCCAM DR16 have velocities of 999999.  The others are these
# with fewer or more nines.  None is a value that a star's label, velocity or place can have.
MISSING = (
    *(-9999.0, -9999.9, -9999.99, -9999.999),
    *(-999.0, -999.9, -999.99, -999.999),
    *(-99999.0, -999999.0, 999999.0),
)


def is_missing(values: ArrayLike, marks: Sequence[float] = MISSING) -> NDArray[np.bool_]:
    """Where `values` are masked or one of `marks`, a boolean array of their shape.

    Parameters
    ----------
    values : real numbers of any kind, as they were read: a mark is compared in the values' own
        precision, for -9999.99 in single precision is another number than in double
    marks : the numbers that stand for a missing value, as text would say them

    Numbers in double precision that are a mark rounded to single precision, as a file has them
    whose column was widened, are missing, too.  NaN is none of the marks.
    """
    missing = np.ma.getmaskarray(values).copy()
    values = np.asarray(values)
    own = np.asarray(marks, dtype=float)
    own = own[np.isfinite(own)]
    if own.size == 0 or values.dtype.kind not in "iuf":
        return missing
    # Nearly all values are smaller than any mark and need no comparison with each.
    least = np.min(np.abs(own))
    if np.fmax.reduce(values, None, initial=0) < least:
        if np.fmin.reduce(values, None, initial=0) > -least:
            return missing
    far = (values <= -least) | (values >= least)
    missing[far] |= np.isin(values[far], _as_held(own, values.dtype))
    return missing


def stands_out(values: ArrayLike, marks: Sequence[float] = MISSING) -> NDArray[np.bool_]:
    """Where plain numbers are masked or a mark farther from all others than these are apart.

    Among others as far apart, as heights in pc, -999 is a number like any other.
    """
    found = is_missing(values, marks)
    if not found.any():
        return found
    masked, x = np.ma.getmaskarray(values), np.asarray(values, dtype=float)
    others = np.isfinite(x) & ~found
    for mark in sorted(set(x[found & ~masked].tolist()), key=abs):
        good, same = x[others], (x == mark) & ~masked
        if good.size and abs(mark - np.clip(mark, good.min(), good.max())) <= np.ptp(good):
            others |= same
            found &= ~same
    return found


def _as_held(marks: NDArray, dtype: np.dtype) -> NDArray:
    """The numbers of type `dtype` that stand for `marks`."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            rounded = marks.astype(np.float32).astype(dtype)
            held = np.concatenate([marks.astype(dtype), rounded])
        return held[np.isfinite(held)]
    limits = np.iinfo(dtype)
    whole = [int(mark) for mark in marks if mark == np.trunc(mark)]
    return np.array([mark for mark in whole if limits.min <= mark <= limits.max], dtype=dtype)
