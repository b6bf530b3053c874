"""Colours and texts that all figures share."""

import astropy.units as u

# Okabe & Ito's palette, told apart with any kind of colour vision.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
LINES = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9")
GREY = "0.65"

LABEL_MAP = "viridis"
RESIDUAL_MAP = "RdBu_r"
COUNT_MAP = "Greys"

RADIUS_UNIT = r"kpc Myr$^{-1/2}$"
ACCELERATION_UNIT = r"km s$^{-1}$ Myr$^{-1}$"
DENSITY_UNIT = r"M$_\odot$ pc$^{-3}$"
SURFACE_UNIT = r"M$_\odot$ pc$^{-2}$"

POINT_SIZE = 4.0


def label_unit_text(unit: u.UnitBase | None) -> str:
    """What follows the name of a label: its unit in brackets, or nothing."""
    return "" if unit is None else f" [{unit_text(unit)}]"


def unit_text(unit: u.UnitBase) -> str:
    """A unit as it stands in an axis label, for example km/s."""
    return unit.to_string().replace(" / ", "/")
