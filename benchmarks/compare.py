"""This package beside the published one (torusimaging 0.1): times and ratios in one run.

    make bench                     # or: python benchmarks/compare.py [--nuts STEPS] [--map MAP.csv]

The published package has the same import name, so it gets an environment of its own
(``.venv-published``; torusimaging 0.1 and gala from PyPI).  Without it, or without a way to
install it, only this package's numbers are printed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import astropy.units as u
import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import torusimaging as oti  # noqa: E402
from torusimaging.inference.nuts import diagnostics  # noqa: E402

HERE = Path(__file__).resolve().parent
BINS = {"pos": np.linspace(-1.2, 1.2, 81) * u.kpc, "vel": np.linspace(-70, 70, 81) * u.km / u.s}
TUTORIAL = {"label_knots": 4, "e_knots": {2: 8, 4: 4}, "e_knots_spacing_power": 0.5}


def published_python() -> Path | None:
    """The interpreter of the published package's environment, made if need be."""
    folder = HERE.parent / ".venv-published"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        command = [
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "torusimaging==0.1",
            "gala",
            "setuptools<81",
        ]
        if subprocess.run(command).returncode:
            return None
    return python


def timed(function):
    """Result and seconds of a call."""
    begin = time.perf_counter()
    out = function()
    return out, time.perf_counter() - begin


def ours(data: dict, survey) -> dict:
    """The same numbers for this package, cold times in this fresh process."""
    out = {}
    rng = np.random.default_rng(0)
    pick = rng.integers(0, len(survey), 10_000_000)
    pos, vel = survey.pos.value[pick] * u.kpc, survey.vel.to(u.km / u.s).value[pick] * u.km / u.s
    label, err = survey.label[pick], survey.label_err[pick]
    for _ in range(2):
        _, seconds = timed(lambda: oti.data.get_binned_label(pos, vel, label, BINS, label_err=err))
    out["binning stars/s"] = label.size / seconds
    print(f"binning of 1e7 stars: {seconds:.2f} s")
    few = slice(0, 1_000_000)
    for model, options in (("spline", TUTORIAL), ("potential", {})):
        found = measure(model, options, data, pos[few], vel[few])
        out |= {f"{name}, {model}": value for name, value in found.items()}
    return out


def measure(model: str, options: dict, data: dict, pos, vel) -> dict:
    """Times of one model's optimum, normal approximation, sampler and actions."""
    out = {}
    fit, out["MAP s, cold"] = timed(lambda: oti.fit_map(data, **(options | {"model": model})))
    fit, out["MAP s, warm"] = timed(lambda: oti.fit_map(data, **(options | {"model": model})))
    out["MAP steps"] = fit.optimizer.iter_num
    for _ in range(2):
        _, seconds = timed(lambda: fit.model.compute_action_angle(pos, vel, fit.params))
    out["actions stars/s"] = pos.size / seconds
    print(f"{model}: actions of {pos.size} stars {seconds:.2f} s")
    for _ in range(2):
        quick, seconds = timed(fit.laplace)
    print(f"{model}: {quick.state.verdict} {seconds:.2f} s warm")
    fit = fit.sample(seed=1)
    print(f"{model}: {fit.state.verdict}")
    out["NUTS ESS/s"] = min(fit.state.ess_bulk.values()) / fit.state.seconds
    return out


def theirs(python: Path, data: dict, survey, nuts: int) -> dict:
    """The published package's numbers, from a process in its environment."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("map.npz", "stars.npz", "out.json")]
        np.savez(
            paths[0],
            pos=data["pos"].to_value(u.kpc),
            vel=data["vel"].to_value(u.kpc / u.Myr),
            label=data["label"],
            label_err=data["label_err"],
            counts=data["counts"],
        )
        np.savez(
            paths[1],
            pos=survey.pos.to_value(u.kpc),
            vel=survey.vel.to_value(u.kpc / u.Myr),
            label=survey.label,
            label_err=survey.label_err,
        )
        subprocess.run([python, HERE / "published.py", *paths, str(nuts)], check=True)
        out = json.loads(Path(paths[2]).read_text())
    if "draws" in out:
        draws = np.asarray(out.pop("draws"))[None]
        out["NUTS ESS/s"] = float(np.min(diagnostics(draws)["ess_bulk"])) / out.pop("NUTS s")
    return out


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nuts", type=int, default=200, help="published NUTS steps (0: none)")
    parser.add_argument("--map", help="a CSV map to fit instead of a mock")
    options = parser.parse_args()
    survey = oti.mock.draw_stars(200_000, seed=0, selection="survey")
    if options.map:
        data = oti.data.read_map(options.map)
    else:
        grid = oti.data.get_binned_label(
            survey.pos, survey.vel, survey.label, BINS, label_err=survey.label_err
        )
        good = np.isfinite(grid["label"])
        data = {k: grid[k][good] for k in ("pos", "vel", "label", "label_err", "counts")}
    here = ours(data, survey)
    python = published_python()
    there = theirs(python, data, survey, options.nuts) if python else {}
    print(f"\n{'':<28}{'this package':>15}{'published 0.1':>15}{'ratio':>10}")
    for name, value in here.items():
        other = there.get(name.removesuffix(", spline").removesuffix(", potential"), np.nan)
        faster = other / value if " s," in name or "steps" in name else value / other
        print(f"{name:<28}{value:>15.4g}{other:>15.4g}{faster:>10.1f}")


if __name__ == "__main__":
    sys.exit(main())
