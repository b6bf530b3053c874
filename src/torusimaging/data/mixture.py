r"""The density of stars in the plane, freed of their errors, and where each star truly is.

A star is seen at x with errors of covariance C.  Of the true places w the density is fitted as a
mixture of normals with weights a_j, means m_j and covariances V_j by expectation and maximisation:
with T = V_j + C,

    q_j = a_j N(x | m_j, T) / sum of these,
    b_j = m_j + V_j T^-1 (x - m_j),   B_j = V_j - V_j T^-1 V_j,

a_j is the mean of q_j, m_j that of b_j weighted by q_j, V_j that of (b_j - m_j)(b_j - m_j)^T + B_j.
The true place of a star then follows the mixture of N(b_j, B_j) with weights q_j; it is taken as
the normal of the same mean and covariance.  With a flat prior of the true places instead, which is
N(x, C), a label's slope in them would come out too shallow.

Source: Bovy, Hogg & Roweis 2011, Ann. Appl. Stat. 5, 1657.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

# Numbers of normals that are tried, stars of which the density is fitted, and steps of the fit.
NUMBERS, MOST_STARS, STEPS = (2, 4, 8, 12), 20_000, 300
# The columns of single stars with their covariance of pos and vel.
SPREADS = ("pos_var", "vel_var", "pos_vel_cov")
FLOOR = 1e-4  # of the stars' variance: no normal is narrower
# Gauss-Hermite nodes along an axis of a star's error ellipse, for a weight of exp(-x^2 / 2).
NODES = 3
_AT, _WEIGHT = np.polynomial.hermite_e.hermegauss(NODES)
# Nodes of an error of the distance, of which those that make it four times as large do not count.
_FAR, _FAR_WEIGHT = np.polynomial.hermite_e.hermegauss(15)
_LN_FAR = np.log(_FAR_WEIGHT / _FAR_WEIGHT.sum())
NEAREST = 0.25
WEIGHTS = np.outer(_WEIGHT, _WEIGHT).ravel() / _WEIGHT.sum() ** 2


class Mixture(NamedTuple):
    """Normals in the plane: weights, shape (k,), means (k, 2), variances and covariance (k, 3).

    The three are of pos, of vel, and of both.
    """

    weights: NDArray
    means: NDArray
    spreads: NDArray

    @classmethod
    def fitted(
        cls,
        pos: NDArray,
        vel: NDArray,
        errors: NDArray,
        distance_err: NDArray | None = None,
        seed: int = 0,
    ) -> "Mixture":
        """The mixture of stars at (pos, vel) with errors, shape (n, 3), as `spreads`.

        The number of normals is that of the smallest Bayesian information criterion.
        """
        rng = np.random.default_rng(seed)
        n, most = pos.size, MOST_STARS if distance_err is None else MOST_STARS // 4
        picks = rng.permutation(n)[:most] if n > most else np.arange(n)
        seen, own = np.stack([pos, vel])[:, picks], errors[picks].T
        places, ln_weights, rest = seen[:, None], np.zeros((1, picks.size)), own
        if distance_err is not None:
            shares = distance_err[picks]
            parts = DistanceErrors.of(seen, errors[picks], shares)
            (places, ln_weights), rest = parts.at_nodes(seen, shares), parts.rest
        middle, scale = np.median(seen, axis=1), seen.std(axis=1)
        places = (places - middle[:, None, None]) / scale[:, None, None]
        x = (seen - middle[:, None]) / scale[:, None]
        unit = np.array([scale[0] ** 2, scale[1] ** 2, scale[0] * scale[1]])
        data = tuple(map(jnp.asarray, (places, ln_weights, rest / unit[:, None])))
        best = None
        for k in NUMBERS:
            if 6 * k >= x.shape[1]:
                break
            # Normals of all sizes about places of the stars' own.
            first = (
                jnp.full(k, 1 / k),
                jnp.asarray(0.3 * x[:, rng.choice(x.shape[1], k, replace=False)].T),
                jnp.outer(jnp.geomspace(0.05, 2.0, k), jnp.array([1.0, 1.0, 0.0])),
            )
            found, ln = _fit(data, first)
            criterion = -2 * float(ln) + (6 * k - 1) * np.log(x.shape[1])
            if np.isfinite(criterion) and (best is None or criterion < best[0]):
                best = criterion, found
        if best is None:
            raise ValueError(
                f"stars with errors of pos and vel must be at least {6 * NUMBERS[0] + 1}, for the "
                f"density that tells where they truly are, but there are {n}."
            )
        weights, means, spreads = map(np.asarray, best[1])
        return cls(weights, middle + means * scale, spreads * unit)

    def table(self) -> NDArray:
        """All numbers, shape (k, 6)."""
        return np.column_stack(self)

    @classmethod
    def of_table(cls, table: NDArray) -> "Mixture":
        """The mixture of `table`."""
        return cls(table[:, 0], table[:, 1:3], table[:, 3:])

    def true_places(
        self, pos: NDArray, vel: NDArray, errors: NDArray, distance_err: NDArray | None = None
    ) -> tuple[NDArray, NDArray]:
        """Means, shape (2, n), and spreads, shape (3, n), of the stars' true places.

        With `distance_err`, shape (n,), the distances' relative errors (see `DistanceErrors`).
        """
        own, seen = tuple(map(jnp.asarray, self)), np.stack([pos, vel])
        if distance_err is None:
            _, mean, spread = _posterior(own, jnp.asarray(seen), jnp.asarray(errors.T))
            return np.asarray(mean), np.asarray(spread)
        parts = DistanceErrors.of(seen, errors, distance_err)
        places, ln_weights = parts.at_nodes(seen, distance_err)
        ln, means, spreads = [], [], []
        for k, ln_weight in enumerate(ln_weights):
            found = _posterior(own, jnp.asarray(places[:, k]), jnp.asarray(parts.rest))
            evidence, mean, spread = map(np.asarray, found)
            ln.append(ln_weight + evidence)
            means.append(mean)
            spreads.append(spread)
        weight = np.exp(np.array(ln) - np.max(ln, axis=0))
        weight /= weight.sum(axis=0)
        mean = np.einsum("qn,qin->in", weight, means)
        off = np.array(means) - mean
        own_spread = np.einsum("qn,qin->in", weight, spreads)
        pairs = (off[:, 0] ** 2, off[:, 1] ** 2, off[:, 0] * off[:, 1])
        return mean, own_spread + np.array([np.sum(weight * x, axis=0) for x in pairs])


class DistanceErrors(NamedTuple):
    """Errors of distances D that are seen as D (1 + f t), t of a standard normal, and others.

    A star's pos, and the part of vel that is a proper motion times the distance, grow with it; that
    part is the covariance of pos and vel over the variance of pos, times pos.

    Attributes
    ----------
    grows : of (pos, vel) what grows with the distance, shape (2, n)
    rest : the covariance that is left, shape (3, n)
    """

    grows: NDArray
    rest: NDArray

    @classmethod
    def of(cls, seen: NDArray, errors: NDArray, distance_err: NDArray) -> "DistanceErrors":
        """The parts of errors, shape (n, 3), of stars seen at (pos, vel)."""
        one, two, both = errors.T
        part = np.where(one > 0, both / np.where(one > 0, one, 1.0), 0.0) * seen[0]
        grows = np.stack([seen[0], part])
        rest = np.maximum(np.stack([one, two]) - (distance_err * grows) ** 2, 0.0)
        return cls(grows, np.concatenate([rest, np.zeros((1, part.size))]))

    def at_nodes(self, seen: NDArray, distance_err: NDArray) -> tuple[NDArray, NDArray]:
        """True places at the nodes of t, shape (2, nodes, n), and ln of their weights without a
        density, shape (nodes, n).

        D is D_seen / (1 + f t): the likelihood is normal in t with an sd of f D, and dD goes as
        (1 + f t)^-2, so that the weight is that of t over 1 + f t.
        """
        factor = 1 + np.multiply.outer(_FAR, distance_err)
        known = factor > NEAREST
        factor = np.where(known, factor, 1.0)
        ln = np.where(known, _LN_FAR[:, None] - np.log(factor), -np.inf)
        return seen[:, None] + self.grows[:, None] * (1 / factor - 1), ln


def nodes(mean: NDArray, spread: NDArray) -> NDArray:
    """Places in each star's normal, shape (2, nodes, n), of the probabilities `WEIGHTS`."""
    long = np.sqrt(np.maximum(spread[0], 0.0))
    lean = np.where(long > 0, spread[2] / np.where(long > 0, long, 1.0), 0.0)
    wide = np.sqrt(np.maximum(spread[1] - lean**2, 0.0))
    one, two = (x.ravel()[:, None] for x in np.meshgrid(_AT, _AT, indexing="ij"))
    return np.stack([mean[0] + long * one, mean[1] + lean * one + wide * two])


def _terms(mixture: tuple, x: Array, errors: Array) -> tuple[Array, tuple, tuple]:
    """ln of a_j N(x | m_j, T), shape (k, n), the b_j and the B_j, each a tuple of such."""
    weights, means, spreads = mixture
    v0, v1, v2 = (s[:, None] for s in spreads.T)
    t0, t1, t2 = v0 + errors[0], v1 + errors[1], v2 + errors[2]
    det = t0 * t1 - t2**2
    d0, d1 = x[0] - means[:, :1], x[1] - means[:, 1:]
    # The two rows of V T^-1.
    g00, g01 = (v0 * t1 - v2 * t2) / det, (v2 * t0 - v0 * t2) / det
    g10, g11 = (v2 * t1 - v1 * t2) / det, (v1 * t0 - v2 * t2) / det
    chi2 = (d0**2 * t1 - 2 * d0 * d1 * t2 + d1**2 * t0) / det
    ln = jnp.log(weights)[:, None] - 0.5 * chi2 - 0.5 * jnp.log(det) - np.log(2 * np.pi)
    b = means[:, :1] + g00 * d0 + g01 * d1, means[:, 1:] + g10 * d0 + g11 * d1
    own = v0 - g00 * v0 - g01 * v2, v1 - g10 * v2 - g11 * v1, v2 - g00 * v2 - g01 * v1
    return ln, b, own


@jax.jit
def _fit(data: tuple, first: tuple) -> tuple[tuple, Array]:
    """The mixture after `STEPS` steps from the first, and its ln likelihood.

    `data` are places, shape (2, q, n), ln of their weights, (q, n), and errors, (3, n): a star is
    at one of q places.
    """
    places, ln_weights, errors = data
    q, n = ln_weights.shape
    x, every = places.reshape(2, -1), jnp.tile(errors, q)

    def terms(mixture):
        ln, b, own = _terms(mixture, x, every)
        return (ln.reshape(-1, q, n) + ln_weights).reshape(-1, n), b, own

    def step(mixture, _):
        ln, (b0, b1), (c0, c1, c2) = terms(mixture)
        shares = jax.nn.softmax(ln, axis=0).reshape(-1, q * n)
        number = jnp.maximum(shares.sum(axis=1), 1e-10)
        m0, m1 = (jnp.sum(shares * b, axis=1) / number for b in (b0, b1))
        e0, e1 = b0 - m0[:, None], b1 - m1[:, None]
        spreads = [
            jnp.sum(shares * (one + c), axis=1) / number
            for one, c in ((e0**2, c0), (e1**2, c1), (e0 * e1, c2))
        ]
        spreads = [spreads[0] + FLOOR, spreads[1] + FLOOR, spreads[2]]
        means, spreads = jnp.stack([m0, m1], axis=1), jnp.stack(spreads, axis=1)
        return (number / number.sum(), means, spreads), None

    mixture = jax.lax.scan(step, first, length=STEPS)[0]
    return mixture, jnp.sum(jax.nn.logsumexp(terms(mixture)[0], axis=0))


@jax.jit
def _posterior(mixture: tuple, x: Array, errors: Array) -> tuple[Array, Array, Array]:
    """ln density of stars seen at x, and mean and spread of their true places."""
    ln, (b0, b1), (c0, c1, c2) = _terms(mixture, x, errors)
    q = jax.nn.softmax(ln, axis=0)
    m0, m1 = jnp.sum(q * b0, axis=0), jnp.sum(q * b1, axis=0)
    e0, e1 = b0 - m0, b1 - m1
    spread = [
        jnp.sum(q * (one + c), axis=0) for one, c in ((e0**2, c0), (e1**2, c1), (e0 * e1, c2))
    ]
    return jax.nn.logsumexp(ln, axis=0), jnp.stack([m0, m1]), jnp.stack(spread)
