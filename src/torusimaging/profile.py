"""Acceleration, density and surface density against height, with their uncertainties."""

from collections.abc import Mapping, Sequence

import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray

from .arguments import shown, truth
from .literature import MARKS
from .models.base import ACCELERATION, G, OrbitModel
from .models.pixels import require_x64
from .models.samples import Samples
from .results import Fit
from .units import internal

QUANTITIES = {
    "a_z": (ACCELERATION, u.km / u.s / u.Myr),
    "rho": (u.Msun / u.kpc**3, u.Msun / u.pc**3),
    "Sigma": (u.Msun / u.kpc**2, u.Msun / u.pc**2),
    "rho_dm": (u.Msun / u.kpc**3, u.Msun / u.pc**3),
    "Sigma_dm": (u.Msun / u.kpc**2, u.Msun / u.pc**2),
}
LEVELS = {"median": 50.0, "p2_5": 2.5, "p16": 16.0, "p84": 84.0, "p97_5": 97.5}
N_HEIGHTS = 61
# A spline model's density at the centre is the slope of one segment: its mean within 50 pc tells
# more, as in `Fit.derived`.
CENTRE = 0.05
BLOCK = 250  # draws at a time: memory stays bounded, and one compiled program serves any number


def profiles(
    fit: Fit | tuple[OrbitModel, Sequence[dict]],
    z: u.Quantity | None = None,
    literature: bool = True,
) -> QTable:
    r"""a_z, rho and Sigma at heights above the midplane: median, 68 % and 95 % intervals.

    Parameters
    ----------
    fit : a fit, all of whose draws are used (before sampling: the optimum alone), or a pair (model,
        sequence of parameter dictionaries)
    z : length, shape (n,) or a scalar (a table of one row), heights above the midplane of each
        draw, pos - pos0, of either sign; default: 61 from 0 to the smallest reach of the draws
    literature : whether ``meta["literature"]`` compares with the values of `oti.literature`

    Returns
    -------
    QTable with the columns z (kpc) and, for each of a_z (km/s/Myr), rho (Msun/pc^3, by the 1-D
    Poisson equation) and Sigma (Msun/pc^2, the mass within +-z, [a(-\|z\|) - a(\|z\|)] / (4 pi G)),
    NAME_median, NAME_p2_5, NAME_p16, NAME_p84 and NAME_p97_5.  A model that tells the dark matter
    apart adds rho_dm and Sigma_dm.  A draw has no value beyond its reach: percentiles are those of
    the draws that have one, and NaN where fewer than half do.

    ``meta`` holds model, frame, draws (their number), kind ("posterior draws" or "optimum only"),
    verdict (what a sampled fit's diagnostics say),
    reach (kpc, the smallest), units and literature: one dictionary for each published value, with
    the model's median, p16 and p84 beside it; for rho(0) that is the mean within 50 pc.

    Raises ``ValueError`` for no draws, draws of unequal structure or with a missing part, a `z`
    that is not one row of finite heights or nowhere inside the model, and a model without a force;
    `UnitError` for a `z` without a unit of length.
    """
    require_x64()
    truth(literature, "literature")
    model, draws, meta = read_draws(fit)
    stacked = _stack(draws)
    if not getattr(model.foliation(draws[0]), "has_force", True):
        raise ValueError(
            'the model has no acceleration: odd orders m with the convention "pv" define none.'
        )
    reaches = _in_blocks(_reaches, model, stacked)
    heights = _heights(z, reaches)
    # The published values' heights ride along behind the table's own.
    marks = MARKS if literature else ()
    extra = [CENTRE if mark.height == 0 else mark.height for mark in marks]
    every = np.concatenate([heights, extra])
    values = _evaluate(model, stacked, every, reaches)

    table = QTable({"z": heights * u.kpc})
    levels = {name: _percentiles(columns) for name, columns in values.items()}
    for name, rows in levels.items():
        for level, row in zip(LEVELS, rows, strict=True):
            table[f"{name}_{level}"] = row[: heights.size] * QUANTITIES[name][1]
    for column in table.itercols():
        column.info.format = ".4g"
    table.meta = meta | {
        "model": type(model).__name__,
        "draws": len(draws),
        "reach": float(reaches.min()),
        "units": {name: str(QUANTITIES[name][1]) for name in values},
    }
    if literature:
        found = [_beside(m, levels, heights.size + i) for i, m in enumerate(marks)]
        table.meta["literature"] = found
    return table


def read_draws(fit) -> tuple[OrbitModel, Sequence[dict], dict]:
    """(model, all draws, what the table's meta says of them)."""
    if isinstance(fit, Fit):
        kind = "optimum only" if fit.samples is None else "posterior draws"
        verdict = "" if fit.state is None else fit.state.verdict
        draws = [fit.params] if fit.samples is None else fit.samples
        return fit.model, draws, {"frame": fit.frame, "kind": kind, "verdict": verdict}
    if not isinstance(fit, tuple | list) or len(fit) != 2 or not isinstance(fit[0], OrbitModel):
        raise ValueError(
            "fit must be a Fit or a pair (model, sequence of parameter dictionaries), but "
            f"{type(fit).__name__} was given."
        )
    model, samples = fit
    if isinstance(samples, Mapping):
        model.floats(dict(samples), label=False)
        return model, [dict(samples)], {"frame": "not stated", "kind": "optimum only"}
    if not np.iterable(samples) or isinstance(samples, str | bytes):
        raise ValueError(
            f"samples must be a sequence of parameter dictionaries, but {shown(samples)} was given."
        )
    draws = samples if isinstance(samples, Samples) else list(samples)
    if not len(draws):
        raise ValueError("samples must hold at least one set of parameters, but is empty.")
    model.floats(draws[0], label=False)
    return model, draws, {"frame": "not stated", "kind": "posterior draws"}


def _stack(draws: Sequence[dict]) -> dict:
    """One dictionary of the draws' values along a new first axis."""
    if isinstance(draws, Samples):
        return draws.layout.unflatten(np.asarray(draws.draws, float))

    def shape(tree):
        leaves, structure = jax.tree.flatten(tree)
        return structure, [np.shape(leaf) for leaf in leaves]

    first = shape(draws[0])
    for i, draw in enumerate(draws):
        if shape(draw) != first:
            raise ValueError(
                f"samples must all have the parts and shapes of the first, but number {i} has not."
            )
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(x, float) for x in leaves]), *draws)


def _heights(z: u.Quantity | None, reaches: NDArray) -> NDArray:
    if z is None:
        # Just inside the end, so that rounding leaves the last height its value.
        return np.linspace(0.0, reaches.min() * (1 - 1e-9), N_HEIGHTS)
    heights = np.atleast_1d(internal(z, u.kpc, "z"))
    if heights.ndim != 1 or heights.size == 0 or not np.all(np.isfinite(heights)):
        raise ValueError(
            f"z must be one row of finite heights, but {np.array2string(heights, threshold=6)} "
            "was given."
        )
    if np.abs(heights).min() > reaches.max():
        raise ValueError(
            f"z must reach into the model, which ends {reaches.max():.3g} kpc from its midplane, "
            f"but lies between {heights.min():g} and {heights.max():g} kpc."
        )
    return heights


def _in_blocks(function, model, stacked: dict, *rest):
    """`function` (model, stacked, ...) of at most `BLOCK` draws at a time, joined along the draws.

    The last block is filled with the last draw, so that all have one shape and one program.
    """
    number = len(jax.tree.leaves(stacked)[0])
    if number <= BLOCK:
        return jax.tree.map(np.asarray, function(model, stacked, *rest))
    parts = []
    for start in range(0, number, BLOCK):
        rows = np.minimum(np.arange(start, start + BLOCK), number - 1)
        part = jax.tree.map(lambda x, rows=rows: np.asarray(x)[rows], stacked)
        parts.append(function(model, part, *rest))
    return jax.tree.map(lambda *x: np.concatenate(x)[:number], *parts)


@eqx.filter_jit
def _reaches(model, stacked):
    return jax.vmap(model.reach)(stacked)


@eqx.filter_jit
def _axes(model, stacked, z):
    """a(z), a'(z), a(-|z|) - a(|z|) of every draw, each of shape (draws, heights)."""

    def of_one(params):
        foliation, pos0 = model.foliation(params), params["pos0"]
        height = jnp.abs(z)
        pull = foliation.acceleration(pos0 - height) - foliation.acceleration(pos0 + height)
        return foliation.acceleration(pos0 + z), foliation.acceleration_slope(pos0 + z), pull

    return jax.vmap(of_one)(stacked)


def _evaluate(model, stacked, z: NDArray, reaches: NDArray) -> dict[str, NDArray]:
    """Every quantity in the table's units, shape (draws, heights), NaN beyond a draw's reach."""
    a, slope, pull = _in_blocks(_axes, model, stacked, jnp.asarray(z))
    values = {"a_z": a, "rho": -slope / (4 * np.pi * G), "Sigma": pull / (4 * np.pi * G)}
    if getattr(model, "has_dark_matter", False):
        dark = _in_blocks(_dark, model, stacked, jnp.asarray(z))
        values["rho_dm"], values["Sigma_dm"] = dark
    outside = np.abs(z) > reaches[:, None]
    # Adding zero takes the sign off a vanishing acceleration.
    return {
        name: np.where(outside, np.nan, value) * QUANTITIES[name][0].to(QUANTITIES[name][1]) + 0.0
        for name, value in values.items()
    }


@eqx.filter_jit
def _dark(model, stacked, z):
    """rho_dm (Msun/kpc^3) and Sigma_dm (Msun/kpc^2), each of shape (draws, heights)."""
    return jax.vmap(
        lambda p: (
            model.dark_density_at(z + p["pos0"], p),
            model.dark_surface_density_at(jnp.abs(z), p),
        )
    )(stacked)


def _percentiles(values: NDArray) -> NDArray:
    """Percentiles over the draws, shape (levels, heights); NaN where over half have no value."""
    out = np.full((len(LEVELS), values.shape[1]), np.nan)
    known = np.isfinite(values).mean(axis=0) >= 0.5
    whole = np.isfinite(values).all(axis=0)
    out[:, whole] = np.percentile(values[:, whole], list(LEVELS.values()), axis=0)
    part = known & ~whole
    if part.any():
        some = np.where(np.isfinite(values[:, part]), values[:, part], np.nan)
        out[:, part] = np.nanpercentile(some, list(LEVELS.values()), axis=0)
    return out


def _beside(mark, levels: dict[str, NDArray], column: int) -> dict:
    """A published value with the model's own, in plain numbers that any file can hold."""
    rows = dict(zip(LEVELS, levels[mark.quantity][:, column], strict=True))
    if mark.height == 0:
        # Sigma within +-CENTRE (Msun/pc^2) over the thickness in pc is the mean density there.
        rows = dict(zip(LEVELS, levels["Sigma"][:, column] / (2e3 * CENTRE), strict=True))
    found = {f"model_{level}": float(rows[level]) for level in ("median", "p16", "p84")}
    return {
        "quantity": mark.quantity,
        "height": f"{mark.height:g} kpc",
        "unit": str(mark.unit),
        "source": f"{mark.name} (arXiv:{mark.arxiv})",
        "value": mark.value,
        "plus": mark.plus,
        "minus": mark.minus,
    } | found
