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


# Files that fit, sample or run other programs for long; all others are the quick tier.
SLOW = """
recovery/test_stars recovery/test_selection recovery/test_angles unit/test_stars
truth/test_radial truth/test_place_errors
cli/test_calibrate cli/test_cli cli/test_interruption
recovery/test_calibration recovery/test_potential_recovery recovery/test_recovery
truth/test_compare truth/test_consistency truth/test_contracts truth/test_fourier
truth/test_galaxy truth/test_goodness truth/test_potential truth/test_samplers
unit/test_checkpoint unit/test_compilation unit/test_docs unit/test_doors unit/test_exits
unit/test_guiding unit/test_plot_chains unit/test_potential_model unit/test_priors
unit/test_results unit/test_smooth_density unit/test_spline_model unit/test_streaming
unit/test_symmetry unit/test_tutorial unit/test_user_model unit/test_verdict unit/test_words
""".split()


def pytest_collection_modifyitems(items):
    """Mark what is in no slow file as quick: ``pytest -m quick``."""
    for item in items:
        if "/".join((item.path.parent.name, item.path.stem)) not in SLOW:
            item.add_marker(pytest.mark.quick)


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
