"""Normal distributions: ellipses of two parameters and corners of many."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Ellipse
from numpy.typing import ArrayLike, NDArray

from ..arguments import shown, texts
from ..units import plain
from .style import BLUE

WIDTH = 3.5  # standard deviations on each side of the mean


def plot_cov_ellipse(
    cov: ArrayLike,
    mean: ArrayLike | None = None,
    ax: Axes | None = None,
    n_sigma: float | Sequence[float] = (1, 2),
    **ellipse_kw,
) -> tuple[Figure | SubFigure, Axes]:
    """Draw the ellipses (x - mean)^T cov^-1 (x - mean) = n_sigma^2 of a normal distribution.

    Parameters
    ----------
    cov : array, shape (2, 2)
    mean : array, shape (2,); default: the origin
    ax : axes to draw on; default: those of a new figure
    n_sigma : radii of the ellipses in standard deviations (1 and 2 hold 39 % and 86 %)
    ellipse_kw : style, as for `matplotlib.patches.Ellipse`

    Returns the figure and the axes.  Raises ``ValueError`` for a `cov` that is no covariance of
    two parameters, a `mean` of another size and an `n_sigma` that is not positive.
    """
    cov = _checked_cov(cov)
    if cov.shape != (2, 2):
        raise ValueError(f"cov must have shape (2, 2), but has {cov.shape}.")
    centre = _checked_mean(mean, 2)
    radii = np.atleast_1d(plain(n_sigma, "n_sigma"))
    if radii.ndim != 1 or not np.all(radii > 0):
        raise ValueError(f"n_sigma must be numbers > 0, not {shown(n_sigma)}.")
    if ax is None:
        _, ax = plt.subplots(figsize=(4, 4), layout="constrained")
    variances, vectors = np.linalg.eigh(cov)
    # Rounding can leave the smallest variance of a degenerate pair just below zero.
    lengths = 2 * np.sqrt(np.maximum(variances, 0.0))
    turn = np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1]))
    style = {"facecolor": "none", "edgecolor": BLUE, "lw": 1.5}
    # matplotlib does not take a short and a long name, or "color", beside each other.
    if "color" in ellipse_kw:
        style = {"lw": style["lw"]}
    for long, short in (("facecolor", "fc"), ("edgecolor", "ec"), ("lw", "linewidth")):
        if short in ellipse_kw:
            style.pop(long, None)
    for radius in np.sort(radii)[::-1]:
        width, height = radius * lengths[1], radius * lengths[0]
        ax.add_patch(Ellipse(tuple(centre), width, height, angle=turn, **(style | ellipse_kw)))
    ax.autoscale_view()
    return ax.figure, ax


def plot_cov_corner(
    cov: ArrayLike,
    mean: ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    subplots_kw: dict | None = None,
    ellipse_kw: dict | None = None,
) -> tuple[Figure, NDArray]:
    """Draw the 1- and 2-sigma ellipses of every pair of parameters, and each one's distribution.

    Parameters
    ----------
    cov : array, shape (d, d)
    mean : array, shape (d,); default: zero
    labels : names of the parameters with their units, d of them
    subplots_kw, ellipse_kw : options of `plt.subplots` and of `plot_cov_ellipse`

    Returns the figure and its axes, shape (d, d); those above the diagonal are not visible.
    Raises ``ValueError`` for a `cov` that is no covariance, and for means or labels of another
    number.
    """
    cov = _checked_cov(cov)
    d = cov.shape[0]
    centre = _checked_mean(mean, d)
    names = [f"parameter {i + 1}" for i in range(d)] if labels is None else texts(labels, "labels")
    if len(names) != d:
        raise ValueError(f"labels must be {d} names, as cov has rows, but {len(names)} were given.")
    fig, axes = corner_axes(names, subplots_kw)
    sigma = np.sqrt(np.diag(cov))
    for i in range(d):
        _draw_normal(axes[i, i], centre[i], sigma[i])
        for j in range(i):
            pair = np.ix_([j, i], [j, i])
            plot_cov_ellipse(cov[pair], centre[[j, i]], axes[i, j], **(ellipse_kw or {}))
            axes[i, j].plot(centre[j], centre[i], marker="+", ms=6, color="k")
            axes[i, j].set_ylim(centre[i] - WIDTH * sigma[i], centre[i] + WIDTH * sigma[i])
        axes[i, i].set_xlim(centre[i] - WIDTH * sigma[i], centre[i] + WIDTH * sigma[i])
    return fig, axes


def corner_axes(names: Sequence[str], subplots_kw: dict | None = None) -> tuple[Figure, NDArray]:
    """Empty panels of a corner, shape (d, d), with their labels; the upper ones are not visible."""
    d = len(names)
    options: dict[str, Any] = {
        "figsize": (2.1 * d + 0.6, 2.1 * d + 0.4),
        "layout": "constrained",
        "sharex": "col",
    }
    fig, axes = plt.subplots(d, d, **(options | (subplots_kw or {}) | {"squeeze": False}))
    for i, name in enumerate(names):
        axes[d - 1, i].set_xlabel(name)
        axes[d - 1, i].tick_params(axis="x", rotation=30)
        if i > 0:
            axes[i, 0].set_ylabel(name)
        for j in range(d):
            axes[i, j].set_visible(j <= i)
            axes[i, j].locator_params(nbins=4)
            axes[i, j].tick_params(labelleft=j == 0)
        axes[i, i].set_yticks([])
    fig.align_labels()
    return fig, axes


def _draw_normal(ax: Axes, mean: float, sigma: float) -> None:
    t = np.linspace(-WIDTH, WIDTH, 201)
    ax.plot(mean + t * sigma, np.exp(-0.5 * t**2), color=BLUE, lw=1.5)
    ax.set_ylim(0, 1.1)
    ax.set_title(_number(mean, sigma), fontsize="small")


def _number(mean: float, sigma: float) -> str:
    """Mean and error to two digits of the error."""
    digits = max(0, 1 - int(np.floor(np.log10(sigma))))
    if digits > 6 or sigma >= 1e5:
        return f"${mean:.3g} \\pm$ {sigma:.1e}"
    return f"${mean:.{digits}f} \\pm {sigma:.{digits}f}$"


def _checked_cov(cov: ArrayLike) -> NDArray[np.float64]:
    cov = plain(cov, "cov")
    if cov.ndim != 2 or cov.shape[0] != cov.shape[1] or cov.size == 0:
        raise ValueError(f"cov must be square, shape (d, d), but has shape {cov.shape}.")
    if not np.all(np.isfinite(cov)):
        raise ValueError(f"cov must be finite, but {np.sum(~np.isfinite(cov))} entries are not.")
    sigma = np.sqrt(np.maximum(np.diag(cov), 0.0))
    if not np.all(sigma > 0):
        raise ValueError(
            f"cov must have variances > 0 on its diagonal, not {np.diag(cov).min():g}."
        )
    # Parameters differ in size by many orders: the correlations tell what is rounding.
    corr = cov / np.outer(sigma, sigma)
    if not np.allclose(corr, corr.T, rtol=0, atol=1e-8):
        raise ValueError("cov must be symmetric, but is not.")
    smallest = np.linalg.eigvalsh(corr).min()
    if smallest < -1e-8:
        raise ValueError(
            f"cov must have no negative eigenvalue, but its correlations have {smallest:.3g}."
        )
    return cov


def _checked_mean(mean: ArrayLike | None, d: int) -> NDArray[np.float64]:
    if mean is None:
        return np.zeros(d)
    mean = plain(mean, "mean")
    if mean.shape != (d,):
        raise ValueError(f"mean must have shape ({d},), as cov has rows, but has {mean.shape}.")
    return mean
