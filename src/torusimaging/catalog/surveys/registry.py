"""The surveys that are known, and what they hold by name: a new one is a file and a line here.

None of the names of files and columns was checked against a file of the survey: none was at hand.
A name that differs in a file is reported with the nearest one that the file has.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from ..selection import Selection
from .apogee import APOGEE
from .base import Download, Preset
from .galah import GALAH
from .own import OWN
from .sdss5 import SDSS_V

SURVEYS = (APOGEE, GALAH, SDSS_V, OWN)
PRESETS: Mapping[str, Preset] = MappingProxyType({p.name: p for s in SURVEYS for p in s.presets})
BITS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {flag: bits for s in SURVEYS for flag, bits in s.bits.items()}
)
FLAGS: Mapping[str, Mapping[str, tuple[str, ...] | str]] = MappingProxyType(
    {name: cuts for s in SURVEYS for name, cuts in s.flags.items()}
)
DOWNLOADS: Mapping[str, tuple[Download, ...]] = MappingProxyType(
    {name: files for s in SURVEYS for name, files in s.downloads.items()}
)
SELECTIONS: Mapping[str, Selection] = MappingProxyType(
    {name: own for s in SURVEYS for name, own in s.selections.items()}
)


def selection(name: str, **changes) -> Selection:
    """A published selection by name, with `changes` to its parameters.

    Raises ``ValueError`` for an unknown name or parameter.
    """
    if not isinstance(name, str) or name not in SELECTIONS:
        raise ValueError(f"there is no selection {name!r} (known: {', '.join(SELECTIONS)}).")
    try:
        return replace(SELECTIONS[name], **changes)
    except TypeError as error:
        raise ValueError(f"a selection has no such parameter: {error}.") from None
