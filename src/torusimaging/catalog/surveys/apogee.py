"""APOGEE DR17 (SDSS-IV).

Names of columns are those of the published tutorial and of the data model; names and numbers of
bits those of the DR17 page "APOGEE Bitmasks" and of the survey's own bitmask module.  An empty name
is a bit without a meaning.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import astropy.units as u
import numpy as np

from ...files.missing import MISSING
from ..selection import KMS, SLOPE, RotationCurve, Selection
from .base import ANY, SDSS, Download, Preset, Survey

APOGEE_DR17 = Preset(
    name="apogee-dr17",
    title="APOGEE DR17 and Gaia DR3",
    files=(
        "allStarLite-dr17-synspec_rev1.fits",
        "allStar-dr17-synspec-gaiadr3-gaiasourcelite.fits",
    ),
    hdus=(1, 1),
    keys=("APOGEE_ID", "apogee_id"),
    unique="source_id",
    best="SNR",
    columns=MappingProxyType({"radial_velocity": "VHELIO_AVG", "radial_velocity_error": "VERR"}),
    label=("MG_FE", "MG_FE_ERR"),
    missing=MISSING,
    flag_preset="tutorial",
    selection="tutorial",
    extra=("APOGEE_ID", "TEFF", "LOGG", "FE_H", "SNR"),
    source="the published tutorial; bit names: the SDSS DR17 page 'APOGEE Bitmasks'",
    where="`oti fetch apogee-dr17` downloads it or says where it is",
)
# Gaia's EDR3 astrometry, which is that of DR3, is in the spectroscopic file, too.
APOGEE_DR17_ALONE = replace(
    APOGEE_DR17,
    name="apogee-dr17-alone",
    title="APOGEE DR17 with the Gaia EDR3 columns of the same file",
    files=APOGEE_DR17.files[:1],
    hdus=(1,),
    keys=(),
    unique="GAIAEDR3_SOURCE_ID",
    columns=MappingProxyType(
        {
            "ra": "RA",
            "dec": "DEC",
            "parallax": "GAIAEDR3_PARALLAX",
            "parallax_error": "GAIAEDR3_PARALLAX_ERROR",
            "pmra": "GAIAEDR3_PMRA",
            "pmra_error": "GAIAEDR3_PMRA_ERROR",
            "pmdec": "GAIAEDR3_PMDEC",
            "pmdec_error": "GAIAEDR3_PMDEC_ERROR",
            "radial_velocity": "VHELIO_AVG",
            "radial_velocity_error": "VERR",
        }
    ),
    source="the SDSS DR17 data model of allStar",
    where="`oti fetch apogee-dr17-alone` downloads it",
)

_WARN = "TEFF LOGG VMICRO M_H ALPHA_M C_M N_M STAR CHI2 COLORTE ROTATION SN SPEC_HOLE ATMOS_HOLE"
_ELEMENTS = [*_WARN.split(), "VSINI"]

NAMES = {
    "ASPCAPFLAG": [f"{name}_WARN" for name in _ELEMENTS]
    + [""]
    + [f"{name}_BAD" for name in _ELEMENTS]
    + "NO_ASPCAP_RESULT MISSING_APSTAR NO_GRID BAD_FRAC_LOWSNR BAD_FRAC_BADPIX FERRE_FAIL".split()
    + ["", "", "", "PROBLEM_TARGET", "MULTIPLE_SUSPECT"],
    "STARFLAG": "BAD_PIXELS COMMISSIONING BRIGHT_NEIGHBOR VERY_BRIGHT_NEIGHBOR LOW_SNR".split()
    + 4 * [""]
    + "PERSIST_HIGH PERSIST_MED PERSIST_LOW PERSIST_JUMP_POS PERSIST_JUMP_NEG".split()
    + 2 * [""]
    + "SUSPECT_RV_COMBINATION SUSPECT_BROAD_LINES BAD_RV_COMBINATION RV_REJECT RV_SUSPECT "
    "MULTIPLE_SUSPECT RV_FAIL SUSPECT_ROTATION MTPFLUX_LT_75 MTPFLUX_LT_50".split(),
    "APOGEE_TARGET1": [
        f"APOGEE_{name}"
        for name in (
            "FAINT MEDIUM BRIGHT IRAC_DERED WISE_DERED SFD_DERED NO_DERED WASH_GIANT WASH_DWARF "
            "SCI_CLUSTER EXTENDED SHORT INTERMEDIATE LONG DO_NOT_OBSERVE SERENDIPITOUS "
            "FIRST_LIGHT ANCILLARY M31_CLUSTER MDWARF HIRES OLD_STAR DISK_RED_GIANT KEPLER_EB "
            "GC_PAL1 MASSIVE_STAR SGR_DSPH KEPLER_SEISMO KEPLER_HOST FAINT_EXTRA SEGUE_OVERLAP"
        ).split()
    ],
    "APOGEE_TARGET2": ["LIGHT_TRAP"]
    + [
        f"APOGEE_{name}"
        for name in (
            "FLUX_STANDARD STANDARD_STAR RV_STANDARD SKY SKY_BAD GUIDE_STAR BUNDLE_HOLE "
            "TELLURIC_BAD TELLURIC CALIB_CLUSTER BULGE_GIANT BULGE_SUPER_GIANT "
            "EMBEDDEDCLUSTER_STAR LONGBAR EMISSION_STAR KEPLER_COOLDWARF MIRCLUSTER_STAR "
            "RV_MONITOR_IC348 RV_MONITOR_KEPLER GES_CALIBRATE BULGE_RV_VERIFY 1MTARGET"
        ).split()
    ],
    "APOGEE2_TARGET1": [
        f"APOGEE2_{name}"
        for name in (
            "ONEBIN_GT_0_5 TWOBIN_0_5_TO_0_8 TWOBIN_GT_0_8 IRAC_DERED WISE_DERED SFD_DERED "
            "NO_DERED WASH_GIANT WASH_DWARF SCI_CLUSTER CLUSTER_CANDIDATE SHORT MEDIUM LONG "
            "NORMAL_SAMPLE MANGA_LED ONEBIN_GT_0_3 WASH_NOCLASS STREAM_MEMBER STREAM_CANDIDATE "
            "DSPH_MEMBER DSPH_CANDIDATE MAGCLOUD_MEMBER MAGCLOUD_CANDIDATE RRLYR BULGE_RC "
            "SGR_DSPH APOKASC_GIANT APOKASC_DWARF FAINT_EXTRA APOKASC"
        ).split()
    ],
    "APOGEE2_TARGET2": [
        f"APOGEE2_{name}"
        for name in (
            "K2_GAP CCLOUD_AS4 STANDARD_STAR RV_STANDARD SKY EXTERNAL_CALIB INTERNAL_CALIB "
            "DISK_SUBSTRUCTURE_MEMBER DISK_SUBSTRUCTURE_CANDIDATE TELLURIC CALIB_CLUSTER "
            "K2_PLANETHOST TIDAL_BINARY LITERATURE_CALIB GES_OVERLAP ARGOS_OVERLAP GAIA_OVERLAP "
            "GALAH_OVERLAP RAVE_OVERLAP COMMIS_SOUTH_SPEC HALO_MEMBER HALO_CANDIDATE 1M_TARGET "
            "MOD_BRIGHT_LIMIT CIS CNTAC EXTERNAL CVZ_AS4_OBAF CVZ_AS4_GI CVZ_AS4_CTL "
            "CVZ_AS4_GIANT"
        ).split()
    ],
    "APOGEE2_TARGET3": [
        f"APOGEE2_{name}"
        for name in (
            "KOI EB KOI_CONTROL MDWARF SUBSTELLAR_COMPANIONS YOUNG_CLUSTER K2 OBJECT ANCILLARY "
            "MASSIVE_STAR QSO CEPHEID LOW_AV_WINDOWS BE_STAR YOUNG_MOVING_GROUP NGC6791 "
            "LABEL_STAR FAINT_KEPLER_GIANTS W345 MASSIVE_EVOLVED REDDENING_TARGETS "
            "KEPLER_MDWARF_KOI AGB M33 ULTRACOOL DISTANT_SEGUE_GIANTS CEPHEID_MAPPING SA57 "
            "K2_MDWARF RVVAR M31"
        ).split()
    ],
    "EXTRATARG": "NOT_MAIN COMMISSIONING TELLURIC APO1M DUPLICATE".split(),
    "MEMBERFLAG": (
        "M92 M15 M53 N5466 N4147 M2 M13 M3 M5 M12 M107 M71 N2243 Be29 N2158 M35 N2420 N188 M67 "
        "N7789 Pleiades N6819 ComaBer N6791 N5053 M68 N6397 M55 N5634 M22 M79 N3201 M10 N6752 "
        "Omegacen M54 N6229 Pal5 N6544 N6522 N288 N362 N1851 M4 N2808 Pal6 47TUC Pal1 N6539 "
        "N6388 N6441 N6316 N6760 N6553 N6528 DRACO URMINOR BOOTES1 SEXTANS FORNAX SCULPTOR CARINA"
    ).split(),
}

# The bits that the published tutorial cuts, in its order.
TUTORIAL: Mapping[str, tuple[str, ...] | str] = MappingProxyType(
    {
        "ASPCAPFLAG": ("STAR_WARN", "STAR_BAD"),
        "STARFLAG": (
            "PERSIST_HIGH",
            "BAD_RV_COMBINATION",
            "SUSPECT_RV_COMBINATION",
            "SUSPECT_BROAD_LINES",
            "SUSPECT_ROTATION",
        ),
        "APOGEE_TARGET1": (
            "APOGEE_SCI_CLUSTER",
            "APOGEE_M31_CLUSTER",
            "APOGEE_GC_PAL1",
            "APOGEE_SGR_DSPH",
        ),
        "APOGEE_TARGET2": ("APOGEE_CALIB_CLUSTER", "APOGEE_RV_MONITOR_IC348"),
        "APOGEE2_TARGET1": (
            "APOGEE2_SCI_CLUSTER",
            "APOGEE2_STREAM_MEMBER",
            "APOGEE2_DSPH_MEMBER",
            "APOGEE2_DSPH_CANDIDATE",
            "APOGEE2_MAGCLOUD_MEMBER",
            "APOGEE2_MAGCLOUD_CANDIDATE",
            "APOGEE2_RRLYR",
            "APOGEE2_SGR_DSPH",
        ),
        "APOGEE2_TARGET2": ("APOGEE2_CALIB_CLUSTER",),
        "APOGEE2_TARGET3": (
            "APOGEE2_YOUNG_CLUSTER",
            "APOGEE2_YOUNG_MOVING_GROUP",
            "APOGEE2_NGC6791",
        ),
        "MEMBERFLAG": ANY,
    }
)
# Horta et al. 2024, from the authors' notebook; it removes members of globular clusters by two
# lists that are no part of these files, for which MEMBERFLAG stands here: that choice is ours.
HORTA24: Mapping[str, tuple[str, ...] | str] = MappingProxyType(
    {
        "ASPCAPFLAG": ("STAR_BAD",),
        "STARFLAG": (
            "BAD_PIXELS",
            "COMMISSIONING",
            "VERY_BRIGHT_NEIGHBOR",
            "SUSPECT_RV_COMBINATION",
            "SUSPECT_BROAD_LINES",
            "RV_REJECT",
            "MULTIPLE_SUSPECT",
            "RV_FAIL",
        ),
        "MEMBERFLAG": ANY,
    }
)

# The published tutorial: R within 1 kpc of R0 = 8.3 kpc.
_TUTORIAL = Selection(
    R=(7.3 * u.kpc, 9.3 * u.kpc),
    y_max=1 * u.kpc,
    dR_max=1.5 * u.kpc,
    vR_max=25 * KMS,
)
# The low-alpha region of the authors' notebook of Horta et al. 2024: [Mg/Fe] below 0.185 for
# -0.8 < [Fe/H] < -0.4, below 0.12 - 0.167 [Fe/H] up to -0.05, below 0.12 up to 0.6.  It has no
# lower edge; here that is -1, below all stars.
LOW_ALPHA_HORTA24 = (
    (-0.8, -1.0),
    (-0.8, 0.185),
    (-0.4, 0.185),
    (-0.4, 0.12 + 0.167 * 0.4),
    (-0.05, 0.12 + 0.167 * 0.05),
    (-0.05, 0.12),
    (0.6, 0.12),
    (0.6, -1.0),
)
_HORTA24 = Selection(
    z_max=2 * u.kpc,
    vz_max=(80 * u.kpc / u.Gyr).to(KMS),
    rotation=RotationCurve(229 * KMS, -1.7 * SLOPE, 8.275 * u.kpc, "star"),
    dR_max=1 * u.kpc,
    # The notebook's R_g has the sign of the rotation, so that |R - R_g| leaves out the others.
    prograde=True,
    vR_max=50 * KMS,
    ranges=MappingProxyType({"SNR": (50.0, np.inf), "LOGG": (1.5, 3.5), "TEFF": (3500.0, 5500.0)}),
    polygon=LOW_ALPHA_HORTA24,
)
# The authors' notebook of the vertical gradient of Price-Whelan et al. 2025; the flags, which it
# leaves out, are cut as in the tutorial by default.
_PRICE_WHELAN25 = Selection(
    ranges=MappingProxyType(
        {
            "LOGG": (1.5, 3.0),
            "TEFF": (3000.0, 5500.0),
            "FE_H": (-0.8, 0.5),
            "MG_FE": (-0.2, 0.22),
        }
    ),
    Lz_spread=0.15,
    Lz_radius=8.275 * u.kpc,
)

ALL_STAR = Download(
    APOGEE_DR17.files[0],
    f"{SDSS}/dr17/apogee/spectro/aspcap/dr17/synspec_rev1/{APOGEE_DR17.files[0]}",
    "the SDSS archive",
)
GAIA = Download(
    APOGEE_DR17.files[1],
    None,
    "the page of the published tutorial 'Model a vertical abundance gradient'",
)
APOGEE = Survey(
    presets=(APOGEE_DR17, APOGEE_DR17_ALONE),
    bits=MappingProxyType(
        {
            flag: MappingProxyType({name: bit for bit, name in enumerate(names) if name})
            for flag, names in NAMES.items()
        }
    ),
    flags=MappingProxyType({"tutorial": TUTORIAL, "horta24": HORTA24}),
    downloads=MappingProxyType(
        {APOGEE_DR17.name: (ALL_STAR, GAIA), APOGEE_DR17_ALONE.name: (ALL_STAR,)}
    ),
    selections=MappingProxyType(
        {"tutorial": _TUTORIAL, "horta24": _HORTA24, "price-whelan25": _PRICE_WHELAN25}
    ),
)
