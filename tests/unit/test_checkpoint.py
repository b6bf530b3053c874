"""Killed, stopped and resumed runs end with the same draws; folders of others are refused."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import astropy.units as u
import jax.numpy as jnp
import numpy as np
import pytest

import torusimaging as oti
from torusimaging.inference import Checkpoint, Interrupted, sample_nuts

BINS = {"pos": np.linspace(-1.2, 1.2, 25) * u.kpc, "vel": np.linspace(-70, 70, 25) * u.km / u.s}
NUMBERS = {"num_warmup": 60, "num_steps": 100, "num_chains": 2}
SCRIPT = """
import sys
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
from torusimaging.inference import Checkpoint, sample_nuts

folder, out = sys.argv[1:3]
def ln_density(x, scale):
    return -0.5 * jnp.sum((x / scale) ** 2) - 0.1 * jnp.sum(x**4)

resume = (__import__("pathlib").Path(folder) / "run.json").exists()
kept = Checkpoint(folder, {"seed": 3}, resume) if folder != "none" else None
print("ready", flush=True)
chains = sample_nuts(
    ln_density, jnp.ones(40), jnp.zeros((2, 40)), 3, 1000, 4000, checkpoint=kept
)
np.savez(out, *chains[:5])
"""


def start(folder, out) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), str(out)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_killed_at_random_moments(tmp_path):
    """Five SIGKILLs at random moments, then the end: the draws of a run that was left alone."""
    reference = start("none", tmp_path / "one.npz")
    reference.stdout.readline()
    assert reference.wait(300) == 0
    rng, folder = np.random.default_rng(), tmp_path / "run"
    blocks = []
    for _ in range(5):
        process = start(folder, tmp_path / "two.npz")
        process.stdout.readline()
        # Compilation takes most of the time: the moment is counted from the next block on.
        known = len(list(folder.glob("chain-*.npz")))
        while process.poll() is None and len(list(folder.glob("chain-*.npz"))) <= known:
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        process.stdout.close()
        blocks.append(len(list(folder.glob("chain-*.npz"))))
    assert blocks == sorted(blocks) and blocks[-1] > 0
    last = start(folder, tmp_path / "two.npz")
    assert last.wait(300) == 0
    for process in (reference, last):
        process.stdout.close()
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "two.npz") as two:
        for name in one.files:
            np.testing.assert_array_equal(one[name], two[name])


@pytest.fixture(scope="module")
def fit():
    survey = oti.mock.draw_stars(20_000, seed=0, selection="survey")
    binned = oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, BINS, label_err=survey.label_err
    )
    return oti.fit_map(binned, model="spline")


def stop_at(done):
    """A progress function that acts as Ctrl-C once so many steps are done."""

    pressed = threading.Event()

    def report(state):
        if state.done >= done and not pressed.is_set():
            pressed.set()
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)

    return report


def test_stopped_runs_go_on(fit, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(Interrupted, match="sampling stopped at 2 chains, step"):
        fit.sample(seed=1, progress=stop_at(100), checkpoint=folder, **NUMBERS)
    with pytest.raises(ValueError, match="resume it, or remove"):
        fit.sample(seed=1, checkpoint=folder, **NUMBERS)
    with pytest.raises(ValueError, match="its seed is 1, but 2 was given"):
        fit.sample(seed=2, checkpoint=folder, resume=True, **NUMBERS)
    other = fit.data | {"label": fit.data["label"] + 1e-12}
    with pytest.raises(ValueError, match="its data is"):
        fit.model.mcmc_run_label(
            other, fit.params, fit.bounds, rng_seed=1, checkpoint=folder, resume=True, **NUMBERS
        )
    elsewhere = fit.params | {"ln_Omega0": fit.params["ln_Omega0"] + 0.01}
    with pytest.raises(ValueError, match="its minus ln posterior at p0 is"):
        fit.model.mcmc_run_label(
            fit.data, elsewhere, fit.bounds, rng_seed=1, checkpoint=folder, resume=True, **NUMBERS
        )
    reports = []
    two = fit.sample(seed=1, checkpoint=folder, resume=True, progress=reports.append, **NUMBERS)
    one = fit.sample(seed=1, **NUMBERS)
    np.testing.assert_array_equal(one.samples.draws, two.samples.draws)
    np.testing.assert_array_equal(one.state.logdensity, two.state.logdensity)
    assert not folder.exists()
    last = reports[-1]
    assert last.done == last.total == 320 and last.ess > 10 and "ESS" in str(last)
    assert [r.done for r in reports] == sorted(r.done for r in reports)


def test_bad_checkpoints(fit, tmp_path):
    with pytest.raises(ValueError, match="needs the checkpoint"):
        fit.sample(resume=True)
    with pytest.raises(ValueError, match="holds no run to resume"):
        fit.sample(checkpoint=tmp_path / "none", resume=True)
    kept = Checkpoint(tmp_path / "run", {"seed": 1}, False)
    with pytest.raises(ValueError, match="in use by another process"):
        Checkpoint(tmp_path / "run", {"seed": 1}, True)
    kept.save("chain", [np.arange(3.0)])
    np.testing.assert_array_equal(kept.load("chain")[0], np.arange(3.0))
    path = pathlib.Path(tmp_path / "run" / "chain.npz")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="is damaged"):
        kept.load("chain")
    kept.close()
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        Checkpoint(tmp_path / "run", {"seed": 1}, True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="a folder of its own, but .* holds 'thesis.tex'"):
        Checkpoint(tmp_path / "mine", {"seed": 1}, False)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    for name in NUMBERS:
        for bad in (0, -1, 2.5, "9"):
            with pytest.raises(ValueError, match=f"{name} must be a whole number"):
                fit.sample(**(NUMBERS | {name: bad}))


def test_blocks_of_a_killed_removal_are_of_no_run(tmp_path):
    """Without its description a block is another run's: a new run does not take it up."""
    kept = Checkpoint(tmp_path / "run", {"seed": 1}, False)
    kept.save("chain-0-step-0", [np.arange(3.0)])
    kept.close()
    (tmp_path / "run" / "run.json").unlink()
    again = Checkpoint(tmp_path / "run", {"seed": 2}, False)
    assert again.load("chain-0-step-0") is None
    (tmp_path / "run" / "notes.txt").write_text("mine")
    again.remove()
    assert (tmp_path / "run" / "notes.txt").exists()


def test_a_block_in_the_place_of_another_is_refused(tmp_path):
    kept = Checkpoint(tmp_path / "run", {"seed": 1}, False)
    kept.save("chain-0-step-0", [np.arange(3.0)])
    path = tmp_path / "run" / "chain-0-step-0.npz"
    (tmp_path / "run" / "chain-1-step-0.npz").write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="of another run or step"):
        kept.load("chain-1-step-0")
    np.save(tmp_path / "array.npy", np.arange(3.0))
    path.write_bytes((tmp_path / "array.npy").read_bytes())
    with pytest.raises(ValueError, match="is damaged"):
        kept.load("chain-0-step-0")
    kept.close()


def test_one_chain_is_judged_by_its_halves(fit):
    one = fit.sample(num_warmup=100, num_steps=200, num_chains=1)
    assert np.isfinite(max(one.state.rhat.values()))
    assert one.state.verdict.startswith("Halves of 1 chain")


def test_blocks_do_not_change_the_draws():
    """A normal density: moments of the draws, and the same draws without a checkpoint."""

    def ln_density(x, scale):
        return -0.5 * jnp.sum((x / scale) ** 2)

    scale = jnp.asarray([1.0, 2.0])
    chains = sample_nuts(ln_density, scale, jnp.zeros((2, 2)), 0, 200, 1000)
    assert chains.draws.shape == (2, 1000, 2)
    np.testing.assert_allclose(chains.draws.std(axis=(0, 1)), scale, rtol=0.1)
