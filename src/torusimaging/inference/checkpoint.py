"""A folder that keeps a sampler's finished blocks, so that a killed run can go on."""

import hashlib
import io
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.writing import Lock, whole_name, write_complete

RUN, LOCK = "run.json", "lock"


class Checkpoint:
    """The blocks of draws that chains have finished, with the sampler's state after each.

    Parameters
    ----------
    folder : made if it is not there; one process at a time may use it
    identity : what the run is of, as numbers and words: a folder of another run is refused
    resume : whether to go on from what the folder holds

    Raises ``ValueError`` for a folder in use, for one that holds other files, a run already (unless
    `resume`), none (with `resume`), or another one, naming the first difference; ``OSError`` where
    it cannot be made.
    """

    def __init__(self, folder: str | os.PathLike, identity: dict, resume: bool):
        self.folder = Path(folder)
        if resume and not self.folder.is_dir():
            raise ValueError(f"checkpoint {self.folder} holds no run to resume.")
        try:
            if self.folder.exists() and not self.folder.is_dir():
                raise ValueError(f"checkpoint must be a folder, but {self.folder} is a file.")
            self.folder.mkdir(parents=True, exist_ok=True)
            self.lock = Lock(self.folder / LOCK)
        except BlockingIOError:
            raise ValueError(f"checkpoint {self.folder} is in use by another process.") from None
        except OSError as error:
            raise OSError(
                f"checkpoint {self.folder} cannot be written: {error.strerror or error}."
            ) from None
        try:
            self._claim(identity, resume)
        except BaseException:
            self._leave()
            raise

    def _claim(self, identity: dict, resume: bool) -> None:
        """Check that the folder is of this run, or make it so."""
        found = read_identity(self.folder)
        if resume and found is None:
            raise ValueError(f"checkpoint {self.folder} holds no run to resume.")
        if not resume and found is not None:
            raise ValueError(
                f"checkpoint {self.folder} holds a run already: resume it, or remove the folder."
            )
        self.of = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        if found is None:
            if others := [f.name for f in self.folder.iterdir() if not _is_own(f)]:
                raise ValueError(
                    f"checkpoint must be a folder of its own, but {self.folder} holds "
                    f"{others[0]!r}."
                )
            # What a killed removal left is of another run.
            clear(self.folder)
            text = json.dumps(identity, indent=1)
            write_complete(self.folder / RUN, lambda name: Path(name).write_text(text))
            return
        for key in identity:
            if found.get(key) != identity[key]:
                raise ValueError(
                    f"checkpoint {self.folder} is of another run: its {key} is "
                    f"{found.get(key)!r}, but {identity[key]!r} was given."
                )

    def _leave(self) -> None:
        """Give the lock back, and the folder where it holds nothing else."""
        done = not (self.folder / RUN).exists()
        self.lock.release(remove=done)
        if done:
            _remove_empty(self.folder)

    def save(self, name: str, arrays: list[NDArray]) -> None:
        """Keep arrays under a name."""
        content = io.BytesIO()
        np.savez(content, *arrays, of=np.array(f"{len(arrays)} {name} {self.of}"))
        write_complete(
            self.folder / f"{name}.npz", lambda part: Path(part).write_bytes(content.getvalue())
        )

    def load(self, name: str) -> list[NDArray] | None:
        """The arrays kept under a name, None where there are none.

        Raises ``ValueError`` for a damaged file and for one of another name or run.
        """
        path = self.folder / f"{name}.npz"
        if not path.exists():
            return None
        try:
            # From memory: a damaged file is not left open.
            with np.load(io.BytesIO(path.read_bytes())) as file:
                n, *of = str(file["of"]).split()
                arrays = [file[f"arr_{i}"] for i in range(int(n))]
        except Exception as error:
            # A damaged archive can raise nearly anything.
            raise ValueError(
                f"checkpoint {path} is damaged ({type(error).__name__}): remove it to resume from "
                "the block before."
            ) from None
        if of != [name, self.of]:
            raise ValueError(
                f"checkpoint {path} is of another run or step: remove it to resume from the block "
                "before."
            )
        return arrays

    def close(self) -> None:
        """Let other processes use the folder."""
        self.lock.release(remove=False)

    def remove(self) -> None:
        """Delete what a run that is complete has kept; files that are not its own stay."""
        clear(self.folder)
        self._leave()


def clear(folder: Path) -> None:
    """Delete a run's files, what it is of last: a kill leaves no blocks without it."""
    for file in sorted(folder.iterdir(), key=lambda f: f.name == RUN):
        if _is_own(file) and file.name != LOCK:
            file.unlink()


def discard(folder: Path) -> None:
    """Delete what a run that was kept has left, and the folder if it holds nothing else."""
    if folder.is_dir():
        clear(folder)
        (folder / LOCK).unlink(missing_ok=True)
        _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    """Remove a folder unless it holds something, perhaps of another process that begins."""
    with suppress(OSError):
        folder.rmdir()


def _is_own(file: Path) -> bool:
    """Whether a checkpoint made a file of this name."""
    name = whole_name(file.name)
    block = name.endswith(".npz") and name.startswith(("chain", "whitening"))
    return name in (RUN, LOCK) or block


def read_identity(folder: str | os.PathLike) -> dict[str, Any] | None:
    """What the run in a folder is of; None where there is no run.

    Raises ``ValueError`` for a damaged one.
    """
    path = Path(folder) / RUN
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text())
        assert isinstance(found, dict)
    except (ValueError, AssertionError):
        raise ValueError(f"checkpoint {path} is damaged: it is no description of a run.") from None
    return found
