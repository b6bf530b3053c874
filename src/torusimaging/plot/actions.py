"""Actions, angles and frequencies of stars against those of another method."""

from collections.abc import Sequence
from typing import Any

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..arguments import shown, texts
from ..data.pixels import as_dictionary
from ..foliation.tables import OUTWARD
from ..units import internal
from .style import BLUE, GREY, LABEL_MAP, ORANGE, POINT_SIZE

KINDS = {
    "J": ("$J$", u.kpc * u.km / u.s, "kpc km/s"),
    "theta": (r"$\theta$", u.rad, "rad"),
    "Omega": (r"$\Omega$", u.rad / u.Gyr, "rad/Gyr"),
    "T": ("$T$", u.Myr, "Myr"),
}
MANY = 5000  # more stars than this are drawn as a density


def plot_actions(
    table: Any, reference: Any, names: Sequence[str] = ("J", "theta", "Omega")
) -> tuple[Figure, NDArray]:
    """Draw the model's actions, angles and frequencies against a reference, with the 1:1 line.

    Parameters
    ----------
    table : what `compute_action_angle` returned (or any table or dictionary of quantities)
    reference : table or dictionary with the same entries, one value a star, with units
    names : the panels, of "J" (kpc km/s), "theta" (rad), "Omega" (rad/Gyr) and "T" (Myr)

    Stars that are NaN in either are left out, axes end at the 99th percentile, and stars of flag 3
    in `table`, whose orbits turn beyond the data, are grey.  More than 5000 stars are drawn as a
    density with logarithmic colours.  Returns the figure and its axes, shape (len(names),).

    Raises ``ValueError`` for unknown or missing names, unequal numbers of stars and no star left,
    and `UnitError` for entries without a unit.
    """
    names = texts(names, "names")
    if unknown := [n for n in names if n not in KINDS]:
        raise ValueError(
            f"names must be some of {', '.join(KINDS)}, but {shown(unknown[0])} was given."
        )
    pairs = [_pair(table, reference, n) for n in names]
    n_panels = len(names)
    many = any(ours.size > MANY for ours, *_ in pairs)
    fig, axes = plt.subplots(
        1,
        n_panels,
        figsize=((4.2 if many else 3.6) * n_panels, 3.4),
        squeeze=False,
        layout="constrained",
    )
    for ax, name, (ours, other, outward) in zip(axes[0], names, pairs, strict=True):
        _draw(fig, ax, name, ours, other, outward)
    return fig, axes[0]


def _pair(table: Any, reference: Any, name: str) -> tuple[NDArray, NDArray, NDArray]:
    """The finite values of both, in the panel's unit, and which rest on the prior's density."""
    columns = []
    for source, text in ((table, "table"), (reference, "reference")):
        keys = list(as_dictionary(source, text))
        if name not in keys:
            raise ValueError(f"{text} must have {name}, but has only {', '.join(map(str, keys))}.")
        column = source[name]
        column = column.quantity if hasattr(column, "quantity") else column
        # A frequency without "rad" is one all the same.
        with u.set_enabled_equivalencies(u.dimensionless_angles()):
            columns.append(np.ravel(internal(column, KINDS[name][1], f"{text}['{name}']")))
    ours, other = columns
    if ours.size != other.size:
        raise ValueError(
            f"table and reference must have equal numbers of stars, but {name} has {ours.size} "
            f"and {other.size}."
        )
    good = np.isfinite(ours) & np.isfinite(other)
    if not good.any():
        raise ValueError(f"none of {ours.size} stars has a finite {name} in table and reference.")
    if name == "theta":
        ours, other = ours % (2 * np.pi), other % (2 * np.pi)
    flag = np.ravel(table["flag"]) if "flag" in list(as_dictionary(table, "table")) else None
    outward = np.zeros(ours.size, bool) if flag is None else np.asarray(flag) == OUTWARD
    return ours[good], other[good], outward[good]


def _draw(
    fig: Figure, ax: Axes, name: str, ours: NDArray, other: NDArray, outward: NDArray
) -> None:
    # A few stars far out would press all others into a corner.
    low, high = (np.percentile(np.concatenate([ours, other]), k) for k in (0, 99))
    margin = 0.03 * (high - low) if high > low else 1.0
    limits = (low - margin, high + margin)
    if name == "theta":
        limits = (0.0, 2 * np.pi)
        ticks = np.linspace(0, 2 * np.pi, 5)
        texts = ["0", r"$\pi/2$", r"$\pi$", r"$3\pi/2$", r"$2\pi$"]
        ax.set_xticks(ticks, texts)
        ax.set_yticks(ticks, texts)
    if outward.any():
        ax.scatter(
            other[outward],
            ours[outward],
            s=POINT_SIZE,
            lw=0,
            color=GREY,
            rasterized=True,
            label="turns beyond the data",
            zorder=1,
        )
        ours, other = ours[~outward], other[~outward]
    if ours.size > MANY:
        drawn = ax.hexbin(
            other,
            ours,
            gridsize=90,
            bins="log",
            mincnt=1,
            extent=(limits[0], limits[1], limits[0], limits[1]),
            cmap=LABEL_MAP,
            linewidths=0.1,
            rasterized=True,
        )
        fig.colorbar(drawn, ax=ax, label="number of stars", aspect=25, pad=0.02)
    else:
        ax.scatter(other, ours, s=POINT_SIZE, lw=0, alpha=0.5, color=BLUE, rasterized=True)
    ax.axline((limits[0], limits[0]), slope=1, color=ORANGE, lw=1.2, ls="--", label="1:1")
    symbol, _, unit = KINDS[name]
    ax.set(
        xlabel=f"reference {symbol} [{unit}]",
        ylabel=f"OTI {symbol} [{unit}]",
        xlim=limits,
        ylim=limits,
    )
    ax.legend(frameon=False, loc="upper left")
