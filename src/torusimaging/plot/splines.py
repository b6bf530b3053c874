"""The functions of radius that make up a model."""

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from ..models.base import OrbitModel
from ..models.fourier import FourierModel
from .checks import check_params
from .style import DENSITY_UNIT, LINES, RADIUS_UNIT

N_POINTS = 257


def plot_spline_functions(model: OrbitModel, params: dict) -> tuple[Figure, NDArray]:
    """Draw what shapes the orbits, and the label on the orbit of each radius, with their knots.

    That is the distortions e_m(r_e) of the Fourier family, or the density of the potential family
    at heights above the plane's centre.  `params` is a full set of parameters of `model`; models
    of arbitrary functions have no knots.  Radii are in kpc Myr^-1/2.  Returns the figure and its
    axes, shape (2,).

    Raises ``ValueError`` for parameters with missing entries.
    """
    check_params(model, params)
    fig, axes = plt.subplots(1, 2, figsize=(8.5, 3.6), layout=ConstrainedLayoutEngine(wspace=0.06))
    if isinstance(model, FourierModel):
        _draw_distortions(axes[0], model, params)
        end = float(model.r_e_max(params))
    else:
        _draw_density(axes[0], model, params)
        foliation = model.foliation(params)
        centre = jnp.asarray(params["pos0"]), jnp.asarray(params["vel0"])
        end = float(foliation.radius(centre[0] + model.reach(params), centre[1]))

    label_knots = getattr(model, "label_knots", None)
    knots = np.zeros(0) if label_knots is None else np.asarray(label_knots)
    r = jnp.linspace(0.0, knots[-1] if knots.size else end, N_POINTS)
    axes[1].plot(r, np.asarray(model.label_of_radius(r, params)), color="k", label="label")
    if knots.size:
        at_knots = np.asarray(model.label_of_radius(jnp.asarray(knots), params))
        axes[1].plot(knots, at_knots, ls="none", marker="o", ms=5, color="k", label="knots")
        axes[1].legend(frameon=False)
    axes[1].set(xlabel=f"$r$ [{RADIUS_UNIT}]", ylabel="mean label")
    return fig, axes


def _draw_distortions(ax: Axes, model: FourierModel, params: dict) -> None:
    foliation = model.foliation(params)
    e_knots = getattr(model, "e_knots", {})
    end = float(model.r_e_max(params))
    signs = {2: "o", 4: "s"}
    for m, func, colour in zip(foliation.orders, foliation.e_funcs, _colours(), strict=False):
        knots = np.asarray(e_knots.get(m, np.zeros(0)))
        r = jnp.linspace(0.0, knots[-1] if knots.size else end, N_POINTS)
        ax.plot(r, np.asarray(func(r)), color=colour, label=f"$e_{{{m}}}$")
        if knots.size:
            values = np.asarray(func(jnp.asarray(knots)))
            ax.plot(knots, values, ls="none", marker=signs.get(m, "^"), ms=5, c=colour)
    ax.axhline(0.0, color="0.8", lw=0.8, zorder=0)
    ax.set(xlabel=f"$r_e$ [{RADIUS_UNIT}]", ylabel=r"distortion $e_m(r_e)$ [dimensionless]")
    if foliation.orders:
        ax.legend(frameon=False)


def _draw_density(ax: Axes, model: OrbitModel, params: dict) -> None:
    foliation = model.foliation(params)
    reach = float(model.reach(params))
    x = jnp.linspace(0.0, reach, N_POINTS)
    knots = np.asarray(getattr(model.density, "knots", np.zeros(0)))
    knots = knots[knots <= reach]
    sides = {"above": foliation.above, "below": foliation.below}
    for (name, side), colour in zip(sides.items(), LINES, strict=False):
        if side is None:
            continue
        text = name if foliation.below is not None else "density"
        ax.plot(x, 1e-9 * np.asarray(side.density(x)), color=colour, label=text)
        if knots.size:
            values = 1e-9 * np.asarray(side.density(jnp.asarray(knots)))
            ax.plot(knots, values, ls="none", marker="o", ms=5, c=colour)
    ax.set(xlabel="$|z - z_0|$ [kpc]", ylabel=rf"$\rho$ [{DENSITY_UNIT}]", yscale="log")
    ax.legend(frameon=False)


def _colours():
    while True:
        yield from LINES
