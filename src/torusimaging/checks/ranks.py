"""Ranks of true values among posterior draws: are they uniform?"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

# Ranks run from 0 to DRAWS: 200 values, which 4, 5, 8, 10 or 20 bins divide evenly.
DRAWS = 199
LEVELS = (0.50, 0.68, 0.90, 0.95)


def bins_of(n: int, L: int = DRAWS) -> int:
    """The number of equal bins for `n` ranks: at most 20, with 5 ranks expected in each."""
    return max((b for b in range(2, 21) if (L + 1) % b == 0 and n >= 5 * b), default=2)


def uniformity(ranks: NDArray, L: int = DRAWS) -> NDArray:
    """p of Pearson's chi^2 test that ranks, shape (n, q), are uniform on 0 to L; shape (q,).

    Bins are those of `bins_of`.
    """
    bins = bins_of(len(ranks), L)
    counts = [np.bincount(c * bins // (L + 1), minlength=bins) for c in np.asarray(ranks, int).T]
    return np.asarray([stats.chisquare(c).pvalue for c in counts])


def holm(p: NDArray) -> NDArray:
    """p values corrected for their number by Holm's method; it allows any dependence."""
    order = np.argsort(p)
    steps = np.maximum.accumulate((p.size - np.arange(p.size)) * p[order])
    out = np.empty(p.size)
    out[order] = np.minimum(steps, 1.0)
    return out


def inside(ranks: NDArray, level: float, L: int = DRAWS) -> NDArray:
    """Whether each rank lies within the central interval that holds `level` of the draws."""
    return np.abs(ranks - L / 2) < level * (L + 1) / 2


def rank_of(truth: NDArray, draws: NDArray, rng: np.random.Generator) -> NDArray:
    """Number of draws, shape (L, q), below the truth, shape (q,); equal ones in random order.

    A value that does not exist (NaN) counts as the largest.
    """
    truth, draws = (np.where(np.isnan(x), np.inf, x) for x in (truth, draws))
    ties = (draws == truth).sum(axis=0)
    return (draws < truth).sum(axis=0) + rng.integers(0, ties + 1)
