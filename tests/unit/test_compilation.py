"""Programs: compiled once for maps of like size, in double precision alone, and without NaN."""

import logging
import os
import subprocess
import sys

import astropy.units as u
import jax
import numpy as np
import pytest

import torusimaging as oti

BINS = {"pos": np.linspace(-1.0, 1.0, 21) * u.kpc, "vel": np.linspace(-60, 60, 21) * u.km / u.s}


def make_map(seed):
    survey = oti.mock.draw_stars(20_000, seed=seed, selection="survey")
    return oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, BINS, label_err=survey.label_err
    )


def use(binned, **options):
    fit = oti.fit_map(binned, **options).laplace(num_draws=200)
    fit.derived()
    return fit.profiles()


@pytest.mark.parametrize("model", ["potential", "spline"])
def test_maps_of_like_size_share_their_programs(model, caplog):
    maps = [make_map(seed) for seed in (1, 2)]
    assert len(maps[0]["label"]) == len(maps[1]["label"])
    use(maps[0], model=model)

    def compiled(function):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "jax"), jax.log_compiles():
            function()
        texts = [r.getMessage()[:80] for r in caplog.records if "Compiling" in r.getMessage()]
        # What puts a plain array of a new length on the device is no program of this package.
        return [text for text in texts if "jit(stage)" not in text]

    assert not compiled(lambda: use(maps[1], model=model))
    # The watch sees what does compile: another number of knots is another program.
    assert compiled(lambda: use(maps[1], model=model, label_knots=4))


STRICT = """
import astropy.units as u, jax, numpy as np
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_debug_nans", True)
import torusimaging as oti
bins = {"pos": np.linspace(-1.3, 1.3, 27) * u.kpc, "vel": np.linspace(-60, 60, 21) * u.km / u.s}
s = oti.mock.draw_stars(20_000, seed=1, selection="survey")
binned = oti.data.get_binned_label(s.pos, s.vel, s.label, bins, label_err=s.label_err)
for model in ("potential", "spline"):
    fit = oti.fit_map(binned, model=model)
    fit.derived()
    fit.model.get_label(s.pos[:9], s.vel[:9], fit.params)
    print(model, fit.optimizer.success)
"""


def test_strict_promotion_and_no_nan():
    """A fit mixes no kinds of numbers in silence, and meets no NaN on its way.

    The map reaches beyond 1.1 kpc, up to which its surface density is asked for: what lies beyond a
    model is NaN on purpose.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", STRICT], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["potential", "True", "spline", "True"]
