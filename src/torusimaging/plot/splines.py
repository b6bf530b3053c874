"""The functions of radius that make up a model."""

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from ..coordinates import Points
from ..foliation import Foliation, FourierFoliation
from ..models.base import OrbitModel
from .checks import check_params
from .style import LINES, RADIUS_UNIT

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
    foliation = model.foliation(params)
    if isinstance(foliation, FourierFoliation):
        _draw_distortions(axes[0], model, foliation)
    elif foliation.sides is not None:
        _draw_density(axes[0], model, foliation)
    else:
        axes[0].set_axis_off()
    edge = Points(foliation.pos0 + foliation.reach, foliation.vel0)
    end = float(foliation.radius(edge))
    knots = np.asarray(model.label.places)
    r = jnp.linspace(0.0, knots[-1] if knots.size else end, N_POINTS)
    axes[1].plot(r, np.asarray(model.label_of_radius(r, params)), color="k", label="label")
    if knots.size:
        at_knots = np.asarray(model.label_of_radius(jnp.asarray(knots), params))
        axes[1].plot(knots, at_knots, ls="none", marker="o", ms=5, color="k", label="knots")
        axes[1].legend(frameon=False)
    axes[1].set(xlabel=f"$r$ [{RADIUS_UNIT}]", ylabel="mean label")
    return fig, axes


def _draw_distortions(ax: Axes, model: OrbitModel, foliation: FourierFoliation) -> None:
    end = float(foliation.end)
    signs = {2: "o", 4: "s"}
    for m, func, colour in zip(foliation.orders, foliation.e_funcs, _colours(), strict=False):
        knots = np.asarray(model.knots.get(f"e_{m}", np.zeros(0)))
        r = jnp.linspace(0.0, knots[-1] if knots.size else end, N_POINTS)
        ax.plot(r, np.asarray(func(r)), color=colour, label=f"$e_{{{m}}}$")
        if knots.size:
            values = np.asarray(func(jnp.asarray(knots)))
            ax.plot(knots, values, ls="none", marker=signs.get(m, "^"), ms=5, c=colour)
    ax.axhline(0.0, color="0.8", lw=0.8, zorder=0)
    ax.set(xlabel=f"$r_e$ [{RADIUS_UNIT}]", ylabel=r"distortion $e_m(r_e)$ [dimensionless]")
    if foliation.orders:
        ax.legend(frameon=False)


def _draw_density(ax: Axes, model: OrbitModel, foliation: Foliation) -> None:
    reach = float(foliation.reach)
    x = jnp.linspace(0.0, reach, N_POINTS)
    knots = np.asarray(model.knots.get("density", np.zeros(0)))
    knots = knots[knots <= reach]
    sides = foliation.sides or (None, None)
    for name, side, colour in zip(("above", "below"), sides, LINES, strict=False):
        if side is None:
            continue
        text = name if sides[1] is not None else "density"
        ax.plot(x, 1e-9 * np.asarray(side.density(x)), color=colour, label=text)
        if knots.size:
            values = 1e-9 * np.asarray(side.density(jnp.asarray(knots)))
            ax.plot(knots, values, ls="none", marker="o", ms=5, c=colour)
    plane = model.plane
    ax.set(xlabel=f"$|{plane.pos.offset}|$ [kpc]", ylabel=plane.field["rho"].axis, yscale="log")
    ax.legend(frameon=False)


def _colours():
    while True:
        yield from LINES
