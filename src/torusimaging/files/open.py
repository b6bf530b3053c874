"""Table files by name: opened, found in folders, written."""

import filecmp
import glob
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import astropy.units as u
import numpy as np
from numpy.typing import NDArray

from ..arguments import is_whole_number, mapping, shown
from ..units import unit_words
from .arrow import ParquetFile, pyarrow_part
from .csv_table import CsvFile
from .csv_text import layout_of
from .fits import FitsFile
from .formats import META, UNIT, TableError, TableFile, native
from .hats import hats_files
from .paths import as_path, existing_file
from .small import SmallFile
from .writing import write_complete

ENDINGS = {
    ".fits": "fits",
    ".fit": "fits",
    ".parquet": "parquet",
    ".parq": "parquet",
    ".csv": "csv",
    ".ecsv": "ecsv",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
}
ENDS = 1 << 14  # bytes of a file's ends that are compared


def open_table(path: str | os.PathLike, hdu: int | str | None = None) -> TableFile:
    """Open a table file, whose kind its ending tells; a FITS file may be compressed (``.gz``).

    `hdu` is the number or name of a FITS table, by default the first, or that of a table in a
    VOTable that holds several (numbers from 0).  An ECSV table may be named ``.csv``, and a Parquet
    file anything.

    Raises ``FileNotFoundError`` for no file, ``ValueError`` for what is no path, a folder, a pipe
    or device, or an unknown ending, and `TableError` for an HDU that is no table and a truncated or
    damaged file.
    """
    path = existing_file(path, want="a table file")
    kind = _kind(path) or _kind_within(path)
    if kind is None:
        raise ValueError(
            f"{path} must be a table whose name ends with {', '.join(ENDINGS)} (or .fits.gz)."
        )
    if hdu is not None and kind not in ("fits", "votable"):
        raise ValueError(f"hdu is for FITS files and VOTables, but {path} is none.")
    named = isinstance(hdu, str) and hdu.strip()
    if not (hdu is None or named or (is_whole_number(hdu) and hdu >= 0)):
        raise ValueError(
            f"hdu must be a whole number of at least 0 or a name, but {shown(hdu)} was given."
        )
    if path.stat().st_size == 0:
        raise TableError(f"{path} is empty.")
    if kind == "fits":
        return FitsFile(path, hdu)
    if kind == "parquet":
        return ParquetFile(path)
    if kind != "csv":
        return SmallFile(path, kind, hdu)
    layout = layout_of(path)
    return SmallFile(path, "ecsv") if layout.is_ecsv else CsvFile(path, layout)


def expand(paths: str | os.PathLike | Sequence[str | os.PathLike]) -> list[Path]:
    """The table files that a file, a folder, a pattern such as ``*.parquet`` or a list stands for.

    Of a folder, all table files at any depth in the order of their names, without those whose name
    or folder begins with a dot or an underscore; of a HATS catalogue, the Parquet files of its
    dataset.  Raises ``FileNotFoundError`` where there is none and ``ValueError`` for a file that is
    named twice and as `hats_files` does.
    """
    if isinstance(paths, str | bytes | os.PathLike) or not np.iterable(paths):
        paths = [paths]
    found: list[Path] = []
    for given in paths:
        path = as_path(given, "paths", "name files or folders")
        if path.is_dir():
            found += _in_folder(path)
        elif path.exists():
            found.append(path)
        elif path.is_symlink():
            existing_file(path, want="a table file")  # says where the link ends
        else:
            matches = sorted(Path(p) for p in glob.glob(str(path), recursive=True))
            if not matches:
                raise FileNotFoundError(f"there is no file {given}.")
            found += [f for m in matches for f in (_in_folder(m) if m.is_dir() else [m])]
    if not found:
        raise FileNotFoundError("paths must name at least one file, but the list is empty.")
    seen = set()
    for path in found:
        # Links of any kind lead to the same place on the disk.
        place = path.stat().st_dev, path.stat().st_ino
        if place in seen:
            raise ValueError(f"{path} is given twice: its stars would count twice.")
        seen.add(place)
    _check_copies(found)
    return found


def _check_copies(paths: list[Path]) -> None:
    """Raise a ``ValueError`` for a file that has the content of another."""
    # Nearly all files differ in size, and nearly all others where they begin or end.
    alike: dict[int, list[Path]] = {}
    for path in paths:
        alike.setdefault(path.stat().st_size, []).append(path)
    for size, group in alike.items():
        ends: dict[tuple[bytes, bytes], list[Path]] = {}
        for path in group if size > 0 and len(group) > 1 else ():
            others = ends.setdefault(_ends(path), [])
            for other in others:
                if filecmp.cmp(path, other, shallow=False):
                    raise ValueError(f"{path} is a copy of {other}: its stars would count twice.")
            others.append(path)


def _ends(path: Path) -> tuple[bytes, bytes]:
    """A file's first and last bytes."""
    try:
        with open(path, "rb") as file:
            head = file.read(ENDS)
            file.seek(-min(ENDS, path.stat().st_size), os.SEEK_END)
            return head, file.read(ENDS)
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}.") from None


def write_table(
    path: str | os.PathLike, columns: Mapping[str, u.Quantity | NDArray], meta: dict | None = None
) -> Path:
    """Write columns to a Parquet file, units and `meta` (JSON) in its metadata, or nothing.

    Masked values are missing ones in the file, too.  Raises ``ValueError`` for columns of unequal
    length, for what is no path, no columns by name or no `meta` by name that JSON can hold, and
    ``OSError`` where the file cannot be written.
    """
    path, words = as_path(path), _meta_words(meta)
    parquet = pyarrow_part("parquet")
    import pyarrow as pa

    if not mapping(columns, "columns"):
        raise ValueError("columns must hold at least one column, but are empty.")
    sizes = {name: np.shape(values) for name, values in columns.items()}
    if len(set(sizes.values())) > 1 or any(len(shape) != 1 for shape in sizes.values()):
        raise ValueError(f"columns must be rows of equal length, but have shapes {sizes}.")
    fields, arrays = [], []
    for name, values in columns.items():
        mask = getattr(values, "mask", None)
        plain = native(np.asarray(getattr(values, "unmasked", values)))
        array = pa.array(plain, mask=None if mask is None else np.broadcast_to(mask, plain.shape))
        unit = unit_words(getattr(values, "unit", None))
        fields.append(pa.field(name, array.type, metadata={UNIT: unit.encode()} if unit else None))
        arrays.append(array)
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={META: words}))
    return write_complete(
        path, lambda name: parquet.write_table(table, name, write_page_checksum=True)
    )


def _meta_words(meta: dict | None) -> bytes:
    """A table's own words as JSON."""
    words = {} if meta is None else mapping(meta, "meta")
    try:
        return json.dumps(words).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"meta must hold what JSON can, but does not: {error}.") from None


def _kind(path: Path) -> str | None:
    name = path.name.lower()
    if name.endswith((".fits.gz", ".fit.gz")):
        return "fits"
    return ENDINGS.get(Path(name).suffix)


def _kind_within(path: Path) -> str | None:
    """The kind of a file whose ending tells none, as HATS catalogues may name theirs."""
    with open(path, "rb") as file:
        return "parquet" if file.read(4) == b"PAR1" else None


def _in_folder(folder: Path) -> list[Path]:
    """Table files of a folder, of a HATS catalogue those of its stars alone."""
    found = hats_files(folder)
    if found is None:
        found = [
            path
            for path in sorted(folder.rglob("*"))
            if path.is_file()
            and _kind(path) is not None
            and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        ]
    if not found:
        raise FileNotFoundError(f"the folder {folder} holds no table file.")
    return found
