from .laplace import laplace_factor
from .nuts import Chains, sample_nuts
from .optimize import OptimizeResult, OptimizeState, minimise, minimise_squares

__all__ = [
    "Chains",
    "OptimizeResult",
    "OptimizeState",
    "laplace_factor",
    "minimise",
    "minimise_squares",
    "sample_nuts",
]
