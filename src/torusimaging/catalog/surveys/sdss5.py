"""SDSS-V's Milky Way Mapper, by the source of its pipeline `astra` and code that reads its summary
files; not checked against a file, of which none was at hand.
"""

from types import MappingProxyType

from ...files.missing import MISSING
from .base import SDSS, Download, Preset, Survey

RELEASES = {"dr19": "0.6.0", "dr20": "0.8.1"}
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


def _download(release: str, version: str) -> Download:
    name = f"astraAllStarASPCAP-{version}.fits.gz"
    address = f"{SDSS}/{release}/spectro/astra/{version}/summary/{name}"
    return Download(name, address, "the SDSS archive")


SDSS_V = Survey(
    presets=tuple(_astra(*release) for release in RELEASES.items()),
    downloads=MappingProxyType(
        {f"sdss-v-{release[0]}": (_download(*release),) for release in RELEASES.items()}
    ),
)
