"""Compiled programs of the command, kept between runs in the user's cache folder."""

import os
from pathlib import Path

MOST_BYTES = 2**30


def keep_programs() -> None:
    """Let JAX keep what it compiles, unless the user's settings say where, or that it must not.

    The folder is ``torusimaging`` in the user's cache folder (XDG_CACHE_HOME, or ~/.cache); one
    that cannot be written is none.  Its oldest files are removed beyond a gigabyte.
    """
    import jax

    if os.environ.get("JAX_COMPILATION_CACHE_DIR") or not jax.config.jax_enable_compilation_cache:
        return
    try:
        home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
        # A relative folder is none, by the XDG rules.
        absolute = bool(home) and Path(home).is_absolute()
        folder = (Path(home) if absolute else Path.home() / ".cache") / "torusimaging" / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            return
        _prune(folder)
    except (OSError, RuntimeError):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Small programs, too: there are more than a hundred of them.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _prune(folder: Path) -> None:
    """Remove the oldest files beyond the most bytes."""
    found = []
    for path in folder.iterdir():
        try:
            found.append((path.stat().st_mtime, path.stat().st_size, path))
        except OSError:
            continue
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= MOST_BYTES:
            return
        try:
            path.unlink()
            total -= size
        except OSError:
            # Another process may have removed it, or use it.
            continue
