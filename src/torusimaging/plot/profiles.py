"""Profiles of the posterior: medians and bands against height."""

from typing import Any

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from astropy.table import QTable, Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from ..arguments import mapping, shown, whole_number
from ..arguments import truth as truth_value
from ..coordinates import VERTICAL
from ..results.fit import Fitted
from ..results.literature import MARKS
from ..results.profiles import profiles
from .bands import HATCHED, LEVELS, MOSTLY_PRIOR, draw_levels, hatch, limits
from .style import LINES
from .truth import Truth, read_truth

PANELS = VERTICAL.field
MARKERS = "osD^v"


def plot_profiles(
    table: QTable,
    literature: bool = False,
    truth: Any = None,
    others: dict[str, QTable] | None = None,
    name: str | None = None,
    R: u.Quantity | None = None,
) -> tuple[Figure, NDArray]:
    """Draw a_z, rho and Sigma against z: the median with its 68 % and 95 % bands.

    Where the table knows the share that the data have in a quantity and that is below 90 %, the
    band is hatched.  A table of the optimum alone is a thin line that is named so.

    Parameters
    ----------
    table : what `torusimaging.profiles` returned; with dark matter there are five panels
    literature : whether to mark the published values of `torusimaging.literature`
    truth : drawn dashed: a mock survey; an object with ``acceleration(z)``, ``density(z)`` and
        ``surface_density(z)`` of the height z (kpc, plain) above the midplane, in kpc/Myr^2,
        Msun/kpc^3 and Msun/kpc^2 unless they return quantities (`mock.Potential1D`); a gala, galpy
        or Agama potential (or a list of them) at `R`, its density and surface density by the
        one-dimensional Poisson equation as the table's own; a function of the height, or several,
        whose values' unit says what they are; or a table with z and some of a_z, rho and Sigma
    others : ``{name: table}``, further profiles in colours of their own
    name : what to call `table` in the legend; default: "this fit"
    R : Galactocentric radius (length) of another package's potential, named in the legend;
        default: the R0 that the table's frame states, or else 8.275 kpc

    Returns the figure and its axes, shape (3,) or (5,).  Raises ``ValueError`` for a table without
    these columns or a finite value, for a truth that is none of these, and for an `R` that is not
    one positive length in the potential's range.
    """
    if not isinstance(name, str | None):
        raise ValueError(f"name must be text, but {shown(name)} was given.")
    truth_value(literature, "literature")
    own = name or "this fit"
    named = mapping(others or {}, "others")
    tables = {own: table}
    # Two tables must not share a name: neither would be told from the other.
    for key, other in named.items():
        free, k = key, 1
        while free in tables or (free != key and free in named):
            k += 1
            free = f"{key} ({k})"
        tables[free] = other
    # Columns that have units are quantities.
    tables = {k: QTable(t) if isinstance(t, Table) else t for k, t in tables.items()}
    for key, one in tables.items():
        _check(one, key)
    true = read_truth(truth, R, (table.meta or {}).get("frame"))
    names = [n for n in PANELS if any(f"{n}_median" in t.colnames for t in tables.values())]
    fig, axes = plt.subplots(
        1,
        len(names),
        figsize=(3.6 * len(names), 3.6),
        sharex=True,
        squeeze=False,
        layout=ConstrainedLayoutEngine(wspace=0.05),
    )
    for ax, name in zip(axes[0], names, strict=True):
        _draw_panel(ax, name, tables, true, literature)
    clear = {"fontsize": "small", "framealpha": 0.9, "edgecolor": "none"}
    axes[0, 0].legend(**clear)
    for ax in axes[0, 1:]:
        handles, labels = ax.get_legend_handles_labels()
        if HATCHED in labels and HATCHED not in axes[0, 0].get_legend_handles_labels()[1]:
            ax.legend(handles=[handles[labels.index(HATCHED)]], **clear)
    if literature:
        for ax, name in zip(axes[0], names, strict=True):
            marked = [line for line in ax.containers if line.get_label()]
            if marked and name != "a_z":
                # Room for the names above the curves.
                low, high = ax.get_ylim()
                ax.set_ylim(low, high + (0.18 if name.startswith("rho") else 0.0) * (high - low))
                ax.legend(handles=marked, **clear)
    return fig, axes[0]


def plot_prior_predictive(fit: Fitted, draws: int = 500, seed: int = 0) -> tuple[Figure, NDArray]:
    """Draw what the prior alone says of a_z, rho and Sigma, with the fit's own beside it.

    Returns as `plot_profiles`.  Raises ``ValueError`` for what is no fit, for a prior that cannot
    be drawn from (see `draw_prior` of the model) and for fewer than one draw.
    """
    if not isinstance(fit, Fitted):
        raise ValueError(f"fit must be a Fit, but {type(fit).__name__} was given.")
    draws = whole_number(draws, "draws", 1)
    prior = fit.model.draw_prior(fit.params, fit.bounds, draws, seed)
    own = "posterior" if fit.samples is not None else "best fit"
    table = profiles((fit.model, prior), literature=False)
    return plot_profiles(table, others={own: profiles(fit)}, name="prior")


def _draw_panel(ax: Axes, name: str, tables: dict, truth: Truth | None, literature: bool) -> None:
    unit = PANELS[name].shown
    bands, curves = [], []
    ax.axhline(0.0, color="0.8", lw=0.8, zorder=0)
    for colour, (label, table) in zip(_colours(len(tables)), tables.items(), strict=True):
        if f"{name}_median" not in table.colnames:
            continue
        z = table["z"].to_value(u.kpc)
        order = np.argsort(z)
        rows = {
            level: table[f"{name}_{level}"].to_value(unit)[order]
            for level in ("median", "p2_5", "p16", "p84", "p97_5")
        }
        if not np.any(rows["p97_5"] > rows["p2_5"]):
            ax.plot(
                z[order], rows["median"], color=colour, lw=1.4, ls=":", label=f"{label}, no error"
            )
        else:
            draw_levels(ax, z[order], rows, colour, label)
        if f"{name}_from_data" in table.colnames:
            share = np.asarray(table[f"{name}_from_data"])[order]
            hatch(ax, z[order], rows, share < MOSTLY_PRIOR, colour)
        bands.append(rows)
    ends = [t["z"].to_value(u.kpc) for t in tables.values()]
    low, high = min(z.min() for z in ends), max(z.max() for z in ends)
    true = truth and truth.curve(name, np.linspace(low, high, 257))
    if truth and true:
        ax.plot(*true, color="k", lw=1.4, ls="--", label=truth.label, zorder=4)
        curves.append(true[1])
    if literature and (tops := _draw_marks(ax, name, low, high)):
        curves.append(np.array(tops))
    margin = 0.04 * ((high - low) or 1.0)
    ax.set(
        xlabel=f"${VERTICAL.pos.offset}$ [kpc]",
        ylabel=PANELS[name].axis,
        xlim=(low - margin, high + margin),
        ylim=limits(bands, curves),
    )


def _draw_marks(ax: Axes, name: str, low: float, high: float) -> list[float]:
    """Published values inside the heights shown; those at one height are drawn side by side."""
    tops, step = [], 0.012 * (high - low)
    marks = [m for m in MARKS if m.quantity == name]
    for i, mark in enumerate(marks):
        height = mark.height if mark.height <= high else -mark.height
        if not low <= height <= high:
            continue
        ax.errorbar(
            height + (i - (len(marks) - 1) / 2) * step,
            mark.value,
            [[mark.minus], [mark.plus]],
            fmt=MARKERS[i],
            ms=5,
            lw=1.2,
            capsize=2,
            color="k",
            mfc="w",
            label=f"{mark.name}, {mark.contains}",
            zorder=5,
        )
        tops.append(mark.value + mark.plus)
    return tops


def _check(table: QTable, name: str) -> None:
    columns = getattr(table, "colnames", ())
    needed = [f"{q}_{level}" for q in ("a_z", "rho", "Sigma") for level in LEVELS]
    if missing := [c for c in ("z", *needed) if c not in columns]:
        raise ValueError(
            f"the table {name!r} must be one that profiles() returned, but has no "
            f"{', '.join(missing)}."
        )
    if not np.any(np.isfinite(table["a_z_median"])):
        raise ValueError(f"the table {name!r} has no finite value to draw.")


def _colours(n: int) -> list[str]:
    return [LINES[i % len(LINES)] for i in range(n)]
