"""Checks that several figures share."""

from ..arguments import shown
from ..data.pixels import require_x64
from ..inference.draws import Samples
from ..models.base import OrbitModel
from ..results.fit import Fitted


def check_params(model: OrbitModel, params: dict, name: str = "params") -> None:
    """Raise a ``ValueError`` unless `params` is a full set of the parameters of `model`."""
    if not isinstance(model, OrbitModel):
        raise ValueError(f"model must be a model of orbits, but {shown(model)} was given.")
    if not isinstance(params, dict):
        raise ValueError(f"{name} must be a dictionary, but {shown(params)} was given.")
    require_x64(model)
    parts = tuple(dict.fromkeys((*model.parts, "label_params")))
    missing = [k for k in parts if k not in params]
    if missing:
        raise ValueError(
            f"{name} must have {', '.join(parts)}, but {', '.join(missing)} is missing."
        )
    model.floats(params)


def check_draws(fit: Fitted) -> Samples:
    """The draws of a fit; a ``ValueError`` where it has none."""
    if not isinstance(fit, Fitted):
        raise ValueError(f"fit must be a Fit, but {type(fit).__name__} was given.")
    if fit.samples is None:
        raise ValueError("the fit has no draws to show: call sample() or laplace() first.")
    return fit.samples
