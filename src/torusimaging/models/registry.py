"""The models that have a name: those that `fit_map` and files know by it."""

from typing import Any

from ..arguments import choice
from .base import OrbitModel
from .potential import TorusImaging1DPotential
from .spline import TorusImaging1DSpline

MODELS: dict[str, type[OrbitModel]] = {
    "potential": TorusImaging1DPotential,
    "spline": TorusImaging1DSpline,
}


def model_kind(given: Any) -> type[OrbitModel]:
    """The class of a model, from its name or itself; a ``ValueError`` for anything else."""
    if isinstance(given, type) and issubclass(given, OrbitModel):
        return given
    return MODELS[choice(given, "model", MODELS)]
