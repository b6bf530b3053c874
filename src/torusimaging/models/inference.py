"""The verbs that fit and sample a model."""

import os
import time
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..arguments import choice, truth, whole_number
from ..data.gradient import check_pixels
from ..data.pixels import check_names, check_places, pad, read_map, require_x64
from ..files.paths import as_path
from ..inference import laplace, nuts, optimize
from ..inference.checkpoint import Checkpoint
from ..inference.draws import LaplaceState, Samples, SampleState
from ..inference.identity import identity_of
from ..inference.objectives import OBJECTIVES, RESIDUALS, ln_whitened, minus_ln_posterior_free
from ..parameters import Bounds, Layout, make_bounds, unpack_bounds
from ..priors import joint
from .posterior import Posterior, evaluate

# More steps, draws or chains than these are a slip of the hand, and do not fit in memory.
MOST_STEPS, MOST_DRAWS, MOST_CHAINS = 100_000, 10_000_000, 1000


class Inference(Posterior):
    """A posterior that can be maximised, sampled and expanded (abstract)."""

    def optimize(
        self,
        params0: dict,
        objective: str = "gaussian",
        bounds: dict | tuple | None = None,
        max_steps: int = 256,
        throw: bool = True,
        **data,
    ) -> optimize.OptimizeResult:
        """Maximise the posterior from `params0`; neither it nor `bounds` is changed.

        By Levenberg-Marquardt, for counts on the roots of their deviance; with a user's own
        regularisation, or priors that are not normal, by BFGS.  Both step in the free vector that
        the bounds are mapped to, but the density that they maximise is that of the parameters.

        Raises ``ValueError`` for bad input and fewer pixels than parameters and, unless
        ``throw=False``, ``RuntimeError`` with the state's sentence where the optimiser did not
        converge.
        """
        require_x64()
        choice(objective, "objective", OBJECTIVES)
        max_steps = whole_number(max_steps, "max_steps", 1, MOST_STEPS)
        truth(throw, "throw")
        check_names(data, "optimize", ("bounds", "max_steps", "throw"))
        pixels = read_map(data, objective)
        check_places(self.given, pixels)
        params0 = self.floats(params0)
        layout = Layout.of(params0)
        check_pixels(pixels.pos.size, layout.size)
        limits = make_bounds(layout, params0, bounds, self.given)
        args = (self, limits, layout, pixels if objective == "poisson" else pad(pixels))
        start = limits.free(layout.flatten(params0))
        if self.is_least_squares:
            z, steps, good = optimize.minimise_squares(RESIDUALS[objective], start, args, max_steps)
        else:
            z, steps, good = optimize.minimise(OBJECTIVES[objective], start, args, max_steps)
        value = float(evaluate(OBJECTIVES[objective], z, args))
        code = optimize.judge(OBJECTIVES[objective], z, args, value, bool(good))
        # At a bound z runs to infinity: the optimum is then put just inside.
        z, limited = limits.inside(z)
        names = [n for n, end in zip(layout.names(), limited, strict=True) if end]
        state = optimize.describe(code, value, int(steps), names)
        if throw and not state.success:
            raise RuntimeError(f"{state.message} (objective {state.value:.6g}, {steps} steps)")
        params = jax.tree.map(np.asarray, layout.unflatten(limits.constrain(z)))
        return optimize.OptimizeResult(params, state)

    def mcmc_run_label(
        self,
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
        kept = None
        if checkpoint is not None:
            _, _, centre, args = self._problem(bdata, p0, bounds)
            value = float(evaluate(minus_ln_posterior_free, centre, args))
            identity = identity_of(self, bdata, bounds, numbers | {"seed": rng_seed})
            # A user's functions leave no other trace; another machine may change last digits.
            identity["minus ln posterior at p0"] = f"{value:.7g}"
            kept = Checkpoint(checkpoint, identity, resume)
        try:
            state, samples = self._run_nuts(bdata, p0, bounds, rng_seed, numbers, progress, kept)
        except BaseException:
            if kept is not None:
                kept.close()
            raise
        if kept is not None:
            kept.close() if keep_checkpoint else kept.remove()
        return state, samples

    def _run_nuts(self, bdata, p0, bounds, rng_seed, numbers, progress, kept):
        num_chains, num_steps, num_warmup = numbers.values()
        layout, limits, centre, factor, args = self._preconditioned(bdata, p0, bounds)
        if kept is not None:
            # The very numbers of the first call: a last bit would change every draw.
            if (found := kept.load("whitening")) is None:
                kept.save("whitening", [np.asarray(centre), np.asarray(factor)])
            else:
                centre, factor = map(jnp.asarray, found)
        key_start, key_run = jax.random.split(jax.random.key(rng_seed))
        starts = jax.random.normal(key_start, (num_chains, layout.size))
        starts = nuts.possible_starts(ln_whitened, (centre, factor, args), starts)
        seed = int(jax.random.randint(key_run, (), 0, 2**31 - 1))
        chains = nuts.sample_nuts(
            ln_whitened,
            (centre, factor, args),
            starts,
            seed,
            num_warmup,
            num_steps,
            progress,
            checkpoint=kept,
        )
        free = centre + jnp.asarray(chains.draws) @ factor.T
        draws = np.asarray(_constrain(limits, free.reshape(-1, layout.size)))
        return SampleState.of(chains, draws.reshape(free.shape), layout), Samples(draws, layout)

    def laplace_run_label(
        self,
        bdata: dict,
        p0: dict,
        bounds: dict | tuple | None = None,
        *,
        rng_seed: int = 0,
        num_draws: int = 1000,
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
        layout, limits, centre, factor, args = self._preconditioned(bdata, p0, bounds)
        found = laplace.weigh_normal(
            ln_whitened, (centre, factor, args), layout.size, max(2 * num_draws, 1000), rng_seed
        )
        # Systematic resampling: a draw of weight w is picked floor or ceil of num_draws w times.
        rng = np.random.default_rng([rng_seed, 1])
        steps = (rng.random() + np.arange(num_draws)) / num_draws
        total = np.cumsum(np.exp(found.ln_weights))
        picks = rng.permutation(np.minimum(np.searchsorted(total, steps), total.size - 1))
        free = np.asarray(centre) + found.draws[picks] @ np.asarray(factor).T
        draws = np.asarray(_constrain(limits, jnp.asarray(free)))
        seconds = time.perf_counter() - begin
        weighed = len(found.draws)
        state = LaplaceState.of(
            found.logdensity[picks], found.pareto_k, found.ess, weighed, num_draws, seconds
        )
        return state, Samples(draws, layout)

    def _problem(self, bdata: dict, params: dict, bounds: dict | tuple | None):
        """(layout, bounds, free parameters, arguments of the objectives) of a binned label."""
        params = self.floats(params)
        layout = Layout.of(params)
        limits = make_bounds(layout, params, bounds, self.given)
        pixels = read_map(bdata)
        check_places(self.given, pixels)
        args = (self, limits, layout, pad(pixels))
        return layout, limits, limits.free(layout.flatten(params)), args

    def _preconditioned(self, bdata: dict, p0: dict, bounds: dict | tuple | None):
        """The same, with the root of the covariance at the optimum `p0` before the last."""
        layout, limits, centre, args = self._problem(bdata, p0, bounds)
        near, limited = limits.inside(centre, 6.0)
        if any(limited):
            # An optimum at a bound has no curvature there; that of the free vector lies inside.
            centre, _, _ = optimize.minimise(minus_ln_posterior_free, near, args, 256)
        factor = laplace.laplace_factor(minus_ln_posterior_free, centre, args)
        return layout, limits, centre, factor, args

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
        choice(objective, "objective", OBJECTIVES)
        truth(inv, "inv")
        params = self.floats(params)
        layout, limits = self.unlimited(params)
        pixels = read_map(data, objective)
        args = (self, limits, layout, pixels if objective == "poisson" else pad(pixels))
        curvature = laplace.hessian(OBJECTIVES[objective], layout.flatten(params), args)
        factor = laplace.inverse_root(curvature)
        return curvature if inv else factor @ factor.T

    def get_crlb_uncertainties(self, params: dict, data: dict, objective: str = "gaussian") -> dict:
        """Standard deviations of the parameters, nested like them (see `get_crlb`)."""
        cov = self.get_crlb(params, data, objective)
        layout = Layout.of(self.floats(params))
        return jax.tree.map(np.asarray, layout.unflatten(jnp.sqrt(jnp.diag(cov))))

    def get_crlb_error_samples(
        self,
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
        cov = self.get_crlb(params, data, objective)
        params = self.floats(params)
        layout = Layout.of(params)
        rng = np.random.default_rng(seed)
        draws = rng.multivariate_normal(np.asarray(layout.flatten(params)), cov, size=size)
        return Samples(draws, layout) if list_of_samples else layout.unflatten(draws)

    unpack_bounds = staticmethod(unpack_bounds)


def check_seed(seed) -> int:
    """The seed as a number; a ``ValueError`` for one that is none or out of range."""
    return whole_number(seed, "the seed", 0, 2**63 - 1)


@eqx.filter_jit
def _constrain(bounds: Bounds, z: Array) -> Array:
    return jax.vmap(bounds.constrain)(z)
