"""Where stars and pixels lie, and what their coordinates are."""

import re
from typing import Any, NamedTuple

import astropy.units as u

from .arguments import shown

NUMBER = r"[-+\u2212]?\s*(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
UNIT = r"([A-Za-z]+(?:\s*/\s*[A-Za-z]+)?)"
# What may stand in a frame: its name, how a value is written, and the value's unit.
STATED = (
    ("z", "z_sun", rf"\(?\s*({NUMBER})\s*\)?\s*{UNIT}", u.pc),
    ("v_z", "v_z_sun", rf"\(?\s*({NUMBER})\s*\)?\s*{UNIT}", u.km / u.s),
    (
        "v_z",
        "v_sun",
        rf"[(\[]\s*{NUMBER}\s*,\s*{NUMBER}\s*,\s*({NUMBER})\s*[)\]]\s*{UNIT}",
        u.km / u.s,
    ),
)
# Labels whose value depends on the star's distance, or on its atmosphere alone.
NO_LABELS = re.compile(r"(?i)log_?g(?![a-z])|t_?eff|temperature|gravity")


# Beyond these, in pc and km/s, and where they are no numbers, they are of no star of the disc.
FARTHEST = 1000.0


class Axis(NamedTuple):
    """One coordinate of a plane, as tables, files and figures write it.

    Attributes
    ----------
    name : in the columns of tables, for example ``v_z``
    stem : of the columns of a map's file, which end in their unit: ``vz`` of ``vz_kms``
    endings : these endings, the one that is written first, with their units
    symbol, centre : in figures, without the dollars: the coordinate, and where the plane has its
        centre
    unit, shown, fine : inside the package, in maps and tables, and of the centre
    """

    name: str
    stem: str
    endings: dict[str, u.UnitBase]
    symbol: str
    centre: str
    unit: u.UnitBase
    shown: u.UnitBase
    fine: u.UnitBase

    def text(self, unit: u.UnitBase | None = None) -> str:
        """The text of a figure's axis."""
        return f"${self.symbol}$ [{unit_text(self.shown if unit is None else unit)}]"

    @property
    def offset(self) -> str:
        """The symbol of the distance from the plane's centre."""
        return f"{self.symbol} - {self.centre}"

    def column(self, mean: bool = False) -> tuple[str, u.UnitBase]:
        """The column in a map's file that is written, and its unit; `mean`: of the mean places."""
        ending, unit = next(iter(self.endings.items()))
        return f"{self.stem}_{'mean_' * mean}{ending}", unit


class FieldQuantity(NamedTuple):
    """What a field of the plane has at each place: symbol, unit inside and unit shown.

    `text` is the unit as a figure writes it.
    """

    symbol: str
    unit: u.UnitBase
    shown: u.UnitBase
    text: str

    @property
    def axis(self) -> str:
        """The text of a figure's axis."""
        return f"${self.symbol}$ [{self.text}]"


class Plane(NamedTuple):
    """What pos and vel are, and what a field of them means.

    Attributes
    ----------
    name : in words
    pos, vel : the coordinates
    field : the quantities of its field, by the name of their columns
    sun : the rows of the Sun's own height and velocity in a table of results
    """

    name: str
    pos: Axis
    vel: Axis
    field: dict[str, FieldQuantity]
    sun: tuple[str, str]


KMS = u.km / u.s
DENSITY = (u.Msun / u.kpc**3, u.Msun / u.pc**3, r"M$_\odot$ pc$^{-3}$")
SURFACE = (u.Msun / u.kpc**2, u.Msun / u.pc**2, r"M$_\odot$ pc$^{-2}$")
# The plane of the motion through the disc: heights and vertical velocities.
VERTICAL = Plane(
    "vertical",
    Axis("z", "z", {"kpc": u.kpc, "pc": u.pc}, "z", "z_0", u.kpc, u.kpc, u.pc),
    Axis(
        "v_z",
        "vz",
        {"kms": KMS, "kpc_myr": u.kpc / u.Myr},
        "v_z",
        "v_{z,0}",
        u.kpc / u.Myr,
        KMS,
        KMS,
    ),
    {
        "a_z": FieldQuantity(
            "a_z", u.kpc / u.Myr**2, u.km / u.s / u.Myr, r"km s$^{-1}$ Myr$^{-1}$"
        ),
        "rho": FieldQuantity(r"\rho", *DENSITY),
        "Sigma": FieldQuantity(r"\Sigma(<|z|)", *SURFACE),
        "rho_dm": FieldQuantity(r"\rho_\mathrm{DM}", *DENSITY),
        "Sigma_dm": FieldQuantity(r"\Sigma_\mathrm{DM}(<|z|)", *SURFACE),
    },
    ("z_sun above midplane", "v_z,sun"),
)


def unit_text(unit: u.UnitBase) -> str:
    """A unit as it stands in an axis label, for example km/s."""
    return unit.to_string().replace(" / ", "/")


# The circular speed by which angular momenta are divided for guiding radii (kpc/Myr): 229 km/s,
# Eilers et al. 2019, ApJ 871, 120.
ROTATION = float((229 * KMS).to_value(u.kpc / u.Myr))
RADIUS = rf"(?i)\bR0\s*=\s*({NUMBER})\s*{UNIT}"


class Points(NamedTuple):
    """Places in the plane, plain arrays of one shape.

    Attributes
    ----------
    pos, vel : position and velocity (kpc, kpc/Myr)
    R, Lz : Galactocentric radius (kpc) and angular momentum (kpc^2/Myr), for families of orbits
        that change with them; None where they are not known
    """

    pos: Any
    vel: Any
    R: Any = None
    Lz: Any = None

    @property
    def guiding_radius(self) -> Any:
        """|Lz| over a circular speed of 229 km/s, in kpc."""
        return abs(self.Lz) / ROTATION


def words_of_frame(frame: Any) -> str:
    """A frame in words, from which `sun_of` reads where the Sun is; a `catalog.Frame` has such.

    Raises ``ValueError`` for anything else than a frame and a text.
    """
    frame = str(frame) if hasattr(frame, "as_dict") else frame
    if not isinstance(frame, str):
        raise ValueError(
            f"frame must be a Frame or the frame in words, but {shown(frame)} was given."
        )
    return frame


class Sun(NamedTuple):
    """The Sun in a frame: its height (pc) and vertical velocity (km/s), each None where not stated.

    `unread` says what of it stands in the text but could not be read, in a clause.
    """

    z: float | None = None
    v_z: float | None = None
    unread: str | None = None


def sun_of(frame: str) -> Sun:
    """The Sun's height and vertical velocity that a frame states in words.

    Read are ``z_sun = 20.8 pc`` and the third component of ``v_sun = (12.9, 245.6, 7.78) km / s``,
    as a `catalog.Frame` writes them, or ``v_z_sun = 7.78 km/s``, anywhere in the text.
    """
    found: dict[str, list[float]] = {"z": [], "v_z": []}
    unread = []
    for key, name, form, unit in STATED:
        values = [
            _value(match[1], match[2], unit)
            for match in re.finditer(rf"(?i)\b{name}\s*=\s*{form}", frame)
        ]
        good = [x for x in values if x is not None and abs(x) < FARTHEST]
        if len(good) < len(re.findall(rf"(?i)\b{name}\b", frame)):
            what = "three speeds" if name == "v_sun" else f"a number below {FARTHEST:g} {unit}"
            unread.append(f"{name} is not stated as {what} with a unit")
        found[key] += good
    for key, values in found.items():
        if len({round(x, 9) for x in values}) > 1:
            unread.append(f"{'z_sun' if key == 'z' else 'the vertical v_sun'} is stated twice")
            values.clear()
    z, v_z = (values[0] if values else None for values in found.values())
    return Sun(z, v_z, "; ".join(unread) or None)


def radius_of(frame: str) -> float | None:
    """The Sun's distance from the Galactic centre (kpc) that a frame states in words.

    Read is ``R0 = 8.275 kpc``; None where it is not there, twice, or no distance.
    """
    values = {_value(match[1], match[2], u.kpc) for match in re.finditer(RADIUS, frame)}
    return values.pop() if len(values) == 1 else None


def _value(number: str, unit: str, wanted: u.UnitBase) -> float | None:
    """The number in the unit that is wanted; None where its unit is another kind."""
    try:
        value = float(number.replace("\u2212", "-").replace(" ", "")) * u.Unit(unit)
        return float(value.to_value(wanted))
    except (TypeError, ValueError):
        return None


def doubt_of_label(name: str) -> str | None:
    """A sentence on a label by whose name it is no tracer of orbits; None for any other."""
    if not NO_LABELS.search(name):
        return None
    return (
        f"the label '{name}' seems to be a surface gravity or temperature: which of these a survey "
        "sees changes with distance, and so over the plane, whatever the orbits are; take an "
        "abundance or an age."
    )
