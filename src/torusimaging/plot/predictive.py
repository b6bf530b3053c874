"""The data beside the data that a fit would make."""

import astropy.units as u
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import chi2

from ..arguments import whole_number
from ..data.pixels import VELOCITY, places_of
from ..results.fit import Fitted
from .checks import check_draws
from .style import BLUE, GREY, ORANGE, label_text, label_unit_text

STRIP = 0.15  # fraction of the pixels in the strip along an axis
STRIP_BINS = 25


def plot_posterior_predictive(
    fit: Fitted, draws: int = 100, seed: int = 0
) -> tuple[Figure, NDArray]:
    """Draw the data beside replicated data: along z, along v_z, and by how far they lie off.

    Parameters
    ----------
    fit : a fit with draws, of which `draws`, evenly spaced, are used
    seed : of the noise of the replicated data, one data set for each draw

    Left and middle: the mean label of the 15 % of the pixels closest to the v_z or z of the centre,
    in bins (weights 1/err^2): data with errors, the median and the 68 and 95 % bands of the model,
    and (grey) of replicated data, which are drawn of the likelihood; below, all less the median.
    Right: chi^2 of replicated and of observed data (of other likelihoods than the normal one their
    `Likelihood.misfit`), each against the draw's own model, and p, the posterior-predictive
    probability of a larger one than the observed (Gelman, Meng & Stern 1996): for normal errors
    the mean over the draws of P(chi^2_N > chi^2_obs), else the share of the draws.

    Returns the figure and its axes, shape (5,): along z, along v_z, below each, the misfit.

    Raises ``ValueError`` for a fit without draws and fewer than two `draws`.
    """
    samples = check_draws(fit)
    draws, seed = whole_number(draws, "draws", 2), whole_number(seed, "seed", 0)
    data, n, plane = fit.data, len(samples), fit.model.plane
    pos, vel = data["pos"].to_value(u.kpc), data["vel"].to_value(u.km / u.s)
    picks = np.unique(np.linspace(0, n - 1, min(draws, n)).round().astype(int))
    models = np.stack([fit.model.get_label(*places_of(data), samples[i]) for i in picks])
    rng = np.random.default_rng(seed)
    kind = fit.mapped.likelihood
    likelihood = kind.read(data)
    replicated = np.stack([likelihood.simulate(model, rng)["label"] for model in models])
    off_pos = np.abs(pos - float(fit.params["pos0"]))
    off_vel = np.abs(vel - float(fit.params["vel0"]) * VELOCITY.to(u.km / u.s))
    fig, panels = plt.subplot_mosaic(
        [["z", "v", "chi2"], ["dz", "dv", "chi2"]],
        figsize=(12, 4.6),
        height_ratios=(2, 1),
        layout="constrained",
    )
    for name, x, off, label, title in (
        ("z", pos, off_vel, plane.pos.text(), rf"$|{plane.vel.offset}| \leq$ %.2g km/s"),
        ("v", vel, off_pos, plane.vel.text(), rf"$|{plane.pos.offset}| \leq$ %.2g kpc"),
    ):
        width = np.quantile(off, STRIP)
        near = off <= width
        err, some = data["label_err"][near], models[:, near]
        above, below = panels[name], panels[f"d{name}"]
        columns = x[near], data["label"][near], err, some, replicated[:, near]
        _draw_strip(above, below, *columns)
        above.sharex(below)
        above.tick_params(labelbottom=False)
        above.set(
            ylabel=f"mean {label_text(fit.label_name or 'label')}{label_unit_text(fit.label_unit)}"
        )
        above.set_title(title % width, fontsize="medium")
        below.set(xlabel=label, ylabel="minus the median")
    panels["z"].legend(frameon=False, fontsize="small", loc="upper center")
    misfits = [
        (
            float(likelihood.misfit(model)),
            float(kind.read(data | {"label": own}).misfit(model)),
        )
        for model, own in zip(map(jnp.asarray, models), replicated, strict=True)
    ]
    observed, by_chance = np.array(misfits).T
    normal = likelihood.cost_is_squares
    p = float(chi2.sf(observed, pos.size).mean() if normal else np.mean(by_chance > observed))
    text = r"$\chi^2$" if normal else likelihood.misfit_name
    _draw_misfits(panels["chi2"], by_chance, observed, f"{pos.size} pixels\np = {p:.2g}", text)
    return fig, np.array([panels[name] for name in ("z", "v", "dz", "dv", "chi2")])


def _draw_strip(
    above: Axes,
    below: Axes,
    x: NDArray,
    label: NDArray,
    err: NDArray,
    models: NDArray,
    replicated: NDArray,
) -> None:
    edges = np.linspace(x.min(), x.max(), min(STRIP_BINS, np.unique(x).size) + 1)
    bins = np.searchsorted(edges[1:-1], x, side="right")
    weights = (bins == np.unique(bins)[:, None]) / err**2
    total = weights.sum(axis=1)
    weights /= total[:, None]
    at, data = weights @ x, weights @ label
    middle = np.median(models @ weights.T, axis=0)
    for ax, less in ((above, 0.0), (below, middle)):
        for name, values, colour in (
            ("replicated data", replicated, GREY),
            ("model", models, BLUE),
        ):
            rows = np.percentile(values @ weights.T, [2.5, 97.5, 16, 84], axis=0) - less
            style = {"color": colour, "alpha": 0.3, "lw": 0}
            ax.fill_between(at, *rows[:2], **style, label=f"{name}, 68 and 95 %")
            ax.fill_between(at, *rows[2:], **style)
        ax.plot(at, middle - less, color=BLUE, lw=1.2, label="model, median")
        ax.errorbar(at, data - less, total**-0.5, fmt="o", ms=3, lw=1, color="k", label="data")


def _draw_misfits(ax: Axes, replicated: NDArray, observed: NDArray, result: str, name: str) -> None:
    ax.hist(replicated, "auto", color=GREY, label="replicated data")
    low, middle, high = np.percentile(observed, [2.5, 50, 97.5])
    # The texts have the part above.
    ax.axvspan(low, high, 0, 0.8, color=ORANGE, alpha=0.3, lw=0)
    ax.axvline(middle, 0, 0.8, color=ORANGE, label="data: median, 95 %")
    ax.text(0.97, 0.97, result, ha="right", va="top", transform=ax.transAxes)
    ax.set(xlabel=name, ylabel="draws", ylim=(0, 1.25 * ax.get_ylim()[1]))
    ax.legend(frameon=False, fontsize="small", loc="upper left")
