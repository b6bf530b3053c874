"""Residuals of a fit over the plane, by ring and by angle, and the label's terms in the angle."""

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..checks.goodness import Goodness
from .pixels import Pixels
from .style import BLUE, GREY, RADIUS_UNIT, RESIDUAL_MAP

PANELS = ("map", "ring", "angle", "mean", "terms")
ABOVE = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 2, "frameon": False}
TERM_TEXTS = (r"$\cos\theta$", r"$\sin\theta$", r"$\cos2\theta$", r"$\sin2\theta$")


def plot_goodness(goodness: Goodness) -> tuple[Figure, NDArray]:
    """Draw what `torusimaging.check_goodness` found.

    The map of residuals in sd; chi^2 per degree of freedom in rings of r = sqrt(2 J) and in bins
    of theta, and the mean residual by theta in units of the pixels' errors, each with the 68 % and
    95 % ranges expected of noise; and the amplitudes of the terms in theta (unit of the label)
    with their sd (bars) and that at fixed parameters (boxes).  Returns the figure and its axes,
    shape (5,), in this order.  Raises ``ValueError`` for anything else than such a result.
    """
    if not isinstance(goodness, Goodness):
        raise ValueError(
            f"goodness must be what check_goodness returned, but {type(goodness).__name__} was "
            "given."
        )
    fig, panels = plt.subplot_mosaic(
        [["map", "ring", "angle"], ["map", "mean", "terms"]],
        figsize=(12.5, 5.2),
        width_ratios=(1.45, 1, 1),
        layout="constrained",
    )
    axes = np.array([panels[name] for name in PANELS])
    _draw_map(axes[0], goodness)
    rings, angles = goodness.by_ring, goodness.by_angle
    _draw_chi2(axes[1], rings["r_low"].value, rings["r_high"].value, rings)
    theta = angles["theta_low"].to_value(u.rad), angles["theta_high"].to_value(u.rad)
    _draw_chi2(axes[2], *theta, angles)
    # The significance is the mean over its sd; where the mean is zero that sd cannot be had so.
    with np.errstate(invalid="ignore", divide="ignore"):
        sd = np.abs(angles["mean"] / angles["significance"])
    _draw_bins(axes[3], *theta, angles["mean"], np.zeros_like(sd), sd)
    axes[1].legend(**ABOVE)
    axes[1].set(xlabel=rf"$r = \sqrt{{2J}}$ [{RADIUS_UNIT}]", ylabel=r"$\chi^2$ / d.o.f.")
    axes[2].set(ylabel=r"$\chi^2$ / d.o.f.")
    axes[3].set(ylabel="mean residual / error")
    for ax in axes[2:4]:
        ax.set_xlabel(r"$\theta$ [rad]")
        ax.set_xticks(np.arange(5) * np.pi / 2, ["0", r"$\pi/2$", r"$\pi$", r"$3\pi/2$", r"$2\pi$"])
    _draw_terms(axes[4], goodness)
    return fig, axes


def _draw_map(ax: Axes, goodness: Goodness) -> None:
    pixels = Pixels.of({"pos": goodness.pixels["z"], "vel": goodness.pixels["v"]}, ())
    values = np.asarray(goodness.pixels["significance"])
    # The colours' ends are the same in every figure unless residuals are far out.
    limit = max(3.0, float(np.nanpercentile(np.abs(values), 99)))
    mesh = pixels.draw(ax, values, cmap=RESIDUAL_MAP, norm=Normalize(-limit, limit))
    across, up = pixels.axis_labels()
    title = rf"$\chi^2$ = {goodness.chi2:.0f} for {goodness.dof:.0f} d.o.f."
    ax.set(xlabel=across, ylabel=up, title=title)
    ax.figure.colorbar(mesh, ax=ax, label="residual [sd]", extend="both", aspect=30)


def _draw_chi2(ax: Axes, low: NDArray, high: NDArray, table: QTable) -> None:
    dof = np.where(np.asarray(table["dof"]) > 0, table["dof"], np.nan)
    _draw_bins(ax, low, high, table["chi2"] / dof, np.ones_like(dof), np.sqrt(2 / dof))


def _draw_bins(ax: Axes, low, high, values, centre, sd) -> None:
    """Values in bins with the ranges of one and two sd about what is expected."""
    for width, grey, text in ((2, "0.9", "95 % of noise"), (1, "0.79", "68 %")):
        ends, box = centre - width * sd, 2 * width * sd
        ax.bar(low, box, high - low, ends, align="edge", color=grey, label=text)
    ax.plot([low[0], high[-1]], centre[[0, -1]], color="0.3", lw=0.8)
    middle = (low + high) / 2
    ax.errorbar(middle, values, xerr=(high - low) / 2, fmt="o", ms=4, lw=1.2, color=BLUE)
    ax.set_xlim(low[0], high[-1])


def _draw_terms(ax: Axes, goodness: Goodness) -> None:
    table, x = goodness.terms, np.arange(4)
    known = np.isfinite(table["sd"])
    y = np.asarray(table["amplitude"])[known]
    ax.axhline(0.0, color="0.3", lw=0.8)
    fixed = table["sd_fixed"][known]
    ax.bar(x[known], 2 * fixed, 0.5, y - fixed, color=GREY, label="sd at fixed parameters")
    ax.errorbar(x[known], y, table["sd"][known], fmt="o", ms=4, capsize=4, color=BLUE, label="sd")
    for i in x[~known]:
        ax.text(i, 0.5, "undetermined", rotation=90, transform=ax.get_xaxis_transform())
    size = r" of $r/r_\mathrm{max}$ terms" if goodness.shape == "radius" else ""
    ax.set_xticks(x, TERM_TEXTS)
    ax.set(xlim=(-0.6, 3.6), ylabel=f"amplitude{size} [label]")
    ax.margins(y=0.15)
    ax.legend(**ABOVE)
