"""Catalogues in chunks give the map of the same stars in memory, whoever reads them."""

import os
import signal

import astropy.units as u
import numpy as np
import pytest

import torusimaging as oti
from torusimaging.files.formats import TableError
from torusimaging.files.open import write_table
from torusimaging.units import UnitError

BINS = {"pos": np.linspace(-1, 1, 11) * u.kpc, "vel": np.linspace(-50, 50, 9) * u.km / u.s}
COLUMNS = {"pos": "z", "vel": "vz", "label": "mgfe", "label_err": "mgfe_err"}
SAME = ("counts", "label", "label_err", "pos_mean", "vel_mean", "s")
SIZES = (5000, 1, 2999)
EDGES = [0, 1, 0.5] * u.kpc


@pytest.fixture(scope="module")
def stars():
    rng = np.random.default_rng(5)
    n = sum(SIZES)
    out = {
        "z": rng.normal(0, 0.5, n),
        "vz": rng.normal(0, 25, n),
        "mgfe_err": rng.uniform(0.01, 0.1, n),
    }
    out["mgfe"] = 0.2 * out["z"] ** 2 + rng.normal(0, np.hypot(0.05, out["mgfe_err"]))
    out["mgfe"][::97] = np.nan
    return out


@pytest.fixture(scope="module")
def folder(stars, tmp_path_factory):
    """The stars in three files, one in other units."""
    folder = tmp_path_factory.mktemp("stars")
    start = 0
    for i, n in enumerate(SIZES):
        part = {name: values[start : start + n] for name, values in stars.items()}
        part |= {"z": part["z"] * u.kpc, "vz": part["vz"] * u.km / u.s}
        if i == 2:
            part |= {"z": part["z"].to(u.pc), "vz": part["vz"].to(u.kpc / u.Myr)}
        write_table(folder / f"part-{i}.parquet", part)
        start += n
    return folder


def in_memory(stars, **options):
    return oti.data.get_binned_label(
        stars["z"] * u.kpc, stars["vz"] * u.km / u.s, stars["mgfe"], BINS,
        label_err=stars["mgfe_err"], **options,
    )  # fmt: skip


def assert_same(a, b, rtol):
    for name in SAME:
        np.testing.assert_allclose(a[name], b[name], rtol=rtol, atol=1e-14, err_msg=name)
    for name in ("n_stars", "n_not_finite", "n_outside"):
        assert a[name] == b[name], name


@pytest.mark.parametrize("s", [None, 0.05, "local"])
@pytest.mark.parametrize("rows", [100, 4096, 1_000_000])
def test_the_map_is_that_of_the_stars_in_memory(stars, folder, s, rows):
    """To 1e-12: sums of a few thousand terms in another order, units converted to and fro."""
    out = oti.data.bin_files(folder, BINS, COLUMNS, s=s, rows=rows)
    assert_same(out, in_memory(stars, s=s), 1e-12)
    assert out["files"].read == 3 and not out["files"].bad


def test_without_errors(stars, folder):
    columns = {k: v for k, v in COLUMNS.items() if k != "label_err"}
    out = oti.data.bin_files(folder, BINS, columns, rows=1000)
    assert_same(out, in_memory(stars | {"mgfe_err": None}), 1e-12)


def test_workers_do_not_matter(folder):
    """Not to the last bit, for a given chunking."""
    one, four = (oti.data.bin_files(folder, BINS, COLUMNS, rows=300, workers=n) for n in (1, 4))
    for name in SAME:
        np.testing.assert_array_equal(one[name], four[name])


@pytest.mark.parametrize("ending", ["csv", "fits", "ecsv"])
def test_other_formats(stars, tmp_path, ending):
    from astropy.table import Table

    path = tmp_path / f"stars.{ending}"
    Table(stars).write(path, format={"csv": "ascii.csv", "ecsv": "ascii.ecsv"}.get(ending, ending))
    units = {"z": u.kpc, "vz": u.km / u.s}
    out = oti.data.bin_files(path, BINS, COLUMNS, column_units=units, rows=777)
    assert_same(out, in_memory(stars), 1e-12)


def test_a_transform(stars, folder):
    """What is binned may be made of the columns, chunk by chunk."""

    def upside_down(read):
        return -read["z"] * u.kpc, -read["vz"] * u.km / u.s, read["mgfe"], read["mgfe_err"]

    paths = [folder / "part-0.parquet", folder / "part-1.parquet"]
    out = oti.data.bin_files(paths, BINS, ["z", "vz", "mgfe", "mgfe_err"], upside_down)
    few = {name: values[:5001] for name, values in stars.items()}
    expected = in_memory(few | {"z": -few["z"], "vz": -few["vz"]})
    assert_same(out, expected, 1e-12)


def test_a_cluster_that_loses_a_worker(stars, folder):
    """The sums are those of threads, bit by bit, when a worker is killed under way."""
    from distributed import Client, LocalCluster

    killed = []

    def slow(read):
        import time

        time.sleep(0.05)
        return read["z"] * u.kpc, read["vz"] * u.km / u.s, read["mgfe"], read["mgfe_err"]

    paths = [folder / "part-0.parquet", folder / "part-1.parquet"]
    arguments = (paths, BINS, ["z", "vz", "mgfe", "mgfe_err"], slow)
    options = {"s": 0.05, "rows": 250}
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    )
    with cluster, Client(cluster) as client:
        pids = list(client.run(os.getpid).values())
        from threading import Timer

        def kill():
            killed.append(pids[0])
            os.kill(pids[0], signal.SIGKILL)

        Timer(0.3, kill).start()
        out = oti.data.bin_files(*arguments, client=client, **options)
        after = client.run(os.getpid).values()
    assert killed and killed[0] not in after
    expected = oti.data.bin_files(*arguments, **options)
    for name in SAME:
        np.testing.assert_array_equal(out[name], expected[name])


def test_a_hats_catalogue(stars, tmp_path):
    """As a folder, and opened by LSDB: margins and statistics are no stars."""
    lsdb = pytest.importorskip("lsdb", reason="the extra 'scale' is not installed")
    import pandas as pd

    rng = np.random.default_rng(1)
    sky = {"ra": rng.uniform(0, 360, sum(SIZES)), "dec": rng.uniform(-80, 80, sum(SIZES))}
    catalogue = lsdb.from_dataframe(
        pd.DataFrame(stars | sky), ra_column="ra", dec_column="dec", margin_threshold=5000
    )
    catalogue.write_catalog(tmp_path / "hats")
    units = {"z": u.kpc, "vz": u.km / u.s}
    expected = in_memory(stars)
    for given in (tmp_path / "hats", lsdb.open_catalog(tmp_path / "hats")):
        out = oti.data.bin_files(given, BINS, COLUMNS, column_units=units, rows=500)
        assert_same(out, expected, 1e-12)
        assert out["files"].read == catalogue.npartitions
    few = lsdb.open_catalog(tmp_path / "hats").query("z > 0")
    out = oti.data.bin_files(few, BINS, COLUMNS, column_units=units)
    assert out["n_stars"] == np.sum(stars["z"] > 0)


def test_a_bad_file_counts_nothing(stars, folder, tmp_path):
    """It is named; on request the others are binned, even where it breaks in its middle."""
    for name in ("part-0.parquet", "part-2.parquet"):
        os.link(folder / name, tmp_path / name)
    whole = (folder / "part-0.parquet").read_bytes()
    middle = whole.replace(whole[3000:3400], bytes(400), 1)
    for name, content in (("no.parquet", b"PAR1junk"), ("part-1.parquet", middle)):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match="no.parquet cannot be read as a Parquet file"):
        oti.data.bin_files(tmp_path, BINS, COLUMNS)
    try:
        out = oti.data.bin_files(tmp_path, BINS, COLUMNS, skip_bad_files=True, rows=500)
    finally:
        (tmp_path / "no.parquet").unlink()
    assert out["files"].read + len(out["files"].bad) == 4
    assert any("no.parquet" in path for path in out["files"].bad)
    (tmp_path / "bad.csv").write_text("z,vz\n1,2\n")
    with pytest.raises(TableError, match="no column 'mgfe'"):
        oti.data.bin_files(tmp_path / "bad.csv", BINS, COLUMNS)
    with pytest.raises(ValueError, match="none of 1 files does, 1 could not be read"):
        oti.data.bin_files(tmp_path / "bad.csv", BINS, COLUMNS, skip_bad_files=True)


def test_labels_in_other_units_are_converted(stars, tmp_path):
    """Ages in Gyr and Myr, their errors in either: all in the first file's unit."""
    half, count = slice(0, 4000), len(stars["z"])
    for i, (cut, unit, other) in enumerate(
        ((half, u.Gyr, u.Myr), (slice(4000, count), u.Myr, u.Gyr))
    ):
        part = {name: values[cut] for name, values in stars.items()}
        part |= {"z": part["z"] * u.kpc, "vz": part["vz"] * u.km / u.s}
        part["mgfe"] = (part["mgfe"] * u.Gyr).to(unit)
        part["mgfe_err"] = (part["mgfe_err"] * u.Gyr).to(other)
        write_table(tmp_path / f"{i}.parquet", part)
    out = oti.data.bin_files(tmp_path, BINS, COLUMNS)
    assert out["label"].unit == out["label_err"].unit == out["s"].unit == u.Gyr
    plain = {name: out[name].value for name in ("label", "label_err", "s")}
    assert_same(out | plain, in_memory(stars), 1e-10)
    notes = " ".join(out["files"].notes)
    assert "1.parquet: 'mgfe' was converted from Myr; in" in notes and "it is in Gyr" in notes
    write_table(tmp_path / "2.parquet", part | {"mgfe_err": part["mgfe_err"].value * u.kpc})
    with pytest.raises(UnitError, match="'mgfe_err' of .*2.parquet must have a unit like Gyr"):
        oti.data.bin_files(tmp_path, BINS, COLUMNS)


def test_a_file_that_changes_between_passes_is_refused(folder, tmp_path):
    path = tmp_path / "part.parquet"
    path.write_bytes((folder / "part-0.parquet").read_bytes())
    calls = []

    def columns(read):
        calls.append(1)
        if len(calls) == 2:
            path.write_bytes((folder / "part-2.parquet").read_bytes())
        return read["z"] * u.kpc, read["vz"] * u.km / u.s, read["mgfe"], read["mgfe_err"]

    with pytest.raises(TableError, match="part.parquet has changed while it was read"):
        oti.data.bin_files(path, BINS, list(COLUMNS.values()), columns, workers=1)


def test_marks_of_missing_labels(stars):
    label = np.where(np.isnan(stars["mgfe"]), -9999.0, stars["mgfe"])
    assert_same(in_memory(stars | {"mgfe": label}), in_memory(stars), 0)


def test_marks_of_missing_labels_and_errors_in_files(stars, tmp_path):
    """As in memory; in single precision -9999.99 is another number than in double."""
    marked = {k: x.astype("f4") for k, x in stars.items()}
    marked["mgfe"][:4], marked["mgfe_err"][2:6] = -9999.99, -9999
    marked["mgfe_err"][0] = -1
    columns = marked | {"z": stars["z"] * u.kpc, "vz": stars["vz"] * u.km / u.s}
    path = write_table(tmp_path / "a.parquet", columns)
    want = in_memory({k: x[6:] for k, x in marked.items()})
    out = oti.data.bin_files(path, BINS, COLUMNS)
    missing = int(np.isnan(marked["mgfe"][6:]).sum()) + 6
    assert out["n_not_finite"] == missing == want["n_not_finite"] + 6
    np.testing.assert_allclose(out["label"], want["label"], rtol=1e-5, atol=1e-6)
    found = oti.data.bin_files(
        path, BINS, list(COLUMNS.values()),
        lambda x: (x["z"] * u.kpc, x["vz"] * u.km / u.s, x["mgfe"], x["mgfe_err"]),
    )  # fmt: skip
    assert found["n_not_finite"] == missing
    with pytest.raises(
        TableError, match="label_err must not be negative.* the numbers that `missi"
    ):
        oti.data.bin_files(path, BINS, COLUMNS, missing=[-9999.99])
    other = oti.data.bin_files(path, BINS, COLUMNS, missing=[-9999.99, -9999, -1])
    assert other["n_not_finite"] == missing
    for bad in ("none", [None], {}):
        with pytest.raises(ValueError, match="missing must be numbers"):
            oti.data.bin_files(path, BINS, COLUMNS, missing=bad)


def test_a_label_that_is_a_mark_may_be_one(stars, tmp_path):
    ages = stars | {"mgfe": 5000 * stars["mgfe"], "mgfe_err": 5000 * stars["mgfe_err"]}
    ages["mgfe"][1] = -999
    columns = ages | {"z": stars["z"] * u.kpc, "vz": stars["vz"] * u.km / u.s}
    path = write_table(tmp_path / "a.parquet", columns)
    n = in_memory(ages)["n_not_finite"]
    assert oti.data.bin_files(path, BINS, COLUMNS, missing=())["n_not_finite"] == n
    assert oti.data.bin_files(path, BINS, COLUMNS)["n_not_finite"] == n + 1


def test_one_files_label_has_a_unit_and_anothers_none(folder, stars, tmp_path):
    """Which unit a plain number has is not guessed."""
    columns = {k: x[:50] for k, x in stars.items()}
    columns |= {"z": columns["z"] * u.kpc, "vz": columns["vz"] * u.km / u.s}
    write_table(tmp_path / "a.parquet", columns)
    write_table(tmp_path / "b.parquet", columns | {"mgfe": columns["mgfe"] * u.Gyr})
    for paths, other in (("ab", "no unit, .* but has Gyr"), ("ba", "a unit like Gyr, .* has none")):
        with pytest.raises(UnitError, match=f"'mgfe' of .* must have {other}: give column_units"):
            oti.data.bin_files([tmp_path / f"{x}.parquet" for x in paths], BINS, COLUMNS)
    units = {"mgfe": u.Gyr}
    out = oti.data.bin_files(tmp_path, BINS, COLUMNS, column_units=units)
    assert out["label"].unit == u.Gyr and out["files"].notes == []
    write_table(tmp_path / "b.parquet", columns | {"mgfe": columns["mgfe"] * u.dex})
    assert not isinstance(oti.data.bin_files(tmp_path, BINS, COLUMNS)["label"], u.Quantity)
    notes = oti.data.bin_files(folder, BINS, COLUMNS)["files"].notes
    assert len(notes) == 2 and "part-2.parquet: 'z' was converted from pc; in" in notes[0]


def test_an_error_without_a_unit_has_its_labels(stars, tmp_path):
    ages = {k: x[:3000] for k, x in stars.items()}
    columns = ages | {"z": ages["z"] * u.kpc, "vz": ages["vz"] * u.km / u.s}
    write_table(
        tmp_path / "a.parquet",
        {k: x[:9] for k, x in columns.items()} | {"mgfe": ages["mgfe"][:9] * u.Gyr},
    )
    rest = {k: x[9:] for k, x in columns.items()}
    rest |= {"mgfe": 1e3 * rest["mgfe"] * u.Myr, "mgfe_err": 1e3 * rest["mgfe_err"]}
    write_table(tmp_path / "b.parquet", rest)
    out, want = oti.data.bin_files(tmp_path, BINS, COLUMNS), in_memory(ages)
    np.testing.assert_allclose(out["label_err"].to_value(u.Gyr), want["label_err"], rtol=1e-10)


def test_units_out_of_a_transform_are_one(folder):
    def ages(read):
        unit = u.Gyr if read["z"].size > 1 else u.Myr
        place = read["z"] * u.kpc, read["vz"] * u.km / u.s
        return *place, read["mgfe"] * unit, read["mgfe_err"] * unit

    with pytest.raises(ValueError, match="label must have one unit for all stars, but has Gyr and"):
        oti.data.bin_files(folder, BINS, list(COLUMNS.values()), ages, rows=10**6, s=0.05)


@pytest.mark.parametrize("kind", ["copy", "symbolic link", "hard link", "list"])
def test_a_file_that_is_there_twice_is_refused(folder, tmp_path, kind):
    path, other = tmp_path / "a.parquet", tmp_path / "b.parquet"
    path.write_bytes((folder / "part-0.parquet").read_bytes())
    if kind == "copy":
        other.write_bytes(path.read_bytes())
    elif kind == "symbolic link":
        other.symlink_to(path)
    elif kind == "hard link":
        os.link(path, other)
    paths = [path, tmp_path / "." / "a.parquet"] if kind == "list" else tmp_path
    with pytest.raises(ValueError, match=r"[ab].parquet is .*: its stars would count twice"):
        oti.data.bin_files(paths, BINS, COLUMNS)


PARTS = ("R_g_mean", "R_g_part", "R_g_part_err")
GUIDED = COLUMNS | {"R_g": "rg"}


@pytest.fixture(scope="module")
def guided(stars, tmp_path_factory):
    """Guiding radii of the stars, a third unknown, and files with them, one in pc."""
    folder = tmp_path_factory.mktemp("guided")
    rng = np.random.default_rng(8)
    n = sum(SIZES)
    R_g = 8.2 - 0.8 * np.abs(stars["z"]) + 0.5 * rng.normal(size=n)
    R_g[::3], R_g[1::3000] = np.nan, 99999.0
    label = stars["mgfe"] - 0.06 * np.where(R_g < 99, R_g - 8.2, 0.0)
    stars = stars | {"mgfe": np.where(np.isnan(R_g), stars["mgfe"], label)}
    for i, cut in enumerate((slice(0, 5000), slice(5000, n))):
        part = {name: values[cut] for name, values in stars.items()}
        part |= {"z": part["z"] * u.kpc, "vz": part["vz"] * u.km / u.s, "rg": R_g[cut] * u.kpc}
        if i == 1:
            # A mark in the file's own unit.
            pc = part["rg"].to_value(u.pc)
            part["rg"] = np.where(np.isnan(pc), -9999.0, pc) * u.pc
        write_table(folder / f"part-{i}.parquet", part)
    return folder, stars, np.where(R_g < 99, R_g, np.nan)


def within_pixels(stars, R_g):
    """The slope in R_g by least squares with a constant for each pixel, and stars and pixels."""
    used = np.isfinite(R_g) & np.isfinite(stars["mgfe"])
    used &= (np.abs(stars["z"]) < 1) & (np.abs(stars["vz"]) < 50)
    p, v, y, x = (a[used] for a in (stars["z"], stars["vz"], stars["mgfe"], R_g))
    pixel = np.floor((p + 1) * 5).astype(int) * 8 + np.floor((v + 50) / 12.5).astype(int)
    r = np.hypot(p / p.std(), v / v.std())
    constants = (pixel[:, None] == np.unique(pixel)).astype(float)
    found, *_ = np.linalg.lstsq(np.column_stack([x, r, p, v, constants]), y)
    return found[0], used, x, pixel


@pytest.mark.parametrize("detrend", [None, "R_g"])
@pytest.mark.parametrize(("rows", "s"), [(100, 0.05), (4096, None), (1_000_000, "local")])
def test_the_gradient_is_that_of_the_stars_in_memory(guided, rows, s, detrend):
    folder, stars, R_g = guided
    out = oti.data.bin_files(folder, BINS, GUIDED, s=s, rows=rows, detrend=detrend)
    want = in_memory(stars, s=s, R_g=R_g * u.kpc, detrend=detrend)
    assert_same(out, want, 1e-10)
    for name in PARTS[: 1 if detrend else 3]:
        np.testing.assert_allclose(out[name], want[name], rtol=1e-10, atol=1e-14, err_msg=name)
    assert set(out) == set(want) | {"files"} and ("R_g_part" in out) is (detrend is None)
    (*found, scales), (*expected, sd) = out["R_g_gradient"], want["R_g_gradient"]
    np.testing.assert_allclose([*found, *scales], [*expected, *sd], rtol=1e-10)
    known = stars["mgfe"][np.isfinite(R_g)] if detrend else stars["mgfe"]
    assert out["n_stars"] - out["n_not_finite"] == np.isfinite(known).sum()


def test_the_gradient_of_stars_in_files(guided):
    """Against sums over the stars of each pixel, one after the other."""
    folder, stars, R_g = guided
    slope, used, x, pixel = within_pixels(stars, R_g)
    out = oti.data.bin_files(folder, BINS, GUIDED, s=0.05, rows=700)
    gradient = out["R_g_gradient"]
    assert gradient.slope == pytest.approx(slope, rel=1e-9) and gradient.change == 0
    assert abs(slope + 0.06) < 4 * gradient.slope_err < 0.02
    weight = 1 / (0.05**2 + stars["mgfe_err"][used] ** 2)
    for k in range(80):
        here = pixel == k
        mean = np.average(x[here], weights=weight[here])
        assert out["R_g_mean"].ravel()[k].to_value(u.kpc) == pytest.approx(mean, rel=1e-12)
        off = mean - x.mean()
        assert out["R_g_part"].ravel()[k] == pytest.approx(slope * off, rel=1e-8, abs=1e-12)
        error = gradient.slope_err * abs(off)
        assert out["R_g_part_err"].ravel()[k] == pytest.approx(error, rel=1e-8, abs=1e-12)
    # Taken off by hand, of the stars that have a radius.
    level = stars | {"mgfe": stars["mgfe"] - slope * (R_g - x.mean())}
    taken = oti.data.bin_files(folder, BINS, GUIDED, rows=700, detrend="R_g")
    assert_same(taken, in_memory(level), 1e-8)


@pytest.mark.parametrize("detrend", [None, "R_g"])
def test_workers_do_not_matter_to_the_gradient(guided, detrend):
    options = {"rows": 300, "detrend": detrend}
    one, four = (oti.data.bin_files(guided[0], BINS, GUIDED, workers=n, **options) for n in (1, 4))
    for name in SAME + PARTS[: 1 if detrend else 3]:
        np.testing.assert_array_equal(one[name], four[name])
    assert one["R_g_gradient"] == four["R_g_gradient"]


def test_guiding_radii_out_of_a_transform(guided):
    """Labels in a unit: so are the slope and what it adds."""
    folder, stars, R_g = guided

    def ages(read):
        radii = np.where(read["rg"] > 99, np.nan, read["rg"]) * u.kpc
        label = read["mgfe"] * u.Gyr, read["mgfe_err"] * u.Gyr
        return read["z"] * u.kpc, read["vz"] * u.km / u.s, *label, radii

    out = oti.data.bin_files(folder / "part-0.parquet", BINS, list(GUIDED.values()), ages, rows=999)
    few = {name: x[:5000] for name, x in stars.items()}
    want = in_memory(few, R_g=R_g[:5000] * u.kpc)
    assert out["R_g_part"].unit == out["R_g_part_err"].unit == u.Gyr
    for name in PARTS:
        np.testing.assert_allclose(out[name].value, np.array(want[name]), rtol=1e-9, atol=1e-13)


def test_bad_guiding_radii(guided, folder, tmp_path):
    bin_files, first = oti.data.bin_files, guided[0] / "part-0.parquet"
    n, names = 40, list(GUIDED.values())
    rng = np.random.default_rng(2)
    stars = {"z": rng.uniform(-1, 1, n) * u.kpc, "vz": rng.uniform(-50, 50, n) * u.km / u.s}
    stars |= {"mgfe": rng.normal(size=n), "mgfe_err": np.full(n, 0.1)}
    wrong = {
        name: write_table(tmp_path / f"{name}.parquet", stars | {"rg": np.full(n, 8.0) * x})
        for name, x in (
            ("negative", -1 * u.kpc), ("far", 1e3 * u.kpc), ("plain", 1.0), ("speed", u.km / u.s),
            ("none", np.nan * u.kpc), ("one", 1 * u.kpc),
        )
    }  # fmt: skip

    def some(read):
        place = read["z"] * u.kpc, read["vz"] * u.km / u.s, read["mgfe"], read["mgfe_err"]
        return place if read["z"].size < 700 else (*place, read["rg"] * u.kpc)

    def without(read):
        return some({k: x[:600] for k, x in read.items()})

    def taken(path, *transform):
        columns = names if transform else GUIDED
        return lambda: bin_files(path, BINS, columns, *transform, rows=700, detrend="R_g", s=0.1)

    for message, call in (
        ("detrend must be", lambda: bin_files(first, BINS, GUIDED, detrend="L_z")),
        ("name their column", lambda: bin_files(folder, BINS, COLUMNS, detrend="R_g")),
        ("needs the guiding radii: give R_g", taken(first, without)),
        ("all stars or none", lambda: bin_files(first, BINS, names, some, rows=700)),
        ("negative.parquet: R_g must not be negative", taken(wrong["negative"])),
        ("R_g must be radii below 200 kpc, but 40 of 40", taken(wrong["far"])),
        ("plain.parquet states no unit of 'rg'", taken(wrong["plain"])),
        ("speed.parquet: rg must", taken(wrong["speed"])),
        ("needs stars with an R_g and a label", taken(wrong["none"])),
        ("pixels with several stars", taken(wrong["one"])),
        ("no column 'rg'", lambda: bin_files(folder, BINS, GUIDED)),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    few = bin_files(wrong["one"], BINS, GUIDED, s=0.1)
    assert few["R_g_gradient"] is None and not {"R_g_part", "R_g_part_err"} & set(few)


def test_bad_input(folder, tmp_path):
    bin_files, path = oti.data.bin_files, folder / "part-0.parquet"
    plain = write_table(tmp_path / "plain.parquet", {n: np.ones(3) for n in COLUMNS.values()})
    wrong = write_table(
        tmp_path / "wrong.parquet",
        {n: np.ones(3) for n in COLUMNS.values()}
        | {"z": np.ones(3) * u.s, "vz": np.ones(3) * u.km / u.s},
    )
    text = write_table(
        tmp_path / "text.parquet",
        {n: np.ones(3) for n in COLUMNS.values()} | {"mgfe_err": -np.ones(3)},
    )
    units = {"z": u.kpc, "vz": u.km / u.s}
    for message, call in (
        ("rows must be a whole number", lambda: bin_files(path, BINS, COLUMNS, rows=0)),
        ("workers must be a whole number", lambda: bin_files(path, BINS, COLUMNS, workers=-1)),
        ("s must be a number", lambda: bin_files(path, BINS, COLUMNS, s="all")),
        ("'label' is missing", lambda: bin_files(path, BINS, {"pos": "z", "vel": "vz"})),
        ("'weight' was given", lambda: bin_files(path, BINS, COLUMNS | {"weight": "w"})),
        ("must be a list", lambda: bin_files(path, BINS, COLUMNS, transform=lambda x: x)),
        ("must be a dictionary", lambda: bin_files(path, BINS, ["z"])),
        ("states no unit of 'z'", lambda: bin_files(plain, BINS, COLUMNS)),
        ("wrong.parquet: z must have a unit", lambda: bin_files(wrong, BINS, COLUMNS)),
        (
            "text.parquet: label_err must not be",
            lambda: bin_files(text, BINS, COLUMNS, column_units=units),
        ),
        ("no star lies inside", lambda: bin_files(path, BINS | {"pos": [50, 51] * u.kpc}, COLUMNS)),
        (
            "column_units names 'Z', .*did you mean 'z'",
            lambda: bin_files(plain, BINS, COLUMNS, column_units={"Z": u.kpc}),
        ),
        ("must name files or folders, but ''", lambda: bin_files("", BINS, COLUMNS)),
        ("must name files or folders, but 5", lambda: bin_files(5, BINS, COLUMNS)),
        ("must give names, but 3", lambda: bin_files(path, BINS, COLUMNS | {"pos": 3})),
        ("s must be a number", lambda: bin_files(path, BINS, COLUMNS, s=[1])),
        ("must return .pos, vel", lambda: bin_files(path, BINS, ["z"], lambda read: None)),
        ("fails on .*part-0.*KeyError", lambda: bin_files(path, BINS, ["z"], lambda c: c["q"])),
        ("edge 2 is 0.5 after 1", lambda: bin_files(path, BINS | {"pos": EDGES}, COLUMNS)),
        ("client must be", lambda: bin_files(path, BINS, COLUMNS, client="tcp://127.0.0.1:1")),
    ):
        with pytest.raises(ValueError, match=message):
            call()
