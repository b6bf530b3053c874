"""Sums over stars that can be added: the same for arrays, chunks of files and workers.

What a map needs is found in passes over the stars.  A pass is a function of one chunk of stars
whose results add up (`Census`, `Histograms`); whoever holds the stars maps it over the chunks and
adds the results in the chunks' order, so that the result depends on the chunks alone.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import astropy.units as u
import boost_histogram as bh
import numpy as np
from numpy.typing import NDArray

from ..units import internal
from .guiding import FARTHEST, Gradient, Within, measure, orbits_of, spread_of
from .scatter import Groups, global_scatter, local_scatter

# Classes of equal width in the logarithm of the error, and the smallest error that has classes of
# its own beside the largest.  The scatter sees a class's mean variance in each pixel only, which
# changes it by far less than its own noise.
ERROR_CLASSES = 32
SMALLEST_ERROR = 1e-4
# Sizes between which fourth powers and their sums are numbers.
TINY, HUGE = 1e-70, 1e70
NO_GUIDES = "the gradient in R_g needs stars with an R_g and a label, but none has."

T = TypeVar("T")
Passes = Callable[[Callable[["Stars"], T]], T]
Axes = list[bh.axis.Axis]


class Stars(NamedTuple):
    """A chunk of stars in the bins' units, shape (n,) each: all that is finite, and how many not.

    `sigma` is None without measurement errors, `unit`, of y and sigma, where they have none.  `x`
    are guiding radii (kpc), NaN where unknown, None without any; `n_far` stars have one that is
    none of a disc's.
    """

    p: NDArray
    v: NDArray
    y: NDArray
    sigma: NDArray | None
    n_not_finite: int
    unit: u.UnitBase | None = None
    x: NDArray | None = None
    n_far: int = 0

    @classmethod
    def of(
        cls,
        p: NDArray,
        v: NDArray,
        y: NDArray,
        sigma: NDArray | None,
        unit: u.UnitBase | None = None,
        x: NDArray | None = None,
    ) -> "Stars":
        """The stars whose every column is finite, but for guiding radii (see `guiding_radii`)."""
        good = np.isfinite(y) & np.isfinite(p) & np.isfinite(v)
        if sigma is not None:
            good &= np.isfinite(sigma)
        stars = cls(p, v, y, sigma, 0, unit, x).only(good)
        if stars.x is None:
            return stars
        far = np.isinf(stars.x)
        return stars._replace(x=np.where(far, np.nan, stars.x), n_far=int(far.sum()))

    def only(self, good: NDArray) -> "Stars":
        """The stars that are `good`; the others are counted with those that are not finite."""
        n_bad = int(good.size - np.count_nonzero(good))
        if not n_bad:
            return self
        columns = {k: x[good] for k, x in self.columns().items()}
        return self._replace(**columns, n_not_finite=self.n_not_finite + n_bad)

    def columns(self) -> dict[str, NDArray]:
        """The columns that are there."""
        return {k: x for k in ("p", "v", "y", "sigma", "x") if (x := getattr(self, k)) is not None}

    def guided(self) -> "Stars":
        """Those with a guiding radius; all, where radii are not known at all."""
        return self if self.x is None else self.only(np.isfinite(self.x))

    def level(self, gradient: Gradient) -> "Stars":
        """The stars with their labels at the mean guiding radius."""
        off = self.radii() - gradient.centre
        return self._replace(y=self.y - gradient.at(self.p, self.v)[0] * off)

    def radii(self) -> NDArray:
        """The guiding radii, NaN where there are none."""
        return np.full(self.y.size, np.nan) if self.x is None else self.x


class Census(NamedTuple):
    """Numbers of the stars, their units, ranges (smallest, largest).

    `n_exact` are without an error, `n_near` have a guiding radius, `n_far` one that is none of a
    disc's, and `n_plain` come without a column of them.  The range of sigma is that of the stars
    inside the bins.
    """

    n: int
    n_not_finite: int
    n_exact: int
    n_near: int
    n_far: int
    n_plain: int
    units: tuple[u.UnitBase | None, ...]
    sigma: tuple[float, float]
    p: tuple[float, float]
    v: tuple[float, float]
    y: tuple[float, float]

    @classmethod
    def of(cls, axes: Axes, stars: Stars) -> "Census":
        """The census of a chunk."""
        sigma = stars.sigma
        if sigma is not None:
            inside = np.ones(sigma.size, dtype=bool)
            for axis, x in zip(axes, (stars.p, stars.v), strict=True):
                inside &= (x >= axis.edges[0]) & (x < axis.edges[-1])
            sigma = sigma[inside]
        ranges = [
            (float(x.min()), float(x.max())) if x is not None and x.size else (np.inf, -np.inf)
            for x in (sigma, stars.p, stars.v, stars.y)
        ]
        n = stars.y.size
        units = (stars.unit,) if n else ()
        near, plain = (0, n) if stars.x is None else (int(np.isfinite(stars.x).sum()), 0)
        exact = n if sigma is None else 0
        return cls(n, stars.n_not_finite, exact, near, stars.n_far, plain, units, *ranges)

    def __add__(self, other: "Census") -> "Census":
        ranges = [
            (min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(self[7:], other[7:], strict=True)
        ]
        units = tuple(dict.fromkeys(self.units + other.units))
        return Census(*(a + b for a, b in zip(self[:6], other[:6], strict=True)), units, *ranges)

    def check(self, detrend: bool) -> None:
        """Raise a ``ValueError`` for stars of which no map can be made, or none to `detrend`."""
        if self.n_far > self.n_near:
            raise ValueError(
                f"R_g must be radii below {FARTHEST:g} kpc, but {self.n_far} of "
                f"{self.n_far + self.n_near} lie farther out: check its unit."
            )
        if detrend and self.n_plain:
            raise ValueError('detrend="R_g" needs the guiding radii: give R_g, |L_z| / v_c.')
        if 0 < self.n_plain < self.n:
            raise ValueError(
                f"R_g must be there for all stars or none, but {self.n_plain} of {self.n} have "
                "none: give NaN where it is not known."
            )
        if self.n == 0 and detrend:
            raise ValueError(NO_GUIDES)
        if self.n == 0:
            raise ValueError(
                f"label must have finite values, but none of {self.n_not_finite} stars has one "
                "with a finite pos, vel and label_err."
            )
        if 0 < self.n_exact < self.n:
            raise ValueError(
                f"label_err must be there for all stars or none, but {self.n_exact} of {self.n} "
                "have none."
            )
        if len(self.units) > 1:
            text = " and ".join(str(unit or "no unit") for unit in self.units)
            raise ValueError(f"label must have one unit for all stars, but has {text}.")
        check_size("label", max(-self.y[0], self.y[1]))
        for size in self.sigma:
            check_size("label_err", size if np.isfinite(size) else 0.0)


def check_size(name: str, size: float) -> None:
    """Raise a ``ValueError`` for a number whose fourth power is none, but for 0."""
    if size != 0 and not TINY <= size <= HUGE:
        raise ValueError(
            f"{name} must be 0 or from {TINY:g} to {HUGE:g} in size, but {size:.4g} is not: give "
            "it in another unit."
        )


class Histograms(tuple):
    """Histograms, or other sums, that add up one by one."""

    def __add__(self, other):
        return Histograms(a + b for a, b in zip(self, other, strict=True))


class Guided(NamedTuple):
    """What guiding radii give a map: their means (kpc), the gradient, if there is one, and, unless
    it was taken off, what it adds to the labels of pixels, with its error.
    """

    mean: NDArray
    gradient: Gradient | None
    part: NDArray | None = None
    part_err: NDArray | None = None


class Map(NamedTuple):
    """What stars give a map: counts, mean, error and mean places of pixels, scatter, census."""

    counts: NDArray
    label: NDArray
    label_err: NDArray
    places: list[NDArray]
    s: float | NDArray
    census: Census
    guided: Guided | None = None


def fill(storage: type[bh.storage.Storage], axes: Axes, *columns, **options) -> bh.Histogram:
    """A filled histogram."""
    return bh.Histogram(*axes, storage=storage()).fill(*columns, **options)


def make_map(
    passes: Passes[Any], axes: Axes, s: float | u.Quantity | str | None, detrend: bool = False
) -> Map:
    """The map of the stars that `passes` goes through, in two or three passes.

    `s` is the scatter, None to estimate one value, or "local".  With guiding radii one pass more
    measures the gradient of the label in them, which `detrend` takes off.  Raises ``ValueError``
    where no star lies inside the bins, none is finite, or the scatter cannot be told, and where
    there is no gradient to take off.
    """
    if detrend:
        passes = partial(_changed, passes, Stars.guided)
    census, spread = passes(partial(_census, axes))
    census.check(detrend)
    gradient = further = None
    if not census.n_plain:
        gradient = _gradient(passes, axes, spread, detrend)
        further = partial(_guided, None if detrend else gradient)
    if detrend:
        passes = partial(_changed, passes, partial(Stars.level, gradient=gradient))
    if s is None or isinstance(s, str):
        groups = _groups(passes, axes, census)
        require_stars(groups.count, axes, census.p, census.v)
        scatter = global_scatter(groups)
        if s == "local":
            scatter = local_scatter(groups, scatter)
    else:
        unit = census.units[0] or u.dimensionless_unscaled
        scatter = float(internal(s, unit, "s", allow_plain=True))
    low = 0.0 if census.sigma[0] == np.inf else census.sigma[0]
    if np.min(np.asarray(scatter) ** 2 + low**2) <= 0:
        raise ValueError(
            "label_err must be positive where the intrinsic scatter s is 0: a star without any "
            "error would have an infinite weight."
        )
    counts, means, *sums = passes(partial(_weighted, axes, scatter, further))
    counts = counts.view().astype(float)
    require_stars(counts, axes, census.p, census.v)
    filled = counts > 0
    weighted = "sum_of_weights" in means.view().dtype.names
    total = means.view()["sum_of_weights"] if weighted else counts / scatter**2
    total = np.where(filled, total, 1.0)
    nan = np.full(counts.shape, np.nan)
    guided = None
    if further is not None:
        known, *others = (x.view() for x in sums[2:])
        mean, *parts = (np.where(known > 0, x, nan) / np.where(known > 0, known, 1) for x in others)
        part, part_err = parts or (None, None)
        guided = Guided(mean, gradient, part, None if part_err is None else np.abs(part_err))
    return Map(
        counts,
        np.where(filled, means.view()["value"], nan),
        np.where(filled, 1.0 / np.sqrt(total), nan),
        [np.where(filled, x.view() / total, nan) for x in sums[:2]],
        scatter,
        census,
        guided,
    )


def _changed(passes: Passes[Any], change: Callable[[Stars], Stars], function: Callable) -> Any:
    """A pass over stars that are changed first."""
    return passes(partial(_after, change, function))


def _after(change: Callable[[Stars], Stars], function: Callable, stars: Stars) -> Any:
    return function(change(stars))


def _census(axes: Axes, stars: Stars) -> Histograms:
    """The census, and the spread of the stars inside the bins that have a guiding radius."""
    _, p, v, _, x = _guides(axes, stars)
    return Histograms((Census.of(axes, stars), spread_of(p, v, x)))


def _guides(axes: Axes, stars: Stars) -> list[NDArray]:
    """Pixel, p, v, y and x of the stars inside the bins that have a guiding radius."""
    if stars.x is None:
        return [np.zeros(0, dtype=int), *np.zeros((4, 0))]
    i, j = (axis.index(c) for axis, c in zip(axes, (stars.p, stars.v), strict=True))
    used = np.isfinite(stars.x) & (i >= 0) & (i < axes[0].size) & (j >= 0) & (j < axes[1].size)
    pixel = np.asarray(i * axes[1].size + j)
    return [c[used] for c in (pixel, stars.p, stars.v, stars.y, stars.x)]


def _orbits(axes: Axes, spread: Within, stars: Stars) -> Within:
    """What the gradient takes, of a chunk."""
    pixel, *columns = _guides(axes, stars)
    return orbits_of(spread, *columns, pixel, axes[0].size * axes[1].size)


def _gradient(passes: Passes[Any], axes: Axes, spread: Within, needed: bool) -> Gradient | None:
    """The gradient of the label in the guiding radius; None where there is none to find.

    Raises ``ValueError`` for that where it is `needed`.
    """
    orbits = passes(partial(_orbits, axes, spread)) if spread.count.any() else None
    try:
        if orbits is None:
            raise ValueError(NO_GUIDES)
        return measure(spread, orbits)
    except ValueError:
        if needed:
            raise
    return None


def _guided(gradient: Gradient | None, stars: Stars) -> list[NDArray]:
    """Whether stars have a guiding radius, it, and what the gradient adds, with its error."""
    known = np.isfinite(radii := stars.radii())
    x = np.where(known, radii, 0.0)
    if gradient is None:
        return [known, x]
    off = np.where(known, radii - gradient.centre, 0.0)
    return [known, x, *(slope * off for slope in gradient.at(stars.p, stars.v))]


def _weighted(axes: Axes, scatter, further: Callable | None, stars: Stars) -> Histograms:
    """Counts, weighted means of the label, sums of the weighted places and `further` columns."""
    p, v, y, sigma = stars[:4]
    counts = fill(bh.storage.Int64, axes, p, v)
    s2 = _per_star(axes, p, v, np.asarray(scatter) ** 2) if np.ndim(scatter) else scatter**2
    # A star outside the bins may have neither scatter nor error: its weight is in no pixel.
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.broadcast_to(1.0 / (s2 if sigma is None else s2 + sigma * sigma), y.shape)
        columns = (p, v, *(further(stars) if further is not None else ()))
        weighted = [x * weight for x in columns]
    if sigma is None and not np.ndim(scatter):
        means = fill(bh.storage.Mean, axes, p, v, sample=y)
    else:
        means = fill(bh.storage.WeightedMean, axes, p, v, sample=y, weight=weight)
    sums = (fill(bh.storage.Double, axes, p, v, weight=x) for x in weighted)
    return Histograms((counts, means, *sums))


def _groups(passes: Passes[Any], axes: Axes, census: Census) -> Groups:
    """Moments of the stars in (pixel, class of error)."""
    low, high = census.sigma
    if low >= high:
        # One error, or none at all: one class.
        (means,) = passes(partial(_means, axes))
        view = means.view()[..., None]
        variance = np.zeros(1) if low == np.inf else np.array([low**2])
    else:
        limits = max(low, SMALLEST_ERROR * high), high
        classes, squares = passes(partial(_classes, axes, limits))
        view = classes.view()
        # The mean sigma^2, so that a class stands for its stars on average.
        variance = squares.view() / np.maximum(view["count"], 1)
    return Groups(view["count"], view["value"], view["_sum_of_deltas_squared"], variance)


def _means(axes: Axes, stars: Stars) -> Histograms:
    return Histograms((fill(bh.storage.Mean, axes, stars.p, stars.v, sample=stars.y),))


def _classes(axes: Axes, limits: tuple[float, float], stars: Stars) -> Histograms:
    """Means of the label and sums of its squared error in pixels and classes of error."""
    p, v, y, sigma = stars[:4]
    assert sigma is not None
    low, high = np.log(limits)
    # The margin keeps the largest error from being rounded out of the last class.
    axis = bh.axis.Regular(ERROR_CLASSES, low, high + 1e-9 * (high - low))
    sizes = np.log(np.clip(sigma, *limits))
    classes = fill(bh.storage.Mean, [*axes, axis], p, v, sizes, sample=y)
    return Histograms(
        (classes, fill(bh.storage.Double, [*axes, axis], p, v, sizes, weight=sigma * sigma))
    )


def _per_star(axes: Axes, p: NDArray, v: NDArray, values: NDArray) -> NDArray:
    """The value of each star's pixel; stars outside take that of the nearest one."""
    i, j = (np.clip(axis.index(x), 0, axis.size - 1) for axis, x in zip(axes, (p, v), strict=True))
    return values[i, j]


def require_stars(counts: NDArray, axes: Axes, *ranges: tuple[float, float]) -> None:
    """Raise a ``ValueError`` that compares the ranges of pos and vel with the bins of a map."""
    if counts.sum() > 0:
        return
    text = []
    for name, (low, high), axis in zip(("pos", "vel"), ranges, axes, strict=True):
        span = f"{low:.4g} to {high:.4g}" if low <= high else "nothing finite"
        text.append(
            f"{name} covers {span} and its bins {axis.edges[0]:.4g} to {axis.edges[-1]:.4g}"
        )
    raise ValueError(f"no star lies inside the bins: {' ; '.join(text)} (in the bins' units).")
