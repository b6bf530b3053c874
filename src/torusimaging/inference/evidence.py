"""The evidence of a model of data: Laplace's formula, and by weighted draws.

Z is the integral of L(x) pi(x) dx with the normalised likelihood L, for pixels with normal errors
ln L = -sum [chi^2 / 2 + ln(err sqrt(2 pi))], and the prior pi normalised inside the bounds.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..likelihoods import Likelihood
from ..priors.joint import LN_2PI, Prior
from . import laplace, optimize
from .problem import Problem, Whitened, ln_whitened, minus_ln_prior_free, residuals

MAX_STEPS = 256


class Evidence(NamedTuple):
    """Weighted draws of a posterior and the ln of its integral.

    Attributes
    ----------
    draws : parameters, shape (n, d);  ln_ratio : their raw ln weights, shape (n,), up to a constant
    ln_weights : smoothed and normalised, shape (n,);  pareto_k : of the raw weights
    ln_laplace, ln_evidence, error : ln Z by Laplace's formula, by the weights, and its sd
    n_constrained : parameters that the data set, d - trace(prior's curvature x covariance)
        (MacKay 1992, Neural Computation 4, 415)
    note : why there is no evidence (then NaN), or nothing
    """

    draws: np.ndarray
    ln_ratio: np.ndarray
    ln_weights: np.ndarray
    pareto_k: float
    ln_laplace: float
    ln_evidence: float
    error: float
    n_constrained: float
    note: str


def weighted_evidence(problem: Problem, params: dict, seed: int = 0, size: int = 2000) -> Evidence:
    r"""The evidence from `size` or more weighted draws about the optimum (see `weigh_normal`).

    In the free vector z, with p(z) = L pi |dx/dz|:  Z = 1/n sum_s p(z_s) / N(z_s; z*, C), the
    weights' tail smoothed, and by Laplace's formula ln Z = ln p(z*) + d/2 ln(2 pi) + 1/2 ln det C
    + 1/2 g^T C g, where g, the slope of ln p at z*, is that of |dx/dz| alone: the optimum is that
    of the parameters.  The weights' error is sqrt(1 / ess - 1 / n); that of
    the prior's volume, which is counted, comes on top.

    Raises ``ValueError`` where the curvature at `params` is not positive.
    """
    layout, whitened = problem.layout, Whitened.of(problem, params)
    found = laplace.weigh_normal(ln_whitened, whitened, layout.size, size, seed)
    peak, slope, curvature = (np.asarray(a) for a in _expand(whitened))
    try:
        ln_volume, volume_error = ln_prior_volume(problem, params)
        constant, note = problem.likelihood.ln_constant - ln_volume, ""
    except ValueError as reason:
        constant, volume_error, note = np.nan, 0.0, str(reason)
    constant += np.linalg.slogdet(whitened.factor)[1]
    laplace_integral = peak + 0.5 * slope @ slope + 0.5 * layout.size * LN_2PI
    return Evidence(
        draws=whitened.draws(found.draws),
        ln_ratio=found.ln_ratio,
        ln_weights=found.ln_weights,
        pareto_k=found.pareto_k,
        ln_laplace=float(laplace_integral + constant),
        ln_evidence=found.ln_mean + float(constant),
        error=float(np.sqrt(max(1 / found.ess - 1 / len(found.draws), 0.0) + volume_error**2)),
        n_constrained=layout.size - float(np.trace(curvature)),
        note=note,
    )


def quick_evidence(model, likelihood: Likelihood, params, bounds) -> float:
    """ln Z by Laplace's formula with the curvature J^T J of the least-squares fit from `params`.

    It needs no program besides the fit's own.  -inf where the fit does not converge.  Raises
    ``ValueError`` for priors that are no sum of squares and those that cannot be normalised.
    """
    if not model.is_least_squares:
        raise ValueError(
            'knots="auto" needs priors that are normal or uniform, but some of '
            f"{', '.join(model.given) or 'the regularisation'} are not."
        )
    problem = Problem.of(model, likelihood, params, bounds)
    fit = optimize.fit_squares(residuals, problem.free(params), problem, MAX_STEPS)
    sign, ln_det = np.linalg.slogdet(np.asarray(fit.normal))
    if not fit.finished or not np.isfinite(fit.value) or sign <= 0:
        return -np.inf
    peak = -float(fit.value) + float(problem.bounds.ln_jacobian(fit.z))
    peak += problem.likelihood.ln_constant
    ln_volume, _ = ln_prior_volume(problem, params)
    return peak + 0.5 * problem.layout.size * LN_2PI - 0.5 * ln_det - ln_volume


def ln_prior_volume(problem: Problem, params: dict) -> tuple[float, float]:
    """ln of the integral over the bounds of what `minus_ln_prior_free` calls the prior, its sd."""
    params = problem.model.floats(params)
    prior = Prior.of(problem.model, params, problem.layout, problem.bounds)
    return prior.ln_normalisation()


@eqx.filter_jit
def _expand(whitened: Whitened) -> tuple[Array, Array, Array]:
    """ln posterior of the whitened vector and its slope at 0, and the ln prior's curvature."""
    centre, factor, problem = whitened.centre, whitened.factor, whitened.problem
    zero = jnp.zeros(centre.size)
    value, slope = jax.value_and_grad(ln_whitened)(zero, whitened)
    curvature = jax.hessian(lambda w: minus_ln_prior_free(centre + factor @ w, problem))
    return value, slope, curvature(zero)
