"""From survey catalogues to samples in the phase plane: files, flags, frames and selections."""

from .apogee import read_apogee
from .config import Config, read_config
from .cuts import CutFlow, Step
from .errors import VerticalErrors, vertical_errors
from .fetch import fetch
from .flags import bit, is_set
from .frames import FRAMES, Frame, Galactocentric, to_galactocentric
from .read import Request, read_stars
from .sample import Sample, load, measured
from .selection import RotationCurve, Selection
from .stars import Stars
from .surveys.base import Preset
from .surveys.registry import BITS, PRESETS, SELECTIONS, selection
from .templates import template

__all__ = [
    "BITS",
    "FRAMES",
    "PRESETS",
    "SELECTIONS",
    "Config",
    "CutFlow",
    "Frame",
    "Galactocentric",
    "Preset",
    "Request",
    "RotationCurve",
    "Sample",
    "Selection",
    "Stars",
    "Step",
    "VerticalErrors",
    "bit",
    "fetch",
    "is_set",
    "load",
    "measured",
    "read_apogee",
    "read_config",
    "read_stars",
    "selection",
    "template",
    "to_galactocentric",
    "vertical_errors",
]
