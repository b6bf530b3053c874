"""Where stars and pixels lie, and what their coordinates are."""

import re
from typing import Any, NamedTuple

import astropy.units as u

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
