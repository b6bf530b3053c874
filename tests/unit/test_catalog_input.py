"""Catalogues that once gave wrong numbers in silence, or were refused without a way out."""

import dataclasses
import os

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from torusimaging import catalog
from torusimaging.catalog.join import as_ids
from torusimaging.files.missing import MISSING
from torusimaging.plot import plot_places

UNITS = {"ra": "deg", "dec": "deg", "parallax": "mas", "pmra": "mas / yr", "pmdec": "mas / yr"}
UNITS |= {"radial_velocity": "km / s"}
ERRORS = {"parallax_error": 0.01, "pmra_error": 0.01, "pmdec_error": 0.01}
N = 200


def stars() -> dict[str, np.ndarray]:
    """Columns of made-up stars around the Sun, without errors of their observables."""
    rng = np.random.default_rng(0)
    return {
        "source_id": np.arange(1, N + 1) * 10**15 + 7,
        "ra": rng.uniform(0, 360, N),
        "dec": rng.uniform(-80, 80, N),
        "parallax": rng.uniform(1, 4, N),
        "pmra": rng.normal(0, 5, N),
        "pmdec": rng.normal(0, 5, N),
        "radial_velocity": rng.normal(0, 25, N),
        "fe_h": rng.normal(0, 0.2, N),
        "snr": rng.uniform(20, 200, N),
    }


def load(files, **sections) -> catalog.Sample:
    """Load FITS tables with units; `sections` as in a configuration."""
    files = [str(path) for path in (files if isinstance(files, list) else [files])]
    default = {"files": files, "label": {"name": "fe_h"}, "bins": {"n_z": 4, "n_vz": 4}}
    return catalog.load(default | sections)


def write(path, columns: dict) -> str:
    units = {k: u.Unit(v) for k, v in UNITS.items() if k in columns}
    units |= {k: units_of_error(k) for k in columns if k.endswith("_error")}
    Table(columns, units=units).write(path, overwrite=True)
    return str(path)


def units_of_error(name: str) -> u.UnitBase:
    return u.Unit(UNITS.get(name.removesuffix("_error"), "km / s"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "stars.fits"


# -- marks of missing values -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_surveys_marks_are_missing_in_single_and_double_precision(path, kind):
    table = stars()
    marks = np.array(MISSING)
    table["fe_h"][: marks.size] = marks
    table["pmra"][20:23], table["radial_velocity"][30:32] = -9999.99, 999999
    table["dec"][40] = -999.99
    table["fe_h"] = table["fe_h"].astype(kind)
    table["pmra"] = table["pmra"].astype(kind)
    sample = load(write(path, table))
    removed = {s.name: s.removed for s in sample.flow if s.removed}
    assert removed == {
        "ra and dec measured": 1,
        "pmra measured": 3,
        "radial velocity measured": 2,
        "fe_h measured": marks.size,
    }
    assert np.abs(sample.label).max() < 1 and not sample.flow.remarks


@pytest.mark.parametrize("kind", ["f4", "f8", "i4"])
def test_a_users_own_marks_are_compared_as_the_column_holds_them(path, kind):
    table = stars()
    mark = 77 if kind == "i4" else 77.7
    table["fe_h"] = np.round(10 * table["fe_h"])
    table["fe_h"][:5] = mark
    table["fe_h"] = table["fe_h"].astype(kind)
    assert load(write(path, table), missing=[mark, 0.25]).flow["fe_h measured"].removed == 5


def test_values_that_no_star_has_are_worth_a_word(path):
    """They stay, and the flow, which `oti bin` prints, names column, number and way out."""
    table = stars()
    table["fe_h"][:3], table["radial_velocity"][3:5], table["parallax"][5] = 9999, 88888, 5000
    table["pmra"][6] = 1e6
    sample = load(write(path, table), join={"unique": "source_id"})
    assert len(sample) == N
    words = str(sample.flow)
    assert "'radial_velocity' of 2 of 200 stars is beyond 3,000 km/s, such as 88888" in words
    assert "'fe_h' of 3 of 200 stars is beyond +-99, such as 9999" in words
    assert "1 star is faster than 3,000 km/s by distance and proper motion" in words
    assert "1 star is nearer than 1 pc, such as one with 'parallax' 5000" in words
    assert words.count("missing = [...]") == 4 and "notes below the cuts" in sample.describe()
    assert sample.meta["remarks"] == sample.flow.remarks


def test_rows_given_twice_are_worth_a_word(path):
    table = {name: np.concatenate([column, column[:9]]) for name, column in stars().items()}
    (words,) = load(write(path, table)).flow.remarks
    assert words.startswith("9 stars have exactly the place and motion") and "unique" in words
    both = {"unique": "source_id", "best": "snr"}
    assert not load(write(path, table), join=both).flow.remarks


# -- ids ---------------------------------------------------------------------------------------

NO_NAMES = [
    "None",
    " nan ",
    "N/A",
    "--",
    "-",
    "null",
    "",
    "   ",
    "EMPTY",
    "0",
    "-9999",
    "?",
    "n.a.",
]


def test_placeholders_are_no_ids():
    texts = np.array([*NO_NAMES, "2M1", "HD 0", "12", "Nana"])
    assert as_ids(texts, "it").mask.tolist() == [True] * len(NO_NAMES) + [False] * 4
    assert as_ids(texts.astype("S8"), "it").mask.tolist() == as_ids(texts, "it").mask.tolist()
    objects = np.array([None, "a", "none"], dtype=object)
    assert as_ids(objects, "it").mask.tolist() == [True, False, True]
    numbers = np.array([0, -1, -9999, -999, 999999, 4 * 10**18])
    assert as_ids(numbers, "it").mask.tolist() == [True] * 4 + [False] * 2


@pytest.mark.parametrize("word", ["None", "n/a", "--", "0"])
def test_placeholders_are_neither_stars_nor_keys(tmp_path, word):
    table = stars()
    names = np.array([f"2M{k:05d}" for k in range(N)], dtype="U12")
    names[:40] = word
    one = load(write(tmp_path / "t.fits", table | {"star": names}), join={"unique": "star"})
    assert one.flow["star known"].removed == 40 and len(one) == N - 40
    left = {"star": names, "fe_h": table.pop("fe_h")}
    files = [write(tmp_path / "a.fits", left), write(tmp_path / "b.fits", table | {"name": names})]
    both = load(files, join={"keys": ["star", "name"]})
    assert both.flow["star known"].removed == 40 and not both.flow.remarks
    np.testing.assert_array_equal(both.label, left["fe_h"][40:])


def test_whole_numbers_that_mean_no_match_are_no_keys(tmp_path):
    table = stars()
    ids = table["source_id"].copy()
    ids[:3], ids[3:6], ids[6:9] = 0, -1, -9999
    left = {"id": ids, "fe_h": table.pop("fe_h")}
    files = [write(tmp_path / "a.fits", left), write(tmp_path / "b.fits", table | {"id2": ids})]
    assert len(load(files, join={"keys": ["id", "id2"]})) == N - 9


def test_keys_that_both_files_repeat_are_named_unless_unique_tells_them_apart(tmp_path):
    table = stars()
    key = np.arange(1, N + 1)
    key[1] = key[0]
    left = {"key": key, "fe_h": table["fe_h"], "snr": table["snr"]}
    del table["fe_h"], table["snr"]
    files = [write(tmp_path / "a.fits", left), write(tmp_path / "b.fits", table | {"key2": key})]
    join = {"keys": ["key", "key2"]}
    sample = load(files, join=join)
    assert len(sample) == N + 2
    assert "1 key 'key' occurs more than once in both a.fits and b.fits, such as 1" in str(
        sample.flow
    )
    # Two sources of one key: each has one row, but whose label it is nobody knows.
    sample = load(files, join=join | {"unique": "source_id", "best": "snr"})
    assert len(sample) == N and "each must name one star" in sample.flow.remarks[0]
    table["source_id"][1] = table["source_id"][0]
    write(tmp_path / "b.fits", table | {"key2": key})
    sample = load(files, join=join | {"unique": "source_id", "best": "snr"})
    assert len(sample) == N - 1 and not sample.flow.remarks


def test_whole_numbers_kept_as_fractions_are_ids_where_exact(path):
    table = stars() | {"hip": np.arange(1.0, N + 1)}
    table["hip"][3], table["hip"][4] = np.nan, -9999.99
    sample = load(write(path, table), join={"unique": "hip"})
    assert sample.flow["hip known"].removed == 2
    assert sample.stars.columns["hip"].dtype.kind == "i"
    for kind, value, words in (
        (
            "f8",
            2.0**53,
            "row 8 has 9007199254740992: fractions of its kind hold whole numbers only",
        ),
        ("f4", 2.0**24, "row 8 has 16777216: fractions of its kind hold .* below 16777216"),
        ("f8", 1.5, "row 8 has 1.5"),
    ):
        bad = table["hip"].astype(kind)
        bad[7] = value
        with pytest.raises(ValueError, match=f"column 'hip' of .*stars.fits must hold .*{words}"):
            load(write(path, table | {"hip": bad}), join={"unique": "hip"})
    with pytest.raises(ValueError, match="'good' of .* must hold ids, .* but holds true or false"):
        load(write(path, table | {"good": np.ones(N, dtype=bool)}), join={"unique": "good"})


def test_a_mark_of_a_missing_value_is_not_the_best(path):
    table = stars()
    table["source_id"][1] = table["source_id"][0]
    table["snr"][:2] = 50, 999999
    sample = load(write(path, table), join={"unique": "source_id", "best": "snr"})
    assert sample.label[0] == table["fe_h"][0]


# -- errors of other columns -------------------------------------------------------------------


def errors_of(path, columns: dict, table: dict | None = None, **sections):
    """The sample with Gaia's errors in the file and `columns` in the configuration."""
    more = {k: np.full(N, v) for k, v in ERRORS.items()} | {
        "radial_velocity_error": np.full(N, 3.0)
    }
    full = stars() | more | {"parallax_pmra_corr": np.full(N, 0.9)} | (table or {})
    return load(write(path, full), columns=columns, **sections)


def test_an_observable_of_another_origin_has_no_borrowed_error(path):
    table = {"rv_survey": stars()["radial_velocity"] + 0.1, "rv_survey_error": np.full(N, 0.05)}
    units = {"rv_survey": "km / s"}
    columns = {"radial_velocity": "rv_survey"}
    alone = errors_of(path, columns, table, units=units)
    assert alone.errors is None
    assert "those of 'rv_survey' are not known" in alone.describe()
    assert 'radial_velocity_error = "..."' in alone.describe()
    columns["radial_velocity_error"] = "rv_survey_error"
    own = errors_of(path, columns, table, units=units | {"rv_survey_error": "km / s"})
    assert np.median(own.errors.v_z) < 0.2 * u.km / u.s
    gaia = errors_of(path, {}, table)
    assert np.median(gaia.errors.v_z) > 0.5 * u.km / u.s
    # A cut on the column of the other's error does not make it one.
    cut = errors_of(
        path,
        {"radial_velocity": "rv_survey"},
        table,
        units=units,
        ranges={"radial_velocity_error": [0, 10]},
    )
    assert cut.errors is None


@pytest.mark.parametrize("role", ["parallax", "pmra", "pmdec", "distance"])
def test_errors_and_correlations_go_with_their_observable(path, role):
    values = 1 / stars()["parallax"] if role == "distance" else stars()[role]
    table = {"mine": values, "e_mine": np.full(N, 0.02), "distance_error": np.full(N, 9.0)}
    unit = UNITS.get(role, "kpc")
    sample = errors_of(path, {role: "mine"}, table, units={"mine": unit})
    assert sample.errors is None and f"{role}_error" in sample.describe()
    named = {role: "mine", f"{role}_error": "e_mine"}
    own = errors_of(path, named, table, units={"mine": unit, "e_mine": unit})
    assert own.errors is not None
    # The correlation of Gaia's parallax and motion is not that of another measurement.
    assert own.stars.has("parallax_pmra_corr") == (role == "pmdec" or role == "distance")
    if role == "parallax":
        with pytest.raises(ValueError, match="parallax_over_error needs .* parallax_error = "):
            errors_of(
                path,
                {role: "mine"},
                table,
                units={"mine": unit},
                selection={"parallax_over_error": 5},
            )


def test_correlations_of_ones_own_can_be_named(path):
    table = {"mine": stars()["pmra"], "e_mine": np.full(N, 0.01), "rho": np.full(N, 0.5)}
    columns = {"pmra": "mine", "pmra_error": "e_mine", "parallax_pmra_corr": "rho"}
    units = {"mine": "mas / yr", "e_mine": "mas / yr"}
    sample = errors_of(path, columns, table, units=units)
    assert set(sample.stars.values("parallax_pmra_corr")) == {0.5}
    with pytest.raises(ValueError, match="columns.pmra must not be empty"):
        errors_of(path, {"pmra": ""})
    assert errors_of(path, {"pmra_error": ""}).errors is None


def test_a_surveys_error_does_not_follow_the_users_velocity():
    given = {"preset": "apogee-dr17", "files": ["a", "b"]}
    preset = catalog.read_config(given | {"columns": {"radial_velocity": "rv"}}).preset
    assert preset.column("radial_velocity_error") == ""
    preset = catalog.read_config(given | {"columns": {"radial_velocity": "radial_velocity"}}).preset
    assert preset.column("radial_velocity_error") == "radial_velocity_error"
    assert catalog.read_config(given).preset.column("radial_velocity_error") == "VERR"


def test_an_error_of_another_file_than_its_observable_is_not_taken(tmp_path):
    """Both files have a parallax: the first file's is taken, and only the second has an error."""
    table = stars()
    more = {k: np.full(N, v) for k, v in ERRORS.items()} | {
        "radial_velocity_error": np.full(N, 1.0)
    }
    first = {k: table[k] for k in ("source_id", "parallax", "fe_h")}
    second = {k: v for k, v in table.items() if k not in ("fe_h", "source_id")} | more
    second["sid"] = table["source_id"]
    files = [write(tmp_path / "a.fits", first), write(tmp_path / "b.fits", second)]
    join = {"keys": ["source_id", "sid"]}
    sample = load(files, join=join)
    assert sample.errors is None and 'parallax_error = "..."' in sample.describe()
    named = load(files, join=join, columns={"parallax_error": "parallax_error"})
    assert named.errors is not None


def test_a_labels_error_can_be_named_alone():
    given = {"preset": "apogee-dr17", "files": ["a", "b"], "label": {"error": "mine"}}
    assert catalog.read_config(given).label == ("MG_FE", "mine")


# -- flags -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["fits", "csv", "ecsv", "vot", "parquet"])
def test_stars_without_a_flag_are_a_cut(tmp_path, ending):
    """Whole numbers of 62 bits, three missing: not clean, and no bit is lost by the others."""
    flag = np.zeros(N, dtype=np.int64)
    flag[10], flag[11] = 1 << 61, (1 << 61) + 1
    table = Table(stars() | {"flag": MaskedColumn(flag, mask=np.arange(N) < 3)})
    path = tmp_path / f"t.{ending}"
    kind = {"ecsv": "ascii.ecsv", "vot": "votable", "csv": "ascii.csv"}.get(ending, ending)
    if ending == "parquet":
        pa, parquet = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
        columns = {name: table[name].data for name in table.colnames}
        columns["flag"] = pa.array(flag, mask=np.arange(N) < 3)
        parquet.write_table(pa.table(columns), path)
    else:
        table.write(path, format=kind)
    sample = load(path, units=UNITS, flags={"flag": [0, 61]})
    removed = [sample.flow[name].removed for name in ("flag known", "flag 0", "flag 61")]
    assert removed == [3, 1, 1]
    assert sample.stars.table["flag"].dtype.kind == "i"
    preset = dataclasses.replace(catalog.PRESETS["generic"], unique="source_id")
    request = catalog.Request(preset, ("fe_h", None), ("flag",), UNITS, ("flag",))
    uncut = catalog.read_stars([path], request).table
    assert np.ma.is_masked(uncut["flag"]) and uncut["flag"][11] == (1 << 61) + 1
    whole = load(path, units=UNITS, ranges={"flag": [-1, 9]})
    assert len(whole) == N - 5


def test_marks_in_flags(path):
    """-9999 is no pattern of bits, 999999 is one."""
    flag = np.zeros(N, dtype=np.int64)
    flag[:3], flag[3:5] = -9999, 999999
    clean = np.zeros(N)
    sample = load(write(path, stars() | {"flag": flag}), flags={"flag": [10]})
    assert sample.flow["flag known"].removed == 3 and len(sample) == N - 3
    with pytest.raises(ValueError, match="flag must hold whole numbers, but is .*the first: 0.5"):
        load(write(path, stars() | {"flag": clean + 0.5}), flags={"flag": [1]})
    with pytest.raises(ValueError, match="flag must hold whole numbers, but holds text"):
        load(write(path, stars() | {"flag": clean.astype("U5")}), flags={"flag": [1]})


# -- one file, several tables ------------------------------------------------------------------


@pytest.fixture
def two_tables(path):
    table = stars()
    rv = {k: table[k] for k in ("source_id", "radial_velocity", "fe_h")}
    sky = {k: table[k] for k in ("source_id", *UNITS) if k != "radial_velocity"}
    hdus = [fits.PrimaryHDU()]
    for name, part in (("RVTAB", rv), ("FIBERMAP", sky)):
        units = {k: v for k, v in UNITS.items() if k in part}
        hdus.append(fits.table_to_hdu(Table(part, units=units)))
        hdus[-1].name = name
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.mark.parametrize("hdus", [[1, 2], ["RVTAB", "FIBERMAP"], ["", 2], ["rvtab", 2]])
def test_one_file_twice_is_a_join_of_its_tables(two_tables, hdus):
    join = {"keys": ["source_id", "source_id"], "hdus": hdus}
    sample = load([two_tables, two_tables], join=join)
    assert len(sample) == N and "joined with stars.fits, HDU 2" in str(sample.flow)


def test_one_table_twice_is_refused_under_any_name(two_tables):
    join = {"keys": ["source_id", "source_id"]}
    hard, soft = two_tables.with_name("hard.fits"), two_tables.with_name("soft.fits")
    os.link(two_tables, hard)
    soft.symlink_to(two_tables)
    for other, hdus in ((two_tables, [1, "RVTAB"]), (hard, ["", 1]), (soft, [2, 2])):
        with pytest.raises(ValueError, match=r"is given twice: .* join.hdus = \[1, 2\]"):
            load([two_tables, other], join=join | {"hdus": hdus})
    with pytest.raises(
        ValueError, match=r"join.hdus must be one a file, but are \[1\] for 2 files"
    ):
        load([two_tables, two_tables], join=join | {"hdus": [1]})
    with pytest.raises(ValueError, match=r"join.hdus\[0\] of .* must be a whole number or a text"):
        load([two_tables, two_tables], join=join | {"hdus": [1.5, 2]})


# -- words -------------------------------------------------------------------------------------


def test_maps_that_cannot_be_made_name_the_configurations_keys(path):
    write(path, stars())
    with pytest.raises(ValueError, match="label.scatter cannot be estimated: of 200 rows of stars"):
        load(path, bins={"n_z": 900, "n_vz": 900})
    assert load(path, bins={"n_z": 900, "n_vz": 900}, label={"name": "fe_h", "scatter": 0.1})
    small = {"z_max": "0.001 pc", "vz_max": "1 cm / s", "n_z": 4, "n_vz": 4}
    with pytest.raises(ValueError, match="no star is inside the bins: of 200 .* bins.z_max and"):
        load(path, bins=small)


def test_texts_and_keys_of_two_kinds_name_their_files(tmp_path):
    table = stars()
    words = table["fe_h"].astype("U20")
    words[7] = "--"
    with pytest.raises(ValueError, match="column 'fe_h' of .*t.fits must hold numbers, but .*'--'"):
        load(write(tmp_path / "t.fits", table | {"fe_h": words}))
    left = {"key": [f"S{k}" for k in range(N)], "fe_h": table.pop("fe_h")}
    files = [write(tmp_path / "a.fits", left), write(tmp_path / "b.fits", table)]
    with pytest.raises(ValueError, match="'key' of .*a.fits holds texts and .* numbers"):
        load(files, join={"keys": ["key", "source_id"]})


# -- the figure --------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [0.0, 0.1, 30.0])
def test_the_figure_of_places_says_nothing_and_is_to_scale(spread, caplog):
    """Stars in one spot, around the Sun and in the halo; matplotlib remarks by its logger."""
    rng = np.random.default_rng(1)
    x, y, z = rng.normal(0, spread, (3, N)) * np.array([[1], [1], [0.2]]) * u.kpc
    still = np.zeros(N) * u.km / u.s
    frame = catalog.FRAMES["tutorial"]
    places = catalog.Galactocentric(x - 8.3 * u.kpc, y, z, still, still, still, frame)
    figure, axes = plot_places(places)
    figure.canvas.draw()
    assert not caplog.records
    for axis in axes:
        width, height = np.ptp(axis.get_xlim()), np.ptp(axis.get_ylim())
        box = axis.get_position().transformed(figure.transFigure)
        assert width == pytest.approx(height) and box.width == pytest.approx(box.height)
        assert axis.get_xlim()[0] < axis.lines[1].get_xdata()[0] < axis.get_xlim()[1]
    plt.close(figure)


# -- wrong kinds at the doors ------------------------------------------------------------------

KMS = u.km / u.s
GENERIC, FRAME = catalog.PRESETS["generic"], catalog.FRAMES["tutorial"]
SKY = [np.ones(2) * x for x in (u.deg, u.deg, u.mas, u.mas / u.yr, u.mas / u.yr, KMS)]
SIGMA = dict(zip(("parallax", "pmra", "pmdec", "radial_velocity"), SKY[2:], strict=True))
SQUARE = ((0, 0), (1, 0), (1, 1))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: catalog.load(3), "config must be a TOML file or a mapping of sections, not 3"),
        (lambda: catalog.read_config(None), "config must be a TOML file .* not None"),
        (lambda: catalog.template([]), "there is no preset"),
        (lambda: catalog.selection(["none"]), "there is no selection"),
        (lambda: catalog.Frame.from_dict({}), "a frame must have R0, v_sun"),
        (lambda: catalog.RotationCurve(slope=np.nan * KMS / u.kpc), "slope must be one finite"),
        (lambda: catalog.RotationCurve(np.ones(2) * KMS), "v0 must be positive"),
        (lambda: catalog.Selection(Lz_spread=np.nan, Lz_radius=8 * u.kpc), "Lz_spread must be pos"),
        (lambda: catalog.Selection(parallax_over_error="a"), "parallax_over_error must be pos"),
        (lambda: catalog.Selection(rotation=3), "rotation must be a RotationCurve, not 3"),
        (lambda: catalog.Selection(ranges=3), "ranges must be .low, high. by column"),
        (lambda: catalog.Selection(ranges={"a": ("x", "y")}), "the range of a must be .low, high."),
        (lambda: catalog.Selection(polygon=3), "polygon must have three or more"),
        (lambda: catalog.Selection(polygon=(*SQUARE, (0, np.nan))), "polygon must have .* finite"),
        (lambda: catalog.Selection(polygon=SQUARE, polygon_columns="ab"), "must be a list of na"),
        (lambda: catalog.Selection(polygon=SQUARE, polygon_columns=["a"]), "must be two columns"),
        (lambda: catalog.Selection(polygon=[1, 2] * KMS), "polygon must have three or more"),
        (lambda: catalog.Selection(prograde="yes"), "prograde must be True or False, but 'yes'"),
        (lambda: catalog.Selection(Lz_spread=True, Lz_radius=8 * u.kpc), "Lz_spread must be pos"),
        (lambda: catalog.RotationCurve(v0=None), "v0 must be positive, but None"),
        (lambda: catalog.RotationCurve().speed(8), "R has no unit"),
        (lambda: catalog.Frame(8 * u.kpc, name=3), "name must be a text, but 3"),
        (lambda: catalog.Frame.from_dict(3), "a frame must be a dictionary by name, but 3"),
        (lambda: catalog.Frame.from_dict({"R0": 3, "v_sun": "a"}), "R0 of a frame must be a text"),
        (lambda: catalog.Frame.from_dict({"R0": "8 kpc", "v_sun": "(1"}), "v_sun of a frame must"),
        (lambda: catalog.Frame.from_dict(FRAME.as_dict() | {"Z": "1"}), "a frame has no 'Z'"),
        (lambda: catalog.Selection(y_max=np.ones(2) * u.kpc), "y_max must be positive"),
        (lambda: catalog.to_galactocentric("tutorial", *SKY), "frame must be a Frame"),
        (lambda: catalog.vertical_errors(FRAME, *SKY, errors=None), "errors must be columns by na"),
        (
            lambda: catalog.vertical_errors(FRAME, *SKY, SIGMA | {"pmra": np.ones(3) * SKY[3][0]}),
            "the error of pmra must be one a star, 2, not 3",
        ),
        (
            lambda: catalog.vertical_errors(FRAME, *SKY, SIGMA, {"parallax_pmra_corr": np.ones(5)}),
            "parallax_pmra_corr must be one a star, 2, not 5",
        ),
        (
            lambda: catalog.vertical_errors(FRAME, *SKY, SIGMA, 0),
            "correlations must be columns by name, but 0",
        ),
        (
            lambda: catalog.vertical_errors(FRAME, *SKY, SIGMA, {"parallax_pmra_corr": 1 * u.kpc}),
            "parallax_pmra_corr must (be|have) .*kpc",
        ),
        (lambda: catalog.bit([], "A"), "flag must be the name of a column, but"),
        (lambda: catalog.is_set("F", [1] * u.kpc, [1]), "F must hold whole .* has the unit kpc"),
        (lambda: catalog.is_set("F", [1e200], [1]), "F must hold whole numbers, but is missing or"),
        (lambda: catalog.is_set("F", [1], 1 * u.kpc), "the bits of F must be a list or 'any'"),
        (lambda: catalog.fetch([]), "there are no public files"),
        (lambda: catalog.fetch("apogee-dr17", 3), "folder must be a path, but 3"),
        (lambda: catalog.fetch("apogee-dr17", mirror=3), "mirror must be an address such as"),
        (lambda: catalog.is_set("F", None, [1]), "F must hold whole numbers"),
        (lambda: catalog.is_set("F", [1], 3), "the bits of F must be a list or 'any', not 3"),
        (lambda: catalog.Request("generic", ("a", None)), "preset must be a Preset"),
        (lambda: catalog.Request(GENERIC, "fe_h"), "label must be two columns.* not 'fe_h'"),
        (lambda: catalog.Request(GENERIC, ("a", None), "snr"), "needed must be a list of names"),
        (
            lambda: catalog.read_stars("t.fits", catalog.Request(GENERIC, ("a", None))),
            "files must be a list of paths",
        ),
        (
            lambda: catalog.read_stars(3, catalog.Request(GENERIC, ("a", None))),
            "files must be a list of paths, but 3",
        ),
        (lambda: catalog.read_stars(["t.fits"], None), "request must be a Request, but None"),
        (lambda: catalog.read_apogee("a", "b", extra=3), "extra must be a list of names, but 3"),
        (lambda: catalog.read_apogee("a", "b", label=3), "label must be the name of a column"),
        (lambda: catalog.read_apogee("a", "b", extra="SNR"), "extra must be a list of names"),
        (lambda: plot_places(3), "places must be Galactocentric coordinates, not 3"),
    ],
)
def test_wrong_kinds_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# -- configurations and places that no one means ----------------------------------------------


@pytest.mark.parametrize("role", ["ra", "dec", "pmra", "pmdec", "radial_velocity"])
def test_no_column_is_two_observables(role):
    """The right ascension taken as the declination is a place on the sky like any other."""
    for other in ("ra", "dec", "parallax", "pmra", "pmdec", "radial_velocity"):
        if other != role:
            config = {"files": ["a.csv"], "label": {"name": "x"}, "columns": {role: other}}
            with pytest.raises(ValueError, match=f"columns.{role} must be another column than"):
                catalog.read_config(config)
            config["columns"] = {role: "mine", other: "mine"}
            with pytest.raises(ValueError, match="must be another column than"):
                catalog.read_config(config)


def test_two_columns_may_change_places():
    config = {"files": ["a.csv"], "label": {"name": "x"}, "columns": {"ra": "dec", "dec": "ra"}}
    preset = catalog.read_config(config).preset
    assert (preset.column("ra"), preset.column("dec")) == ("dec", "ra")


@pytest.mark.parametrize("unit", ["1e400 deg", "-1 deg", "0 deg", "nan deg", 3, None])
def test_units_scale_by_a_positive_number(unit):
    config = {"files": ["a.csv"], "label": {"name": "x"}, "units": {"ra": unit}}
    with pytest.raises(ValueError, match="units.ra is .*, which is no unit"):
        catalog.read_config(config)
    config["units"] = {"ra": "deg", "logg": "dex(cm / s2)", "x": "1e-3 mas", "mag": "mag"}
    assert catalog.read_config(config).units == config["units"]


@pytest.mark.parametrize("bits", [np.ma.masked, None, 3, "some", np.array("any")])
def test_flags_are_lists_or_any(bits):
    config = {"files": ["a.csv"], "label": {"name": "x"}, "flags": {"f": bits}}
    with pytest.raises(ValueError, match="flags.f must be a list of bits or 'any'"):
        catalog.read_config(config)


def test_a_configuration_of_endless_lists_is_refused(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("files = " + "[" * 5000 + "]" * 5000)
    with pytest.raises(ValueError, match="a.toml is no readable TOML file: its lists lie too deep"):
        catalog.read_config(path)


@pytest.mark.parametrize("unit", ["deg", "rad", "hourangle"])
def test_places_beyond_the_sky_are_no_places(tmp_path, unit):
    """Of any unit: 9999 and 99.9 are marks of some catalogues, and degrees no radians."""
    columns = stars()
    for name in ("ra", "dec"):
        columns[name] = (columns[name] * u.deg).to_value(unit)
    columns["ra"][:2] = (np.array([400, -9999.5]) * u.deg).to_value(unit)
    columns["dec"][2:4] = (np.array([95, -100]) * u.deg).to_value(unit)
    Table(columns).write(tmp_path / "a.fits")
    sample = load([tmp_path / "a.fits"], units=UNITS | {"ra": unit, "dec": unit})
    assert len(sample) == N - 4
    assert ("ra and dec measured", 4) in [(step.name, step.removed) for step in sample.flow]
