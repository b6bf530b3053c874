"""The short table of a fit."""

import textwrap

import astropy.units as u
import numpy as np

from ..arguments import shown
from ..checks.symmetry import check_thin_layer
from ..checks.verdict import MOST, Verdict
from ..coordinates import sun_of
from ..inference.problem import evaluate_prediction
from ..mock import MockSurvey
from ..results.fit import DERIVED, Fitted
from ..results.literature import RadialTerm
from ..results.profiles import profiles
from ..results.rounding import percent, rounded

# A share from the data below which the prior says more.
HALF = 0.5
HEIGHTS = 61
WIDTH = 100  # characters of a line


def text_report(
    fit: Fitted,
    truth: MockSurvey | None = None,
    everything: bool = False,
    radial: RadialTerm | None = None,
) -> str:
    """The table, how the fit went, and the verdict; with `everything` all that is to doubt."""
    parts = [text_table(fit, truth, radial), describe(fit), fit.verdict.text]
    if everything and len(fit.verdict.findings) > MOST:
        parts.append("\n".join(["All that is to doubt:", *(f"- {x}" for x in fit.problems)]))
    return "\n\n".join(map(_wrapped, parts))


def _wrapped(text: str) -> str:
    """Sentences broken at the width of the table; tables and short lines as they are."""
    lines = []
    for line in text.split("\n"):
        indent = "  " if line.startswith(("- ", "  ")) else ""
        whole = len(line) <= WIDTH or "   " in line.strip()
        lines += [line] if whole else textwrap.wrap(line, WIDTH, subsequent_indent=indent)
    return "\n".join(lines)


def text_table(
    fit: Fitted, truth: MockSurvey | None = None, radial: RadialTerm | None = None
) -> str:
    """Centre, frequency, density and surface density with uncertainties, beside the truth if known.

    One line a quantity, rounded to its error; where the posterior is lopsided the interval is,
    too.  An error that is not known is NaN.  Where the checks of the fit say that the errors are
    too small, wider ones stand beside them, with a line on how they are made.  With `radial` there
    are rows with the radial term of Poisson's equation (see `Fit.derived`).
    """
    known = None if truth is None else true_values(truth)
    verdict = fit.verdict
    wide = fit.samples is not None and verdict.widens
    table = fit.derived(widened=wide, radial=radial)
    width = max(map(len, table["quantity"])) + 2
    lines = [f"{'quantity':<{width}}{'value':>10}{'-':>9}{'+':>9}"]
    lines[0] += f"{'wider -':>9}{'wider +':>9}" if wide else ""
    lines[0] += f"  {'unit':<14}{'from data':>10}" + (f"{'truth':>10}" if known else "")
    for row in table:
        if not np.isfinite(row["median"]):
            reach = float(fit.model.reach(fit.params))
            lines.append(
                f"{row['quantity']:<{width}}beyond the model, which ends at {reach:.2f} kpc"
            )
            continue
        unit = str(row["unit"]).replace("solMass", "Msun")
        middle, low, high = float(row["median"]), float(row["p16"]), float(row["p84"])
        values = [middle, middle - low, high - middle]
        if wide:
            values += [middle - float(row["p16_wide"]), float(row["p84_wide"]) - middle]
        if known:
            true = known.get(row["quantity"])
            values.append(np.nan if true is None else true.to_value(row["unit"]))
        texts = [rounded(x, 0.5 * (high - low)) for x in values]
        line = f"{row['quantity']:<{width}}{texts[0]:>10}"
        line += "".join(f"{text:>9}" for text in texts[1 : 5 if wide else 3])
        line += f"  {unit:<14}{percent(row['from_data']):>10}"
        lines.append(line + (f"{texts[-1]:>10}" if known else ""))
    if wide:
        lines.append(_widening(verdict))
    if radial is not None:
        lines.append(f"+ radial: with the radial term of Poisson's equation, by {radial}.")
    return "\n".join(line.rstrip() for line in lines)


def _widening(verdict: Verdict) -> str:
    """How the wider errors are made, in a line."""
    low, high = min(verdict.factors.values()), max(verdict.factors.values())
    parts = []
    if high > 1:
        times = f"{low:.2f}" if high - low < 0.005 else f"{low:.2f} to {high:.2f}"
        parts.append(f"errors times {times}, for residuals larger or more alike than noise")
    if any(verdict.shifts.values()):
        parts.append("in quadrature how far the row moves with two different sides")
    return f"wider: {', and '.join(parts)}."


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


def _misfit(fit: Fitted) -> str:
    """How far the data lie from the optimum, for each pixel."""
    fit = fit.mapped
    likelihood = fit.likelihood.read(fit.data)
    prediction = evaluate_prediction(fit.model, likelihood, fit.model.floats(fit.params))
    per_pixel = float(likelihood.misfit(prediction)) / fit.data["label"].size
    return f"{likelihood.misfit_name} per pixel {per_pixel:.2f}"


def describe(fit: Fitted) -> str:
    """How the fit went, in a few sentences.  Raises ``ValueError`` for anything else than a fit."""
    if not isinstance(fit, Fitted):
        raise ValueError(f"fit must be a Fit, but {shown(fit)} was given.")
    pixels = f"{fit.data['label'].size} pixels"
    if fit.stars is not None:
        pixels = f"{len(fit.stars)} stars, compared in {pixels}"
    lines = [
        f"{pixels}, {fit.optimizer.iter_num} steps to the optimum, {_misfit(fit)}.",
        f"Frame of z and v_z: {fit.frame}.",
        *_sun(fit),
    ]
    if fit.model.form:
        lines.insert(1, f"Density: {fit.model.form}.")
    if fit.state is not None:
        lines.insert(1, fit.state.verdict)
    if lost := (fit.settings or {}).get("pixels without R_g", 0):
        lines.append(f"{lost} pixels whose stars have no guiding radius were left out.")
    lines += [extra.words(fit.stacked[extra.name]) for extra in fit.model.extras]
    height = float(fit.model.reach(fit.params))
    lines.append(f"The model's accelerations and densities reach |z| = {height:.2f} kpc.")
    lines += _unresolved(fit)
    lines += _from_prior(fit)
    return "\n".join(lines)


def _sun(fit: Fitted) -> list[str]:
    """Where the Sun is, in a sentence on the signs, and what of the frame could not be read."""
    sun, lines = sun_of(fit.frame or ""), []
    if sun.unread:
        lines.append(f"The frame is kept as words: {sun.unread}.")
    rows = {row["quantity"]: row for row in fit.derived()}
    height, speed = fit.model.plane.sun
    if (row := rows.get(height)) is not None:
        z = row["median"]
        lines.append(
            f"The Sun is {abs(z):.0f} pc {'above' if z > 0 else 'below'} the fitted midplane: its "
            "height in the frame, z_sun, minus pos0."
        )
    if (row := rows.get(speed)) is not None:
        v = row["median"]
        lines.append(
            f"It moves {'up' if v > 0 else 'down'} at {abs(v):.1f} km/s: its v_z in the frame "
            "minus vel0."
        )
    return lines


def _from_prior(fit: Fitted) -> list[str]:
    """Where the prior says more than the data, in a sentence."""
    if fit.samples is None or fit.prior_draws is None:
        return []
    foliation = fit.model.foliation(fit.params)
    height = np.linspace(0.0, float(foliation.reach) * (1 - 1e-9), HEIGHTS)
    sides = {"": 1}
    if foliation.sides is not None and foliation.sides[1] is not None:
        sides = {" above the plane": 1, " below the plane": -1}
    lines = []
    for side, sign in sides.items():
        table = profiles(fit, sign * height * u.kpc, literature=False)
        shares = np.asarray(table["rho_from_data"])
        known = np.flatnonzero(shares >= HALF)
        if known.size and not np.any(shares[known[-1] + 1 :] < HALF):
            continue
        where = f"beyond |z| = {height[known[-1] + 1]:.2f} kpc" if known.size else "at all heights"
        if known.size or np.any(shares < HALF):
            lines.append(f"The prior says more than the data of the density{side} {where}.")
    return lines


def _unresolved(fit: Fitted) -> list[str]:
    """What a layer thinner than the pixels could add, where that is asked of the fit."""
    # Single stars have no pixels.
    if fit.samples is None or fit.stars is not None:
        return []
    try:
        return [check_thin_layer(fit).text]
    except ValueError:
        # A density of two sides or of another family, or no optimum.
        return []
