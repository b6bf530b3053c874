"""CSV files as people write them: read rightly, or refused with the row and what to do."""

import os

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table

from torusimaging.data import bin_files, read_map
from torusimaging.files.csv_table import BLOCK
from torusimaging.files.formats import TableError
from torusimaging.files.open import open_table

HEAD = "z_kpc,vz_kms,mgfe,mgfe_err\n"
ROWS = "0.1,10,0.2,0.01\n0.2,20,0.3,0.01\n"


@pytest.fixture
def write(tmp_path):
    def writer(content, name="a.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return writer


AS_WRITTEN = {
    "plain": HEAD + ROWS,
    "byte-order mark": "\ufeff" + HEAD + ROWS,
    "Windows": (HEAD + ROWS).replace("\n", "\r\n"),
    "old Mac": (HEAD + ROWS).replace("\n", "\r"),
    "comments": "# mine\n#\n\n" + HEAD + ROWS,
    "quotes": '"z_kpc","vz_kms","mgfe","mgfe_err"\n' + ROWS,
    "blanks": (HEAD + ROWS).replace(",", " , "),
    "semicolons": (HEAD + ROWS).replace(",", ";"),
    "tabs": (HEAD + ROWS).replace(",", "\t"),
    "empty lines": HEAD + "\n" + ROWS + "\n\n",
    "no last end of line": (HEAD + ROWS)[:-1],
}


@pytest.mark.parametrize("kind", AS_WRITTEN)
def test_one_table_however_it_is_written(write, kind):
    path = write(AS_WRITTEN[kind])
    table = open_table(path)
    read = table.read(table.names)
    assert table.names == ["z_kpc", "vz_kms", "mgfe", "mgfe_err"]
    np.testing.assert_array_equal(read["mgfe"], [0.2, 0.3])
    binned = read_map(path)
    np.testing.assert_array_equal(binned["pos"], [0.1, 0.2] * u.kpc)
    np.testing.assert_array_equal(binned["label_err"], [0.01, 0.01])


@pytest.mark.parametrize("delimiter", [" ", ","])
def test_an_ecsv_table_named_csv(tmp_path, delimiter):
    path = tmp_path / "a.csv"
    made = Table({"z_kpc": [0.1, 0.2], "vz_kms": [1.0, 2], "y": [3.0, 4], "y_err": [1.0, 1]})
    made["z_kpc"].unit = "kpc"
    made.write(path, format="ascii.ecsv", delimiter=delimiter)
    table = open_table(path)
    assert table.units["z_kpc"] == u.kpc
    np.testing.assert_array_equal(table.read(["y"])["y"], [3, 4])
    np.testing.assert_array_equal(read_map(path)["label"], [3, 4])


NOT_READ = {
    "units below": (HEAD + "kpc,km/s,dex,dex\n" + ROWS, "has a row of units .*kpc, km/s"),
    "no names": (ROWS, "no row of names, its first row is 0.1, 10.*put the names"),
    "names in a comment": ("#" + HEAD + ROWS, "remove the # before 'z_kpc,vz_kms"),
    "blanks between": ((HEAD + ROWS).replace(",", " "), "must be separated by commas"),
    "UTF-16": ((HEAD + ROWS).encode("utf-16"), "bytes of zero, as text in UTF-16"),
    "Latin-1 names": (HEAD.replace("mgfe_err", "\xe9").encode("latin-1"), "line 1 is no text"),
    "binary": (bytes(range(256)) * 20, "cannot be read as a CSV table"),
    "empty": ("", "is empty"),
    "comments alone": ("# a\n# b\n", "no row of names"),
    "twice": (HEAD.replace("mgfe_err", "mgfe") + ROWS, "two columns 'mgfe': rename one"),
    "short row": (HEAD + ROWS + "1,2\n", "row 3 has 2 cells, but the row of names has 4"),
    "long row": (HEAD + ROWS + "1,5,2,3,4\n", "row 3 has 5 cells"),
    "open quotes": ('"z_kpc,vz_kms\n' + ROWS, "row of names is broken"),
    "endless names": ("a," + "x" * 3_000_000, "names do not end within the first 1 MB"),
    "endless cell": (HEAD + ROWS + "1,2,3," + "x" * (BLOCK + 9) + "\n", "row 3 has a cell of more"),
}


@pytest.mark.parametrize("kind", NOT_READ)
def test_what_is_no_table_is_named(write, kind):
    content, sentence = NOT_READ[kind]
    path = write(content)

    def whole():
        table = open_table(path)
        return table.read(table.names)

    for read in (whole, lambda: read_map(path)):
        with pytest.raises(TableError, match=sentence) as caught:
            read()
        assert len(str(caught.value)) < 400


NO_NUMBERS = {
    "1_000": "plain digits, 0 to 9",
    "\u0661\u0662": "plain digits, 0 to 9",
    "1'000": "plain digits, 0 to 9",
    '"1,5"': "decimal points",
    "1.5D-3": "exponents with e",
    "--": "leave the cell empty",
    "None": "leave the cell empty",
    "abc": "name another column",
    "1.2.3": "name another column",
}


@pytest.mark.parametrize("cell", NO_NUMBERS)
def test_a_cell_that_is_no_number_is_shown_with_its_row(write, cell):
    path = write(HEAD + ROWS + f"0.3,30,{cell},0.01\n0.4,x,y,z\n")
    sentence = f"column 'mgfe' of .*holds '{cell.strip(chr(34))}' in row 3: .*{NO_NUMBERS[cell]}"
    with pytest.raises(TableError, match=sentence):
        open_table(path).check(["mgfe"], ["mgfe"])
    bins = {"pos": [0, 1] * u.kpc, "vel": [0, 99] * u.km / u.s}
    columns = {"pos": "z_kpc", "vel": "z_kpc", "label": "mgfe"}
    with pytest.raises(TableError, match=sentence):
        bin_files(path, bins, columns, column_units={"z_kpc": u.kpc})
    with pytest.raises(TableError, match=sentence):
        read_map(write(HEAD + ROWS + f"0.3,30,{cell},0.01\n"))


def test_comments_among_rows_are_no_stars(write):
    """A row that was commented out would count like any other."""
    for rows in (ROWS + "#" + ROWS, "#" + ROWS):
        with pytest.raises(TableError, match="has the comment '#0.1,10.*remove it"):
            open_table(write(HEAD + rows)).read(["mgfe"])
    assert read_map(write(HEAD + ROWS + "#9" + ROWS.replace("0.2,20", "0.3,20")))["label"].size == 3
    quoted = open_table(write('id,x\n"#1",2\n'))
    assert list(quoted.read(["id"])["id"]) == ["#1"]


@pytest.fixture(scope="module")
def long_rows():
    """Rows of two whole numbers that fill exactly one block of the reader."""
    return "1,2\n" * (BLOCK // 4)


def test_rows_behind_a_block_are_read(write, long_rows):
    """A block that ends where a piece ends leaves nothing over, and that is not the end."""
    table = open_table(write("a,b\n" + long_rows + "3,4\n5,6\n"))
    for rows in (1 << 20, BLOCK // 4, 700_001):
        read = list(table.chunks(["b"], rows))
        assert sum(len(piece["b"]) for piece in read) == BLOCK // 4 + 2
        assert read[-1]["b"][-1] == 6


def test_a_column_may_go_on_with_fractions_but_not_with_text(write, long_rows):
    table = open_table(write("a,b\n" + long_rows + "3,4.5\n"))
    read = table.read(["a", "b"])
    assert read["a"].dtype.kind == "i" and read["b"][-1] == 4.5
    assert read["b"].size == BLOCK // 4 + 1 and np.all(read["b"][:-1] == 2)
    row = BLOCK // 4 + 1
    with pytest.raises(TableError, match=f"column 'b' of .* holds '--' in row {row}: leave the"):
        open_table(write("a,b\n" + long_rows + "3,--\n")).read(["b"])
    with pytest.raises(TableError, match=f"row {row} has 1 cells"):
        open_table(write("a,b\n" + long_rows + "3\n")).read(["b"])


def test_a_text_without_end_is_refused_in_its_own_column(write):
    table = open_table(write("a,b\n1," + "x" * 5_000_000 + "\n2,y\n"))
    np.testing.assert_array_equal(table.read(["a"])["a"], [1, 2])
    with pytest.raises(TableError, match="column 'b' of .* holds a text of 5000000 characters"):
        table.read(["b"])


def test_a_blank_is_missing_and_no_0(write):
    got = open_table(write("n,x,name\n1,,\n,2.5,NA\nnan,NULL,b\n")).read(["n", "x", "name"])
    assert got["n"].tolist() == [1, None, None]
    np.testing.assert_array_equal(got["x"], [np.nan, 2.5, np.nan])
    assert list(got["name"]) == ["", "", "b"]
    none = open_table(write("a,b\n\n"))
    assert none.read(["a"])["a"].size == 0


@pytest.mark.parametrize("mark", ["-9999", "-999", "-9999.99", "-99999"])
def test_marks_of_missing_values_in_a_map_are_named(write, mark):
    for k, name in enumerate(("z_kpc", "vz_kms", "mgfe", "mgfe_err")):
        cells = ["0.3", "30", "0.1", "0.01"]
        cells[k] = mark
        with pytest.raises(ValueError, match=f"'{name}' .* is {float(mark):g}, .* in 1 of 3 rows"):
            read_map(write(HEAD + ROWS + ",".join(cells) + "\n"))


def test_heights_of_999_pc_are_heights(write):
    rows = "".join(f"{z},10,0.2,0.01\n" for z in (-999, -500, 0, 500, 999))
    binned = read_map(write(HEAD.replace("kpc", "pc") + rows))
    assert binned["pos"].min() == -999 * u.pc
    saturated = HEAD.replace("\n", ",saturated\n") + "0.1,1,2,1,0\n-9999,1,2,1,1\n"
    assert read_map(write(saturated))["n_saturated"] == 1


@pytest.mark.parametrize("read", [read_map, open_table])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", "/dev/zero"):
        with pytest.raises(ValueError, match="is not a regular file"):
            read(path)
    with pytest.raises(ValueError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read(tmp_path / "none.csv")
    for path in (None, 3, b"a.csv", ["a.csv"], 1.5, "", "a\0b", object()):
        with pytest.raises(ValueError, match="path must be the name of a file, but .* was given"):
            read(path)
    with pytest.raises(ValueError, match="too long"):
        read("x" * 5000)


@pytest.mark.parametrize("blank", [" ", "    ", "\t"])
def test_cells_of_blanks_are_empty(blank, write):
    """Tables in columns fill empty cells with blanks, at their beginning or below."""
    for cells in ([blank, "1.5", "2"], ["1.5", blank, "2"], ["1.5", "2", blank]):
        path = write("a,b\n" + "".join(f"{cell},1\n" for cell in cells))
        wanted = [np.nan if cell == blank else float(cell) for cell in cells]
        np.testing.assert_array_equal(open_table(path).read(["a"])["a"], wanted)


@pytest.mark.parametrize(
    ("cell", "seen"), [("\u00a00.1", r"\\xa00.1"), ("0.1\u200b", r"0.1\\u200b")]
)
def test_signs_that_cannot_be_seen_are_shown(cell, seen, write):
    sentence = f"must hold numbers, but holds '{seen}' in row 2"
    with pytest.raises(TableError, match=f"column 'a' of .*{sentence}"):
        open_table(write(f"a,b\n1,1\n{cell},1\n")).check(["a"], ["a"])
    with pytest.raises(TableError, match=f"column 'mgfe' of .*{sentence}"):
        read_map(write(HEAD + f"0.1,10,0.2,0.01\n0.2,20,{cell},0.01\n"))


def test_tables_of_very_many_columns_are_read(write):
    """To look for each name among all others would take minutes."""
    names = [f"c{k}" for k in range(20_000)]
    path = write(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    assert open_table(path).read(["c7"])["c7"] == [1]
    path.write_text(",".join([*names, "c7"]) + "\n")
    with pytest.raises(TableError, match="two columns 'c7'"):
        open_table(path)


def test_a_pixel_counts_once(write):
    """A map that is appended to itself would halve the errors' squares without a word."""
    with pytest.raises(ValueError, match=r"one pixel in two rows, 1 and 3 of those .* count twice"):
        read_map(write(HEAD + ROWS + ROWS))
    # Another survey's label at the same place is data of its own, and so are rows of no label.
    other = "0.1,10,0.25,0.01\n0.3,30,,\n0.3,30,,\n"
    assert len(read_map(write(HEAD + ROWS + other))["label"]) == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"label": 3}, "label must be the name of a column, but 3"),
        ({"label": 1 * u.kpc}, "label must be the name of a column"),
        ({"scatter": None}, "scatter must be a number of at least 0, but None"),
        ({"scatter": 10**400}, "scatter must be a number of at least 0"),
        ({"scatter": 1 * u.kpc}, "scatter must be a number of at least 0"),
        ({"scatter": np.ma.masked}, "scatter must be a number of at least 0, but masked"),
        ({"scatter": -0.1}, "scatter must be a number of at least 0, but -0.1"),
    ],
)
def test_wrong_kinds_of_a_map_are_one_sentence(arguments, words, write):
    with pytest.raises(ValueError, match=words):
        read_map(write(HEAD + ROWS), **arguments)


def test_a_scatter_of_any_size_is_added(write):
    path = write("z_kpc,vz_kms,mgfe,mgfe_err,count\n0.1,10,0.2,0.01,4\n0.2,20,0.3,0.01,16\n")
    np.testing.assert_allclose(read_map(path, scatter=1e200)["label_err"], [5e199, 2.5e199])
