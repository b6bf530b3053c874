"""The functions of radius that make up a model."""

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from ..models.base import OrbitModel
from .checks import check_params
from .style import LINES, RADIUS_UNIT

N_POINTS = 257


def plot_spline_functions(model: OrbitModel, params: dict) -> tuple[Figure, NDArray]:
    """Draw the distortions e_m(r_e) and the label on the orbit of each radius, with their knots.

    `params` is a full set of parameters of `model`; models of arbitrary functions have no knots.
    Radii are in kpc Myr^-1/2.  Returns the figure and its axes, shape (2,): e_m, label.

    Raises ``ValueError`` for parameters with missing entries.
    """
    check_params(params)
    foliation = model.foliation(params)
    e_knots = getattr(model, "e_knots", {})
    label_knots = getattr(model, "label_knots", None)
    end = float(model.r_e_max(params))
    fig, axes = plt.subplots(1, 2, figsize=(8.5, 3.6), layout=ConstrainedLayoutEngine(wspace=0.06))

    signs = {2: "o", 4: "s"}
    for m, func, colour in zip(foliation.orders, foliation.e_funcs, _colours(), strict=False):
        knots = np.asarray(e_knots.get(m, np.zeros(0)))
        r = jnp.linspace(0.0, knots[-1] if knots.size else end, N_POINTS)
        axes[0].plot(r, np.asarray(func(r)), color=colour, label=f"$e_{{{m}}}$")
        if knots.size:
            axes[0].plot(
                knots,
                np.asarray(func(jnp.asarray(knots))),
                ls="none",
                marker=signs.get(m, "^"),
                ms=5,
                c=colour,
            )
    axes[0].axhline(0.0, color="0.8", lw=0.8, zorder=0)
    axes[0].set(xlabel=f"$r_e$ [{RADIUS_UNIT}]", ylabel=r"distortion $e_m(r_e)$ [dimensionless]")
    if foliation.orders:
        axes[0].legend(frameon=False)

    knots = np.zeros(0) if label_knots is None else np.asarray(label_knots)
    r = jnp.linspace(0.0, knots[-1] if knots.size else end, N_POINTS)
    axes[1].plot(r, np.asarray(model.label_of_radius(r, params)), color="k", label="label")
    if knots.size:
        at_knots = np.asarray(model.label_of_radius(jnp.asarray(knots), params))
        axes[1].plot(knots, at_knots, ls="none", marker="o", ms=5, color="k", label="knots")
        axes[1].legend(frameon=False)
    axes[1].set(xlabel=f"$r$ [{RADIUS_UNIT}]", ylabel="mean label")
    return fig, axes


def _colours():
    while True:
        yield from LINES
