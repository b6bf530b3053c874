"""Several NUTS chains in parallel threads, in blocks, with their diagnostics."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import wait
from typing import Any, NamedTuple

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats
from blackjax.adaptation.mass_matrix import mass_matrix_adaptation
from blackjax.adaptation.step_size import dual_averaging_adaptation
from blackjax.adaptation.window_adaptation import build_schedule
from jaxtyping import Array, Float
from tqdm import tqdm

from ..clock import duration
from ..parallel import Threads, cores
from .checkpoint import Checkpoint
from .laplace import ln_densities

# Blocks of a run, and the most steps of one.
BLOCKS, LONGEST = 20, 250
# A chain is hopeless where its last `LOOKED_AT` draws, and those of its last block, took more than
# so many leapfrog steps on average (a tree has at most 1023), or where its step size is that small.
TOO_MANY, LOOKED_AT, TOO_SMALL = 512, 64, 1e-8
# Seconds between two looks at the effective sample size while a run goes on.
LOOK = 1.0
# What a block keeps of each draw, before the chain's state: see `Chains`.
COLUMNS = ("draws", "logdensity", "diverging", "steps", "energy")


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


class _Chain(NamedTuple):
    """A chain between two draws: its state and what the warm-up has adapted so far."""

    state: Any
    step_size: Float[Array, ""]
    mass: Float[Array, " d"]
    dual: Any
    welford: Any


@eqx.filter_jit
def _start(ln_density: Callable, args: Any, position: Array) -> _Chain:
    state = blackjax.nuts.init(position, lambda u: ln_density(u, args))
    one = jnp.ones((), position.dtype)
    welford = mass_matrix_adaptation(True)[0](position.size)
    dual = dual_averaging_adaptation(0.5)[0](one)
    # Counters start as Python integers, which the compiled block would take for constants.
    dual, welford = jax.tree.map(jnp.asarray, (dual, welford))
    return _Chain(state, one, welford.inverse_mass_matrix, dual, welford)


def _adapt(chain: _Chain, acceptance: Array, stage: Array, target: float) -> _Chain:
    """One step of Stan's window adaptation.

    `stage` holds whether the window is slow (the mass matrix learns), whether this is its last
    step, and whether this is the last step of the warm-up.
    """
    slow, window_ends, warm_up_ends = stage
    _, learn, estimate = mass_matrix_adaptation(True)
    restart, update, final = dual_averaging_adaptation(target)
    dual, welford = update(chain.dual, acceptance), chain.welford
    welford = _select(slow, learn(welford, chain.state.position), welford)
    welford = _select(window_ends, estimate(welford), welford)
    dual = _select(window_ends, restart(final(dual)), dual)
    step_size = jnp.where(warm_up_ends, final(dual), jnp.exp(dual.log_step_size))
    return _Chain(chain.state, step_size, welford.inverse_mass_matrix, dual, welford)


def _select(flag: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), new, old)


@eqx.filter_jit
def _block(
    ln_density: Callable, args: Any, chain: _Chain, keys: Array, stages: Any, n: Any, target
) -> tuple[_Chain, tuple]:
    """The first `n` draws with `keys`, each followed by an adaptation where its stage asks so.

    `n` is an argument, so one program serves the warm-up, the draws and a last, shorter block.
    """
    kernel = blackjax.nuts.build_kernel()

    def draw(i, carry):
        chain, kept = carry
        state, info = kernel(
            keys[i], chain.state, lambda u: ln_density(u, args), chain.step_size, chain.mass
        )
        chain = chain._replace(state=state)
        adapted = _adapt(chain, info.acceptance_rate, stages[i, 1:], target)
        new = (
            state.position,
            state.logdensity,
            info.is_divergent,
            info.num_integration_steps,
            info.energy,
        )
        kept = jax.tree.map(lambda column, x: column.at[i].set(x), kept, new)
        return _select(stages[i, 0], adapted, chain), kept

    size, scalar = keys.shape[0], chain.state.logdensity.dtype
    kept = (
        jnp.zeros((size, chain.mass.size), scalar),
        jnp.zeros(size, scalar),
        jnp.zeros(size, bool),
        jnp.zeros(size, int),
        jnp.zeros(size, scalar),
    )
    return jax.lax.fori_loop(0, n, draw, (chain, kept))


def _stages(num_warmup: int, num_steps: int) -> np.ndarray:
    """Flags of every step: adapts, slow window, a window's last step, the warm-up's last step."""
    out = np.zeros((num_warmup + num_steps, 4), bool)
    out[:num_warmup, 0] = True
    out[:num_warmup, 1:3] = np.asarray(build_schedule(num_warmup))
    out[num_warmup - 1, 3] = True
    return out


class Progress(NamedTuple):
    """How far a run is: steps of all chains, divergences, effective draws, seconds left."""

    done: int
    total: int
    chains: int
    divergences: int
    ess: float
    seconds_left: float

    def __str__(self) -> str:
        # The most wanted first: what does not fit on a terminal is cut at the end.
        step, steps = self.done // self.chains, self.total // self.chains
        text = (
            f"{self.chains} chain{'s' * (self.chains > 1)}, step {step}/{steps}, "
            f"{self.divergences} divergence{'s' * (self.divergences != 1)}"
        )
        if np.isfinite(self.seconds_left):
            text += f", {duration(self.seconds_left)} left"
        return text + (f", ESS {self.ess:.0f}" if np.isfinite(self.ess) else ", warming up")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run; the message says what was kept."""


# Set while a run that was interrupted finishes the blocks under way.
stopping = threading.Event()


class _Watch:
    """Counts the blocks that chains finish, and reports them."""

    def __init__(self, n_chains: int, num_warmup: int, total: int, report: Callable | None):
        self.begin, self.lock = time.perf_counter(), threading.Lock()
        self.stop = threading.Event()
        self.warmup, self.report = num_warmup, report
        self.draws: list[list[np.ndarray]] = [[] for _ in range(n_chains)]
        self.progress = Progress(0, n_chains * total, n_chains, 0, np.nan, np.inf)
        self.resumed, self.looked = 0, 0.0

    def add(self, c: int, first: int, kept: list[np.ndarray], resumed: bool = False) -> None:
        """Count the block of chain `c` that begins at step `first`."""
        n, skip = len(kept[1]), max(0, self.warmup - first)
        with self.lock:
            self.draws[c].append(kept[0][skip:])
            self.resumed += n * resumed
            done = self.progress.done + n
            new = done - self.resumed
            elapsed = time.perf_counter() - self.begin
            left = (self.progress.total - done) * elapsed / new if new else np.inf
            ess = self.progress.ess
            due = elapsed - self.looked > LOOK or done == self.progress.total
            if self.report is not None and due:
                self.looked, ess = elapsed, self._ess()
            bad = self.progress.divergences + int(kept[2][skip:].sum())
            self.progress = self.progress._replace(
                done=done, divergences=bad, ess=ess, seconds_left=left
            )
            if self.report is not None:
                self.report(self.progress)

    def _ess(self) -> float:
        """The smallest bulk ESS of the chains that draw already: some wait for a core."""
        chains = [np.concatenate(x) for x in self.draws if x and sum(map(len, x)) >= 8]
        if not chains:
            return np.nan
        n = min(map(len, chains))
        return float(np.min(diagnostics(np.stack([x[:n] for x in chains]))["ess_bulk"]))


def _keys_of(seed: int, n_chains: int, num_warmup: int, num_steps: int) -> list[Array]:
    """One key for each step of each chain, whatever the blocks."""
    out = []
    for first, second in jax.random.split(jax.random.key(seed), (n_chains, 2)):
        parts = [jax.random.split(first, num_warmup), jax.random.split(second, num_steps)]
        out.append(jnp.concatenate(parts))
    return out


def _check_work(c: int, blocks: list[list[np.ndarray]], step_size: float, free: int) -> None:
    """Raise a ``RuntimeError`` for a chain that gets nowhere; its first `free` draws may be slow.

    So no run takes more than about `TOO_MANY` leapfrog steps a draw.
    """
    steps = np.concatenate([block[COLUMNS.index("steps")] for block in blocks])[free:]
    size = len(blocks[-1][0])
    last, newest = steps[-max(LOOKED_AT, size) :], steps[-size:]
    # A chain that has just learnt its scales is not ended for the draws before.
    slow = last.size >= LOOKED_AT and min(last.mean(), newest.mean()) > TOO_MANY
    if slow or (steps.size and not step_size > TOO_SMALL):
        raise RuntimeError(
            f"chain {c + 1} gets nowhere: a draw takes {last.mean():.0f} leapfrog steps of size "
            f"{step_size:.2g} (about 1 is usual), so NUTS cannot follow this posterior; start at "
            "the optimum, or use fewer knots, narrower priors or a map that says more."
        )


def sample_nuts(
    ln_density: Callable[[Float[Array, " d"], Any], Float[Array, ""]],
    args: Any,
    starts: Float[Array, "c d"],
    seed: int,
    num_warmup: int,
    num_steps: int,
    progress: bool | Callable[[Progress], None] = False,
    target_acceptance: float = 0.8,
    checkpoint: Checkpoint | None = None,
) -> Chains:
    """Draw from ``exp(ln_density(u, args))`` with one NUTS chain for each row of `starts`.

    The density should be close to a standard normal (precondition it): step size and a diagonal
    mass matrix are then adapted in `num_warmup` steps.  Chains run in threads, one for each
    core; a chain never waits for another, and its draws depend on its key alone.  `progress` is
    whether to show a bar on a terminal, or a function called with the state of the run.

    A `checkpoint` keeps each block of steps; those that it holds are not drawn again, so a run
    that was killed ends with the same draws.  Raises `Interrupted` on Ctrl-C, when the blocks
    under way are finished, and ``RuntimeError`` for a chain that gets nowhere.
    """
    begin = time.perf_counter()
    n_chains, total = starts.shape[0], num_warmup + num_steps
    size = min(-(-total // BLOCKS), LONGEST)
    padding = -total % size
    streams = [
        keys[jnp.arange(total + padding) % total]
        for keys in _keys_of(seed, n_chains, num_warmup, num_steps)
    ]
    stages = np.pad(_stages(num_warmup, num_steps), ((0, padding), (0, 0)))
    start = _start.lower(ln_density, args, starts[0]).compile()
    chain = start(ln_density, args, starts[0])
    block = _block.lower(
        ln_density, args, chain, streams[0][:size], stages[:size], np.int64(size), target_acceptance
    ).compile()
    structure = jax.tree.structure(chain)
    ready = time.perf_counter()
    bar = tqdm(
        total=n_chains * total,
        disable=None if progress is True else True,
        bar_format="{percentage:3.0f}%|{bar}| {desc}",
    )

    def show(state: Progress) -> None:
        bar.update(state.done - bar.n)
        bar.set_description_str(str(state))

    shown = progress is True and not bar.disable
    watch = _Watch(
        n_chains, num_warmup, total, progress if callable(progress) else show if shown else None
    )

    if watch.report is not None:
        watch.report(watch.progress)

    def run(c: int):
        chain, out = start(ln_density, args, starts[c]), []
        for i in range(0, total, size):
            name = f"chain-{c}-step-{i}"
            found = checkpoint.load(name) if checkpoint else None
            if found:
                kept = found[: len(COLUMNS)]
                chain = jax.tree.unflatten(structure, map(jnp.asarray, found[len(COLUMNS) :]))
            elif watch.stop.is_set():
                return None
            else:
                n, part = min(size, total - i), slice(i, i + size)
                chain, columns = block(
                    ln_density,
                    args,
                    chain,
                    streams[c][part],
                    stages[part],
                    np.int64(n),
                    target_acceptance,
                )
                kept = [np.asarray(column)[:n] for column in columns]
                if checkpoint:
                    checkpoint.save(name, [*kept, *map(np.asarray, jax.tree.leaves(chain))])
            out.append(kept)
            try:
                _check_work(c, out, float(chain.step_size), num_warmup // 2)
            except RuntimeError:
                watch.stop.set()
                raise
            watch.add(c, i, kept, resumed=found is not None)
        columns = [np.concatenate(x)[num_warmup:] for x in zip(*out, strict=True)]
        return columns, float(chain.step_size)

    with Threads(min(n_chains, cores())) as pool, bar:
        futures = [pool.submit(run, c) for c in range(n_chains)]
        try:
            results = [future.result() for future in futures]
        except KeyboardInterrupt:
            stopping.set()
            watch.stop.set()
            wait(futures)
            where = f"; {checkpoint.folder} keeps them" if checkpoint else ""
            raise Interrupted(f"sampling stopped at {watch.progress}{where}") from None
        finally:
            watch.stop.set()
            stopping.clear()
    done = [r for r in results if r is not None]
    columns = [np.stack(x) for x in zip(*(r[0] for r in done), strict=True)]
    return Chains(
        *columns,
        step_size=np.array([r[1] for r in done]),
        seconds=time.perf_counter() - ready,
        compile_seconds=ready - begin,
    )


def possible_starts(ln_density: Callable, args: Any, starts: Float[Array, "c d"]) -> Array:
    """`starts`, those without probability moved towards 0, where there is some, until they have it.

    Raises ``ValueError`` where 20 halvings do not help.
    """
    for _ in range(20):
        good = jnp.isfinite(ln_densities(ln_density, starts, args))
        if good.all():
            return starts
        starts = jnp.where(good[:, None], starts, 0.5 * starts)
    raise ValueError("the start of the chains has no probability: optimise first.")


def diagnostics(draws: np.ndarray) -> dict[str, np.ndarray]:
    """R-hat, bulk and tail effective sample size of draws with shape (chain, draw, parameter).

    The R-hat of one chain is that of its halves; where no chain moved it is NaN.
    """
    move = np.moveaxis(draws, -1, 0)
    halves = move
    if draws.shape[0] == 1:
        half = draws.shape[1] // 2
        halves = move[..., : 2 * half].reshape(len(move), 2, half)
    # Draws that are all the same divide zero by zero, which numpy would remark on.
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "rhat": np.asarray(array_stats.rhat(halves)),
            "ess_bulk": np.asarray(array_stats.ess(move, method="bulk")),
            "ess_tail": np.asarray(array_stats.ess(move, method="tail", prob=(0.05, 0.95))),
        }


def energy_fraction(energy: np.ndarray) -> np.ndarray:
    """E-BFMI of each chain; below 0.3 the momentum resampling explores the energies poorly.

    One draw tells nothing: NaN.
    """
    if np.shape(energy)[-1] < 2:
        return np.full(len(np.atleast_2d(energy)), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray([np.mean(np.diff(e) ** 2) / np.var(e) for e in np.atleast_2d(energy)])
