"""Tables of one's own, with columns that the configuration names."""

from types import MappingProxyType

from ...files.missing import MISSING
from ..selection import Selection
from .base import Preset, Survey

GENERIC = Preset(
    name="generic",
    title="a table with columns named in the configuration",
    missing=MISSING,
    units=False,
)
OWN = Survey(presets=(GENERIC,), selections=MappingProxyType({"none": Selection()}))
