"""Table files of each kind, of which only the columns asked for are read."""

import abc
import difflib
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..units import stated_unit

Columns = dict[str, NDArray]
# Key of a column's unit in its Parquet field, and of the table's own words in the schema.
UNIT, META = b"unit", b"torusimaging"
BLOCK = 8 << 20  # bytes of a CSV file at once
# A VOTable's stream of data that lie elsewhere.
ELSEWHERE = re.compile(rb"<STREAM\b[^>]*\bhref", re.IGNORECASE)


class TableError(ValueError):
    """A file that is no table, is damaged, or lacks a column; the sentence names it."""


class TableFile(abc.ABC):
    """A table on file, of which only the columns asked for are read (abstract).

    Attributes: ``path``; ``names`` of the columns; ``units`` by name, None where the file states
    none; ``n_rows``, None where only reading tells; ``meta``, words that the file holds.
    """

    path: Path
    names: list[str]
    units: dict[str, u.UnitBase | None]
    n_rows: int | None
    meta: dict

    def read(self, columns: Sequence[str]) -> Columns:
        """Whole columns as native arrays, missing numbers as NaN.

        Whole numbers of which some are missing are masked arrays: as fractions, ids would lose
        figures.  Raises `TableError` for a column that the file lacks and for a damaged file.
        """
        pieces = [
            piece for part in self.parts(1 << 20) for piece in self.pieces(columns, 1 << 20, part)
        ]
        if not pieces:
            self.check(columns)
            return {name: np.zeros(0) for name in columns}
        return joined(pieces)

    def as_table(self, columns: Sequence[str] | None = None) -> Table:
        """Columns, by default all, as an Astropy table with their units."""
        read = self.read(self.names if columns is None else columns)
        table = Table(read, meta=self.meta)
        for name in read:
            table[name].unit = self.units[name]
        return table

    def chunks(self, columns: Sequence[str], rows: int) -> Iterator[Columns]:
        """The same in pieces of at most `rows` rows."""
        for part in self.parts(rows):
            yield from self.pieces(columns, rows, part)

    @abc.abstractmethod
    def parts(self, rows: int) -> list:
        """Parts of the file that can be read apart, each of about `rows` rows at the least."""

    @abc.abstractmethod
    def pieces(self, columns: Sequence[str], rows: int, part) -> Iterator[Columns]:
        """One part's columns in pieces of at most `rows` rows."""

    def check(self, columns: Sequence[str]) -> None:
        """Raise a `TableError` for a column that the file does not have."""
        for name in columns:
            if name not in self.names:
                hint = nearest(name, self.names)
                shown = ", ".join(self.names[:12]) + ", ..." * (len(self.names) > 12)
                raise TableError(f"{self.path} has no column {name!r}{hint} (columns: {shown}).")


class ParquetFile(TableFile):
    """A Parquet file; a column's unit is the text under ``unit`` in its field's metadata."""

    def __init__(self, path: Path):
        parquet = pyarrow_part("parquet")
        self.path = path
        try:
            self.file = parquet.ParquetFile(path, memory_map=True)
            schema = self.file.schema_arrow
            self.names = list(schema.names)
            self.n_rows = self.file.metadata.num_rows
            self.units = {
                field.name: stated_unit(((field.metadata or {}).get(UNIT) or b"").decode() or None)
                for field in schema
            }
            self.meta = json.loads((schema.metadata or {}).get(META, b"{}"))
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
        try:
            for batch in reader.iter_batches(rows, part, list(columns), use_threads=False):
                yield {name: self._column(batch.column(name), name) for name in columns}
        except TableError:
            raise
        except Exception as error:
            raise unreadable(self.path, "a Parquet file", error) from None

    def _column(self, column, name: str) -> NDArray:
        return from_arrow(column, name, self.path)


class CsvFile(TableFile):
    """A CSV file with a row of names; it can only be read from its beginning."""

    def __init__(self, path: Path):
        self.path, self.n_rows, self.meta = path, None, {}
        self.kinds = {}
        try:
            with self._open() as reader:
                self.names = list(reader.schema.names)
                # A column that begins with blanks alone may hold numbers below.
                self.kinds = {f.name: "float64" for f in reader.schema if str(f.type) == "null"}
        except UnicodeDecodeError as error:
            raise unreadable(path, "a CSV table", error) from None
        again = next((name for name in self.names if self.names.count(name) > 1), None)
        if again is not None:
            raise TableError(f"{path} has two columns {again!r}.")
        self.units = dict.fromkeys(self.names)

    def _open(self, columns: Sequence[str] | None = None):
        csv = pyarrow_part("csv")
        convert = csv.ConvertOptions(
            include_columns=columns, strings_can_be_null=True, column_types=self.kinds
        )
        try:
            # Types are inferred from the first block: it must not be a handful of rows.
            read = csv.ReadOptions(block_size=BLOCK)
            return csv.open_csv(self.path, read_options=read, convert_options=convert)
        except Exception as error:
            raise unreadable(self.path, "a CSV table", error) from None

    def parts(self, rows: int) -> list[None]:
        return [None]

    def pieces(self, columns: Sequence[str], rows: int, part: None) -> Iterator[Columns]:
        self.check(columns)
        kept: list[Columns] = []
        with self._open(list(columns)) as reader:
            batches = iter(reader)
            while True:
                try:
                    batch = next(batches)
                except StopIteration:
                    break
                except Exception as error:
                    raise unreadable(self.path, "a CSV table", error) from None
                kept.append(
                    {name: from_arrow(batch.column(name), name, self.path) for name in columns}
                )
                kept = yield from _full(kept, rows)
        if kept and len(next(iter(kept[0].values()), ())):
            yield joined(kept)


class SmallFile(TableFile):
    """A table that is read as a whole by astropy: ECSV and VOTable."""

    def __init__(self, path: Path, kind: str):
        self.path = path
        try:
            if kind == "votable" and ELSEWHERE.search(path.read_bytes()):
                raise ValueError("it points to data elsewhere, which are not fetched")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if kind == "ecsv":
                    self.table = Table.read(path, format="ascii.ecsv")
                else:
                    # A column's ID is its name without what an ID cannot hold, as in [Fe/H].
                    self.table = Table.read(path, format=kind, use_names_over_ids=True)
        except Exception as error:
            raise unreadable(path, f"a {kind} table", error) from None
        self.names, self.n_rows = list(self.table.colnames), len(self.table)
        self.units = {n: stated_unit(self.table[n].unit) for n in self.names}
        self.meta = dict(self.table.meta)

    def parts(self, rows: int) -> list[tuple[int, int]]:
        assert self.n_rows is not None
        return [(a, min(a + rows, self.n_rows)) for a in range(0, self.n_rows, rows)]

    def pieces(self, columns: Sequence[str], rows: int, part: tuple[int, int]) -> Iterator[Columns]:
        self.check(columns)
        for start in range(*part, rows):
            rows_of = slice(start, min(start + rows, part[1]))
            yield {name: self._column(name)[rows_of] for name in columns}

    def _column(self, name: str) -> NDArray:
        column = self.table[name]
        if column.ndim != 1 or column.dtype.kind == "O":
            raise TableError(f"column {name!r} of {self.path} must hold one value a row.")
        values = native(np.asarray(column))
        if not (hasattr(column, "mask") and np.any(column.mask)):
            return values
        if values.dtype.kind in "iub":
            return np.ma.array(values, mask=column.mask)
        return np.where(column.mask, np.nan if values.dtype.kind == "f" else "", values)


def _full(kept: list[Columns], rows: int):
    """Yield pieces of exactly `rows` rows while there are as many; returns the rest."""
    while kept and sum(len(next(iter(k.values()))) for k in kept) >= rows:
        whole = joined(kept)
        yield {name: values[:rows] for name, values in whole.items()}
        kept = [{name: values[rows:] for name, values in whole.items()}]
    return kept


def joined(kept: Sequence[Columns]) -> Columns:
    """Pieces end to end; masked where one of them is."""
    out = {}
    for name in kept[0]:
        parts = [k[name] for k in kept]
        masked = any(isinstance(part, np.ma.MaskedArray) for part in parts)
        out[name] = np.ma.concatenate(parts) if masked else np.concatenate(parts)
    return out


def filled(values: Any, what: str) -> NDArray:
    """Numbers as float64, masked ones as NaN; a ``ValueError`` about `what` is no real number."""
    if (kind := np.asarray(values).dtype).kind not in "iufb":
        raise ValueError(f"{what} must be real numbers, but are {kind}.")
    return np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)


def nearest(name: str, names: Sequence[str]) -> str:
    """A hint with the nearest of `names`, whatever the case, or nothing."""
    folded = {other.lower(): other for other in names}
    near = difflib.get_close_matches(name.lower(), list(folded), 1, 0.6)
    return f"; did you mean '{folded[near[0]]}'?" if near else ""


def native(values: NDArray) -> NDArray:
    """A copy in the machine's byte order; text without padding."""
    if values.dtype.kind in "SU":
        return np.char.strip(values.astype(str))
    return values.astype(values.dtype.newbyteorder("="), copy=True)


def from_arrow(column, name: str, path: Path) -> NDArray:
    """A NumPy array of an Arrow column, nulls as NaN or as empty text."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.asarray(column.fill_null("").to_pylist(), dtype=str)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise TableError(f"column {name!r} of {path} must hold numbers or text, but holds {kind}.")
    if column.null_count and not pa.types.is_floating(kind):
        values = column.fill_null(False if pa.types.is_boolean(kind) else 0)
        mask = column.is_null().to_numpy(zero_copy_only=False)
        return np.ma.array(values.to_numpy(zero_copy_only=False), mask=mask)
    return column.to_numpy(zero_copy_only=False)


def pyarrow_part(part: str):
    """A module of pyarrow, which only the extra `catalog` installs."""
    try:
        from importlib import import_module

        return import_module(f"pyarrow.{part}")
    except ImportError:
        raise ValueError(
            "Parquet and CSV files need pyarrow: pip install 'orbital-torus-imaging[catalog]'."
        ) from None


def unreadable(path: Path, what: str, error: Exception) -> TableError:
    text = " ".join(str(error).split())[:200]
    return TableError(f"{path} cannot be read as {what}: {text or type(error).__name__}.")
