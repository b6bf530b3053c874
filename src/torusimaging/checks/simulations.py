"""Simulated data of prior draws, fitted one by one or by worker processes."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..foliation.density import G
from ..foliation.field import pull
from ..inference.draws import LaplaceState, SampleState
from ..inference.problem import (
    Problem,
    evaluate,
    evaluate_prediction,
    minus_ln_posterior,
    solve,
)
from ..likelihoods import Likelihood
from ..models.base import OrbitModel
from ..parallel import in_processes
from ..parameters import Layout
from ..results.fit import Fitted, chi2_per_pixel
from .ranks import DRAWS, rank_of

HEIGHTS, SURFACE = (0.25, 0.5, 1.0), 1.1  # kpc
CHAINS, RETRIES, PRIOR_DRAWS, LONGER = 2, 4, 1000, 4
SAMPLERS = ("nuts", "laplace", "auto")
# Share of the draws weighed that makes "auto" content with the normal approximation: with it 68 %
# and 95 % intervals of the weakest parameters hold what they say, with half of it they do not.
WORTH = 0.3
MAX_STEPS = 256
WRONG = 1.5  # chi^2 per pixel beyond which other starts are tried


class Campaign(NamedTuple):
    """All that a simulation needs but its number."""

    model: OrbitModel
    likelihood: type[Likelihood]
    bounds: dict
    start: dict
    data: dict
    layout: Layout
    truths: NDArray
    others: NDArray
    heights: NDArray
    settings: dict
    begin: Callable | None

    @classmethod
    def of(cls, fit: Fitted, simulations: int, settings: dict) -> "Campaign":
        """The campaign of a fit; its first truths are the same for any number of them."""
        model, seed = fit.model, settings["seed"]
        truths = model.draw_prior(fit.start, fit.bounds, simulations, seed)
        # Simulation i has the stream (seed, i), but the first (seed, 2^31).
        other_seed = int(np.random.SeedSequence([seed, 2**31 + 1]).generate_state(1)[0])
        others = model.draw_prior(fit.start, fit.bounds, PRIOR_DRAWS, other_seed)
        heights = np.zeros(0)
        if model.foliation(fit.params).has_force:
            reach = float(model.reach(fit.params))
            heights = np.asarray([*(h for h in HEIGHTS if h <= reach), min(SURFACE, reach)])
        return cls(
            model,
            fit.likelihood,
            fit.bounds,
            fit.start,
            fit.source,
            truths.layout,
            truths.draws,
            others.draws,
            heights,
            settings,
            fit.begin,
        )

    def names(self) -> list[str]:
        """The quantities whose ranks are found, parameters first."""
        own = [f"a_z({h:g} kpc)" for h in self.heights[:-1]]
        own += [f"Sigma({h:.3g} kpc)" for h in self.heights[-1:]]
        return [*self.layout.names(), *own, "ln likelihood"]


@eqx.filter_jit
def _quantities(model, likelihood: Likelihood, layout, draws, heights):
    """Parameters, a_z at all heights but the last, Sigma within that, ln likelihood.

    Shape (draws, q).  A model is a function of its parameters beyond its reach, too, and any
    function of them and the data has uniform ranks.
    """

    def of_one(x):
        params = layout.unflatten(x)
        foliation = model.foliation(params)
        cost = likelihood.cost(likelihood.predict(model, params))
        columns = [x]
        if heights.size:
            a = foliation.acceleration(foliation.pos0 + heights[:-1])
            columns += [a, pull(foliation, heights[-1:]) / (4 * np.pi * G)]
        return jnp.concatenate([*columns, -jnp.reshape(cost, 1)])

    return jax.lax.map(of_one, draws, batch_size=16)


def simulate(campaign: Campaign, i: int) -> dict[str, Any]:
    """Simulation `i`: a map of the truth `i`, its fit, and the ranks of the truth."""
    begin = time.perf_counter()
    # The stream (seed, 0) is that of the truths.
    rng = np.random.default_rng([campaign.settings["seed"], i or 2**31])
    data, truth = campaign.data, campaign.truths[i]
    likelihood = campaign.likelihood.read(data)
    prediction = evaluate_prediction(campaign.model, likelihood, campaign.layout.unflatten(truth))
    data = data | likelihood.simulate(prediction, rng)
    q = len(campaign.names())
    row = {"index": i, "ranks": np.full(q, -1), "z": np.full(q, np.nan), "sd": np.full(q, np.nan)}
    state, samples, failure = _posterior(campaign, data, rng)
    if samples is None:
        row |= {"quality": np.nan, "ess": 0.0, "failures": failure}
    else:
        picks = np.linspace(0, len(samples) - 1, DRAWS).round().astype(int)
        both = np.concatenate([truth[None], samples.draws[picks]])
        found = campaign.likelihood.read(data)
        values = _quantities(campaign.model, found, campaign.layout, both, campaign.heights)
        true, draws = np.asarray(values[0]), np.asarray(values[1:])
        with np.errstate(invalid="ignore", divide="ignore"):
            row["sd"] = draws.std(axis=0, ddof=1)
            row["z"] = (draws.mean(axis=0) - true) / row["sd"]
        quality, ess = _quality(state)
        row |= {"ranks": rank_of(true, draws, rng), "quality": quality, "ess": ess, "failures": ""}
    return row | {"seconds": time.perf_counter() - begin}


def _posterior(campaign: Campaign, data: dict, rng: np.random.Generator):
    """(state, draws, reason of failure) of a simulated map.

    From the usual start; where that fails or leaves a poor chi^2, which names a wrong optimum to a
    user, too, from other draws of the prior: starts must not know the truth.
    """
    failure, poor = "", []
    seed = int(rng.integers(2**31 - 1))
    picks = rng.choice(len(campaign.others), RETRIES, replace=False)
    starts = [campaign.start, *map(campaign.layout.unflatten, campaign.others[picks])]
    for start in starts if campaign.begin is None else _from_maps(campaign, data, starts):
        try:
            likelihood = campaign.likelihood.read(data)
            problem = Problem.of(campaign.model, likelihood, start, campaign.bounds)
            best = solve(problem, campaign.model.floats(start), MAX_STEPS, throw=True)
            normal = campaign.likelihood.cost_is_squares
            if normal and chi2_per_pixel(campaign.model, data, best.params) > WRONG:
                poor.append(best)
            else:
                return *_draws(campaign, data, best.params, seed), ""
        except (ValueError, RuntimeError) as error:
            failure = failure or " ".join(str(error).split())
    for best in sorted(poor, key=lambda best: best.state.value):
        try:
            return *_draws(campaign, data, best.params, seed), ""
        except (ValueError, RuntimeError) as error:
            failure = failure or " ".join(str(error).split())
    return None, None, failure


def _from_maps(campaign: Campaign, data: dict, starts: list[dict]) -> list[dict]:
    """Starts of single stars at the optima of maps of them, as a user's fit has; the best first."""
    assert campaign.begin is not None
    model, bounds = campaign.model, campaign.bounds
    problem = Problem.of(model, campaign.likelihood.read(data), campaign.start, bounds)
    found = []
    for start in starts:
        try:
            begin = campaign.begin(data, start, MAX_STEPS)
        except ValueError:
            continue
        value = float(evaluate(minus_ln_posterior, problem.free(model.floats(begin)), problem))
        found.append((value if np.isfinite(value) else np.inf, begin))
    return [begin for _, begin in sorted(found, key=lambda pair: pair[0])] or starts


def _draws(campaign: Campaign, data: dict, best: dict, seed: int):
    """(state, draws) about an optimum, by the sampler that the settings name."""
    model, settings, bounds = campaign.model, campaign.settings, campaign.bounds
    steps = settings["num_steps"]
    if settings["sampler"] != "nuts":
        state, samples = model.laplace_run_label(
            data,
            best,
            bounds,
            rng_seed=seed,
            num_draws=CHAINS * steps,
            likelihood=campaign.likelihood,
        )
        if settings["sampler"] == "laplace" or (state.reliable and state.efficiency >= WORTH):
            return state, samples
    warmup = settings["num_warmup"]
    state, samples = _sample(campaign, data, best, seed, warmup, steps)
    if not min(state.ess_bulk.values()) >= DRAWS:
        # Ranks among draws that hang together are not uniform: this truth needs a longer run, of
        # other random numbers than the first.  Seeds of first runs are below 2^31.
        other = seed + 2**31
        return _sample(campaign, data, best, other, LONGER * warmup, LONGER * steps)
    return state, samples


def _sample(campaign: Campaign, data, best, seed: int, num_warmup: int, num_steps: int):
    return campaign.model.mcmc_run_label(
        data,
        best,
        campaign.bounds,
        rng_seed=seed,
        num_warmup=num_warmup,
        num_steps=num_steps,
        num_chains=CHAINS,
        likelihood=campaign.likelihood,
    )


def _quality(state: SampleState | LaplaceState | None) -> tuple[float, float]:
    """(largest R-hat or Pareto k, smallest effective number of draws)."""
    if isinstance(state, SampleState):
        return max(state.rhat.values()), min(state.ess_bulk.values())
    assert isinstance(state, LaplaceState)
    return state.pareto_k, state.ess


def _begin_worker() -> None:
    """Ctrl-C is the parent's, and each worker has one thread of XLA."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["NPROC"] = "1"  # XLA sizes its thread pool by it when the first array is made.
    jax.config.update("jax_enable_x64", True)


def run(campaign: Campaign, todo: list[int], processes: int) -> Iterator[dict[str, Any]]:
    """Results of the simulations `todo`, in the order in which they end."""
    yield from in_processes(simulate, campaign, todo, processes, _begin_worker)
