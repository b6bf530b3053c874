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


EACH_NAME = """
import sys
import torusimaging
names = torusimaging.__all__
packages = {p: __import__(f"torusimaging.{p}", fromlist=["x"]).__all__
            for p in ("data", "foliation", "inference", "likelihoods", "mock", "models", "plot",
                      "report", "results")}
wanted = [("torusimaging", n) for n in names]
wanted += [(f"torusimaging.{p}", n) for p, own in packages.items() for n in own]
for module, name in wanted:
    for loaded in [m for m in sys.modules if m.split(".")[0] == "torusimaging"]:
        del sys.modules[loaded]
    value = getattr(__import__(module, fromlist=["x"]), name)
    assert value is not None, name
print(len(wanted))
"""


def test_every_name_is_there_when_it_is_the_first():
    """Each public name can be the first thing that is asked of the package."""
    done = subprocess.run([sys.executable, "-c", EACH_NAME], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 90
