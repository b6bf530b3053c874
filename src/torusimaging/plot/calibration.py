"""Rank histograms and coverage of a simulation-based calibration."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from ..checks.calibration import Calibration
from ..checks.ranks import LEVELS, bins_of
from .style import BLUE, GREY, ORANGE

COLUMNS = 5


def plot_calibration(result: Calibration) -> tuple[Figure, NDArray]:
    """Draw a histogram of ranks for each quantity, and the coverage of all of them.

    Shaded are the 99 % binomial intervals of a uniform rank and of exact coverage; quantities
    that are not calibrated (Holm's p below 0.05) are orange.  Returns the figure and its axes,
    shape (quantities + 1,), coverage last.  Raises ``ValueError`` for anything else than what
    `torusimaging.calibrate` returned, or where all simulations failed.
    """
    if not isinstance(result, Calibration):
        raise ValueError(
            f"result must be what calibrate returned, but {type(result).__name__} was given."
        )
    if not result.good.any():
        raise ValueError("result must have a simulation that did not fail, but all did.")
    n_panels = len(result.names) + 1
    rows = -(-n_panels // COLUMNS)
    fig, axes = plt.subplots(
        rows, COLUMNS, figsize=(2.3 * COLUMNS, 1.75 * rows + 0.5), layout="constrained"
    )
    axes = axes.ravel()
    for ax in axes[n_panels:]:
        ax.remove()
    wrong = result.table["p_holm"] < 0.05
    for ax, name, ranks, bad in zip(
        axes, result.names, result.ranks[result.good].T, wrong, strict=False
    ):
        _draw_ranks(ax, ranks, result.L, ORANGE if bad else BLUE)
        ax.set_title(name, fontsize="small")
    _draw_coverage(axes[n_panels - 1], result, wrong)
    fig.supxlabel("rank of the truth among the draws", fontsize="medium")
    fig.supylabel("simulations", fontsize="medium")
    return fig, axes[:n_panels]


def _draw_ranks(ax: Axes, ranks: NDArray, L: int, colour: str) -> None:
    bins = bins_of(len(ranks), L)
    edges = np.linspace(0, L + 1, bins + 1)
    low, high = stats.binom.interval(0.99, len(ranks), 1 / bins)
    ax.axhspan(low, high, color=GREY, alpha=0.35, lw=0)
    ax.axhline(len(ranks) / bins, color=GREY, lw=1)
    counts = np.bincount(ranks * bins // (L + 1), minlength=bins)
    ax.stairs(counts, edges, color=colour, lw=1.4)
    ax.set(
        xlim=(0, L + 1), ylim=(0, 1.15 * max(high, counts.max())), xticks=(0, (L + 1) // 2, L + 1)
    )
    ax.tick_params(labelsize="x-small")


def _draw_coverage(ax: Axes, result: Calibration, wrong: NDArray) -> None:
    n = int(result.good.sum())
    nominal = np.linspace(0.4, 0.999, 200)
    low, high = stats.binom.interval(0.99, n, nominal)
    ax.fill_between(nominal, low / n, high / n, color=GREY, alpha=0.35, lw=0)
    ax.plot(nominal, nominal, color=GREY, lw=1)
    found = np.reshape(result.coverage["found"], (-1, len(LEVELS)))
    for shares, bad in zip(found, wrong, strict=True):
        ax.plot(LEVELS, shares, ".-", ms=3, lw=0.6, color=ORANGE if bad else BLUE, alpha=0.6)
    ax.set_title("coverage of intervals", fontsize="small")
    ax.set(xlabel="nominal", ylabel="found", xlim=(0.4, 1.0), ylim=(0.3, 1.02))
    ax.tick_params(labelsize="x-small")
