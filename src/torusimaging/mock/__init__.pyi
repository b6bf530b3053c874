from .apogee import MockApogee, write_apogee
from .potential1d import Potential1D, solar_potential
from .survey import MockSurvey, draw_stars, survey_selection, tanh_label

__all__ = [
    "MockApogee",
    "MockSurvey",
    "Potential1D",
    "draw_stars",
    "solar_potential",
    "survey_selection",
    "tanh_label",
    "write_apogee",
]
