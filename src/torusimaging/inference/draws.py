"""Posterior draws that behave as a list of parameter dictionaries, and what is known of them."""

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from ..arguments import shown
from ..parameters import Layout
from .nuts import Chains, diagnostics, energy_fraction

# Effective draws, and their share of those weighed, below which weights are not trusted, whatever
# their Pareto k: with a tenth of the share the sds of weak parameters come out 10 to 30 % short.
ENOUGH, SHARE = 100, 0.1
# The most draws of which a function is evaluated at once.
BLOCK = 256


class Samples(Sequence):
    """Parameter dictionaries, one for each draw; index, slice and iterate as a list.

    ``samples["pos0"]`` or ``samples["ln_rho[3]"]`` are the draws of one parameter, shape (n,), and
    ``samples["ln_rho"]`` those of all its values, shape (n, k).

    Attributes: ``draws``, shape (n, d), and ``names``, one for each column.
    """

    def __init__(self, draws: np.ndarray, layout: Layout):
        self.draws = np.asarray(draws)
        self.layout = layout

    @property
    def names(self) -> list[str]:
        """Names of the columns of ``draws``."""
        return self.layout.names()

    def __repr__(self) -> str:
        return f"Samples({len(self)} draws of {self.layout.size} parameters)"

    @property
    def stacked(self) -> dict:
        """One parameter dictionary whose values are those of all draws along a first axis."""
        return self.layout.unflatten(self.draws)

    def __len__(self) -> int:
        return self.draws.shape[0]

    def __getitem__(self, index):
        if isinstance(index, str):
            names = self.names
            if index in names:
                return self.draws[:, names.index(index)]
            columns = [k for k, name in enumerate(names) if name.startswith(f"{index}[")]
            if not columns:
                raise ValueError(f"samples have no parameter {index!r} (they have {names}).")
            return self.draws[:, columns]
        if isinstance(index, slice):
            return Samples(self.draws[index], self.layout)
        try:
            row = operator.index(index)
        except TypeError:
            raise ValueError(
                f"samples are indexed by a number, a slice or a name, but {shown(index)} was given."
            ) from None
        return self.layout.unflatten(self.draws[row])


def of_draws(function: Callable, model: Any, stacked: dict, *arguments: Any) -> Any:
    """``function(model, params, *arguments)`` of every set of parameters in `stacked`.

    `stacked` is one dictionary of values with the draws along their first axis (`Samples.stacked`);
    the arrays that the function returns, traced, come back as numpy's with that axis in front.
    Draws go through one compiled program in blocks of one size, so that neither memory nor
    compilation grows with their number.  The program is kept by the function itself: give one
    that has a name, not one made for the call.
    """
    stacked = jax.tree.map(lambda x: np.asarray(x, float), stacked)
    n = len(jax.tree.leaves(stacked)[0])
    # A few draws are a block of a power of two: not every number of them is a program.
    size = min(BLOCK, 1 << (n - 1).bit_length())
    parts = []
    for first in range(0, n, size):
        rows = np.minimum(np.arange(first, first + size), n - 1)
        block = jax.tree.map(lambda x, rows=rows: x[rows], stacked)
        parts.append(_of_block(function, model, block, arguments))
    return jax.tree.map(lambda *x: np.concatenate([np.asarray(y) for y in x])[:n], *parts)


def share_from_data(posterior: np.ndarray, prior: np.ndarray, positive: bool) -> np.ndarray:
    """The share of the prior's variance that the data removed, of draws along the first axis.

    1 - var(posterior) / var(prior), not below 0, with half the 68 % interval as sd, since priors
    have long tails; where values are `positive`, of their logarithms, in which priors are wide.
    NaN where half of the draws have no value, or the posterior has one value alone.
    """
    halves = []
    for values in (posterior, prior):
        if positive:
            with np.errstate(invalid="ignore", divide="ignore"):
                values = np.log(np.abs(values))
                values = np.where(np.isfinite(values), values, np.nan)
        low, high = percentiles(values, [16, 84])
        halves.append((high - low) / 2)
    own, before = halves
    alike = np.ptp(posterior, axis=0) == 0
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.maximum(1 - (own / before) ** 2, 0.0)
    return np.where(alike, np.nan, share)


def percentiles(values: np.ndarray, levels: Sequence[int | float]) -> np.ndarray:
    """Percentiles over the draws, the first axis of `values`; shape (levels, columns).

    Draws that do not reach a column are left out there; where over half do not, it is NaN.
    """
    out = np.full((len(levels), values.shape[1]), np.nan)
    finite = np.isfinite(values)
    whole = finite.all(axis=0)
    out[:, whole] = np.percentile(values[:, whole], levels, axis=0)
    part = ~whole & (finite.mean(axis=0) >= 0.5)
    if part.any():
        some = np.where(finite[:, part], values[:, part], np.nan)
        out[:, part] = np.nanpercentile(some, levels, axis=0)
    return out


def one_stacked(params: dict) -> dict:
    """One set of parameters as the only draw, for `of_draws`."""
    return jax.tree.map(lambda x: np.asarray(x, float)[None], params)


@eqx.filter_jit
def _of_block(function, model, stacked, arguments):
    return jax.vmap(lambda params: function(model, params, *arguments))(stacked)


class SampleState(NamedTuple):
    """Diagnostics of a sampler's run.  `logdensity` has one entry for each of the samples."""

    logdensity: np.ndarray
    rhat: dict[str, float]
    ess_bulk: dict[str, float]
    ess_tail: dict[str, float]
    n_divergent: int
    divergent_fraction: float
    e_bfmi: np.ndarray
    num_chains: int
    seconds: float
    compile_seconds: float
    verdict: str

    def __repr__(self) -> str:
        return f"SampleState({self.logdensity.size} draws: {self.verdict})"

    @classmethod
    def of(cls, chains: Chains, draws: np.ndarray, layout: Layout) -> "SampleState":
        """Diagnostics of `chains`, whose parameters are `draws` (chain, draw, parameter)."""
        numbers = diagnostics(draws)
        names = layout.names()
        tables = {
            key: dict(zip(names, map(float, value), strict=True)) for key, value in numbers.items()
        }
        count, fraction = int(chains.diverging.sum()), float(chains.diverging.mean())
        return cls(
            logdensity=chains.logdensity.ravel(),
            n_divergent=count,
            divergent_fraction=fraction,
            e_bfmi=energy_fraction(chains.energy),
            num_chains=draws.shape[0],
            seconds=chains.seconds,
            compile_seconds=chains.compile_seconds,
            verdict=_verdict(tables, count, fraction, draws.shape[0]),
            **tables,
        )


def _verdict(tables: dict, count: int, fraction: float, n_chains: int) -> str:
    worst = max(tables["rhat"].values())
    agree = "agree (largest R-hat {:.3f})"
    if not worst < 1.01:
        agree = "have not yet converged (R-hat {:.3f}, wanted 1.01)"
    if not worst < 1.05:
        agree = "have NOT CONVERGED (R-hat {:.3f}, wanted 1.01)"
    who = f"{n_chains} chains" if n_chains > 1 else "Halves of 1 chain"
    smallest = min(tables["ess_bulk"].values())
    return (
        f"{who} {agree.format(worst)}; "
        f"smallest bulk ESS {smallest:.0f}; {count} divergences ({100 * fraction:.2g} %)"
        f"{' - TOO MANY' * (fraction > 0.01)}."
    )


class LaplaceState(NamedTuple):
    """What is known of draws from the normal approximation, reweighted to the posterior.

    `ess` is the number of independent draws they are worth, and `efficiency` that over the number
    weighed; they are `reliable` where `pareto_k` is below 0.7, `ess` at least 100 and `efficiency`
    at least 0.1.
    """

    logdensity: np.ndarray
    pareto_k: float
    ess: float
    reliable: bool
    seconds: float
    verdict: str
    efficiency: float

    num_chains = 1  # its draws are one row

    def __repr__(self) -> str:
        return f"LaplaceState({self.logdensity.size} draws: {self.verdict})"

    @classmethod
    def of(
        cls,
        logdensity: np.ndarray,
        pareto_k: float,
        ess: float,
        weighed: int,
        picked: int,
        seconds: float,
    ) -> "LaplaceState":
        """The state, with its sentence, of `picked` draws out of those `weighed`, worth `ess`."""
        share, ess = float(ess / weighed), min(ess, picked)
        reliable = bool(pareto_k < 0.7 and ess >= ENOUGH and share >= SHARE)
        text = (
            f"Normal approximation, reweighted: Pareto k {pareto_k:.2f}, worth {ess:.0f} "
            f"independent draws, efficiency {100 * share:.0f} %"
        )
        text += "." if reliable else " - NOT RELIABLE: sample with NUTS."
        return cls(logdensity, float(pareto_k), float(ess), reliable, float(seconds), text, share)
