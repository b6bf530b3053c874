"""What a fit of a map gave: parameters, draws and derived quantities."""

import abc
import html
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import astropy.units as u
import jax.numpy as jnp
import numpy as np
from astropy.table import QTable

from ..arguments import check_options, truth, whole_number
from ..coordinates import sun_of
from ..data.pixels import (
    PARTS,
    VELOCITY,
    places_of,
    read_map,
    require_x64,
)
from ..data.stars import Stars
from ..foliation import field
from ..inference.draws import (
    LaplaceState,
    Samples,
    SampleState,
    of_draws,
    one_stacked,
    percentiles,
    share_from_data,
)
from ..inference.optimize import OptimizeState
from ..inference.problem import Problem
from ..likelihoods import GaussianPixels, Likelihood
from ..priors.named import mean_and_sd
from ..units import internal
from .literature import RadialTerm, check_radial
from .rounding import RoundedTable

if TYPE_CHECKING:
    from ..models.base import OrbitModel

# What the rows with the radial term of Poisson's equation have behind their name.
RADIAL = " + radial"
UNITS = {"pos0": "kpc", "vel0": "kpc / Myr", "ln_Omega0": "ln(rad / Myr)", "inv_h": "1 / kpc"}

# The chance below which the two sides of the plane are said to differ.
BEYOND_CHANCE = 1e-3
# Draws of the prior, whose sd they give to 2 %.
PRIOR_DRAWS = 2000


@dataclass(frozen=True, repr=False)
class Fitted(abc.ABC):
    """What a fit of a binned map gave, and everything needed to go on from it (abstract).

    `torusimaging.Fit` is the class that users meet: it adds the verdict, for which the checks need
    what is here.

    Attributes: ``model``, ``data`` (the usable pixels, with units), ``bounds``, ``start`` and
    ``params`` (before and at the optimum), ``optimizer`` (its state), ``samples`` and ``state``
    (None before sampling), ``frame`` (the frame of pos and vel, in words), ``settings``,
    ``label_unit`` (of the data's plain labels and errors; None where they have none) and
    ``label_name`` (empty where the map has none).  ``stars`` are the single stars of a fit of such;
    ``data`` is then a map of them for figures and checks.  ``approximate``: see `Problem`.
    """

    model: "OrbitModel"
    data: dict
    bounds: dict
    start: dict
    params: dict
    optimizer: OptimizeState
    samples: Samples | None = None
    state: SampleState | LaplaceState | None = None
    frame: str = "not stated"
    settings: dict | None = None
    label_unit: u.UnitBase | None = None
    label_name: str = ""
    likelihood: type[Likelihood] = GaussianPixels
    stars: Stars | None = None
    approximate: bool = False

    @property
    def source(self) -> dict:
        """What the likelihood is of: the map, or the columns of single stars."""
        return self.data if self.stars is None else self.stars.columns()

    @property
    def binned(self) -> dict:
        """The usable pixels as a map, labels and errors in their unit."""
        named = {"name": self.label_name} if self.label_name else {}
        unit = 1 if self.label_unit is None else self.label_unit
        united = ("label", "label_err", *(k for k in PARTS if k in self.data))
        return self.data | named | {k: self.data[k] * unit for k in united}

    def sample(self, seed: int = 0, *, num_warmup: int = 500, num_steps: int = 1000, **options):
        """The same fit with posterior draws; `options` go to `OrbitModel.mcmc_run_label`.

        Among them are ``num_chains``, ``progress``, ``checkpoint`` and ``resume``.  Raises
        ``ValueError`` for an option that there is not, and as that does.
        """
        set_here = ("bdata", "p0", "bounds", "rng_seed", "likelihood")
        check_options(options, (Fitted.sample, type(self.model).mcmc_run_label), "sample", set_here)
        state, samples = self.model.mcmc_run_label(
            self.source,
            self.params,
            self.bounds,
            rng_seed=seed,
            num_warmup=num_warmup,
            num_steps=num_steps,
            likelihood=self.likelihood,
            **options,
        )
        settings = {"seed": seed, "num_warmup": num_warmup, "num_steps": num_steps}
        return replace(
            self, samples=samples, state=state, settings=(self.settings or {}) | settings
        )

    def laplace(self, seed: int = 0, *, num_draws: int = 1000) -> "Fitted":
        """The same fit with draws by importance sampling (see `OrbitModel.laplace_run_label`)."""
        state, samples = self.model.laplace_run_label(
            self.source,
            self.params,
            self.bounds,
            rng_seed=seed,
            num_draws=num_draws,
            likelihood=self.likelihood,
        )
        settings = (self.settings or {}) | {"seed": seed, "num_draws": num_draws}
        return replace(self, samples=samples, state=state, settings=settings)

    @property
    @abc.abstractmethod
    def verdict(self) -> Any:
        """Every check that there is, and what to make of it."""

    @cached_property
    def problem(self) -> Problem:
        """Model, likelihood of the data, layout and bounds, for whatever fits or checks."""
        likelihood = self.likelihood.read(self.source)
        problem = Problem.of(self.model, likelihood, self.params, self.bounds)
        return replace(problem, approximate=self.approximate)

    @cached_property
    def mapped(self) -> "Fitted":
        """The fit as one of a map, whose residuals can be checked; itself where it is of a map."""
        return self if self.stars is None else self.map_of(self.label_name)

    @property
    @abc.abstractmethod
    def begin(self) -> Callable[[dict, dict, int], dict] | None:
        """Where a fit of other labels of its single stars begins; None for a fit of a map."""

    @abc.abstractmethod
    def map_of(self, name: str) -> "Fitted":
        """A fit of single stars as one of the map of a label, without draws."""

    @property
    def chi2_per_pixel(self) -> float:
        """Mean squared residual of the optimum in units of the pixels' errors."""
        return chi2_per_pixel(self.model, self.data, self.params)

    def __repr__(self) -> str:
        # Shown at every turn in a notebook and a debugger: nothing here may run the model.
        return f"Fit({', '.join(self._facts()[k] for k in ('model', 'pixels', 'draws'))})"

    def _facts(self) -> dict[str, str]:
        """What is known of the fit without running the model, in words."""
        facts = {
            "model": type(self.model).__name__,
            "density": self.model.form,
            "pixels": f"{np.size(self.data.get('label', ()))} pixels",
            "draws": "no draws" if self.samples is None else f"{len(self.samples)} draws",
            "frame": self.frame,
            "optimiser": getattr(self.optimizer, "message", "not run"),
        }
        if self.state is not None:
            facts["sampler"] = self.state.verdict
        facts = {name: text for name, text in facts.items() if text}
        return facts | {name: str(value) for name, value in (self.settings or {}).items()}

    def _repr_html_(self) -> str:
        """A table of what is known of the fit, and its parameters; the model does not run."""
        tables = [[(name, text) for name, text in self._facts().items()]]
        if self.samples is not None:
            # Not summary(), whose `from_data` draws from the prior.
            low, middle, high = _interval(self.samples.draws)
            rows = zip(self.samples.names, middle, low, high, strict=True)
            head = ("parameter", "median", "16 %", "84 %", "unit")
            texts = ((n, *(f"{x:.4g}" for x in xs), UNITS.get(n, "")) for n, *xs in rows)
            tables.append([head, *texts])
        cells = (
            "".join(
                f"<tr>{''.join(f'<td>{html.escape(str(x))}</td>' for x in row)}</tr>"
                for row in table
            )
            for table in tables
        )
        return "".join(f"<table>{rows}</table>" for rows in cells)

    @cached_property
    def prior_draws(self) -> Samples | None:
        """Draws of the prior, for what the data add to it; None where it cannot be drawn from."""
        try:
            return self.model.draw_prior(self.params, self.bounds, PRIOR_DRAWS)
        except ValueError:
            return None

    def draws(self, most: int = 500) -> list[dict]:
        """At most `most` posterior draws, evenly thinned; the optimum alone before sampling."""
        most = whole_number(most, "most", 1)
        if self.samples is None:
            return [self.params]
        return list(self.samples[:: max(1, -(-len(self.samples) // most))])

    @property
    def stacked(self) -> dict:
        """The parameters of all draws along the first axis; without draws of the optimum."""
        return self.samples.stacked if self.samples is not None else one_stacked(self.params)

    def summary(self) -> RoundedTable:
        """Mean, sd and percentiles of every parameter; after NUTS R-hat and effective sample sizes.

        ``from_data`` is the share of the prior's variance that the data removed (see `derived`).
        All draws count.  A parameter that has one value in all of them has no sd (NaN).  Printed,
        numbers are rounded to the sd; the columns keep all digits.  Raises ``ValueError`` before
        sampling.
        """
        if self.samples is None or self.state is None:
            raise ValueError("the fit has no draws to summarise: call laplace() or sample() first.")
        names = self.samples.names
        low, middle, high = _interval(self.samples.draws)
        sd = self.samples.draws.std(axis=0, ddof=1)
        table = RoundedTable(
            {
                "parameter": names,
                "unit": [UNITS.get(n, "") for n in names],
                "mean": self.samples.draws.mean(axis=0),
                "sd": np.where(np.isfinite(low), sd, np.nan),
                "p16": low,
                "median": middle,
                "p84": high,
                "from_data": self._share(
                    self.samples.draws, getattr(self.prior_draws, "draws", None), False
                ),
            }
        )
        if isinstance(self.state, SampleState):
            for name in ("rhat", "ess_bulk", "ess_tail"):
                table[name] = [getattr(self.state, name)[n] for n in names]
        return table

    def derived(self, widened: bool = False, radial: RadialTerm | None = None) -> RoundedTable:
        """Centre, frequency, rho(0) and Sigma(1.1 kpc) with units: median, 16 and 84 percentile.

        All draws count; before sampling the median is the optimum, and the percentiles are NaN.
        rho(0) is the mean density within 50 pc of the plane's centre, from a_z at 50 pc, for every
        model: a spline model's density at the centre itself is the slope of one segment.
        Quantities that the model does not reach are NaN.

        ``from_data`` is the share of the prior's variance that the data removed, 1 - var / var of
        the prior, from half the 68 % intervals and, but for pos0 and vel0, of logarithms: 0.99 is
        a quantity that the data give, 0.3 one that is mostly the prior's.  NaN before sampling and
        for a prior that cannot be drawn from.

        Where the frame tells where the Sun is, two rows follow: its height above the midplane and
        its velocity away from it, both positive towards positive pos.

        With `radial`, `oti.literature.RadialTerm()`, two rows follow that add the radial term of
        Poisson's equation with its own error to rho(0) and Sigma(1.1 kpc), as most published values
        have it.

        With `widened` the columns ``p16_wide`` and ``p84_wide`` follow, with errors as large as the
        checks of the fit say that they are (see `torusimaging.judge`).
        """
        truth(widened, "widened")
        values = np.stack(list(derive(self).values()), axis=1)
        low, middle, high = _interval(values)
        share = np.where(
            [name in ("pos0", "vel0") for name in DERIVED],
            self._share(values, self._prior_rows, False),
            self._share(values, self._prior_rows, True),
        )
        columns = {
            "quantity": list(DERIVED),
            "unit": [str(unit) for *_, unit in DERIVED.values()],
        }
        rows = [*range(len(DERIVED))]
        for name, of, unit, at in self._sun:
            # The Sun's height above the midplane is its height in the frame less pos0.
            k = list(DERIVED).index(of)
            rows.append(k)
            columns["quantity"].append(name)
            columns["unit"].append(unit)
            middle = np.append(middle, at - middle[k])
            low, high = np.append(low, at - high[k]), np.append(high, at - low[k])
        if radial is not None:
            radial = check_radial(radial)
            term = radial.draws(len(values)) if len(values) > 1 else radial.density.value
            for name, thickness in (("rho(0)", 1.0), ("Sigma(1.1 kpc)", 2200.0)):
                k = list(DERIVED).index(name)
                rows.append(k)
                columns["quantity"].append(f"{name}{RADIAL}")
                columns["unit"].append(columns["unit"][k])
                ends = _interval((values[:, k] + thickness * term)[:, None])[:, 0]
                low, middle, high = (
                    np.append(x, e) for x, e in zip((low, middle, high), ends, strict=True)
                )
        columns |= {"median": middle, "p16": low, "p84": high, "from_data": share[rows]}
        if widened:
            factor, shift = (
                np.array(list(x.values()))[rows]
                for x in (self.verdict.factors, self.verdict.shifts)
            )
            with_term = np.array([name.endswith(RADIAL) for name in columns["quantity"]])
            for name, sign, end in (("p16_wide", -1, low), ("p84_wide", 1, high)):
                error = sign * (end - middle)
                # The radial term's own error, which is in the row's, does not grow.
                own = np.where(with_term, error[rows], error)
                wide = np.sqrt(error**2 + (factor**2 - 1) * own**2 + shift**2)
                columns[name] = middle + sign * wide
        return RoundedTable(columns, meta={"frame": self.frame})

    @property
    def _sun(self) -> list[tuple[str, str, str, float]]:
        """The Sun's rows of the table that the frame allows: name, from which row, unit, value."""
        sun = sun_of(self.frame or "")
        height, speed = self.model.plane.sun
        rows = ((height, "pos0", "pc", sun.z), (speed, "vel0", "km / s", sun.v_z))
        return [(*names, value) for *names, value in rows if value is not None]

    def _share(self, values: np.ndarray, prior: np.ndarray | None, positive: bool) -> np.ndarray:
        """`share_from_data` of the draws' values beside those of the prior's."""
        if self.samples is None or prior is None:
            return np.full(values.shape[1], np.nan)
        return share_from_data(values, prior, positive)

    @cached_property
    def _prior_rows(self) -> np.ndarray | None:
        """The derived quantities of the prior's draws; None without draws to compare."""
        if self.samples is None or self.prior_draws is None:
            return None
        return np.stack(list(_derive(self.model, self.prior_draws.stacked).values()), axis=1)

    def actions(
        self,
        pos: u.Quantity,
        vel: u.Quantity,
        pos_err: u.Quantity | None = None,
        vel_err: u.Quantity | None = None,
        *,
        R: u.Quantity | None = None,
        draws: int = 100,
        seed: int = 0,
    ) -> QTable:
        """J, theta and Omega of stars with errors from the posterior and from those of pos and vel.

        Parameters
        ----------
        pos, vel : quantities (length, speed), shape (n,)
        pos_err, vel_err : their errors, which are taken as normal and independent; None: exact
        R : the stars' radii (length), for a field that changes with them; None: all at R0
        draws : so many draws of the parameters, evenly spaced, each with places of its own
        seed : of the places

        Returns what the optimum's ``compute_action_angle`` does, with J_err, theta_err and
        Omega_err: sds over the draws for which a star is on an orbit of the model (of angles the
        circular sd, Mardia & Jupp 2000, section 2.3), NaN where fewer than half of them are.

        Raises ``ValueError`` before sampling, for errors that are negative or of another number of
        stars, and fewer than two draws; `UnitError` for missing or wrong units.
        """
        if self.samples is None:
            raise ValueError("the fit has no draws: call laplace() or sample() first.")
        draws, seed = whole_number(draws, "draws", 2), whole_number(seed, "seed", 0)
        if max(np.ndim(pos), np.ndim(vel)) > 1:
            raise ValueError(
                f"pos and vel must be one row of stars, but have the shapes {np.shape(pos)} and "
                f"{np.shape(vel)}."
            )
        draws = min(draws, len(self.samples))
        table = self.model.compute_action_angle(pos, vel, self.params, R)
        given = np.atleast_1d(u.Quantity(pos)), np.atleast_1d(u.Quantity(vel))
        pos, vel = (u.Quantity(x) for x in np.broadcast_arrays(*given, subok=True))
        errors = (
            _star_errors(pos_err, u.kpc, "pos_err", pos.shape),
            _star_errors(vel_err, VELOCITY, "vel_err", pos.shape),
        )
        rng = np.random.default_rng(seed)
        moments = _StarMoments(table)
        picks = np.unique(np.linspace(0, len(self.samples) - 1, draws).round().astype(int))
        for i in picks:
            places = [
                x if e is None else x + e * rng.normal(size=x.shape)
                for x, e in zip((pos, vel), errors, strict=True)
            ]
            moments.add(self.model.compute_action_angle(*places, self.samples[int(i)], R))
        return moments.errors(len(picks))

    def to_dataframe(self) -> Any:
        """The draws as a pandas DataFrame: parameters and derived quantities, one row a draw.

        Columns of derived quantities bear their unit in brackets.  Raises ``ValueError`` before
        sampling and ``ImportError`` without pandas.
        """
        if self.samples is None:
            raise ValueError("the fit has no draws: call laplace() or sample() first.")
        import pandas as pd

        columns = dict(zip(self.samples.names, self.samples.draws.T, strict=True))
        units = {name: str(unit) for name, (*_, unit) in DERIVED.items()}
        columns |= {f"{name} [{units[name]}]": x for name, x in derive(self).items()}
        return pd.DataFrame(columns)


def _star_errors(errors, unit: u.UnitBase, name: str, shape: tuple) -> u.Quantity | None:
    """Errors of the stars' places, of their shape."""
    if errors is None:
        return None
    values = internal(errors, unit, name)
    if values.shape not in ((), shape):
        raise ValueError(f"{name} must have the stars' shape {shape}, but has {values.shape}.")
    if bad := int(np.sum(~((values >= 0) & (values < np.inf)))):
        raise ValueError(
            f"{name} must be finite and at least 0, but is not for {bad} of {values.size} stars."
        )
    return np.broadcast_to(values, shape) * unit


class _StarMoments:
    """Sums over draws of stars' actions, angles and frequencies, about those of the optimum."""

    def __init__(self, table: QTable):
        self.table = table
        self.number = np.zeros(len(table))
        self.sums = {name: np.zeros((2, len(table))) for name in ("J", "Omega", "theta")}

    def add(self, draw: QTable) -> None:
        """Count a draw's table."""
        there = np.isfinite(draw["J"].value) & np.isfinite(self.table["J"].value)
        self.number += there
        for name, sums in self.sums.items():
            off = np.where(there, draw[name].value - self.table[name].value, 0.0)
            pair = (np.cos(off) * there, np.sin(off)) if name == "theta" else (off, off**2)
            sums += pair

    def errors(self, draws: int) -> QTable:
        """The table with the sds."""
        with np.errstate(invalid="ignore", divide="ignore"):
            known = np.where(self.number >= draws / 2, 1.0, np.nan)
            for name, sums in self.sums.items():
                first, second = sums / self.number
                if name == "theta":
                    length = np.minimum(np.hypot(first, second), 1.0)
                    sd = np.sqrt(-2 * np.log(length))
                else:
                    sd = np.sqrt(np.maximum(second - first**2, 0.0))
                self.table[f"{name}_err"] = sd * known * self.table[name].unit
        return self.table


def widths(priors: dict, data: dict) -> dict[str, float]:
    """The sd of the given priors of pos0 and vel0 over the width of the map."""
    out = {}
    for name, x in zip(("pos0", "vel0"), places_of(data), strict=True):
        if name in priors and (moments := mean_and_sd(priors[name])) is not None:
            out[name] = moments[1] / float(np.ptp(x.to_value(UNITS[name])))
    return out


def chi2_per_pixel(model: "OrbitModel", data: dict, params: dict) -> float:
    """Mean squared residual of the parameters' labels in units of the pixels' errors."""
    fit = model.get_label(*places_of(data), params)
    return float(np.mean(((data["label"] - fit) / data["label_err"]) ** 2))


def pixel_height(data: dict) -> u.Quantity:
    """The smallest distance of two pixels' centres in pos, but for round-off."""
    pos = np.unique(np.asarray(data["pos"].to_value(u.kpc)))
    gaps = np.diff(pos)
    gaps = gaps[gaps > 1e-6 * np.ptp(pos)]
    return (gaps.min() if gaps.size else np.nan) * u.kpc


def copies(data: dict) -> int:
    """How many pixels repeat another one's place, label and error."""
    pixels = read_map(data)
    rows = np.stack([pixels.pos, pixels.vel, pixels.label, pixels.label_err], axis=1)
    return len(rows) - len(np.unique(rows, axis=0))


def _interval(draws: np.ndarray) -> np.ndarray:
    """16, 50 and 84 percentile along the first axis, the outer ones NaN where no draw differs.

    One value for all draws is no measured one: its interval is unknown, not zero.
    """
    low, middle, high = percentiles(draws, [16, 50, 84])
    alike = np.ptp(draws, axis=0) == 0
    return np.stack([np.where(alike, np.nan, low), middle, np.where(alike, np.nan, high)])


def chi2_of_constant(data: dict) -> float:
    """The same of the best constant label."""
    weight = data["label_err"] ** -2.0
    off = data["label"] - np.average(data["label"], weights=weight)
    return float(np.mean(weight * off**2))


# function of (model, parameters) without units, its unit, unit shown
DERIVED = {
    "pos0": (lambda m, p: p["pos0"], u.kpc, u.pc),
    "vel0": (lambda m, p: p["vel0"], VELOCITY, u.km / u.s),
    "Omega0": (lambda m, p: m.foliation(p).omega0, u.rad / u.Myr, u.rad / u.Myr),
    "rho(0)": (
        lambda m, p: field.central_density(m.foliation(p)),
        field.DENSITY,
        u.Msun / u.pc**3,
    ),
    "Sigma(1.1 kpc)": (
        lambda m, p: field.surface_density(m.foliation(p), jnp.asarray(1.1)),
        field.SURFACE_DENSITY,
        u.Msun / u.pc**2,
    ),
}


def _each(model, params, functions):
    return {name: function(model, params) for name, function in functions.items()}


def derive(fit: Fitted) -> dict[str, np.ndarray]:
    """The derived quantities of every draw by name, each of shape (n,) in its unit of `DERIVED`.

    Of the optimum alone before sampling.
    """
    require_x64(fit.model)
    return _derive(fit.model, fit.stacked)


def _derive(model: "OrbitModel", stacked: dict) -> dict[str, np.ndarray]:
    functions = {name: function for name, (function, *_) in DERIVED.items()}
    values = of_draws(_each, model, stacked, functions)
    return {name: values[name] * unit.to(shown) for name, (_, unit, shown) in DERIVED.items()}
