"""The command line: what it writes, and how it refuses."""

import contextlib
import os
import signal
import sys

import numpy as np
import pytest

import torusimaging as oti
from torusimaging.cli import main
from torusimaging.files.writing import in_use

FAST = ["--chains", "2", "--warmup", "60", "--draws", "30"]


@pytest.fixture(scope="module")
def map_file(tmp_path_factory):
    """A small noisy map on a file, pixels in no particular order."""
    rng = np.random.default_rng(0)
    z, vz = (g.ravel() for g in np.meshgrid(np.linspace(-1, 1, 15), np.linspace(-60, 60, 15)))
    r = np.hypot((z - 0.02) * 0.27, vz / 977.79 / 0.27)
    label = 0.25 * np.tanh(3 * r) + rng.normal(0, 0.01, z.size)
    path = tmp_path_factory.mktemp("map") / "map.csv"
    rows = np.column_stack([z, vz, np.full(z.size, 30), label, np.full(z.size, 0.01), z > 0.99])
    np.savetxt(
        path,
        rows,
        delimiter=",",
        comments="",
        fmt="%.6g",
        header="z_kpc,vz_kms,count,mgfe,mgfe_err,saturated",
    )
    return path


def test_fit_writes_everything(map_file, tmp_path, capsys, monkeypatch, open_terminal):
    """A person at a terminal sees every stage; the result is the same as elsewhere."""
    out = tmp_path / "result"
    screen = open_terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", screen.stream)
    assert main(["fit", str(map_file), "--out", str(out), "--frame", "test frame", *FAST]) in (
        0,
        3,
        4,
    )
    monkeypatch.undo()
    lines = screen.lines()
    stages = ["starting", "reading map.csv", "finding the optimum", "compiling the sampler"]
    stages += ["sampling", "[############] 2 chains, step 90/90", "tables", "figure corner"]
    seen = [min(i for i, x in enumerate(lines) if x.startswith(stage)) for stage in stages]
    assert seen == sorted(seen) and lines[-1] == "" and max(map(len, lines)) < 80
    text = capsys.readouterr().out
    assert "Sigma(1.1 kpc)" in text and "test frame" in text and "15 saturated" in text
    names = {p.name for p in out.iterdir()}
    assert {"fit.nc", "table.txt", "table.ecsv", "model.png", "captions.txt", "arviz.nc"} <= names
    assert {"corner.png", "posterior-predictive.png", "profiles.png", "trace.png"} <= names
    fit = oti.load(out / "fit.nc")
    assert len(fit.samples) == 60 and fit.frame == "test frame"
    assert list(tmp_path.iterdir()) == [out]


def test_a_stopped_fit_goes_on(map_file, tmp_path, capsys, monkeypatch):
    """Ctrl-C says how to go on; the same draws come out as without it; a second fit is refused."""
    out = tmp_path / "result"
    arguments = ["fit", str(map_file), "--model", "spline", "--out", str(out), *FAST]
    sample = oti.Fit.sample

    def stopped(self, *given, progress=None, **options):
        pressed = []

        def report(state):
            if state.done >= 60 and not pressed:
                pressed.append(True)
                os.kill(os.getpid(), signal.SIGINT)

        return sample(self, *given, progress=report, **options)

    monkeypatch.setattr(oti.Fit, "sample", stopped)
    assert main(arguments) == 130
    message = capsys.readouterr().err
    partial = tmp_path / "result.partial" / "fit.nc"
    assert f"oti sample {partial} --resume --out {out}" in message and not out.exists()
    monkeypatch.setattr(oti.Fit, "sample", sample)
    assert "holds a run that was stopped" in bad(arguments, capsys)
    again = ["sample", str(partial), "--resume", "--out", str(out)]
    assert "--seed must be that of the run" in bad([*again, "--seed", "7"], capsys)
    stored = oti.load(partial)
    assert main(again) in (0, 3, 4)
    assert capsys.readouterr().err == ""
    assert list(tmp_path.iterdir()) == [out]
    whole = stored.sample(num_warmup=60, num_steps=30, num_chains=2)
    np.testing.assert_array_equal(oti.load(out / "fit.nc").samples.draws, whole.samples.draws)
    assert "no run to resume" in bad(["sample", str(out / "fit.nc"), "--resume"], capsys)
    assert "no result file" in bad(["sample", str(tmp_path / "none.nc")], capsys)


def test_draws_survive_a_stop_while_the_report_is_written(map_file, tmp_path, capsys, monkeypatch):
    out = tmp_path / "result"
    arguments = ["fit", str(map_file), "--model", "spline", "--out", str(out), *FAST]

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(oti.report, "write_report", stopped)
        assert main(arguments) == 130
    command = capsys.readouterr().err.partition("oti sample ")[2].split()
    assert "--resume" in command and not out.exists()
    assert main(["sample", *command]) in (0, 3, 4)
    assert list(tmp_path.iterdir()) == [out]


def bad(arguments, capsys) -> str:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("oti: error: ") and captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no file"),
        ("", "cannot be read as a CSV table"),
        ("z_kpc,vz,mgfe,mgfe_err\n0,0,1,1\n", "no column 'vz_kms'"),
        ("z_kpc,vz_kms,mgfe\n0,0,1\n", "no label with an error"),
        ("z_kpc,vz_kms,mgfe,mgfe_err\n0,0,a,1\n1,1,b,1\n", "must hold numbers"),
        ("z_kpc,vz_kms,mgfe,mgfe_err\n0,0,1,1\n", "at least two usable pixels"),
        ("z_kpc,vz_kms,mgfe,mgfe_err\n", "no row to fit"),
        ("z_kpc,vz_kms,mgfe,mgfe_err,saturated\n0,0,1,1,1\n", "1 of them saturated"),
        ("z_kpc,vz_kms,mgfe,mgfe_err\n0,0,nan,1\n1,1,nan,1\n", "at least two usable pixels"),
        ("z_kpc,vz_kms,mgfe,mgfe_err\n0,0,1,-1\n1,1,1,1\n", "label_err must not be negative"),
        ("z_kpc,vz_kms,mgfe,mgfe_err\n0,0,1,1\n0,0,2,1\n", "more than one pos"),
        ("\x00\x89\xff binary", "cannot be read"),
    ],
)
def test_bad_maps(text, message, tmp_path, capsys):
    path = tmp_path / "map.csv"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    out = tmp_path / "out"
    assert message in bad(["fit", str(path), "--out", str(out)], capsys)
    assert not out.exists()


def test_bad_options(map_file, tmp_path, capsys):
    assert "no column 'mgfee'" in bad(["fit", str(map_file), "--label", "mgfee"], capsys)
    assert "did you mean 'mgfe'" in bad(["fit", str(map_file), "--label", "mgfee"], capsys)
    assert "scatter must be" in bad(["fit", str(map_file), "--scatter", "-1"], capsys)
    assert "--chains" in bad(["fit", str(map_file), "--chains", "0"], capsys)
    assert "--stars" in bad(["demo", "--stars", "10"], capsys)
    assert "is a folder" in bad(["fit", str(tmp_path)], capsys)
    assert "/dev/zero is not a regular file" in bad(["fit", "/dev/zero"], capsys)
    (tmp_path / "odd.csv").write_text("z_kpc,vz_kms,y,y_err\n0.1,1_0,2,1\n")
    assert "'1_0' in row 1" in bad(["fit", str(tmp_path / "odd.csv")], capsys)
    assert "is a file" in bad(["fit", str(map_file), "--out", str(map_file)], capsys)
    missing = str(tmp_path / "no" / "where")
    assert "cannot be made" in bad(["fit", str(map_file), "--out", missing], capsys)


def test_a_folder_in_use_is_refused(map_file, tmp_path, capsys):
    out = tmp_path / "result"
    for command in (["demo"], ["fit", str(map_file)], ["calibrate", str(map_file)]):
        with in_use(out):
            assert main([*command, "--out", str(out)]) == 2
        assert "is being written by another process" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_argparse_errors_exit_with_two(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit"])
    assert stop.value.code == 2
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "exit codes:\n  0 " in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--chains", "--draws", "--warmup", "--seed", "--scatter"])
def test_two_dashes_are_no_value(option, map_file, capsys):
    """Of ``--chains=--`` argparse makes an empty list."""
    with pytest.raises(SystemExit) as stop:
        main(["fit", str(map_file), f"{option}=--"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error and "expected one argument" in error or "invalid" in error


@pytest.mark.parametrize("command", ["fit", "calibrate", "bin"])
@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("", "the output folder must be a path, but '' was given"),
        ("~nobody-at-all/x", "names nobody's home"),
        ("x" * 300, "the output folder is too long for the name of a file"),
        ("a\0b", "the output folder must be a path, but 'a\\x00b' was given"),
        ("\ud800", "the output folder has a letter that names of files cannot have here"),
    ],
)
def test_what_is_no_output_folder_is_said(command, out, words, map_file, tmp_path, capsys):
    path = map_file
    if command == "bin":
        path = tmp_path / "a.toml"
        path.write_text('files = ["a.csv"]\n[label]\nname = "x"\n')
    before = sorted(tmp_path.iterdir())
    assert main([command, str(path), f"--out={out}"]) == 2
    assert words in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_process_may_lack_a_standard_stream(name, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sys, name, None)
        assert main(["bin", "--template", "generic"]) == 0
        getattr(sys, name).close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux's")
def test_outputs_that_are_lost_are_said_or_borne(monkeypatch, capsys, tmp_path):
    with monkeypatch.context() as patch, contextlib.suppress(OSError), open("/dev/full", "w") as f:
        patch.setattr(sys, "stdout", f)
        assert main(["bin", "--template", "generic"]) == 2
    sentence = "oti: error: standard output cannot be written: No space left on device.\n"
    assert capsys.readouterr().err == sentence
    with monkeypatch.context() as patch, contextlib.suppress(OSError), open("/dev/full", "w") as f:
        patch.setattr(sys, "stderr", f)
        assert main(["bin", str(tmp_path / "nowhere.toml")]) == 2


def test_a_working_folder_that_is_gone_is_said(monkeypatch, capsys, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        folder.rmdir()
        assert main(["bin", "--template", "generic"]) == 2
    assert "the working folder cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize("mirror", ["x", "file:///etc", "http://", "ftp://a", "", "http://a\0"])
def test_a_mirror_is_an_address(mirror, tmp_path, capsys):
    assert main(["fetch", "sdss-v-dr19", "--to", str(tmp_path / "a"), f"--mirror={mirror}"]) == 2
    assert "mirror must be an address such as https://" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
