"""Files that appear when they are complete, and locks of one process at a time."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from torusimaging.files.folders import filled_folder
from torusimaging.files.writing import Lock, in_use, whole_name, write_complete

# Windows' module in terms of this system's: a byte of an open file is locked, or PermissionError.
WITHOUT_FCNTL = """
import sys, types
import fcntl as own
windows = types.ModuleType("msvcrt")
windows.LK_NBLCK = 2
def locking(handle, mode, size):
    assert (mode, size) == (2, 1)
    try:
        own.flock(handle, own.LOCK_EX | own.LOCK_NB)
    except OSError:
        raise PermissionError(13, "Permission denied") from None
windows.locking = locking
sys.modules |= {"fcntl": None, "msvcrt": windows}
from pathlib import Path
from torusimaging.files.writing import in_use, write_complete
path = Path(sys.argv[1])
with in_use(path):
    write_complete(path, lambda name: Path(name).write_text("all"))
    try:
        with in_use(path):
            print("two")
    except OSError as error:
        print(error)
print(sorted(p.name for p in path.parent.iterdir()))
"""


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_follow_the_mask_which_nobody_sets(tmp_path, monkeypatch, mask):
    """To read the mask one must set it, and another thread's file is then open to all."""
    before = os.umask(mask)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", lambda mask: pytest.fail("the mask was set"))
            path = write_complete(tmp_path / "map.csv", lambda name: Path(name).write_text("x"))
            with filled_folder(tmp_path / "result") as (work, _):
                (work / "a.txt").write_text("x")
    finally:
        os.umask(before)
    assert mode(path) == 0o666 & ~mask
    assert mode(tmp_path / "result") == 0o777 & ~mask


def test_threads_write_one_file_whole(tmp_path):
    path, texts = tmp_path / "map.csv", [f"{k}" * 100_000 for k in range(8)]
    threads = [
        threading.Thread(
            target=write_complete, args=(path, lambda name, t=text: Path(name).write_text(t))
        )
        for text in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_leaves_the_old_file(tmp_path, kind):
    path = tmp_path / "map.csv"
    path.write_text("old")

    def write(name):
        Path(name).write_text("ne")
        raise kind

    with pytest.raises(
        type(kind), match="map.csv cannot be written: No space" if kind.args else None
    ):
        write_complete(path, write)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_names_that_were_begun(tmp_path):
    seen = []
    write_complete(tmp_path / "chain-0.npz", lambda name: seen.append(Path(name).name))
    assert seen[0] != "chain-0.npz" and whole_name(seen[0]) == "chain-0.npz"
    assert whole_name("chain-0.npz.part") == whole_name("chain-0.npz") == "chain-0.npz"
    assert write_complete(tmp_path / ("x" * 250), lambda name: None).exists()


def test_a_lock_is_one_holders_and_goes_with_it(tmp_path):
    with in_use(tmp_path / "a"):
        with pytest.raises(OSError, match="is being written by another process"):
            with in_use(tmp_path / "a"):
                pytest.fail("two holders")
    lock = Lock(tmp_path / "lock")
    with pytest.raises(BlockingIOError):
        Lock(tmp_path / "lock")
    lock.release(remove=False)
    Lock(tmp_path / "lock").release()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    for use in (in_use, lambda path: write_complete(path, print)):
        with pytest.raises(OSError, match="a.nc cannot be written: No such file or directory.$"):
            with use(tmp_path / "none" / "a.nc"):
                pytest.fail("written")


def test_windows_lock(tmp_path):
    command = [sys.executable, "-c", WITHOUT_FCNTL, str(tmp_path / "a")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{tmp_path / 'a'} is being written by another process.",
        "['a']",
    ]
