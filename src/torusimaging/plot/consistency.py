"""The two frequencies of a model's orbits, and its density."""

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..checks.consistency import Consistency
from ..coordinates import VERTICAL
from .style import BLUE, ORANGE


def plot_consistency(result: Consistency) -> tuple[Figure, NDArray]:
    """Draw what `torusimaging.check_consistency` found.

    Left: Omega (rad/Gyr) from the time along the contour and from the energy against the orbits'
    largest height (kpc), and their relative difference (per cent) below.  Right: the density
    (Msun/pc^3) against height, with intervals of negative density shaded and knots as ticks; a
    dotted line is where contours cross.  Returns the figure and its axes, shape (3,): Omega,
    difference, density.  Raises ``ValueError`` for anything else than such a result.
    """
    if not isinstance(result, Consistency):
        raise ValueError(
            "result must be what check_consistency returned, but "
            f"{type(result).__name__} was given."
        )
    fig, panels = plt.subplot_mosaic(
        [["omega", "density"], ["difference", "density"]],
        figsize=(9, 4.2),
        height_ratios=(2, 1),
        layout="constrained",
    )
    axes = np.array([panels[name] for name in ("omega", "difference", "density")])
    if not result.has_force:
        for ax in axes:
            ax.text(0.5, 0.5, "undefined: no force", ha="center", transform=ax.transAxes)
            ax.set(xticks=[], yticks=[])
    else:
        _draw_frequencies(axes[0], axes[1], result)
        _draw_density(axes[2], result)
    z = VERTICAL.pos.symbol
    symbol = f"|{z}|" if result.symmetric else z
    axes[0].sharex(axes[1])
    axes[0].set(ylabel=r"$\Omega$ [rad Gyr$^{-1}$]")
    axes[0].tick_params(labelbottom=False)
    axes[1].set(ylabel="difference [%]", xlabel=rf"${z}_\mathrm{{max}}$ of the orbit [kpc]")
    axes[2].set(xlabel=f"${symbol}$ [kpc]", ylabel=VERTICAL.field["rho"].axis)
    return fig, axes


def _draw_frequencies(above: Axes, below: Axes, result: Consistency) -> None:
    z = np.asarray(result.z_max.to_value(u.kpc))
    per_gyr = u.rad / u.Gyr
    above.plot(z, result.omega_time.to_value(per_gyr), color=BLUE, label="time along the contour")
    above.plot(z, result.omega_energy.to_value(per_gyr), color=ORANGE, ls="--", label="dE/dJ")
    above.legend(frameon=False)
    below.plot(z, 100 * result.difference, color="k", lw=1.2)
    below.set_ylim(bottom=0.0)
    top = float(z[-1])
    if result.crosses:
        top = float(result.nested_height.to_value(u.kpc))
        below.axvline(top, color="0.3", ls=":")
        above.axvline(top, color="0.3", ls=":")
    below.set_xlim(0.0, 1.02 * top)


def _draw_density(ax: Axes, result: Consistency) -> None:
    z = np.asarray(result.z.to_value(u.kpc))
    ax.axhline(0.0, color="0.8", lw=0.8, zorder=0)
    for i, (low, high) in enumerate(np.asarray(result.negative.to_value(u.kpc))):
        ax.axvspan(low, high, color=ORANGE, alpha=0.2, lw=0, label="negative" if i == 0 else None)
    ax.plot(z, result.density.to_value(u.Msun / u.pc**3), color=BLUE)
    knots = np.asarray(result.knots.to_value(u.kpc))
    if knots.size:
        ax.plot(
            knots,
            0.02 + 0 * knots,
            "|",
            ms=9,
            color="k",
            label="knots",
            transform=ax.get_xaxis_transform(),
        )
    if result.crosses:
        ax.axvline(z[-1], color="0.3", ls=":", label="contours cross")
    ax.set_xlim(z[0] if z[0] == 0 else 1.02 * z[0], 1.02 * z[-1])
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False)
