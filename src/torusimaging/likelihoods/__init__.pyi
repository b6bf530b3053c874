from .base import Likelihood
from .gaussian import GaussianPixels
from .poisson import PoissonPixels
from .registry import LIKELIHOODS, likelihood_kind

__all__ = ["LIKELIHOODS", "GaussianPixels", "Likelihood", "PoissonPixels", "likelihood_kind"]
