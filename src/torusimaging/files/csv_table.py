"""Tables in CSV files."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .arrow import from_arrow, pyarrow_part
from .csv_text import BLANK_CELLS, NULLS, Layout, is_number, layout_of, no_number, rows_of
from .formats import BLOCK, Columns, TableError, TableFile, joined, unreadable

CONVERSION = re.compile(r"conversion error to (\w+).*?: invalid value '(.*)'", re.DOTALL)
COMMENT = re.compile(rb"[\r\n](#[^\r\n]*)")
COLUMN = re.compile(r"In CSV column #(\d+)")


class CsvFile(TableFile):
    """A CSV file with a row of names; it can only be read from its beginning."""

    def __init__(self, path: Path, layout: Layout | None = None):
        self.path, self.n_rows, self.meta = path, None, {}
        self.layout = layout or layout_of(path)
        self.names = self.layout.names
        self.units = dict.fromkeys(self.names)
        self.kinds: dict[str, str] = {}
        try:
            with _Rows(self.path, self.layout.start) as rows:
                schema = list(self._reader(rows, None, {}).schema) if rows.size else []
        except Exception as error:
            raise self._explained(error) from None
        # A column that begins with blanks alone may hold numbers below.
        self.kinds = {f.name: "float64" for f in schema if str(f.type) == "null"}
        self.texts = frozenset(f.name for f in schema if str(f.type) in ("string", "binary"))

    def _reader(self, rows: "_Rows", columns: Sequence[str] | None, kinds: dict[str, str]) -> Any:
        csv = pyarrow_part("csv")
        return csv.open_csv(
            rows,
            # Types are inferred from the first block: it must not be a handful of rows.
            read_options=csv.ReadOptions(block_size=BLOCK, column_names=self.names),
            parse_options=csv.ParseOptions(delimiter=self.layout.separator),
            convert_options=csv.ConvertOptions(
                include_columns=columns,
                strings_can_be_null=True,
                column_types=kinds,
                null_values=NULLS + BLANK_CELLS,
            ),
        )

    def parts(self, rows: int) -> list[None]:
        return [None]

    def pieces(self, columns: Sequence[str], rows: int, part: None) -> Iterator[Columns]:
        self.check(columns)
        kept: list[Columns] = []
        for batch in self._batches(list(columns)):
            kept.append({name: from_arrow(batch.column(name), name, self.path) for name in columns})
            kept = yield from _full(kept, rows)
        # The first of them may be empty, where a block ended with a piece.
        if any(len(values) for some in kept for values in some.values()):
            yield joined(kept)

    def _batches(self, columns: list[str]) -> Iterator[Any]:
        """Blocks of rows; a column that begins with whole numbers may go on with fractions."""
        kinds, done, again = dict(self.kinds), 0, True
        while again:
            again = False
            with _Rows(self.path, self.layout.start) as rows:
                try:
                    blocks = enumerate(self._reader(rows, columns, kinds) if rows.size else ())
                    for k, batch in blocks:
                        if k >= done:
                            done = k + 1
                            yield batch
                except Exception as error:
                    if (name := self._whole_no_more(error, kinds)) is None:
                        raise self._explained(error) from None
                    kinds, again = kinds | {name: "float64"}, True

    def _whole_no_more(self, error: Exception, kinds: dict[str, str]) -> str | None:
        """The column of whole numbers in which an error found another number."""
        found, column = CONVERSION.search(str(error)), COLUMN.search(str(error))
        if not (found and column and found[1].startswith("int") and is_number(found[2].strip())):
            return None
        name = self.names[int(column[1])]
        return None if name in kinds else name

    def _explained(self, error: Exception) -> Exception:
        """The sentence about an error, with the row where one is to blame."""
        if isinstance(error, TableError) or not isinstance(error, ValueError):
            return error
        text = str(error)
        found, column = CONVERSION.search(text), COLUMN.search(text)
        try:
            for row, cells in enumerate(rows_of(self.path, self.layout), start=1):
                cell = cells[int(column[1])].strip() if column else ""
                if found and cell == found[2].strip():
                    name = self.names[int(column[1])] if column else ""
                    if found[1] in ("double", "float") or found[1].startswith("int"):
                        return no_number(self.path, name, row, cell)
                    return TableError(
                        f"column {name!r} of {self.path} begins with {found[1]} and holds "
                        f"{cell!r:.60} in row {row}: write it as numbers or as text."
                    )
        except TableError as better:
            return better
        if "straddling" in text:
            return unreadable(self.path, "a CSV table", ValueError("a row is longer than 8 MB"))
        return unreadable(self.path, "a CSV table", error)


class _Rows:
    """The bytes of a file below its names, in which no comment may stand.

    A commented row would be read as a row like any other.
    """

    def __init__(self, path: Path, start: int):
        self.path, self.file = path, open(path, "rb", buffering=0)
        self.size = self.file.seek(0, 2) - start
        self.file.seek(start)
        self.last = b"\n"

    def read(self, n: int = -1) -> bytes:
        block = self.file.read(n)
        # To look for one byte is quick, so lines are looked at where there is a # at all.
        if b"#" in block and (comment := COMMENT.search(self.last + block)):
            text = comment[1][:60].decode(errors="replace")
            raise TableError(
                f"{self.path} has the comment {text!r} among its rows: remove it, or put the first "
                "cell in quotes if it is none (comments may stand before the names)."
            )
        self.last = block[-1:]
        return block

    @property
    def closed(self) -> bool:
        return self.file.closed

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> "_Rows":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _full(kept: list[Columns], rows: int):
    """Yield pieces of exactly `rows` rows while there are as many; returns the rest."""
    while kept and sum(len(next(iter(k.values()))) for k in kept) >= rows:
        whole = joined(kept)
        yield {name: values[:rows] for name, values in whole.items()}
        kept = [{name: values[rows:] for name, values in whole.items()}]
    return kept
