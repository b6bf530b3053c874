"""Catalogues: files of other kinds, bad input, configurations and what is kept of them."""

import re
import resource
import warnings
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import torusimaging as oti
from torusimaging import catalog
from torusimaging.catalog.join import best_rows, join_rows
from torusimaging.files.open import open_table, write_table
from torusimaging.report import write_sample
from torusimaging.units import UnitError

KMS = u.km / u.s
COLUMNS = {"radial_velocity": "rv", "radial_velocity_error": "e_rv"}


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return oti.mock.write_apogee(tmp_path_factory.mktemp("survey"), 2_000, seed=2)


def files(survey) -> list[str]:
    return [str(path) for path in survey.files]


def stars(n: int = 300) -> Table:
    """A table of disc stars near the Sun, units in place."""
    rng = np.random.default_rng(0)
    table = Table()
    table["ra"] = rng.uniform(0, 360, n) * u.deg
    table["dec"] = rng.uniform(-60, 60, n) * u.deg
    table["parallax"] = rng.uniform(1, 4, n) * u.mas
    table["parallax_error"] = np.full(n, 0.02) * u.mas
    for name in ("pmra", "pmdec"):
        table[name] = rng.normal(0, 5, n) * u.mas / u.yr
        table[f"{name}_error"] = np.full(n, 0.02) * u.mas / u.yr
    table["rv"] = rng.normal(0, 30, n) * KMS
    table["e_rv"] = np.full(n, 0.2) * KMS
    table["source_id"] = np.arange(1, n + 1)
    table["snr"] = rng.uniform(20, 200, n)
    table["mg_fe"], table["mg_fe_err"] = rng.normal(0.1, 0.05, n), np.full(n, 0.02)
    return table


def config(path, **sections) -> dict:
    return {
        "files": [str(path)],
        "columns": COLUMNS,
        "label": {"name": "mg_fe", "error": "mg_fe_err"},
        "bins": {"n_z": 10, "n_vz": 10},
    } | sections


@pytest.mark.parametrize("ending", ["fits", "ecsv", "vot", "parquet", "csv"])
def test_a_table_of_any_kind_gives_the_same_sample(tmp_path, ending):
    table, path = stars(), tmp_path / f"stars.{ending}"
    given = {}
    if ending == "parquet":
        write_table(
            path,
            {n: table[n].quantity if table[n].unit else table[n].value for n in table.colnames},
        )
    elif ending == "csv":
        table.write(path, format="ascii.csv")
        given = {"units": {n: str(table[n].unit) for n in table.colnames if table[n].unit}}
    else:
        kind = {"ecsv": "ascii.ecsv", "vot": "votable"}.get(ending, ending)
        table.write(path, format=kind)
    sample = catalog.load(config(path, **given))
    expected = catalog.to_galactocentric(
        catalog.FRAMES["tutorial"],
        *(table[n].quantity for n in ("ra", "dec", "parallax", "pmra", "pmdec", "rv")),
    )
    # Text keeps 17 figures, which the transformation may amplify a little.
    np.testing.assert_allclose(sample.places.z.value, expected.z.value, rtol=0, atol=1e-13)
    assert len(sample) == 300 and sample.errors is not None
    assert sample.binned["counts"].sum() > 200


def test_distances_instead_of_parallaxes(tmp_path):
    table, path = stars(), tmp_path / "stars.fits"
    table["dist"] = 1000 / table["parallax"].value * u.pc
    table["dist"][:7] = -1
    table.remove_columns(["parallax", "parallax_error"])
    table.write(path)
    sample = catalog.load(config(path, columns=COLUMNS | {"distance": "dist"}))
    assert sample.flow["distance > 0"].removed == 7 and sample.errors is None
    assert "no errors" in sample.describe()


def test_a_column_called_distance_replaces_no_parallax(tmp_path):
    """It is used for distances where the configuration says so, not where a cut reads it."""
    table, path = stars(), tmp_path / "stars.fits"
    table["distance"] = 2 / table["parallax"].value * u.kpc
    table.write(path)
    plain = catalog.load(config(path))
    cut = catalog.load(config(path, ranges={"distance": [0, 1e9]}))
    np.testing.assert_array_equal(plain.places.z.value, cut.places.z.value)
    assert cut.errors is not None


def test_poor_parallaxes_beside_distances(tmp_path):
    table, path = stars(), tmp_path / "stars.fits"
    table["dist"] = 1 / table["parallax"].value * u.kpc
    table["parallax_error"][:9] = 1.0
    table.write(path)
    columns = COLUMNS | {"distance": "dist"}
    sample = catalog.load(config(path, columns=columns, selection={"parallax_over_error": 10}))
    assert sample.flow["parallax / error >= 10"].removed == 9
    table.remove_column("parallax_error")
    table.write(path, overwrite=True)
    with pytest.raises(ValueError, match="no column 'parallax_error' in .*; did you mean"):
        catalog.load(config(path, columns=columns, selection={"parallax_over_error": 10}))


def test_ratios_of_abundances_over_hydrogen(tmp_path):
    """A file of the SDSS-V kind: its names, its second table, [Mg/H] and [Fe/H]."""
    table = stars()
    names = dict(catalog.PRESETS["sdss-v-dr19"].columns)
    table.rename_columns(["rv", "e_rv", "source_id"], ["v_rad", "e_v_rad", "gaia_dr3_source_id"])
    for role in ("parallax", "parallax_error", "pmra_error", "pmdec", "pmdec_error"):
        table.rename_column(role, names[role])
    rng = np.random.default_rng(1)
    table["fe_h"], table["e_fe_h"] = rng.normal(-0.1, 0.2, 300), np.full(300, 0.03)
    table["mg_h"], table["e_mg_h"] = table["fe_h"] + table["mg_fe"], np.full(300, 0.04)
    table["flag_bad"] = np.arange(300) % 10 == 0
    table["mg_h_flags"], table["fe_h_flags"] = np.arange(300) == 1, np.zeros(300, dtype=int)
    label = table["mg_fe"].value
    table.remove_columns(["mg_fe", "mg_fe_err"])
    path = tmp_path / "astraAllStarASPCAP-0.6.0.fits"
    fits.HDUList(
        [fits.PrimaryHDU(), fits.table_to_hdu(Table({"boss": [1]})), fits.table_to_hdu(table)]
    ).writeto(path)
    sample = catalog.load(
        {"preset": "sdss-v-dr19", "files": [str(path)], "bins": {"n_z": 10, "n_vz": 10}}
    )
    assert sample.flow["flag_bad any"].removed == 30
    assert sample.flow["mg_h_flags any"].removed == 1
    kept = (table["flag_bad"] == 0) & (table["mg_h_flags"] == 0)
    np.testing.assert_allclose(sample.label, label[kept], atol=1e-12)
    np.testing.assert_allclose(sample.label_err, 0.05, rtol=1e-12)


def test_only_the_columns_needed_are_read(survey, monkeypatch):
    from torusimaging.files.fits import FitsFile

    asked = []
    read = FitsFile.read
    monkeypatch.setattr(
        FitsFile, "read", lambda self, columns: asked.extend(columns) or read(self, columns)
    )
    catalog.load({"preset": "apogee-dr17", "files": files(survey)})
    assert len(asked) == len(set(asked)) < 40 and not {"X_H", "STARFLAGS", "TEFF_ERR"} & set(asked)


# -- joins -------------------------------------------------------------------------------------


def test_joins_are_those_of_every_pair():
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 40, 60), rng.integers(0, 40, 50)
    pairs = [(i, j) for i in range(60) for j in range(50) if left[i] == right[j]]
    for a, b in (
        (left, right),
        (np.array([f"2M{k} " for k in left]), np.array([f"2M{k}".encode() for k in right])),
    ):
        assert list(zip(*(r.tolist() for r in join_rows(a, b)), strict=True)) == pairs
    empty = np.array(["", "a"])
    assert [r.tolist() for r in join_rows(empty, empty)] == [[1], [1]]
    with pytest.raises(ValueError, match="of one kind"):
        join_rows(left, empty)


def test_ids_beyond_fractions_keep_their_figures(tmp_path):
    """Neighbours above 2^53 are told apart, signed or not, also beside a null."""
    ids = 4 * 10**18 + np.arange(500)
    masked = np.ma.array(ids, mask=np.arange(500) == 7)
    for left, right, n in (
        (ids, ids.astype(np.uint64), 500),
        (masked, ids, 499),
        (ids, np.append(ids.astype(np.uint64), np.uint64(2**63 + 5)), 500),
    ):
        rows = join_rows(left, right)
        assert rows[0].size == n and np.array_equal(ids[rows[0]], np.asarray(right)[rows[1]])
    with pytest.raises(ValueError, match="whole numbers or texts: as fractions"):
        join_rows(ids, ids.astype(float))
    table = stars(500)
    table["source_id"] = ids
    left, right = table["source_id", "snr", "mg_fe", "mg_fe_err"], table.copy()
    right.rename_column("source_id", "sid")
    right.remove_columns(["snr", "mg_fe", "mg_fe_err"])
    right = Table(right, masked=True)
    right["sid"].mask[3] = True
    for ending, kind in (("fits", "fits"), ("ecsv", "ascii.ecsv"), ("vot", "votable")):
        paths = [tmp_path / f"{name}.{ending}" for name in ("left", "right")]
        left.write(paths[0], format=kind)
        right.write(paths[1], format=kind)
        sample = catalog.load(
            config(paths[0])
            | {"files": [str(p) for p in paths], "join": {"keys": ["source_id", "sid"]}}
        )
        assert len(sample) == 499, ending


def test_marks_of_missing_values_are_missing(tmp_path):
    """-9999 and -999 in a table of one's own, whole numbers too; other marks can be named."""
    table, path = stars(), tmp_path / "stars.fits"
    table["mg_fe"][:5], table["rv"][5:8], table["dec"][8] = -9999, -999, -9999
    table["mg_fe"][9] = 99
    table.write(path)
    flow = catalog.load(config(path)).flow
    removed = [flow[f"{name} measured"].removed for name in ("mg_fe", "radial velocity")]
    assert removed == [5, 3] and flow["ra and dec measured"].removed == 1
    flow = catalog.load(config(path, missing=[-9999, -999, 99])).flow
    assert flow["mg_fe measured"].removed == 6
    assert catalog.load(config(path, missing=[-999])).flow["mg_fe measured"].removed == 0


def test_a_labels_unit_stays_with_the_map(tmp_path):
    table, path = stars(), tmp_path / "stars.fits"
    table["mg_fe"].unit, table["mg_fe_err"].unit = u.Gyr, u.Gyr
    table.write(path)
    sample = catalog.load(config(path))
    assert sample.binned["label"].unit == sample.binned["s"].unit == u.Gyr
    assert "scatter of mg_fe" in sample.describe() and "Gyr" in sample.describe()
    written = oti.data.write_map(sample.binned, tmp_path / "map.csv", "mg_fe")
    assert oti.data.read_map(written)["label"].unit == u.Gyr


def test_units_that_are_not_understood_or_not_there(tmp_path):
    table, path = stars(), tmp_path / "stars.fits"
    table.write(path)
    fits.setval(path, "TUNIT3", value="arcsecs", ext=1)
    with pytest.raises(UnitError, match="'parallax' of .* has the unit 'arcsecs', which is not un"):
        catalog.load(config(path))
    half = catalog.load(config(path, units={"parallax": "arcsec"}))
    np.testing.assert_allclose(half.stars.quantity("parallax").to_value(u.mas)[0] > 900, True)
    with pytest.raises(ValueError, match="no column 'paralax' in .*; did you mean 'parallax'"):
        catalog.load(config(path, units={"paralax": "mas"}))
    with pytest.raises(ValueError, match="no column 'e_dist' in"):
        catalog.load(config(path, columns=COLUMNS | {"distance_error": "e_dist"}))
    with pytest.raises(ValueError, match="no column 'snrr' in .*; did you mean 'snr'"):
        catalog.load(config(path, join={"unique": "source_id", "best": "snrr"}))
    bare = Table({name: table[name].value for name in table.colnames})
    bare.write(path, overwrite=True)
    with pytest.raises(UnitError, match="columns 'ra', 'dec', 'parallax', .* have no unit: give"):
        catalog.load(config(path))


def test_a_distance_of_ones_own_in_a_survey_needs_its_unit(survey, tmp_path):
    """The survey's units are those of its own columns, not of what stands in for them."""
    table = Table.read(survey.gaia, hdu=1)
    table["r_med_geo"] = 1000 / np.abs(table["parallax"].value)
    table.write(tmp_path / "gaia.fits")
    settings = {"preset": "apogee-dr17", "columns": {"distance": "r_med_geo"}}
    settings["files"] = [str(survey.allstar), str(tmp_path / "gaia.fits")]
    with pytest.raises(UnitError, match="'r_med_geo' of .* has no unit"):
        catalog.load(settings)
    assert len(catalog.load(settings | {"units": {"r_med_geo": "pc"}})) > 0


def test_errors_of_the_label_in_its_unit(tmp_path):
    table, path = stars(), tmp_path / "stars.fits"
    table["mg_fe"], table["mg_fe_err"] = table["mg_fe"].value * u.Gyr, np.full(300, 20) * u.Myr
    table.write(path)
    np.testing.assert_allclose(catalog.load(config(path)).label_err, 0.02)
    table["mg_fe_err"] = np.full(300, 20) * u.kpc
    table.write(path, overwrite=True)
    with pytest.raises(UnitError, match="'mg_fe_err' must have a unit like that of 'mg_fe', Gyr"):
        catalog.load(config(path))


@pytest.mark.parametrize("ending", ["fits", "ecsv", "vot"])
def test_names_as_the_field_writes_them(tmp_path, ending):
    """A label called [Fe/H], and columns named as computed ones, from table to fit's map."""
    table, path = stars(), tmp_path / f"stars.{ending}"
    table.rename_columns(["mg_fe", "mg_fe_err"], ["[Fe/H]", "[Fe/H]_err"])
    table["z"] = np.arange(300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of names that not every program can read.
        table.write(path, format={"ecsv": "ascii.ecsv", "vot": "votable"}.get(ending, ending))
    label = {"name": "[Fe/H]", "error": "[Fe/H]_err"}
    sample = catalog.load(config(path, label=label, ranges={"z": [10, 1e9]}))
    written = {p.name: p for p in write_sample(sample, tmp_path / "out")}
    assert oti.data.read_map(written["map.csv"])["name"] == "[Fe/H]"
    table = open_table(written["stars.parquet"]).as_table()
    assert table["z"].unit == u.kpc and table["z_catalog"].min() == 11
    for name in ("count", "z_kpc"):
        with pytest.raises(ValueError, match="must not be that of another column"):
            oti.data.write_map(sample.binned, tmp_path / "map.csv", name)


def test_the_best_row_of_each_id_and_the_first_of_equals():
    ids = np.array([5, 3, 5, 3, 5, 9])
    rank = np.array([1.0, 2.0, 7.0, 2.0, 7.0, np.nan])
    assert best_rows(ids, rank).tolist() == [1, 2, 5]
    assert best_rows(ids, None).tolist() == [0, 1, 5]


def test_ids_that_occur_twice_need_a_rule(tmp_path):
    table, path = stars(), tmp_path / "stars.fits"
    table["source_id"][10] = table["source_id"][11]
    table.write(path)
    with pytest.raises(ValueError, match="source_id 12 occurs 2 times .* best = "):
        catalog.load(config(path, join={"unique": "source_id"}))
    sample = catalog.load(config(path, join={"unique": "source_id", "best": "snr"}))
    assert len(sample) == 299


def test_bad_joins(survey, tmp_path):
    one, two = files(survey)
    load = catalog.load
    with pytest.raises(ValueError, match="given twice"):
        load({"preset": "apogee-dr17", "files": [one, one]})
    with pytest.raises(ValueError, match="files must be 2 .* but 1 were given"):
        load({"preset": "apogee-dr17", "files": [one]})
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load({"preset": "apogee-dr17", "files": [one, "none.fits"]})
    other = tmp_path / "other.fits"
    table = Table.read(two, hdu=1)
    table["apogee_id"] = [f"X{k}" for k in range(len(table))]
    table.write(other)
    with pytest.raises(ValueError, match="the join is empty: no APOGEE_ID"):
        load({"preset": "apogee-dr17", "files": [one, str(other)]})
    # The two files the wrong way round lack each other's columns.
    with pytest.raises(ValueError, match="no column 'APOGEE_ID'.*did you mean 'apogee_id'"):
        load({"preset": "apogee-dr17", "files": [two, one]})


# -- columns, units, cuts ------------------------------------------------------------------------


def test_missing_columns_and_units(survey, tmp_path):
    settings = {"preset": "apogee-dr17", "files": files(survey)}
    with pytest.raises(ValueError, match="no column 'MG_FEH'.*did you mean 'MG_FE"):
        catalog.load(settings | {"label": {"name": "MG_FEH"}})
    with pytest.raises(ValueError, match="no column 'X_H'|X_H.*must hold one value a row"):
        catalog.load(settings | {"label": {"name": "X_H"}})
    with pytest.raises(ValueError, match="APOGEE_ID.* must hold numbers, but holds '2M"):
        catalog.load(settings | {"label": {"name": "APOGEE_ID"}})
    with pytest.raises(UnitError, match="'parallax' .*must have a unit like mas, but has K"):
        catalog.load(settings | {"units": {"parallax": "K"}})
    path = tmp_path / "stars.csv"
    stars().write(path, format="ascii.csv")
    with pytest.raises(UnitError, match=r"columns 'ra', .* have no unit: give them in \[units\]"):
        catalog.load(config(path))


def test_all_stars_cut_names_the_cut(survey):
    settings = {"preset": "apogee-dr17", "files": files(survey)}
    with pytest.raises(ValueError, match="no star is left after the cut '1 < R < 2 kpc'"):
        catalog.load(settings | {"selection": {"R": ["1 kpc", "2 kpc"]}})
    with pytest.raises(ValueError, match="after the cut '9000 < TEFF < 9001', which removed"):
        catalog.load(settings | {"ranges": {"TEFF": [9000, 9001]}})


def test_flags_by_name_and_number():
    values = np.array([0, 1 << 9, 1 << 23, (1 << 9) | 1, 1 << 61])
    by_name = catalog.is_set("STARFLAG", values, ["PERSIST_HIGH", "suspect_rotation"])
    assert by_name.tolist() == catalog.is_set("STARFLAG", values, [9, 23]).tolist()
    assert by_name.tolist() == [False, True, True, True, False]
    assert catalog.is_set("MEMBERFLAG", values, ["CARINA"]).tolist() == [False] * 4 + [True]
    assert catalog.is_set("other", np.array([-(2**63)]), [63]).tolist() == [True]
    narrow = np.array([-(2**31)], dtype=">i4")
    assert [catalog.is_set("other", narrow, [b]).item() for b in (31, 32)] == [True, False]
    assert catalog.is_set("EXTRATARG", values, ["NOT_MAIN", "DUPLICATE"]).tolist() == [
        False,
        False,
        False,
        True,
        False,
    ]
    with pytest.raises(ValueError, match="no bit 'PERSIST_HIHG'; did you mean 'PERSIST_HIGH'"):
        catalog.bit("STARFLAG", "PERSIST_HIHG")
    with pytest.raises(ValueError, match="must be a name or a number 0 to 63, not 64"):
        catalog.bit("STARFLAG", 64)
    with pytest.raises(ValueError, match="have no names here"):
        catalog.bit("flag_sp", "BAD")
    with pytest.raises(ValueError, match="missing or broken for 1 of 2"):
        catalog.is_set("STARFLAG", np.array([0.0, np.nan]), [1])


def test_poor_parallaxes_are_counted(survey):
    sample = catalog.load(
        {
            "preset": "apogee-dr17",
            "files": files(survey),
            "selection": {"parallax_over_error": 30},
        }
    )
    assert sample.flow["parallax / error >= 30"].removed > 0
    ratio = sample.stars.values("parallax") / sample.stars.values("parallax_error")
    assert ratio.min() >= 30


def test_a_published_selection_brings_its_frame_and_flags(survey):
    settings = {"preset": "apogee-dr17", "files": files(survey)}
    whole = catalog.load(settings | {"selection": {"preset": "horta24"}})
    assert whole.frame.name == "horta24" and "STARFLAG BAD_PIXELS" in str(whole.flow)
    own = catalog.load(
        settings | {"selection": {"preset": "horta24"}, "frame": {"preset": "tutorial"}}
    )
    assert own.frame.name == "tutorial"
    assert np.all(whole.places.L_z < 0)
    narrow = {"preset": "horta24", "R_g": ["8 kpc", "9 kpc"]}
    ring = catalog.load(settings | {"selection": narrow})
    R_g = catalog.SELECTIONS["horta24"].rotation.guiding_radius(ring.places.L_z, ring.places.R)
    assert np.all((R_g > 8 * u.kpc) & (R_g < 9 * u.kpc))
    assert ring.flow["8 < R_g < 9 kpc"].removed > 0


def test_scatter_of_the_label_as_asked_for(survey):
    settings = {"preset": "apogee-dr17", "files": files(survey)}
    local = catalog.load(settings)
    assert local.binned["s"].shape == local.binned["label"].shape
    assert np.ndim(catalog.load(settings | {"label": {"scatter": "global"}}).binned["s"]) == 0
    assert catalog.load(settings | {"label": {"scatter": 0.07}}).binned["s"] == 0.07


def test_selections_of_papers(survey):
    for name, cut in (("horta24", "polygon in FE_H, MG_FE"), ("price-whelan25", "1.5 < LOGG < 3")):
        sample = catalog.load(
            {
                "preset": "apogee-dr17",
                "files": files(survey),
                "selection": {"preset": name},
                "frame": {"preset": "horta24"},
                "flags": {"preset": name if name == "horta24" else "tutorial"},
            }
        )
        assert sample.flow[cut].removed > 0 and sample.frame.name == "horta24"


def test_bad_frames_curves_and_selections():
    with pytest.raises(UnitError, match="R0 has no unit"):
        catalog.Frame(8.3)
    with pytest.raises(ValueError, match="v_sun must be three finite speeds"):
        catalog.Frame(8.3 * u.kpc, v_sun=(1, 2) * KMS)
    with pytest.raises(ValueError, match="R0 must be positive"):
        catalog.Frame(-8 * u.kpc)
    with pytest.raises(ValueError, match="at must be 'guiding' or 'star'"):
        catalog.RotationCurve(at="sun")
    with pytest.raises(ValueError, match="dR_max must be positive"):
        catalog.selection("tutorial", dR_max=-1 * u.kpc)
    for R in (8 * u.kpc, (9 * u.kpc, 8 * u.kpc)):
        with pytest.raises(ValueError, match="R must be a range"):
            catalog.selection("tutorial", R=R)
    with pytest.raises(ValueError, match="no selection 'tutorail'"):
        catalog.selection("tutorail")
    with pytest.raises(ValueError, match="three or more vertices"):
        catalog.Selection(polygon=((0, 0), (1, 1)))
    frame, one = catalog.FRAMES["tutorial"], np.ones(2)
    with pytest.raises(UnitError, match="ra has no unit"):
        catalog.to_galactocentric(frame, one, one, one, one, one, one)
    columns = [one * x for x in (u.deg, u.deg, u.mas, u.mas / u.yr, u.mas / u.yr, KMS)]
    with pytest.raises(ValueError, match="must have equal length"):
        catalog.to_galactocentric(frame, *columns[:5], np.ones(3) * KMS)
    with pytest.raises(ValueError, match="errors must have 'parallax'"):
        catalog.vertical_errors(frame, *columns, errors={})
    good = dict(zip(("parallax", "pmra", "pmdec", "radial_velocity"), columns[2:], strict=True))
    with pytest.raises(ValueError, match="must lie between -1 and 1"):
        catalog.vertical_errors(frame, *columns, good, {"parallax_pmra_corr": one * 2})
    none = catalog.to_galactocentric(frame, *columns[:2], -one * u.mas, *columns[3:])
    assert np.isnan(none.z).all() and np.isnan(none.v_R).all()


# -- configurations --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"frames": {}}, r"unknown section \[frames\]; did you mean 'frame'"),
        ({"frame": {"R_0": "8 kpc"}}, "unknown key frame.R_0; did you mean 'R0'"),
        ({"outptu": "x"}, "unknown key outptu; did you mean 'output'"),
        ({"frame": {"R0": 8.3}}, "frame.R0 has no unit: 8.3 was given"),
        ({"frame": {"R0": "8.3"}}, "frame.R0 has no unit"),
        ({"frame": {"R0": "8.3 km / s"}}, "frame.R0 must have a unit like kpc"),
        ({"frame": {"R0": "near"}}, "frame.R0 must be a number with a unit"),
        ({"frame": {"preset": "horta"}}, "frame.preset is 'horta'.*did you mean 'horta24'"),
        ({"bins": {"n_z": 10.5}}, "bins.n_z of .* must be a whole number, but 10.5"),
        ({"bins": {"n_z": True}}, "must be a whole number, but True"),
        ({"bins": {"z_max": "-1 kpc"}}, "bins.z_max must be positive"),
        ({"label": {"scatter": "lokal"}}, "must be 'local', 'global' or a number, but 'lokal'"),
        ({"label": {"scatter": True}}, "label.scatter of .* must be a text or a number, but True"),
        ({"selection": {"prograde": 1}}, "selection.prograde of .* must be true or false"),
        (
            {"selection": {"R_g": "8 kpc"}},
            "selection.R_g of .* must be a list, but .8 kpc. was given",
        ),
        ({"flags": {"STARFLAG": ["BAD"]}}, "STARFLAG has no bit 'BAD'"),
        ({"flags": {"STARFLAG": 9}}, "flags.STARFLAG must be a list of bits"),
        ({"ranges": {"TEFF": [4000]}}, "ranges.TEFF must be a list of two numbers"),
        ({"units": {"ra": "degs"}}, "units.ra is 'degs', which is no unit"),
        ({"files": "stars.fits"}, "files of .* must be a list, but 'stars.fits'"),
        ({"preset": "apogee"}, "preset is 'apogee'"),
        ({"files": [1, "b.fits"]}, r"files\[0\] of .* must be a text, but 1"),
        ({"label": {"name": ""}}, "label.name of .* must not be empty"),
        ({"flags": {"STARFLAG": [[1]]}}, "bit of STARFLAG must be a name or a number 0 to 63"),
        ({"flags": {"STARFLAG": [float("nan")]}}, "must be a name or a number 0 to 63, not nan"),
        ({"selection": {"polygon": [1, 2]}}, r"selection.polygon\[0\] of .* must be a list"),
        ({"selection": {"polygon": [[0, 0], [1], [2, 2]]}}, "three or more vertices"),
        ({"selection": {"polygon_columns": [1]}}, r"polygon_columns\[0\] of .* must be a text"),
        ({"selection": {"z_max": ["1 kpc"]}}, "selection.z_max must be a number with a unit|unit"),
        ({"join": {"keys": [1, 2]}}, r"join.keys\[0\] of .* must be a text"),
        ({"bins": {"n_z": 2**62}}, "at most 1000000 pixels"),
        ({"ranges": 3}, r"ranges of .* must be a section, \[ranges\]"),
        ({"label": {"name": 3}}, "label.name of .* must be a text"),
        ({"label": {"name": "FE_H", "error": "FE_H"}}, "label.error must be another column than"),
        ({"label": {"scatter": -0.1}}, "label.scatter must be from 0 to 1,000,000, but -0.1"),
        ({"label": {"scatter": float("nan")}}, "label.scatter of .* must be a number, but nan"),
        ({"label": {"scatter": 1e300}}, "label.scatter must be from 0"),
        ({"label": {3: 4}}, "unknown key label.3"),
        ({3: 4}, "has an unknown key 3"),
        ({"frame": {"R0": "nan kpc"}}, "frame.R0 must be one finite number below .* but nan kpc"),
        ({"frame": {"R0": "1e300 kpc"}}, "frame.R0 must be one finite number below 1,000,000 kpc"),
        ({"frame": {"R0": "-1 kpc"}}, "frame.R0 must be positive and larger"),
        ({"frame": {"galcen_dec": "100 deg"}}, "frame.galcen_dec must lie between -90 and 90"),
        ({"frame": {"v_sun": ["1 km/s"]}}, "frame.v_sun must be three finite speeds"),
        ({"bins": {"z_max": "inf kpc"}}, "bins.z_max must be one finite number"),
        ({"bins": {"z_max": "[1, 2] kpc"}}, "bins.z_max must be one finite number"),
        ({"selection": {"R": ["9 kpc", "7 kpc"]}}, "selection.R must be a range"),
        ({"selection": {"R": ["nan kpc", "7 kpc"]}}, r"selection.R\[0\] must be one finite number"),
        ({"selection": {"v_circ": "-2 km / s"}}, "selection.v_circ must be positive"),
        ({"selection": {"v_circ_at": "sun"}}, "selection.v_circ_at must be 'guiding' or 'star'"),
        ({"selection": {"v_circ_radius": "nan kpc"}}, "selection.v_circ_radius must be one finite"),
        ({"selection": {"parallax_over_error": -5}}, "parallax_over_error must be positive"),
        ({"selection": {"Lz_spread": float("nan")}}, "selection.Lz_spread of .* but nan was"),
        ({"selection": {"polygon": [[0, 0], [1, float("nan")], [1, 1]]}}, r"polygon\[1\]\[1\]"),
        ({"ranges": {"TEFF": [5000, 4000]}}, "ranges.TEFF must be .low, high. with low < high"),
        ({"ranges": {"TEFF": [True, 4000]}}, "ranges.TEFF must be a list of two numbers"),
        ({"ranges": {"TEFF": [0, 10**400]}}, "ranges.TEFF must be a list of two numbers"),
        ({"missing": [float("nan")]}, r"missing\[0\] of .* must be a number, but nan"),
        ({"missing": [10**400]}, r"missing\[0\] of .* must be a number"),
        ({"units": {"ra": 3}}, "units.ra is 3, which is no unit"),
        ({"files": ["", "b.fits"]}, r"files\[0\] must be a path, but ''"),
        ({"output": ""}, "output must be a path, but ''"),
        ({"join": {"hdus": [-1, 1]}}, "join.hdus must be numbers from 0 or names"),
        ({"join": {"unique": "", "best": "SNR"}}, "join.best chooses .* give join.unique"),
        ({"columns": {"ra": "dec"}}, "must be another column than that of"),
        (
            {"columns": {"pmra_error": "pmra"}},
            "columns.pmra_error must be another column than that",
        ),
    ],
)
def test_bad_configurations(sections, message):
    good = {"preset": "apogee-dr17", "files": ["a.fits", "b.fits"]}
    with pytest.raises(ValueError, match=message):
        catalog.read_config(good | sections)


def test_configurations_of_python_objects():
    """Quantities, tuples, paths and NumPy's numbers are what they are in a file."""
    written = {
        "files": ["a.fits"],
        "label": {"name": "x", "scatter": 0.1},
        "frame": {"v_sun": ["11 km / s", "240 km / s", "7 km / s"]},
        "selection": {"R": ["7 kpc", "inf kpc"]},
        "bins": {"z_max": "1 kpc", "n_z": 4},
        "ranges": {"snr": [10, 300]},
    }
    python = {
        "files": (Path("a.fits"),),
        "label": {"name": "x", "scatter": np.float64(0.1)},
        "frame": {"v_sun": (11, 240, 7) * KMS},
        "selection": {"R": (7 * u.kpc, np.inf * u.kpc)},
        "bins": {"z_max": 1 * u.kpc, "n_z": np.int64(4)},
        "ranges": {"snr": np.array([10.0, 300.0])},
    }
    one, two = (catalog.read_config(given) for given in (written, python))
    for name in ("files", "label", "scatter", "frame"):
        assert getattr(one, name) == getattr(two, name)
    assert str(one.selection) == str(two.selection)
    assert all(np.array_equal(one.bins[k], two.bins[k]) for k in one.bins)


def test_configurations_on_file(tmp_path):
    path = tmp_path / "config.toml"
    with pytest.raises(FileNotFoundError, match="no configuration"):
        catalog.read_config(path)
    path.write_text("files = [")
    with pytest.raises(ValueError, match="no readable TOML file"):
        catalog.read_config(path)
    with pytest.raises(ValueError, match="must name its files"):
        catalog.read_config({"preset": "apogee-dr17"})
    with pytest.raises(ValueError, match="must name the label"):
        catalog.read_config({"files": ["a.fits"]})


@pytest.mark.parametrize("name", list(catalog.PRESETS))
def test_templates_are_their_presets_defaults(name, tmp_path):
    """A template says what an empty configuration of its preset means."""
    path = tmp_path / "config.toml"
    path.write_text(catalog.template(name))
    written = catalog.read_config(path)
    text = re.sub(r"^# (\w+ = )(?!.*# an example)", r"\1", path.read_text(), flags=re.MULTILINE)
    path.write_text(text)
    found = catalog.read_config(path)
    assert str(written.frame) == str(replace(found.frame, name=written.frame.name))
    assert str(written.selection) == str(found.selection)
    given = {"preset": name, "files": ["a"]}
    label = {} if catalog.PRESETS[name].label else {"label": {"name": "mg_fe", "error": "e"}}
    default = catalog.read_config(given | label)
    assert str(written.frame) == str(default.frame) and found.scatter == default.scatter
    assert {k: list(v) for k, v in found.flags.items()} == {
        k: list(v) for k, v in default.flags.items()
    }
    assert str(found.selection) == str(default.selection)
    assert all(np.array_equal(found.bins[k], default.bins[k]) for k in found.bins)
    with pytest.raises(ValueError, match="no preset 'none'"):
        catalog.template("none")


# -- what is kept ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample(survey):
    return catalog.load({"preset": "apogee-dr17", "files": files(survey)})


def test_a_sample_on_disk_is_what_it_was(sample, tmp_path):
    out = write_sample(sample, tmp_path / "out")
    assert [f.name for f in out] == ["cuts.ecsv", "map.csv", "places.png", "stars.parquet"]
    stored = open_table(tmp_path / "out" / "stars.parquet")
    assert stored.units["v_z"] == KMS and stored.units["z_err"] == u.kpc
    assert catalog.Frame.from_dict(stored.meta["frame"]) == sample.frame
    assert stored.meta["config"]["preset"] == "apogee-dr17"
    read = stored.read(["z", "source_id", "APOGEE_ID"])
    np.testing.assert_array_equal(read["z"], sample.places.z.value)
    np.testing.assert_array_equal(read["source_id"], sample.stars.columns["source_id"])
    cuts = Table.read(tmp_path / "out" / "cuts.ecsv")
    assert cuts["left"].tolist() == [step.left for step in sample.flow]
    assert str(sample.flow).count("\n") == len(sample.flow)
    assert sample.table.meta["frame"]["R0"] == "8.3 kpc" and len(sample.table) == len(sample)


def test_maps_round_trip(sample, tmp_path):
    path = tmp_path / "map.csv"
    oti.data.write_map(sample.binned, path, "MG_FE", str(sample.frame))
    read = oti.data.read_map(path)
    filled = sample.binned["counts"] > 0
    assert read["name"] == "MG_FE" and read["frame"] == str(sample.frame)
    for name in ("pos", "vel", "pos_mean", "vel_mean", "label", "label_err", "counts"):
        a, b = read[name], sample.binned[name][filled]
        unit = getattr(a, "unit", None)
        # 17 figures: only the conversion of units rounds.
        a, b = (a.value, b.to_value(unit)) if unit else (a, b)
        np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-14)
    with pytest.raises(ValueError, match="name, the label.s column, must be a text"):
        oti.data.write_map(sample.binned, path, "Mg,Fe")
    with pytest.raises(ValueError, match="no filled pixel"):
        oti.data.write_map(sample.binned | {"counts": 0 * filled}, path)


def test_a_full_disk_leaves_nothing(sample, tmp_path):
    """A limit on the size of files stands for the disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError):
            write_sample(sample, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_figures_of_places(sample):
    figure, axes = oti.plot.plot_places(sample.places)
    assert [ax.get_ylabel() for ax in axes] == ["y [kpc]", "z [kpc]", "z [kpc]"]
    assert axes[0].lines[0].get_xdata().size == len(sample)
    with pytest.raises(ValueError, match="axes must be three"):
        oti.plot.plot_places(sample.places, axes[:2])
    none = sample.places.take(np.arange(0))
    with pytest.raises(ValueError, match="at least one star"):
        oti.plot.plot_places(none)


# -- the mock ----------------------------------------------------------------------------------


def test_mocks_are_the_same_for_a_seed(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    one, two = (oti.mock.write_apogee(tmp_path / name, 300, seed=1) for name in "ab")
    for a, b in zip(one.files, two.files, strict=True):
        assert a.read_bytes() == b.read_bytes()
    with fits.open(one.allstar) as file:
        file.verify("exception")
        assert file[1].columns["PARAMFLAG"].format == "9K" and len(file) == 3
    with pytest.raises(ValueError, match="at least 100"):
        oti.mock.write_apogee(tmp_path, 10)
    with pytest.raises(ValueError, match="contamination must lie"):
        oti.mock.write_apogee(tmp_path, 300, contamination=2)


def test_a_published_window_follows_the_frame(tmp_path):
    """Within 1 kpc of R0, whatever R0 is; a window of one's own stays."""
    (tmp_path / "stars.csv").write_text("ra,dec\n1,2\n")
    tree = {
        "files": [str(tmp_path / "stars.csv")],
        "label": {"name": "mg_fe"},
        "selection": {"preset": "tutorial"},
        "frame": {
            "R0": "8.122 kpc",
            "z_sun": "20.8 pc",
            "v_sun": ["12.9 km/s", "245.6 km/s", "7.78 km/s"],
        },
    }
    low, high = catalog.read_config(tree).selection.R
    assert (low.value, high.value) == pytest.approx((7.122, 9.122))
    own = tree | {"selection": {"preset": "tutorial", "R": ["7 kpc", "9 kpc"]}}
    assert [x.value for x in catalog.read_config(own).selection.R] == [7, 9]
    published = {k: v for k, v in tree.items() if k != "frame"} | {"frame": {"preset": "tutorial"}}
    assert [x.value for x in catalog.read_config(published).selection.R] == pytest.approx(
        [7.3, 9.3]
    )
    with pytest.raises(ValueError, match="label.detrend must be 'R_g' or 'none'"):
        catalog.read_config(tree | {"label": {"name": "mg_fe", "detrend": "R"}})
