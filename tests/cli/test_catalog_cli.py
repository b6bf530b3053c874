"""`oti bin` and `oti fetch`: what they write, and how they refuse."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.table import Table

import torusimaging as oti
from torusimaging.cli import main
from torusimaging.files.writing import in_use


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the two files of a small survey and the preset's template."""
    oti.mock.write_apogee(tmp_path, 2_000, seed=4)
    (tmp_path / "config.toml").write_text(oti.catalog.template())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_bin_shows_what_is_worth_a_word(tmp_path, monkeypatch, capsys, caplog):
    """A mark that nobody named: the map is made, and the flow says so; stderr stays empty."""
    rng = np.random.default_rng(0)
    units = {"ra": "deg", "dec": "deg", "parallax": "mas", "pmra": "mas/yr", "pmdec": "mas/yr"}
    table = {name: rng.uniform(1, 4, 300) for name in units}
    table |= {"radial_velocity": rng.normal(0, 20, 300), "fe_h": rng.normal(0, 0.1, 300)}
    table["radial_velocity"][:2] = 77777
    Table(table, units=units | {"radial_velocity": "km/s"}).write(tmp_path / "t.fits")
    (tmp_path / "t.toml").write_text('files = ["t.fits"]\n[label]\nname = "fe_h"\n')
    monkeypatch.chdir(tmp_path)
    assert main(["bin", "t.toml"]) == 0
    shown = capsys.readouterr()
    assert "note: 'radial_velocity' of 2 of 300 stars is beyond 3,000 km/s" in shown.out
    assert "missing = [...]" in shown.out and "below the cuts" in shown.out
    assert shown.err == "" and not caplog.records


def test_bin_from_the_template(folder, capsys):
    assert main(["bin", "--template", "apogee-dr17"]) == 0
    assert capsys.readouterr().out == (folder / "config.toml").read_text()
    assert main(["bin", "config.toml"]) == 0
    text, remarks = capsys.readouterr()
    assert remarks == ""
    assert "STARFLAG PERSIST_HIGH" in text and "R0 = 8.3 kpc" in text and "median errors" in text
    names = {p.name for p in (folder / "oti-bin").iterdir()}
    assert names == {"map.csv", "stars.parquet", "cuts.ecsv", "places.png"}
    read = oti.data.read_map(folder / "oti-bin" / "map.csv")
    assert "R0 = 8.3 kpc" in read["frame"] and "pos_mean" in read


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f / "none.toml", "there is no configuration"),
        (lambda f: _edit(f, '"MG_FE"', '"MG_EF"'), "no column 'MG_EF'"),
        (lambda f: _edit(f, "[bins]", "[bin]"), "unknown section [bin]; did you mean 'bins'"),
        (lambda f: _edit(f, "# R = [", 'R = ["1 kpc", "2 kpc"] # ['), "no star is left after"),
        (lambda f: _cut(f), "truncated"),
    ],
)
def test_bin_refuses_in_one_sentence(folder, capsys, change, words):
    path = change(folder) or folder / "config.toml"
    before = {p.name for p in folder.iterdir()}
    assert main(["bin", str(path)]) == 2
    text = capsys.readouterr().err
    assert text.startswith("oti: error:") and text.count("\n") == 1 and words in text
    assert {p.name for p in folder.iterdir()} == before


def test_an_output_in_use_or_in_the_way_is_left_alone(folder, capsys):
    """A second writer is refused; a folder where a file must go changes no other file."""
    out = folder / "out"
    arguments = ["bin", str(folder / "config.toml"), "--out", str(out)]
    with in_use(out):
        assert main(arguments) == 2
    assert "is being written by another process" in capsys.readouterr().err
    (out / "map.csv").mkdir(parents=True)
    (out / "cuts.ecsv").write_text("mine")
    assert main(arguments) == 2
    assert "map.csv cannot be written: it is a folder" in capsys.readouterr().err
    assert (out / "cuts.ecsv").read_text() == "mine"


def _edit(folder, old: str, new: str) -> None:
    path = folder / "config.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _cut(folder) -> None:
    path = folder / "allStarLite-dr17-synspec_rev1.fits"
    path.write_bytes(path.read_bytes()[:1_000_000])


def test_a_killed_run_leaves_no_output(folder):
    """The process is killed while it writes: as soon as its hidden folder is there."""
    run = subprocess.Popen(
        [sys.executable, "-c", "from torusimaging.cli import main; main(['bin', 'config.toml'])"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob(".oti-*")) and run.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert not (folder / "oti-bin").exists()


def test_fetch_offline(tmp_path, capsys):
    arguments = ["fetch", "apogee-dr17", "--to", str(tmp_path), "--mirror", "http://127.0.0.1:9"]
    assert main(arguments) == 2
    text = capsys.readouterr().err
    assert "by hand and put it into" in text and text.count("\n") == 1
    assert main(["fetch", "nothing"]) == 2
