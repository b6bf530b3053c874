"""Numbers and tables printed to their errors: two figures of the error decide the decimals."""

import math
import re
import shutil
from collections.abc import Iterable

import numpy as np
from astropy.table import QTable, Table

# Columns that say where a quantity lies and how far it spreads: NAME_LEVEL, or LEVEL alone.
LEVEL = re.compile(r"(?:(.+)_)?(mean|sd|median|p2_5|p16|p84|p97_5|p16_wide|p84_wide)")
# What is left out first where a screen is too narrow.
DISPENSABLE = (("p2_5", "p97_5"), ("mean",), ("ess_tail",))
FORMATS = {"rhat": ".3f", "ess_bulk": ".0f", "ess_tail": ".0f"}
# Beyond these exponents a number is written with one.
SMALL, LARGE = -5, 7


def rounded(value: float, error: float) -> str:
    """`value` with the decimals that two figures of its `error` have; "nan" for no number.

    Where the error is none (zero or not finite), with four figures.
    """
    value, error = float(value), abs(float(error))
    if not math.isfinite(value):
        return str(value)
    if not (math.isfinite(error) and error > 0):
        return f"{value:.4g}"
    # 0.0996 has the decimals of 0.10, to which it rounds.
    last = int(f"{error:.1e}".partition("e")[2]) - 1
    top = int(f"{value:.0e}".partition("e")[2]) if value else last
    if max(top, last) >= LARGE or last < SMALL - 1:
        return f"{value:.{max(0, top - last)}e}"
    text = f"{value:.{max(0, -last)}f}"
    # No value is minus zero.
    return text.removeprefix("-") if float(text) == 0 else text


def percent(share: float) -> str:
    """A share as whole per cent, never rounded up to all; "-" where it is not known."""
    return f"{min(int(100 * share), 99)} %" if math.isfinite(share) else "-"


class RoundedTable(QTable):
    """A table whose print is rounded to the errors in it and as narrow as the screen.

    Its values keep all their digits.  A print leaves out levels that do not fit, and says so;
    columns that still do not fit stand beneath the others.
    """

    def pformat(self, max_lines=None, max_width=None, *options, **named) -> list[str]:
        """The lines of a print; with further options as astropy makes them, unrounded."""
        if options or named:
            return super().pformat(max_lines, max_width, *options, **named)
        screen = shutil.get_terminal_size((80, 25))
        width = screen.columns if max_width is None else max_width
        height = screen.lines if max_lines is None else max_lines
        return self._lines(width if width >= 0 else 10**6, height if height >= 0 else 10**6)

    def pprint(self, max_lines=None, max_width=None, *options, **named) -> None:
        """Print the table; with further options as astropy does, unrounded."""
        if options or named:
            super().pprint(max_lines, max_width, *options, **named)
        else:
            print("\n".join(self.pformat(max_lines, max_width)))

    def __str__(self) -> str:
        return "\n".join(self.pformat())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} length={len(self)}>\n{self}"

    def _repr_html_(self) -> str:
        texts = Table({name: self._texts(name) for name in self.colnames})
        lines = texts.pformat(max_lines=-1, max_width=-1, html=True)
        return "\n".join(lines) + f"<p>{self._units()}</p>" * bool(self._units())

    def _texts(self, name: str) -> list[str]:
        """The cells of a column."""
        values = np.asarray(getattr(self[name], "value", self[name]))
        if values.dtype.kind != "f" or values.ndim != 1:
            return [str(value) for value in values]
        level = LEVEL.fullmatch(name)
        errors = self._errors(level[1]) if level else None
        if errors is None:
            return [format(x, FORMATS.get(name, ".4g")) for x in values]
        return [rounded(*pair) for pair in zip(values, errors, strict=True)]

    def _errors(self, prefix: str | None) -> np.ndarray | None:
        """The spread of each row of the columns that begin with `prefix`, if they tell it."""
        start = f"{prefix}_" if prefix else ""
        names = [f"{start}{level}" for level in ("sd", "p16", "p84")]
        sd, low, high = (
            np.asarray(getattr(self[n], "value", self[n])) if n in self.colnames else None
            for n in names
        )
        if sd is not None:
            return sd
        return None if low is None or high is None else 0.5 * (high - low)

    def _units(self) -> str:
        """The units of the columns in words, each quantity once."""
        found = {}
        for name in self.colnames:
            level = LEVEL.fullmatch(name)
            if unit := str(self[name].unit or "") if hasattr(self[name], "unit") else "":
                found[(level[1] if level else None) or name] = unit
        return ", ".join(f"{name} [{unit}]" for name, unit in found.items())

    def _lines(self, width: int, height: int) -> list[str]:
        columns = {name: self._cells(name, height) for name in self.colnames}
        if "unit" in columns and self.colnames[0] != "unit":
            # Beside the names units take less room than in a column of their own.
            units = columns.pop("unit")[1:]
            head, *names = columns[self.colnames[0]]
            named = [f"{n} [{x}]" if x.strip(".") else n for n, x in zip(names, units, strict=True)]
            columns[self.colnames[0]] = [head, *named]
        dropped = []
        for levels in DISPENSABLE:
            if _width(columns.values()) <= width:
                break
            found = [
                n for n in columns if (x := LEVEL.fullmatch(n)) and x[2] in levels or n in levels
            ]
            columns = {n: cells for n, cells in columns.items() if n not in found}
            dropped += levels if found else []
        lines: list[str] = []
        first, *rest = columns.values()
        while rest or not lines:
            n = max(1, sum(_width([first, *rest[: i + 1]]) <= width for i in range(len(rest))))
            lines += [""] * bool(lines) + _aligned([first, *rest[:n]])
            rest = rest[n:]
        notes = [self._units()] if self._units() else []
        notes += [f"(further columns: {', '.join(dropped)})"] if dropped else []
        return lines + notes

    def _cells(self, name: str, height: int) -> list[str]:
        """Head and cells of a column; the middle rows of a long one are three dots."""
        level = LEVEL.fullmatch(name)
        head = name
        if level and level[1]:
            # A quantity's levels follow its median, which bears its name.
            head = level[1] if level[2] == "median" else level[2]
        cells = self._texts(name)
        room = max(height - 6, 4)
        if len(cells) > room:
            cells = [*cells[: room // 2], "...", *cells[len(cells) - (room - room // 2 - 1) :]]
        return [head, *cells]


def _aligned(columns: list[list[str]]) -> list[str]:
    """Rows of columns side by side: numbers end in one place, names begin in one."""
    widths = [max(map(len, cells)) for cells in columns]
    names = not any(_is_number(cell) for cell in columns[0][1:])
    rows = []
    for row in zip(*columns, strict=True):
        cells = [x.rjust(w) for x, w in zip(row, widths, strict=True)]
        cells[0] = row[0].ljust(widths[0]) if names else cells[0]
        rows.append(" ".join(cells).rstrip())
    return rows


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _width(columns: Iterable[list[str]]) -> int:
    return sum(max(map(len, cells)) + 1 for cells in columns) - 1
