"""The verbs that fit and sample a model: functions of it, which `OrbitModel` takes as methods."""

import os
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..arguments import truth, whole_number
from ..data.gradient import check_pixels
from ..data.pixels import check_names, require_x64
from ..files.paths import as_path
from ..inference import laplace, nuts
from ..inference.checkpoint import Checkpoint
from ..inference.draws import LaplaceState, Samples, SampleState
from ..inference.identity import identity_of
from ..inference.optimize import OptimizeResult
from ..inference.problem import (
    Problem,
    Whitened,
    evaluate,
    ln_whitened,
    minus_ln_posterior_free,
    solve,
)
from ..likelihoods import Likelihood, likelihood_kind
from ..parameters import Layout, make_bounds
from ..priors import joint

# More steps, draws or chains than these are a slip of the hand, and do not fit in memory.
MOST_STEPS, MOST_DRAWS, MOST_CHAINS = 100_000, 10_000_000, 1000


def optimize(
    self: Any,
    params0: dict,
    objective: str | type[Likelihood] = "gaussian",
    bounds: dict | tuple | None = None,
    max_steps: int = 256,
    throw: bool = True,
    **data,
) -> OptimizeResult:
    """Maximise the posterior from `params0`; neither it nor `bounds` is changed.

    By Levenberg-Marquardt, for counts on the roots of their deviance; with a user's own
    regularisation, or priors that are not normal, by BFGS.  Both step in the free vector that
    the bounds are mapped to, but the density that they maximise is that of the parameters.

    Raises ``ValueError`` for bad input and fewer pixels than parameters and, unless
    ``throw=False``, ``RuntimeError`` with the state's sentence where the optimiser did not
    converge.
    """
    require_x64()
    kind = likelihood_kind(objective, "objective")
    max_steps = whole_number(max_steps, "max_steps", 1, MOST_STEPS)
    truth(throw, "throw")
    check_names(data, "optimize", ("bounds", "max_steps", "throw"))
    likelihood = kind.read(data)
    params0 = self.floats(params0)
    check_pixels(np.size(likelihood.points.pos), Layout.of(params0).size)
    problem = Problem.of(self, likelihood, params0, bounds)
    return solve(problem, params0, max_steps, throw)


def mcmc_run_label(
    self: Any,
    bdata: dict,
    p0: dict,
    bounds: dict | tuple | None = None,
    *,
    rng_seed: int = 0,
    num_steps: int = 1000,
    num_warmup: int = 1000,
    num_chains: int = 4,
    progress: bool | Callable[[nuts.Progress], None] = False,
    checkpoint: str | os.PathLike | None = None,
    resume: bool = False,
    keep_checkpoint: bool = False,
    likelihood: str | type[Likelihood] = "gaussian",
) -> tuple[SampleState, Samples]:
    """Sample the posterior of a binned label with several NUTS chains from near `p0`.

    `p0` should be the optimum: the chains start from, and are preconditioned by, the normal
    approximation there.  Returns (state, samples): samples behave as a list of parameter
    dictionaries, all chains end to end; state holds ``logdensity``, R-hat, effective sample
    sizes, divergences and a verdict in words.  `progress` shows a bar on a terminal, or is
    called with an `inference.Progress`.

    `checkpoint` is a folder that keeps finished blocks of steps: after a kill at any moment
    the same call with ``resume=True`` ends with the same draws, bit by bit.  A folder of other
    data, model or settings is refused.  It is removed at the end, unless `keep_checkpoint`.

    Raises ``ValueError`` for numbers below 1, a start of no probability, and checkpoints that
    do not fit; ``RuntimeError`` for a posterior that NUTS cannot follow (more than 512 leapfrog
    steps a draw); `inference.Interrupted`, a ``KeyboardInterrupt``, on Ctrl-C.
    """
    require_x64()
    numbers = {"num_chains": num_chains, "num_steps": num_steps, "num_warmup": num_warmup}
    limits = {"num_chains": MOST_CHAINS, "num_steps": MOST_DRAWS, "num_warmup": MOST_DRAWS}
    numbers = {name: whole_number(n, name, 1, limits[name]) for name, n in numbers.items()}
    rng_seed = check_seed(rng_seed)
    if not callable(progress):
        progress = truth(progress, "progress")
    truth(keep_checkpoint, "keep_checkpoint")
    checkpoint = None if checkpoint is None else as_path(checkpoint, "checkpoint")
    if truth(resume, "resume") and checkpoint is None:
        raise ValueError("resume needs the checkpoint to go on from.")
    data = likelihood_kind(likelihood).read(bdata)
    problem = Problem.of(self, data, p0, bounds)
    kept = None
    if checkpoint is not None:
        value = float(evaluate(minus_ln_posterior_free, problem.free(self.floats(p0)), problem))
        identity = identity_of(self, data, bounds, numbers | {"seed": rng_seed})
        # A user's functions leave no other trace; another machine may change last digits.
        identity["minus ln posterior at p0"] = f"{value:.7g}"
        kept = Checkpoint(checkpoint, identity, resume)
    try:
        state, samples = _run_nuts(problem, p0, rng_seed, numbers, progress, kept)
    except BaseException:
        if kept is not None:
            kept.close()
        raise
    if kept is not None:
        kept.close() if keep_checkpoint else kept.remove()
    return state, samples


def _run_nuts(problem: Problem, p0: dict, rng_seed: int, numbers: dict, progress, kept):
    num_chains, num_steps, num_warmup = numbers.values()
    layout, whitened = problem.layout, Whitened.of(problem, p0)
    if kept is not None:
        # The very numbers of the first call: a last bit would change every draw.
        if (found := kept.load("whitening")) is None:
            kept.save("whitening", [np.asarray(whitened.centre), np.asarray(whitened.factor)])
        else:
            whitened = Whitened(problem, *map(jnp.asarray, found))
    key_start, key_run = jax.random.split(jax.random.key(rng_seed))
    starts = jax.random.normal(key_start, (num_chains, layout.size))
    starts = nuts.possible_starts(ln_whitened, whitened, starts)
    seed = int(jax.random.randint(key_run, (), 0, 2**31 - 1))
    chains = nuts.sample_nuts(
        ln_whitened, whitened, starts, seed, num_warmup, num_steps, progress, checkpoint=kept
    )
    draws = whitened.draws(chains.draws)
    samples = Samples(draws.reshape(-1, layout.size), layout)
    return SampleState.of(chains, draws, layout), samples


def laplace_run_label(
    self: Any,
    bdata: dict,
    p0: dict,
    bounds: dict | tuple | None = None,
    *,
    rng_seed: int = 0,
    num_draws: int = 1000,
    likelihood: str | type[Likelihood] = "gaussian",
) -> tuple[LaplaceState, Samples]:
    """Draws of the posterior of a binned label by importance sampling about the optimum `p0`.

    Draws of the normal approximation at `p0` are weighted to the posterior, the weights'
    tail is smoothed, and `num_draws` are picked by them, so that all count alike.  Returns
    (state, samples) as `mcmc_run_label` does; the state's Pareto k says whether to trust them.

    Raises ``ValueError`` where the curvature at `p0` is not positive or num_draws < 4.
    """
    require_x64()
    num_draws = whole_number(num_draws, "num_draws", 4, MOST_DRAWS)
    rng_seed = check_seed(rng_seed)
    begin = time.perf_counter()
    problem = Problem.of(self, likelihood_kind(likelihood).read(bdata), p0, bounds)
    layout, whitened = problem.layout, Whitened.of(problem, p0)
    size = max(2 * num_draws, 1000)
    found = laplace.weigh_normal(ln_whitened, whitened, layout.size, size, rng_seed)
    # Systematic resampling: a draw of weight w is picked floor or ceil of num_draws w times.
    rng = np.random.default_rng([rng_seed, 1])
    steps = (rng.random() + np.arange(num_draws)) / num_draws
    total = np.cumsum(np.exp(found.ln_weights))
    picks = rng.permutation(np.minimum(np.searchsorted(total, steps), total.size - 1))
    draws = whitened.draws(found.draws[picks])
    seconds = time.perf_counter() - begin
    weighed = len(found.draws)
    state = LaplaceState.of(
        found.logdensity[picks], found.pareto_k, found.ess, weighed, num_draws, seconds
    )
    return state, Samples(draws, layout)


def draw_prior(
    self, params: dict, bounds: dict | tuple | None, size: int, seed: int = 0
) -> Samples:
    """Independent draws of the prior, of the structure of `params`, inside `bounds`.

    Raises ``ValueError`` for a prior that cannot be drawn from: a parameter with neither a
    distribution nor two bounds, a user's regularisation, the published one.
    """
    size, seed = whole_number(size, "size", 1, MOST_DRAWS), check_seed(seed)
    params = self.floats(params)
    layout = Layout.of(params)
    limits = make_bounds(layout, params, bounds, self.given)
    return Samples(joint.Prior.of(self, params, layout, limits).draw(size, seed), layout)


def get_crlb(
    self, params: dict, data: dict, objective: str = "gaussian", inv: bool = False
) -> np.ndarray:
    """Covariance of the parameters (the inverse curvature of the objective at `params`).

    With ``inv=True`` the curvature (Fisher) matrix itself.  Rows follow
    ``Layout.of(params).names()``.  Raises ``ValueError`` where the curvature is not positive:
    a negative variance is never reported as zero.
    """
    kind = likelihood_kind(objective, "objective")
    truth(inv, "inv")
    params = self.floats(params)
    problem = Problem.unlimited(self, kind.read(data), params)
    z = problem.layout.flatten(params)
    curvature = problem.curvature(z)
    factor = laplace.inverse_root(curvature)
    return curvature if inv else factor @ factor.T


def get_crlb_uncertainties(
    self: Any, params: dict, data: dict, objective: str = "gaussian"
) -> dict:
    """Standard deviations of the parameters, nested like them (see `get_crlb`)."""
    cov = get_crlb(self, params, data, objective)
    layout = Layout.of(self.floats(params))
    return jax.tree.map(np.asarray, layout.unflatten(jnp.sqrt(jnp.diag(cov))))


def get_crlb_error_samples(
    self: Any,
    params: dict,
    data: dict,
    size: int = 1,
    seed: int | None = None,
    objective: str = "gaussian",
    list_of_samples: bool = True,
):
    """Draws from the normal distribution that `get_crlb` describes, around `params`.

    A sequence of `size` parameter dictionaries, or one dictionary of stacked arrays.
    """
    size = whole_number(size, "size", 1, MOST_DRAWS)
    truth(list_of_samples, "list_of_samples")
    seed = None if seed is None else check_seed(seed)
    cov = get_crlb(self, params, data, objective)
    params = self.floats(params)
    layout = Layout.of(params)
    rng = np.random.default_rng(seed)
    draws = rng.multivariate_normal(np.asarray(layout.flatten(params)), cov, size=size)
    return Samples(draws, layout) if list_of_samples else layout.unflatten(draws)


def check_seed(seed) -> int:
    """The seed as a number; a ``ValueError`` for one that is none or out of range."""
    return whole_number(seed, "the seed", 0, 2**63 - 1)
