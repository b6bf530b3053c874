"""The search for the numbers of knots and the smoothness that the data ask for."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..data.gradient import TooFewPixels
from .evidence import quick_evidence

NUMBERS = {"label_knots": (4, 6, 8, 10), "density_knots": (8, 10, 12)}
E_FACTORS = (0.75, 1.0, 1.25)
SMOOTHNESS = (0.5, 2.0)
# Smaller gains of ln evidence are no reason to change: Laplace's formula is no better than that.
LEAST_GAIN = 0.5


def choose_knots(make: Callable, sizes: dict, likelihood: Any, knots: str) -> tuple:
    """(model, bounds, start) of the largest ln evidence, by ascent along each number in turn.

    ``make(**sizes)`` returns such a triple; `sizes` holds the numbers of knots to begin with, and
    knots themselves, which are kept.  Then the smoothness sds are halved and doubled.  A choice
    changes where ln evidence rises by more than 0.5.

    Raises ``ValueError`` unless `knots` is "auto", and where no fit converges.
    """
    if knots != "auto":
        raise ValueError(f'knots must be None or "auto", but {knots!r} was given.')

    def judge(made):
        model, bounds, start = made
        return quick_evidence(model, likelihood, start, bounds), made

    best = judge(make(**sizes))
    for name, given in list(sizes.items()):
        for number in _numbers(name, given):
            try:
                made = make(**sizes | {name: number})
            except TooFewPixels:
                continue
            trial = judge(made)
            if trial[0] > best[0] + LEAST_GAIN:
                best, sizes = trial, sizes | {name: number}
    model, bounds, start = best[1]
    for factor in SMOOTHNESS:
        trial = judge((model.smoothed(factor), bounds, start))
        if trial[0] > best[0] + LEAST_GAIN:
            best = trial
    if not np.isfinite(best[0]):
        raise ValueError("no number of knots gives a fit that converges: give the knots instead.")
    return best[1]


def _numbers(name: str, given) -> list:
    """The numbers of knots to try besides the given one; none for knots themselves."""
    if name != "e_knots":
        fixed = np.ndim(getattr(given, "value", given)) > 0
        return [] if fixed else [n for n in NUMBERS[name] if n != given]
    scaled = [
        {m: k if np.ndim(k) else max(2, round(f * k)) for m, k in given.items()} for f in E_FACTORS
    ]
    return [] if all(map(np.ndim, given.values())) else [s for s in scaled if s != given]
