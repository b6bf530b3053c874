"""Settings and fixtures that all tests share."""

import pathlib

import jax
import matplotlib
import pytest

jax.config.update("jax_enable_x64", True)
matplotlib.use("Agg")


@pytest.fixture
def shared_data() -> pathlib.Path:
    """The folder of real and simulated data beside the project; skips where it is absent."""
    folder = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the data folder beside the project is absent")
    return folder
