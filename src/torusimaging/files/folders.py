"""Folders that are filled at once, and not half."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .paths import as_path
from .writing import begun, folder_beside


@contextmanager
def filled_folder(folder: str | os.PathLike) -> Iterator[tuple[Path, list[Path]]]:
    """A folder to write to and a list of files, which at the end are those moved to `folder`.

    After an exception nothing is left.  Raises ``OSError`` as `prepare_folder` does.
    """
    folder = prepare_folder(folder)
    work = folder_beside(folder)
    files: list[Path] = []
    try:
        with begun(work):
            yield work, files
        if not folder.exists():
            # One step: a kill leaves the folder complete or not there.
            work.rename(folder)
            files += sorted(folder.iterdir())
            return
        names = sorted(p.name for p in work.iterdir())
        for name in names:
            if (folder / name).is_dir():
                raise OSError(f"{folder / name} cannot be written: it is a folder.")
        for name in names:
            os.replace(work / name, folder / name)
            files.append(folder / name)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(f"{folder} cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def prepare_folder(folder: str | os.PathLike) -> Path:
    """Check that `folder` can be made or written, without making it; its absolute path.

    Raises ``ValueError`` for what is no path and ``OSError`` with the reason.
    """
    folder = as_path(folder, "the output folder", "be a path").absolute()
    if folder.exists() and not folder.is_dir():
        raise OSError(f"the output folder {folder} is a file.")
    if not folder.parent.is_dir():
        raise OSError(f"the output folder {folder} cannot be made: {folder.parent} is no folder.")
    for place in {folder.parent, folder if folder.exists() else folder.parent}:
        try:
            tempfile.TemporaryFile(dir=place).close()
        except OSError as error:
            raise OSError(
                f"the output folder {folder} cannot be written: {error.strerror}."
            ) from None
    return folder
