from ..files.open import open_table, write_table
from .binning import get_binned_counts, get_binned_label
from .csvmap import read_map, write_map
from .star_tables import stars_of
from .streaming import bin_files

__all__ = [
    "bin_files",
    "get_binned_counts",
    "get_binned_label",
    "open_table",
    "read_map",
    "stars_of",
    "write_map",
    "write_table",
]
