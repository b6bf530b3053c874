"""Orbital torus imaging: the Milky Way's vertical acceleration from stellar labels."""

from . import data, mock, plot
from .models import TorusImaging1D, TorusImaging1DSpline
from .results import Fit, fit_map, load

__all__ = [
    "Fit",
    "TorusImaging1D",
    "TorusImaging1DSpline",
    "data",
    "fit_map",
    "load",
    "mock",
    "plot",
]
__version__ = "0.2.0.dev0"
