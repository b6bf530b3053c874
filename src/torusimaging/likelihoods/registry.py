"""The likelihoods that have a name."""

from typing import Any

from ..arguments import choice
from .base import Likelihood
from .gaussian import GaussianPixels
from .poisson import PoissonPixels
from .stars import SingleStars

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "gaussian": GaussianPixels,
    "poisson": PoissonPixels,
    "stars": SingleStars,
}


def likelihood_kind(given: Any, name: str = "likelihood") -> type[Likelihood]:
    """The class of a likelihood, from its name or itself; a ``ValueError`` for anything else."""
    if isinstance(given, type) and issubclass(given, Likelihood):
        return given
    return LIKELIHOODS[choice(given, name, LIKELIHOODS)]
