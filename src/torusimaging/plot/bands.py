"""Medians with their bands, and the part of them that the prior sets."""

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ..inference.draws import percentiles

# Levels by the names that the columns of a table of profiles have.
LEVELS = {"p2_5": 2.5, "p16": 16.0, "median": 50.0, "p84": 84.0, "p97_5": 97.5}
# A share of the prior's variance that the data removed below which a band is hatched.
MOSTLY_PRIOR = 0.9
HATCHED = "less than 90 % from the data"


def draw_band(ax: Axes, z: NDArray, values: NDArray, colour: str, label: str) -> dict:
    """Draw the median and the 68 and 95 % bands of draws, shape (draws, heights); their levels."""
    found = percentiles(values, list(LEVELS.values()))
    rows = dict(zip(LEVELS, found, strict=True))
    draw_levels(ax, z, rows, colour, label)
    return rows


def draw_levels(ax: Axes, z: NDArray, rows: dict, colour: str, label: str) -> None:
    """Draw the levels of a quantity, one row of heights each."""
    ax.fill_between(z, rows["p2_5"], rows["p97_5"], color=colour, alpha=0.15, lw=0)
    ax.fill_between(z, rows["p16"], rows["p84"], color=colour, alpha=0.3, lw=0)
    ax.plot(z, rows["median"], color=colour, lw=1.8, label=label, zorder=3)


def hatch(ax: Axes, z: NDArray, rows: dict, where: NDArray, colour: str) -> None:
    """Hatch the 95 % band at the heights `where` the prior says most of it."""
    if np.any(where):
        ax.fill_between(
            z,
            rows["p2_5"],
            rows["p97_5"],
            where=where,
            facecolor="none",
            edgecolor=colour,
            alpha=0.6,
            hatch="////",
            lw=0,
            label=HATCHED,
            zorder=1,
        )


def limits(bands: list[dict], curves: list[NDArray]) -> tuple[float, float]:
    """Limits of an axis that shows the bands, but not the whole of a very wide outer one."""
    tops, lows = [], [0.0]
    for rows in bands:
        inner = [rows[level] for level in ("p16", "median", "p84") if level in rows]
        tops += [np.nanmax(row) for row in inner]
        lows += [np.nanmin(row) for row in inner]
        if "p97_5" in rows:
            # The outer band may be very wide at an end and must not press the rest flat.
            tops.append(np.nanpercentile(rows["p97_5"], 90))
            lows.append(np.nanpercentile(rows["p2_5"], 5))
    for curve in curves:
        tops.append(np.nanmax(curve))
        lows.append(np.nanmin(curve))
    top, low = float(max(tops)), float(min(lows))
    rise = 0.06 * ((top - low) or 1.0)
    return low - rise * (low < 0), top + rise
