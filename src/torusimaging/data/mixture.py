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
WEIGHTS = np.outer(_WEIGHT, _WEIGHT).ravel() / _WEIGHT.sum() ** 2


class Mixture(NamedTuple):
    """Normals in the plane: weights, shape (k,), means (k, 2), variances and covariance (k, 3).

    The three are of pos, of vel, and of both.
    """

    weights: NDArray
    means: NDArray
    spreads: NDArray

    @classmethod
    def fitted(cls, pos: NDArray, vel: NDArray, errors: NDArray, seed: int = 0) -> "Mixture":
        """The mixture of stars at (pos, vel) with errors, shape (n, 3), as `spreads`.

        The number of normals is that of the smallest Bayesian information criterion.
        """
        rng = np.random.default_rng(seed)
        n = pos.size
        picks = rng.permutation(n)[:MOST_STARS] if n > MOST_STARS else np.arange(n)
        x = np.stack([pos, vel])[:, picks]
        middle, scale = np.median(x, axis=1), x.std(axis=1)
        x = (x - middle[:, None]) / scale[:, None]
        unit = np.array([scale[0] ** 2, scale[1] ** 2, scale[0] * scale[1]])
        own = jnp.asarray(errors[picks].T / unit[:, None])
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
            found, ln = _fit(jnp.asarray(x), own, first)
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

    def true_places(self, pos: NDArray, vel: NDArray, errors: NDArray) -> tuple[NDArray, NDArray]:
        """Means, shape (2, n), and spreads, shape (3, n), of the stars' true places."""
        own = tuple(map(jnp.asarray, self))
        mean, spread = _posterior(own, jnp.asarray(np.stack([pos, vel])), jnp.asarray(errors.T))
        return np.asarray(mean), np.asarray(spread)


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
def _fit(x: Array, errors: Array, first: tuple) -> tuple[tuple, Array]:
    """The mixture after `STEPS` steps from the first, and its ln likelihood."""

    def step(mixture, _):
        ln, (b0, b1), (c0, c1, c2) = _terms(mixture, x, errors)
        q = jax.nn.softmax(ln, axis=0)
        number = jnp.maximum(q.sum(axis=1), 1e-10)
        m0, m1 = jnp.sum(q * b0, axis=1) / number, jnp.sum(q * b1, axis=1) / number
        e0, e1 = b0 - m0[:, None], b1 - m1[:, None]
        spreads = [
            jnp.sum(q * (one + c), axis=1) / number
            for one, c in ((e0**2, c0), (e1**2, c1), (e0 * e1, c2))
        ]
        spreads = [spreads[0] + FLOOR, spreads[1] + FLOOR, spreads[2]]
        means, spreads = jnp.stack([m0, m1], axis=1), jnp.stack(spreads, axis=1)
        return (number / number.sum(), means, spreads), None

    mixture = jax.lax.scan(step, first, length=STEPS)[0]
    ln = _terms(mixture, x, errors)[0]
    return mixture, jnp.sum(jax.nn.logsumexp(ln, axis=0))


@jax.jit
def _posterior(mixture: tuple, x: Array, errors: Array) -> tuple[Array, Array]:
    """Mean and spread of the true places of stars seen at x."""
    ln, (b0, b1), (c0, c1, c2) = _terms(mixture, x, errors)
    q = jax.nn.softmax(ln, axis=0)
    m0, m1 = jnp.sum(q * b0, axis=0), jnp.sum(q * b1, axis=0)
    e0, e1 = b0 - m0, b1 - m1
    spread = [
        jnp.sum(q * (one + c), axis=0) for one, c in ((e0**2, c0), (e1**2, c1), (e0 * e1, c2))
    ]
    return jnp.stack([m0, m1]), jnp.stack(spread)
