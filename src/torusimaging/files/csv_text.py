"""How a CSV file is written: its comments, the sign between its cells, and its names."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u

from ..units import stated_unit
from .paths import TableError

HEAD = 1 << 20  # bytes within which the names must stand
SEPARATORS = ",;\t|"
# Cells that say that a value is missing.
NULLS = ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"]
NULLS += ["N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"]
# What may stand around a cell, and cells of nothing else, as tables in columns have them.
BLANKS = " \t"
BLANK_CELLS = [*(" " * n for n in range(1, 65)), "\t"]
# Numbers in ASCII digits, without the signs between groups that Python's own reading allows.
NUMBER = re.compile(
    r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf(inity)?)", re.ASCII | re.IGNORECASE
)
ECSV = "%ECSV"
NO_TEXT = "it holds bytes of zero, as text in UTF-16 and binary files do; save it as text in UTF-8"


@dataclass(frozen=True)
class Layout:
    """The beginning of a CSV file.

    Attributes: ``comments`` before the names, without their #; ``separator`` of cells; ``names``
    of the columns; ``start``, the first byte behind the names.
    """

    comments: list[str]
    separator: str
    names: list[str]
    start: int

    @property
    def is_ecsv(self) -> bool:
        """Whether the comments are the header of an ECSV table."""
        return _is_ecsv(self.comments)


def layout_of(path: Path) -> Layout:
    """How the CSV file `path` is written, of which only the beginning is read.

    Lines before the names that begin with # are comments.  Cells are separated by commas, or by
    semicolons, tabs or bars where the row of names has one of these alone.  Raises `TableError`
    for a file that is empty or no text in UTF-8, for a first row that holds no names, or two
    equal ones, and for a row of units below it.
    """
    with open(path, "rb") as file:
        head = file.read(HEAD)
    start = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in head:
        raise _no_csv(path, NO_TEXT)
    comments, number = [], 0
    for line in head[start:].splitlines(keepends=True):
        start, number = start + len(line), number + 1
        text = _decoded(line, path, number).strip("\r\n")
        if text.startswith("#"):
            comments.append(text.lstrip("#").strip())
        elif text.strip():
            break
    else:
        raise _no_csv(path, "it has no row of names" if head else "it is empty")
    if start == HEAD:
        raise _no_csv(path, f"its names do not end within the first {HEAD >> 20} MB")
    separator = _ecsv_separator(comments) if _is_ecsv(comments) else _separator(text)
    found = Layout(comments, separator, _names(text, separator, path), start)
    if not found.is_ecsv:
        _check_names(found, path)
        _check_units_row(found, head, path)
    return found


def _decoded(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise _no_csv(path, f"line {number} is {_no_utf8(error)}") from None


def _is_ecsv(comments: Sequence[str]) -> bool:
    return bool(comments) and comments[0].startswith(ECSV)


def _ecsv_separator(comments: Sequence[str]) -> str:
    """That of an ECSV table, blanks unless its header says otherwise."""
    return "," if any(re.match(r"delimiter:\s*['\"]?,", c) for c in comments) else " "


def _separator(text: str) -> str:
    found = [sign for sign in SEPARATORS if sign in text]
    return found[0] if len(found) == 1 else ","


def _names(text: str, separator: str, path: Path) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([text], delimiter=separator, strict=True))]
    except csv.Error as error:
        raise _no_csv(path, f"its row of names is broken ({error})") from None


def _check_names(found: Layout, path: Path) -> None:
    names = found.names
    if all(NUMBER.fullmatch(name) for name in names):
        row = ", ".join(names[:4]) + ", ..." * (len(names) > 4)
        last = found.comments[-1] if found.comments else ""
        hint = "put the names into the first row"
        if any(len(last.split(sign)) == len(names) for sign in (found.separator, None)):
            hint = f"remove the # before '{last:.60}', if these are the names"
        raise TableError(f"{path} has no row of names, its first row is {row}: {hint}.")
    if len(names) == 1 and len(names[0].split()) > 1:
        raise TableError(
            f"{path} has one column {names[0]!r:.80}: columns must be separated by commas, not by "
            "blanks."
        )
    # A table's index, as pandas writes it, is a column without a name.
    again = next((name for name, n in Counter(names).items() if name and n > 1), None)
    if again is not None:
        raise TableError(f"{path} has two columns {again!r}: rename one.")


def _check_units_row(found: Layout, head: bytes, path: Path) -> None:
    """A row of units makes texts of all columns, and no number is one."""
    below = [line for line in head[found.start :].splitlines()[:3] if line.strip()][:2]
    try:
        rows = list(csv.reader([line.decode() for line in below], delimiter=found.separator))
    except (UnicodeDecodeError, csv.Error):
        return
    if len(rows) < 2 or any(len(row) != len(found.names) for row in rows):
        return
    first, second = ([cell.strip() for cell in row] for row in rows)
    units = [cell for cell, value in zip(first, second, strict=True) if cell and is_number(value)]
    if not units or any(map(is_number, filter(None, first))):
        return
    if any(_is_unit(cell) for cell in units):
        shown = ", ".join(units[:4]) + ", ..." * (len(units) > 4)
        raise TableError(
            f"{path} has a row of units below the names ({shown}): remove that row, and state the "
            "units where the table is read ([units] of a configuration, column_units of bin_files)."
        )


def rows_of(path: Path, layout: Layout, comments: bool = False) -> Iterator[list[str]]:
    """The cells of each row below the names; empty lines are none, nor, on demand, comments.

    Raises `TableError`, with the row's number, for one with more or fewer cells than names, and
    for what is no text.
    """
    row = 0

    def lines(file) -> Iterator[str]:
        for line in file:
            if comments and line.startswith("#"):
                layout.comments.append(line.lstrip("#").strip())
            else:
                yield line

    with open(path, "rb") as raw, io.TextIOWrapper(raw, "utf-8", newline="") as text:
        raw.seek(layout.start)
        try:
            for cells in csv.reader(lines(text), delimiter=layout.separator):
                if not any(cells) and len(cells) <= 1 < len(layout.names):
                    continue
                row += 1
                if len(cells) != len(layout.names):
                    raise _no_csv(
                        path,
                        f"row {row} has {len(cells)} cells, but the row of names has "
                        f"{len(layout.names)}",
                    )
                yield cells
        except csv.Error as error:
            limit = csv.field_size_limit()
            reason = f"has a cell of more than {limit} characters"
            reason = reason if "field limit" in str(error) else f"is broken ({error})"
            raise _no_csv(path, f"row {row + 1} {reason}") from None
        except UnicodeDecodeError as error:
            # The text is decoded some rows ahead.
            raise _no_csv(path, f"it is {_no_utf8(error)}") from None


def _no_csv(path: Path, reason: str) -> TableError:
    return TableError(f"{path} cannot be read as a CSV table: {reason}.")


def _no_utf8(error: UnicodeDecodeError) -> str:
    byte = error.object[error.start]
    return f"no text in UTF-8 (byte 0x{byte:02x}); save the file as one"


def _is_unit(text: str) -> bool:
    return text not in NULLS and not isinstance(stated_unit(text), u.UnrecognizedUnit)


def is_number(text: str) -> bool:
    """Whether a cell spells a real number as files do: ASCII digits, a point, an exponent."""
    return NUMBER.fullmatch(text) is not None


def way_out(text: str) -> str:
    """What to do about a cell that is no number."""
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        return "write decimal points, and no commas within numbers"
    if re.fullmatch(r"[+-]?[\d.]+[dD][+-]?\d+", text):
        return "write exponents with e in place of d"
    if re.fullmatch(r"[+-]?\d[\d_,' ]*\.?\d*", text):
        return "write it in plain digits, 0 to 9, without signs between them"
    if re.fullmatch(r"[-.?*/]*|none|null|n/?a|missing|masked|undefined", text, re.IGNORECASE):
        return "leave the cell empty where there is no value"
    return "name another column, or write a number there (nothing where there is none)"


def first_bad(cells: Sequence[str]) -> tuple[int, str] | None:
    """The place and text of the first cell that is neither a number nor missing, or None."""
    for k, cell in enumerate(cells):
        text = cell.strip(BLANKS)
        if text not in NULLS and not is_number(text):
            return k, text
    return None


def no_number(path: Path, column: str, row: int, text: str) -> TableError:
    """The sentence about a column of which the cell of data row `row`, from 1, is no number."""
    shown = text if len(text) <= 40 else f"{text[:40]}... ({len(text)} characters)"
    # What cannot be seen, as a blank that no key types, is shown by its number.
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
    return TableError(
        f"column {column!r} of {path} must hold numbers, but holds '{shown}' in row {row}: "
        f"{way_out(text)}."
    )
