"""Progress on a terminal, on a narrow one, on one that cannot go back, and on none."""

import contextlib
import io
import os
import pty
import time

import pytest

from torusimaging.cli import progress
from torusimaging.cli.progress import Progress
from torusimaging.clock import duration
from torusimaging.inference import Progress as Steps


def run(shown: Progress) -> None:
    """Stages, one of them with chains, one after another."""
    with shown:
        shown.stage("reading map\x1b[2J.csv")
        shown.stage("compiling the sampler")
        shown.draws(Steps(0, 6000, 4, 0, float("nan"), float("inf")))
        time.sleep(2.5 * progress.TICK)
        shown.draws(Steps(3000, 6000, 4, 2, 312.4, 40.2))
        time.sleep(2.5 * progress.TICK)


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_a_line_that_is_written_over(columns, open_terminal, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "WORTH", 0.3)
    screen = open_terminal(columns)
    run(Progress(stream=screen.stream))
    text = screen.text()
    found = screen.lines()
    assert max(map(len, found)) < columns
    assert "\x1b[2J" not in text
    # Only what took long enough is still there at the end.
    assert text.count("\n") == 1 and text.endswith("\x1b[Ksampling: 1 s\r\n")
    if columns >= 80:
        assert "reading map?[2J.csv: 0 s" in found
        whole = "4 chains, step 750/1500, 2 divergences, 40 s left, ESS 312"
        assert any(line.endswith(whole) for line in found)
        assert any("[######------] 4 chains" in line for line in found)
    elif columns == 40:
        assert any(line.startswith("50 % 4 chains, step 750/1500") for line in found)


def test_a_terminal_that_cannot_go_back(open_terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(progress, "PATIENCE", 0.3)
    screen = open_terminal()
    run(Progress(stream=screen.stream))
    text = screen.text()
    assert "\x1b" not in text
    assert text.split("\r\n")[1:] == [
        "compiling the sampler ...",
        "sampling ...",
        " 50 % 4 chains, step 750/1500, 2 divergences, 40 s left, ESS 312",
        "",
    ]


def test_nothing_elsewhere(open_terminal, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    file = io.StringIO()
    run(Progress(stream=file))
    assert file.getvalue() == ""
    screen = open_terminal()
    run(Progress(quiet=True, stream=screen.stream))
    assert screen.text() == ""


def test_a_terminal_that_is_gone(monkeypatch):
    """The command goes on, for its result."""
    monkeypatch.setenv("TERM", "xterm")
    master, slave = pty.openpty()
    stream = os.fdopen(slave, "w")
    shown = Progress(stream=stream)
    assert shown.shown
    os.close(master)
    run(shown)
    assert not shown.shown
    with contextlib.suppress(OSError):
        stream.close()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99.4, "99 s"), (99.6, "2 min"), (5900, "98 min"), (7300, "2 h 2 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
