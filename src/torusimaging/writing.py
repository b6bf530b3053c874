"""Files that appear when they are complete, and places that one process at a time writes."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# What is on the way to be complete, and locks: of no use once the process has ended.
_unfinished: set[Path] = set()


def remove_unfinished() -> None:
    """Remove what writers have begun, for a process that ends without coming back to them."""
    for path in list(_unfinished):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def begun(path: Path) -> Iterator[None]:
    """While something is being written that is of no use before it is complete."""
    _unfinished.add(path)
    try:
        yield
    finally:
        _unfinished.discard(path)


def write_complete(path: str | os.PathLike, write: Callable[[str], object]) -> Path:
    """Let `write` make a file beside `path`, which takes that name when complete.

    Raises ``OSError`` where that is impossible, as on a full disk; then nothing is left behind.
    """
    path = Path(path)
    _check_named(path)
    if path.is_dir():
        raise OSError(f"{path} cannot be written: it is a folder.")
    try:
        handle, name = tempfile.mkstemp(suffix=".part", dir=path.parent)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}.") from None
    os.close(handle)
    try:
        with begun(Path(name)):
            write(name)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from None
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Keep other processes from writing `path`, a file or folder, by a lock file beside it.

    Raises ``OSError`` where another process keeps it, or the folder cannot be written.
    """
    _check_named(path)
    lock = path.with_name(f".{path.name}.lock")
    try:
        file = open(lock, "w")
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}.") from None
    with file:
        try:
            # The system takes the lock back from a process that dies.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its keeper may have removed the file between the two calls.
            free = lock.exists() and lock.stat().st_ino == os.fstat(file.fileno()).st_ino
        except OSError:
            free = False
        if not free:
            raise OSError(f"{path} is being written by another process.")
        try:
            with begun(lock):
                yield
        finally:
            lock.unlink(missing_ok=True)


def _check_named(path: Path) -> None:
    if not path.name:
        raise OSError(f"a file or folder to write must have a name, but {str(path)!r} was given.")
