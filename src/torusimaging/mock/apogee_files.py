"""FITS files with the column names and types of APOGEE DR17's allStarLite and its Gaia match.

Names and types follow the survey's data model as public code reads it; the lengths of vectors and
texts are ours.  Rows are written a block at a time, so that memory stays small for any number.
"""

from pathlib import Path

import numpy as np
from astropy.io import fits

from ..writing import write_complete

ALLSTAR_FILE = "allStarLite-dr17-synspec_rev1.fits"
GAIA_FILE = "allStar-dr17-synspec-gaiadr3-gaiasourcelite.fits"
BLOCK = 20_000  # rows written at a time
N_ELEMENTS = 26
ELEMENTS = "C CI N O NA MG AL SI S K CA TI TIII V CR MN CO NI CU CE".split()

_TEXTS = {
    "APSTAR_ID": 57,
    "TARGET_ID": 46,
    "ASPCAP_ID": 54,
    "FILE": 44,
    "TELESCOPE": 8,
    "FIELD": 19,
    "ALT_ID": 28,
    "SRC_H": 16,
    "AK_TARG_METHOD": 17,
    "TARGFLAGS": 132,
    "SURVEY": 35,
    "PROGRAMNAME": 18,
    "STARFLAGS": 129,
    "ANDFLAGS": 129,
    "ASPCAP_GRID": 16,
    "ASPCAPFLAGS": 114,
}
_DOUBLES = "RA DEC GLON GLAT".split()
_FLOATS = (
    "J J_ERR H H_ERR K K_ERR WASH_M WASH_M_ERR WASH_T2 WASH_T2_ERR DDO51 DDO51_ERR IRAC_3_6 "
    "IRAC_3_6_ERR IRAC_4_5 IRAC_4_5_ERR WISE_4_5 WISE_4_5_ERR TARG_4_5 AK_TARG AK_WISE SFD_EBV "
    "SNR SNREV VHELIO_AVG VSCATTER VERR RV_TEFF RV_LOGG RV_FEH RV_ALPHA RV_CARB RV_CHI2 "
    "RV_CCFWHM RV_AUTOFWHM MEANFIB SIGFIB MIN_H MAX_H MIN_JK MAX_JK GAIAEDR3_PARALLAX "
    "GAIAEDR3_PARALLAX_ERROR GAIAEDR3_PMRA GAIAEDR3_PMDEC GAIAEDR3_PHOT_G_MEAN_MAG "
    "GAIAEDR3_R_MED_GEO ASPCAP_CHI2 FRAC_BADPIX FRAC_LOWSNR FRAC_SIGSKY TEFF TEFF_ERR LOGG "
    "LOGG_ERR VMICRO VMACRO VSINI M_H M_H_ERR ALPHA_M ALPHA_M_ERR TEFF_SPEC LOGG_SPEC FE_H "
    "FE_H_SPEC FE_H_ERR"
).split()
_LONGS = "ASPCAPFLAG STARFLAG ANDFLAG MEMBERFLAG GAIAEDR3_SOURCE_ID".split()
_INTEGERS = (
    "LOCATION_ID NVISITS RV_FLAG N_COMPONENTS EXTRATARG FE_H_FLAG APOGEE_TARGET1 APOGEE_TARGET2 "
    "APOGEE2_TARGET1 APOGEE2_TARGET2 APOGEE2_TARGET3 APOGEE2_TARGET4"
).split()
_VECTORS = "X_H X_H_ERR X_M X_M_ERR X_H_SPEC X_M_SPEC ELEM_CHI2 ELEMFRAC".split()
_UNITS = {
    "RA": "deg",
    "DEC": "deg",
    "VHELIO_AVG": "km/s",
    "VERR": "km/s",
    "TEFF": "K",
    "LOGG": "log(cm.s**-2)",
    "MG_FE": "dex",
    "MG_FE_ERR": "dex",
}
_GAIA = {
    "ra": ("f8", "deg"),
    "dec": ("f8", "deg"),
    "ra_error": ("f4", "mas"),
    "dec_error": ("f4", "mas"),
    "parallax": ("f8", "mas"),
    "parallax_error": ("f4", "mas"),
    "pmra": ("f8", "mas.yr**-1"),
    "pmra_error": ("f4", "mas.yr**-1"),
    "pmdec": ("f8", "mas.yr**-1"),
    "pmdec_error": ("f4", "mas.yr**-1"),
    "parallax_pmra_corr": ("f4", None),
}
_GAIA_REST = (
    "ref_epoch ruwe phot_g_mean_mag phot_bp_mean_mag phot_rp_mean_mag bp_rp l b "
    "radial_velocity radial_velocity_error teff_gspphot logg_gspphot mh_gspphot ag_gspphot"
).split()


def split_rows(rng: np.random.Generator, columns: dict) -> tuple[dict, dict, dict[str, int]]:
    """The rows of the two files, in random order, and their numbers."""
    n = columns["source_id"].size
    one, two = np.arange(n), rng.permutation(n)
    twice, renamed, tied = (two[k : k + m] for k, m in zip(*_shares(n), strict=True))
    only = rng.integers(0, n, max(1, n // 30))
    # Rows of allStar: the star, and the number in its name; a renamed star has two names.
    star = np.concatenate([one, twice, renamed, tied, only])
    name = np.concatenate([one, twice, n + renamed, tied, 2 * n + np.arange(only.size)])
    worse = np.repeat(
        [False, True, True, False, False], [n, *map(len, (twice, renamed, tied, only))]
    )
    second = np.arange(star.size) >= n
    order = rng.permutation(star.size)
    # Of two rows with equal SNR the first is kept, so the true one goes there.
    place = np.argsort(order)
    for k, first in zip(range(star.size - only.size - tied.size, star.size), tied, strict=False):
        if place[k] < place[first]:
            order[place[k]], order[place[first]] = first, k
            place[[k, first]] = place[[first, k]]
    allstar = {k: v[star][order] for k, v in columns.items()}
    allstar["MG_FE"] = np.where(second[order], 9.0, allstar["MG_FE"])
    allstar["SNR"] = np.where(worse[order], 0.5 * allstar["SNR"], allstar["SNR"])
    allstar["APOGEE_ID"] = _names(name[order])
    # Rows of the cross-match: every name once, some twice, and some that allStar lacks.
    extra = rng.integers(0, n, max(1, n // 50))
    half = twice[: twice.size // 2]
    star2 = np.concatenate([one, renamed, half, extra])
    name2 = np.concatenate([one, n + renamed, half, 5 * n + np.arange(extra.size)])
    order2 = rng.permutation(star2.size)
    gaia = {k: v[star2][order2] for k, v in columns.items()}
    gaia["apogee_id"] = _names(name2[order2])
    joined = n + twice.size + renamed.size + tied.size + 2 * half.size
    rows = {"allstar": star.size, "gaia": star2.size, "joined": joined, "unique": n}
    return allstar, gaia, rows


def _shares(n: int) -> tuple[list[int], list[int]]:
    sizes = [n // 40, n // 200, n // 500]
    return [0, sizes[0], sum(sizes[:2])], sizes


def _names(numbers: np.ndarray) -> np.ndarray:
    """Names in the survey's style, 2M and sixteen figures, different for different numbers."""
    text = np.char.zfill(numbers.astype("S15"), 15)
    return np.char.add(np.char.add(b"2M", text), b"+").astype("S18")


def write_allstar(path: Path, columns: dict[str, np.ndarray], seed: int) -> None:
    """Write the spectroscopic file; columns that are not given hold noise."""
    n = columns["APOGEE_ID"].size
    known = dict(columns)
    known |= {"VHELIO_AVG": columns["radial_velocity"], "VERR": columns["radial_velocity_error"]}
    known |= {"GAIAEDR3_SOURCE_ID": columns["source_id"], "RA": columns["ra"]}
    known |= {"DEC": columns["dec"]}
    dtype = allstar_dtype()

    def block(start: int, stop: int) -> np.ndarray:
        rng = np.random.default_rng([seed, start])
        rows = np.zeros(stop - start, dtype)
        for name in dtype.names or ():
            field = rows.dtype[name]
            if name in known:
                rows[name] = known[name][start:stop]
            elif field.base.kind == "f":
                rows[name] = rng.standard_normal((stop - start, *field.shape), dtype="f4")
            elif field.kind == "S":
                rows[name] = f"{name.lower()}"[: field.itemsize].encode()
        return rows

    _write(path, dtype, n, block, _UNITS)


def allstar_dtype() -> np.dtype:
    """The row of the spectroscopic file."""
    fields: list[tuple] = [("APOGEE_ID", "S18")]
    fields += [(name, f"S{size}") for name, size in _TEXTS.items()]
    fields += [(name, ">f8") for name in _DOUBLES]
    fields += [(name, ">f4") for name in _FLOATS]
    fields += [(name, ">i8") for name in _LONGS]
    fields += [(name, ">i4") for name in _INTEGERS]
    for element in ELEMENTS:
        fields += [(f"{element}_FE{end}", ">f4") for end in ("", "_SPEC", "_ERR")]
        fields += [(f"{element}_FE_FLAG", ">i4")]
    fields += [("PARAMFLAG", ">i8", (9,))]
    fields += [(name, ">f4", (N_ELEMENTS,)) for name in _VECTORS]
    return np.dtype(fields)


def write_gaia(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Write the file of Gaia's measurements, by the survey's name of the star."""
    fields = [("apogee_id", "S18"), ("source_id", ">i8")]
    fields += [(name, f">{kind}") for name, (kind, _) in _GAIA.items()]
    fields += [(name, ">f4") for name in _GAIA_REST]
    dtype = np.dtype(fields)
    known = {k: v for k, v in columns.items() if k in dtype.names and k not in _GAIA_REST}

    def block(start: int, stop: int) -> np.ndarray:
        rows = np.zeros(stop - start, dtype)
        for name, values in known.items():
            rows[name] = values[start:stop]
        rows["ref_epoch"], rows["ruwe"] = 2016.0, 1.0
        rows["radial_velocity"] = np.nan
        return rows

    units = {name: unit for name, (_, unit) in _GAIA.items() if unit}
    _write(path, dtype, columns["apogee_id"].size, block, units)


def _write(path: Path, dtype: np.dtype, n: int, block, units: dict[str, str]) -> None:
    header = fits.BinTableHDU(np.zeros(1, dtype)).header
    header["NAXIS2"] = n
    for k, name in enumerate(dtype.names or (), start=1):
        if name in units:
            header.set(f"TUNIT{k}", units[name], after=f"TFORM{k}")
    # As in the survey's file a second, small table follows.
    second = fits.BinTableHDU(np.array([(b"TEFF",)], [("PARAM_SYMBOL", "S16")]))

    def write(name: str) -> None:
        with open(name, "wb") as file:
            file.write(fits.PrimaryHDU().header.tostring().encode())
            file.write(header.tostring().encode())
            for start in range(0, n, BLOCK):
                file.write(block(start, min(start + BLOCK, n)).tobytes())
            file.write(bytes(-n * dtype.itemsize % 2880))
            file.write(second.header.tostring().encode())
            data = second.data.tobytes()
            file.write(data + bytes(-len(data) % 2880))

    write_complete(path, write)
