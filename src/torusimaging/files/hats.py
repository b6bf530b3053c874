"""HATS catalogues: the files that hold their stars, and catalogues that LSDB has opened.

A HATS catalogue is a folder of Parquet files, one for each patch of the sky, beside statistics and
maps; a collection holds a catalogue and its margins, whose stars are in the catalogue, too.
"""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..units import stated_unit
from .arrow import UNIT_KEYS, from_arrow
from .formats import TableError, TableFile


def hats_files(folder: Path) -> list[Path] | None:
    """The Parquet files of a HATS catalogue or collection, None for another folder.

    How the catalogue names them, ``Npix=N`` and an ending, or files in folders ``Npix=N``, is its
    property ``hats_npix_suffix``.

    Raises ``ValueError`` for a margin, for a collection without its catalogue, and for a folder
    that holds catalogues beside other things.
    """
    if (collection := _properties(folder, "collection.properties")) is not None:
        primary = folder / collection.get("hats_primary_table_url", "")
        if primary == folder or not (primary / "hats.properties").exists():
            raise ValueError(f"{folder} is a HATS collection without its catalogue.")
        return hats_files(primary)
    own = _properties(folder, "hats.properties")
    if own is None:
        if inner := next(folder.rglob("hats.properties"), None):
            raise ValueError(
                f"{folder} holds the HATS catalogue {inner.parent.name!r} beside other things: "
                "name the catalogue."
            )
        return None
    kind = own.get("dataproduct_type", "object")
    if kind not in ("object", "source"):
        raise ValueError(f"{folder} is a HATS {kind}, not a catalogue of stars.")
    suffix = own.get("hats_npix_suffix") or ".parquet"
    pattern = "Npix=*/**/*" if suffix == "/" else f"Npix=*{glob.escape(suffix)}"
    found = [
        path
        for path in sorted((folder / "dataset").rglob(pattern))
        if path.is_file() and not path.name.startswith((".", "_"))
    ]
    if not found:
        raise FileNotFoundError(
            f"the HATS catalogue {folder} holds no file dataset/**/{pattern}, as its "
            f"hats_npix_suffix, {suffix!r}, says."
        )
    return found


def _properties(folder: Path, name: str) -> dict[str, str] | None:
    path = folder / name
    if not path.exists():
        return None
    pairs = (
        line.partition("=") for line in path.read_text(errors="replace").splitlines() if "=" in line
    )
    return {key.strip(): value.strip() for key, _, value in pairs if not key.startswith("#")}


def is_opened(paths: Any) -> bool:
    """Whether LSDB has opened this: a catalogue, perhaps with cuts, that is worked out later."""
    return hasattr(paths, "to_delayed") and hasattr(paths, "hc_structure")


class Partition(TableFile):
    """A partition of a catalogue that LSDB has opened, worked out as a whole when it is read."""

    in_memory = True

    def __init__(self, number: int, delayed: Any, name: str, fields: dict):
        self.path, self.delayed = Path(f"{name}/partition-{number}"), delayed
        self.names, self.units, self.n_rows, self.meta = list(fields), fields, None, {}

    def parts(self, rows: int) -> list[None]:
        return [None]

    def pieces(self, columns: Sequence[str], rows: int, part: None):
        import pyarrow as pa

        self.check(columns)
        try:
            frame = self.delayed.compute(scheduler="synchronous")
        except Exception as error:
            raise TableError(f"{self.path} cannot be read: {error}.") from None
        for start in range(0, len(frame), rows):
            some = frame.iloc[start : start + rows]
            arrays = {name: pa.array(some[name], from_pandas=True) for name in columns}
            yield {name: _column(array, name, self.path) for name, array in arrays.items()}


def _column(array: Any, name: str, path: Path) -> np.ndarray:
    if hasattr(array, "combine_chunks"):
        array = array.combine_chunks()
    return from_arrow(array, name, path)


def partitions(catalogue: Any) -> list[TableFile]:
    """The partitions of a catalogue that LSDB has opened, in its own order."""
    schema = getattr(catalogue.hc_structure, "schema", None)
    fields = {name: None for name in catalogue.columns}
    for field in schema or ():
        own = field.metadata or {}
        text = next((own[key].decode() for key in UNIT_KEYS if own.get(key)), None)
        if field.name in fields and text:
            fields[field.name] = stated_unit(text)
    return [
        Partition(i, delayed, catalogue.name, fields)
        for i, delayed in enumerate(catalogue.to_delayed())
    ]
