r"""The gradient of a label in the guiding radius, at a fixed vertical orbit, and a map without it.

Stars of one pixel of the (pos, vel) plane have one vertical action.  Where their labels differ with
the guiding radius, the mean label of a pixel follows the mean guiding radius of its stars, which
changes over the plane for reasons that are none of the vertical motion: the label is then no
function of the action, and the fitted acceleration is biased.  With y the label, x = R_g and means
over the stars of each pixel, the slope within the pixels is

    b = sum (y - <y>) (x - <x>) / sum (x - <x>)^2

(the fixed-effects estimator: Angrist & Pischke 2009, section 5.1), with the place inside of the
pixel as further regressors.  No potential is needed.  Its change with the size of the orbit,
r^2 = (pos / sd of pos)^2 + (vel / sd of vel)^2, is taken along where it is there beyond 3 sd.
All of it follows from sums within pixels that add up (`Within`), for stars in memory and in files.
"""

from collections.abc import Sequence
from typing import NamedTuple

import astropy.units as u
import numpy as np
from numpy.typing import NDArray

from ..files.formats import filled
from ..units import internal

FARTHEST = 200.0  # kpc
SURE = 3.0  # sd of the slope's change with the orbit from which it is used
LEAST = 10  # stars beyond one for each pixel


class Gradient(NamedTuple):
    """The slope of a label in R_g within pixels, in the label's unit per kpc.

    Attributes
    ----------
    slope, slope_err : of orbits of the mean size
    change, change_err : of the slope with r, for orbits of another size; 0 where it is not used
    centre : the mean R_g (kpc), to which labels are brought
    size, scales : the mean r, and the sd of pos and vel in the bins' units
    """

    slope: float
    slope_err: float
    change: float
    change_err: float
    centre: float
    size: float
    scales: tuple[float, float]

    def at(self, p: NDArray, v: NDArray) -> tuple[NDArray, NDArray]:
        """The slope and its error at places in the bins' units."""
        off = np.hypot(p / self.scales[0], v / self.scales[1]) - self.size
        return self.slope + self.change * off, np.hypot(self.slope_err, self.change_err * off)

    def __str__(self) -> str:
        return f"{self.slope:+.4f} +- {self.slope_err:.4f} per kpc of R_g at a fixed vertical orbit"


class Within(NamedTuple):
    """Sums over the stars of groups, of k columns, that add up and do not cancel.

    Attributes
    ----------
    count : stars, shape (groups,)
    mean : of the columns, shape (k, groups), 0 where there is no star
    square : products of deviations from the groups' means, over all stars, shape (k, k)
    """

    count: NDArray
    mean: NDArray
    square: NDArray

    @classmethod
    def of(cls, columns: Sequence[NDArray], group: NDArray, size: int) -> "Within":
        """The sums of `columns`, shape (n,) each, in `size` groups."""
        count = np.bincount(group, minlength=size)
        some = np.maximum(count, 1)
        mean = np.stack([np.bincount(group, x, size) / some for x in columns])
        off = np.stack(columns) - mean[:, group]
        # No library for matrices: its threads, and with them the last bit, differ among workers.
        return cls(count, mean, np.einsum("in,jn->ij", off, off))

    def __add__(self, other: "Within") -> "Within":
        # Chan, Golub & LeVeque 1983, The American Statistician 37, 242.
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        off = other.mean - self.mean
        between = np.einsum("ip,jp->ij", off * (self.count * share), off)
        return Within(count, self.mean + off * share, self.square + other.square + between)

    def total(self) -> tuple[int, NDArray]:
        """The number of all stars, and the columns' means over them."""
        n = int(self.count.sum())
        return n, np.sum(self.mean * self.count, axis=1) / max(n, 1)


def guiding_radii(R_g, n: int) -> NDArray:
    """Guiding radii in kpc, shape (n,), NaN where there is none, infinite beyond any disc.

    Raises `UnitError` and ``ValueError`` for other units and numbers.
    """
    x = R_g.filled(np.nan) if hasattr(R_g, "mask") else R_g
    x = np.ravel(filled(internal(x, u.kpc, "R_g"), "R_g"))
    if x.size != n:
        raise ValueError(f"R_g must have one value a star, but has {x.size} for {n} stars.")
    known = np.isfinite(x)
    # Marks of a missing value, and stars of no disc.
    far = known & (np.abs(x) > FARTHEST)
    if (negative := known & ~far & (x < 0)).any():
        raise ValueError(
            f"R_g must not be negative, but is for {negative.sum()} of {n} stars: take |L_z| / v_c."
        )
    return np.where(far, np.inf, np.where(known, x, np.nan))


def spread_of(p: NDArray, v: NDArray, x: NDArray) -> Within:
    """The stars' sums of p, v and the guiding radius, all in one group."""
    return Within.of((p, v, x), np.zeros(p.size, dtype=int), 1)


def orbits_of(
    spread: Within, p: NDArray, v: NDArray, y: NDArray, x: NDArray, pixel: NDArray, size: int
) -> Within:
    """The stars' sums of what the gradient takes, in pixels 0 to size - 1."""
    scales, centre = _scales(spread)
    off, r = x - centre, np.hypot(p / scales[0], v / scales[1])
    # Within a pixel the label changes with the place, too.
    return Within.of((y, off, off * r, r, p, v), pixel, size)


def measure(spread: Within, orbits: Within) -> Gradient:
    """The gradient of the labels in x within pixels, from the sums of all stars.

    Raises ``ValueError`` where too few stars share a pixel with another, or x does not differ.
    """
    n, means = orbits.total()
    pixels = np.count_nonzero(orbits.count)
    if n - pixels < LEAST + 5:
        raise ValueError(
            "the gradient in R_g needs pixels with several stars that have one, but "
            f"{n} stars lie in {pixels} pixels: make the pixels larger."
        )
    scales, centre = _scales(spread)
    square, size = orbits.square.copy(), float(means[3])
    if not square[1, 1] > 1e-12 * (spread.square[2, 2] + n * centre**2):
        raise ValueError("R_g must differ between the stars of a pixel, but does not.")
    whole = np.diag(square) + np.sum(orbits.count * orbits.mean**2, axis=1)
    # From (x - centre) r to (x - centre) (r - size).
    square[2] -= size * square[1]
    square[:, 2] -= size * square[:, 1]
    # Columns that are one number in each pixel have deviations of rounding alone.
    flat = np.diag(square) <= 1e-14 * whole
    flat[0] = False
    square[flat], square[:, flat] = 0.0, 0.0
    free = n - pixels - 5
    found, sd = _regress(square, [1, 2, 3, 4, 5], free)
    if abs(found[1]) > SURE * sd[1]:
        slopes = found[0], sd[0], found[1], sd[1]
    else:
        (slope, *_), (error, *_) = _regress(square, [1, 3, 4, 5], free)
        slopes = slope, error, 0.0, 0.0
    return Gradient(*map(float, slopes), centre, size, scales)


def _scales(spread: Within) -> tuple[tuple[float, float], float]:
    """The sd of p and v, 1 where they do not differ, and the mean guiding radius."""
    n, means = spread.total()
    p, v = (float(np.sqrt(spread.square[k, k] / n)) or 1.0 for k in (0, 1))
    return (p, v), float(means[2])


def _regress(square: NDArray, rows: list[int], free: int) -> tuple[NDArray, NDArray]:
    """Coefficients of least squares and their errors, for `free` degrees of freedom.

    `square` are sums of products, shape (k, k), the first of them those of the labels.
    """
    scale = np.sqrt(np.diag(square)[rows])
    scale = np.where(scale > 0, scale, 1.0)
    matrix = square[np.ix_(rows, rows)] / np.outer(scale, scale)
    right = square[rows, 0] / scale
    inverse = np.linalg.pinv(matrix, hermitian=True)
    found = inverse @ right
    rest = max(square[0, 0] - 2 * found @ right + found @ matrix @ found, 0.0)
    return found / scale, np.sqrt(rest / free * np.diag(inverse)) / scale
