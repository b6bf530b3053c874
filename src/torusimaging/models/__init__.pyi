from .base import OrbitModel
from .densities import FreeDensity, UserDensity
from .layers import Layer, LayeredDensity, solar_layers
from .potential import TorusImaging1DPotential
from .smooth import SmoothDensity
from .spline import TorusImaging1DSpline
from .user import TorusImaging1D

__all__ = [
    "FreeDensity",
    "Layer",
    "LayeredDensity",
    "OrbitModel",
    "SmoothDensity",
    "TorusImaging1D",
    "TorusImaging1DPotential",
    "TorusImaging1DSpline",
    "UserDensity",
    "solar_layers",
]
