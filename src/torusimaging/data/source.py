"""Stars out of table files: which columns are read, and in which units."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
from numpy.typing import NDArray

from ..arguments import hint, mapping
from ..files.formats import Columns, TableError, filled
from ..files.missing import MISSING, is_missing
from ..units import UnitError, internal, label_unit
from .guiding import guiding_radii
from .plane import SPEED, Plane, labels_of
from .sums import Stars

NAMES = ("pos", "vel", "label", "label_err", "R_g")
KINDS = {"pos": u.kpc, "vel": SPEED, "R_g": u.kpc}


@dataclass(frozen=True)
class Source:
    """How stars come out of files: what is read, and what is made of it. Sent to workers.

    `columns` are the names by what they are for, or those that `transform` takes; `missing` the
    numbers that stand for a missing label, error or guiding radius.
    """

    plane: Plane
    columns: Mapping[str, str] | Sequence[str]
    transform: Callable | None
    column_units: Mapping[str, u.UnitBase]
    rows: int
    hdu: int | str | None = None
    label_unit: u.UnitBase | None = None
    missing: Sequence[float] = MISSING

    def names(self) -> list[str]:
        """The columns to read."""
        columns = self.columns
        return list(columns.values() if isinstance(columns, Mapping) else columns)

    def numbers(self) -> list[str]:
        """Those of the columns that must hold numbers: what `transform` takes may be anything."""
        return list(self.columns.values()) if isinstance(self.columns, Mapping) else []

    def stars(self, read: Columns, units: Mapping[str, u.UnitBase | None], path: Path) -> Stars:
        """The stars of a chunk; `TableError`, `UnitError` or ``ValueError`` that names the file."""
        if self.transform is not None:
            pos, vel, label, label_err, R_g = self._transformed(read, path)
        else:
            pos, vel, R_g = (self._place(read, units, path, name) for name in KINDS)
            label, label_err = (self._label(read, units, path, name) for name in NAMES[2:4])
        try:
            p, v = self.plane.places(pos, vel)
            # Columns have been freed of marks as they were read, in their own precision.
            marks = () if self.transform is None else self.missing
            y, sigma, unit = labels_of(label, label_err, p.size, marks)
            unit = label_unit(self.label_unit) if self.transform is None else unit
            x = None if R_g is None else guiding_radii(R_g, p.size)
            return Stars.of(p, v, y, sigma, unit, x)
        except UnitError as error:
            raise UnitError(f"{path}: {error}") from None
        except ValueError as error:
            raise TableError(f"{path}: {error}") from None

    def unit_of(self, name: str, units: Mapping, path: Path) -> u.UnitBase | None:
        """The unit of the column for `name`; a `UnitError` for one that is not understood."""
        assert isinstance(self.columns, Mapping)
        column = self.columns.get(name)
        unit = self.column_units.get(column, units.get(column)) if column else None
        if isinstance(unit, u.UnrecognizedUnit):
            raise UnitError(
                f"column {column!r} of {path} has the unit '{unit}', which is not understood: give "
                f"column_units={{{column!r}: ...}}."
            )
        return unit

    def converted(self, units: Mapping, path: Path, first: Mapping, at: Path) -> list[str]:
        """Sentences about columns of a file that have other units than in the `first`, `at`."""
        if self.transform is not None:
            return []
        out = []
        for name, column in dict(self.columns).items():
            own, other = (self.unit_of(name, *x) for x in ((units, path), (first, at)))
            if own != other and None not in (own, other):
                out.append(
                    f"{path}: {column!r} was converted from {own}; in {at} it is in {other}."
                )
        return out

    def _transformed(self, read: Columns, path: Path) -> tuple:
        assert self.transform is not None
        try:
            made = self.transform(read)
        except Exception as error:
            raise ValueError(
                f"transform fails on {path} ({type(error).__name__}: {error})."
            ) from error
        if not isinstance(made, tuple | list) or len(made) not in (4, 5):
            raise ValueError(
                "transform must return (pos, vel, label, label_err), perhaps with R_g, not "
                f"{made!r:.60}."
            )
        return *made, *[None] * (5 - len(made))

    def _numbers(self, read: Columns, path: Path, column: str) -> NDArray:
        try:
            return filled(read[column], f"column {column!r} of {path}")
        except ValueError as error:
            raise TableError(str(error)) from None

    def _unmarked(self, read: Columns, path: Path, column: str) -> NDArray:
        """A column's numbers, NaN for marks of missing ones."""
        values, missing = self._numbers(read, path, column), is_missing(read[column], self.missing)
        return np.where(missing, np.nan, values) if missing.any() else values

    def _label(self, read: Columns, units: Mapping, path: Path, name: str) -> NDArray | None:
        """The label or its error in the label's unit, which is that of the first file."""
        assert isinstance(self.columns, Mapping)
        if name not in self.columns:
            return None
        column, unit = self.columns[name], self.unit_of(name, units, path)
        values = self._unmarked(read, path, column)
        if unit is None and name == "label_err":
            # An error without a unit has its label's.
            unit = self.unit_of("label", units, path)
        factor = self._factor(column, label_unit(unit), path)
        return values if factor == 1.0 else factor * values

    def _factor(self, column: str, unit: u.UnitBase | None, path: Path) -> float:
        """What a label or error in `unit` is in the label's unit; a `UnitError` where nothing."""
        wanted = label_unit(self.label_unit)
        try:
            return (unit or u.dimensionless_unscaled).to(wanted or u.dimensionless_unscaled)
        except u.UnitConversionError:
            raise UnitError(
                f"column {column!r} of {path} must have "
                f"{f'a unit like {wanted}' if wanted else 'no unit'}, as the label of the first "
                f"file, but has {unit or 'none'}: give column_units={{{column!r}: ...}}."
            ) from None

    def _place(self, read: Columns, units: Mapping, path: Path, name: str) -> u.Quantity | None:
        """A place or a guiding radius; None where no column is named for it."""
        assert isinstance(self.columns, Mapping)
        if name not in self.columns:
            return None
        column, unit = self.columns[name], self.unit_of(name, units, path)
        if unit is None:
            raise TableError(
                f"{path} states no unit of {column!r}: give column_units={{{column!r}: "
                f"u.Unit('{KINDS[name]}')}} or the like."
            )
        numbers = self._unmarked if name == "R_g" else self._numbers
        quantity = u.Quantity(numbers(read, path, column), unit, copy=False)
        try:
            internal(quantity[:0], KINDS[name], column)
        except ValueError as error:
            raise type(error)(f"{path}: {error}") from None
        return quantity


def check_columns(columns, transform) -> None:
    """Raise a ``ValueError`` for columns that are no names of what `Source` needs."""
    if transform is not None:
        if isinstance(columns, str) or not (
            isinstance(columns, Sequence) and all(isinstance(c, str) for c in columns)
        ):
            raise ValueError("columns must be a list of the names that transform takes.")
        return
    if not isinstance(columns, Mapping):
        raise ValueError("columns must be a dictionary with the names of pos, vel and label.")
    for name in columns:
        if name not in NAMES:
            raise ValueError(f"columns may name {', '.join(NAMES)}, but {name!r} was given.")
        if not isinstance(columns[name], str):
            raise ValueError(f"columns must give names, but {columns[name]!r} for {name!r}.")
    for name in NAMES[:3]:
        if name not in columns:
            raise ValueError(f"columns must name {', '.join(NAMES[:3])}, but {name!r} is missing.")


def check_marks(missing) -> tuple[float, ...]:
    """The numbers that stand for a missing one; a ``ValueError`` for anything else."""
    try:
        marks = tuple(filled(np.atleast_1d(missing), "missing").ravel().tolist())
    except (ValueError, TypeError):
        raise ValueError(
            f"missing must be numbers that stand for a missing label, but {missing!r:.60} was "
            "given."
        ) from None
    return marks


def check_units(columns, column_units: Mapping) -> None:
    """Raise a ``ValueError`` for units of columns that are not read."""
    names = list(columns.values() if isinstance(columns, Mapping) else columns)
    for name in mapping(column_units, "column_units"):
        if name not in names:
            raise ValueError(
                f"column_units names {name!r}, which is none of the columns read"
                f"{hint(name, names) or '.'}"
            )
