from .fourier import FourierFoliation, UserFunction, solve_r_e

__all__ = ["FourierFoliation", "UserFunction", "solve_r_e"]
