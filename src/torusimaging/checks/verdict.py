r"""Every check that there is, of one fit, and what to make of them: may its numbers be quoted?

What the checks say of the errors widens them.

- Where chi^2 per degree of freedom, c, is above 1 beyond chance, every error grows by sqrt(c), as
  if the pixels' errors were all too small by that.
- Where the label depends on the angle along orbits, neighbouring residuals are not independent.
  The covariance A^-1 of the parameters is then replaced by that for residuals which are alike
  within blocks of pixels b (rings of orbits times sectors of the angle) and independent between
  them,

      A^-1 C A^-1,   C = sum_b g_b g_b^T + P,   g_b = sum over i in b of J_i chi_i,

  with the whitened residuals chi, slopes J and the prior's curvature P (White 1980, Econometrica
  48, 817; Liang & Zeger 1986, Biometrika 73, 13): without such a likeness C is A on average,
  but for the few per cent by which a fit takes up its own noise.  A term that the parameters
  imitate moves them besides, and this is not in it.
- Where the two sides of the plane differ, by columns T with amplitudes a, the parameters move
  beside them to first order by -A^-1 J^T T a; how far a quantity moves with that is added in
  quadrature.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray
from scipy import stats

from ..coordinates import Points, doubt_of_label, sun_of
from ..data.gradient import doubts
from ..data.pixels import read_parts
from ..foliation import FourierFoliation
from ..foliation.density import Side
from ..inference.draws import LaplaceState, SampleState, percentiles
from ..inference.linear import Linear, linearise
from ..inference.problem import whitening
from ..parameters import Layout, make_bounds
from ..priors.named import pulls
from ..results.fit import (
    BEYOND_CHANCE,
    DERIVED,
    UNITS,
    Fitted,
    chi2_of_constant,
    copies,
    derive,
    pixel_height,
    widths,
)
from ..results.literature import SUN_HEIGHT, SUN_HEIGHT_ERR
from ..results.rounding import percent
from .consistency import check_consistency
from .goodness import RARE, Goodness, goodness_of
from .perturbation import Sides, add_layer, compare_sides

WORDS = ("trust", "trust with care", "do not quote")
CARE, NO = 1, 2
MOST = 3  # reasons that are shown

# R-hat below which chains have converged, and from which they have not by any standard
# (Vehtari et al. 2021, Bayesian Analysis 16, 667; Gelman & Rubin 1992).
CONVERGED, APART = 1.01, 1.05
# Effective draws below which an interval's ends are known worse than to a sixth of an sd.
FEW = 100
# Shares of divergent steps; an energy fraction.
DIVERGENT, TOO_DIVERGENT, ENERGY = 0.01, 0.1, 0.3
# Frequencies (rad/Myr) beyond which units must be wrong: the Sun's is 0.07 to 0.08.
SLOW, FAST = 0.003, 1.5
# Widths of the map in the sd of a prior of the centre from which its unit is doubted.
WIDE = 3
# Prior sds between a parameter and the mean of its prior from which they contradict each other.
FAR = 5
# chi^2 per pixel from which the errors are too small by an eighth, and by 40 per cent.
POOR, TERRIBLE, SURE = 1.25, 2.0, 5
# Errors by which a quantity may move with two sides, and factors by which its error may grow.
MOVED = 3.0
# Blocks of pixels whose residuals may be alike: rings, sectors, and the fewest pixels of one.
RINGS, SECTORS, LEAST = 8, 12, 4
# Its sd in the mass of a layer that the pixels do not resolve, from which it is said to be there.
NOTABLE = 3.0
# Errors by which a gradient in the guiding radius may bias a quantity.
SLIGHT, BIASED = 0.5, 1.5
# sds of the prior of the largest ln ratio of two densities below which it fixes the shape.
STIFF, RIGID = 0.7, 0.3
# Errors of pos over |pos| beyond which a covariance overcorrects: at 0.1 by half an sd of 3e5
# stars.
LARGE_SHARE = 0.12
# The share of the data in a quantity's variance below which it is the prior's.
HALF = 0.5
# The share of what is known of pos0 that one side of the plane must give.
ONE_SIDE, FEW_THERE = 0.1, 0.2
# The share of draws at a limit, and how near that is, in units of the width between the limits.
AT_LIMIT, NEAR = 0.05, 1e-3
# Distance (pc) from the Sun's height by other methods from which it is worth a word.
ELSEWHERE = 15.0
# Differences of two frequencies of a spline model's orbits.
INCONSISTENT = 0.05


@dataclass(frozen=True)
class Finding:
    """One thing to doubt: how much (1 care, 2 do not quote), a sentence, and what to do next."""

    level: int
    text: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.text}  {self.advice}".rstrip()


@dataclass(frozen=True)
class Verdict:
    """What all checks of a fit say together; ``str()`` of it is a line, reasons and what to do.

    Attributes
    ----------
    findings : all that is to doubt, the worst first
    factors : quantity of `Fit.derived` to the factor by which its error grows, since the map is
        scattered more than its errors allow or the label depends on the angle
    shifts : quantity to how far it moves, in the unit of `Fit.derived`, with two different sides;
        added to the error in quadrature
    note : what limits the verdict, to be read after its word
    """

    findings: tuple[Finding, ...]
    factors: dict[str, float]
    shifts: dict[str, float]
    note: str = ""

    @property
    def level(self) -> int:
        """0 trust, 1 trust with care, 2 do not quote."""
        return max((finding.level for finding in self.findings), default=0)

    @property
    def word(self) -> str:
        """The level in words."""
        return WORDS[self.level]

    @property
    def text(self) -> str:
        """The verdict and at most three reasons."""
        lines = [f"Verdict: {self.word}{self.note}."]
        for finding in self.findings[:MOST]:
            lines.append(f"- {finding.text}")
            if finding.advice:
                lines.append(f"  Next: {finding.advice}")
        if (more := len(self.findings) - MOST) > 0:
            lines.append(f"- {more} more: `fit.problems` names {'them' if more > 1 else 'it'}.")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text

    @property
    def widens(self) -> bool:
        """Whether any error grows."""
        return max(self.factors.values()) > 1 or any(self.shifts.values())


def judge(fit: Fitted) -> Verdict:
    """Every check of a fit: optimum, sampler, units, priors, data, residuals and model.

    Raises ``ValueError`` for anything else than a fit.
    """
    if not isinstance(fit, Fitted):
        raise ValueError(f"fit must be a Fit, but {type(fit).__name__} was given.")
    case = _Case(fit)
    findings = [finding for check in CHECKS for finding in check(case)]
    findings.sort(key=lambda finding: -finding.level)
    note = "" if fit.samples is not None else ", as far as an optimum without errors can tell"
    return Verdict(tuple(findings), case.factors, case.shifts, note)


class _Case:
    """A fit and what several checks ask of it."""

    def __init__(self, fit: Fitted):
        self.fit = fit
        self.mapped = fit.mapped
        self.arguments = self.mapped.problem, self.mapped.params
        self.unchecked = ""
        likelihood = self.mapped.problem.likelihood
        self.points = Points(*(np.asarray(x)[likelihood.weighty] for x in likelihood.points[:2]))

    @property
    def whitening(self) -> NDArray:
        """What makes residuals of data of unit sd."""
        weighty = self.mapped.problem.likelihood.weighty
        return np.asarray(whitening(*self.arguments))[weighty]

    @cached_property
    def linear(self) -> Linear | None:
        """The posterior to first order; None where there is none, which `unchecked` says."""
        try:
            return linearise(*self.arguments)
        except ValueError as error:
            self.unchecked = str(error)
            return None

    @cached_property
    def goodness(self) -> Goodness | None:
        try:
            return None if self.linear is None else goodness_of(self.mapped, self.linear)
        except ValueError as error:
            self.unchecked = str(error)
            return None

    @cached_property
    def sides(self) -> Sides | None:
        return None if self.linear is None else compare_sides(*self.arguments, self.linear)

    @cached_property
    def factor(self) -> float:
        """sqrt(chi^2 / dof) where that is above 1 beyond chance."""
        found = self.goodness
        if found is None or not found.p < RARE:
            return 1.0
        return float(np.sqrt(found.chi2 / found.dof))

    @cached_property
    def angle_p(self) -> float:
        """The chance of the terms in the angle, with the errors widened by the factor."""
        if self.goodness is None:
            return 1.0
        _, chi2, dof, _ = self.goodness.joint[-1]
        return float(stats.chi2.sf(chi2 / self.factor**2, dof))

    @cached_property
    def factors(self) -> dict[str, float]:
        """By how much each derived quantity's error grows."""
        factors = np.full(len(DERIVED), self.factor)
        if self.angle_p < RARE and self.linear is not None:
            factors = np.fmax(factors, self._robust(self.linear))
        return dict(zip(DERIVED, map(float, factors), strict=True))

    def _robust(self, found: Linear) -> NDArray:
        """sd for residuals that are alike within blocks over that for independent ones."""
        data = self.fit.data
        orbits = self.fit.model.compute_action_angle(data["pos"], data["vel"], self.fit.params)
        inside = np.isfinite(orbits["J"].value)
        rank = stats.rankdata(orbits["J"].value[inside], method="ordinal") - 1
        rings = min(RINGS, max(1, inside.sum() // (SECTORS * LEAST)))
        sector = (orbits["theta"].value[inside] / (2 * np.pi) * SECTORS).astype(int)
        block = (rank * rings // inside.sum()) * SECTORS + np.minimum(sector, SECTORS - 1)
        scores = np.zeros((rings * SECTORS, found.W.shape[1]))
        np.add.at(scores, block, found.W[inside] * found.chi[inside, None])
        known = found.W[inside].T @ found.W[inside]
        spread = scores.T @ scores + np.eye(found.W.shape[1]) - known
        slopes = self._slopes(found)[:, found.inner] @ found.root
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(np.sum((slopes @ spread) * slopes, axis=1) / np.sum(slopes**2, axis=1))

    def _slopes(self, found: Linear) -> NDArray:
        """Gradients of the derived quantities in the free parameters, in the units shown."""
        functions = {name: function for name, (function, *_) in DERIVED.items()}
        slopes = _slopes(self.fit.model, found.layout, found.limits, found.free, functions)
        return np.array([slopes[n] * unit.to(shown) for n, (_, unit, shown) in DERIVED.items()])

    def moves(self, along: NDArray) -> NDArray:
        """How far each derived quantity moves with the free parameters."""
        return np.zeros(len(DERIVED)) if self.linear is None else self._slopes(self.linear) @ along

    @cached_property
    def shifts(self) -> dict[str, float]:
        """How far each derived quantity moves with two different sides."""
        total = np.zeros(len(DERIVED))
        if self.linear is not None and self.sides is not None and self.sides.p < BEYOND_CHANCE:
            total = np.nan_to_num(self.moves(self.sides.shift))
        return dict(zip(DERIVED, map(float, total), strict=True))

    @cached_property
    def errors(self) -> NDArray:
        """Half the 68 % intervals of the derived quantities, NaN without draws."""
        if self.fit.samples is None:
            return np.full(len(DERIVED), np.nan)
        values = np.stack(list(derive(self.fit).values()), axis=1)
        low, _, high = percentiles(values, [16, 50, 84])
        return (high - low) / 2


@eqx.filter_jit
def _slopes(model, layout: Layout, limits, free: Array, functions: dict) -> dict:
    def values(z):
        params = layout.unflatten(limits.constrain(z))
        return {name: function(model, params) for name, function in functions.items()}

    return jax.jacfwd(values)(free)


@eqx.filter_jit
def _density(side: Side, height: Array) -> Array:
    return side.density(height)


# -- the checks --------------------------------------------------------------------------------


def _optimum(case: _Case) -> Iterator[Finding]:
    if case.fit.optimizer.code != 0:
        yield Finding(NO, case.fit.optimizer.message)


def _sampler(case: _Case) -> Iterator[Finding]:
    state = case.fit.state
    if isinstance(state, LaplaceState) and not state.reliable:
        yield Finding(
            CARE,
            "The reweighted normal approximation is not reliable.",
            "sample with NUTS: `fit.sample()`, or `oti fit` without --quick.",
        )
    if not isinstance(state, SampleState):
        return
    worst, steps = max(state.rhat.values()), (case.fit.settings or {}).get("num_steps", 1000)
    steps = max(2 * steps, 1000)
    more = f"take more draws: `--draws {steps}`, or `fit.sample(num_steps={steps})`."
    if not worst < APART:
        yield Finding(NO, f"The chains have NOT CONVERGED (R-hat {worst:.3f}, wanted 1.01).", more)
    elif not worst < CONVERGED:
        yield Finding(
            CARE, f"The chains have not yet converged (R-hat {worst:.3f}, wanted 1.01).", more
        )
    if (smallest := min(state.ess_bulk.values())) < FEW and worst < APART:
        yield Finding(CARE, f"The draws are worth only {smallest:.0f} independent ones.", more)
    if (share := state.divergent_fraction) > DIVERGENT:
        yield Finding(
            NO if share > TOO_DIVERGENT else CARE,
            f"{100 * share:.2g} % of the steps diverged: parts of the posterior are missed.",
            "take a longer warm-up (`--warmup 1000`) or fewer knots.",
        )
    if not np.min(state.e_bfmi) > ENERGY:
        yield Finding(CARE, "E-BFMI is not above 0.3: the tails are explored poorly.", more)


def _checkable(case: _Case) -> Iterator[Finding]:
    if case.goodness is None:
        yield Finding(
            CARE,
            f"The residuals could not be checked: {case.unchecked}",
            "fit anew from another start, or with fewer knots.",
        )


def _units(case: _Case) -> Iterator[Finding]:
    omega0 = float(case.fit.model.foliation(case.fit.params).omega0)
    if not SLOW < omega0 < FAST:
        yield Finding(
            NO,
            f"The frequency at the plane, {omega0:.3g} rad/Myr, is that of no galactic disc: the "
            f"Sun's is near 0.075, and {SLOW} to {FAST} is taken.",
            "check the units of pos and vel.",
        )


def _priors(case: _Case) -> Iterator[Finding]:
    given = case.fit.model.given
    for name, ratio in widths(given, case.fit.data).items():
        if ratio > WIDE:
            yield Finding(
                NO,
                f"The prior of {name} is {ratio:.0f} times as wide as the map: it is read in "
                f"{UNITS[name]}.",
                "give the prior in that unit.",
            )
    for name, pull in pulls(given, case.fit.params).items():
        if pull > FAR:
            yield Finding(
                NO,
                f"{name} lies {pull:.0f} sd from the mean of its prior: prior and data contradict "
                "each other.",
                "leave that prior out, or find which of the two is wrong.",
            )
    if (free := case.fit.model.shape_sd) < STIFF:
        yield Finding(
            NO if free < RIGID else CARE,
            "The prior fixes the shape of the density: no two heights' ratio is free by more than "
            f"{percent(np.expm1(free))}, whatever the map says.",
            "give a larger amplitude or a shorter length in `density_options`.",
        )


def _data(case: _Case) -> Iterator[Finding]:
    if doubt := doubt_of_label(case.fit.label_name or ""):
        yield Finding(NO, doubt[0].upper() + doubt[1:])
    for sentence in doubts(case.fit.data):
        yield Finding(CARE, sentence, "take more stars, or a label with a steeper gradient.")
    if twice := copies(case.fit.data):
        yield Finding(
            NO,
            f"{twice} pixels are copies of others, with the same place, label and error: they "
            "count twice, and the uncertainties are too small.",
            "remove the copies from the map.",
        )
    normal = case.mapped.likelihood.cost_is_squares
    if normal and not case.fit.chi2_per_pixel < chi2_of_constant(case.fit.data):
        yield Finding(
            NO,
            "The fitted label describes the map no better than a constant.",
            "check the label, its errors and the units of the map.",
        )


def _other_labels(case: _Case) -> Iterator[Finding]:
    """Labels of single stars after the first, whose maps no other check looks at."""
    for name in () if case.fit.stars is None else case.fit.stars.names[1:]:
        mapped = case.fit.map_of(name)
        if doubt := doubt_of_label(name):
            yield Finding(NO, doubt[0].upper() + doubt[1:])
        chi2, n = mapped.chi2_per_pixel, mapped.data["label"].size
        if chi2 > max(POOR, 1 + SURE * np.sqrt(2 / n)):
            yield Finding(
                NO if chi2 > TERRIBLE else CARE,
                f"chi^2 per pixel of {name} is {chi2:.3g}: the model does not describe this label, "
                "and the uncertainties are too small.",
                f"look at `oti.check_goodness(fit.map_of({name!r}))`, or fit without it.",
            )
        if not chi2 < chi2_of_constant(mapped.data):
            yield Finding(
                NO,
                f"The fitted {name} describes the stars no better than a constant.",
                "check the label, its errors and units.",
            )


def _place_errors(case: _Case) -> Iterator[Finding]:
    """Errors of heights that are a share of these, which is what errors of distances are."""
    stars = case.fit.stars
    if stars is None or stars.errors is None or stars.distance_err is not None:
        return
    height = np.abs(stars.points.pos - float(case.fit.params["pos0"]))
    far = height > np.median(height)
    share = float(np.median(np.sqrt(stars.errors[far, 0]) / height[far]))
    if share > LARGE_SHARE:
        yield Finding(
            CARE,
            f"Errors of pos are {percent(share)} of the height itself. A covariance stands for "
            "normal errors of one size; those of distances grow with the distance, and then stars "
            "are put too near the plane: with 20 % a_z comes out 7 to 16 % too large.",
            "give the distances' own relative errors, `Stars(..., distance_err=...)`.",
        )


def _one_sided(case: _Case) -> Iterator[Finding]:
    """What each side of the plane says of pos0: the sum of (d label / d pos / error)^2 there."""
    if case.linear is None:
        return
    centre = case.fit.params["pos0"]
    k = case.linear.layout.names().index("pos0")
    if not case.linear.inner[k]:
        return
    # Parameters at a limit have no column.
    column = case.linear.J[:, int(case.linear.inner[:k].sum())] ** 2
    below = np.asarray(case.points.pos) < float(centre)
    known = float(column[below].sum()), float(column[~below].sum())
    share = min(known) / max(sum(known), np.finfo(float).tiny)
    if share < FEW_THERE:
        side = "below" if known[0] < known[1] else "above"
        sides = case.fit.model.foliation(case.fit.params).sides
        ground = "the symmetry of the density"
        if sides is not None and sides[1] is not None:
            ground = "how alike the prior holds the two sides (asymmetry_sigma)"
        yield Finding(
            NO if share < ONE_SIDE else CARE,
            f"The map has few pixels {side} the plane ({percent(share)} of what is known of pos0): "
            f"pos0, and all that is measured from it, rests on {ground}.",
            "add stars of that side, or give pos0 a prior: `priors={'pos0': ...}`.",
        )


def _the_sun(case: _Case) -> Iterator[Finding]:
    """Where the frame tells where the Sun is, its height above the fitted plane can be checked."""
    z = sun_of(case.fit.frame or "").z
    error = np.hypot(case.errors[0] * case.factors["pos0"], case.shifts["pos0"])
    if z is None or not np.isfinite(error):
        return
    height = z - 1e3 * float(case.fit.params["pos0"])
    off = abs(height - SUN_HEIGHT)
    if off > ELSEWHERE and off > MOVED * np.hypot(error, SUN_HEIGHT_ERR):
        side = "above" if height > 0 else "below"
        yield Finding(
            CARE,
            f"The fit has the Sun {abs(height):.0f} pc {side} the midplane, and counts of stars "
            f"have it {SUN_HEIGHT:g} pc above: stars that are not in a steady state, a frame of "
            "another sign, or a plane that is not that of the stars' numbers.",
            "do not quote pos0 without that.",
        )


def _scatter(case: _Case) -> Iterator[Finding]:
    if not case.mapped.likelihood.cost_is_squares:
        return
    chi2, n = case.fit.chi2_per_pixel, case.fit.data["label"].size
    if chi2 > max(POOR, 1 + SURE * np.sqrt(2 / n)):
        yield Finding(
            NO if chi2 > TERRIBLE else CARE,
            f"chi^2 per pixel is {chi2:.3g}: the errors or the model do not describe this map, and "
            "the uncertainties are too small.",
            "look at model.png, and at `oti.check_goodness(fit)`; give the pixels' true errors.",
        )
    elif case.goodness is not None and case.factor > 1:
        yield Finding(
            CARE,
            f"The map is scattered more than its errors allow (chi^2 per pixel {chi2:.2f}, "
            f"p = {case.goodness.p:.1g}): errors are too small by at least {case.factor:.2f}.",
            "quote the wider errors of the table.",
        )


def _angle(case: _Case) -> Iterator[Finding]:
    if case.goodness is None or not case.angle_p < RARE:
        return
    terms = case.goodness.terms
    pull = np.abs(np.asarray(terms["significance"])) / case.factor
    largest = int(np.nanargmax(pull))
    text = (
        f"The label depends on the angle along orbits ({terms['term'][largest]} at "
        f"{pull[largest]:.1f} sd, p = {case.angle_p:.1g}): the stars are not in a steady state, or "
        "a selection or a gradient of the label says so."
    )
    worst = max(case.factors, key=lambda name: np.nan_to_num(case.factors[name]))
    much = case.factors[worst] > MOVED
    if much:
        text += f"  The error of {worst} is too small by {case.factors[worst]:.1f}."
    yield Finding(
        NO if much else CARE,
        text,
        "quote the wider errors; see `oti.check_goodness(fit)`, and take off a gradient in R_g "
        '(`detrend="R_g"`) if the label has one.',
    )


def _radial_gradient(case: _Case) -> Iterator[Finding]:
    """What a gradient of the label in R_g, which the map knows, does to the derived quantities."""
    parts = read_parts(case.fit.data)
    if not parts or case.linear is None or case.fit.samples is None:
        return
    found = case.linear
    column = parts["R_g_part"] * case.whitening
    # A constant and a function of the orbit alone are the label function's to take up.
    moves = case.moves(-found.moved(column[:, None], np.ones(1)))
    pulls = np.nan_to_num(np.abs(moves) / case.errors)
    worst = int(np.argmax(pulls))
    if pulls[worst] > SLIGHT:
        yield Finding(
            NO if pulls[worst] > BIASED else CARE,
            "The label changes with the guiding radius at a fixed orbit, and that biases the fit: "
            f"{list(DERIVED)[worst]} is off by {pulls[worst]:.1f} errors.",
            'take the gradient off: `oti fit --detrend R_g`, or `fit_map(..., detrend="R_g")`.',
        )


def _two_sides(case: _Case) -> Iterator[Finding]:
    if case.sides is None or not case.sides.p < BEYOND_CHANCE:
        return
    moves = np.nan_to_num(np.abs(list(case.shifts.values())) / case.errors)
    worst = int(np.argmax(moves))
    text = (
        f"The two sides of the plane differ beyond chance (p = {case.sides.p:.2g}), and this "
        "density is the same on both."
    )
    if moves[worst] > MOVED:
        text += f"  With two sides {list(DERIVED)[worst]} moves by {moves[worst]:.0f} errors."
    yield Finding(
        NO if moves[worst] > MOVED else CARE,
        text,
        "fit two sides: `oti fit --asymmetric`, or `fit_map(..., asymmetric=True)`; stars that are "
        "not in a steady state show the same (see check_goodness).",
    )


def _rings(case: _Case) -> Iterator[Finding]:
    if case.goodness is None:
        return
    rings = case.goodness.by_ring
    pull = np.nan_to_num(np.abs(np.asarray(rings["significance"]))) / case.factor
    worst = int(np.argmax(pull))
    chance = -np.expm1(len(rings) * np.log1p(-min(2 * stats.norm.sf(pull[worst]), 1 - 1e-12)))
    if chance < BEYOND_CHANCE:
        low, high = (rings[k][worst].value for k in ("r_low", "r_high"))
        yield Finding(
            CARE,
            f"In the ring of r = {low:.3f} to {high:.3f} kpc Myr^-1/2 the label is off on average "
            f"({pull[worst]:.1f} sd, p = {chance:.1g}): its function of r is too stiff.",
            "fit with more knots: `fit_map(..., label_knots=12)`.",
        )


def _layer(case: _Case) -> Iterator[Finding]:
    layer = None if case.linear is None else add_layer(*case.arguments, case.linear)
    if layer is not None and layer.mass > NOTABLE * layer.mass_sd:
        mass, sd = layer.mass / 1e6, layer.mass_sd / 1e6
        yield Finding(
            NO,
            "The map asks for a layer at the plane that is thinner than its pixels, of "
            f"{mass:.0f} +- {sd:.0f} Msun/pc^2 beside the fitted density: rho(0) is too low.",
            "see check_thin_layer; make lower pixels if there are stars enough.",
        )


def _coarse(case: _Case) -> Iterator[Finding]:
    """Pixels higher than the layer that the fit finds do not show its shape at the plane."""
    foliation = case.fit.model.foliation(case.fit.params)
    # Single stars have no pixels.
    if foliation.sides is None or case.fit.stars is not None:
        return
    height = np.linspace(0.0, float(foliation.reach), 400)
    density = np.asarray(_density(foliation.sides[0], jnp.asarray(height)))
    below = np.flatnonzero(density < density[0] / 2)
    pixel = pixel_height(case.fit.data).to_value(u.kpc)
    if below.size and pixel > height[below[0]]:
        yield Finding(
            CARE,
            f"Pixels are {1e3 * pixel:.0f} pc high, and the fitted density falls by half within "
            f"{1e3 * height[below[0]]:.0f} pc: its shape at the plane, and rho(0), rest on the "
            "prior.",
            "make lower pixels.",
        )


def _prior_share(case: _Case) -> Iterator[Finding]:
    if case.fit.samples is None:
        return
    rows = [row for row in case.fit.derived() if row["from_data"] < HALF]
    if rows:
        named = ", ".join(f"{r['quantity']} ({percent(r['from_data'])} from data)" for r in rows)
        yield Finding(
            CARE,
            f"The prior says more than the data of {named}.",
            "do not quote these rows; take more stars, or stars at larger heights.",
        )


def _limits(case: _Case) -> Iterator[Finding]:
    fit = case.fit
    if fit.samples is None:
        return
    layout = fit.samples.layout
    limits = make_bounds(layout, fit.params, fit.bounds, fit.model.given)
    low, high = np.asarray(limits.lower), np.asarray(limits.upper)
    spread = fit.samples.draws.std(axis=0)
    near = np.where(np.isfinite(high - low), NEAR * (high - low), NEAR * spread)
    at = (fit.samples.draws < low + near) | (fit.samples.draws > high - near)
    share = at.mean(axis=0)
    for name, part in zip(layout.names(), share, strict=True):
        if part > AT_LIMIT:
            yield Finding(
                CARE,
                f"{percent(part)} of the draws have {name} at a limit.",
                "widen that limit, or say why it holds.",
            )


def _consistency(case: _Case) -> Iterator[Finding]:
    fit = case.fit
    if not isinstance(fit.model.foliation(fit.params), FourierFoliation):
        return
    try:
        found = check_consistency(fit)
    except ValueError as error:
        yield Finding(NO, str(error), "fit the potential model.")
        return
    advice = "see `oti.check_consistency(fit)`; the potential model cannot do this."
    if found.crosses:
        yield Finding(NO, "The fitted orbits cross each other: no potential has such.", advice)
    if found.has_force and found.negative.size:
        low = found.negative[0][0].value
        yield Finding(
            CARE,
            f"The fitted density is negative from |z| = {abs(low):.2f} kpc.",
            advice,
        )
    if found.has_force and found.median > INCONSISTENT:
        yield Finding(
            CARE,
            f"The orbits' two frequencies differ by {percent(found.median)}: they are not those of "
            "one potential.",
            advice,
        )


CHECKS = (
    _optimum,
    _checkable,
    _units,
    _sampler,
    _data,
    _other_labels,
    _place_errors,
    _priors,
    _one_sided,
    _the_sun,
    _scatter,
    _radial_gradient,
    _angle,
    _two_sides,
    _rings,
    _layer,
    _coarse,
    _prior_share,
    _limits,
    _consistency,
)
