"""Tables that astropy reads as a whole: ECSV and VOTable."""

import gzip
import io
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from astropy.io import votable
from astropy.table import Table
from numpy.typing import NDArray

from ..arguments import hint
from ..units import stated_unit
from .arrow import LONGEST, without
from .csv_text import layout_of, no_number, rows_of
from .formats import GZIP, Columns, TableError, TableFile, native, unreadable

# A VOTable's stream of data that lie elsewhere.
ELSEWHERE = re.compile(rb"<STREAM\b[^>]*\bhref", re.IGNORECASE)
# What stands in no number that is written in plain digits.
ODD = re.compile(rb"\d_\d|[\x80-\xff]")
# The version of a VOTable in which astropy takes an empty cell of whole numbers for 0.
OLD = re.compile(rb"(<VOTABLE\b[^>]*\bversion\s*=\s*[\"'])1\.[0-2]", re.IGNORECASE)


class SmallFile(TableFile):
    """A table that is parsed once, when it is opened, and from then on is in memory.

    To another process it goes by its name, and is parsed there.  `table` is the number, from 0, or
    the name or ID of a table in a VOTable that holds several.
    """

    in_memory = True

    def __init__(self, path: Path, kind: str, table: int | str | None = None):
        self.path, self.kind, self.which = path, kind, table
        self.table: Table | None = self._parse()
        self.columns: Columns = {}
        self.names, self.n_rows = list(self.table.colnames), len(self.table)
        columns = {name: self.table[name] for name in self.names}
        self.units = {n: stated_unit(getattr(c, "unit", None)) for n, c in columns.items()}
        self.texts = frozenset(n for n, c in columns.items() if _is_text(c))
        self.meta = dict(self.table.meta)

    def __getstate__(self) -> dict:
        return vars(self) | {"table": None, "columns": {}}

    def _parse(self) -> Table:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self._ecsv() if self.kind == "ecsv" else self._votable()
        except TableError:
            raise
        except Exception as error:
            raise unreadable(self.path, f"a {self.kind} table", error) from None

    def _ecsv(self) -> Table:
        table = Table.read(self.path, format="ascii.ecsv")
        if ODD.search(self.path.read_bytes()):
            layout = layout_of(self.path)
            self._check_digits(table, layout.names, rows_of(self.path, layout))
        return table

    def _votable(self) -> Table:
        content = self.path.read_bytes()
        content = gzip.decompress(content) if content.startswith(GZIP) else content
        if ELSEWHERE.search(content):
            raise ValueError("it points to data elsewhere, which are not fetched")
        content = OLD.sub(rb"\g<1>1.3", content, count=1)
        tables = [t for t in votable.parse(io.BytesIO(content)).iter_tables() if t.fields]
        which = self._chosen(tables)
        # A column's ID is its name without what an ID cannot hold, as in [Fe/H].
        table = tables[which].to_table(use_names_over_ids=True)
        if ODD.search(content):
            self._check_digits(table, table.colnames, _cells(content, which))
        return table

    def _check_digits(self, table: Table, names: list[str], rows: Iterable[list[str]]) -> None:
        """Python reads 1_000 and the digits of any script as numbers, and so does astropy."""
        # Parts of a position or a time are no columns of the table.
        known = {k: (n, table[n]) for k, n in enumerate(names) if n in table.colnames}
        numbers = {
            k: name
            for k, (name, column) in known.items()
            if isinstance(column, np.ndarray) and column.dtype.kind in "iuf"
        }
        for row, cells in enumerate(rows, start=1):
            for k, name in numbers.items():
                if k < len(cells) and ODD.search(cells[k].encode()):
                    raise no_number(self.path, name, row, cells[k].strip())

    def _chosen(self, tables: list) -> int:
        """The number of the table wanted."""
        names = [table.name or table.ID or "" for table in tables]
        shown = ", ".join(f"{k} {name!r}" for k, name in enumerate(names))
        if not tables:
            raise TableError(f"{self.path} holds no table.")
        if self.which is None and len(tables) > 1:
            raise TableError(
                f"{self.path} holds {len(tables)} tables: choose one by hdu, its number or name "
                f"({shown})."
            )
        which = 0 if self.which is None else self.which
        for k, table in enumerate(tables):
            if which == k or (isinstance(which, str) and which in (table.name, table.ID)):
                return k
        near = hint(which, names) if isinstance(which, str) else ""
        raise TableError(f"{self.path} has no table {which!r}{near} (it has {shown}).")

    def keep(self, columns: Sequence[str]) -> None:
        self.columns = {name: self._column(name) for name in columns}
        self.table = None

    def parts(self, rows: int) -> list[tuple[int, int]]:
        # One part: a worker elsewhere must parse the whole file for each.
        return [(0, self.n_rows)] if self.n_rows else []

    def pieces(self, columns: Sequence[str], rows: int, part: tuple[int, int]) -> Iterator[Columns]:
        self.check(columns)
        whole = {name: self._column(name) for name in columns}
        for start in range(*part, rows):
            rows_of = slice(start, min(start + rows, part[1]))
            yield {name: values[rows_of] for name, values in whole.items()}

    def _column(self, name: str) -> NDArray:
        if name not in self.columns:
            self.table = self._parse() if self.table is None else self.table
            self.columns[name] = self._converted(name, self.table[name])
        return self.columns[name]

    def _converted(self, name: str, column) -> NDArray:
        if not isinstance(column, np.ndarray) or column.ndim != 1:
            raise TableError(f"column {name!r} of {self.path} must hold one value a row.")
        mask = np.ma.getmaskarray(column)
        if column.dtype.kind == "O":
            return self._texts(name, column, mask)
        return without(native(np.asarray(column)), mask)

    def _texts(self, name: str, column, mask: NDArray) -> NDArray:
        """Text of any length, which comes as objects."""
        cells = ["" if gone else cell for cell, gone in zip(np.asarray(column), mask, strict=True)]
        if not all(isinstance(cell, str | bytes) for cell in cells):
            raise TableError(f"column {name!r} of {self.path} must hold one value a row.")
        if (longest := max(map(len, cells), default=0)) > LONGEST:
            raise TableError(
                f"column {name!r} of {self.path} holds a text of {longest} characters, but at most "
                f"{LONGEST} are read."
            )
        return native(np.array([c.decode() if isinstance(c, bytes) else c for c in cells], str))


def _cells(content: bytes, which: int) -> Iterator[list[str]]:
    """The cells of the rows of a VOTable's table, in the order of those that have fields."""

    def of(tree: ElementTree.Element, name: str) -> list[ElementTree.Element]:
        return [e for e in tree.iter() if e.tag.rpartition("}")[2] == name]

    tables = [t for t in of(ElementTree.fromstring(content), "TABLE") if of(t, "FIELD")]
    for row in of(tables[which], "TR"):
        yield [cell.text or "" for cell in of(row, "TD")]


def _is_text(column) -> bool:
    kind = getattr(getattr(column, "dtype", None), "kind", "")
    if kind != "O":
        return kind in ("S", "U")
    return any(isinstance(cell, str | bytes) for cell in np.asarray(column).ravel()[:1])
