"""Draws of a model's prior and what normalises it."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array
from scipy.special import gammaln, logsumexp

from ..parameters import Bounds, Layout, indices
from . import named as known

LN_2PI = float(np.log(2 * np.pi))
BATCH = 2048
# Precisions of an unknown scale: e^-8 to e^8 hold all but 1e-5 of a t of 3 degrees of freedom.
LN_SCALES, N_SCALES = 8.0, 257
COUNTED, MOST_TRIED = 10_000, 65_536
PATIENCE = 20  # batches for each draw inside the bounds that the constraints accept


@eqx.filter_jit
def _linear(model, params: dict, layout: Layout) -> tuple[Array, Array, Array]:
    """Residuals of the factors at `params`, their slopes there and at another place."""
    x = layout.flatten(params)

    def residuals(x):
        factors = model.linear_factors(layout.unflatten(x))
        return jnp.concatenate([factor for factor, _ in factors])

    return residuals(x), jax.jacfwd(residuals)(x), jax.jacfwd(residuals)(x + 1e-2)


def normal_part(model, params: dict, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """(A, c) of the factors of the prior, whose residuals are A x + c.

    Raises ``ValueError`` where they are not linear in the parameters, as the published
    regularisation is not.
    """
    at, slope, other = (np.asarray(x) for x in _linear(model, params, layout))
    if not np.allclose(slope, other, rtol=1e-6, atol=1e-9):
        raise ValueError(
            "the published regularisation of the slopes is no distribution of the parameters: "
            'it has no draws and no evidence; use prior="default".'
        )
    return slope, at - slope @ np.asarray(layout.flatten(params))


class UnknownScale(NamedTuple):
    """The rows of the residuals that share an unknown sd, and the grid it is integrated on.

    A multivariate Student's t of residuals y is a mixture over the precision w of normals,

        (1 + Q / dof)^-p = (dof / 2)^p / Gamma(p) int w^(p - 1) e^(-w (dof + Q) / 2) dw,

    with Q = |y|^2, n rows and p = (dof + n) / 2 (see `priors.slopes.student_residuals`).
    `ln_terms` are the logarithms of the terms of that integral without e^(-w Q / 2), at the
    precisions `w`.
    """

    rows: np.ndarray
    w: np.ndarray
    ln_terms: np.ndarray

    @classmethod
    def of(cls, dof: float | None, every: np.ndarray) -> "UnknownScale":
        """That of the rows `every` of a t, shape (n,); w = 1 alone where there is none."""
        if dof is None:
            return cls(every, np.ones(1), np.zeros(1))
        p = (dof + every.sum()) / 2
        ln_w = np.linspace(-LN_SCALES, LN_SCALES, N_SCALES)
        # dw = w dln(w), by the trapezoidal rule, whose ends do not count.
        terms = p * np.log(dof / 2) - gammaln(p) + p * ln_w - np.exp(ln_w) * dof / 2
        return cls(every, np.exp(ln_w), terms + np.log(ln_w[1] - ln_w[0]))

    def weighed(self, matrix: np.ndarray, w: float) -> np.ndarray:
        """Rows of residuals (or of their slopes) at the precision w."""
        scale = np.where(self.rows, np.sqrt(w), 1.0)
        return matrix * (scale if matrix.ndim == 1 else scale[:, None])


class Block(NamedTuple):
    """Residuals matrix x + offset that share no parameter with those of other blocks.

    They are normal, or some of them a multivariate t; `entries` are the parameters that they hold.
    """

    matrix: np.ndarray
    offset: np.ndarray
    scale: UnknownScale
    entries: np.ndarray

    @classmethod
    def all_of(cls, model, params: dict, matrix: np.ndarray, offset: np.ndarray) -> list["Block"]:
        """The blocks of a model's prior: one, and one more for each further t, which stands alone.

        Raises ``ValueError`` for two t distributions of the same parameters.
        """
        factors = model.linear_factors(params)
        number = np.repeat(np.arange(len(factors)), [factor.size for factor, _ in factors])
        touched = [np.any(matrix[number == k] != 0, axis=0) for k in range(len(factors))]
        tails = {k: float(dof) for k, (_, dof) in enumerate(factors) if dof is not None}
        alone = [
            k
            for k in tails
            if not any(np.any(touched[k] & touched[n]) for n in range(len(factors)) if n != k)
        ]
        joined = [k for k in tails if k not in alone]
        if not joined:
            joined, alone = alone[:1], alone[1:]
        if len(joined) > 1:
            raise ValueError("two Student's t of a prior must not be for the same parameters.")
        out = []
        groups = [[k for k in range(len(factors)) if k not in alone], *([k] for k in alone)]
        for group, own in zip(groups, [joined, *([k] for k in alone)], strict=True):
            rows = np.isin(number, group)
            dof = tails[own[0]] if own else None
            scale = UnknownScale.of(dof, np.isin(number[rows], own))
            entries = np.flatnonzero(np.any(matrix[rows] != 0, axis=0))
            out.append(cls(matrix[rows], offset[rows], scale, entries))
        return out

    def ln_scales(self) -> np.ndarray:
        """ln of the integral over the parameters, at each unknown scale."""
        out, a = [], self.matrix[:, self.entries]
        for w, term in zip(self.scale.w, self.scale.ln_terms, strict=True):
            rows, offset = self.scale.weighed(a, w), self.scale.weighed(self.offset, w)
            _, ln_det = np.linalg.slogdet(rows.T @ rows)
            least = offset - rows @ np.linalg.lstsq(rows, offset, rcond=None)[0]
            out.append(term + 0.5 * (self.entries.size * LN_2PI - ln_det - least @ least))
        return np.array(out)

    def draw(self, x: np.ndarray, rng: np.random.Generator) -> None:
        """Fill in its entries of the rows x, given the others."""
        chances = np.exp(self.ln_scales() - logsumexp(self.ln_scales()))
        picks = rng.choice(chances.size, len(x), p=chances / chances.sum())
        noise = rng.standard_normal((len(x), self.entries.size))
        rest = x @ self.matrix.T + self.offset
        for pick in np.unique(picks):
            mine, w = picks == pick, self.scale.w[pick]
            a = self.scale.weighed(self.matrix[:, self.entries], w)
            covariance = np.linalg.inv(a.T @ a)
            mean = -self.scale.weighed(rest[mine].T, w).T @ a @ covariance
            root = np.linalg.cholesky(covariance)
            x[np.ix_(mine, self.entries)] = mean + noise[mine] @ root.T


def marginals(model) -> dict[str, known.Distribution]:
    """The prior's distributions by name, default ones as the normals and t that they are.

    A normal factor that depends on the parameters of a t is given for that one's unknown scale 1.
    """
    params, out = model.template(), {}
    if params is None:
        return dict(model.given)
    layout = Layout.of(params)
    try:
        a, c = normal_part(model, params, layout)
    except ValueError:
        return dict(model.given)
    used = np.flatnonzero(np.any(a != 0, axis=0))
    precision = a[:, used].T @ a[:, used]
    covariance = np.linalg.inv(precision)
    mean = -covariance @ (a[:, used].T @ c)
    for name in model.prior_factors(params):
        if any(known.Place.of(n).covers(known.Place.of(name)) for n in model.given):
            continue
        own = np.flatnonzero(np.isin(used, indices(layout, name)))
        block = covariance[np.ix_(own, own)]
        if (dof := model.dofs.get(name)) is not None:
            out[name] = dist.MultivariateStudentT(dof, mean[own], np.linalg.cholesky(block))
        elif np.ndim(known.entry(params, name)) == 0:
            out[name] = dist.Normal(mean[own[0]], np.sqrt(block[0, 0]))
        else:
            out[name] = dist.MultivariateNormal(mean[own], covariance_matrix=block)
    return out | model.given


class Prior(NamedTuple):
    """A prior that can be drawn from: a joint normal or t, distributions, and uniforms.

    `own` and `uniform` are the entries of the flat vector that each of them holds.
    """

    model: Any
    layout: Layout
    bounds: Bounds
    blocks: list[Block]
    own: dict[str, np.ndarray]
    uniform: np.ndarray

    @classmethod
    def of(cls, model, params: dict, layout: Layout, bounds: Bounds) -> "Prior":
        """The prior of `model` for parameters of the structure of `params` inside `bounds`.

        Raises ``ValueError`` for a prior that is no distribution.
        """
        if model.is_regularized:
            raise ValueError("a user's regularisation is no distribution that could be drawn from.")
        matrix, offset = normal_part(model, params, layout)
        normal = np.flatnonzero(np.any(matrix != 0, axis=0))
        own = {
            name: indices(layout, name)
            for name, given in model.given.items()
            if not known.is_normal(given)
        }
        for name, index in own.items():
            if np.isin(index, normal).any():
                raise ValueError(
                    f"the prior of {name} must be normal, or for a whole default factor, to be "
                    "drawn from: its parameters have another prior besides."
                )
        taken = np.concatenate([normal, *own.values()]).astype(int)
        rest = np.setdiff1d(np.arange(layout.size), taken)
        for i in rest:
            if not np.isfinite(bounds.lower[i]) or not np.isfinite(bounds.upper[i]):
                raise ValueError(
                    f"{layout.names()[i]} must have a prior or two bounds, but has neither: its "
                    "prior is improper."
                )
        return cls(model, layout, bounds, Block.all_of(model, params, matrix, offset), own, rest)

    def draw(self, size: int, seed: int) -> np.ndarray:
        """Independent draws, shape (size, d), by rejection where the constraints ask for it."""
        rng, out, found = np.random.default_rng(seed), [], 0
        while found < size:
            out.append(self._batch(rng))
            found += len(out[-1])
            if found < len(out) / PATIENCE:
                raise ValueError(
                    f"the prior allows next to nothing: {found} of {BATCH * len(out)} draws are "
                    "inside the bounds and possible."
                )
        return np.concatenate(out)[:size]

    def ln_normalisation(self, seed: int = 0) -> tuple[float, float]:
        """ln of the integral of what the objectives call the prior, exp(-squares/2 - penalty).

        The share of draws inside bounds and constraints is counted until it has 1e4 of them, on
        65536 at the most; the second number is the sd of its logarithm.
        """
        # A stream of its own: `draw` and the weighted draws of a posterior have the seed's first.
        rng, found, tried = np.random.default_rng([seed, 2]), 0, 0
        while found < COUNTED and tried < MOST_TRIED:
            found, tried = found + len(self._batch(rng)), tried + BATCH
        if found == 0:
            raise ValueError(f"the prior allows next to nothing: no draw of {tried} is possible.")
        share = found / tried
        normal = sum(logsumexp(block.ln_scales()) for block in self.blocks)
        widths = (np.asarray(self.bounds.upper) - np.asarray(self.bounds.lower))[self.uniform]
        # A flat prior of the user's is drawn between its own limits, whatever the bounds.
        flat = []
        for name, index in self.own.items():
            if known.is_flat(given := self.model.given[name]):
                low, high = known.limits(given)
                flat.append(np.log(np.broadcast_to(np.subtract(high, low), index.shape)).sum())
        ln_volume = float(normal + np.log(widths).sum() + sum(flat) + np.log(share))
        return ln_volume, float(np.sqrt((1 - share) / found))

    def _proposals(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Draws of the distributions alone."""
        x = np.zeros((size, self.layout.size))
        low, high = (np.asarray(b)[self.uniform] for b in (self.bounds.lower, self.bounds.upper))
        x[:, self.uniform] = rng.uniform(low, high, (size, self.uniform.size))
        key = jax.random.key(int(rng.integers(2**31)))
        for number, (name, index) in enumerate(self.own.items()):
            given = self.model.given[name]
            extra = (index.size,) if np.size(index) > 1 and not given.event_shape else ()
            shape = given.batch_shape if given.batch_shape == extra else extra
            values = given.expand(shape) if shape != given.batch_shape else given
            drawn = values.sample(jax.random.fold_in(key, number), (size,))
            x[:, index] = np.asarray(drawn).reshape(size, -1)
        for block in self.blocks:
            if block.entries.size:
                block.draw(x, rng)
        return x

    def _batch(self, rng: np.random.Generator) -> np.ndarray:
        """The proposals inside the bounds that the constraints accept."""
        x = self._proposals(rng, BATCH)
        inside = np.all((x > np.asarray(self.bounds.lower)) & (x < self.bounds.upper), axis=1)
        half = np.asarray(_constraint(self.model, self.layout, jnp.asarray(x)))
        return x[inside & (rng.random(BATCH) < np.exp(-half))]


@eqx.filter_jit
def _constraint(model, layout: Layout, x: Array) -> Array:
    def one(row):
        params = layout.unflatten(row)
        terms = model.constraints(params)
        half = 0.5 * jnp.sum(jnp.where(jnp.isfinite(terms), terms, jnp.inf) ** 2)
        return jnp.where(model.is_possible(params), half, jnp.inf)

    return jax.lax.map(one, x, batch_size=64)
