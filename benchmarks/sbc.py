"""Simulation-based calibration of both models on maps of 2e4 stars.

python benchmarks/sbc.py [SIMULATIONS] [SAMPLER] [SEED] [MODEL ...]   # 200 nuts 0 (both)

Pixels and errors are those of a survey of 2e4 stars in 41 x 41 bins; truths are prior draws.  The
simulations that are done stay in output/, from where a run that was stopped goes on.
"""

import sys
import time
from pathlib import Path

import astropy.units as u
import jax
import numpy as np

BINS = {"pos": np.linspace(-1.2, 1.2, 42) * u.kpc, "vel": np.linspace(-70, 70, 42) * u.km / u.s}
OUTPUT = Path("output")


def main(simulations: int = 200, sampler: str = "nuts", seed: str = "0", *models: str) -> None:
    """Print p, coverage, z and contraction of every quantity."""
    jax.config.update("jax_enable_x64", True)
    import torusimaging as oti

    OUTPUT.mkdir(exist_ok=True)
    stars = oti.mock.draw_stars(20_000, seed=0, selection="survey")
    binned = oti.data.get_binned_label(
        stars.pos, stars.vel, stars.label, BINS, label_err=stars.label_err
    )
    for model in models or ("potential", "spline"):
        fit = oti.fit_map(binned, model=model)
        kept = OUTPUT / f"sbc-{model}-{sampler}-{seed}.ecsv"
        begin = time.perf_counter()
        result = oti.calibrate(
            fit,
            simulations,
            sampler=sampler,
            num_steps=600,
            seed=int(seed),
            progress=True,
            checkpoint=kept,
        )
        seconds = time.perf_counter() - begin
        print(f"\n{model}, {sampler}, seed {seed}: {seconds / simulations:.2f} s a simulation")
        print(result.text, flush=True)


if __name__ == "__main__":
    main(*(int(x) for x in sys.argv[1:2]), *sys.argv[2:])
