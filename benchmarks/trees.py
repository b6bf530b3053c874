"""Two source trees of this package in turn: is anything slower in the second?

    python benchmarks/trees.py BEFORE AFTER [--rounds 5]

BEFORE and AFTER are source folders, as ``src`` of a checkout or of a git worktree.  Each round runs
every measurement in a fresh process of each tree, one after the other, so that the machine's moods
are shared.  The smallest time of the rounds is printed, and the ratio after / before.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

MEASURE = """
import json, sys, tempfile, time
from pathlib import Path
begin = time.perf_counter()
import astropy.units as u
import jax
import numpy as np
jax.config.update("jax_enable_x64", True)
import torusimaging as oti
oti.fit_map
out = {"import of the fit path": time.perf_counter() - begin}

def timed(name, function, repeat=1):
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - begin)
    out[name] = min(times)
    return result

stars = oti.mock.draw_stars(300_000, seed=0, selection="survey")
bins = {"pos": np.linspace(-1.2, 1.2, 61) * u.kpc, "vel": np.linspace(-70, 70, 61) * u.km / u.s}
pick = np.random.default_rng(0).integers(0, 300_000, 4_000_000)
many = [x[pick] for x in (stars.pos, stars.vel, stars.label, stars.label_err)]
timed("binning 4e6 stars", lambda: oti.data.get_binned_label(
    many[0], many[1], many[2], bins, label_err=many[3]), 3)
binned = oti.data.get_binned_label(
    stars.pos, stars.vel, stars.label, bins, label_err=stars.label_err)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "stars.parquet"
    columns = dict(zip(("z", "vz", "y", "e"), many))
    oti.data.write_table(path, columns)
    names = {"pos": "z", "vel": "vz", "label": "y", "label_err": "e"}
    timed("streaming 4e6 stars", lambda: oti.data.bin_files([path], bins, names), 3)
for model in ("potential", "spline"):
    fit = timed(f"{model}: optimum, cold", lambda: oti.fit_map(binned, model=model))
    timed(f"{model}: optimum, warm", lambda: oti.fit_map(binned, model=model), 3)
    drawn = timed(f"{model}: importance draws, cold", lambda: fit.laplace())
    timed(f"{model}: importance draws, warm", lambda: fit.laplace(), 3)
    run = dict(num_warmup=100, num_steps=200, num_chains=2)
    timed(f"{model}: NUTS, cold", lambda: fit.sample(**run))
    timed(f"{model}: NUTS, warm", lambda: fit.sample(**run), 2)
    some = [x[:1_000_000] for x in many[:2]]
    act = lambda: fit.model.compute_action_angle(*some, fit.params)
    timed(f"{model}: 1e6 actions, cold", act)
    timed(f"{model}: 1e6 actions, warm", act, 3)
    timed(f"{model}: derived and verdict", lambda: (drawn.derived(), drawn.verdict))
print(json.dumps(out))
"""


def measure(source: Path) -> dict[str, float]:
    """Seconds by name, of fresh processes that import the package from `source`."""
    environment = os.environ | {"PYTHONPATH": str(source), "JAX_ENABLE_COMPILATION_CACHE": "false"}
    begin = time.perf_counter()
    command = [sys.executable, "-c", "from torusimaging.cli import main; main(['--help'])"]
    subprocess.run(command, env=environment, capture_output=True, check=False)
    out = {"--help": time.perf_counter() - begin}
    command = [sys.executable, "-c", MEASURE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{source}: {done.stderr[-2000:]}")
    return out | json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    trees = {"before": options.before.absolute(), "after": options.after.absolute()}
    best: dict[str, dict[str, float]] = {name: {} for name in trees}
    for number in range(options.rounds):
        # The order turns around: neither tree is always the second.
        for name in list(trees)[:: 1 if number % 2 else -1]:
            for key, seconds in measure(trees[name]).items():
                best[name][key] = min(seconds, best[name].get(key, seconds))
    print(
        f"{'seconds, the best of ' + str(options.rounds):<36}{'before':>9}{'after':>9}{'ratio':>8}"
    )
    for key, before in best["before"].items():
        after = best["after"][key]
        print(f"{key:<36}{before:>9.3f}{after:>9.3f}{after / before:>8.2f}")


if __name__ == "__main__":
    main()
