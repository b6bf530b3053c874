"""Ctrl-C and the end of a batch job, at any moment: code 130, a sentence, nothing half-written."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from torusimaging.cli import main
from torusimaging.cli.interruption import Interruption

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def test_the_caller_s_handlers_stay(tmp_path, capsys):
    def own(number, frame):
        raise AssertionError("no signal is sent here")

    before = [signal.signal(number, own) for number in SIGNALS]
    try:
        assert main(["fit", str(tmp_path / "no-map.csv")]) == 2
        assert [signal.getsignal(number) for number in SIGNALS] == [own, own]
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


def test_what_is_ignored_stays_so(tmp_path, capsys):
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Interruption(ends_process=False):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


class Swallows:
    """Meets a signal in its finaliser, whose exceptions Python drops."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass


def test_a_signal_in_a_finaliser_is_not_lost():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), Interruption(ends_process=False):
            some = Swallows()
            del some
            time.sleep(30)
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_may_call_it(tmp_path, capsys):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(main(["fit", str(tmp_path / "no.csv")])))
    thread.start()
    thread.join()
    assert codes == [2]


@pytest.fixture(scope="module")
def map_text():
    z, vz = (g.ravel() for g in np.meshgrid(np.linspace(-1, 1, 15), np.linspace(-60, 60, 15)))
    r = np.hypot((z - 0.02) * 0.27, vz / 977.79 / 0.27)
    label = 0.25 * np.tanh(3 * r) + np.random.default_rng(0).normal(0, 0.01, z.size)
    rows = [f"{a:.6g},{b:.6g},{c:.6g},0.01" for a, b, c in zip(z, vz, label, strict=True)]
    return "\n".join(["z_kpc,vz_kms,mgfe,mgfe_err", *rows]) + "\n"


# In the first moment modules are imported; in the others the optimum is on file and the sampler,
# whose numbers of steps no other test has, is being compiled, which takes some 10 s.
@pytest.mark.parametrize(
    ("number", "after_optimum", "seconds"),
    [(signal.SIGINT, False, 1.5), (signal.SIGINT, True, 0.5), (signal.SIGTERM, True, 3.0)],
)
def test_a_signal_at_any_moment(number, after_optimum, seconds, map_text, tmp_path):
    (tmp_path / "map.csv").write_text(map_text)
    # Tests in the background of a script are started with Ctrl-C ignored, as are their children.
    command = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command += "from torusimaging.cli import main; sys.exit(main())"
    options = ["--chains", "1", "--warmup", "61", "--draws", "1370", "--out", "fit"]
    child = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", command, "fit", "map.csv", *options],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    begin = time.monotonic()
    while after_optimum and not (tmp_path / "fit.partial" / "fit.nc").exists():
        assert child.poll() is None and time.monotonic() - begin < 300
        time.sleep(0.1)
    time.sleep(seconds)
    child.send_signal(number)
    _, text = child.communicate(timeout=300)
    assert child.returncode == 130, text
    assert text.count("oti: ") == 1 and "Traceback" not in text and "Fatal" not in text
    left = {p.name for p in tmp_path.iterdir()}
    if after_optimum:
        assert "go on with: oti sample" in text
        assert left == {"map.csv", "fit.partial"}
    else:
        assert "interrupted; no result was written" in text
        assert left == {"map.csv"}
