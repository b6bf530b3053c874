"""Actions, angles and frequencies of stars in every orbit family."""

from .fourier import OrbitTable, last_radius, orbits, tabulate
from .potential import potential_orbits
from .tables import BEYOND, INSIDE, NOT_FINITE, OUTWARD, Orbits

__all__ = [
    "BEYOND",
    "INSIDE",
    "NOT_FINITE",
    "OUTWARD",
    "OrbitTable",
    "Orbits",
    "last_radius",
    "orbits",
    "potential_orbits",
    "tabulate",
]
