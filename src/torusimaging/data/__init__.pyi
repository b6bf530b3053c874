from .binning import get_binned_counts, get_binned_label
from .files import open_table, write_table
from .streaming import bin_files
from .tables import read_map, write_map

__all__ = [
    "bin_files",
    "get_binned_counts",
    "get_binned_label",
    "open_table",
    "read_map",
    "write_map",
    "write_table",
]
