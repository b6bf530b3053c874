"""Settings and fixtures that all tests share."""

import os
import pathlib
import tempfile

import jax
import matplotlib
import pytest
from jaxtyping import install_import_hook

# Declared shapes are checked while the tests run, below the line where arrays are plain.
PLAIN = "data.pixels foliation inference likelihoods parameters priors splines"
install_import_hook([f"torusimaging.{name}" for name in PLAIN.split()], "beartype.beartype")

jax.config.update("jax_enable_x64", True)
matplotlib.use("Agg")


def pytest_configure(config):
    """Keep compiled programs on disk for this run: workers and child processes share them.

    A folder named by JAX_COMPILATION_CACHE_DIR is used as it is, and kept.
    """
    if not hasattr(config, "workerinput") and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="compiled-")
        config.add_cleanup(folder.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"


@pytest.fixture(scope="module", autouse=True)
def programs_are_dropped():
    """Drop a file's compiled programs: each maps memory, and the system limits how often."""
    yield
    jax.clear_caches()


@pytest.fixture
def shared_data() -> pathlib.Path:
    """The folder of real and simulated data beside the project; skips where it is absent."""
    folder = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the data folder beside the project is absent")
    return folder
