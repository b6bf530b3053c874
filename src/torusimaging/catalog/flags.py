"""Names of the bits in APOGEE's quality, targeting and membership flags (SDSS DR17).

Names and numbers are those of the DR17 page "APOGEE Bitmasks" and of the survey's own bitmask
module.  An empty name is a bit without a meaning.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np

from ..arguments import nearest, shown
from ..files.formats import filled

_WARN = "TEFF LOGG VMICRO M_H ALPHA_M C_M N_M STAR CHI2 COLORTE ROTATION SN SPEC_HOLE ATMOS_HOLE"
_ELEMENTS = [*_WARN.split(), "VSINI"]

_NAMES = {
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
BITS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        flag: MappingProxyType({name: bit for bit, name in enumerate(names) if name})
        for flag, names in _NAMES.items()
    }
)
ANY = "any"

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


def bit(flag: str, name: str | int) -> int:
    """The number of a bit, by its name or as it is.

    Parameters
    ----------
    flag : the flag's column, such as "STARFLAG"; columns that are not APOGEE's have numbers only
    name : the bit's name, such as "PERSIST_HIGH", in any case, or its number, 0 to 63

    Raises ``ValueError`` for an unknown name (with the nearest) or a number out of range.
    """
    if isinstance(name, str):
        return _number(flag, name)
    if not isinstance(name, int | np.integer) or isinstance(name, bool) or not 0 <= name <= 63:
        raise ValueError(f"a bit of {flag} must be a name or a number 0 to 63, not {name!r}.")
    return int(name)


def _number(flag: str, name: str) -> int:
    if not isinstance(flag, str):
        raise ValueError(f"flag must be the name of a column, but {shown(flag)} was given.")
    if flag not in BITS:
        raise ValueError(
            f"the bits of {flag} have no names here, so {name!r} must be a number (flags with "
            f"names: {', '.join(BITS)})."
        )
    names = {known.upper(): number for known, number in BITS[flag].items()}
    if name.upper() in names:
        return names[name.upper()]
    raise ValueError(f"{flag} has no bit {name!r}{nearest(name, BITS[flag], 0.4)}")


def is_set(flag: str, values: np.ndarray, bits: str | Iterable[str | int]) -> np.ndarray:
    """Whether any of `bits` is set in the values of a flag.

    Parameters
    ----------
    flag : the flag's column
    values : whole numbers, shape (n_stars,)
    bits : names or numbers of bits, or "any" for every bit there is

    Returns a boolean array, shape (n_stars,).  Raises ``ValueError`` for unknown bits and for
    values that are no whole numbers: a missing flag is no clean star.
    """
    if np.ma.getmaskarray(values).any():
        values = filled(values, flag)
    if unit := str(getattr(values, "unit", None) or ""):
        raise ValueError(f"{flag} must hold whole numbers, but has the unit {unit}.")
    values = np.atleast_1d(np.asarray(values))
    if values.dtype.kind == "f":
        bad = ~((np.abs(values) < 2.0**63) & (values == np.trunc(values)))
        if bad.any():
            raise ValueError(
                f"{flag} must hold whole numbers, but is missing or broken for {bad.sum()} of "
                f"{bad.size} stars (the first: {values[bad][0]:g}): leave those stars out."
            )
        values = values.astype(np.int64)
    if values.dtype.kind not in "iub":
        raise ValueError(f"{flag} must hold whole numbers, but holds text, such as {values[:1]}.")
    if isinstance(bits, str) and bits == ANY:
        return values != 0
    if isinstance(bits, str) or np.ndim(bits) != 1 or not isinstance(bits, Iterable):
        raise ValueError(f"the bits of {flag} must be a list or 'any', not {bits!r}.")
    mask = 0
    for name in bits:
        mask |= 1 << bit(flag, name)
    # As unsigned numbers of their own width, the highest bit is a bit like any other.
    unsigned = values.astype(values.dtype.newbyteorder("=")).view(f"u{values.dtype.itemsize}")
    return (unsigned.astype(np.uint64) & np.uint64(mask)) != 0
