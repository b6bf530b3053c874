from .spline import TorusImaging1DSpline
from .user import TorusImaging1D

__all__ = ["TorusImaging1D", "TorusImaging1DSpline"]
