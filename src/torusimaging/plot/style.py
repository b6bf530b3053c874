"""Colours and texts that all figures share."""

import re

import astropy.units as u
import matplotlib as mpl

from ..coordinates import unit_text

# Okabe & Ito's palette, told apart with any kind of colour vision.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
LINES = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9")
GREY = "0.65"

LABEL_MAP = "viridis"
RESIDUAL_MAP = "RdBu_r"
COUNT_MAP = "Greys"

RADIUS_UNIT = r"kpc Myr$^{-1/2}$"

POINT_SIZE = 4.0
DPI = 110


def label_unit_text(unit: u.UnitBase | None) -> str:
    """What follows the name of a label: its unit in brackets, or nothing."""
    return "" if unit is None else f" [{unit_text(unit)}]"


# How figures look where the user has not said otherwise.
OWN = {
    "font.size": 10.0,
    "axes.linewidth": 0.8,
    "axes.titlesize": "medium",
    "legend.frameon": False,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "pdf.fonttype": 42,
}


def own_style():
    """A context in which figures have the project's style, but for what the user has set."""
    changed = {k for k in OWN if mpl.rcParams[k] != mpl.rcParamsDefault[k]}
    return mpl.rc_context({k: x for k, x in OWN.items() if k not in changed})


ABUNDANCE = re.compile(r"([A-Za-z]{1,2})_?(fe|h|mg)", re.I)
ELEMENTS = {"mg", "fe", "al", "si", "ca", "ti", "cr", "mn", "co", "ni", "na", "c", "n", "o"}
ELEMENTS |= {"k", "p", "s", "v", "ce", "nd", "eu", "ba", "y", "zr", "m"}


def label_text(name: str) -> str:
    """A label as it is written: [Mg/Fe] for the columns mgfe and MG_FE; any other as it is."""
    match = ABUNDANCE.fullmatch(name.strip())
    if match is None or match[1].lower() not in ELEMENTS:
        return name
    return f"[{match[1].capitalize()}/{match[2].capitalize()}]"
