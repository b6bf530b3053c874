"""Acceleration, density and surface density against height, with their uncertainties."""

from collections.abc import Mapping, Sequence

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray

from ..arguments import shown, truth
from ..coordinates import VERTICAL
from ..data.pixels import require_x64
from ..foliation import field
from ..inference.draws import Samples, of_draws, percentiles, share_from_data
from ..models.base import OrbitModel
from ..units import internal
from .fit import Fitted
from .literature import MARKS, RadialTerm, check_radial
from .rounding import RoundedTable

QUANTITIES = VERTICAL.field
LEVELS = {"median": 50.0, "p2_5": 2.5, "p16": 16.0, "p84": 84.0, "p97_5": 97.5}
N_HEIGHTS = 61
# A spline model's density at the centre is the slope of one segment: its mean within 50 pc tells
# more, as in `Fit.derived`.
CENTRE = 0.05
MARKED = np.array([CENTRE if mark.height == 0 else mark.height for mark in MARKS])


def profiles(
    fit: Fitted | tuple[OrbitModel, Sequence[dict]],
    z: u.Quantity | None = None,
    literature: bool = True,
    radial: RadialTerm | None = None,
) -> QTable:
    r"""a_z, rho and Sigma at heights above the midplane: median, 68 % and 95 % intervals.

    Parameters
    ----------
    fit : a fit, all of whose draws are used (before sampling: the optimum alone), or a pair (model,
        sequence of parameter dictionaries)
    z : length, shape (n,) or a scalar (a table of one row), heights above the midplane of each
        draw, pos - pos0, of either sign; default: 61 from 0 to the smallest reach of the draws
    literature : whether ``meta["literature"]`` compares with the values of `oti.literature`
    radial : the radial term of Poisson's equation, `oti.literature.RadialTerm()`, to be added to
        rho and Sigma with its own error; default: none, the one-dimensional equation

    Returns
    -------
    QTable with the columns z (kpc) and, for each of a_z (km/s/Myr), rho (Msun/pc^3, by the 1-D
    Poisson equation) and Sigma (Msun/pc^2, the mass within +-z, [a(-\|z\|) - a(\|z\|)] / (4 pi G)),
    NAME_median, NAME_p2_5, NAME_p16, NAME_p84 and NAME_p97_5, and for a sampled `Fit`
    NAME_from_data, the share of the prior's variance that the data removed (see `Fit.derived`;
    absent where the prior cannot be drawn from).  A model that tells the dark matter
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
    require_x64(model)
    stacked = stack(draws)
    if not model.foliation(draws[0]).has_force:
        raise ValueError(
            'the model has no acceleration: odd orders m with the convention "pv" define none.'
        )
    reaches = of_draws(_reach, model, stacked)
    heights = _heights(z, reaches)
    # The published values' heights ride along behind the table's own, also where they are not
    # asked for: one program serves both.
    every = np.concatenate([heights, MARKED])
    values = _evaluate(model, stacked, every, reaches)
    shares = _shares(fit, values, every)
    if radial is not None:
        _add_radial(values, every, check_radial(radial))

    table = RoundedTable({"z": heights * u.kpc})
    levels = {name: percentiles(columns, list(LEVELS.values())) for name, columns in values.items()}
    for name, rows in levels.items():
        for level, row in zip(LEVELS, rows, strict=True):
            table[f"{name}_{level}"] = row[: heights.size] * QUANTITIES[name].shown
        if name in shares:
            table[f"{name}_from_data"] = shares[name][: heights.size]
    table.meta = meta | {
        "model": type(model).__name__,
        "draws": len(draws),
        "reach": float(reaches.min()),
        "units": {name: str(QUANTITIES[name].shown) for name in values},
        "radial": "left out" if radial is None else str(radial),
    }
    if literature:
        found = [_beside(m, levels, heights.size + i) for i, m in enumerate(MARKS)]
        table.meta["literature"] = found
    return table


def on_grid(fit: Fitted, z: u.Quantity | None = None) -> tuple[NDArray, dict[str, NDArray], dict]:
    """Heights (kpc), the quantities of every draw, shape (draws, heights), and their units."""
    stacked = stack(fit.draws(len(fit.samples or ())))
    reaches = of_draws(_reach, fit.model, stacked)
    heights = _heights(z, reaches)
    values = _evaluate(fit.model, stacked, np.concatenate([heights, MARKED]), reaches)
    values = {name: rows[:, : heights.size] for name, rows in values.items()}
    return heights, values, {name: str(QUANTITIES[name].shown) for name in values}


def read_draws(fit) -> tuple[OrbitModel, Sequence[dict], dict]:
    """(model, all draws, what the table's meta says of them)."""
    if isinstance(fit, Fitted):
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


def stack(draws: Sequence[dict]) -> dict:
    """One dictionary of the draws' values along a new first axis."""
    if isinstance(draws, Samples):
        return draws.stacked

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
            f"z must be one row of finite heights, but {shown(heights.tolist())} was given."
        )
    if np.abs(heights).min() > reaches.max():
        raise ValueError(
            f"z must reach into the model, which ends {reaches.max():.3g} kpc from its midplane, "
            f"but lies between {heights.min():g} and {heights.max():g} kpc."
        )
    return heights


def _reach(model, params):
    return model.reach(params)


def _axis(model, params, z):
    """a(z), a'(z), a(-|z|) - a(|z|) of one draw, each of shape (heights,)."""
    foliation = model.foliation(params)
    pos = foliation.pos0 + z
    pull = field.pull(foliation, jnp.abs(z))
    return foliation.acceleration(pos), foliation.acceleration_slope(pos), pull


def _dark(model, params, z):
    """rho_dm (Msun/kpc^3) and Sigma_dm (Msun/kpc^2) of one draw, each of shape (heights,)."""
    density = model.dark_density_at(z + params["pos0"], params)
    return density, model.dark_surface_density_at(jnp.abs(z), params)


def _evaluate(model, stacked, z: NDArray, reaches: NDArray) -> dict[str, NDArray]:
    """Every quantity in the table's units, shape (draws, heights), NaN beyond a draw's reach."""
    a, slope, pull = of_draws(_axis, model, stacked, jnp.asarray(z))
    values = {"a_z": a, "rho": field.density_of(slope), "Sigma": -field.density_of(pull)}
    if model.has_dark_matter:
        dark = of_draws(_dark, model, stacked, jnp.asarray(z))
        values["rho_dm"], values["Sigma_dm"] = dark
    outside = np.abs(z) > reaches[:, None]
    # Adding zero takes the sign off a vanishing acceleration.
    return {
        name: np.where(outside, np.nan, value) * QUANTITIES[name].unit.to(QUANTITIES[name].shown)
        + 0.0
        for name, value in values.items()
    }


def _add_radial(values: dict[str, NDArray], z: NDArray, radial: RadialTerm) -> None:
    """The radial term in rho and Sigma, one value a draw."""
    n = len(values["rho"])
    term = radial.draws(n)[:, None] if n > 1 else radial.density.value
    values["rho"] = values["rho"] + term
    values["Sigma"] = values["Sigma"] + 2e3 * np.abs(z) * term


def _shares(fit, values: dict[str, NDArray], z: NDArray) -> dict[str, NDArray]:
    """What the data removed of the prior's variance of each quantity, where a fit can tell."""
    if not isinstance(fit, Fitted) or fit.samples is None or fit.prior_draws is None:
        return {}
    stacked = fit.prior_draws.stacked
    prior = _evaluate(fit.model, stacked, z, of_draws(_reach, fit.model, stacked))
    return {name: share_from_data(values[name], prior[name], True) for name in values}


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
        "contains": mark.contains,
        "value": mark.value,
        "plus": mark.plus,
        "minus": mark.minus,
    } | found
