"""Published values of the local density and surface density, to lay beside one's own."""

from dataclasses import dataclass

import astropy.units as u
from astropy.table import QTable

UNITS = {"rho": u.Msun / u.pc**3, "Sigma": u.Msun / u.pc**2}


@dataclass(frozen=True)
class Mark:
    """A published value of rho (Msun/pc^3) at, or Sigma (Msun/pc^2) within, `height` (kpc).

    `plus` and `minus` are the distances to the upper and lower end of the 68 % interval.
    """

    name: str
    arxiv: str
    quantity: str
    height: float
    value: float
    plus: float
    minus: float

    @property
    def unit(self) -> u.UnitBase:
        """The unit of `value`, `plus` and `minus`."""
        return UNITS[self.quantity]


MARKS = (
    Mark("Horta+24", "2312.07664", "rho", 0.0, 0.081, 0.015, 0.009),
    Mark("McKee+15", "1509.05334", "rho", 0.0, 0.097, 0.013, 0.013),
    Mark("Horta+24", "2312.07664", "Sigma", 1.1, 72.0, 6.0, 9.0),
    Mark("Bovy & Rix 13", "1309.0809", "Sigma", 1.1, 68.0, 4.0, 4.0),
)


def table() -> QTable:
    """The published values, one a row: name, arxiv, quantity, height, value, plus, minus, unit.

    Heights are in kpc; ``unit`` is that of the three columns before it.
    """
    names = ("name", "arxiv", "quantity", "height", "value", "plus", "minus")
    out = QTable({name: [getattr(mark, name) for mark in MARKS] for name in names})
    out["height"] = out["height"] * u.kpc
    out["unit"] = [str(mark.unit) for mark in MARKS]
    return out
