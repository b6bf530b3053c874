"""Libraries beside this package's own code for the same work: seconds, ratios and results.

Run: python benchmarks/libraries.py [ROWS]

FITS: four columns of a binary table with 40, in slabs, as `catalog` reads it, beside astropy's
memory map and, where it is installed, fitsio.  Least squares: the potential model's optimum from
the automatic start by this package's Levenberg-Marquardt and by optimistix's, the first call with
its compilation and the best of five after it, and the objective both end at.
"""

import argparse
import tempfile
import time
from pathlib import Path

import astropy.units as u
import jax
import numpy as np
from astropy.io import fits
from astropy.table import Table

jax.config.update("jax_enable_x64", True)
SLAB = 262_144
TAKEN = ["C3", "C11", "C20", "C37"]


def seconds(function, times: int = 3) -> tuple[float, float]:
    """The first call's seconds and the best of `times` later ones."""
    out = []
    for _ in range(times + 1):
        begin = time.perf_counter()
        function()
        out.append(time.perf_counter() - begin)
    return out[0], min(out[1:])


def read_fits(rows: int) -> None:
    import torusimaging as oti

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stars.fits"
        rng = np.random.default_rng(0)
        Table({f"C{k}": rng.normal(size=rows) for k in range(40)}).write(path)

        def own():
            return sum(float(c["C3"].sum()) for c in oti.data.open_table(path).chunks(TAKEN, SLAB))

        def mapped():
            with fits.open(path, memmap=True) as file:
                return sum(
                    float(np.sum(file[1].data[name][k : k + SLAB]))
                    for k in range(0, rows, SLAB)
                    for name in TAKEN
                )

        ways = {"torusimaging": own, "astropy, mapped": mapped}
        try:
            import fitsio
        except ImportError:
            print("fitsio is not installed.")
        else:

            def by_fitsio():
                with fitsio.FITS(path) as file:
                    for k in range(0, rows, SLAB):
                        file[1].read(columns=TAKEN, rows=np.arange(k, min(k + SLAB, rows)))

            ways["fitsio"] = by_fitsio
        times = {name: seconds(way)[1] for name, way in ways.items()}
        for name, best in times.items():
            ratio = best / times["torusimaging"]
            print(f"FITS, 4 of 40 columns, {rows} rows: {name:18s} {best:7.3f} s {ratio:6.2f}")


def least_squares() -> None:
    import optimistix as optx

    import torusimaging as oti
    from torusimaging.inference.optimize import minimise_squares
    from torusimaging.inference.problem import Problem, evaluate, minus_ln_posterior, residuals
    from torusimaging.likelihoods import GaussianPixels

    stars = oti.mock.draw_stars(200_000, seed=1)
    edges = np.linspace(-1, 1, 61)
    bins = {"pos": 1.2 * edges * u.kpc, "vel": 70 * edges * u.km / u.s}
    data = oti.data.get_binned_label(
        stars.pos, stars.vel, stars.label, bins, label_err=stars.label_err
    )
    model, bounds, start = oti.TorusImaging1DPotential.auto_init(data)
    problem = Problem.of(model, GaussianPixels.read(data), start, bounds)
    z = problem.free(start)
    solver = optx.LevenbergMarquardt(rtol=1e-9, atol=1e-9)
    found = {}

    def own():
        found["torusimaging"] = minimise_squares(residuals, z, problem, 256)[:2]
        found["torusimaging"][0].block_until_ready()

    def library():
        out = optx.least_squares(residuals, solver, z, problem, max_steps=256, throw=False)
        found["optimistix"] = out.value.block_until_ready(), out.stats["num_steps"]

    first = seconds(own, 5)
    for name, (cold, warm) in {"torusimaging": first, "optimistix": seconds(library, 5)}.items():
        best, steps = found[name]
        value = float(evaluate(minus_ln_posterior, best, problem))
        print(
            f"Levenberg-Marquardt: {name:14s} first {cold:6.2f} s {cold / first[0]:5.2f}, then "
            f"{warm:6.3f} s {warm / first[1]:5.2f}, {int(steps)} steps, objective {value:.6f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    read_fits(parser.parse_args().rows)
    least_squares()
