"""The vertical acceleration and density of a model."""

from collections.abc import Callable, Sequence
from typing import Any

import astropy.units as u
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from ..arguments import shown, whole_number
from ..checks.packages import package_of
from ..foliation import field
from ..inference.draws import of_draws, share_from_data
from ..models.base import OrbitModel
from ..results.profiles import read_draws, stack
from ..units import internal
from .bands import MOSTLY_PRIOR, draw_band, hatch, limits
from .checks import check_params
from .style import GREY, LINES, ORANGE
from .truth import line_of

SHOWN = (u.km / u.s / u.Myr, u.Msun / u.pc**3)
N_POINTS = 257
FEWEST = 10  # draws from which on bands are drawn


def plot_acceleration_density(
    model: OrbitModel,
    params: dict,
    samples: Sequence[dict] | None = None,
    pos: u.Quantity | None = None,
    truth: Any = None,
    n_draws: int | None = None,
    R: u.Quantity | None = None,
    prior: Sequence[dict] | None = None,
) -> tuple[Figure, NDArray]:
    """Draw a_z (km/s/Myr) and the mass density (Msun/pc^3) against z (kpc).

    With `samples` the median and the bands that hold 68 and 95 % of them; without, the best
    parameters alone, thin and named as what has no uncertainty.  Fewer than ten samples are drawn
    one by one.

    Parameters
    ----------
    model, params : the model and its best parameters
    samples : sequence of parameter dictionaries, all of which are used
    pos : length, shape (n,), n > 1, in any order; default: as far as the model reaches
    truth : an object with methods ``acceleration(z)`` and ``density(z)``, or a pair of such
        functions, of the height z (kpc, plain) above the midplane, in kpc/Myr^2 and Msun/kpc^3
        unless they return quantities; a gala, galpy or Agama potential at `R`; or a mock survey,
        which has one.  The midplane is the survey's own ``pos0`` or else that of `params`.
    n_draws : use at most so many of the samples, evenly spaced
    R : Galactocentric radius (length) of another package's potential; default: 8.275 kpc
    prior : draws of the prior (`Fit.prior_draws`); where the data removed less than 90 % of its
        variance, the bands are hatched

    Returns the figure and its axes, shape (2,).  Raises ``ValueError`` for a bad `pos`, `truth` or
    number of draws and for an empty `samples`, `UnitError` for a `pos` without a unit of length.
    """
    check_params(model, params)
    if pos is None:
        reach = float(model.reach(params))
        # Just inside the end, so that rounding leaves the last point its value.
        pos = (float(params["pos0"]) + np.linspace(-1, 1, N_POINTS) * reach * (1 - 1e-9)) * u.kpc
    z = internal(pos, u.kpc, "pos")
    if z.ndim != 1 or z.size < 2:
        raise ValueError(f"pos must be one row of at least two heights, but has shape {z.shape}.")
    n_draws = None if n_draws is None else whole_number(n_draws, "n_draws", 1)
    if not np.all(np.isfinite(z)):
        raise ValueError(f"pos must be finite heights, but {shown(pos)} was given.")
    z = np.sort(z)
    if prior is not None and samples is None:
        raise ValueError("prior is drawn beside samples, but no samples were given.")
    drawn, before = (
        None if x is None else _of_draws(model, x, z, most)
        for x, most in ((samples, n_draws), (prior, None))
    )
    true_functions = _truth(truth, float(params["pos0"]), R)

    best = [column[0] for column in _of_draws(model, [params], z, None)]
    if not np.any(np.isfinite(best[1])):
        raise ValueError(
            f"pos must reach into the model, but at {z.min():g} to {z.max():g} kpc it has no value."
        )
    fig, axes = plt.subplots(
        1, 2, figsize=(9, 3.8), sharex=True, layout=ConstrainedLayoutEngine(wspace=0.06)
    )
    bands = []
    for i, ax in enumerate(axes):
        ax.axhline(0.0, color="0.8", lw=0.8, zorder=0)
        if drawn is None:
            ax.plot(z, best[i], color=GREY, lw=1.4, ls=":", label="best fit, no uncertainty")
            bands.append({"median": best[i]})
            continue
        if len(drawn[i]) < FEWEST:
            # A band of a few draws would have no width, or that of chance.
            for row in drawn[i]:
                ax.plot(z, row, color=LINES[0], lw=1.0, alpha=0.7, label="draws")
            bands.append({"median": np.nanmedian(drawn[i], axis=0)})
            continue
        bands.append(draw_band(ax, z, drawn[i], LINES[0], "median, 68 and 95 %"))
        if before is not None:
            share = share_from_data(drawn[i], before[i], True)
            # Where a_z may have either sign, its logarithm says nothing.
            known = bands[i]["p2_5"] * bands[i]["p97_5"] > 0
            hatch(ax, z, bands[i], known & (share < MOSTLY_PRIOR), LINES[0])
    true_curves = []
    if true_functions is not None:
        midplane, functions, name = true_functions
        for ax, func, unit, own in zip(
            axes, functions, (field.ACCELERATION, field.DENSITY), SHOWN, strict=True
        ):
            # Quantity leaves a unit that the function attached and adds one that it did not.
            y = func(z - midplane)
            y = y if isinstance(y, u.Quantity) else u.Quantity(y, unit)
            true_curves.append(np.broadcast_to(internal(y, own, "what truth returns"), z.shape))
            ax.plot(z, true_curves[-1], color=ORANGE, lw=1.8, ls="--", label=name, zorder=4)

    plane = model.plane
    axes[0].set(ylabel=plane.field["a_z"].axis, xlim=(z.min(), z.max()))
    axes[1].set(ylabel=plane.field["rho"].axis, ylim=limits([bands[1]], true_curves[1:]))
    for ax in axes:
        ax.set_xlabel(plane.pos.text())
    # The hatches of one panel are named in the other's legend: the density fills its own.
    named = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    axes[0].legend(named.values(), named.keys(), frameon=False)
    return fig, axes


def _of_draws(model: OrbitModel, samples, z: NDArray, most: int | None) -> list[NDArray]:
    """a_z and rho of every set of parameters in the units shown, shape (draws, heights) each."""
    _, draws, _ = read_draws((model, samples))
    if most is not None and most < len(draws):
        picks = np.linspace(0, len(draws) - 1, most).round().astype(int)
        draws = [draws[int(i)] for i in picks]
    a, slope = of_draws(_axis, model, stack(draws), jnp.asarray(z))
    return [
        a * field.ACCELERATION.to(SHOWN[0]),
        field.density_of(slope) * field.DENSITY.to(SHOWN[1]),
    ]


def _axis(model, params, pos):
    """a and da/dpos of one draw at plain positions, NaN beyond its reach."""
    return field.axis(model.foliation(params), pos)


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
