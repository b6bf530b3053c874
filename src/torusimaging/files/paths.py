"""Files to read: named by a path, there, and of the kind that can be read from its beginning."""

import os
import sys
from pathlib import Path

from ..arguments import shown


class TableError(ValueError):
    """A file that is no table, is damaged, or lacks a column; the sentence names it."""


def as_path(
    path: str | os.PathLike, name: str = "path", must: str = "be the name of a file"
) -> Path:
    """A path that is a text or a path object, ``~`` expanded.

    `name` is the argument's, of which the sentence says what it must do.  Raises ``ValueError`` for
    anything else, as None, a number, bytes or an empty text.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise ValueError(f"{name} must {must}, but {shown(path)} was given.")
    if not os.fspath(path) or "\0" in os.fspath(path):
        raise ValueError(f"{name} must {must}, but {shown(path)} was given.")
    try:
        found = Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"{name} must {must}, but {shown(path)} names nobody's home.") from None
    try:
        lengths = [len(os.fsencode(found)), *(len(os.fsencode(p)) for p in found.parts)]
    except UnicodeEncodeError:
        raise ValueError(
            f"{name} has a letter that names of files cannot have here, in "
            f"{sys.getfilesystemencoding()}: {shown(str(found))}."
        ) from None
    if lengths[0] > 4095 or any(length > 255 for length in lengths[1:]):
        raise ValueError(f"{name} is too long for the name of a file: {str(found)[:60]}...")
    return found


def existing_file(path: str | os.PathLike, what: str = "file", want: str | None = None) -> Path:
    """The path of a regular file that is there and can be opened.

    `what` names the kind of file, and `want` says what to give, by default one of that kind.
    Raises ``ValueError`` for what is no path, a folder, or a device, pipe or socket, which could be
    read only once or without end; ``FileNotFoundError`` for no file, and ``OSError`` for one that
    cannot be opened.
    """
    path, want = as_path(path), want or f"a {what}"
    try:
        if path.is_dir():
            raise ValueError(f"{path} is a folder, not {want}.")
        if path.is_symlink():
            # What is no more than a link to itself is not there, but says why.
            path.stat()
        if not path.exists():
            raise FileNotFoundError(f"there is no {what} {path}.")
        if not path.is_file():
            raise ValueError(f"{path} is not a regular file: give {want}.")
        with open(path, "rb") as file:
            # A disk that fails, or memory that is no file, fails at the first byte.
            file.read(1)
            return path
    except FileNotFoundError as error:
        if error.errno is None:
            raise
        raise FileNotFoundError(f"{path} is a link to a file that is not there.") from None
    except OSError as error:
        raise type(error)(f"{path} cannot be read: {error.strerror or error}.") from None
