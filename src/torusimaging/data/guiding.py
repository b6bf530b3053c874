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
"""

from typing import NamedTuple

import astropy.units as u
import numpy as np
from numpy.typing import NDArray

from ..files.formats import filled
from ..units import internal
from .plane import Labels, Plane

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


class Guides(NamedTuple):
    """Guiding radii of the stars of a map, shape (n,) each, with the pixels that hold them."""

    p: NDArray
    v: NDArray
    x: NDArray
    pixel: NDArray
    shape: tuple[int, int]
    gradient: Gradient | None

    @classmethod
    def of(
        cls, plane: Plane, p: NDArray, v: NDArray, y: NDArray, x: NDArray, needed: bool
    ) -> "Guides":
        """The stars' pixels, and the gradient of y within them; None where there is none to find.

        Raises ``ValueError`` for that where it is `needed`.
        """
        shape = plane.edges[0].size - 1, plane.edges[1].size - 1
        places = [
            np.searchsorted(edges, c, side="right") - 1
            for edges, c in zip(plane.edges, (p, v), strict=True)
        ]
        inside = np.isfinite(p) & np.isfinite(v)
        for k, n in zip(places, shape, strict=True):
            inside &= (k >= 0) & (k < n)
        pixel = np.where(inside, places[0] * shape[1] + places[1], -1)
        try:
            gradient = measure(p, v, y, x, pixel)
        except ValueError:
            if needed:
                raise
            gradient = None
        return cls(p, v, x, pixel, shape, gradient)

    def taken_off(self, y: NDArray) -> NDArray:
        """The labels at the mean guiding radius; NaN for stars that have none."""
        assert self.gradient is not None
        return y - self.gradient.at(self.p, self.v)[0] * (self.x - self.gradient.centre)

    def columns(self, binned: dict, labels: Labels, taken: bool) -> dict:
        """The map's columns, weighted as its labels are."""
        s = np.asarray(getattr(binned["s"], "value", binned["s"]))
        own = s.ravel()[self.pixel] if s.ndim else s
        variance = own**2 + (0.0 if labels.sigma is None else labels.sigma**2)
        used = (self.pixel >= 0) & np.isfinite(self.x) & np.isfinite(labels.y)
        used &= np.isfinite(variance) & (variance > 0)
        weight = 1 / np.where(used, variance, 1.0)[used]
        size = self.shape[0] * self.shape[1]
        total = np.bincount(self.pixel[used], weight, size)

        def mean(values):
            with np.errstate(invalid="ignore"):
                return (np.bincount(self.pixel[used], weight * values, size) / total).reshape(
                    self.shape
                )

        out = {"R_g_mean": mean(self.x[used]) * u.kpc, "R_g_gradient": self.gradient}
        if taken or self.gradient is None:
            return out
        slope, error = (c[used] for c in self.gradient.at(self.p, self.v))
        off = self.x[used] - self.gradient.centre
        unit = 1 if labels.unit is None else labels.unit
        return out | {
            "R_g_part": mean(slope * off) * unit,
            "R_g_part_err": np.abs(mean(error * off)) * unit,
        }


def guiding_radii(R_g, n: int) -> NDArray:
    """Guiding radii in kpc, shape (n,), NaN where there is none.

    Raises `UnitError` and ``ValueError`` for other units and numbers.
    """
    x = R_g.filled(np.nan) if hasattr(R_g, "mask") else R_g
    x = np.ravel(filled(internal(x, u.kpc, "R_g"), "R_g"))
    if x.size != n:
        raise ValueError(f"R_g must have one value a star, but has {x.size} for {n} stars.")
    known = np.isfinite(x)
    # Marks of a missing value, and stars of no disc.
    far = known & (np.abs(x) > FARTHEST)
    if known.any() and far.sum() > known.sum() / 2:
        raise ValueError(
            f"R_g must be radii below {FARTHEST:g} kpc, but is {np.median(x[far]):.4g} kpc or so "
            f"for {far.sum()} of {n} stars: check its unit."
        )
    known &= ~far
    if (negative := known & (x < 0)).any():
        raise ValueError(
            f"R_g must not be negative, but is for {negative.sum()} of {n} stars: take |L_z| / v_c."
        )
    return np.where(known, x, np.nan)


def measure(p: NDArray, v: NDArray, y: NDArray, x: NDArray, pixel: NDArray) -> Gradient:
    """The gradient of the labels y in x within pixels (whole numbers, -1 outside of all).

    Raises ``ValueError`` where too few stars share a pixel with another, or x does not differ.
    """
    used = (pixel >= 0) & np.isfinite(y) & np.isfinite(x) & np.isfinite(p) & np.isfinite(v)
    p, v, y, x = p[used], v[used], y[used], x[used]
    _, group = np.unique(pixel[used], return_inverse=True)
    number = np.bincount(group)
    if not y.size:
        raise ValueError("the gradient in R_g needs stars with an R_g and a label, but none has.")
    if y.size - number.size < LEAST + 5:
        raise ValueError(
            "the gradient in R_g needs pixels with several stars that have one, but "
            f"{y.size} stars lie in {number.size} pixels: make the pixels larger."
        )
    scales = float(np.std(p)) or 1.0, float(np.std(v)) or 1.0
    r = np.hypot(p / scales[0], v / scales[1])
    size, centre = float(r.mean()), float(x.mean())
    r = r - size
    # Within a pixel the label changes with the place, too.
    columns = (y, x - centre, (x - centre) * r, r, p, v)
    dy, *columns = (c - (np.bincount(group, c) / number)[group] for c in columns)
    dx = columns[0]
    if not np.sum(dx**2) > 1e-12 * np.sum(x**2):
        raise ValueError("R_g must differ between the stars of a pixel, but does not.")
    free = y.size - number.size - len(columns)
    found, sd = _regress(dy, columns, free)
    if abs(found[1]) > SURE * sd[1]:
        slopes = found[0], sd[0], found[1], sd[1]
    else:
        (slope, *_), (error, *_) = _regress(dy, [dx, *columns[2:]], free)
        slopes = slope, error, 0.0, 0.0
    return Gradient(*map(float, slopes), centre, size, scales)


def _regress(y: NDArray, columns: list[NDArray], free: int) -> tuple[NDArray, NDArray]:
    """Coefficients of least squares and their errors, for `free` degrees of freedom."""
    T = np.stack(columns, axis=1)
    scale = np.sqrt(np.sum(T**2, axis=0))
    T = T / np.where(scale > 0, scale, 1.0)
    inverse = np.linalg.pinv(T.T @ T, hermitian=True)
    found = inverse @ (T.T @ y)
    spread = np.sum((y - T @ found) ** 2) / free
    return found / scale, np.sqrt(spread * np.diag(inverse)) / scale
