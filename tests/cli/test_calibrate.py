"""``oti calibrate``: what it writes, and how it refuses."""

import numpy as np
import pytest

import torusimaging as oti
from torusimaging.cli import main


@pytest.fixture(scope="module")
def map_file(tmp_path_factory):
    rng = np.random.default_rng(0)
    z, vz = (g.ravel() for g in np.meshgrid(np.linspace(-1, 1, 12), np.linspace(-60, 60, 12)))
    label = 0.25 * np.tanh(3 * np.hypot(z * 0.27, vz / 977.79 / 0.27))
    rows = np.column_stack([z, vz, label + rng.normal(0, 0.01, z.size), np.full(z.size, 0.01)])
    path = tmp_path_factory.mktemp("map") / "map.csv"
    np.savetxt(path, rows, delimiter=",", comments="", header="z_kpc,vz_kms,mgfe,mgfe_err")
    return str(path)


def test_writes_everything(map_file, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--model", "spline", "--simulations", "10", "--sampler", "laplace"]
    assert main(["calibrate", map_file, "--processes", "1", "--out", str(out), *options]) == 0
    names = [p.name for p in sorted(out.iterdir())]
    assert names == ["calibration.ecsv", "calibration.png", "calibration.txt"]
    assert list(tmp_path.iterdir()) == [out]
    result = oti.Calibration.load(out / "calibration.ecsv")
    assert len(result.ranks) == 10
    captured = capsys.readouterr()
    assert result.text in captured.out and captured.err == ""
    assert (out / "calibration.txt").read_text() == result.text + "\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--simulations", "3"], "simulations must be a whole number from 10"),
        (["--processes", "0"], "processes must be"),
        (["--out", "{map}"], "is a file"),
        (["--label", "mgfee"], "did you mean 'mgfe'"),
    ],
)
def test_refuses(options, message, map_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = [o.format(map=map_file) for o in options]
    assert main(["calibrate", map_file, "--model", "spline", *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
