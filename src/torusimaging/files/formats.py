"""Table files of each kind, of which only the columns asked for are read."""

import abc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..arguments import hint, texts
from .csv_text import first_bad, no_number
from .paths import TableError

Columns = dict[str, NDArray]
# Key of a column's unit in its Parquet field, and of the table's own words in the schema.
UNIT, META = b"unit", b"torusimaging"
GZIP = b"\x1f\x8b"
BLOCK = 8 << 20  # bytes of a CSV file at once


class TableFile(abc.ABC):
    """A table on file, of which only the columns asked for are read (abstract).

    Attributes: ``path``; ``names`` of the columns; ``units`` by name, None where the file states
    none; ``texts``, the columns known to hold text; ``n_rows``, None where only reading tells;
    ``meta``, words that the file holds; ``in_memory``, whether opening it reads it, so that it is
    handed on as it is and not opened again.
    """

    path: Path
    names: list[str]
    units: dict[str, u.UnitBase | None]
    texts: frozenset[str] = frozenset()
    in_memory: bool = False
    n_rows: int | None
    meta: dict

    def read(self, columns: Sequence[str]) -> Columns:
        """Whole columns as native arrays, missing numbers as NaN.

        Whole numbers of which some are missing are masked arrays: as fractions, ids would lose
        figures.  Raises `TableError` for a column that the file lacks and for a damaged file.
        """
        columns = texts(columns, "columns")
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

    def check(self, columns: Sequence[str], numbers: Sequence[str] = ()) -> None:
        """Raise a `TableError` for a column that the file lacks, and for text in one of `numbers`.

        The sentence about text names the first row, from 1, that holds no number.
        """
        for name in columns:
            if name not in self.names:
                near = hint(name, self.names)
                shown = ", ".join(self.names[:12]) + ", ..." * (len(self.names) > 12)
                raise TableError(f"{self.path} has no column {name!r}{near} (columns: {shown}).")
            if self.names.count(name) > 1:
                raise TableError(f"{self.path} has two columns {name!r}: rename one.")
        for name in numbers:
            if name in self.texts:
                raise self._text(name)

    def keep(self, columns: Sequence[str]) -> None:
        """Let go of all but these columns, where the file is in memory."""
        self.check(columns)

    def _text(self, name: str) -> TableError:
        row = 0
        for piece in self.chunks([name], 1 << 20):
            if (bad := first_bad(piece[name].tolist())) is not None:
                return no_number(self.path, name, row + bad[0] + 1, bad[1])
            row += len(piece[name])
        return TableError(
            f"column {name!r} of {self.path} must hold numbers, but holds them as text: write them "
            "as numbers."
        )


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
    if (plain := np.asarray(values)).dtype.kind not in "iufb":
        raise ValueError(f"{what} must hold real numbers, but {_seen(plain)}.")
    return np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)


def as_floats(columns: Mapping, name: str) -> NDArray:
    """A column of a table as float64; a ``ValueError`` that names one that holds no numbers."""
    return filled(columns[name], f"column '{name}'")


def _seen(values: NDArray) -> str:
    """What an array holds that holds no numbers, with the first of them."""
    if values.dtype.kind in "SU":
        texts = np.ravel(values.astype(str)).tolist()
        k, text = first_bad(texts) or (0, texts[0] if texts else "")
        return f"holds text: value {k + 1} of {len(texts)} is {text!r:.60}"
    kinds = {"c": "complex numbers", "M": "times", "m": "times"}
    first = "" if values.size == 0 else f", such as {np.ravel(values)[0]!r:.60}"
    return f"holds {kinds.get(values.dtype.kind, 'objects')}{first}"


def native(values: NDArray) -> NDArray:
    """A copy in the machine's byte order; text without padding."""
    if values.dtype.kind in "SU":
        return np.char.strip(values.astype(str))
    return values.astype(values.dtype.newbyteorder("="), copy=True)


def unreadable(path: Path, what: str, error: Exception) -> TableError:
    """The sentence about a file that a library cannot read, in the library's words."""
    text = " ".join(str(error).split())[:200].rstrip(".")
    return TableError(f"{path} cannot be read as {what}: {text or type(error).__name__}.")
