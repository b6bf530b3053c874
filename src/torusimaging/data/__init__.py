"""Stars to maps: counts and label means over the (pos, vel) plane."""

from .binning import get_binned_counts, get_binned_label
from .tables import read_map, write_map

__all__ = ["get_binned_counts", "get_binned_label", "read_map", "write_map"]
