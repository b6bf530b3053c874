"""Maps on file: with and without counts and units, and counts that scatter cannot use."""

import astropy.units as u
import numpy as np
import pytest

import torusimaging as oti
from torusimaging.data import read_map, write_map

BINS = {"pos": np.linspace(-1, 1, 5) * u.kpc, "vel": np.linspace(-50, 50, 4) * u.km / u.s}


@pytest.fixture(scope="module")
def stars():
    rng = np.random.default_rng(3)
    return rng.normal(0, 0.4, 500) * u.kpc, rng.normal(0, 20, 500) * u.km / u.s


@pytest.fixture(scope="module")
def binned(stars):
    age = 5 + np.random.default_rng(4).normal(0, 1, 500)
    return oti.data.get_binned_label(*stars, age * u.Gyr, BINS, label_err=0.3 * u.Gyr)


def test_a_labels_unit_goes_to_the_file_and_back(binned, tmp_path):
    read = read_map(write_map(binned, tmp_path / "map.csv", "age", "the observer's"))
    used = binned["counts"] > 0
    for name in ("label", "label_err"):
        assert read[name].unit == u.Gyr
        np.testing.assert_array_equal(read[name].value, binned[name].value[used])
    assert read["frame"] == "the observer's" and read["name"] == "age"


@pytest.mark.parametrize("unit", [u.Myr, u.def_unit("myr", 1e6 * u.yr), u.km / u.s, u.mag])
def test_units_in_words(binned, tmp_path, unit):
    labels = {k: binned[k].value * unit for k in ("label", "label_err")}
    read = read_map(write_map(binned | labels, tmp_path / "map.csv"))
    np.testing.assert_allclose(read["label"].to_value(unit), labels["label"].value.ravel())


def test_plain_labels_have_no_line_of_a_unit(binned, tmp_path):
    for unit in (1, u.dex):
        plain = binned | {k: binned[k].value * unit for k in ("label", "label_err")}
        path = write_map(plain, tmp_path / "map.csv")
        assert path.read_text().startswith("z_kpc") and not hasattr(read_map(path)["label"], "unit")


def test_a_unit_that_is_not_understood_is_refused(binned, tmp_path):
    path = write_map(binned, tmp_path / "map.csv")
    path.write_text(path.read_text().replace("Gyr", "aeons"))
    with pytest.raises(ValueError, match="unit 'aeons' of 'label', which is not understood"):
        read_map(path)


def test_a_map_without_counts_is_written_without(binned, tmp_path):
    few = {k: binned[k] for k in ("pos", "vel", "label", "label_err")}
    path = write_map(few, tmp_path / "map.csv")
    assert "count" not in path.read_text()
    np.testing.assert_array_equal(read_map(path)["label"], binned["label"][binned["counts"] > 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, r"binned must be a map with pos, vel, label and label_err.*\(given: NoneType"),
        ({"label": None}, "label_err must have no unit"),
        ({"label_err": 3 * u.Gyr}, r"must have one shape, but have: .* label_err \(\)"),
        ({"label_err": 3 * u.kpc}, "label_err must have a unit like Gyr"),
        ({"pos": 3}, "pos has no unit"),
        ({"counts": "many"}, "counts must be numbers"),
        ({"counts": [1, 2]}, "must have one shape"),
    ],
)
def test_what_is_no_map_is_not_written(binned, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        write_map(None if change is None else binned | change, tmp_path / "map.csv")
    for name in (None, 3, "a,b", " ", "count", "z_kpc"):
        with pytest.raises(ValueError, match="name"):
            write_map(binned, tmp_path / "map.csv", name)
    with pytest.raises(ValueError, match="frame must be a line"):
        write_map(binned, tmp_path / "map.csv", frame=3)
    assert not list(tmp_path.iterdir())


def test_a_map_of_counts_is_no_map_of_a_label(stars, tmp_path):
    counts = oti.data.get_binned_counts(*stars, BINS)
    with pytest.raises(ValueError, match="has no label and no label_err .given: pos, vel, "):
        write_map(counts, tmp_path / "map.csv")


@pytest.mark.parametrize("count", ["0", "-5", "nan", "0.5"])
def test_scatter_needs_stars(tmp_path, count):
    path = tmp_path / "map.csv"
    head = "z_kpc,vz_kms,mgfe,mgfe_err,count\n0.1,10,0.2,0.01,9\n"
    path.write_text(f"{head}0.2,20,0.3,0.01,{count}\n")
    with pytest.raises(ValueError, match="'count' of .* must .*, but is .* in 1 of 2 rows"):
        read_map(path, scatter=0.1)
    # A pixel without a label has no use for its count.
    path.write_text(f"{head}0.2,20,,,{count.strip('-')}\n")
    np.testing.assert_allclose(read_map(path, scatter=0.3)["label_err"][0], np.hypot(0.01, 0.1))
