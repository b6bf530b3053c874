from . import (
    actions,
    catalog,
    data,
    foliation,
    inference,
    literature,
    mock,
    models,
    plot,
    priors,
    report,
)
from .calibration import Calibration, calibrate
from .comparison import ModelComparison, compare_models
from .consistency import Consistency, check_consistency
from .galaxy import ActionComparison, compare_actions
from .goodness import Goodness, check_goodness
from .models import (
    Layer,
    TorusImaging1D,
    TorusImaging1DPotential,
    TorusImaging1DSpline,
    solar_layers,
)
from .profile import profiles
from .results import Fit, fit_map, load
from .symmetry import Asymmetry, ThinLayer, check_asymmetry, check_thin_layer
from .verdict import Finding, Verdict, judge

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
    "ThinLayer",
    "TorusImaging1D",
    "TorusImaging1DPotential",
    "TorusImaging1DSpline",
    "Verdict",
    "actions",
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
    "foliation",
    "inference",
    "judge",
    "literature",
    "load",
    "mock",
    "models",
    "plot",
    "priors",
    "profiles",
    "report",
    "solar_layers",
]
__version__: str
