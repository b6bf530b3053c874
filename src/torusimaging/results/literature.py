r"""Published values of the local density and surface density, to lay beside one's own.

In a disc Poisson's equation has a radial term beside the vertical one,

    4 pi G rho = -d a_z / dz + (1 / R) d(v_c^2) / dR,

which one-dimensional fits leave out.  With Oort's constants, A - B = v_c / R and A + B = -dv_c/dR,
it changes the density by

    delta rho = (B^2 - A^2) / (2 pi G) = (v_c / R) (dv_c / dR) / (2 pi G)

and the surface density within +-z by 2 z times that, as long as the term is that of the plane
(Kuijken & Gilmore 1989, MNRAS 239, 571; Bovy & Tremaine 2012, ApJ 756, 89).
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray

from ..arguments import real_number, shown, whole_number
from ..coordinates import VERTICAL
from ..units import internal


@dataclass(frozen=True)
class Mark:
    """A published value of rho (Msun/pc^3) at, or Sigma (Msun/pc^2) within, `height` (kpc).

    `plus` and `minus` are the distances to the upper and lower end of the 68 % interval;
    `contains` says of what it is.
    """

    name: str
    arxiv: str
    quantity: str
    height: float
    value: float
    plus: float
    minus: float
    contains: str = ""

    @property
    def unit(self) -> u.UnitBase:
        """The unit of `value`, `plus` and `minus`."""
        return VERTICAL.field[self.quantity].shown


# The Sun's height above the midplane (pc) by counts of stars: Bennett & Bovy 2019
# (arXiv:1809.03507).
SUN_HEIGHT, SUN_HEIGHT_ERR = 20.8, 0.3
RADIAL = "with a radial term"
CENSUS = "counted mass and dark matter"
MARKS = (
    Mark("Horta+24", "2312.07664", "rho", 0.0, 0.081, 0.015, 0.009, RADIAL),
    Mark("McKee+15", "1509.05334", "rho", 0.0, 0.097, 0.013, 0.013, CENSUS),
    Mark("Horta+24", "2312.07664", "Sigma", 1.1, 72.0, 6.0, 9.0, RADIAL),
    Mark("Bovy & Rix 13", "1309.0809", "Sigma", 1.1, 68.0, 4.0, 4.0, RADIAL),
)


def table() -> QTable:
    """The published values: name, arxiv, quantity, height, value, plus, minus, contains, unit.

    Heights are in kpc; ``unit`` is that of the three columns before it.
    """
    names = ("name", "arxiv", "quantity", "height", "value", "plus", "minus", "contains")
    out = QTable({name: [getattr(mark, name) for mark in MARKS] for name in names})
    out["height"] = out["height"] * u.kpc
    out["unit"] = [str(mark.unit) for mark in MARKS]
    return out


OORT = u.km / u.s / u.kpc
LARGEST = 1e4  # of speeds (km/s), radii (kpc) and constants (km/s/kpc)
GRAVITY = 4.300917e-6  # kpc (km/s)^2 / Msun


@dataclass(frozen=True)
class RadialTerm:
    """What the radial term of Poisson's equation adds to a one-dimensional density, with its error.

    Parameters
    ----------
    A, B : Oort's constants (speed / length); default: Bovy 2017 (arXiv:1610.07610), who finds
        15.3 +- 0.4 and -11.9 +- 0.4 km/s/kpc from Gaia's first catalogue
    A_err, B_err, correlation : their errors, and the correlation of these

    Raises `UnitError` for missing or wrong units and ``ValueError`` for values that are not one
    finite number, negative errors and a correlation beyond +-1.
    """

    A: u.Quantity = 15.3 * OORT
    B: u.Quantity = -11.9 * OORT
    A_err: u.Quantity = 0.4 * OORT
    B_err: u.Quantity = 0.4 * OORT
    correlation: float = 0.0

    def __post_init__(self):
        for name in ("A", "B", "A_err", "B_err"):
            value = internal(getattr(self, name), OORT, name)
            if value.ndim or not abs(value) < LARGEST or (name.endswith("err") and value < 0):
                wanted = "one finite value" + " of at least 0" * name.endswith("err")
                raise ValueError(f"{name} must be {wanted}, but {getattr(self, name)} was given.")
        real_number(self.correlation, "correlation", "from -1 to 1", lambda x: -1 <= x <= 1)

    @classmethod
    def of_curve(
        cls, R: u.Quantity, v_c: u.Quantity, slope: u.Quantity, slope_err: u.Quantity
    ) -> "RadialTerm":
        """The term of a rotation curve of speed `v_c` and slope dv_c / dR at the radius `R`.

        The slope's error is that of both constants at once, A = (v_c / R - dv_c / dR) / 2 and
        B = -(v_c / R + dv_c / dR) / 2, which are then wholly correlated.
        """
        speed, radius = internal(v_c, u.km / u.s, "v_c"), internal(R, u.kpc, "R")
        half = internal(slope, OORT, "slope") / 2
        error = internal(slope_err, OORT, "slope_err") / 2
        for name, value, given in (("R", radius, R), ("v_c", speed, v_c)):
            if np.ndim(value) or not 0 < value < LARGEST:
                raise ValueError(f"{name} must be one positive value, but {given} was given.")
        omega = speed / radius
        A, B = omega / 2 - half, -omega / 2 - half
        return cls(A * OORT, B * OORT, error * OORT, error * OORT, 1.0)

    @property
    def density(self) -> u.Quantity:
        """delta rho (Msun/pc^3)."""
        A, B = (x.to_value(OORT) for x in (self.A, self.B))
        return (B**2 - A**2) / (2 * np.pi * GRAVITY) * 1e-9 * u.Msun / u.pc**3

    def draws(self, n: int, seed: int = 0) -> NDArray:
        """`n` values of delta rho (Msun/pc^3) within the constants' errors.

        Raises ``ValueError`` for fewer than one and a negative seed.
        """
        n, seed = whole_number(n, "n", 1), whole_number(seed, "seed", 0)
        rng = np.random.default_rng(seed)
        first, other = rng.normal(size=(2, n))
        second = self.correlation * first + np.sqrt(1 - self.correlation**2) * other
        A, B = (
            x.to_value(OORT) + err.to_value(OORT) * noise
            for x, err, noise in ((self.A, self.A_err, first), (self.B, self.B_err, second))
        )
        return (B**2 - A**2) / (2 * np.pi * GRAVITY) * 1e-9

    def __str__(self) -> str:
        A, B, a, b = (x.to_value(OORT) for x in (self.A, self.B, self.A_err, self.B_err))
        return (
            f"Oort's constants A = {A:g} +- {a:g} and B = {B:g} +- {b:g} km/s/kpc: "
            f"{self.density.value:+.4f} Msun/pc^3"
        )


def check_radial(radial) -> RadialTerm:
    """The term, where it is one; a ``ValueError`` otherwise."""
    if not isinstance(radial, RadialTerm):
        raise ValueError(
            f"radial must be a literature.RadialTerm, or None, but {shown(radial)} was given."
        )
    return radial
