"""Numbers and tables are printed to their errors, on any screen, and keep their digits."""

import copy
import pickle

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable

from torusimaging.results.rounding import RoundedTable, rounded


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (28.3638261, 7.07796, "28.4"),
        (0.0996, 0.0996, "0.10"),
        (0.6, 0.00995001, "0.600"),
        (-0.00049, 0.13, "0.00"),
        (1234.5, 345.6, "1234"),
        (123456789.0, 1234567.0, "1.235e+08"),
        (123456789.0, 1e9, "1e+08"),
        (3e-9, 1.2e-10, "3.00e-09"),
        (0.0, 0.25, "0.00"),
        (5.0, 0.0, "5"),
        (0.654321, np.nan, "0.6543"),
        (np.nan, 1.0, "nan"),
        (-np.inf, 1.0, "-inf"),
    ],
)
def test_two_figures_of_the_error(value, error, text):
    assert rounded(value, error) == text


@pytest.fixture
def table():
    """A table of parameters with a name as long as they come, and one of no spread."""
    middle = np.array([1.23456789, 18.3456789e-3, -4.0])
    sd = np.array([0.123456, 1.23456e-3, np.nan])
    return RoundedTable(
        {
            "parameter": ["density_params.ln_rho[12]", "pos0", "label_params.label_vals[0]"],
            "unit": ["", "kpc", ""],
            "mean": middle,
            "sd": sd,
            "p16": middle - sd,
            "median": middle,
            "p84": middle + sd,
            "rhat": [1.00149, 0.99951, np.nan],
            "ess_bulk": [12345678.9, 80.2, np.nan],
            "ess_tail": [123456789012.0, 80.2, np.nan],
        }
    )


def test_a_print_fits_the_screen(table, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = str(table).splitlines()
    assert max(map(len, lines)) <= 80
    assert (
        lines[1].split() == "density_params.ln_rho[12] 0.12 1.11 1.23 1.36 1.001 12345679".split()
    )
    assert lines[2].split() == "pos0 [kpc] 0.0012 0.0171 0.0183 0.0196 1.000 80".split()
    assert lines[3].split() == ["label_params.label_vals[0]", *"nan nan -4 nan nan nan".split()]
    assert lines[4] == "(further columns: mean, ess_tail)"


@pytest.mark.parametrize("columns", [30, 50, 80, 200])
def test_nothing_is_lost_on_any_screen(table, columns, monkeypatch):
    """Every value stands somewhere, or its column is named as left out."""
    monkeypatch.setenv("COLUMNS", str(columns))
    text = str(table)
    assert max(map(len, text.splitlines())) <= max(columns, 44)
    for name in set(table.colnames) - {"unit"}:
        assert name in text
    assert ("further columns" in text) == (columns < 200)


def test_levels_of_quantities(monkeypatch):
    """Levels follow the quantity's name, and a long table has its ends."""
    monkeypatch.setenv("COLUMNS", "80")
    z = np.linspace(0, 1, 61)
    names = [f"{q}_{x}" for q in ("a_z", "rho") for x in ("median", "p2_5", "p16", "p84", "p97_5")]
    steps = [0, -2, -1, 1, 2] * 2
    columns = {n: (z + 0.0123 * s) * u.kpc for n, s in zip(names, steps, strict=True)}
    table = RoundedTable({"z": z * u.kpc} | columns)
    lines = table.pformat(max_lines=12)
    assert lines[0].split() == ["z", *"a_z p2_5 p16 p84 p97_5 rho p2_5 p16 p84 p97_5".split()]
    assert lines[-1] == "z [kpc], a_z [kpc], rho [kpc]" and len(lines) <= 12
    assert lines[1].split()[:5] == ["0", "0.000", "-0.025", "-0.012", "0.012"]
    assert lines[-2].split()[0] == "1" and any(set(line) <= {".", " "} for line in lines)
    assert len(table.pformat(max_lines=-1)) == 63
    assert lines[0] in repr(table) or "<RoundedTable length=61>" in repr(table)


def test_values_keep_all_digits(table, tmp_path):
    table.write(tmp_path / "table.ecsv")
    back = QTable.read(tmp_path / "table.ecsv")
    np.testing.assert_array_equal(back["median"], table["median"])
    for other in (copy.deepcopy(table), pickle.loads(pickle.dumps(table)), table[:3]):
        assert str(other) == str(table)
    assert "0.0183" in table[1:2]._repr_html_() and "18.3456789" not in table._repr_html_()
    assert "sd" not in str(table["parameter", "median"])
