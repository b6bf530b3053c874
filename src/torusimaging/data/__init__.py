"""Stars to maps: counts and label means over the (pos, vel) plane.

Each name is imported at its first use, so that a fit of a map does not wait for what bins stars.
"""

import importlib

import lazy_loader

_own, _, _names = lazy_loader.attach(
    __name__,
    submod_attrs={
        "binning": ["get_binned_counts", "get_binned_label"],
        "csvmap": ["read_map", "write_map"],
        "star_tables": ["stars_of"],
        "streaming": ["bin_files"],
    },
)
# Tables of stars are read and written by `files`, and asked for here.
TABLES = ("open_table", "write_table")
__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    *_names,
    *TABLES,
]


def __getattr__(name: str):
    if name in TABLES:
        return getattr(importlib.import_module("torusimaging.files.open"), name)
    return _own(name)


def __dir__() -> list[str]:
    return __all__
