"""Simulation-based calibration: of a cheap model, of its own machinery, and of bad input."""

import logging
import shutil
from dataclasses import replace

import astropy.units as u
import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

import torusimaging as oti
from torusimaging.checks.ranks import DRAWS, holm, inside, rank_of, uniformity

SIMULATIONS = 20
SETTINGS = {"sampler": "laplace", "num_steps": 400, "processes": 1}


@pytest.fixture(scope="module")
def fit():
    """A spline model with eight parameters on a map of 20 x 20 pixels."""
    rng = np.random.default_rng(0)
    z, vz = (g.ravel() for g in np.meshgrid(np.linspace(-1, 1, 20), np.linspace(-60, 60, 20)))
    r = np.hypot((z - 0.02) * 0.27, vz / 977.79 / 0.27)
    binned = {
        "pos": z * u.kpc,
        "vel": vz * u.km / u.s,
        "label": 0.25 * np.tanh(3 * r) + rng.normal(0, 0.01, z.size),
        "label_err": np.full(z.size, 0.01),
    }
    narrow = {"label_l2_sigma": 0.3, "e_l2_sigmas": {2: 0.3}, "amplitude_sigma": None}
    return oti.fit_map(binned, model="spline", label_knots=3, e_knots={2: 3}, **narrow)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tmp_path_factory.mktemp("sbc") / "checkpoint.ecsv"


@pytest.fixture(scope="module")
def result(fit, checkpoint):
    return oti.calibrate(fit, SIMULATIONS, checkpoint=checkpoint, **SETTINGS)


def test_a_cheap_model_is_calibrated(result):
    """With 13 quantities chance gives a p below 0.001 in 1.3 % of such tests.

    Means of 20 z leave +-4 / sqrt(20) by chance in 0.1 % of them; the truths of all quantities
    together lie in their 68 % intervals within 4 sd of one that counts 20 independent ones.
    """
    assert result.n_failed == 0 and result.ranks.shape == (SIMULATIONS, 13)
    assert result.table["p"].min() > 0.001 and result.table["p_holm"].min() > 0.01
    assert np.all(np.abs(result.table["mean_z"]) < 4 / np.sqrt(SIMULATIONS))
    middle = result.coverage[result.coverage["nominal"] == 0.68]
    assert abs(middle["found"].mean() - 0.68) < 4 * middle["error"][0]
    assert np.all(result.table["contraction"][:8] > 0.2)


def synthetic(n, scale=1.0, shift=0.0, failed=0):
    """Ranks of a normal posterior whose sd and mean are wrong by `scale` and `shift` sds."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(n, 4))
    draws = rng.normal(shift, scale, (n, DRAWS, 4))
    ranks = np.array([rank_of(t, d, rng) for t, d in zip(truth, draws, strict=True)])
    failures = np.array(["no optimum"] * failed + [""] * (n - failed))
    ranks[:failed] = -1
    one = np.ones(n)
    return oti.Calibration(
        names=list("abcd"),
        ranks=ranks,
        z=(draws.mean(axis=1) - truth) / draws.std(axis=1),
        sd=draws.std(axis=1),
        prior_sd=np.full(4, 10.0),
        index=np.arange(n),
        quality=0.1 * one,
        ess=1e3 * one,
        seconds=one,
        failures=failures,
        settings={"sampler": "laplace"},
    )


@pytest.mark.parametrize(("n", "scale", "shift"), [(100, 0.6, 0), (200, 1.6, 0), (200, 1, 0.5)])
def test_a_wrong_posterior_is_found(n, scale, shift):
    wrong = synthetic(n, scale, shift)
    assert np.all(wrong.table["p"] < 0.01)
    assert wrong.text.startswith("NOT CALIBRATED: a, b, c, d")


def test_a_right_posterior_is_not():
    right = synthetic(400)
    assert right.table["p_holm"].min() > 0.05 and right.text.startswith("No sign")
    off = (right.coverage["found"] - right.coverage["nominal"]) / right.coverage["error"]
    assert np.all(np.abs(off) < 3)
    np.testing.assert_allclose(right.table["contraction"], 0.99, atol=1e-3)


def test_failures_are_counted_not_hidden():
    some = synthetic(100, failed=10)
    assert some.n_failed == 10 and "Simulation 3 failed: no optimum" in some.text
    assert some.text.startswith("NOT SHOWN")
    all_but_one = synthetic(10, failed=9)
    assert all_but_one.text.startswith("NOTHING shown: 9 of 10")
    with pytest.raises(ValueError, match="but all did"):
        oti.plot.plot_calibration(synthetic(10, failed=10))


def test_statistics():
    """Uniform ranks have uniform p; intervals hold their level; Holm's example; ties."""
    rng = np.random.default_rng(0)
    p = uniformity(rng.integers(0, DRAWS + 1, (200, 2000)))
    assert stats.kstest(p, "uniform").pvalue > 0.001
    every = np.arange(DRAWS + 1)
    for level in (0.5, 0.68, 0.9, 0.95):
        assert inside(every, level).mean() == level
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03])), [0.06, 0.03, 0.06])
    ties = [rank_of(np.zeros(1), np.zeros((DRAWS, 1)), rng)[0] for _ in range(300)]
    assert min(ties) < 10 and max(ties) > 190
    assert rank_of(np.array([np.nan]), np.zeros((9, 1)), rng)[0] == 9


def test_processes_do_not_matter(fit, result):
    """Two spawned workers, which end in any order, find the ranks of this process."""
    two = oti.calibrate(fit, 10, **(SETTINGS | {"processes": 2}))
    np.testing.assert_array_equal(two.ranks, result.ranks[:10])
    np.testing.assert_allclose(two.z, result.z[:10], rtol=1e-6)


def test_resumes(fit, result, checkpoint, tmp_path):
    """A checkpoint of 12 simulations, out of order, leads to the ranks of an unbroken run."""
    saved = oti.Calibration.load(checkpoint)
    np.testing.assert_array_equal(saved.ranks, result.ranks)
    assert saved.text == result.text
    order = np.random.default_rng(0).permutation(SIMULATIONS)[:12]
    part = {k: getattr(saved, k)[order] for k in ("index", "ranks", "z", "sd", "quality")}
    part |= {k: getattr(saved, k)[order] for k in ("ess", "seconds", "failures")}
    path = replace(saved, **part).save(tmp_path / "part.ecsv")
    steps = []
    again = oti.calibrate(fit, SIMULATIONS, checkpoint=path, progress=steps.append, **SETTINGS)
    assert steps == [12] + [1] * 8
    np.testing.assert_array_equal(again.ranks, result.ranks)
    assert [p.name for p in tmp_path.iterdir()] == ["part.ecsv"]
    with pytest.raises(ValueError, match="of another seed: 0 there, 1 now"):
        oti.calibrate(fit, SIMULATIONS, checkpoint=path, seed=1, **SETTINGS)
    other = replace(fit, data=fit.data | {"label_err": 2 * fit.data["label_err"]})
    with pytest.raises(ValueError, match="of another map"):
        oti.calibrate(other, SIMULATIONS, checkpoint=path, **SETTINGS)
    path.write_text(path.read_text().rstrip().rpartition("\n")[0] + "\n")
    with pytest.raises(ValueError, match="is no calibration of this package, or damaged"):
        oti.Calibration.load(path)
    shutil.copy(__file__, path)
    with pytest.raises(ValueError, match="is no calibration"):
        oti.calibrate(fit, SIMULATIONS, checkpoint=path, **SETTINGS)


def test_one_program_serves_all(fit, result, caplog):
    """Further simulations, and another calibration, compile nothing."""
    with caplog.at_level(logging.WARNING, "jax"), jax.log_compiles():
        oti.calibrate(fit, 10, seed=5, **SETTINGS)
    assert not [r for r in caplog.records if r.message.startswith("Compiling")]


def test_figure(result):
    figure, axes = oti.plot.plot_calibration(result)
    assert len(axes) == 14 and axes[6].get_title() == "pos0"
    plt.close(figure)
    with pytest.raises(ValueError, match="must be what calibrate returned"):
        oti.plot.plot_calibration(3)


def test_bad_input(fit, tmp_path):
    for options, message in [
        ({"simulations": 9}, "simulations must be a whole number from 10 to 100000"),
        ({"sampler": "mcmc"}, "sampler must be one of nuts, laplace, auto"),
        ({"processes": 0}, "processes must be"),
        ({"num_steps": 10.5}, "num_steps must be"),
        ({"seed": -1}, "seed must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            oti.calibrate(fit, **options)
    with pytest.raises(ValueError, match="fit must be a Fit"):
        oti.calibrate(fit.model)
    with pytest.raises(FileNotFoundError, match="there is no calibration"):
        oti.Calibration.load(tmp_path / "none.ecsv")
