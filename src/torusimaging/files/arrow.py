"""Columns and files of Apache Arrow: text, numbers and units out of Parquet."""

import io
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from numpy.typing import NDArray

from ..units import stated_unit
from .formats import META, UNIT, Columns, TableError, TableFile, unreadable

# Keys under which a field tells its unit; tables of astropy and VOTables tell it in the schema.
UNIT_KEYS = (UNIT, b"units")
ASTROPY, VOTABLE = b"table_meta_yaml", b"IVOA.VOTable-Parquet.content"
LONGEST = 10_000  # characters of a text: NumPy gives every row the room of the longest


def pyarrow_part(part: str):
    """A module of pyarrow, which only the extra `catalog` installs."""
    try:
        from importlib import import_module

        return import_module(f"pyarrow.{part}")
    except ImportError:
        raise ValueError(
            "Parquet and CSV files need pyarrow: pip install 'orbital-torus-imaging[catalog]'."
        ) from None


class ParquetFile(TableFile):
    """A Parquet file.

    A column's unit is the text under ``unit`` in its field's metadata, or that in the header that
    astropy's tables or VOTables leave in the schema.  What astropy marks as masked is missing.
    """

    def __init__(self, path: Path):
        parquet = pyarrow_part("parquet")
        self.path = path
        try:
            self.file = parquet.ParquetFile(path, memory_map=True)
            schema = self.file.schema_arrow
            words = schema.metadata or {}
            self.n_rows = self.file.metadata.num_rows
            header = _astropy_header(words)
            self.masks = _masks(header, schema.names)
            self.names = [n for n in schema.names if n not in self.masks.values()]
            self.units = {n: unit for n, unit in _units(schema, header).items() if n in self.names}
            self.texts = frozenset(f.name for f in schema if _is_text(f.type))
            self.meta = json.loads(words.get(META, b"{}"))
        except Exception as error:
            raise unreadable(path, "a Parquet file", error) from None

    def parts(self, rows: int) -> list[list[int]]:
        """Runs of row groups: a group is never decoded twice."""
        out, total = [], rows
        for i in range(self.file.num_row_groups):
            size = self.file.metadata.row_group(i).num_rows
            if size == 0:
                continue
            if total + size > rows:
                out.append([])
                total = 0
            out[-1].append(i)
            total += size
        return out

    def pieces(self, columns: Sequence[str], rows: int, part: list[int]) -> Iterator[Columns]:
        self.check(columns)
        # A reader of its own: threads may read parts of one file at the same time.
        reader = pyarrow_part("parquet").ParquetFile(
            self.path, memory_map=True, page_checksum_verification=True
        )
        wanted = list(
            dict.fromkeys([*columns, *(self.masks[n] for n in columns if n in self.masks)])
        )
        try:
            for batch in reader.iter_batches(rows, part, wanted, use_threads=False):
                yield {name: self._column(batch, name) for name in columns}
        except TableError:
            raise
        except Exception as error:
            raise unreadable(self.path, "a Parquet file", error) from None

    def _column(self, batch: Any, name: str) -> NDArray:
        values = from_arrow(batch.column(name), name, self.path)
        if name not in self.masks:
            return values
        mask = np.ma.filled(from_arrow(batch.column(self.masks[name]), name, self.path), True)
        return without(values, mask.astype(bool))


def without(values: NDArray, mask: NDArray) -> NDArray:
    """Values of which those under the mask are missing: NaN, empty text, or masked if whole."""
    mask = np.ma.getmaskarray(values) | mask
    if not mask.any():
        return values
    if values.dtype.kind in "iub":
        return np.ma.array(np.ma.getdata(values), mask=mask)
    return np.where(mask, np.nan if values.dtype.kind == "f" else "", values)


def _astropy_header(words: Mapping[bytes, bytes]) -> dict:
    """The header that astropy writes with a table: columns, units, and what stands for what."""
    if ASTROPY not in words:
        return {}
    from astropy.table import meta

    return meta.get_header_from_yaml(words[ASTROPY].decode().split("\n"))


def _masks(header: Mapping, names: Sequence[str]) -> dict[str, str]:
    """The columns of truth values that say where another one is masked, by that other one."""
    found = {}

    def search(tree: Any) -> None:
        if not isinstance(tree, Mapping):
            return
        data, mask = tree.get("data"), tree.get("mask")
        if isinstance(data, Mapping) and isinstance(mask, Mapping) and "name" in data | mask:
            found[data["name"]] = mask["name"]
        for branch in tree.values():
            search(branch)

    search(dict(header.get("meta") or {}).get("__serialized_columns__", {}))
    return {data: mask for data, mask in found.items() if {data, mask} <= set(names)}


def _units(schema: Any, header: Mapping) -> dict[str, u.UnitBase | None]:
    texts = {c["name"]: c.get("unit") for c in header.get("datatype", ())}
    if VOTABLE in (words := schema.metadata or {}):
        texts |= _votable_units(words[VOTABLE])
    out = {}
    for field in schema:
        own = field.metadata or {}
        stated = next((own[key].decode() for key in UNIT_KEYS if own.get(key)), None)
        out[field.name] = stated_unit(stated or texts.get(field.name))
    return out


def _votable_units(text: bytes) -> dict[str, Any]:
    """Units in the VOTable without rows that tools of the Virtual Observatory write as a header."""
    from astropy.io import votable

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = next(votable.parse(io.BytesIO(text)).iter_tables(), None)
    return {field.name: field.unit for field in (table.fields if table else ())}


def _is_text(kind: Any) -> bool:
    """Whether an Arrow type holds text, perhaps as bytes or as numbers of a dictionary."""
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    checks = "string large_string string_view binary large_binary fixed_size_binary binary_view"
    # Views came with later versions of pyarrow.
    return any(getattr(types, f"is_{name}", lambda _: False)(kind) for name in checks.split())


def from_arrow(column: Any, name: str, path: Path) -> NDArray:
    """A NumPy array of an Arrow column, nulls as NaN or as empty text, or masked if whole.

    Raises `TableError` for what is neither numbers nor text.
    """
    import pyarrow as pa

    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_text(column.type):
        return _text(column, name, path)
    if pa.types.is_decimal(column.type):
        column = _decimal(column)
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise TableError(
            f"column {name!r} of {path} must hold numbers or text, but holds {kind}: write it as "
            "one of these."
        )
    if column.null_count and not pa.types.is_floating(kind):
        values = column.fill_null(False if pa.types.is_boolean(kind) else 0)
        mask = column.is_null().to_numpy(zero_copy_only=False)
        return np.ma.array(values.to_numpy(zero_copy_only=False), mask=mask)
    return column.to_numpy(zero_copy_only=False)


def _text(column: Any, name: str, path: Path) -> NDArray:
    """Text without the blanks or bytes of zero that fill it up."""
    import pyarrow as pa
    from pyarrow import compute

    try:
        # Bytes of a fixed number become text by way of bytes of any.
        if pa.types.is_fixed_size_binary(column.type):
            column = column.cast(pa.binary())
        column = column.cast(pa.large_string())
    except pa.ArrowInvalid:
        raise TableError(
            f"column {name!r} of {path} must hold numbers or text, but holds bytes that are no "
            "text in UTF-8."
        ) from None
    column = compute.utf8_trim(column.fill_null(""), " \t\r\n\0")
    longest = compute.max(compute.utf8_length(column)).as_py() or 0
    if longest > LONGEST:
        raise TableError(
            f"column {name!r} of {path} holds a text of {longest} characters, but at most "
            f"{LONGEST} are read."
        )
    return np.asarray(column.to_pylist(), dtype=str)


def _decimal(column: Any) -> Any:
    """Whole decimals as whole numbers where these hold them, others as fractions."""
    import pyarrow as pa

    if column.type.scale <= 0:
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:
            pass
    return column.cast(pa.float64())
