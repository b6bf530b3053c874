"""Stars of a catalogue: columns under the survey's names, their units, and how they were cut."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.table import Column, MaskedColumn, Table

from ..files.formats import as_floats
from .cuts import CutFlow
from .flags import is_set
from .join import EXACT
from .surveys.base import ANY


@dataclass
class Stars:
    """Rows of a catalogue in memory.

    Attributes
    ----------
    columns : arrays by the survey's names, shape (n_stars,); missing numbers are NaN, but masked
        among flags and among whole numbers that fractions do not hold
    units : units by name, of the columns that have one
    roles : the column of each role, such as {"radial_velocity": "VHELIO_AVG"}; "" for none
    flow : the steps that led to these rows
    """

    columns: dict[str, np.ndarray]
    units: dict[str, u.UnitBase]
    roles: Mapping[str, str]
    flow: CutFlow

    def __len__(self) -> int:
        return next(iter(self.columns.values())).shape[0] if self.columns else 0

    @property
    def distance(self) -> str:
        """The role that tells distances: "distance" where a column was named for it."""
        return "distance" if "distance" in self.roles else "parallax"

    def has(self, role: str) -> bool:
        """Whether there is a column for a role."""
        return self.roles.get(role, role) in self.columns

    def values(self, role: str) -> np.ndarray:
        """The column of a role as float64."""
        return as_floats(self.columns, self.roles.get(role, role))

    def quantity(self, role: str) -> u.Quantity:
        """The column of a role with its unit."""
        name = self.roles.get(role, role)
        return self.values(role) * self.units.get(name, u.dimensionless_unscaled)

    def apply(self, cuts: Iterable[tuple[str, np.ndarray]]) -> np.ndarray:
        """Make cuts, each a name and a mask over the present rows, and record each as a step.

        The rows are left out once, at the end, whose number of copies is then that of the columns
        and not that of the cuts.  Returns the indices kept, shape (n_left,).  Raises
        ``ValueError``, naming the cut, where no star is left.
        """
        alive = np.ones(len(self), dtype=bool)
        for name, keep in cuts:
            alive &= np.asarray(keep, dtype=bool)
            self.flow.count(name, np.count_nonzero(alive))
        kept = np.flatnonzero(alive)
        if kept.size != alive.size:
            self.columns = {k: _unmasked(v[kept]) for k, v in self.columns.items()}
        return kept

    def flag_cuts(self, flags: Mapping) -> Iterator[tuple[str, np.ndarray]]:
        """One cut for each bit of `flags`, lists of bits (or "any") by column, for `apply`.

        Where stars have no flag these are a cut of their own: they are not known to be clean.
        """
        for flag, bits in flags.items():
            values = self.columns[flag]
            unknown = np.ma.getmaskarray(values)
            if values.dtype.kind == "f":
                unknown = unknown | np.isnan(values)
            if unknown.any():
                yield f"{flag} known", ~unknown
                values = np.where(unknown, values.dtype.type(0), np.ma.getdata(values))
            for bit in [ANY] if isinstance(bits, str) else bits:
                chosen = bit if bit == ANY else [bit]
                yield f"{flag} {bit}", ~is_set(flag, values, chosen)

    @property
    def table(self) -> Table:
        """The stars as an Astropy table, which ``pyia.GaiaData`` takes as it is.

        Columns are not masked, because ``pyia`` cannot use masks: missing numbers are NaN, except
        among whole numbers that fractions do not hold.
        """
        table = Table()
        for name, values in self.columns.items():
            kind = Column
            if np.ma.is_masked(values):
                fractions = np.ma.filled(values.astype(float), np.nan)
                if np.any(np.abs(fractions) >= EXACT):
                    kind = MaskedColumn
                else:
                    values = fractions
            table.add_column(
                kind(_unmasked(values), name=name, unit=self.units.get(name)), copy=False
            )
        return table


def _unmasked(values: np.ndarray) -> np.ndarray:
    """A plain array where no value is masked."""
    return values if np.ma.is_masked(values) else np.asarray(values)
