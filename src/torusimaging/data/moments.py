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
from scipy.ndimage import gaussian_filter

MAX_STEPS = 200
TOLERANCE = 1e-10
ROUNDING = 1e-14
# Stars' worth of the global value mixed into a local one where there are few stars.
PRIOR_STARS = 50.0


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
    """The scatter around each pixel: the same equation with sums over a Gaussian neighbourhood.

    `width` is the neighbourhood's standard deviation in pixels, `s` the global value, to which
    the estimate returns where there are few stars.  Shape (pos, vel).
    """
    if s == 0:
        return np.zeros(groups.count.shape[:2])
    s2 = np.full(groups.count.shape[:2], s**2)
    unit = PRIOR_STARS / (4 * np.pi * width**2)
    for _ in range(30):
        top, info, _ = _terms(groups, s2)
        prior = unit / (s**2) ** 2
        smooth = [gaussian_filter(a, width, mode="constant") for a in (top, info)]
        new = np.maximum((smooth[0] + prior * s**2) / (smooth[1] + prior), (0.05 * s) ** 2)
        if np.max(np.abs(new / s2 - 1.0)) < 1e-6:
            break
        s2 = new
    return np.sqrt(s2)
