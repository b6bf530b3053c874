"""Which fit predicts the map best: leave-one-out cross-validation and the evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats
from astropy.table import QTable

from ..arguments import shown
from ..data.pixels import read_map, require_x64
from ..inference import laplace
from ..inference.draws import Samples, SampleState
from ..inference.evidence import Evidence, weighted_evidence
from ..inference.problem import ln_pointwise
from ..models.registry import MODELS
from ..models.verbs import check_seed
from ..results.fit import Fitted

LARGEST_K = 0.7  # above it the smoothed weights are not to be trusted (arXiv:1507.02646)
SMALL = 4.0  # differences of elpd below it are small (Sivula et al. 2020, arXiv:2008.10296)
ROUNDING = 0.05  # differences below it are written as 0.0
MOST_DRAWS = 2000


@dataclass(frozen=True)
class ModelComparison:
    """What `compare_models` found; ``text``, or ``str()`` of it, says it in sentences.

    Attributes
    ----------
    table : one row for each fit, the best elpd first: ``model``; ``elpd`` and ``elpd_se``;
        ``d_elpd`` and ``d_elpd_se``, the difference to the best, from pixelwise differences;
        ``p_loo``, the effective number of parameters by cross-validation; ``k_max`` and ``n_bad``,
        the largest Pareto k of a pixel and the number above 0.7; ``ln_evidence``, its error
        ``ln_evidence_err`` and the Pareto k of its draws ``evidence_k``; ``ln_evidence_laplace``;
        ``n_params``; ``n_constrained``, how many of them the data set rather than the prior;
        ``draws``, "NUTS" or "Laplace"
    elpd : ``{model: array}``, the ln predictive density of each pixel from all others
    pareto_k : ``{model: array}``, whether that is to be trusted
    notes : ``{model: why it has no evidence}``

    Pixels are the usable ones of the map, in its order.
    """

    table: QTable
    elpd: dict[str, np.ndarray]
    pareto_k: dict[str, np.ndarray]
    notes: dict[str, str]

    @property
    def best(self) -> str:
        """The name of the model of largest elpd."""
        return str(self.table["model"][0])

    @property
    def text(self) -> str:
        """The findings in a few plain sentences."""
        parts = [f"'{self.best}' predicts best (elpd {self.table['elpd'][0]:.1f})."]
        parts += [_difference_text(row) for row in self.table[1:]]
        parts += [_pixel_text(row) for row in self.table if row["n_bad"] and _is_trusted(row)]
        return " ".join([*parts, _evidence_text(self)]).strip()

    def __str__(self) -> str:
        return self.text


def compare_models(fits: Mapping[str, Fitted] | Sequence[Fitted], seed: int = 0) -> ModelComparison:
    r"""Compare fits of one map by how well they predict its pixels, and by their evidence.

    elpd = sum_i ln p(y_i | all other pixels) by Pareto-smoothed importance sampling: draws of the
    posterior are weighted by 1 / p(y_i | draw).  Draws are those of NUTS where a fit has them
    (at most 2000), otherwise 2000 of the normal approximation with the weights that `Fit.laplace`
    gives them.  The se of elpd, and of a difference, is sqrt(n) times the sd of its n pixels'
    terms.  The evidence is that of `inference.evidence.weighted_evidence`; its prior is normalised
    inside the fit's bounds, and without a normalised prior it is NaN.

    Parameters
    ----------
    fits : ``{name: Fitted}``, or a list, whose fits are named after their models
    seed : of the draws

    Raises ``ValueError`` for no fits, one that is no `Fit`, fits of different data (other pixels,
    labels or errors) and a fit whose optimum is none.

    Source: Vehtari, Gelman & Gabry 2017 (arXiv:1507.04544); Vehtari et al. 2024
    (arXiv:1507.02646).
    """
    require_x64()
    seed = check_seed(seed)
    named = _named(fits)
    _check_data(named)
    found = {name: _judge(name, fit, seed) for name, fit in named.items()}
    elpd = {name: one[0] for name, one in found.items()}
    order = sorted(named, key=lambda name: -elpd[name].sum())
    rows = [
        _row(name, *found[name], elpd[order[0]])
        | {"draws": "Laplace" if _sampled(named[name]) is None else "NUTS"}
        for name in order
    ]
    return ModelComparison(
        table=QTable(rows),
        elpd={name: elpd[name] for name in order},
        pareto_k={name: found[name][2] for name in order},
        notes={name: found[name][3].note for name in order if found[name][3].note},
    )


def _named(fits) -> dict[str, Fitted]:
    """The fits by name.  Raises ``ValueError`` where there are none, or one is no `Fit`."""
    if isinstance(fits, Fitted) or not isinstance(fits, (Mapping, Sequence)) or not fits:
        given = "a Fit alone" if isinstance(fits, Fitted) else shown(fits)
        raise ValueError(f"fits must be a list or dictionary of Fits, but {given} was given.")
    pairs = list(fits.items() if isinstance(fits, Mapping) else enumerate(fits))
    for key, fit in pairs:
        if not isinstance(fit, Fitted):
            raise ValueError(f"fits[{key!r}] must be a Fit, but is a {type(fit).__name__}.")
    if isinstance(fits, Mapping):
        named = {str(key): fit for key, fit in pairs}
        if len(named) < len(pairs):
            raise ValueError(
                f"fits must have names of their own, but {shown(list(fits))} were given."
            )
        return named
    kinds = {model: kind for kind, model in MODELS.items()}
    names = [kinds.get(type(fit.model), type(fit.model).__name__) for _, fit in pairs]
    return {
        name if names.count(name) == 1 else f"{name} {names[:i].count(name) + 1}": fit
        for i, (name, (_, fit)) in enumerate(zip(names, pairs, strict=True))
    }


def _check_data(fits: dict[str, Fitted]) -> None:
    """Raise a ``ValueError`` unless all fits are of one map."""
    (first, fit), *others = fits.items()
    data = read_map(fit.data)
    for name, other in others:
        theirs = read_map(other.data)
        for part, fields in (
            ("pixels", ("pos", "vel")),
            ("labels", ("label",)),
            ("errors", ("label_err",)),
        ):
            pairs = [(getattr(data, f), getattr(theirs, f)) for f in fields]
            if not all(a.shape == b.shape and np.allclose(a, b, 1e-9, 1e-12) for a, b in pairs):
                raise ValueError(
                    f"fits must be of the same data, but {name!r} has other {part} than {first!r}."
                )


def _sampled(fit: Fitted) -> Samples | None:
    """The draws of NUTS, where the fit has them."""
    return fit.samples if isinstance(fit.state, SampleState) else None


def _judge(name: str, fit: Fitted, seed: int):
    """(elpd, p_loo, Pareto k) of each pixel, and the evidence."""
    try:
        evidence = weighted_evidence(fit.problem, fit.params, seed, MOST_DRAWS)
    except ValueError as reason:
        raise ValueError(f"the fit {name!r} cannot be compared: {reason}") from None
    if (samples := _sampled(fit)) is not None:
        draws = samples.draws[:: -(-len(samples) // MOST_DRAWS)]
        ln_ratio = np.zeros(len(draws))
        ln_weights = ln_ratio - np.log(len(draws))
    else:
        draws, ln_ratio, ln_weights = evidence.draws, evidence.ln_ratio, evidence.ln_weights
    likelihood, layout = fit.likelihood.read(fit.source), fit.problem.layout
    ln_like = np.asarray(ln_pointwise(fit.model, likelihood, layout, jnp.asarray(draws)))
    # A draw that makes no model has no weight, and no likelihood to weigh.
    # Neither has one so small that it was raised to a floor: leave-one-out would blow that up.
    good = np.isfinite(ln_like).all(axis=1) & (ln_ratio > ln_ratio.max() - laplace.FLOOR)
    ln_like, ln_ratio, ln_weights = ln_like[good].T, ln_ratio[good], ln_weights[good]
    # It takes minus the ln ratio.
    leave_out, k = array_stats.psislw(ln_like - ln_ratio)
    elpd = np.logaddexp.reduce(leave_out + ln_like, axis=1)
    return elpd, np.logaddexp.reduce(ln_weights + ln_like, axis=1) - elpd, np.asarray(k), evidence


def _row(name: str, elpd, p_loo, k, evidence: Evidence, best: np.ndarray) -> dict:
    difference = elpd - best
    return {
        "model": name,
        "elpd": elpd.sum(),
        "elpd_se": np.sqrt(elpd.size) * elpd.std(),
        "d_elpd": difference.sum(),
        "d_elpd_se": np.sqrt(elpd.size) * difference.std(),
        "p_loo": p_loo.sum(),
        "k_max": k.max(),
        "n_bad": int(np.sum(k > LARGEST_K)),
        "ln_evidence": evidence.ln_evidence,
        "ln_evidence_err": evidence.error,
        "evidence_k": evidence.pareto_k,
        "ln_evidence_laplace": evidence.ln_laplace,
        "n_params": evidence.draws.shape[1],
        "n_constrained": evidence.n_constrained,
    }


def _is_trusted(row) -> bool:
    """Whether the draws are those of the posterior."""
    return row["draws"] == "NUTS" or row["evidence_k"] <= LARGEST_K


def _difference_text(row) -> str:
    worse, se = -row["d_elpd"], row["d_elpd_se"]
    if max(abs(worse), se) < ROUNDING:
        return f"'{row['model']}' predicts as well."
    text = f"'{row['model']}' is {worse:.1f} +- {se:.1f} worse in elpd"
    if se > 0:
        text += f" ({worse / se:.1f} sd)"
    return text + (": too little to tell them apart." if worse < max(SMALL, 2 * se) else ".")


def _pixel_text(row) -> str:
    n = int(row["n_bad"])
    advice = "" if row["draws"] == "NUTS" else ", or sample with NUTS"
    return (
        f"{n} pixel{'s' * (n > 1)} of '{row['model']}' {'have' if n > 1 else 'has'} Pareto k > 0.7 "
        f"(largest {row['k_max']:.2f}): take their elpd with care{advice}."
    )


def _evidence_text(found: ModelComparison) -> str:
    known = found.table[np.isfinite(found.table["ln_evidence"])]
    parts = []
    if len(known) > 1:
        known.sort("ln_evidence", reverse=True)
        top = known[0]
        lower = ", ".join(
            f"'{row['model']}' by {top['ln_evidence'] - row['ln_evidence']:.1f}"
            for row in known[1:]
        )
        if np.ptp(known["ln_evidence"]) < ROUNDING:
            parts.append("ln evidence is the same for all.")
        else:
            parts.append(f"ln evidence is largest for '{top['model']}' and lower for {lower}.")
    for row in found.table[found.table["evidence_k"] > LARGEST_K]:
        parts.append(
            f"The draws of '{row['model']}' have Pareto k {row['evidence_k']:.2f} > 0.7: do not "
            f"trust its evidence{'' if _is_trusted(row) else ' or elpd, but sample with NUTS'}."
        )
    parts += [f"'{name}' has no evidence: {note}" for name, note in found.notes.items()]
    return " ".join(parts)
