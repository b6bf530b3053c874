"""Public catalogue files, downloaded with pooch; an interrupted download goes on where it stopped.

The archives publish no checksum that could be checked here, so none is; the number of bytes is
that which the server announces, and a file takes its name only when they have all arrived.
"""

import logging
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..arguments import shown
from ..files.fits import check_whole
from ..files.formats import TableError
from ..files.paths import as_path
from ..files.writing import in_use, put
from .surveys.registry import DOWNLOADS, PRESETS

ADDRESS = re.compile(r"https?://[\w.:\[\]-]+(/[^\0]*)?$", re.IGNORECASE)
BLOCK = 2**20
TIMEOUT = (10, 60)  # s to connect, and between two blocks


@dataclass(frozen=True)
class Fetched:
    """The files that are there, and a sentence for each that a person must download."""

    files: tuple[Path, ...]
    by_hand: tuple[str, ...]


def fetch(
    name: str, folder: str | os.PathLike = ".", mirror: str | None = None, progress: bool = False
) -> Fetched:
    """Download the public files of a preset; files that are there already are left alone.

    Parameters
    ----------
    name : the preset, such as "apogee-dr17"
    folder : where the files go; made if absent
    mirror : an address whose folder has the same files, to take them from instead
    progress : whether to show a bar on stderr

    What has arrived of a file is kept as ``NAME.part``, from which the next call goes on.

    Raises ``ValueError`` for a preset without public files and for a file that is there but is
    not whole, ``RuntimeError`` where pooch is missing, and ``OSError``, saying what to download by
    hand and where to put it, where the archive cannot be reached, the connection breaks, or
    something else arrives than a FITS file.
    """
    if not isinstance(name, str) or name not in DOWNLOADS:
        known = f"known: {', '.join(DOWNLOADS)}"
        if isinstance(name, str) and name in PRESETS and PRESETS[name].files:
            files = " and ".join(PRESETS[name].files)
            raise ValueError(f"{name} cannot be fetched ({known}): {files}, {PRESETS[name].where}.")
        raise ValueError(f"there are no public files {shown(name)} ({known}).")
    if mirror is not None and not (isinstance(mirror, str) and ADDRESS.match(mirror)):
        raise ValueError(
            f"mirror must be an address such as https://example.org/folder, but {shown(mirror)} "
            "was given."
        )
    folder = as_path(folder, "folder", "be a path")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"the folder {folder} cannot be made: {error.strerror}.") from None
    files, by_hand, failed = [], [], []
    for item in DOWNLOADS[name]:
        path = folder / item.name
        url = f"{mirror.rstrip('/')}/{item.name}" if mirror else item.url
        if path.exists():
            check_whole(path)
        elif url is None:
            by_hand.append(
                f"{item.name} has no fixed address: download it from {item.where} and put it into "
                f"{folder.resolve()}."
            )
            continue
        else:
            try:
                with in_use(path):
                    _download(url, path, progress)
            except OSError as error:
                failed.append(str(error))
                continue
        files.append(path)
    if failed:
        # Offline a person wants to hear of all files at once.
        raise OSError(" ".join([*failed, *by_hand]))
    return Fetched(tuple(files), tuple(by_hand))


def _download(url: str, path: Path, progress: bool) -> None:
    try:
        import pooch
        import requests
    except ImportError:
        raise RuntimeError(
            'fetching needs pooch: pip install "orbital-torus-imaging[catalog]".'
        ) from None
    logger = pooch.get_logger()
    level = logger.level
    # It would print a hash to paste, which is no use where none is published.
    logger.setLevel(logging.ERROR)
    try:
        pooch.retrieve(url, None, path.name, str(path.parent), downloader=_Resume(path, progress))
    except (requests.RequestException, ConnectionError, TimeoutError) as error:
        part = _part(path)
        done = f" after {part.stat().st_size} bytes, which are kept" if part.exists() else ""
        # The libraries' own errors are pages long.
        kind = type(error).__name__ if error.args and not isinstance(error.args[0], str) else error
        raise OSError(
            f"{url} could not be downloaded{done} ({str(kind).rstrip('.')}): run the command again,"
            f" or download the file by hand and put it into {path.parent.resolve()}."
        ) from None
    finally:
        logger.setLevel(level)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


class _Resume:
    """A downloader for pooch that goes on with what is there of a file."""

    def __init__(self, path: Path, progress: bool):
        self.part = _part(path)
        # The server's name of the version that `part` is of.
        self.tag = path.with_name(f"{path.name}.part.tag")
        self.progress = progress

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        import requests

        start = self.part.stat().st_size if self.part.exists() and self.tag.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": self.tag.read_text()}
        with requests.get(url, stream=True, timeout=TIMEOUT, headers=headers) as reply:
            other = reply.status_code == 206 and not reply.headers.get(
                "Content-Range", ""
            ).startswith(f"bytes {start}-")
            if start and (reply.status_code == 416 or other):
                # What is here is no beginning of the file there, or all of it: begin anew.
                self.tag.unlink()
                return self(url, output_file, pooch)
            reply.raise_for_status()
            if reply.status_code != 206:
                start = 0
            self._keep_tag(reply.headers)
            total = start + int(reply.headers.get("Content-Length", 0))
            self._receive(reply, start, total)
        size = self.part.stat().st_size
        if total and size != total:
            raise ConnectionError(f"{size} of {total} bytes arrived.")
        try:
            check_whole(self.part)
        except TableError:
            self.part.unlink()
            self.tag.unlink(missing_ok=True)
            raise ConnectionError("what arrived is no whole FITS file.") from None
        put(self.part, output_file)
        self.tag.unlink(missing_ok=True)

    def _keep_tag(self, headers: Mapping[str, str]) -> None:
        tag = headers.get("ETag") or headers.get("Last-Modified")
        if tag:
            self.tag.write_text(tag)
        else:
            self.tag.unlink(missing_ok=True)

    def _receive(self, reply, start: int, total: int) -> None:
        from tqdm import tqdm

        bar = tqdm(
            total=total or None,
            initial=start,
            unit="B",
            unit_scale=True,
            desc=self.part.stem,
            file=sys.stderr,
            disable=None if self.progress else True,
        )
        with bar, open(self.part, "ab" if start else "wb") as file:
            for block in reply.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
