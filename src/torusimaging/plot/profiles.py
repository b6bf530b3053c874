"""The vertical acceleration and density of a model."""

from collections.abc import Callable, Sequence
from typing import Any

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from ..arguments import whole_number
from ..models.base import ACCELERATION, OrbitModel
from ..profile import read_draws
from ..reference import package_of
from ..units import internal
from .checks import check_params
from .style import ACCELERATION_UNIT, DENSITY_UNIT, GREY, ORANGE
from .truth import DENSITY, line_of

SHOWN = (u.km / u.s / u.Myr, u.Msun / u.pc**3)
N_POINTS = 257
DRAWS = "posterior draws"


def plot_acceleration_density(
    model: OrbitModel,
    params: dict,
    samples: Sequence[dict] | None = None,
    pos: u.Quantity | None = None,
    truth: Any = None,
    n_draws: int = 128,
    R: u.Quantity | None = None,
) -> tuple[Figure, NDArray]:
    """Draw a_z (km/s/Myr) and the mass density (Msun/pc^3) against z (kpc).

    Parameters
    ----------
    model, params : the model and its best parameters, drawn in black
    samples : sequence of parameter dictionaries; `n_draws` of them, evenly spaced, in grey
    pos : length, shape (n,), n > 1; default: as far as the model reaches
    truth : an object with methods ``acceleration(z)`` and ``density(z)``, or a pair of such
        functions, of the height z (kpc, plain) above the midplane, in kpc/Myr^2 and Msun/kpc^3
        unless they return quantities; a gala, galpy or Agama potential at `R`; or a mock survey,
        which has one.  The midplane is the survey's own ``pos0`` or else that of `params`.
    R : Galactocentric radius (length) of another package's potential; default: 8.275 kpc

    Returns the figure and its axes, shape (2,).  Raises ``ValueError`` for a bad `pos`, `truth` or
    number of draws and for an empty `samples`, `UnitError` for a `pos` without a unit of length.
    """
    check_params(model, params)
    if pos is None:
        reach = float(model.reach(params))
        # Just inside the end, so that rounding leaves the last point its value.
        pos = (float(params["pos0"]) + np.linspace(-1, 1, N_POINTS) * reach * (1 - 1e-9)) * u.kpc
    z = internal(pos, u.kpc, "pos")
    heights = u.Quantity(z, u.kpc)
    if z.ndim != 1 or z.size < 2:
        raise ValueError(f"pos must be one row of at least two heights, but has shape {z.shape}.")
    n_draws = whole_number(n_draws, "n_draws", 1)
    if samples is not None:
        _, samples, _ = read_draws((model, samples))
    true_functions = _truth(truth, float(params["pos0"]), R)

    best = _profiles(model, heights, params)
    if not np.any(np.isfinite(best[1])):
        raise ValueError(
            f"pos must reach into the model, but at {z.min():g} to {z.max():g} kpc it has no value."
        )
    fig, axes = plt.subplots(
        1, 2, figsize=(9, 3.8), sharex=True, layout=ConstrainedLayoutEngine(wspace=0.06)
    )
    draws = None
    if samples is not None:
        picks = np.linspace(0, len(samples) - 1, min(n_draws, len(samples))).round().astype(int)
        draws = np.stack([_profiles(model, heights, samples[int(i)]) for i in picks], axis=1)
        for ax, curves in zip(axes, draws, strict=True):
            _draw_curves(ax, z, curves)
    for ax, curve in zip(axes, best, strict=True):
        ax.axhline(0.0, color="0.8", lw=0.8, zorder=0)
        ax.plot(z, curve, color="k", lw=1.6, label="best fit", zorder=3)
    true_curves = []
    if true_functions is not None:
        midplane, functions, name = true_functions
        for ax, func, unit, shown in zip(
            axes, functions, (ACCELERATION, DENSITY), SHOWN, strict=True
        ):
            # Quantity leaves a unit that the function attached and adds one that it did not.
            y = func(z - midplane)
            y = y if isinstance(y, u.Quantity) else u.Quantity(y, unit)
            true_curves.append(np.broadcast_to(internal(y, shown, "what truth returns"), z.shape))
            ax.plot(z, true_curves[-1], color=ORANGE, lw=1.8, ls="--", label=name, zorder=4)

    axes[0].set(ylabel=f"$a_z$ [{ACCELERATION_UNIT}]", xlim=(z.min(), z.max()))
    axes[1].set(
        ylabel=rf"$\rho$ [{DENSITY_UNIT}]", ylim=_density_limits(best[1], true_curves[1:], draws)
    )
    for ax in axes:
        ax.set_xlabel("$z$ [kpc]")
    legend = axes[0].legend(frameon=False)
    for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
        # The draws' own thin and pale lines would not be seen in the legend.
        if text.get_text() == DRAWS and handle is not None:
            handle.set(alpha=1.0, linewidth=1.2)
    return fig, axes


def _profiles(model: OrbitModel, pos: u.Quantity, params: dict) -> NDArray[np.float64]:
    """Acceleration and density in the units shown, shape (2, n)."""
    a = model.get_acceleration(pos, params).to_value(SHOWN[0])
    return np.stack([a, model.get_density(pos, params).to_value(SHOWN[1])])


def _draw_curves(ax: Axes, z: NDArray, curves: NDArray) -> None:
    lines = [np.stack([z, y], axis=-1)[np.isfinite(y)] for y in curves]
    ax.add_collection(
        LineCollection(lines, colors=GREY, linewidths=0.5, alpha=0.35, rasterized=True, label=DRAWS)
    )
    ax.autoscale_view()


def _density_limits(best: NDArray, true: list, draws: NDArray | None) -> tuple[float, float]:
    # A few wild draws at the midplane must not press all other curves flat.
    tops = [np.nanmax(best)] + [np.nanmax(y) for y in true]
    lows = [0.0, np.nanmin(best)]
    if draws is not None:
        known = draws[1][np.isfinite(draws[1]).any(axis=1)]
        tops.append(np.percentile(np.nanmax(known, axis=1), 90) if known.size else 0.0)
        lows.append(np.nanpercentile(known, 1) if known.size else 0.0)
    top, low = float(max(tops)), float(min(lows))
    return low - 0.02 * (top - low), top + 0.05 * (top - low)


def _truth(
    truth: Any, midplane: float, R: u.Quantity | None
) -> tuple[float, tuple[Callable, Callable], str] | None:
    """The midplane (kpc), a_z and rho against the height above it, and their name."""
    if truth is None:
        return None
    if hasattr(truth, "potential") and hasattr(truth, "pos0"):
        midplane = float(internal(truth.pos0, u.kpc, "truth.pos0"))
        truth = truth.potential
    if package_of(truth):
        line, name = line_of(truth, R, None)
        return midplane, (line.acceleration, line.density), name
    if hasattr(truth, "acceleration") and hasattr(truth, "density"):
        return midplane, (truth.acceleration, truth.density), "truth"
    if isinstance(truth, tuple | list) and len(truth) == 2 and all(map(callable, truth)):
        return midplane, (truth[0], truth[1]), "truth"
    raise ValueError(
        "truth must have the methods acceleration and density, or be a pair of functions or a "
        f"gala, galpy or Agama potential, not {type(truth).__name__}."
    )
