"""Figures of a posterior: its chains, and its parameters one by one and in pairs."""

import difflib
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

from ..arguments import texts
from ..coordinates import VERTICAL, unit_text
from ..inference.draws import SampleState
from ..inference.nuts import diagnostics
from ..results.fit import DERIVED, UNITS, Fitted, derive
from ..results.rounding import rounded
from .checks import check_draws
from .covariance import corner_axes
from .style import BLUE, GREY, LINES

LABELS = {
    "pos0": f"${VERTICAL.pos.centre}$ [{unit_text(VERTICAL.pos.fine)}]",
    "vel0": f"${VERTICAL.vel.centre}$ [{unit_text(VERTICAL.vel.fine)}]",
    "Omega0": r"$\Omega_0$ [rad Myr$^{-1}$]",
    "rho(0)": rf"$\rho(0)$ [{VERTICAL.field['rho'].text}]",
    "Sigma(1.1 kpc)": rf"$\Sigma$(1.1 kpc) [{VERTICAL.field['Sigma'].text}]",
}
RANK_BINS = 20
# What 1 and 2 standard deviations of a normal distribution of two parameters hold.
INSIDE = 1 - np.exp(-0.5 * np.array([1.0, 2.0]) ** 2)
GRID = 60


def plot_trace(
    fit: Fitted, parameters: str | Sequence[str] | None = None
) -> tuple[Figure, NDArray]:
    """Draw how far NUTS chains agree: ranks and draws of each, with R-hat and bulk ESS.

    Parameters
    ----------
    fit : a fit with NUTS draws
    parameters : names of ``fit.samples.names`` or of `Fit.derived`; default: the latter, less
        those that the model does not reach

    Left: how many draws of each chain lie in each of 20 bins of the rank among all draws (Vehtari
    et al. 2021, arXiv:1903.08008); the band holds 95 % of the counts of chains that agree and are
    worth the bulk ESS.  Right: the draws; pos0 in pc, vel0 in km/s.  Returns the figure and its
    axes, shape (n, 2).

    Raises ``ValueError`` for a fit without NUTS draws, and as `plot_corner` does.
    """
    columns = _columns(fit, parameters)
    if not isinstance(fit.state, SampleState):
        raise ValueError(
            "plot_trace needs chains, but the fit has Laplace draws: call sample() for NUTS draws."
        )
    n = len(columns)
    fig, axes = plt.subplots(
        n,
        2,
        figsize=(9, 1.9 * n + 0.4),
        sharex="col",
        width_ratios=(1, 2),
        squeeze=False,
        layout="constrained",
    )
    for row, (name, values) in zip(axes, columns.items(), strict=True):
        _draw_chains(row, _label(name), values.reshape(fit.state.num_chains, -1))
    axes[-1, 0].set_xlabel("rank among all draws")
    axes[-1, 1].set_xlabel("draw")
    return fig, axes


def _draw_chains(row: NDArray, label: str, chains: NDArray) -> None:
    n_chains, n = chains.shape
    found = diagnostics(chains[..., None])
    rhat, ess = float(found["rhat"][0]), float(found["ess_bulk"][0])
    ranks = rankdata(chains).reshape(chains.shape)
    bins = min(RANK_BINS, n)
    edges = np.linspace(0.5, chains.size + 0.5, bins + 1)
    # A chain's share of a bin is that of ess / n_chains draws out of ess.
    spread = 1.96 * np.sqrt((bins - 1) * (n_chains - 1) / max(ess, 1.0))
    expected = n / bins
    row[0].axhspan(expected * max(0, 1 - spread), expected * (1 + spread), color="0.9", lw=0)
    for i, chain in enumerate(chains):
        colour = LINES[i % len(LINES)]
        row[0].stairs(np.histogram(ranks[i], edges)[0], edges, baseline=None, color=colour)
        row[1].plot(chain, color=colour, lw=0.5, rasterized=True)
    row[0].set(xlim=edges[[0, -1]], ylim=(0, None), ylabel="draws per bin")
    row[1].set(xlim=(0, max(n - 1, 1)), ylabel=label)
    row[1].set_title(rf"$\hat{{R}}$ = {rhat:.3f}, bulk ESS {ess:.0f}", fontsize="medium")


def plot_corner(
    fit: Fitted, parameters: str | Sequence[str] | None = None
) -> tuple[Figure, NDArray]:
    """Draw the posterior of each parameter and of each pair of them.

    Parameters
    ----------
    fit : a fit with draws, all of which are used
    parameters : names of ``fit.samples.names`` or of `Fit.derived`; default: the latter, less
        those that the model does not reach

    Contours hold 39 % and 86 % of the draws (1 and 2 sigma of a normal distribution).  The
    diagonal has the median (dashed) and the 16 to 84 % interval (band and title).  pos0 is in pc,
    vel0 in km/s.  Returns the figure and its axes, shape (d, d); those above the diagonal are not
    visible.

    Raises ``ValueError`` for a fit without draws, an unknown name, and a quantity named that is
    not known for every draw because the model does not reach it.
    """
    columns = _columns(fit, parameters)
    draws = np.stack(list(columns.values()))
    fig, axes = corner_axes([_label(name) for name in columns])
    limits = _limits(draws)
    for i, x in enumerate(draws):
        _draw_marginal(axes[i, i], x, limits[i])
        for j in range(i):
            _draw_pair(axes[i, j], draws[[j, i]], limits[[j, i]])
    return fig, axes


def _draw_marginal(ax: Axes, x: NDArray, limits: NDArray) -> None:
    low, middle, high = np.percentile(x, [16, 50, 84])
    ax.axvspan(low, high, color=BLUE, alpha=0.2, lw=0)
    ax.hist(x, 30, range=tuple(limits), density=True, histtype="step", color=BLUE, lw=1.2)
    ax.axvline(middle, color="k", ls="--", lw=1.0)
    # The same rule as for the tables, so that a number is written in one way.
    value, plus, minus = (
        rounded(x, 0.5 * (high - low)) for x in (middle, high - middle, middle - low)
    )
    ax.set_title(f"${value}^{{+{plus}}}_{{-{minus}}}$", fontsize="medium")
    ax.set_xlim(limits)


def _draw_pair(ax: Axes, xy: NDArray, limits: NDArray) -> None:
    """Points and contours of a kernel estimate of the density along the principal axes.

    Counts on a grid are smoothed, so that its cost hardly grows with the draws; the kernel's width
    is Scott's rule.
    """
    centre, scale = xy.mean(axis=1, keepdims=True), np.ptp(limits, axis=1)[:, None]
    values, vectors = np.linalg.eigh(np.cov((xy - centre) / scale))
    # Parameters may depend on each other exactly, or not vary: noise far below the kernel's width
    # keeps the estimate defined.
    root = scale * vectors * np.sqrt(np.maximum(values, 1e-8))
    noise = np.random.default_rng(0).normal(0, 1e-3, xy.shape)
    white = np.linalg.solve(root, xy - centre) + noise
    ends = _limits(white)
    counts, *edges = np.histogram2d(*white, bins=GRID, range=ends)
    steps = np.ptp(ends, axis=1) / GRID
    height = gaussian_filter(counts, white.shape[1] ** (-1 / 6) / steps, mode="constant")
    # A few draws lie beyond the grid, where the density is less than anywhere on it.
    levels = np.quantile(np.repeat(height.ravel(), counts.ravel().astype(int)), 1 - INSIDE[::-1])
    centres = np.stack(np.meshgrid(*(0.5 * (e[1:] + e[:-1]) for e in edges), indexing="ij"))
    across, up = np.einsum("ij,jkl->ikl", root, centres) + centre[..., None]
    ax.plot(*xy, ".", ms=1.5, mew=0, color=GREY, rasterized=True)
    ax.contour(across, up, height, levels=levels, colors=BLUE, linewidths=(1.0, 1.5))
    ax.set(xlim=limits[0], ylim=limits[1])


def _limits(draws: NDArray) -> NDArray:
    """Where the axis of each row ends, shape (d, 2), with room for the outer contour."""
    low, high = np.percentile(draws, [0.5, 99.5], axis=1)
    # A parameter that never moved has a panel all the same.
    margin = np.where(high > low, 0.2 * (high - low), 1e-3 * np.abs(high) + 1e-12)
    return np.stack([low - margin, high + margin], axis=1)


def _columns(fit: Fitted, parameters: str | Sequence[str] | None) -> dict[str, NDArray]:
    """The draws of each parameter, in the units of their labels."""
    samples = check_draws(fit)
    wanted = list(DERIVED) if parameters is None else parameters
    names = [wanted] if isinstance(wanted, str) else texts(wanted, "parameters")
    known = list(dict.fromkeys((*DERIVED, *samples.names)))
    columns, derived = {}, derive(fit) if set(names) & set(DERIVED) else {}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1, 0.0)[0]
            raise ValueError(f"parameters has no name {name!r}; the nearest is {near!r}.")
        if name in derived:
            columns[name] = derived[name]
        else:
            columns[name] = samples.draws[:, samples.names.index(name)]
    missing = [name for name, values in columns.items() if not np.all(np.isfinite(values))]
    if missing and parameters is not None:
        raise ValueError(
            f"parameters must be known for every draw, but the model does not reach {missing[0]}."
        )
    return {name: values for name, values in columns.items() if name not in missing}


def _label(name: str) -> str:
    return LABELS.get(name, f"{name} [{UNITS[name]}]" if name in UNITS else name)
