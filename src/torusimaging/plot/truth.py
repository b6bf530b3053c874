"""What profiles are drawn against: exact and other packages' potentials, functions and tables."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import QTable, Table
from numpy.typing import NDArray

from ..checks.packages import Line, package_of, stated_frame, title_of, vertical_line
from ..coordinates import VERTICAL
from ..units import internal

FIELD = VERTICAL.field
VERBS = {"a_z": "acceleration", "rho": "density", "Sigma": "surface_density"}
USUAL_R = 8.275 * u.kpc
LONG = 30  # letters of a name beyond which a legend would hide the curves


@dataclass(frozen=True)
class Truth:
    """Curves by quantity: functions of the height (kpc, plain), or rows of heights and values."""

    label: str
    functions: dict[str, Callable] = field(default_factory=dict)
    rows: dict[str, tuple[NDArray, NDArray]] = field(default_factory=dict)

    def curve(self, name: str, z: NDArray) -> tuple[NDArray, NDArray] | None:
        """(heights, values in the unit shown), or None where the truth does not say."""
        if name in self.rows:
            return self.rows[name]
        if name not in self.functions:
            return None
        y = self.functions[name](np.abs(z) if name.startswith("Sigma") else z)
        # Quantity leaves a unit that the function attached and adds one that it did not.
        y = y if isinstance(y, u.Quantity) else u.Quantity(y, FIELD[name].unit)
        return z, np.broadcast_to(y.to_value(FIELD[name].shown), np.shape(z))


def read_truth(truth: Any, R: u.Quantity | None = None, frame: Any = None) -> Truth | None:
    """The curves of whatever may be given as a truth; None of None.

    Raises ``ValueError`` for what has none of them, as `vertical_line` does for an unusable
    potential or R, and `UnitError` for columns and an `R` without a fitting unit.
    """
    if truth is None:
        return None
    if hasattr(truth, "pos0") and hasattr(truth, "potential"):
        truth = truth.potential
    if package_of(truth):
        line, label = line_of(truth, R, frame)
        return Truth(label, {name: getattr(line, verb) for name, verb in VERBS.items()})
    if isinstance(truth, Table):
        return Truth("truth", rows=_rows(QTable(truth)))
    if all(hasattr(truth, verb) for verb in VERBS.values()):
        functions = {name: getattr(truth, verb) for name, verb in VERBS.items()}
        if hasattr(truth, "rho_dm"):
            functions["rho_dm"] = lambda z: truth.rho_dm * np.ones_like(z)
            functions["Sigma_dm"] = lambda z: truth.rho_dm * 2 * np.abs(z)
        return Truth("truth", functions)
    given = list(truth) if isinstance(truth, list | tuple) else [truth]
    if given and all(map(callable, given)):
        return Truth("truth", dict(map(_function, given)))
    raise ValueError(
        "truth must have the methods acceleration, density and surface_density, or be a mock "
        "survey, a gala, galpy or Agama potential, a table or functions that return quantities, "
        f"but {title_of(truth)} was given."
    )


def line_of(potential: Any, R: u.Quantity | None, frame: Any) -> tuple[Line, str]:
    """A potential of another package on a vertical line, and its name for a legend.

    Without `R` at the R0 that `frame` states, or else at 8.275 kpc.
    """
    if R is None:
        R = stated_frame(frame).get("R0", USUAL_R.value) * u.kpc
    line = vertical_line(potential, R)
    title = title_of(potential)
    title = title if len(title) <= LONG else f"{package_of(potential)} potentials"
    return line, title if line.radius is None else f"{title} at R = {line.radius:g} kpc"


def _rows(table: QTable) -> dict[str, tuple[NDArray, NDArray]]:
    """Columns by quantity, also those of medians as `profiles` calls them, sorted by height."""
    columns = table.colnames
    found = {n: c for n in FIELD for c in (n, f"{n}_median") if c in columns}
    if "z" not in columns or not found:
        raise ValueError(
            f"truth, a table, must have z and one of {', '.join(FIELD)}, but has only "
            f"{', '.join(columns) or 'no column'}."
        )
    z = internal(table["z"], u.kpc, "truth['z']")
    order = np.argsort(z)
    return {
        name: (z[order], internal(table[column], FIELD[name].shown, f"truth[{column!r}]")[order])
        for name, column in found.items()
    }


def _function(function: Callable) -> tuple[str, Callable]:
    """(quantity, function of plain heights) of a function whose values' unit says what it is."""

    def value(z):
        try:
            return function(u.Quantity(z, u.kpc))
        except (u.UnitsError, TypeError):  # one of plain heights in kpc
            return function(np.asarray(z, dtype=float))

    probe = value(np.array([0.1, 0.2]))
    unit = getattr(probe, "unit", None)
    for name in VERBS:
        if unit is not None and unit.is_equivalent(FIELD[name].shown):
            return name, value
    raise ValueError(
        "truth, where it is a function of the height, must return a quantity that is an "
        f"acceleration, a density or a surface density, but returned {unit or 'no unit'}."
    )
