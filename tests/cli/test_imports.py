"""The package works in a bare interpreter, whatever was imported before it."""

import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).with_name("import_order.py")


@pytest.mark.parametrize(
    "before",
    [
        "torusimaging.results.storage",
        "lazy:numpyro",
        "lazy:jax lazy:numpyro torusimaging.results.storage",
        "numpyro arviz_base torusimaging.priors.named",
        "arviz_base xarray jax.numpy",
    ],
)
def test_any_order_of_imports(before, tmp_path):
    command = [sys.executable, "-W", "error", str(SCRIPT), *before.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "fit_map load\n", "")
