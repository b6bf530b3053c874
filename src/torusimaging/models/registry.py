"""The models that `fit_map`, files and comparisons know by a name."""

from .potential import TorusImaging1DPotential
from .spline import TorusImaging1DSpline

MODELS = {"potential": TorusImaging1DPotential, "spline": TorusImaging1DSpline}
