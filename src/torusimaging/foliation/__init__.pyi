from .base import Foliation, point_on_ray
from .fourier import FourierFoliation, UserFunction
from .fourier_orbits import solve_r_e
from .potential import PotentialFoliation

__all__ = [
    "Foliation",
    "FourierFoliation",
    "PotentialFoliation",
    "UserFunction",
    "point_on_ray",
    "solve_r_e",
]
