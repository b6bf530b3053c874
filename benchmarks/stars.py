"""Single stars against maps of them: precision, time and memory from 1e4 to as many stars as asked.

Run: python benchmarks/stars.py [MOST] [--gradient]

A mock survey of each size is fitted by `fit_map`, in 60 by 60 pixels at most, and by `fit_stars`,
each in a process of its own: seconds of the fit (cold, with what is compiled; warm, a second time)
and of 1,000 draws, the largest memory in GB besides what was there before the fit, and the sd of
a_z at 0.1, 0.3, 0.6 and 1 kpc (km/s/Myr).  The last columns are the differences of a_z between the
two in units of the map's sd.  With --gradient the seconds of one gradient of the likelihood, too.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import astropy.units as u
import jax
import numpy as np

import torusimaging as oti
from torusimaging.inference.many import Slopes
from torusimaging.inference.problem import minus_ln_prior
from torusimaging.models.stars import edges_of

HEIGHTS = [0.1, 0.3, 0.6, 1.0] * u.kpc
NAMES = ("pos", "vel", "label", "label_err")


def peak_memory() -> float:
    """The largest resident memory of this process so far, in GB (Linux)."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) / 1e6


def reset_peak() -> None:
    """Begin to count the largest memory anew."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(way: str, path: str, gradient: bool) -> dict:
    """Fit the stars of a file in one way."""
    jax.config.update("jax_enable_x64", True)
    pos, vel, label, err = (np.load(f"{path}/{name}.npy") for name in NAMES)
    pos, vel = pos * u.kpc, vel * u.kpc / u.Myr
    oti.mock.draw_stars(10)  # Imports what a fit needs, too.

    def fit():
        stars = oti.Stars(pos, vel, {"mg_fe": label}, {"mg_fe": err})
        if way == "stars":
            return oti.fit_stars(stars)
        number = int(np.clip(np.sqrt(pos.size / 40), 20, 60))
        # Over the same stars: a model's knots follow the height that its data reach.
        edges = {k: np.linspace(x[0], x[-1], number + 1) for k, x in edges_of(stars).items()}
        del stars
        return oti.fit_map(oti.data.get_binned_label(pos, vel, label, edges, label_err=err))

    reset_peak()
    before, seconds = peak_memory(), []
    for _ in range(2):
        start = time.perf_counter()
        found = fit()
        seconds.append(time.perf_counter() - start)
    out = {"fit": seconds, "memory": peak_memory() - before}
    if gradient and way == "stars":
        slopes = Slopes(found.problem, minus_ln_prior)
        z = found.problem.free(found.params)
        times = []
        for _ in range(6):
            start = time.perf_counter()
            slopes(z)
            times.append(time.perf_counter() - start)
        out["gradient"] = float(np.median(times[1:]))
    start = time.perf_counter()
    found = found.laplace(num_draws=1000 if pos.size < 2e6 else 100)
    out |= {"draws": time.perf_counter() - start, "k": found.state.pareto_k}
    table = oti.profiles(found, HEIGHTS)
    out["a"] = table["a_z_median"].value.tolist()
    out["sd"] = ((table["a_z_p84"] - table["a_z_p16"]) / 2).value.tolist()
    return out


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("most", nargs="?", type=float, default=1e6, help="stars (default: 1e6)")
    parser.add_argument("--gradient", action="store_true", help="time one gradient, too")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(*args.one, args.gradient)))
        return
    print(f"{'stars':>9} {'way':<6}{'cold s':>8}{'warm s':>8}{'draws s':>8}{'GB':>7}   sd of a_z")
    for n in (10**k for k in range(4, 9) if 10**k <= args.most * 1.001):
        with tempfile.TemporaryDirectory() as folder:
            survey = oti.mock.draw_stars(n, seed=n % 97, selection="survey")
            values = (
                survey.pos.to_value(u.kpc),
                survey.vel.to_value(u.kpc / u.Myr),
                survey.label,
                survey.label_err,
            )
            for name, x in zip(NAMES, values, strict=True):
                np.save(f"{folder}/{name}.npy", x)
            del survey, values
            rows = {}
            for way in ("map", "stars"):
                command = [sys.executable, __file__, "--one", way, folder]
                more = ["--gradient"] if args.gradient else []
                done = subprocess.run([*command, *more], capture_output=True, text=True, check=True)
                rows[way] = own = json.loads(done.stdout.splitlines()[-1])
                sds = " ".join(f"{x:.4f}" for x in own["sd"])
                text = f"   gradient {1000 * own['gradient']:.0f} ms" if "gradient" in own else ""
                print(
                    f"{n:>9} {way:<6}{own['fit'][0]:>8.1f}{own['fit'][1]:>8.2f}{own['draws']:>8.1f}"
                    f"{own['memory']:>7.2f}   {sds}   Pareto k {own['k']:.2f}{text}",
                    flush=True,
                )
            one, two = (np.array(rows[way]["a"]) for way in ("map", "stars"))
            sd, own = (np.array(rows[way]["sd"]) for way in ("map", "stars"))
            off = " ".join(f"{x:+.2f}" for x in (two - one) / sd)
            print(
                f"{'':>9} difference in sds of the map {off}; sds over the map's "
                + " ".join(f"{x:.2f}" for x in own / sd),
                flush=True,
            )


if __name__ == "__main__":
    main()
