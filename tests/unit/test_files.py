"""Columns of table files: the same from every format, and damaged files named."""

import gzip
import os

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Column, Table
from astropy.utils.masked import Masked

import torusimaging as oti
from torusimaging.files.formats import TableError
from torusimaging.files.open import expand, open_table, write_table

N = 2500
RNG = np.random.default_rng(0)
TRUE = {
    "z": RNG.normal(0, 0.3, N).astype(np.float32),
    "id": RNG.integers(1, 2**62, N),
    "name": np.array([f"2M{i:05d}" for i in range(N)]),
    "good": RNG.random(N) > 0.5,
}


STREAM = b"""<VOTABLE version="1.4"><RESOURCE><TABLE><FIELD name="a" datatype="double"/><DATA>
<BINARY><STREAM href="file:///etc/hostname"/></BINARY></DATA></TABLE></RESOURCE></VOTABLE>"""


def write_fits(path):
    columns = [
        fits.Column("z", "E", array=TRUE["z"], unit="kpc"),
        fits.Column("id", "K", array=TRUE["id"]),
        fits.Column("name", "12A", array=TRUE["name"]),
        fits.Column("good", "L", array=TRUE["good"]),
        fits.Column("flag", "J", array=np.arange(N) % 7, null=3),
        fits.Column("snr", "I", array=np.arange(N) % 300),
        fits.Column("unsigned", "I", array=(np.arange(N) + 40_000).astype("u2"), bzero=32768),
        fits.Column("vector", "3E", array=np.ones((N, 3), "f4")),
    ]
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="STARS")]
    fits.HDUList([*hdus, fits.ImageHDU(np.zeros((2, 2)), name="PICTURE")]).writeto(path)
    if path.suffix == ".fits":
        for key, value in (("TSCAL6", 0.5), ("TZERO6", 10.0)):
            fits.setval(path, key, value=value, ext=1)
    return path


def write_other(path):
    table = Table(TRUE)
    table["z"].unit = u.kpc
    if path.suffix == ".parquet":
        return write_table(path, TRUE | {"z": TRUE["z"] * u.kpc}, {"frame": "test"})
    if path.suffix == ".csv":
        table.write(path, format="ascii.csv")
    elif path.suffix == ".ecsv":
        table.write(path, format="ascii.ecsv")
    else:
        table.write(path, format="votable")
    return path


@pytest.mark.parametrize("ending", ["fits", "fits.gz", "parquet", "csv", "ecsv", "vot"])
def test_every_format_gives_the_same(tmp_path, ending):
    path = tmp_path / f"stars.{ending}"
    file = open_table(write_fits(path) if "fits" in ending else write_other(path))
    assert file.units["z"] == (None if ending == "csv" else u.kpc)
    whole = file.read(["z", "id", "name"])
    assert whole["z"].dtype.isnative and whole["id"].dtype.kind == "i"
    np.testing.assert_array_equal(whole["id"], TRUE["id"])
    np.testing.assert_array_equal(whole["name"], TRUE["name"])
    # Text formats hold the shortest decimals that give the same float32.
    np.testing.assert_array_equal(whole["z"].astype("f4"), TRUE["z"])
    for rows in (1, 999, 2500, 10_000):
        if rows == 1 and ending != "parquet":
            continue
        pieces = list(file.chunks(["z", "id"], rows))
        assert max(len(p["z"]) for p in pieces) <= rows
        np.testing.assert_array_equal(np.concatenate([p["id"] for p in pieces]), TRUE["id"])


def test_fits_numbers(tmp_path):
    """Nulls are NaN, scaled columns are scaled, unsigned ones are unsigned."""
    file = open_table(write_fits(tmp_path / "stars.fits"), hdu="STARS")
    got = file.read(["flag", "snr", "unsigned", "good"])
    expected = np.where(np.arange(N) % 7 == 3, np.nan, np.arange(N) % 7)
    np.testing.assert_array_equal(got["flag"], expected)
    np.testing.assert_array_equal(got["snr"], 10 + 0.5 * (np.arange(N) % 300))
    np.testing.assert_array_equal(got["unsigned"], np.arange(N) + 40_000)
    np.testing.assert_array_equal(got["good"], TRUE["good"])
    with pytest.raises(TableError, match="must hold one value a row"):
        file.read(["vector"])


def test_missing_values(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("z,n,name\n1.5,,a\n,2,\n")
    got = open_table(path).read(["z", "n", "name"])
    np.testing.assert_array_equal(got["z"], [1.5, np.nan])
    # Whole numbers stay whole.
    assert got["n"].dtype.kind == "i" and got["n"].tolist() == [None, 2]
    assert list(got["name"]) == ["a", ""]


def test_compressed_files_by_their_content(tmp_path):
    """A gzip file named .fits is unpacked: its bytes are no numbers."""
    plain = write_fits(tmp_path / "plain.fits")
    (tmp_path / "odd.fits").write_bytes(gzip.compress(plain.read_bytes()))
    plain.rename(tmp_path / "odd.fits.gz")
    for name in ("odd.fits", "odd.fits.gz"):
        np.testing.assert_array_equal(open_table(tmp_path / name).read(["z"])["z"], TRUE["z"])


def test_masked_values_are_missing_on_file(tmp_path):
    bad = np.array([False, True, False])
    own = u.def_unit("furlong_of_mine", 201.168 * u.m)
    columns = {
        "n": np.ma.array([1, -9999, 2**60 + 1], mask=bad),
        "x": Masked([1.0, -9999.0, 3.0], mask=bad) * u.kpc,
        "y": Column([1.0, 2.0, 3.0], unit="pc"),
        "big": np.arange(3, dtype=">f8") * own,
    }
    file = open_table(write_table(tmp_path / "a.parquet", columns))
    got = file.read(file.names)
    assert got["n"].tolist() == [1, None, 2**60 + 1]
    np.testing.assert_array_equal(got["x"], [1, np.nan, 3])
    assert file.units["y"] == u.pc and file.units["big"].to(u.m) == pytest.approx(201.168)
    none = write_table(tmp_path / "none.parquet", {"x": np.zeros(0)})
    assert open_table(none).read(["x"])["x"].size == 0


def test_parquet_keeps_units_and_words(tmp_path):
    path = write_table(tmp_path / "a.parquet", {"v": np.ones(3) * u.km / u.s}, {"R0": 8.3})
    file = open_table(path)
    assert file.units["v"] == u.km / u.s and file.meta == {"R0": 8.3}
    with pytest.raises(ValueError, match="equal length"):
        write_table(path, {"a": np.ones(2), "b": np.ones(3)})
    np.testing.assert_array_equal(open_table(path).read(["v"])["v"], np.ones(3))


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    import pyarrow.parquet as parquet

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        write_table(tmp_path / "a.parquet", {"a": np.ones(2)})
    assert not list(tmp_path.iterdir())


def test_bad_files(tmp_path):
    path = write_fits(tmp_path / "stars.fits")
    whole = path.read_bytes()
    with pytest.raises(TableError, match="no column 'Z'; did you mean 'z'"):
        open_table(path).read(["Z"])
    with pytest.raises(TableError, match="HDU 'PICTURE' of .* is no table"):
        open_table(path, "PICTURE")
    with pytest.raises(TableError, match="no HDU 'OTHER'"):
        open_table(path, "OTHER")
    for name, content, message in (
        ("half.fits", whole[: len(whole) // 3], "truncated"),
        ("text.fits", b"no table\n" * 100, "cannot be read as a FITS"),
        ("half.fits.gz", gzip.compress(whole)[:9000], "cannot be read as a FITS|truncated"),
        ("bad.fits.gz", b"\x1f\x8b" + bytes(500), "cannot be read as a FITS"),
        ("bad.parquet", b"PAR1" + bytes(100), "cannot be read as a Parquet"),
        ("bad.vot", b"<VOTABLE>", "cannot be read as a votable"),
        ("ragged.csv", b"a,b\n1,2\n3\n", "cannot be read as a CSV"),
        ("empty.csv", b"", "is empty"),
        ("zip.fits", b"PK\3\4" + bytes(500), "does not begin as one"),
        ("twice.csv", b"a,b,a\n1,2,3\n", "has two columns 'a'"),
        ("latin.csv", "a,\xe9\n1,2\n".encode("latin-1"), "cannot be read as a CSV"),
        ("stream.vot", STREAM, "points to data elsewhere, which are not fetched"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TableError, match=message):
            file = open_table(tmp_path / name)
            file.read(file.names[:1])
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "none.fits")
    with pytest.raises(TableError, match="holds no table"):
        open_table(tmp_path / "none.fits")
    (tmp_path / "stars.txt").write_text("1 2")
    with pytest.raises(ValueError, match="must be a table whose name ends"):
        open_table(tmp_path / "stars.txt")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        open_table(tmp_path / "other.fits")
    with pytest.raises(ValueError, match="is a folder"):
        open_table(tmp_path)


def test_what_paths_stand_for(tmp_path):
    for name in ("b.csv", "a.parquet", "sub/c.fits", "_metadata.parquet", ".d.csv", "note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [p.relative_to(tmp_path).as_posix() for p in expand(tmp_path)]
    assert names == ["a.parquet", "b.csv", "sub/c.fits"]
    assert expand(str(tmp_path / "*.csv")) == [tmp_path / "b.csv"]
    with pytest.raises(ValueError, match="given twice"):
        expand([tmp_path, tmp_path / "b.csv"])
    with pytest.raises(FileNotFoundError, match="there is no file"):
        expand(tmp_path / "*.vot")
    with pytest.raises(FileNotFoundError, match="holds no table"):
        (tmp_path / "void").mkdir()
        expand(tmp_path / "void")


def test_hats_catalogues(tmp_path):
    """Of a collection or a catalogue the partitions of its dataset, and nothing else."""
    both = tmp_path / "both"
    for name in ("stars", "stars_margin"):
        for file in ("partition_info.csv", "dataset/_metadata", "dataset/Norder=0/Npix=1.parquet"):
            (both / name / file).parent.mkdir(parents=True, exist_ok=True)
            (both / name / file).touch()
        kind = "margin" if "margin" in name else "object"
        (both / name / "hats.properties").write_text(f"#HATS catalog\ndataproduct_type={kind}\n")
    stars = [both / "stars/dataset/Norder=0/Npix=1.parquet"]
    with pytest.raises(ValueError, match="holds the HATS catalogue"):
        expand(both)
    (both / "collection.properties").write_text("hats_primary_table_url=stars\n")
    assert expand(both) == expand(both / "stars") == stars
    with pytest.raises(ValueError, match="is a HATS margin"):
        expand(both / "stars_margin")
    (both / "collection.properties").write_text("hats_primary_table_url=gone\n")
    with pytest.raises(ValueError, match="without its catalogue"):
        expand(both)


def test_fits_columns_of_every_kind_as_astropy_has_them(tmp_path):
    """Logical, unsigned, scaled, null, text and long numbers; in pieces, compressed, in ASCII."""
    rng, n = np.random.default_rng(0), 40_000
    arrays = np.empty(n, dtype=object)
    arrays[:] = [np.ones(k % 3 + 1, dtype="f4") for k in range(n)]
    columns = [
        fits.Column("logical", "L", array=rng.random(n) < 0.5),
        fits.Column("vector", "3E", array=rng.random((n, 3))),
        fits.Column("unsigned", "I", bzero=32768, array=rng.integers(0, 65535, n).astype("u2")),
        fits.Column("scaled", "E", bscale=0.5, bzero=3, array=rng.random(n)),
        fits.Column("null", "J", null=-99, array=np.where(rng.random(n) < 0.1, -99, 7)),
        fits.Column("bits", "11X", array=rng.random((n, 11)) < 0.5),
        fits.Column("text", "10A", array=np.array([f"x{k}" for k in range(n)])),
        fits.Column("arrays", "PE()", array=arrays),
        fits.Column("long", "K", array=np.arange(n) * 10**14),
    ]
    path = tmp_path / "table.fits"
    fits.BinTableHDU.from_columns(columns).writeto(path)
    packed = tmp_path / "table.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    names = ["long", "text", "null", "scaled", "unsigned", "logical"]
    with fits.open(path) as file:
        expected = {name: np.array(file[1].data[name]) for name in names}
    for given in (path, packed):
        file = open_table(given)
        read = file.read(names)
        for name in set(names) - {"null"}:
            np.testing.assert_array_equal(read[name], expected[name])
        np.testing.assert_array_equal(np.isnan(read["null"]), expected["null"] == -99)
        pieces = [piece["long"] for piece in file.chunks(["long"], 7_001)]
        np.testing.assert_array_equal(np.concatenate(pieces), expected["long"])
        for name in ("vector", "bits", "arrays"):
            with pytest.raises(ValueError, match="must hold one value a row"):
                file.read([name])
    text = tmp_path / "ascii.fits"
    fits.TableHDU.from_columns([fits.Column("a", "I8", array=np.arange(50))]).writeto(text)
    pieces = [piece["a"] for piece in open_table(text).chunks(["a"], 20)]
    np.testing.assert_array_equal(np.concatenate(pieces), np.arange(50))


def test_a_column_of_nulls_only_is_nan(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "nulls.parquet"
    parquet.write_table(pa.table({"a": pa.nulls(3), "b": [1, 2, 3]}), path)
    assert np.isnan(open_table(path).read(["a"])["a"]).all()


@pytest.mark.parametrize("path", [None, 3, b"a.csv", 1.5, "", "a\0b", object()])
def test_what_is_no_path_is_refused_at_every_door(path):
    words = "path must be the name of a file, but"
    for door in (oti.load, oti.Calibration.load):
        with pytest.raises(ValueError, match=words):
            door(path)
    with pytest.raises(ValueError, match=f"{words}|config must be a TOML file or a mapping of"):
        oti.catalog.read_config(path)
    for paths in (path, [path]):
        with pytest.raises(ValueError, match="paths must name files or folders, but"):
            expand(paths)


def test_folders_and_devices_are_no_files(tmp_path):
    for door, kind in (
        (oti.load, "a result file"),
        (oti.catalog.read_config, "a configuration"),
        (oti.Calibration.load, "a calibration"),
    ):
        with pytest.raises(ValueError, match=f"is a folder, not {kind}"):
            door(tmp_path)
        with pytest.raises(ValueError, match=f"is not a regular file: give {kind}"):
            door("/dev/zero")


DOORS = (open_table, expand, oti.load, oti.data.read_map, oti.catalog.read_config)


@pytest.mark.parametrize("door", DOORS)
def test_links_that_lead_nowhere_say_so(door, tmp_path):
    path = tmp_path / "a.csv"
    path.symlink_to(tmp_path / "b.csv")
    with pytest.raises(OSError, match=r"a.csv is a link to a file that is not there\.$"):
        door(path)
    (tmp_path / "b.csv").symlink_to(path)
    with pytest.raises(OSError, match=r"a.csv cannot be read: Too many levels of symbolic links\."):
        door(path)


@pytest.mark.parametrize("door", DOORS)
def test_a_home_of_nobody_is_no_path(door):
    with pytest.raises(ValueError, match="'~nobody-at-all/a.csv' names nobody's home"):
        door("~nobody-at-all/a.csv")


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="a file of Linux's")
@pytest.mark.parametrize("door", [open_table, oti.load, oti.data.read_map, oti.catalog.read_config])
def test_a_file_that_fails_at_its_first_byte_is_named(door):
    with pytest.raises(OSError, match="/proc/self/mem cannot be read: "):
        door("/proc/self/mem")


@pytest.mark.parametrize("hdu", [-1, "", " ", True, 1.5, b"a", [1], np.nan])
def test_a_table_within_a_file_has_a_number_or_a_name(hdu, tmp_path):
    path = tmp_path / "a.fits"
    Table({"a": [1]}).write(path)
    with pytest.raises(ValueError, match="hdu must be a whole number of at least 0 or a name, but"):
        open_table(path, hdu)


@pytest.mark.parametrize("columns", [3, "a", b"a", [], [1], {"a": 1}, 1 * u.kpc, [["a"]]])
def test_columns_to_read_are_names(columns, tmp_path):
    path = tmp_path / "a.fits"
    Table({"a": [1]}).write(path)
    for door in (open_table(path).read, open_table(path).as_table):
        with pytest.raises(ValueError, match="columns must "):
            door(columns)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((None, {"a": [1]}), "path must be the name of a file, but None"),
        (("a.parquet", None), "columns must be a dictionary by name, but None"),
        (("a.parquet", [[1]]), "columns must be a dictionary by name"),
        (("a.parquet", {}), "columns must hold at least one column"),
        (("a.parquet", {1: [1]}), "columns must be a dictionary by name"),
        (("a.parquet", {"a": [1]}, 3), "meta must be a dictionary by name, but 3"),
        (("a.parquet", {"a": [1]}, 1 * u.kpc), "meta must be a dictionary by name"),
        (("a.parquet", {"a": [1]}, {"b": 1j}), "meta must hold what JSON can, but does not"),
    ],
)
def test_what_a_table_cannot_be_made_of_is_said(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words):
        write_table(*arguments)
    assert not any(tmp_path.iterdir())


def test_units_of_columns_are_a_dictionary():
    columns, bins = {"pos": "z", "vel": "v", "label": "x"}, {"pos": [0, 1] * u.kpc}
    bins["vel"] = [0, 1] * u.km / u.s
    for units in (3, ["kpc"], "kpc"):
        with pytest.raises(ValueError, match="column_units must be a dictionary by name"):
            oti.data.bin_files("a.csv", bins, columns, column_units=units)
    for paths in (1 * u.kpc, np.array("a.csv"), np.array(3)):
        with pytest.raises(ValueError, match="paths must name files or folders"):
            oti.data.bin_files(paths, bins, columns)
