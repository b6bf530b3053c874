"""What users' texts say: the Sun's place in a frame, and labels that are none."""

import re
from typing import NamedTuple

import astropy.units as u

PAIR = re.compile(r"(\w+)\s*=\s*(\([^()]*\)[^,;=]*|[^,;=()]+?)\s*(?=[,;]|$)")
VECTOR = re.compile(r"\(([^()]*)\)\s*(.*)")
# Labels whose value depends on the star's distance, or on its atmosphere alone.
NO_LABELS = re.compile(r"(?i)log_?g(?![a-z])|t_?eff|temperature|gravity")


# Beyond these, in pc and km/s, and where they are no numbers, they are of no star of the disc.
FARTHEST = 1000.0


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
    stated = {name: text.strip() for name, text in PAIR.findall(frame)}
    values, unread = {}, []
    for key, name, unit in (
        ("z", "z_sun", u.pc),
        ("v_z", "v_sun", u.km / u.s),
        ("v_z", "v_z_sun", u.km / u.s),
    ):
        if name not in stated:
            if re.search(rf"\b{name}\b", frame):
                unread.append(f"{name} has no value with a unit")
            continue
        text = stated[name]
        if name == "v_sun":
            match = VECTOR.fullmatch(text)
            parts = match[1].split(",") if match else []
            text = f"{parts[2]} {match[2]}" if match and len(parts) == 3 else ""
        try:
            values[key] = float(u.Quantity(text).to_value(unit))
            if not abs(values[key]) < FARTHEST:
                raise ValueError(text)
        except (TypeError, ValueError):
            values.pop(key, None)
            kind = "three speeds" if name == "v_sun" else f"a number below {FARTHEST:g} {unit}"
            unread.append(f"{name} = {stated[name]} is not {kind}")
    return Sun(values.get("z"), values.get("v_z"), "; ".join(unread) or None)


def doubt_of_label(name: str) -> str | None:
    """A sentence on a label by whose name it is no tracer of orbits; None for any other."""
    if not NO_LABELS.search(name):
        return None
    return (
        f"the label '{name}' seems to be a surface gravity or temperature: which of these a survey "
        "sees changes with distance, and so over the plane, whatever the orbits are; take an "
        "abundance or an age."
    )
