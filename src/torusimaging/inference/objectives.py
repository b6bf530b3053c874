"""What fits minimise and samplers draw from: functions of the free vector z.

Each takes ``args = (model, bounds, layout, data)``; z is mapped to the parameters by the bounds.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from ..likelihoods import pixels as likelihoods


def residuals(z: Array, args: Any) -> Array:
    """Residuals of the pixels in units of their errors, then those of the prior."""
    model, bounds, layout, data = args
    params = layout.unflatten(bounds.constrain(z))
    fit = model.label_at(data.pos, data.vel, params)
    chi = likelihoods.gaussian_residuals(fit, data.label, data.label_err)
    return jnp.concatenate([chi, model.prior_residuals(params)])


def count_residuals(z: Array, args: Any) -> Array:
    """Deviance residuals of the pixels' counts, then those of the prior."""
    model, bounds, layout, data = args
    params = layout.unflatten(bounds.constrain(z))
    ln_rate = model.label_at(data.pos, data.vel, params)
    deviance = likelihoods.poisson_residuals(ln_rate, data.label)
    return jnp.concatenate([deviance, model.prior_residuals(params)])


def half_squares(z: Array, args: Any) -> Array:
    """Minus the ln posterior of pixel means in the parameters, up to a constant."""
    return 0.5 * jnp.sum(residuals(z, args) ** 2) + _penalty(z, args)


def _penalty(z: Array, args: Any) -> Array:
    model, bounds, layout, _ = args
    return model.penalty(layout.unflatten(bounds.constrain(z)))


def poisson(z: Array, args: Any) -> Array:
    """Minus the ln posterior of counts, whose ln rate is the model's label, up to a constant."""
    model, bounds, layout, data = args
    params = layout.unflatten(bounds.constrain(z))
    ln_rate = model.label_at(data.pos, data.vel, params)
    prior = 0.5 * jnp.sum(model.prior_residuals(params) ** 2) + model.penalty(params)
    return prior - likelihoods.ln_poisson(ln_rate, data.label)


def ln_posterior_free(z: Array, args: Any) -> Array:
    """ln posterior of the free vector, with the Jacobian of the bounds."""
    return -half_squares(z, args) + args[1].ln_jacobian(z)


def minus_ln_posterior_free(z: Array, args: Any) -> Array:
    """Its negative, for curvatures."""
    return -ln_posterior_free(z, args)


def minus_ln_prior_free(z: Array, args: Any) -> Array:
    """Minus the ln prior of the free vector."""
    model, bounds, layout, _ = args
    params = layout.unflatten(bounds.constrain(z))
    squares = 0.5 * jnp.sum(model.prior_residuals(params) ** 2)
    return squares + model.penalty(params) - bounds.ln_jacobian(z)


def ln_whitened(w: Array, args: Any) -> Array:
    """ln posterior of w, with z = centre + factor w."""
    centre, factor, inner = args
    return ln_posterior_free(centre + factor @ w, inner)


OBJECTIVES = {"gaussian": half_squares, "poisson": poisson}
RESIDUALS = {"gaussian": residuals, "poisson": count_residuals}
