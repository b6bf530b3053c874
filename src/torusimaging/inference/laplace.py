"""The normal approximation of a posterior at its maximum."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats
from jaxtyping import Array, Float
from scipy.stats import multivariate_t

from ..parallel import Threads, cores


@eqx.filter_jit
def _hessian(objective: Callable, z: Float[Array, " d"], args: Any) -> Float[Array, "d d"]:
    return jax.hessian(objective)(z, args)


def hessian(objective: Callable, z: Float[Array, " d"], args: Any) -> np.ndarray:
    """Second derivatives of ``objective(z, args)``, symmetric, shape (d, d)."""
    raw = np.asarray(_hessian(objective, z, args))
    return 0.5 * (raw + raw.T)


def inverse_root(curvature: np.ndarray) -> np.ndarray:
    """A matrix L with L L^T = the inverse of a symmetric positive definite matrix.

    Whether it is one is judged with its diagonal scaled to 1, so parameters may be of any scale.
    Raises ``ValueError`` where it is not.
    """
    diagonal = np.diag(curvature)
    smallest = np.min(diagonal)
    if np.all(np.isfinite(curvature)) and smallest > 0:
        scale = 1 / np.sqrt(diagonal)
        values, vectors = np.linalg.eigh(curvature * scale * scale[:, None])
        if values[0] > 1e-12 * values[-1]:
            return scale[:, None] * vectors / np.sqrt(values)
        smallest = values[0]
    raise ValueError(
        "the curvature of the posterior is not positive in every direction "
        f"(smallest eigenvalue {smallest:.3g}): optimise first, or use a tighter prior."
    )


FLOOR = 700.0  # ln weights are at most this far below the largest: exp of it is still a number
# Draws whose densities one compiled program gives, however many are asked for.
CHUNK = 256
# Proposals, the degrees of freedom of those after the first, and how much wider they are.
STAGES, TAIL, WIDER = 5, 10.0, 1.1
# Where these leave the weights' tail at a Pareto k above `GOOD`, as many again are made as bring it
# below, up to `MOST_STAGES`.
MOST_STAGES, GOOD = 20, 0.5
# Distances along the axes, in standard deviations, at which the first proposal is made as wide as
# the density; and the widest it may be.
DISTANCES, WIDEST = np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]), 4.0


class Weighted(NamedTuple):
    """Draws of whitened parameters, with the ln posterior there and smoothed weights.

    `ln_ratio` are the raw ln weights, none more than 700 below the largest; `ln_weights` are
    smoothed and normalised; `pareto_k` is the shape of the tail of the raw ones; `ln_mean`, the ln
    of the smoothed weights' mean, estimates that of the integral of the posterior over w.
    """

    draws: np.ndarray
    logdensity: np.ndarray
    ln_ratio: np.ndarray
    ln_weights: np.ndarray
    pareto_k: float
    ln_mean: float

    @property
    def ess(self) -> float:
        """Effective number of draws, 1 / sum of the squared weights."""
        return float(1 / np.sum(np.exp(2 * self.ln_weights)))


@eqx.filter_jit
def ln_densities(ln_density: Callable, draws: Float[Array, "n d"], args: Any) -> Array:
    return jax.lax.map(lambda w: ln_density(w, args), draws, batch_size=16)


def _evaluate(ln_density: Callable, draws: np.ndarray, args: Any, threads: int = 1) -> np.ndarray:
    """ln densities, -inf where they are not finite; parts of the draws by several threads."""
    size, d = draws.shape
    parts = jnp.asarray(np.pad(draws, ((0, -size % CHUNK), (0, 0)))).reshape(-1, CHUNK, d)
    with Threads(threads) as pool:
        found = pool.map(lambda part: np.asarray(ln_densities(ln_density, part, args)), parts)
        out = np.concatenate(list(found))[:size]
    return np.where(np.isfinite(out), out, -np.inf)


def _smooth(ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Raw ln weights, none far below the largest, smoothed normalised ones, and Pareto k."""
    if not np.isfinite(ratio).any():
        raise ValueError("the posterior is not finite at any draw of its normal approximation.")
    ratio = np.maximum(ratio, ratio.max() - FLOOR)
    if np.ptp(ratio) < 1e-9:
        # The posterior is normal itself: the weights have no tail.
        return ratio, np.full(ratio.size, -np.log(ratio.size)), -np.inf
    # It takes minus the ln ratio, as leave-one-out cross-validation has it.
    with np.errstate(divide="ignore", invalid="ignore"):
        ln_weights, k = array_stats.psislw(ratio.max() - ratio)
    ln_weights = np.asarray(ln_weights)
    if np.isnan(k) or not np.isfinite(ln_weights).all():
        # Nearly every draw has no weight: there is no tail to fit, and nothing to trust.
        ln_weights, k = ratio, np.inf
    return ratio, ln_weights - np.logaddexp.reduce(ln_weights), float(k)


class SplitNormal(NamedTuple):
    """A normal with a width of its own on either side of 0 along each axis, shape (d,) both."""

    below: np.ndarray
    above: np.ndarray

    @classmethod
    def about(cls, ln_density: Callable, args: Any, d: int) -> "SplitNormal":
        r"""As wide as the density falls off: max over the distances x of x / sqrt(2 [f(0) - f(x)]).

        With f the ln density along one axis and the others at 0, no such normal is narrower than
        the density at any of the distances (Geweke 1989, Econometrica 57, 1317, section 5).
        """
        steps = np.concatenate([[0.0], -DISTANCES, DISTANCES])
        places = np.concatenate([np.outer(steps, unit) for unit in np.eye(d)])
        f = _evaluate(ln_density, places, args).reshape(d, -1)
        with np.errstate(divide="ignore"):
            fall = np.maximum(f[:, :1] - f[:, 1:], 1e-12)
            widths = np.abs(steps[1:]) / np.sqrt(2 * fall)
        widths = np.clip(widths.reshape(d, 2, -1).max(axis=-1), 1.0, WIDEST)
        return cls(widths[:, 0], widths[:, 1])

    def rvs(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """`n` draws, shape (n, d)."""
        up = rng.random((n, self.above.size)) * (self.below + self.above) < self.above
        x = np.abs(rng.standard_normal(up.shape))
        return np.where(up, x * self.above, -x * self.below)

    def logpdf(self, x: np.ndarray) -> np.ndarray:
        """ln density of draws with shape (n, d)."""
        scaled = x / np.where(x > 0, self.above, self.below)
        ln_norm = np.log(np.sqrt(2 / np.pi) / (self.below + self.above)).sum()
        return ln_norm - 0.5 * np.sum(scaled**2, axis=-1)


class StudentT(NamedTuple):
    """A Student t with `TAIL` degrees of freedom and a given mean and covariance."""

    mean: np.ndarray
    covariance: np.ndarray

    def _law(self):
        return multivariate_t(self.mean, self.covariance * (TAIL - 2) / TAIL, df=TAIL)

    def rvs(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """`n` draws, shape (n, d)."""
        return np.reshape(self._law().rvs(n, random_state=rng), (n, self.mean.size))

    def logpdf(self, x: np.ndarray) -> np.ndarray:
        """ln density of draws with shape (n, d)."""
        return np.reshape(self._law().logpdf(x), len(x))


def weigh_normal(ln_density: Callable, args: Any, d: int, size: int, seed: int) -> Weighted:
    r"""Weighted draws of ``exp(ln_density(w, args))``, for a density close to a standard normal.

    The first fifth of `size` draws is of a normal that is as wide along each axis, to either side,
    as the density (`SplitNormal`): the tails of parameters that only the prior bounds are not cut
    off.  Each further fifth is of a Student t with the mean and covariance of those before as
    weighted; as long as Pareto's k is above 0.5 more of them follow, up to three times `size`.
    With q_s the n proposals, all draws have the weight exp(ln_density) / [(1/n) \sum_s q_s]
    (adaptive importance sampling with mixture weights: Cornuet et al. 2012, arXiv:0907.1254).  The
    raw weights' tail is smoothed by a generalised Pareto fit, whose shape k says whether they can
    be trusted: below 0.7 they can (Vehtari et al. 2024, arXiv:1507.02646).  A draw where the
    density is not finite has no weight.
    """
    rng = np.random.default_rng(seed)
    later = size // STAGES
    sizes = [size - later * (STAGES - 1), *[later] * (MOST_STAGES - 1)]
    proposal: SplitNormal | StudentT = SplitNormal.about(ln_density, args, d)
    ratio, ln_weights, k = np.zeros(0), np.zeros(0), np.nan
    draws, logdensity, proposals = np.zeros((0, d)), np.zeros(0), []
    for stage, n in enumerate(sizes):
        if stage >= STAGES and k < GOOD:
            break
        proposals.append(proposal)
        new = proposal.rvs(n, rng)
        draws = np.concatenate([draws, new])
        # The program is compiled by now: threads would each compile one of their own.
        found = _evaluate(ln_density, new, args, cores())
        logdensity = np.concatenate([logdensity, found])
        terms = [
            np.log(m / len(draws)) + q.logpdf(draws) for m, q in zip(sizes, proposals, strict=False)
        ]
        ratio, ln_weights, k = _smooth(logdensity - np.logaddexp.reduce(terms, axis=0))
        weights = np.exp(ln_weights)
        mean, trust = weights @ draws, 1 / np.sum(weights**2)
        spread = (draws - mean).T @ ((draws - mean) * weights[:, None])
        # Few effective draws say little of a covariance: the normal's at the start then stays.
        proposal = StudentT(mean, WIDER * (trust * spread + d * np.eye(d)) / (trust + d))
    # Smoothing leaves the middle draw alone: there the two differ by the normalisation.
    middle = np.argsort(ratio)[ratio.size // 2]
    ln_mean = float(ratio[middle] - ln_weights[middle] - np.log(ratio.size))
    return Weighted(draws, logdensity, ratio, ln_weights, k, ln_mean)
