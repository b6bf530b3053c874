"""Tables as other tools write them: missing numbers, masks, text and units of each format."""

import datetime
import decimal
import gzip
import pickle

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.io.votable import from_table
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked
from pyarrow import parquet

import torusimaging as oti
from torusimaging.data import bin_files, get_binned_label
from torusimaging.files.formats import TableError
from torusimaging.files.open import expand, open_table, write_table
from torusimaging.files.small import SmallFile
from torusimaging.units import UnitError, internal, stated_unit

BINS = {"pos": np.linspace(-1, 1, 5) * u.kpc, "vel": np.linspace(-60, 60, 5) * u.km / u.s}


def read(path, *names, hdu=None):
    file = open_table(path, hdu)
    return [file.read([name])[name].tolist() for name in names or file.names]


def write_ascii(path, fields, rows):
    """A FITS table in ASCII of (name, format, first byte, other words) and whole lines."""
    words = [("XTENSION", "TABLE"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", len(rows[0]))]
    words += [("NAXIS2", len(rows)), ("PCOUNT", 0), ("GCOUNT", 1), ("TFIELDS", len(fields))]
    for k, (name, form, first, more) in enumerate(fields, start=1):
        words += [(f"TTYPE{k}", name), (f"TFORM{k}", form), (f"TBCOL{k}", first)]
        words += [(f"{word}{k}", value) for word, value in more.items()]
    fits.PrimaryHDU().writeto(path)
    body = "".join(rows).encode("latin-1")
    with open(path, "ab") as file:
        file.write(fits.Header(words).tostring().encode() + body + b" " * (-len(body) % 2880))
    return path


FIELDS = [
    ("text", "A4", 1, {"TNULL": "-"}),
    ("whole", "I5", 6, {"TNULL": "-99"}),
    ("fixed", "F8.3", 12, {"TNULL": "***", "TUNIT": "mas/yr"}),
    ("single", "E10.3", 21, {}),
    ("double", "D12.5", 32, {}),
    ("scaled", "I3", 45, {"TSCAL": 0.5, "TZERO": 10}),
]
LINES = [
    "abc     12    1.500  1.500E+00  1.50000D-02   4",
    "-      -99      ***                            ",
    "               -2.0         -0         nan    0",
]


@pytest.mark.parametrize("packed", [False, True])
def test_ascii_tables_of_every_format(tmp_path, packed):
    path = write_ascii(tmp_path / "a.fits", FIELDS, LINES)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    nan = np.nan
    assert open_table(path).units["fixed"] == u.mas / u.yr
    text, whole, *numbers = read(path)
    assert text == ["abc", "", ""] and whole == [12, None, None]
    np.testing.assert_array_equal(numbers[0], [1.5, nan, -2])
    np.testing.assert_array_equal(numbers[1], [1.5, nan, 0])
    np.testing.assert_array_equal(numbers[2], [0.015, nan, nan])
    np.testing.assert_array_equal(numbers[3], [12, nan, 10])
    pieces = [p["whole"].tolist() for p in open_table(path).chunks(["whole"], 2)]
    assert pieces == [[12, None], [None]]


@pytest.mark.parametrize(
    ("form", "cell", "sentence"),
    [
        ("F8.3", "   12345", "holds '12345' in row 2 without the decimal point of its format, F8"),
        ("I8", "   1_345", "holds '1_345' in row 2: write it in plain digits"),
        ("I8", "      --", "holds '--' in row 2: leave the cell empty"),
        ("F8.3", "   abc  ", "holds 'abc' in row 2"),
        ("I8", "    \xe9 5", "in row 2"),
        ("A8", "    \xe9 5", "no text in UTF-8"),
        ("I8", "99999999", None),
    ],
)
def test_fields_of_ascii_tables_that_are_no_numbers(tmp_path, form, cell, sentence):
    path = write_ascii(tmp_path / "a.fits", [("x", form, 1, {})], ["       0", cell])
    if sentence is None:
        assert read(path) == [[0, int(cell)]]
        return
    with pytest.raises(TableError, match=f"column 'x' of .*{sentence}"):
        read(path)


def test_broken_ascii_tables_are_refused(tmp_path):
    wide = write_ascii(tmp_path / "wide.fits", [("x", "I9", 1, {})], ["       0"])
    with pytest.raises(TableError, match="column 1 lies outside the 8 bytes of a row"):
        open_table(wide)
    long = write_ascii(tmp_path / "long.fits", [("x", "I24", 1, {})], ["9" * 24])
    with pytest.raises(TableError, match="whole numbers of 64 bits"):
        read(long)
    text = write_ascii(tmp_path / "text.fits", [("x", "A4", 1, {})], ["1.5 ", "abc "])
    with pytest.raises(TableError, match="column 'x' of .*holds 'abc' in row 2"):
        open_table(text).check(["x"], ["x"])


def test_undefined_logicals_of_fits_are_missing(tmp_path):
    path = tmp_path / "a.fits"
    columns = [
        fits.Column("good", "L", array=np.array([True, False, True])),
        fits.Column("whole", "B", null=0, array=np.array([0, 1, 2], "u1")),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(path)
    with fits.open(path) as file:
        start = file[1].fileinfo()["datLoc"]
    content = bytearray(path.read_bytes())
    content[start] = 0
    path.write_bytes(content)
    assert read(path) == [[None, False, True], [None, 1, 2]]


MIXED = QTable(
    {
        "x": [1.0, 2] * u.kpc,
        "q": Masked([1.0, -9999], mask=[False, True]) * u.km / u.s,
        "m": MaskedColumn([1.0, -9999], mask=[False, True], unit="mas"),
        "n": MaskedColumn([-9999, 2**60 + 1], mask=[True, False]),
        "s": MaskedColumn(["a", "b"], mask=[True, False]),
        "b": np.array([b"2M1", b"2M22"]),
    }
)


@pytest.mark.parametrize("ending", ["parquet", "ecsv", "fits"])
@pytest.mark.parametrize("kind", [QTable, Table])
def test_tables_of_astropy_keep_units_masks_and_bytes(tmp_path, ending, kind):
    """In Parquet astropy leaves masks in columns of their own, and texts of bytes as bytes."""
    path = tmp_path / f"a.{ending}"
    kind(MIXED).write(path)
    file = open_table(path)
    assert file.names == MIXED.colnames
    units = [file.units[name] for name in ("x", "q", "m")]
    assert units == [u.kpc, u.km / u.s, u.mas]
    x, q, m, n, s, b = read(path)
    assert x == [1, 2] and n == [None, 2**60 + 1]
    np.testing.assert_array_equal([q, m], [[1, np.nan]] * 2)
    assert s == ["", "b"] and b == ["2M1", "2M22"]


def test_units_of_parquet_by_other_tools(tmp_path):
    path = tmp_path / "a.parquet"
    field = pa.field("v", pa.float64(), metadata={"units": "km.s**-1"})
    parquet.write_table(pa.table([pa.array([1.0])], schema=pa.schema([field])), path)
    assert open_table(path).units == {"v": u.km / u.s}
    # As TOPCAT and astropy write a VOTable without rows into the schema.
    words = {"pm": {"unit": "mas / yr"}}
    Table({"pm": [1.0]}).write(path, format="parquet.votable", metadata=words, overwrite=True)
    assert open_table(path).units == {"pm": u.mas / u.yr}


COLUMNS = {
    "large": (pa.array(["a", None], pa.large_string()), ["a", ""]),
    "dictionary": (pa.array(["a", None]).dictionary_encode(), ["a", ""]),
    "bytes": (pa.array([b"a  ", None]), ["a", ""]),
    "dictionary of bytes": (pa.array([b"a", b"a"]).dictionary_encode(), ["a", "a"]),
    "padded": (pa.array([b"a\0\0", b"ccc"], pa.binary(3)), ["a", "ccc"]),
    "padded text": (pa.array([" a ", "b"]), ["a", "b"]),
    "decimal": (pa.array([decimal.Decimal("1.50"), None]), [1.5, np.nan]),
    "id": (pa.array([decimal.Decimal(2**60 + 1), None], pa.decimal128(30, 0)), [2**60 + 1, None]),
    "numbers of a dictionary": (pa.array([5, None]).dictionary_encode(), [5, None]),
    "whole": (pa.array([0, None]), [0, None]),
    "unsigned": (pa.array([2**63 + 1, None], pa.uint64()), [2**63 + 1, None]),
    "truth": (pa.array([True, None]), [True, None]),
    "no text": (pa.array([b"\xff", b"a"]), "holds bytes that are no text in UTF-8"),
    "time": (pa.array([datetime.datetime(2020, 1, 1), None]), "but holds timestamp"),
    "day": (pa.array([datetime.date(2020, 1, 1), None]), "but holds date32"),
    "list": (pa.array([[1.0], [2.0]]), "but holds list<.*write it as one of these"),
    "structure": (pa.array([{"a": 1}, {"a": 2}]), "but holds struct"),
    "endless": (pa.array(["a", "x" * 20_000]), "a text of 20000 characters"),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_of_arrow_of_every_kind(tmp_path, kind):
    array, expected = COLUMNS[kind]
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"x": array}), path)
    if isinstance(expected, str):
        with pytest.raises(TableError, match=f"column 'x' of .*{expected}"):
            read(path)
        return
    np.testing.assert_array_equal(read(path)[0], expected)


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.Table.from_arrays([pa.array([1.0])] * 2, names=["a", "a"]), path)
    twice = [fits.Column("a", "E", array=[1.0]), fits.Column("b", "E", array=[2.0])]
    fits.BinTableHDU.from_columns(twice).writeto(tmp_path / "a.fits")
    fits.setval(tmp_path / "a.fits", "TTYPE2", value="a", ext=1)
    for name in ("a.parquet", "a.fits"):
        with pytest.raises(TableError, match="two columns 'a': rename one"):
            open_table(tmp_path / name).read(["a"])


VOTABLE = """<VOTABLE version="{version}" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>
{tables}</RESOURCE></VOTABLE>"""
TABLE = """<TABLE name="{name}" ID="{name}1"><FIELD name="star" {text}/>
<FIELD name="n" datatype="long"/><FIELD name="k" datatype="int"><VALUES null="-1"/></FIELD>
<FIELD name="pm" datatype="double" unit="mas.yr**-1"/><DATA><TABLEDATA>
<TR><TD>2M1</TD><TD></TD><TD>-1</TD><TD>{cell}</TD></TR>
<TR><TD></TD><TD>5</TD><TD>7</TD><TD></TD></TR></TABLEDATA></DATA></TABLE>"""


def votable(path, version="1.4", text='datatype="char" arraysize="*"', cell="1.5", names=("a",)):
    tables = "".join(TABLE.format(name=name, text=text, cell=cell) for name in names)
    path.write_text(VOTABLE.format(version=version, tables=tables))
    return path


@pytest.mark.parametrize("version", ["1.1", "1.2", "1.3", "1.4"])
@pytest.mark.parametrize("size", ["*", "10*", "10"])
@pytest.mark.parametrize("datatype", ["char", "unicodeChar"])
def test_votables_text_blanks_and_units_of_every_version(tmp_path, version, size, datatype):
    """Before version 1.3 astropy takes an empty cell of whole numbers for 0."""
    text = f'datatype="{datatype}" arraysize="{size}"'
    path = votable(tmp_path / "a.vot", version, text)
    assert open_table(path).units["pm"] == u.mas / u.yr
    star, n, k, pm = read(path)
    assert star == ["2M1", ""] and n == [None, 5] and k == [None, 7]
    np.testing.assert_array_equal(pm, [1.5, np.nan])


@pytest.mark.parametrize("serialisation", ["tabledata", "binary", "binary2"])
def test_votables_of_every_serialisation(tmp_path, serialisation):
    table = Table({"f": MaskedColumn([1.0, 2], mask=[0, 1], unit="mas"), "s": ["ab", "c"]})
    table["o"] = np.array(["abc", "d"], dtype=object)
    if serialisation != "binary":
        table["n"] = MaskedColumn([1, 2], mask=[False, True])
        table["good"] = MaskedColumn([True, False], mask=[False, True])
    path = tmp_path / "a.vot"
    from_table(table).to_xml(str(path), tabledata_format=serialisation)
    f, s, o, *rest = read(path)
    np.testing.assert_array_equal(f, [1, np.nan])
    assert s == ["ab", "c"] and o == ["abc", "d"]
    assert rest == ([] if serialisation == "binary" else [[1, None], [True, None]])
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert read(path, "o") == [["abc", "d"]]


def test_one_of_several_tables_of_a_votable(tmp_path):
    path = votable(tmp_path / "a.vot", names=("stars", "fields"))
    with pytest.raises(TableError, match="2 tables: choose one by hdu.*0 'stars', 1 'fields'"):
        open_table(path)
    for hdu in (0, "fields", "fields1"):
        assert read(path, "n", hdu=hdu) == [[None, 5]]
    with pytest.raises(TableError, match="no table 'field'; did you mean 'fields'"):
        open_table(path, "field")
    with pytest.raises(TableError, match="no table 2"):
        open_table(path, 2)
    with pytest.raises(ValueError, match="hdu must be a whole number .* or a name, but 1.5"):
        open_table(path, 1.5)
    with pytest.raises(TableError, match="holds no table"):
        open_table(votable(tmp_path / "none.vot", names=()))


@pytest.mark.parametrize("cell", ["1_000", "\u0661\u0662"])
def test_numbers_in_other_digits_are_no_numbers_in_any_text(tmp_path, cell):
    sentence = f"must hold numbers, but holds '{cell}' in row 1: write it in plain digits"
    with pytest.raises(TableError, match=f"column 'pm' of .*{sentence}"):
        open_table(votable(tmp_path / "a.vot", cell=cell))
    path = tmp_path / "a.ecsv"
    Table({"name": ["1_1"], "x": [12345]}).write(path)
    assert read(path) == [["1_1"], [12345]]
    path.write_text(path.read_text().replace("12345", cell))
    with pytest.raises(TableError, match=f"column 'x' of .*{sentence}"):
        open_table(path)


def test_columns_that_are_no_columns_are_named(tmp_path):
    from astropy.time import Time

    path = tmp_path / "a.ecsv"
    table = QTable({"x": [1.0, 2] * u.kpc, "t": Time([2015.5, 2016], format="jyear")})
    table["v"] = np.ones((2, 3))
    table.write(path)
    assert read(path, "x") == [[1, 2]]
    for name in ("t", "v"):
        with pytest.raises(TableError, match=f"column '{name}' of .* must hold one value a row"):
            read(path, name)


@pytest.mark.parametrize("ending", ["ecsv", "vot"])
def test_a_table_that_is_read_as_a_whole_is_parsed_once(tmp_path, monkeypatch, ending):
    rng, parsed, parse = np.random.default_rng(0), [], SmallFile._parse
    monkeypatch.setattr(SmallFile, "_parse", lambda self: parsed.append(self) or parse(self))
    table = Table({"y": rng.normal(0, 1, 500)})
    table["z"] = Column(rng.normal(0, 0.3, 500), unit="kpc")
    table["v"] = Column(rng.normal(0, 20, 500), unit="km/s")
    paths = [tmp_path / f"{k}.{ending}" for k in range(2)]
    for k, path in enumerate(paths):
        table["w"] = k  # copies of a file are refused
        table.write(path, format="votable" if ending == "vot" else "ascii.ecsv")
    columns = {"pos": "z", "vel": "v", "label": "y"}
    binned = bin_files(paths, BINS, columns, rows=100, workers=2)
    assert len(parsed) == len(paths) and binned["n_stars"] == 1000
    for file in parsed:
        assert file.table is None and set(file.columns) == {"z", "v", "y"}
    # To another process a file goes by its name, whatever it holds.
    file = open_table(paths[0])
    file.keep(["z"])
    sent = pickle.dumps(file)
    assert len(sent) < 5000
    np.testing.assert_array_equal(pickle.loads(sent).read(["y"])["y"], table["y"])


@pytest.mark.parametrize(
    ("suffix", "place"),
    [
        (None, "Npix=11.parquet"),
        (".parquet", "Npix=11.parquet"),
        (".parq", "Npix=11.parq"),
        (".pq", "Npix=11.pq"),
        (".snappy.parquet", "Npix=11.snappy.parquet"),
        ("/", "Npix=11/part0.parquet"),
        ("/", "Npix=11/part-0"),
    ],
)
def test_hats_catalogues_name_their_files_as_they_say(tmp_path, suffix, place):
    file = tmp_path / "dataset/Norder=0/Dir=0" / place
    file.parent.mkdir(parents=True)
    columns = {"z": np.zeros(4) * u.kpc, "v": np.zeros(4) * u.km / u.s, "y": np.arange(4.0)}
    write_table(file, columns)
    (file.parent / "_metadata").write_bytes(b"PAR1")
    words = "" if suffix is None else f"hats_npix_suffix={suffix}\n"
    (tmp_path / "hats.properties").write_text(f"dataproduct_type=object\n{words}")
    assert expand(tmp_path) == [file]
    names = {"pos": "z", "vel": "v", "label": "y"}
    assert bin_files(tmp_path, BINS, names)["n_stars"] == 4
    (tmp_path / "hats.properties").write_text("hats_npix_suffix=.other\n")
    with pytest.raises(FileNotFoundError, match="Npix=.*other, as its hats_npix_suffix"):
        expand(tmp_path)


@pytest.mark.parametrize("text", ["mas.yr**-1", "mas/yr", "mas yr-1", "mas.yr-1"])
def test_a_unit_that_a_reader_did_not_understand_is_tried_again(text):
    assert stated_unit(u.UnrecognizedUnit(text)) == u.mas / u.yr
    assert stated_unit(" ") is None
    assert isinstance(stated_unit(u.UnrecognizedUnit("blob")), u.UnrecognizedUnit)


def test_columns_with_units_are_quantities(tmp_path):
    """The table that `as_table` gives is one that every door takes."""
    rng, n = np.random.default_rng(1), 400
    given = {
        "z": rng.normal(0, 300, n) * u.pc,
        "v": rng.normal(0, 20, n) * u.km / u.s,
        "y": rng.normal(0, 1, n) * u.dex,
        "e": np.full(n, 0.1) * u.dex,
    }
    table = open_table(write_table(tmp_path / "a.parquet", given)).as_table()
    args = [[t[k] for k in ("z", "v", "y")] for t in (table, given)]
    one, two = (
        get_binned_label(*a, BINS, label_err=t["e"])
        for a, t in zip(args, (table, given), strict=True)
    )
    np.testing.assert_array_equal(one["label"], two["label"])
    edges = {"pos": Column(BINS["pos"].value, unit="kpc"), "vel": BINS["vel"]}
    assert oti.data.get_binned_counts(table["z"], table["v"], edges)["counts"].sum() > 0
    masked = MaskedColumn([1.0, 2], unit="pc", mask=[False, True])
    np.testing.assert_array_equal(internal(masked, u.kpc, "pos"), [0.001, np.nan])
    plain = np.ma.array([1, 2], mask=[False, True])
    np.testing.assert_array_equal(internal(plain, u.kpc, "x", allow_plain=True), [1, np.nan])
    for column, sentence in (
        (Column([1.0]), "pos has no unit"),
        (Column([1.0], unit="s"), "pos must have a unit like kpc, but s"),
        (Column([1.0], unit=u.UnrecognizedUnit("blob")), "pos has the unit 'blob', which is not"),
        (Column(["a"], unit="kpc"), "pos must be numbers"),
    ):
        with pytest.raises(ValueError, match=sentence):
            internal(column, u.kpc, "pos")
    with pytest.raises(ValueError, match="x must be numbers, but '1_000' was given"):
        internal("1_000", u.kpc, "x", allow_plain=True)
    with pytest.raises(UnitError, match="label_err must have a unit like dex"):
        get_binned_label(*args[0], BINS, label_err=Column(np.ones(n), unit="s"))
