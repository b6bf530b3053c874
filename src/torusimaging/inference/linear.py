"""A fit to first order in its parameters, for terms that are added to it."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from ..parameters import Bounds, Layout
from .problem import Problem, residuals

# A fit whose chi^2 a further step lowers by more than this is not at its optimum.
STATIONARY = 0.1
# A free vector's entry beyond which the parameter counts as at its limit: optima end at 20.
AT_LIMIT = 19.0


class Linear(NamedTuple):
    r"""A posterior about its optimum, where minus its ln is \|chi - J d\|^2 / 2 + prior.

    Attributes
    ----------
    chi : whitened residuals, (label - model) / error, shape (n,)
    J : the model's slopes in the free parameters, whitened, shape (n, d)
    root : A^-1/2 with A the curvature, rows of the free parameters that are not at a limit
    W : J root, shape (n, d)
    step : to the optimum in units of root, shape (d,)
    free, inner : the optimum's free vector, and which of its entries are not at a limit
    layout, limits : of the parameters
    """

    chi: NDArray
    J: NDArray
    root: NDArray
    W: NDArray
    step: NDArray
    free: Array
    inner: NDArray
    layout: Layout
    limits: Bounds

    @property
    def left(self) -> NDArray:
        """The residuals after the step."""
        return self.chi - self.W @ self.step

    def moved(self, columns: NDArray, amplitudes: NDArray) -> NDArray:
        """How far the free vector moves beside whitened terms of such amplitudes, shape (all,)."""
        along = np.zeros(self.free.size)
        along[self.inner] = -self.root @ (self.W.T @ (columns @ amplitudes))
        return along

    @property
    def inflation(self) -> float:
        """chi^2 over its degrees of freedom, or 1 where it is smaller."""
        dof = self.chi.size - np.sum(self.W**2)
        return max(1.0, float(self.chi @ self.chi / dof)) if dof > 0 else 1.0


def linearise(problem: Problem, params: dict) -> Linear:
    """The posterior of a problem about its optimum `params`.

    Raises ``ValueError`` away from an optimum, where it is not curved in every direction, and for
    a likelihood that is no sum of squares.
    """
    if not problem.likelihood.least_squares:
        raise ValueError(
            "the likelihood of fit must be a sum of squares to be expanded, but "
            f"{type(problem.likelihood).__name__} is none."
        )
    free = problem.free(problem.model.floats(params))
    values, slopes, gradient, extra = map(np.asarray, _expand(free, problem))
    # A parameter at its limit does not follow the data: it is held there.
    inner = ~np.asarray(problem.bounds.inside(free, AT_LIMIT)[1])
    slopes, gradient, extra = slopes[:, inner], gradient[inner], extra[np.ix_(inner, inner)]
    # Squares are taken to first order in their residuals, as in the fit: that part is >= 0.
    normal = slopes.T @ slopes + extra
    scale = np.sqrt(np.maximum(np.diag(normal), np.finfo(float).tiny))
    sizes, vectors = np.linalg.eigh(normal / np.outer(scale, scale))
    if not np.all(np.isfinite(sizes)) or sizes[0] <= 1e-12 * sizes[-1]:
        raise ValueError(
            "the posterior of fit must be curved in every direction, but its smallest relative "
            f"curvature is {sizes[0] / sizes[-1]:.2g}."
        )
    root = vectors / np.sqrt(sizes) / scale[:, None]
    step = -root.T @ gradient
    if not problem.approximate and not step @ step < STATIONARY:
        raise ValueError(
            f"fit must be at its optimum, but a step would lower its chi^2 by {step @ step:.2g}."
        )
    weighty = problem.likelihood.weighty
    J = -slopes[: weighty.size][weighty]
    chi = values[: weighty.size][weighty]
    return Linear(chi, J, root, J @ root, step, free, inner, problem.layout, problem.bounds)


@eqx.filter_jit
def _expand(z: Array, problem: Problem) -> tuple[Array, Array, Array, Array]:
    """Residuals, their derivatives, the objective's gradient and the penalty's curvature at z."""

    def penalty(y):
        return problem.model.penalty(problem.params(y))

    values, push = jax.linearize(lambda y: residuals(y, problem), z)
    slopes = jax.vmap(push, out_axes=-1)(jnp.eye(z.size))
    return values, slopes, slopes.T @ values + jax.grad(penalty)(z), jax.hessian(penalty)(z)
