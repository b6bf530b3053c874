"""Times of the published package (torusimaging 0.1), run by compare.py in its own environment.

Usage: published.py MAP.npz STARS.npz OUT.json NUTS_STEPS.  Only the calls of its public tutorial.
"""

import json
import sys
import time

import astropy.units as u
import jax
import numpy as np
from gala.units import galactic

import torusimaging as oti

jax.config.update("jax_enable_x64", True)


def main(map_file: str, star_file: str, out: str, nuts_steps: int) -> None:
    """Time binning, the fit, actions and a short NUTS run."""
    result = {}
    stars = np.load(star_file)
    n = 20_000
    bins = {
        "pos": np.linspace(-1.2, 1.2, 81) * u.kpc,
        "vel": (np.linspace(-70, 70, 81) * u.km / u.s).to(u.kpc / u.Myr),
    }
    begin = time.perf_counter()
    oti.data.get_binned_label(
        stars["pos"][:n] * u.kpc,
        stars["vel"][:n] * u.kpc / u.Myr,
        stars["label"][:n],
        label_err=stars["label_err"][:n],
        bins=bins,
        units=galactic,
        s_N_thresh=4,
    )
    result["binning stars/s"] = n / (time.perf_counter() - begin)

    pixels = np.load(map_file)
    data = {
        "pos": pixels["pos"] * u.kpc,
        "vel": pixels["vel"] * u.kpc / u.Myr,
        "label": pixels["label"],
        "label_err": pixels["label_err"],
    }
    model, bounds, start = oti.TorusImaging1DSpline.auto_init(
        data | {"counts": pixels["counts"]},
        label_knots=4,
        e_knots={2: 8, 4: 4},
        label_l2_sigma=1.0,
        label_smooth_sigma=0.5,
        e_l2_sigmas={2: 1.0, 4: 1.0},
        e_smooth_sigmas={2: 0.5, 4: 0.5},
        dacc_strength=1e2,
        e_knots_spacing_power=0.5,
    )
    for m, size in ((2, 0.1), (4, 0.01)):
        vals = start["e_params"][m]["vals"]
        start["e_params"][m]["vals"] = np.full_like(vals, np.log(size / model._label_knots.max()))
    begin = time.perf_counter()
    fit = model.optimize(start, objective="gaussian", bounds=bounds, **data)
    result["MAP s, cold"] = time.perf_counter() - begin
    begin = time.perf_counter()
    model.optimize(start, objective="gaussian", bounds=bounds, **data)
    result["MAP s, warm"] = time.perf_counter() - begin
    result["MAP steps"] = int(fit.state.iter_num)

    few = 500
    pos, vel = stars["pos"][:few] * u.kpc, stars["vel"][:few] * u.kpc / u.Myr
    begin = time.perf_counter()
    try:
        model.compute_action_angle(pos, vel, fit.params)
        result["actions stars/s"] = few / (time.perf_counter() - begin)
    except ValueError as error:
        # Its default arguments are refused by recent versions of JAX.
        print(f"published compute_action_angle fails here: {str(error).splitlines()[0]}")

    if nuts_steps:
        begin = time.perf_counter()
        _, draws = model.mcmc_run_label(
            data,
            p0=fit.params,
            bounds=bounds,
            rng_seed=1,
            num_warmup=nuts_steps,
            num_steps=nuts_steps,
        )
        seconds = time.perf_counter() - begin
        flat = [np.concatenate([np.ravel(x) for x in jax.tree_util.tree_leaves(p)]) for p in draws]
        result["NUTS s"] = seconds
        result["draws"] = np.asarray(flat).tolist()
    with open(out, "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
