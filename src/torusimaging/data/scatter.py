r"""Intrinsic scatter of a label, by restricted maximum likelihood over all pixels.

Stars i of pixel p have labels y_i with mean mu_p and variance v_i = s^2 + sigma_i^2; with
w_i = 1 / v_i and mu_p at its weighted mean, the restricted ln likelihood is

    -1/2 sum_i [ln v_i + w_i (y_i - mu_p)^2] - 1/2 sum_p ln sum_(i in p) w_i

(Patterson & Thompson 1971, Biometrika 58, 545: the last term returns the degree of freedom that
each mean costs).  Its derivative vanishes where

    s^2 = { sum w_i^2 [(y_i - mu_p)^2 - sigma_i^2] + sum_p (sum w_i^2 / sum w_i) } / sum w_i^2.

Stars of a pixel with nearly the same sigma enter by their number, mean and summed square only, so
that the cost of a step does not grow with the number of stars.
"""

from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from scipy.ndimage import gaussian_filter

MAX_STEPS = 200
TOLERANCE = 1e-10
ROUNDING = 1e-14
# Stars' worth of the global value mixed into a local one where there are few stars.
PRIOR_STARS = 50.0
# The least local value in units of the global one; the error of a slope of ln likelihood, which
# falls by about 1 with ln s^2, and the terms of its series; the last step of ln s^2.
LEAST, PRECISION, MAX_TERMS, SETTLED = 0.05, 1e-9, 1000, 1e-10


class Groups(NamedTuple):
    """Moments of the stars of each pixel in each class of error, shape (pos, vel, class)."""

    count: np.ndarray
    mean: np.ndarray
    square: np.ndarray  # summed squared deviations from `mean`
    variance: np.ndarray  # mean sigma^2, or one for all pixels, shape (class,)


def _terms(groups: Groups, s2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each pixel: sum w^2 (r^2 - sigma^2) + sum w^2 / sum w, sum w^2, degrees of freedom."""
    s2 = np.asarray(s2)[..., None]
    w = 1.0 / (s2 + groups.variance)
    nw = groups.count * w
    total = nw.sum(axis=-1)
    full = total > 0
    safe = np.where(full, total, 1.0)
    mu = (nw * groups.mean).sum(axis=-1) / safe
    squares = groups.square + groups.count * (groups.mean - mu[..., None]) ** 2
    w2 = w**2
    info = (groups.count * w2).sum(axis=-1)
    top = (w2 * (squares - groups.count * groups.variance)).sum(axis=-1)
    freedom = np.where(full, groups.count.sum(axis=-1) - 1.0, 0.0)
    return top + info / safe, info, freedom


def global_scatter(groups: Groups) -> float:
    """The scatter s that all pixels share, from a map with at least two stars in some pixel.

    Returns 0 where the stated errors already explain the labels' spread.  Raises ``ValueError``
    where no pixel has two stars.
    """
    if not np.any(groups.count.sum(axis=-1) > 1):
        raise ValueError(
            "s cannot be estimated: no pixel has two stars; give s or choose wider bins."
        )
    used = groups.count.sum(axis=-1) > 1
    packed = Groups(*(np.broadcast_to(a, groups.count.shape)[used] for a in groups))
    freedom = (packed.count.sum() - used.sum()) or 1.0
    pooled = packed.square.sum() + np.sum(
        packed.count
        * (
            packed.mean
            - (packed.count * packed.mean).sum(-1, keepdims=True)
            / packed.count.sum(-1, keepdims=True)
        )
        ** 2
    )
    s2 = pooled / freedom
    floor = 1e-12 * s2
    last = None
    for _ in range(MAX_STEPS):
        if s2 <= floor:
            return 0.0
        top, info, _ = _terms(packed, s2)
        step = max(float(top.sum() / info.sum()), 0.0) - s2
        # To the last digits, so that sums that were rounded otherwise give the same s.
        stuck = last is not None and abs(step) >= abs(last[1])
        if abs(step) <= (TOLERANCE if stuck else ROUNDING) * s2:
            return float(np.sqrt(s2 + step))
        # The secant through this step and the last, unless it leads out of the allowed range.
        slope = 0.0 if last is None else (step - last[1]) / (s2 - last[0])
        last = (s2, step)
        s2 += step / -slope if -1.0 < slope < -0.1 and s2 > step / slope else step
    raise RuntimeError(
        f"the estimate of s did not settle in {MAX_STEPS} steps (now {np.sqrt(s2):.4g}): give s."
    )


def local_scatter(groups: Groups, s: float, width: float = 3.0) -> np.ndarray:
    """The scatter around each pixel: the one value for which the sum of all pixels' restricted ln
    likelihoods, with Gaussian weights around that pixel, is largest.

    `width` is the weights' standard deviation in pixels, `s` the global value, to which the
    estimate returns where there are few stars; it is at least a twentieth of `s`.  Shape (pos,
    vel).  Raises ``RuntimeError`` where the likelihood cannot be followed.
    """
    if s == 0:
        return np.zeros(groups.count.shape[:2])
    slopes = _LocalSlopes(groups, s, width)
    low, high = _range_of(slopes)
    middle, half = 0.5 * (high + low), 0.5 * (high - low)
    # In ln s^2 the likelihood is analytic within pi of the real axis: the series converges.
    terms = 2 + int(np.log(1e6 / PRECISION) / np.arcsinh(np.pi / half))
    while terms <= MAX_TERMS:
        nodes = np.cos(np.pi * (np.arange(terms) + 0.5) / terms)
        values = np.array([slopes(middle + half * x).ravel() for x in nodes])
        series = chebyshev.chebvander(nodes, terms - 1).T @ values * (2 / terms)
        series[0] /= 2
        if np.abs(series[-2:]).max() < PRECISION:
            return s * np.exp(0.5 * (middle + half * _largest(series))).reshape(slopes.shape)
        terms *= 2
    raise RuntimeError("the local estimate of s did not settle: give s, or leave it None.")


class _LocalSlopes:
    """d ln likelihood / d ln s^2 around each pixel as a function of ln s^2, shape (pos, vel).

    In units of half the stars that count there, so that it falls by about 1 with ln s^2.  Labels
    are in units of the global s.
    """

    def __init__(self, groups: Groups, s: float, width: float):
        self.shape, self.width = groups.count.shape[:2], width
        stars = groups.count.sum(axis=-1)
        # A star alone in its pixel says nothing of s.
        self.used = stars > 1
        n, mean, square, variance = (
            np.broadcast_to(a, groups.count.shape)[self.used] for a in groups
        )
        # Less their pixel's plain mean, labels have squares that do not cancel.
        mean = np.where(n > 0, mean - (n * mean).sum(-1, keepdims=True) / n.sum(-1)[:, None], 0) / s
        self.variance = variance / s**2
        self.n, self.sum, self.squares = n, n * mean, square / s**2 + n * mean**2
        self.prior = PRIOR_STARS / (4 * np.pi * width**2)
        self.stars = self._around(stars[self.used] - 1) + self.prior

    def __call__(self, t: float) -> np.ndarray:
        s2 = np.exp(t)
        w = 1.0 / (s2 + self.variance)
        w2 = w * w
        weight, first = (np.einsum("pc,pc->p", w, x) for x in (self.n, self.sum))
        info, second, third = (
            np.einsum("pc,pc->p", w2, x) for x in (self.n, self.sum, self.squares)
        )
        mu = first / weight
        slope = third - 2 * mu * second + (mu * mu + 1.0 / weight) * info - weight
        return s2 * (self._around(slope) + self.prior * (1.0 - s2)) / self.stars

    def _around(self, values: np.ndarray) -> np.ndarray:
        grid = np.zeros(self.shape)
        grid[self.used] = values
        return gaussian_filter(grid, self.width, mode="constant")


def _range_of(slopes: _LocalSlopes) -> tuple[float, float]:
    """A range of ln s^2 (in units of the global value) that holds every pixel's largest value."""
    low, high, rising = 2 * np.log(LEAST), None, True
    for t in np.arange(low, 700.0, np.log(4.0)):
        slope = slopes(t)
        rising = rising and bool(np.all(slope > 0))
        low = t if rising else low
        if np.any(slope >= 0):
            high = None
        elif high is None:
            high = t
        if high is not None and t > 1.0:
            return low, high
    raise RuntimeError("the local estimate of s has no upper bound: give s, or leave it None.")


def _largest(series: np.ndarray) -> np.ndarray:
    """Where in [-1, 1] functions are largest whose slopes have these Chebyshev series.

    `series` has shape (terms, n); shape (n,).  A function that only falls is largest at -1.
    """
    t = np.linspace(-1, 1, 4 * len(series) + 1)
    heights = chebyshev.chebvander(t, len(series)) @ chebyshev.chebint(series)
    k = np.argmax(heights, axis=0)
    x, low, high = t[k], t[np.maximum(k - 1, 0)], t[np.minimum(k + 1, t.size - 1)]
    bends = chebyshev.chebder(series)
    for _ in range(MAX_STEPS):
        slope = chebyshev.chebval(x, series, tensor=False)
        bend = chebyshev.chebval(x, bends, tensor=False)
        low, high = np.where(slope > 0, x, low), np.where(slope > 0, high, x)
        # Newton's step where it stays between the two, their middle elsewhere.
        new = x - slope / np.where(bend < 0, bend, -1.0)
        new = np.where((bend < 0) & (new >= low) & (new <= high), new, 0.5 * (low + high))
        moved, x = np.abs(new - x).max(), new
        if moved < SETTLED:
            break
    return x
