"""A fit to first order in its parameters, for terms that are added to it."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from ..data.pixels import Map, pad
from ..parameters import Bounds, Layout, make_bounds
from .objectives import residuals

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


def linearise(model, params: dict, bounds: dict | tuple | None, data: Map) -> Linear:
    """The posterior of `data` about its optimum `params`.

    Raises ``ValueError`` away from an optimum and where it is not curved in every direction.
    """
    params = model.floats(params)
    layout = Layout.of(params)
    limits = make_bounds(layout, params, bounds, model.given)
    args = (model, limits, layout, pad(data))
    free = limits.free(layout.flatten(params))
    values, slopes, gradient, extra = map(np.asarray, _expand(free, args))
    # A parameter at its limit does not follow the data: it is held there.
    inner = ~np.asarray(limits.inside(free, AT_LIMIT)[1])
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
    if not step @ step < STATIONARY:
        raise ValueError(
            f"fit must be at its optimum, but a step would lower its chi^2 by {step @ step:.2g}."
        )
    J = -slopes[: data.pos.size]
    chi = values[: data.pos.size]
    return Linear(chi, J, root, J @ root, step, free, inner, layout, limits)


@eqx.filter_jit
def _expand(z: Array, args) -> tuple[Array, Array, Array, Array]:
    """Residuals, their derivatives, the objective's gradient and the penalty's curvature at z."""
    model, bounds, layout, _ = args

    def penalty(y):
        return model.penalty(layout.unflatten(bounds.constrain(y)))

    values, push = jax.linearize(lambda y: residuals(y, args), z)
    slopes = jax.vmap(push, out_axes=-1)(jnp.eye(z.size))
    return values, slopes, slopes.T @ values + jax.grad(penalty)(z), jax.hessian(penalty)(z)
