"""Files that appear when they are complete, and places that one process at a time writes."""

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows
    from msvcrt import LK_NBLCK, locking  # pyright: ignore[reportAttributeAccessIssue]

    def _take(handle: int) -> None:
        locking(handle, LK_NBLCK, 1)
else:

    def _take(handle: int) -> None:
        flock(handle, LOCK_EX | LOCK_NB)


PART = ".part"
# What is on the way to be complete, and locks: of no use once the process has ended.
_unfinished: set[Path] = set()


def remove_unfinished() -> None:
    """Remove what writers have begun, for a process that ends without coming back to them."""
    for path in list(_unfinished):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            _unlink(path)


@contextmanager
def begun(path: Path) -> Iterator[None]:
    """While something is being written that is of no use before it is complete."""
    _unfinished.add(path)
    try:
        yield
    finally:
        _unfinished.discard(path)


def write_complete(path: str | os.PathLike, write: Callable[[str], object]) -> Path:
    """Let `write` make a file beside `path`, which takes that name when all of it is on disk.

    Raises ``OSError`` where that is impossible, as on a full disk; then nothing is left behind.
    """
    path = Path(path)
    _check_named(path)
    if path.is_dir():
        raise OSError(f"{path} cannot be written: it is a folder.")
    part = _name_beside(path)
    try:
        # The system itself keeps back what the user's mask of permissions does.
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        with begun(part):
            write(str(part))
            put(part, path)
    except OSError as error:
        reason = str(error.strerror or error).rstrip(".")
        raise OSError(f"{path} cannot be written: {reason}.") from None
    finally:
        # Where all went well it bears its name by now.
        _unlink(part)
    return path


def put(part: Path, path: str | os.PathLike) -> None:
    """Give a finished file its name, in one step and not before all of it is on disk."""
    with open(part, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def whole_name(name: str) -> str:
    """The name for which a file was begun that `write_complete` had no time to finish or remove."""
    return re.sub(rf"(\.[0-9a-f]{{8}})?\{PART}$", "", name)


def folder_beside(folder: Path) -> Path:
    """A new folder beside `folder`, hidden, with the permissions that any new folder gets."""
    work = folder.with_name(f".oti-{secrets.token_hex(4)}")
    work.mkdir()
    return work


class Lock:
    """A file that one process at a time holds; the system takes it back from one that dies.

    Raises ``BlockingIOError`` where another holder has it, and other kinds of ``OSError`` where
    the file cannot be made or its disk knows no locks.
    """

    def __init__(self, path: Path):
        self.path, self.file = path, open(path, "ab", buffering=0)
        try:
            self.file.seek(0)
            _lock(self.file.fileno())
            # Its holder may have removed the file before this one had the lock.
            if not path.exists() or path.stat().st_ino != os.fstat(self.file.fileno()).st_ino:
                raise BlockingIOError
        except BaseException:
            self.file.close()
            raise

    def release(self, remove: bool = True) -> None:
        """Let others have the file; with `remove` it goes first, where the system allows that."""
        if remove:
            _unlink(self.path)
        self.file.close()
        if remove and os.name == "nt":
            # Windows removes no open file: the next holder's stays.
            _unlink(self.path)


def _lock(handle: int) -> None:
    """Take the system's lock of an open file, or raise a ``BlockingIOError`` at once."""
    try:
        _take(handle)
    except PermissionError as error:
        raise BlockingIOError(error.errno, error.strerror) from None


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Keep other processes from writing `path`, a file or folder, by a lock file beside it.

    Raises ``OSError`` where another process keeps it, or the folder cannot be written.
    """
    _check_named(path)
    try:
        lock = Lock(path.with_name(f".{path.name}.lock"))
    except BlockingIOError:
        raise OSError(f"{path} is being written by another process.") from None
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}.") from None
    try:
        with begun(lock.path):
            yield
    finally:
        lock.release()


def _unlink(path: Path) -> None:
    """Remove a file that may have gone, or be kept by the system."""
    with suppress(OSError):
        path.unlink()


def _name_beside(path: Path) -> Path:
    """A name that nobody else takes, near enough to `path` to be seen to belong to it."""
    return path.with_name(f"{path.name[:200]}.{secrets.token_hex(4)}{PART}")


def _check_named(path: Path) -> None:
    if not path.name:
        raise OSError(f"a file or folder to write must have a name, but {str(path)!r} was given.")
