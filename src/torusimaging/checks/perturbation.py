r"""What the label would be in a density a little different from the fitted one, to first order.

An orbit's label depends on its action alone, and that on its energy E = v^2/2 + Phi(q).  A small
change of the potential changes the action through (pos, vel) by

    delta J = [delta Phi(q) - <delta Phi>] / Omega,

with the mean over the orbit's time, since J = (1/2 pi) \oint sqrt(2 (E - Phi)) dq (Landau &
Lifshitz 1976, Mechanics, section 49), and the label, with s^2 = 2 E, by

    delta label = 2 [d label / d s^2] [delta Phi(q) - <delta Phi>].

The means of a change that is odd in q vanish for orbits that are symmetric about the plane.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray
from scipy import stats

from ..coordinates import Points
from ..foliation import PotentialFoliation
from ..foliation.density import FOUR_PI_G
from ..foliation.field import CENTRE
from ..foliation.grid import HalfTable, orbit_integrals
from ..inference.linear import Linear, linearise
from ..inference.problem import Problem, whitening
from ..models.smooth import CORE

# Heights at which the ln ratio of the two sides is free, even in asinh(|z| / core), and the sd of
# its random walk for each unit of that, as in `SmoothDensity`.
HEIGHTS, ASYMMETRY = 6, 0.5
# Heights of the cells in which the odd change of the potential is integrated.
CELLS = 512
# A direction of which the data know at least as much as its prior.
KNOWN = 0.5


class Sides(NamedTuple):
    """What the two sides of the plane say of a ratio of their densities.

    Attributes
    ----------
    chi2, dof, p : of the directions that the data determine better than the prior, and the chance
        of a larger chi2 where the two sides are alike
    height : heights (kpc), shape (k,)
    ln_ratio, ln_ratio_sd : of the density above to that below, there, to first order
    shift : how far the free parameters move beside it (see `Linear.moved`)
    """

    chi2: float
    dof: int
    p: float
    height: NDArray
    ln_ratio: NDArray
    ln_ratio_sd: NDArray
    shift: NDArray


class ThinLayer(NamedTuple):
    """A layer at the plane thinner than the pixels, in addition to the fitted density.

    Attributes
    ----------
    mass, mass_sd : its surface density (Msun/kpc^2), before the limit that it is not negative
    density : the change of the mean density within 50 pc (Msun/kpc^3) for each Msun/kpc^2 of it,
        with what the other parameters then give up
    """

    mass: float
    mass_sd: float
    density: float


def compare_sides(problem: Problem, params: dict, found: Linear | None = None) -> Sides | None:
    """A score test of the two sides' difference; None for a model that has two sides already.

    The change rho exp(eta) above and rho exp(-eta) below, with eta straight between heights even
    in asinh(z / core), 0 at the plane, and a random walk of sd 0.25 for each unit of that: the
    prior of `SmoothDensity`'s asymmetric form, for any form of the density.  With T its columns
    (whitened), P its prior's precision and H the projection on the parameters with theirs,
    S = T^T (1 - H) T is the information and g = T^T (1 - H) chi the score (Rao 1948); along the
    eigenvectors of S in units of P that are larger than 1, g^2 / S are the chi^2 of one degree of
    freedom each.  chi^2 per degree of freedom of the map, where above 1, inflates the errors.

    Raises ``ValueError`` away from an optimum and where the posterior is not curved.
    """
    model = problem.model
    if not _has_one_side(model, params):
        return None
    found = linearise(problem, params) if found is None else found
    reach = float(model.reach(params))
    core = CORE * reach
    x = np.linspace(0.0, np.arcsinh(reach / core), HEIGHTS + 1)
    heights = core * np.sinh(x)
    points = problem.likelihood.points
    columns = _odd_columns(model, params, points, jnp.asarray(heights), jnp.asarray(core))
    T = _whitened(columns, problem, params)
    steps = np.linalg.inv(np.tril(np.ones((HEIGHTS, HEIGHTS))))
    precision = steps.T @ steps / (0.25 * ASYMMETRY**2 * (x[1] - x[0]))
    information, score = _schur(found, T)
    # Unit vectors of the prior: those with more information than 1 are known.
    root = np.linalg.inv(np.linalg.cholesky(precision)).T
    sizes, vectors = np.linalg.eigh(root.T @ information @ root)
    along = vectors.T @ root.T @ score
    known = sizes / (1 + sizes) > KNOWN
    chi2 = float(np.sum(along[known] ** 2 / sizes[known]) / found.inflation)
    dof = int(known.sum())
    covariance = np.linalg.inv(information / found.inflation + precision)
    mean = covariance @ score / found.inflation
    return Sides(
        chi2,
        dof,
        float(stats.chi2.sf(chi2, dof)) if dof else 1.0,
        heights[1:],
        2 * mean,
        2 * np.sqrt(np.diag(covariance)),
        found.moved(T, mean),
    )


def add_layer(problem: Problem, params: dict, found: Linear | None = None) -> ThinLayer | None:
    """A layer without thickness beside the fitted density; None where that has two sides.

    Its surface density M has a flat prior; all parameters are free besides, with theirs.  The
    potential that it adds is 2 pi G M abs(q).

    Raises ``ValueError`` away from an optimum and where the posterior is not curved.
    """
    model = problem.model
    if not _has_one_side(model, params):
        return None
    found = linearise(problem, params) if found is None else found
    column = _layer_column(model, params, problem.likelihood.points)
    T = _whitened(column[:, None], problem, params)
    information, score = _schur(found, T)
    if not information[0, 0] > 0:
        return None
    along = found.moved(T, np.ones(1))
    taken = _central_change(model, found.layout, found.limits, found.free, jnp.asarray(along))
    return ThinLayer(
        mass=float(score[0] / information[0, 0]),
        mass_sd=float(np.sqrt(found.inflation / information[0, 0])),
        density=0.5 / CENTRE + float(taken),
    )


def _has_one_side(model, params: dict) -> bool:
    """Whether the orbits are in a potential whose density is the same above and below the plane."""
    foliation = model.foliation(model.floats(params))
    return isinstance(foliation, PotentialFoliation) and foliation.below is None


def _schur(found: Linear, T: NDArray) -> tuple[NDArray, NDArray]:
    """Information and score of columns T beside the parameters (see `check_goodness`)."""
    shared = found.W.T @ T
    return T.T @ T - shared.T @ shared, T.T @ found.left


def _whitened(columns: Array, problem: Problem, params: dict) -> NDArray:
    """The rows of data of weight in units of their errors."""
    weighty = problem.likelihood.weighty
    slopes = np.asarray(whitening(problem, params))
    return np.asarray(columns)[weighty] * slopes[weighty, None]


@eqx.filter_jit
def _central_change(model, layout, limits, free: Array, along: Array) -> Array:
    """Change of the mean density within `CENTRE` (Msun/kpc^3) with the free vector."""

    def density(z):
        above = model.foliation(layout.unflatten(limits.constrain(z))).above
        return above.force(jnp.asarray(CENTRE)) / (FOUR_PI_G * CENTRE)

    return jax.jvp(density, (free,), (along,))[1]


def _slope(model, foliation, params: dict, points: Points) -> tuple[Array, Array]:
    """(q, 2 d label / d s^2) at the pixels."""
    q = points.pos - foliation.pos0
    twice = (points.vel - foliation.vel0) ** 2 + 2 * foliation.potential(points.pos)
    table = HalfTable.of(foliation.above, foliation.grid)

    def label(square):
        return model.label_of_radius(table.radius(jnp.sqrt(square)), params)

    # At the centre the root has no slope, and no change of the potential either.
    safe = jnp.where(twice > 0, twice, 1.0)
    _, slope = jax.jvp(label, (safe,), (jnp.ones_like(safe),))
    return q, jnp.where(twice > 0, 2 * slope, 0.0)


@eqx.filter_jit
def _odd_columns(model, params: dict, points: Points, heights: Array, core: Array) -> Array:
    """Changes of the pixels' labels with eta at each height but the first, shape (n, k)."""
    params = jax.tree.map(jnp.asarray, params)
    foliation = model.foliation(params)
    q, slope = _slope(model, foliation, params, points)
    farthest = jnp.maximum(jnp.max(jnp.abs(q)), heights[-1])
    x = jnp.linspace(0.0, 1.0, CELLS + 1) * jnp.arcsinh(farthest / core)
    z = core * jnp.sinh(x)
    # Constant beyond the last height; trapezoids in cells far finer than eta's.
    at = jnp.stack([jnp.interp(z, heights, unit) for unit in jnp.eye(heights.size)[1:]], axis=1)
    rho = FOUR_PI_G * foliation.above.density(z)[:, None] * at
    width = jnp.diff(z)[:, None]
    force = jnp.cumsum((rho[1:] + rho[:-1]) / 2 * width, axis=0)
    force = jnp.concatenate([jnp.zeros((1, rho.shape[1])), force])
    phi = jnp.cumsum((force[1:] + force[:-1]) / 2 * width, axis=0)
    phi = jnp.concatenate([jnp.zeros((1, rho.shape[1])), phi])
    change = jax.vmap(lambda column: jnp.interp(jnp.abs(q), z, column), in_axes=1, out_axes=1)(phi)
    return (slope * jnp.sign(q))[:, None] * change


@eqx.filter_jit
def _layer_column(model, params: dict, points: Points) -> Array:
    """Change of the pixels' labels with the mass of a layer without thickness, shape (n,)."""
    params = jax.tree.map(jnp.asarray, params)
    foliation = model.foliation(params)
    q, slope = _slope(model, foliation, params, points)
    grid = foliation.grid
    speeds, _, inverse = orbit_integrals(foliation.above, grid)
    kappa = jnp.sqrt(foliation.above.kappa2(grid))
    time = jnp.sum(grid.weights * grid.heights[:, None] * grid.sines / kappa, axis=1)
    mean = 2 / jnp.pi * time / inverse
    zero = jnp.zeros(1)
    s = foliation.speed(points)
    # <|q|> over s is smooth; it is 2 / pi of the turning height for the smallest orbits.
    ratio = mean / speeds
    ratio = jnp.interp(s, jnp.concatenate([zero, speeds]), jnp.concatenate([ratio[:1], ratio]))
    return slope * FOUR_PI_G / 2 * (jnp.abs(q) - s * ratio)
