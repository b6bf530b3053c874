"""Where surveys keep what a map needs: files, columns, units and keys.

Sources of the names: APOGEE DR17 and its Gaia match, the published tutorial; GALAH DR4, the
survey's page "Table Schema"; SDSS-V, the source of the pipeline `astra` and code that reads its
summary files.  None was checked against a file of the survey: none was at hand.  A name that
differs in a file is reported with the nearest one that the file has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from types import MappingProxyType

from ..files.missing import MISSING
from .errors import OBSERVABLES, correlation_names

# What a star needs; the errors and correlations below are used where the files have them.
NEEDED = ("ra", "dec", "parallax", "pmra", "pmdec", "radial_velocity")
ERRORS = ("parallax_error", "pmra_error", "pmdec_error", "radial_velocity_error")
OPTIONAL = ("ra_error", "dec_error", *correlation_names())
CORRELATIONS = dict(zip(correlation_names(), combinations(OBSERVABLES[:5], 2), strict=True))
UNITS: Mapping[str, str] = MappingProxyType(
    {
        "ra": "deg",
        "dec": "deg",
        "parallax": "mas",
        "distance": "kpc",
        "pmra": "mas / yr",
        "pmdec": "mas / yr",
        "radial_velocity": "km / s",
        "ra_error": "mas",
        "dec_error": "mas",
        "parallax_error": "mas",
        "distance_error": "kpc",
        "pmra_error": "mas / yr",
        "pmdec_error": "mas / yr",
        "radial_velocity_error": "km / s",
    }
)


def observables_of(role: str) -> tuple[str, ...]:
    """The observables that an error or a correlation is of; none for other roles."""
    if role.endswith("_error"):
        return (role.removesuffix("_error"),)
    return CORRELATIONS.get(role, ())


@dataclass(frozen=True)
class Preset:
    """A survey's files and columns.

    Attributes
    ----------
    name, title : its name here and in words
    files : the names of its files, in the order in which they are given
    hdus : the HDU of the table in each, a number or a name, None for the first table
    keys : the column of each file by which they are joined; empty for one file
    unique : the column that names a star once in the sample
    best : of a star's rows that with the highest value here is kept
    columns : column by role, where it is not the role's name; "" where there is none
    label : the default label and its error, columns
    missing : values that stand for a missing one
    flags : the flags cut by default, as in `torusimaging.catalog.flags`
    frame, selection : names of the defaults
    extra : further columns kept where the files have them
    source : where the names come from
    units : whether columns without a unit in the file have the documented one, `UNITS`
    where : where its files are, in words
    """

    name: str
    title: str
    files: tuple[str, ...] = ()
    hdus: tuple[int | str | None, ...] = ()
    keys: tuple[str, ...] = ()
    unique: str | None = None
    best: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    label: tuple[str, str] | None = None
    missing: tuple[float, ...] = ()
    flags: Mapping[str, object] = field(default_factory=dict)
    flag_preset: str | None = None
    frame: str = "tutorial"
    selection: str = "none"
    extra: tuple[str, ...] = ()
    source: str = ""
    units: bool = True
    where: str = ""

    def column(self, role: str) -> str:
        """The column of a role, "" for none.

        An error or a correlation is that of the columns called as their roles are: where the
        observable is another column, it has an error only where `columns` names one.
        """
        moved = any(self.columns.get(name, name) != name for name in observables_of(role))
        return self.columns.get(role, "" if moved else role)

    @property
    def roles(self) -> dict[str, str]:
        """The columns of all roles that are not called as their roles are, "" for none."""
        none = {role: "" for role in (*UNITS, *OPTIONAL) if not self.column(role)}
        return dict(self.columns) | none


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
_ASTRA = MappingProxyType(
    {
        "parallax": "plx",
        "parallax_error": "e_plx",
        "pmra_error": "e_pmra",
        "pmdec": "pmde",
        "pmdec_error": "e_pmde",
        "radial_velocity": "v_rad",
        "radial_velocity_error": "e_v_rad",
    }
)


def _astra(release: str, version: str) -> Preset:
    return Preset(
        name=f"sdss-v-{release}",
        title=f"SDSS-V {release.upper()}, Milky Way Mapper, astra {version}",
        files=(f"astraAllStarASPCAP-{version}.fits.gz",),
        # The first table holds the optical spectra, the second the infrared ones.
        hdus=(2,),
        unique="gaia_dr3_source_id",
        best="snr",
        columns=_ASTRA,
        label=("mg_fe", "e_mg_fe"),
        missing=MISSING,
        # Those of an abundance stand apart from the spectrum's.
        flags=MappingProxyType({"flag_bad": "any", "mg_h_flags": "any", "fe_h_flags": "any"}),
        extra=("teff", "logg", "fe_h", "snr"),
        source="the source of astra (models of sources and of ASPCAP) and code that reads the file",
        where=f"`oti fetch sdss-v-{release}` downloads it",
    )


GENERIC = Preset(
    name="generic",
    title="a table with columns named in the configuration",
    missing=MISSING,
    units=False,
)
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        p.name: p
        for p in (
            APOGEE_DR17,
            APOGEE_DR17_ALONE,
            GALAH_DR4,
            _astra("dr19", "0.6.0"),
            _astra("dr20", "0.8.1"),
            GENERIC,
        )
    }
)
