"""Several NUTS chains in parallel threads, in blocks, with their diagnostics."""

import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats
from jaxtyping import Array, Float
from tqdm import tqdm

BLOCKS = 20


class Chains(NamedTuple):
    """Draws of a sampler, shape (chain, draw, parameter), with what is known of their quality."""

    draws: np.ndarray
    logdensity: np.ndarray
    diverging: np.ndarray
    steps: np.ndarray
    energy: np.ndarray
    step_size: np.ndarray
    seconds: float
    compile_seconds: float


@eqx.filter_jit
def _warm_up(ln_density: Callable, args: Any, start: Array, key: Array, n: int, target: float):
    adaptation = blackjax.window_adaptation(
        blackjax.nuts, lambda u: ln_density(u, args), target_acceptance_rate=target
    )
    (state, parameters), _ = adaptation.run(key, start, num_steps=n)
    return state, parameters["step_size"], parameters["inverse_mass_matrix"]


@eqx.filter_jit
def _block(ln_density: Callable, args: Any, state, step_size, mass, keys: Array):
    kernel = blackjax.nuts.build_kernel()

    def step(state, key):
        state, info = kernel(key, state, lambda u: ln_density(u, args), step_size, mass)
        kept = (
            state.position,
            state.logdensity,
            info.is_divergent,
            info.num_integration_steps,
            info.energy,
        )
        return state, kept

    return jax.lax.scan(step, state, keys)


def sample_nuts(
    ln_density: Callable[[Float[Array, " d"], Any], Float[Array, ""]],
    args: Any,
    starts: Float[Array, "c d"],
    seed: int,
    num_warmup: int,
    num_steps: int,
    progress: bool = False,
    target_acceptance: float = 0.8,
) -> Chains:
    """Draw from ``exp(ln_density(u, args))`` with one NUTS chain for each row of `starts`.

    The density should be close to a standard normal (precondition it): step size and a diagonal
    mass matrix are then adapted in `num_warmup` steps.  Chains run in threads, one for each
    core; a chain never waits for another, and its draws depend on its key alone.
    """
    begin = time.perf_counter()
    n_chains = starts.shape[0]
    keys = jax.random.split(jax.random.key(seed), (n_chains, 2))
    size = max(1, -(-num_steps // BLOCKS))
    blocks = [jax.random.split(keys[c, 1], num_steps) for c in range(n_chains)]
    with warnings.catch_warnings():
        # blackjax warns about its own use of deprecated functions; nothing a user can act on.
        warnings.simplefilter("ignore", DeprecationWarning)
        warm = _warm_up.lower(
            ln_density, args, starts[0], keys[0, 0], num_warmup, target_acceptance
        ).compile()
        shapes = eqx.filter_eval_shape(
            _warm_up, ln_density, args, starts[0], keys[0, 0], num_warmup, target_acceptance
        )
        like = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        compiled = {
            n: _block.lower(ln_density, args, *like, blocks[0][:n]).compile()
            for n in {min(size, num_steps), num_steps % size or size}
        }
    ready = time.perf_counter()
    bar = tqdm(
        total=n_chains * (num_warmup + num_steps), disable=not progress, desc="NUTS", unit="draw"
    )

    def run(c: int):
        state, step_size, mass = warm(
            ln_density, args, starts[c], keys[c, 0], num_warmup, target_acceptance
        )
        jax.block_until_ready(state)
        bar.update(num_warmup)
        out = []
        for i in range(0, num_steps, size):
            part = blocks[c][i : i + size]
            state, kept = compiled[len(part)](ln_density, args, state, step_size, mass, part)
            out.append(jax.tree.map(np.asarray, kept))
            bar.update(len(part))
        return [np.concatenate(x) for x in zip(*out, strict=True)], float(step_size)

    with ThreadPoolExecutor(min(n_chains, os.cpu_count() or 1)) as pool, bar:
        results = list(pool.map(run, range(n_chains)))
    columns = [np.stack(x) for x in zip(*(r[0] for r in results), strict=True)]
    return Chains(
        *columns,
        step_size=np.array([r[1] for r in results]),
        seconds=time.perf_counter() - ready,
        compile_seconds=ready - begin,
    )


def diagnostics(draws: np.ndarray) -> dict[str, np.ndarray]:
    """R-hat, bulk and tail effective sample size of draws with shape (chain, draw, parameter)."""
    move = np.moveaxis(draws, -1, 0)
    return {
        "rhat": np.asarray(array_stats.rhat(move)),
        "ess_bulk": np.asarray(array_stats.ess(move, method="bulk")),
        "ess_tail": np.asarray(array_stats.ess(move, method="tail", prob=(0.05, 0.95))),
    }


def energy_fraction(energy: np.ndarray) -> np.ndarray:
    """E-BFMI of each chain; below 0.3 the momentum resampling explores the energies poorly."""
    return np.asarray([np.mean(np.diff(e) ** 2) / np.var(e) for e in jnp.atleast_2d(energy)])
