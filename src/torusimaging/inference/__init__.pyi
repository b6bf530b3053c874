from .checkpoint import Checkpoint
from .nuts import Chains, Interrupted, Progress, sample_nuts
from .optimize import OptimizeResult, OptimizeState, minimise, minimise_squares

__all__ = [
    "Chains",
    "Checkpoint",
    "Interrupted",
    "OptimizeResult",
    "OptimizeState",
    "Progress",
    "minimise",
    "minimise_squares",
    "sample_nuts",
]
