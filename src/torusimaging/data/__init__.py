"""Stars to maps: counts and label means over the (pos, vel) plane."""

from .binning import get_binned_counts, get_binned_label

__all__ = ["get_binned_counts", "get_binned_label"]
