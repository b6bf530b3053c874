"""A label as a function of the orbit: what a model gives to each orbit, with its prior."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .priors.slopes import published_slope_residuals, slope_residuals
from .splines import QuadraticSpline


class Label(eqx.Module):
    """A label on the orbits of each radius r (abstract); its parameters are ``label_params``."""

    @abc.abstractmethod
    def value(self, r: Array, params: dict) -> Array:
        """The label on orbits of radius r (kpc Myr^-1/2)."""

    @property
    def places(self) -> Array:
        """Radii at which the function bends; none for one that is smooth."""
        return jnp.zeros(0)

    def template(self) -> dict | None:
        """Parameters of the right shape at the prior's centre; None where it cannot be known."""
        return None

    def prior_factors(self, params: dict) -> dict[str, Array]:
        """Factors of the prior by parameter, as residuals; none here."""
        return {}


class SplineLabel(Label):
    """A quadratic spline whose slopes are smooth, and of one sign where it is monotone.

    Parameters ``label_vals``: the label at r = 0 and, at the other knots, the ln-slopes of sign
    times label or, where it is not monotone, the slopes in units of exp(reference).

    Attributes
    ----------
    knots : radii, increasing from 0 (kpc Myr^-1/2)
    reference : ln-slope about which the prior of the slopes lies
    sigmas : sd of the slopes about it, and of their random walk
    sign : +1 for a label that rises outwards, -1 for one that falls
    monotone : whether it may only rise, or only fall
    published : whether the prior is that of the published package, which is no distribution
    """

    knots: Float[Array, " k"]
    reference: Float[Array, ""]
    sigmas: Float[Array, " 2"]
    sign: int = eqx.field(static=True)
    monotone: bool = eqx.field(static=True, default=True)
    published: bool = eqx.field(static=True, default=False)

    def value(self, r: Array, params: dict) -> Array:
        """The label on orbits of radius r."""
        vals = jnp.asarray(params["label_vals"])
        slopes = jnp.exp(vals[1:]) if self.monotone else jnp.exp(self.reference) * vals[1:]
        return QuadraticSpline(self.knots, vals[0], self.sign * slopes)(r)

    @property
    def places(self) -> Array:
        """The knots."""
        return self.knots

    @property
    def _centre(self) -> Array:
        return self.reference if self.monotone else jnp.ones(())

    def template(self) -> dict:
        """Parameters at the centre of the prior, the label at r = 0 being 0."""
        slopes = jnp.full(self.knots.size - 1, self._centre)
        return {"label_vals": jnp.concatenate([jnp.zeros(1), slopes])}

    def start(self, at_centre: float) -> dict:
        """Parameters at the centre of the prior with this label at r = 0."""
        slopes = np.full(self.knots.size - 1, float(self._centre))
        return {"label_vals": np.r_[at_centre, slopes]}

    def prior_factors(self, params: dict) -> dict[str, Array]:
        """The smoothness of the slopes."""
        slopes = params["label_vals"][1:]
        if self.published:
            return {"label_vals[1:]": published_slope_residuals(slopes, *self.sigmas)}
        return {"label_vals[1:]": slope_residuals(slopes, self._centre, *self.sigmas)}


class FunctionLabel(Label):
    """A user's own function ``func(r, **label_params)``, element by element."""

    func: Callable = eqx.field(static=True)

    def value(self, r: Array, params: dict) -> Array:
        """The label on orbits of radius r."""
        return jnp.broadcast_to(self.func(r, **params), jnp.shape(r))
