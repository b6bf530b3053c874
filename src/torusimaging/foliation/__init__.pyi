from .fourier import FourierFoliation, UserFunction, solve_r_e
from .potential import PotentialFoliation

__all__ = ["FourierFoliation", "PotentialFoliation", "UserFunction", "solve_r_e"]
