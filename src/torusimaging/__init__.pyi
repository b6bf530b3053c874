from . import catalog, data, foliation, inference, mock, models, parameters, plot, priors, report
from .checks.actions import ActionComparison, compare_actions
from .checks.calibration import Calibration, calibrate
from .checks.comparison import ModelComparison, compare_models
from .checks.consistency import Consistency, check_consistency
from .checks.goodness import Goodness, check_goodness
from .checks.symmetry import Asymmetry, ThinLayer, check_asymmetry, check_thin_layer
from .checks.verdict import Finding, Verdict, judge
from .data.stars import Stars
from .fitting import Fit, fit_map, fit_stars, load
from .models import (
    Layer,
    TorusImaging1D,
    TorusImaging1DPotential,
    TorusImaging1DSpline,
    solar_layers,
)
from .results import literature
from .results.profiles import profiles

__all__ = [
    "ActionComparison",
    "Asymmetry",
    "Calibration",
    "Consistency",
    "Finding",
    "Fit",
    "Goodness",
    "Layer",
    "ModelComparison",
    "Stars",
    "ThinLayer",
    "TorusImaging1D",
    "TorusImaging1DPotential",
    "TorusImaging1DSpline",
    "Verdict",
    "calibrate",
    "catalog",
    "check_asymmetry",
    "check_consistency",
    "check_goodness",
    "check_thin_layer",
    "compare_actions",
    "compare_models",
    "data",
    "fit_map",
    "fit_stars",
    "foliation",
    "inference",
    "judge",
    "literature",
    "load",
    "mock",
    "models",
    "parameters",
    "plot",
    "priors",
    "profiles",
    "report",
    "solar_layers",
]
__version__: str
