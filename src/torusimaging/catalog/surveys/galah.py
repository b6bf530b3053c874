"""GALAH DR4, by the survey's page "Table Schema"; not checked against a file, of which none was
at hand.
"""

from types import MappingProxyType

import numpy as np

from ...files.missing import MISSING
from ..selection import Selection
from .base import Preset, Survey

GALAH_DR4 = Preset(
    name="galah-dr4",
    title="GALAH DR4 and Gaia DR3",
    files=("galah_dr4_allstar_240705.fits", "galah_dr4_vac_wise_tmass_gaiadr3_240705.fits"),
    hdus=(1, 1),
    keys=("sobject_id", "sobject_id"),
    unique="gaiadr3_source_id",
    best="snr_px_ccd3",
    columns=MappingProxyType(
        {"radial_velocity": "rv_comp_1", "radial_velocity_error": "e_rv_comp_1"}
    ),
    label=("mg_fe", "e_mg_fe"),
    missing=MISSING,
    # Every bit of these is a reason to doubt a value (the survey's page "Flags").
    flags=MappingProxyType({"flag_sp": "any", "flag_mg_fe": "any"}),
    selection="galah-dr4",
    extra=("teff", "logg", "fe_h", "snr_px_ccd3"),
    source="the survey's page 'Table Schema' of DR4",
    where="download it from https://www.galah-survey.org/dr4/the_catalogues",
)
GALAH = Survey(
    presets=(GALAH_DR4,),
    # What the survey's page "Flags" recommends beside its flags.
    selections=MappingProxyType(
        {"galah-dr4": Selection(ranges=MappingProxyType({"snr_px_ccd3": (30.0, np.inf)}))}
    ),
)
