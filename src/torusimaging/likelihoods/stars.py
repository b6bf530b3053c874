r"""Labels of single stars, each with its own error: intrinsic scatter, correlations and outliers.

With prediction mean m, scatter s and correlation C of the orbit of star i, and the chance epsilon
of an outlier (see `labels.StarLabels`),

    p(y_i) = (1 - epsilon) N(y_i | m, V_i) + epsilon \prod_k N(y_ik | o_k, t_k^2 + e_ik^2),
    V_i = D C D + diag(e_i^2),   D = diag(s).

Labels that a star has not are integrated over: their rows and columns leave V_i.  For stars whose
places have errors the first term is averaged over nodes of the true place (see `data.mixture`).
The sum over stars is taken in blocks, so that its gradient needs the memory of one block besides
the data.
"""

import functools
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..coordinates import Points
from ..data.mixture import SPREADS, WEIGHTS, Mixture, nodes
from .base import Likelihood

LN_2PI = float(np.log(2 * np.pi))
BLOCK = 8192  # stars whose arrays stay in a core's cache
PART = 1 << 17  # stars that are predicted at once
SMALL = 1024  # numbers of stars below a block are rounded up to a multiple of it


class StarPrediction(NamedTuple):
    """What stars are compared with.

    mean, ln_scatter : shape (labels, n), with errors of the places (labels, nodes, n);
    root : of the correlation, shape (labels, labels);
    outlier_mean, outlier_sd : shape (labels,);  logit : ln odds of an outlier
    """

    mean: Array
    ln_scatter: Array
    root: Array
    outlier_mean: Array
    outlier_sd: Array
    logit: Array


class Columns(NamedTuple):
    """Stars' places, shape (..., n), and labels, shape (..., labels, n).

    `node_pos` and `node_vel`, shape (..., nodes, n), are where stars with errors may truly be, with
    the probabilities `WEIGHTS`; None for exact places.  `there` says which labels a star has, and
    is None where all have all of them; labels and errors
    that are missing are 0.
    """

    pos: Array
    vel: Array
    R: Array | None
    Lz: Array | None
    label: Array
    label_err: Array
    there: Array | None
    node_pos: Array | None = None
    node_vel: Array | None = None

    @property
    def points(self) -> Points:
        """Where the stars are seen."""
        return Points(*self[:4])

    @property
    def true_points(self) -> Points:
        """Where the stars truly are: all nodes in a row, or the places themselves."""
        if self.node_pos is None or self.node_vel is None:
            return self.points
        more = (None if x is None else jnp.tile(x, WEIGHTS.size) for x in (self.R, self.Lz))
        return Points(self.node_pos.ravel(), self.node_vel.ravel(), *more)

    def on_nodes(self, x: Array) -> Array:
        """Values at `true_points`, shape (labels, m), as (labels, n) or (labels, nodes, n)."""
        return x if self.node_pos is None else x.reshape(x.shape[:-1] + self.node_pos.shape)

    def terms(self, found: StarPrediction) -> tuple[Array, Array]:
        """ln of the two terms of each star's probability: its orbit's, and an outlier's."""
        labels = found.mean.shape[0]
        y, err2 = self.label, self.label_err**2

        def known(k, x, other):
            return x if self.there is None else jnp.where(self.there[k], x, other)

        off = [known(k, y[k] - found.mean[k], 0.0) for k in range(labels)]
        scatter = [jnp.exp(found.ln_scatter[k]) for k in range(labels)]
        correlation = found.root @ found.root.T
        inlier = -jax.nn.softplus(found.logit)
        outlier = -jax.nn.softplus(-found.logit)
        # Cholesky's decomposition of V and the forward substitution, written out by label.
        root: list[list[Array]] = []
        white: list[Array] = []
        for i in range(labels):
            row: list[Array] = []
            for j in range(i):
                entry = correlation[i, j] * scatter[i] * scatter[j]
                entry = known(i, known(j, entry, 0.0), 0.0)
                entry = entry - sum(row[k] * root[j][k] for k in range(j))
                row.append(entry / root[j][j])
            own = known(i, scatter[i] ** 2 + err2[i], 1.0) - sum(x**2 for x in row)
            row.append(jnp.sqrt(own))
            root.append(row)
            white.append((off[i] - sum(row[k] * white[k] for k in range(i))) / row[i])
            inlier = inlier - 0.5 * white[i] ** 2 - 0.5 * jnp.log(own)
            wide = known(i, found.outlier_sd[i] ** 2 + err2[i], 1.0)
            far = known(i, y[i] - found.outlier_mean[i], 0.0)
            outlier = outlier - 0.5 * far**2 / wide - 0.5 * jnp.log(wide)
        if self.node_pos is not None:
            inlier = jax.nn.logsumexp(inlier + np.log(WEIGHTS)[:, None], axis=0)
        number = labels if self.there is None else jnp.sum(self.there, axis=0)
        return inlier - 0.5 * LN_2PI * number, outlier - 0.5 * LN_2PI * number


class SingleStars(Likelihood):
    """Labels of single stars (see the module), in whole blocks along the first axis.

    Of the stars only the first `number` are some; the others, copies of the last, fill up the last
    block.
    """

    many: ClassVar[bool] = True
    blocks: Columns
    number: Array

    @classmethod
    def read(cls, data: Any) -> "SingleStars":
        """The likelihood of the columns of stars, `data.stars.Stars.columns`.

        Raises ``ValueError`` for anything else.
        """
        columns = data
        if not isinstance(columns, dict) or np.ndim(columns.get("label")) != 2:
            raise ValueError(
                "the likelihood of stars needs their columns (Stars.columns()), but "
                f"{type(data).__name__} was given."
            )
        there = np.isfinite(columns["label"])
        whole = bool(there.all())
        label, error = (
            np.asarray(columns[k] if whole else np.where(there, columns[k], 0.0), float).T
            for k in ("label", "label_err")
        )
        places = [columns.get(k) for k in ("pos", "vel", "R", "Lz")]
        known = None if whole else there.T
        at = (None, None)
        if "crowd" in columns:
            crowd = Mixture.of_table(columns["crowd"])
            errors = np.stack([columns[k] for k in SPREADS], axis=1)
            seen = columns["pos"], columns["vel"], errors, columns.get("distance_err")
            at = nodes(*crowd.true_places(*seen))
        found = Columns(*places, label, error, known, *at)
        # One block of all stars, as views: `padded` makes arrays of JAX.
        return cls(jax.tree.map(lambda x: x[None], found), jnp.asarray(len(columns["label"])))

    def padded(self) -> "SingleStars":
        """In blocks of one size, the last of which copies of the last star fill up."""
        n = self.blocks.pos.size
        most = BLOCK if self.blocks.node_pos is None else SMALL
        size = most if n > most else -(-n // SMALL) * SMALL

        def cut(x):
            x = np.moveaxis(np.asarray(x), 0, -2).reshape(*x.shape[1:-1], -1)
            if -n % size:
                width = [(0, 0)] * (x.ndim - 1) + [(0, -n % size)]
                x = np.pad(x, width, mode="edge")
            return jnp.asarray(np.moveaxis(x.reshape(*x.shape[:-1], -1, size), -2, 0))

        return SingleStars(jax.tree.map(cut, self.blocks), self.number)

    @property
    def columns(self) -> Columns:
        """The stars in a row."""

        def join(x):
            if x is None:
                return None
            return x.ravel() if x.ndim == 2 else jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1)

        return Columns(*map(join, self.blocks))

    @property
    def points(self) -> Points:
        """Where the stars lie."""
        return self.columns.points

    @property
    def weighty(self) -> np.ndarray:
        """The stars themselves."""
        return np.arange(self.blocks.pos.size) < int(self.number)

    def predict(self, model: Any, params: dict) -> StarPrediction:
        """Means and scatters on the stars' orbits, and the law of the outliers."""
        orbits = model.orbits(params).prepared()
        return _on_orbits(model, params, orbits, self.columns)

    def pointwise(self, prediction: StarPrediction) -> Array:
        """ln probability of each star's labels."""
        return jnp.logaddexp(*self.columns.terms(prediction))

    def ln(self, prediction: StarPrediction) -> Array:
        """ln probability of all stars."""
        real = jnp.arange(self.blocks.pos.size) < self.number
        return jnp.sum(jnp.where(real, self.pointwise(prediction), 0.0))

    def members(self, prediction: StarPrediction) -> Array:
        """The chance of each star to be no outlier."""
        inlier, outlier = self.columns.terms(prediction)
        return jax.nn.sigmoid(inlier - outlier)

    def cost_of(self, model: Any, params: dict, share: tuple[Any, int] = (0, 1)) -> Array:
        """Minus `ln` for the parameters of a model, in blocks of stars; first derivatives alone.

        `share` (k, n) is the k-th of n parts of the stars, which together are all of them.
        """
        part, parts = share
        count = -(-self.blocks.pos.shape[0] // parts)
        changing = model.orbits(params).prepared(), params
        return _total(changing, model, self, part * count, count)

    @property
    def shares(self) -> int:
        """In how many parts the stars can be cut."""
        return self.blocks.pos.shape[0]

    def simulate(self, prediction: StarPrediction, rng: np.random.Generator) -> dict:
        """Labels as they would be drawn, shape (n, labels); those that a star has not are NaN."""
        found, own, n = StarPrediction(*map(np.asarray, prediction)), self.columns, int(self.number)
        mean, ln_scatter = found.mean, found.ln_scatter
        if own.node_pos is not None:
            pick = rng.choice(WEIGHTS.size, mean.shape[2], p=WEIGHTS)
            mean, ln_scatter = (x[:, pick, np.arange(pick.size)] for x in (mean, ln_scatter))
        size = mean.shape
        noise = found.root @ rng.standard_normal(size)
        label = mean + np.exp(ln_scatter) * noise
        out = rng.random(size[1]) < 1 / (1 + np.exp(-found.logit))
        far = found.outlier_sd[:, None] * rng.standard_normal(size)
        label = np.where(out, found.outlier_mean[:, None] + far, label)
        label = label + np.asarray(own.label_err) * rng.standard_normal(size)
        label = label if own.there is None else np.where(own.there, label, np.nan)
        return {"label": label.T[:n]}


def _on_orbits(
    model: Any, params: dict, orbits: Any, stars: Columns, once: bool = False
) -> StarPrediction:
    """The prediction of stars on their orbits."""
    points, label = stars.true_points, model.label
    radius = orbits.radius(points, once)
    mean = label.values(radius, params["label_params"], once)
    if model.extras:
        mean = mean + model.terms(orbits, points, radius, params, once)
    params = params["label_params"]
    if label.guide is not None:
        mean = mean + label.shifts(points, params)
    each = [label.own(params, k) for k in range(len(label.names))]
    return StarPrediction(
        stars.on_nodes(mean),
        stars.on_nodes(label.ln_scatter(radius, params)),
        label.correlation_root(params),
        jnp.stack([jnp.asarray(x["outlier_mean"]) for x in each]),
        jnp.exp(jnp.stack([jnp.asarray(x["ln_outlier_sd"]) for x in each])),
        jnp.asarray(params["logit_outliers"]),
    )


def _block_cost(changing: Any, model: Any, stars: Columns, real: Array, once: bool) -> Array:
    """Minus the ln probability of the real stars of a block."""
    orbits, params = changing
    found = _on_orbits(model, params, orbits, stars, once)
    return -jnp.where(real, 1.0, 0.0) @ jnp.logaddexp(*stars.terms(found))


def _over_blocks(function: Any, zero: Any, stars: SingleStars, first: Any, count: int) -> Any:
    """The sum of ``function(block, real)`` over `count` blocks from `first`."""
    blocks, size = stars.blocks.pos.shape

    def add(total, i):
        block = jax.tree.map(lambda x: x[jnp.minimum(i, blocks - 1)], stars.blocks)
        # Of blocks beyond the last no star is real.
        real = (i * size + jnp.arange(size) < stars.number) & (i < blocks)
        return jax.tree.map(jnp.add, total, function(block, real)), None

    return jax.lax.scan(add, zero, first + jnp.arange(count))[0]


@eqx.filter_custom_vjp
def _total(changing: Any, model: Any, stars: SingleStars, first: Any, count: int) -> Array:
    """Minus the ln probability of the stars of some blocks, and its slope in one pass over them.

    Reverse differentiation of the sum would go over all blocks forwards and then once more
    backwards; here value and slope of a block are made while it is in the core's cache.
    """
    cost = functools.partial(_block_cost, changing, model, once=False)
    return _over_blocks(cost, jnp.zeros(()), stars, first, count)


@_total.def_fwd
def _total_fwd(_, changing: Any, model: Any, stars: SingleStars, first: Any, count: int):
    slopes = eqx.filter_value_and_grad(_block_cost)

    def both(block, real):
        return slopes(changing, model, block, real, True)

    shapes = eqx.filter_eval_shape(
        both, jax.tree.map(lambda x: x[0], stars.blocks), jnp.ones(stars.blocks.pos.shape[1], bool)
    )
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return _over_blocks(both, zero, stars, first, count)


@_total.def_bwd
def _total_bwd(slopes: Any, cotangent: Array, *_):
    return jax.tree.map(lambda x: cotangent * x, slopes)


def evaluate_stars(
    model: Any, likelihood: SingleStars, params: dict, k: int = 0
) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """Mean and scatter of label number `k` of stars, and their chance to be no outlier, in parts.

    Each part is (which stars, the three arrays).  The likelihood is a padded one.  Of stars whose
    places have errors the scatter holds what these add to it.
    """
    count, size = likelihood.blocks.pos.shape
    step, n = min(count, max(1, PART // size)), int(likelihood.number)
    for first in range(0, count, step):
        # Beyond the last block it stands once more: all parts share a program.
        picks = np.minimum(first + np.arange(step), count - 1)
        some = SingleStars(jax.tree.map(lambda x, p=picks: x[p], likelihood.blocks), jnp.asarray(n))
        here = slice(first * size, min((first + step) * size, n))
        found = _evaluate(model, some, params, k)
        yield here, [np.asarray(x)[: here.stop - here.start] for x in found]


@eqx.filter_jit
def _evaluate(model: Any, likelihood: SingleStars, params: dict, k: int) -> tuple[Array, ...]:
    found = likelihood.predict(model, params)
    mean, scatter = found.mean[k], jnp.exp(found.ln_scatter[k])
    if likelihood.blocks.node_pos is not None:
        middle = WEIGHTS @ mean
        scatter = jnp.sqrt(WEIGHTS @ (scatter**2 + (mean - middle) ** 2))
        mean = middle
    return mean, scatter, likelihood.members(found)
