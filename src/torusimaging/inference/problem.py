"""A problem: a model, the likelihood of data, and how parameters are laid out and bounded.

It is built once and handed to whatever fits, samples or checks.  Functions of the free vector z,
which the bounds map to the parameters, take it as their second argument.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..coordinates import Points
from ..likelihoods import Likelihood
from ..parameters import Bounds, Layout, make_bounds
from ..priors.named import mean_and_sd
from .laplace import hessian, inverse_root
from .many import Slopes
from .optimize import (
    NEGLIGIBLE,
    OptimizeResult,
    describe,
    judge,
    minimise,
    minimise_squares,
)

# Free entries are kept so far from their limits where the curvature is taken.
WELL_INSIDE = 6.0
# Steps of BFGS for each one that may be taken.
BFGS_STEPS = 4


class Problem(eqx.Module):
    """Model, likelihood, layout and bounds of one fit.

    `approximate` says that parameters are an optimum to within a part of their errors only: that of
    another likelihood, of which this one is a view.
    """

    model: Any
    likelihood: Likelihood
    layout: Layout
    bounds: Bounds
    approximate: bool = eqx.field(static=True, default=False)

    @classmethod
    def of(cls, model: Any, likelihood: Likelihood, params: dict, bounds: Any) -> "Problem":
        """The problem of parameters of the structure of `params` inside `bounds`.

        Raises ``ValueError`` for bad parameters and bounds, and for a prior of the centre that
        lies outside of the data.
        """
        params = model.floats(params)
        layout = Layout.of(params)
        limits = make_bounds(layout, params, bounds, model.given)
        check_places(model.given, likelihood.points)
        return cls(model, likelihood.padded(), layout, limits)

    @classmethod
    def unlimited(cls, model: Any, likelihood: Likelihood, params: dict) -> "Problem":
        """The problem whose free vector is that of the parameters themselves."""
        layout, limits = model.unlimited(params)
        return cls(model, likelihood.padded(), layout, limits)

    def params(self, z: Array) -> dict:
        """The parameters of a free vector."""
        return self.layout.unflatten(self.bounds.constrain(z))

    def free(self, params: dict) -> Array:
        """The free vector of parameters."""
        return self.bounds.free(self.layout.flatten(params))

    def predict(self, params: dict) -> Any:
        """What the likelihood compares the data with."""
        return self.likelihood.predict(self.model, params)

    def curvature(self, z: Array, free: bool = False) -> np.ndarray:
        """Second derivatives of minus the ln posterior at z: of the parameters, or the free vector.

        Shape (d, d), in the entries of z in both cases.
        """
        if self.likelihood.many:
            return Slopes(self, minus_ln_prior_free if free else minus_ln_prior).curvature(z)
        return hessian(minus_ln_posterior_free if free else minus_ln_posterior, z, self)

    @property
    def least_squares(self) -> bool:
        """Whether likelihood and prior are one sum of squares."""
        return self.likelihood.least_squares and self.model.is_least_squares


def residuals(z: Array, problem: Problem) -> Array:
    """Residuals of the data in units of their errors, then those of the prior."""
    params = problem.params(z)
    chi = problem.likelihood.residuals(problem.predict(params))
    return jnp.concatenate([chi, problem.model.prior_residuals(params)])


def minus_ln_prior(z: Array, problem: Problem) -> Array:
    """Minus the ln prior of the parameters, up to a constant."""
    params, model = problem.params(z), problem.model
    return 0.5 * jnp.sum(model.prior_residuals(params) ** 2) + model.penalty(params)


def minus_ln_prior_free(z: Array, problem: Problem) -> Array:
    """Minus the ln prior of the free vector, with the Jacobian of the bounds."""
    return minus_ln_prior(z, problem) - problem.bounds.ln_jacobian(z)


def minus_ln_posterior(z: Array, problem: Problem) -> Array:
    """Minus the ln posterior in the parameters, up to a constant."""
    params, model = problem.params(z), problem.model
    if problem.likelihood.cost_is_squares:
        # One sum over all residuals compiles to a program that is up to three times as fast.
        return 0.5 * jnp.sum(residuals(z, problem) ** 2) + model.penalty(params)
    return problem.likelihood.cost_of(model, params) + minus_ln_prior(z, problem)


def ln_posterior_free(z: Array, problem: Problem) -> Array:
    """ln posterior of the free vector, with the Jacobian of the bounds."""
    return -minus_ln_posterior(z, problem) + problem.bounds.ln_jacobian(z)


def minus_ln_posterior_free(z: Array, problem: Problem) -> Array:
    """Its negative, for curvatures."""
    return -ln_posterior_free(z, problem)


def solve(problem: Problem, start: dict, max_steps: int, throw: bool) -> OptimizeResult:
    """Maximise the posterior of the parameters from `start`.

    Raises ``RuntimeError`` with the state's sentence, unless ``throw=False``, where the optimiser
    did not converge.
    """
    z, slopes = problem.free(start), None
    if problem.least_squares:
        z, steps, good = minimise_squares(residuals, z, problem, max_steps)
    elif problem.likelihood.many:
        slopes = Slopes(problem, minus_ln_prior)
        z, steps, good = slopes.minimise(z, BFGS_STEPS * max_steps, NEGLIGIBLE)
    else:
        # Steps of BFGS are cheaper and shorter than those of Levenberg-Marquardt.
        z, steps, good = minimise(minus_ln_posterior, z, problem, BFGS_STEPS * max_steps)
    value, curvature = slopes(z)[0] if slopes else _value(z, problem), slopes and slopes.curvature
    code = judge(minus_ln_posterior, z, problem, value, bool(good), curvature)
    # At a bound z runs to infinity: the optimum is then put just inside.
    z, limited = problem.bounds.inside(z)
    names = [n for n, end in zip(problem.layout.names(), limited, strict=True) if end]
    state = describe(code, value, int(steps), names)
    if throw and not state.success:
        raise RuntimeError(f"{state.message} (objective {state.value:.6g}, {steps} steps)")
    return OptimizeResult(jax.tree.map(np.asarray, problem.params(z)), state)


def _value(z: Array, problem: Problem) -> float:
    return float(evaluate(minus_ln_posterior, z, problem))


class Whitened(eqx.Module):
    """A problem in w, with z = centre + factor w: near a standard normal about an optimum."""

    problem: Problem
    centre: Array
    factor: Array

    @classmethod
    def of(cls, problem: Problem, params: dict) -> "Whitened":
        """Whitened by the curvature at the optimum `params`.

        Raises ``ValueError`` where that is not positive in every direction.
        """
        centre = problem.free(problem.model.floats(params))
        near, limited = problem.bounds.inside(centre, WELL_INSIDE)
        if any(limited):
            # An optimum at a bound has no curvature there; that of the free vector lies inside.
            if problem.likelihood.many:
                slopes = Slopes(problem, minus_ln_prior_free)
                centre, _, _ = slopes.minimise(near, 256, NEGLIGIBLE)
            else:
                centre, _, _ = minimise(minus_ln_posterior_free, near, problem, 256)
        curvature = problem.curvature(centre, free=True)
        return cls(problem, centre, jnp.asarray(inverse_root(curvature)))

    def draws(self, w: Array | np.ndarray) -> np.ndarray:
        """Flat parameters of whitened vectors, shape (..., d)."""
        free = np.asarray(self.centre) + np.asarray(w) @ np.asarray(self.factor).T
        flat = free.reshape(-1, free.shape[-1])
        return np.asarray(constrain(self.problem.bounds, jnp.asarray(flat))).reshape(free.shape)


def ln_whitened(w: Array, whitened: Whitened) -> Array:
    """ln posterior of the whitened vector w."""
    return ln_posterior_free(whitened.centre + whitened.factor @ w, whitened.problem)


@eqx.filter_jit
def constrain(bounds: Bounds, z: Array) -> Array:
    """Parameters of free vectors, shape (n, d)."""
    return jax.vmap(bounds.constrain)(z)


@eqx.filter_jit
def evaluate(function, z: Array, problem: Any) -> Array:
    """The value of a function of the free vector."""
    return function(z, problem)


@eqx.filter_jit
def evaluate_label(model, params: dict, points: Points) -> Array:
    """The model's label at points."""
    return model.label_at(points, params)


@eqx.filter_jit
def evaluate_prediction(model, likelihood: Likelihood, params: dict) -> Array:
    """What the likelihood compares its data with, for one set of parameters."""
    return likelihood.predict(model, params)


@eqx.filter_jit
def whitening(problem: Problem, params: dict) -> Array:
    """Minus the derivatives of the residuals in their predictions, for one set of parameters."""
    params = jax.tree.map(jnp.asarray, params)
    return problem.likelihood.slopes(problem.predict(params))


@eqx.filter_jit
def ln_pointwise(model, likelihood: Likelihood, layout: Layout, draws: Array) -> Array:
    """ln probability of each datum for each flat parameter vector, shape (draws, n)."""

    def one(x):
        return likelihood.pointwise(likelihood.predict(model, layout.unflatten(x)))

    return jax.lax.map(one, draws, batch_size=16)


def check_places(priors: dict, points: Points) -> None:
    """Raise a ``ValueError`` for a prior of pos0 or vel0 whose mean lies outside of the data.

    Priors are plain numbers in kpc and kpc/Myr, for which those in pc or km/s are easily taken.
    """
    for name, x, unit, other in (
        ("pos0", points.pos, "kpc", "1 pc = 0.001 kpc"),
        ("vel0", points.vel, "kpc/Myr", "1 km/s = 0.001023 kpc/Myr"),
    ):
        moments = mean_and_sd(priors[name]) if name in priors else None
        if moments is None:
            continue
        low, high = float(np.min(x)), float(np.max(x))
        if abs(moments[0] - (low + high) / 2) > high - low:
            raise ValueError(
                f"priors[{name!r}] is in {unit} and has its mean at {moments[0]:.4g}, outside of "
                f"the map, which spans {low:.4g} to {high:.4g} {unit} ({other})."
            )
