"""Orbital torus imaging: the Milky Way's vertical acceleration from stellar labels."""

from . import data, mock, plot
from .models import (
    Layer,
    TorusImaging1D,
    TorusImaging1DPotential,
    TorusImaging1DSpline,
    solar_layers,
)
from .results import Fit, fit_map, load

__all__ = [
    "Fit",
    "Layer",
    "TorusImaging1D",
    "TorusImaging1DPotential",
    "TorusImaging1DSpline",
    "data",
    "fit_map",
    "load",
    "mock",
    "plot",
    "solar_layers",
]
__version__ = "0.2.0.dev0"
