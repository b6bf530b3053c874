"""Settings and fixtures that all tests share."""

import pathlib

import jax
import matplotlib
import pytest
from jaxtyping import install_import_hook

# Declared shapes are checked while the tests run, below the line where arrays are plain.
PLAIN = "actions distributions foliation inference likelihoods priors splines"
PLAIN += " models.objectives models.pixels"
install_import_hook([f"torusimaging.{name}" for name in PLAIN.split()], "beartype.beartype")

jax.config.update("jax_enable_x64", True)
matplotlib.use("Agg")


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
