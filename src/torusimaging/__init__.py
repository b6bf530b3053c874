"""Orbital torus imaging: the Milky Way's vertical acceleration from stellar labels."""

from . import data, mock, plot
from .models import TorusImaging1D, TorusImaging1DSpline

__all__ = ["TorusImaging1D", "TorusImaging1DSpline", "data", "mock", "plot"]
__version__ = "0.2.0.dev0"
