"""The short table of a fit."""

import astropy.units as u
import numpy as np

from ..mock import MockSurvey
from ..profile import profiles
from ..results import DERIVED, Fit
from ..rounding import rounded
from ..symmetry import check_thin_layer

# A share from the data below which the prior says more.
HALF = 0.5


def text_table(fit: Fit, truth: MockSurvey | None = None) -> str:
    """Centre, frequency, density and surface density with uncertainties, beside the truth if known.

    One line a quantity, rounded to its error; where the posterior is lopsided the interval is,
    too.  An error that is not known is NaN.
    """
    known = None if truth is None else true_values(truth)
    lines = [f"{'quantity':<16}{'value':>10}{'-':>9}{'+':>9}  {'unit':<14}{'from data':>10}"]
    if known:
        lines[0] += f"{'truth':>10}"
    for row in fit.derived():
        if not np.isfinite(row["median"]):
            reach = float(fit.model.reach(fit.params))
            lines.append(f"{row['quantity']:<16}beyond the model, which ends at {reach:.2f} kpc")
            continue
        unit = str(row["unit"]).replace("solMass", "Msun")
        middle, low, high = float(row["median"]), float(row["p16"]), float(row["p84"])
        values = [middle, middle - low, high - middle]
        if known:
            values.append(known[row["quantity"]].to_value(row["unit"]))
        texts = [rounded(x, 0.5 * (high - low)) for x in values]
        line = f"{row['quantity']:<16}{texts[0]:>10}{texts[1]:>9}{texts[2]:>9}  {unit:<14}"
        line += f"{percent(row['from_data']):>10}"
        lines.append(line + "".join(f"{text:>10}" for text in texts[3:]))
    return "\n".join(line.rstrip() for line in lines)


def true_values(survey: MockSurvey) -> dict[str, u.Quantity]:
    """The quantities of `Fit.derived` in the mock's exact potential."""
    potential = survey.potential
    surface = u.Msun / u.kpc**2
    values = (
        survey.pos0,
        survey.vel0,
        potential.omega0 * u.rad / u.Myr,
        float(potential.surface_density(0.05)) * surface / (0.1 * u.kpc),
        float(potential.surface_density(1.1)) * surface,
    )
    return dict(zip(DERIVED, values, strict=True))


def describe(fit: Fit) -> str:
    """How the fit went, in a few sentences."""
    lines = [
        f"{fit.data['label'].size} pixels, {fit.optimizer.iter_num} steps to the optimum, "
        f"chi^2 per pixel {fit.chi2_per_pixel:.2f}.",
        f"Frame of z and v_z: {fit.frame}.",
    ]
    if fit.model.form:
        lines.insert(1, f"Density: {fit.model.form}.")
    if fit.state is not None:
        lines.insert(1, fit.state.verdict)
    height = float(fit.model.reach(fit.params))
    lines.append(f"The model's accelerations and densities reach |z| = {height:.2f} kpc.")
    lines += [f"Careful: {problem}" for problem in fit.problems]
    lines += _unresolved(fit)
    lines += _from_prior(fit)
    return "\n".join(lines)


def percent(share: float) -> str:
    """A share as whole per cent, never rounded up to all; "-" where it is not known."""
    return f"{min(int(100 * share), 99)} %" if np.isfinite(share) else "-"


def _from_prior(fit: Fit) -> list[str]:
    """Where the prior says more than the data, in a sentence."""
    if fit.samples is None or fit.prior_draws is None:
        return []
    table = profiles(fit, literature=False)
    shares, height = np.asarray(table["rho_from_data"]), table["z"].to_value(u.kpc)
    beyond = np.flatnonzero(~(shares < HALF))
    first = height[beyond[-1] + 1] if beyond.size and beyond[-1] + 1 < height.size else None
    rows = [row for row in fit.derived() if row["from_data"] < HALF]
    named = [f"{row['quantity']} ({percent(row['from_data'])} from the data)" for row in rows]
    if first is not None:
        named.append(f"the density beyond |z| = {first:.2f} kpc")
    return [f"The prior says more than the data of {'; '.join(named)}."] if named else []


def _unresolved(fit: Fit) -> list[str]:
    """What a layer thinner than the pixels could add, where that is asked of the fit."""
    if fit.samples is None:
        return []
    try:
        return [check_thin_layer(fit).text]
    except ValueError:
        # A density of two sides or of another family, or no optimum.
        return []
