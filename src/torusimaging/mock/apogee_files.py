"""FITS files with the column names and types of APOGEE DR17's allStarLite and its Gaia match.

Names and types follow the survey's data model as public code reads it; the lengths of vectors and
texts are ours.  Rows are written a block at a time, so that memory stays small for any number.
"""

from collections.abc import Callable
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io import fits

from ..files.writing import write_complete

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
# Middles and spreads of columns that no cut needs, and sizes of those that are positive.
_USUAL = dict.fromkeys("H K IRAC_3_6 IRAC_4_5 WISE_4_5 TARG_4_5".split(), (10.8, 0.8))
_USUAL |= dict.fromkeys("J WASH_M WASH_T2 DDO51 GAIAEDR3_PHOT_G_MEAN_MAG".split(), (12.0, 0.8))
_USUAL |= {"MIN_H": (7.0, 0.0), "MAX_H": (13.8, 0.0), "MIN_JK": (0.5, 0.0), "MAX_JK": (1.3, 0.0)}
_USUAL |= {"RV_TEFF": (4500.0, 300.0), "RV_LOGG": (2.2, 0.5), "MEANFIB": (150.0, 30.0)}
_POSITIVE = {"GAIAEDR3_R_MED_GEO": 1500.0, "ASPCAP_CHI2": 5.0, "RV_CHI2": 1.5, "VSCATTER": 0.1}
_POSITIVE |= {"RV_CCFWHM": 100.0, "RV_AUTOFWHM": 70.0, "SIGFIB": 5.0, "FRAC_BADPIX": 0.02}
_POSITIVE |= {"VMICRO": 1.4, "VMACRO": 4.0, "VSINI": 3.0, "AK_TARG": 0.1, "AK_WISE": 0.1}
_POSITIVE |= {"FRAC_LOWSNR": 0.02, "FRAC_SIGSKY": 0.05, "SFD_EBV": 0.2}
_POSITIVE |= {"ELEM_CHI2": 2.0, "ELEMFRAC": 0.5}
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


def split_rows(
    rng: np.random.Generator, columns: dict, again: Callable[[np.ndarray, float], dict]
) -> tuple[dict, dict, dict[str, int]]:
    """The rows of the two files, in random order, and their numbers.

    `again` makes the second observation of stars with a multiple of the first one's errors.
    """
    n = columns["source_id"].size
    one, two = np.arange(n), rng.permutation(n)
    twice, renamed, tied = (two[k : k + m] for k, m in zip(*_shares(n), strict=True))
    only = rng.integers(0, n, max(1, n // 30))
    # Rows of allStar: the star, and the number in its name; a renamed star has two names.
    star = np.concatenate([one, twice, renamed, tied, only])
    name = np.concatenate([one, twice, n + renamed, tied, 2 * n + np.arange(only.size)])
    rows = {k: v[star] for k, v in columns.items()}
    start = n
    for stars, factor in ((twice, 2.0), (renamed, 2.0), (tied, 1.0), (only, 1.0)):
        for k, values in (again(stars, factor) if stars.size else {}).items():
            rows[k][start : start + stars.size] = values
        start += stars.size
    order = rng.permutation(star.size)
    # Of two rows with equal SNR the first is kept, so the star's own goes there.
    place = np.argsort(order)
    for k, first in zip(range(star.size - only.size - tied.size, star.size), tied, strict=False):
        if place[k] < place[first]:
            order[place[k]], order[place[first]] = first, k
            place[[k, first]] = place[[first, k]]
    allstar = {k: v[order] for k, v in rows.items()}
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
    sizes = {"allstar": star.size, "gaia": star2.size, "joined": joined, "unique": n}
    return allstar, gaia, sizes


def _shares(n: int) -> tuple[list[int], list[int]]:
    sizes = [n // 40, n // 200, n // 500]
    return [0, sizes[0], sum(sizes[:2])], sizes


def _names(numbers: np.ndarray) -> np.ndarray:
    """Names in the survey's style, 2M and sixteen figures, different for different numbers."""
    text = np.char.zfill(numbers.astype("S15"), 15)
    return np.char.add(np.char.add(b"2M", text), b"+").astype("S18")


def write_allstar(path: Path, columns: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    """Write the spectroscopic file; columns that are not given are made up as `_likely` says."""
    n = columns["APOGEE_ID"].size
    known = dict(columns)
    known |= {"VHELIO_AVG": columns["radial_velocity"], "VERR": columns["radial_velocity_error"]}
    known |= {"GAIAEDR3_SOURCE_ID": columns["source_id"], "RA": columns["ra"]}
    known |= {"DEC": columns["dec"], "SNREV": columns["SNR"], "TEFF_SPEC": columns["TEFF"]}
    known |= {"LOGG_SPEC": columns["LOGG"], "FE_H_SPEC": columns["FE_H"], "M_H": columns["FE_H"]}
    known |= {"M_H_ERR": columns["FE_H_ERR"], "MG_FE_SPEC": columns["MG_FE"]}
    known |= {f"GAIAEDR3_{k.upper()}": columns[k] for k in ("parallax", "pmra", "pmdec")}
    known |= {"GAIAEDR3_PARALLAX_ERROR": columns["parallax_error"]}
    known |= dict(zip(("GLON", "GLAT"), _galactic(columns), strict=True))
    dtype = allstar_dtype()

    def block(start: int, stop: int) -> np.ndarray:
        rows = np.zeros(stop - start, dtype)
        for name in dtype.names or ():
            field = rows.dtype[name]
            if name in known:
                rows[name] = known[name][start:stop]
            elif field.base.kind == "f":
                rows[name] = _likely(rng, name, (stop - start, *field.shape))
            elif field.kind == "S":
                rows[name] = f"{name.lower()}"[: field.itemsize].encode()
        rows["NVISITS"] = rng.integers(1, 6, stop - start)
        for name in (*(f"{element}_FE" for element in ELEMENTS if element != "MG"), "ALPHA_M"):
            # A true value of its own for each star, with noise of the stated error.
            true = rng.normal(0.02, 0.08, stop - start)
            rows[name] = true + rows[f"{name}_ERR"] * rng.standard_normal(stop - start)
            if f"{name}_SPEC" in (dtype.names or ()):
                rows[f"{name}_SPEC"] = rows[name]
        return rows

    _write(path, dtype, n, block, _UNITS)


def _likely(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Made-up values: positive where they are errors or sizes, else around a usual value."""
    if name in _USUAL:
        middle, spread = _USUAL[name]
        return middle + spread * rng.standard_normal(shape, dtype="f4")
    if name.endswith(("_ERR", "_ERROR")) or name in _POSITIVE:
        return np.float32(_POSITIVE.get(name, 0.03)) * np.exp(
            np.float32(0.3) * rng.standard_normal(shape, dtype="f4")
        )
    return np.float32(0.1) * rng.standard_normal(shape, dtype="f4")


def _galactic(columns: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Galactic longitudes and latitudes in degrees."""
    import astropy.coordinates as coord

    sky = coord.ICRS(columns["ra"] * u.deg, columns["dec"] * u.deg).transform_to(coord.Galactic())
    return sky.l.to_value(u.deg), sky.b.to_value(u.deg)


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


def write_gaia(path: Path, columns: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    """Write the file of Gaia's measurements, by the survey's name of the star."""
    longitude, latitude = _galactic(columns)
    # Fainter stars have larger errors, as `parallax_error` has them.
    magnitude = 11 + 5 * np.log10(columns["parallax_error"] / 0.015)
    fields = [("apogee_id", "S18"), ("source_id", ">i8")]
    fields += [(name, f">{kind}") for name, (kind, _) in _GAIA.items()]
    fields += [(name, ">f4") for name in _GAIA_REST]
    dtype = np.dtype(fields)
    known = {k: v for k, v in columns.items() if k in dtype.names and k not in _GAIA_REST}

    def block(start: int, stop: int) -> np.ndarray:
        rows = np.zeros(stop - start, dtype)
        for name, values in known.items():
            rows[name] = values[start:stop]
        part = slice(start, stop)
        rows["ref_epoch"] = 2016.0
        rows["ruwe"] = rng.normal(1.0, 0.03, stop - start)
        rows["l"], rows["b"] = longitude[part], latitude[part]
        rows["phot_g_mean_mag"] = magnitude[part]
        rows["bp_rp"] = rng.normal(1.5, 0.2, stop - start)
        rows["phot_bp_mean_mag"] = rows["phot_g_mean_mag"] + 0.5 * rows["bp_rp"]
        rows["phot_rp_mean_mag"] = rows["phot_bp_mean_mag"] - rows["bp_rp"]
        rows["ag_gspphot"] = np.exp(rng.normal(-1.5, 0.5, stop - start))
        for name, own, error in (("teff", "TEFF", 90), ("logg", "LOGG", 0.2), ("mh", "FE_H", 0.2)):
            rows[f"{name}_gspphot"] = columns[own][part] + rng.normal(0, error, stop - start)
        # Gaia's own spectrograph has not measured these stars.
        rows["radial_velocity"] = rows["radial_velocity_error"] = np.nan
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
