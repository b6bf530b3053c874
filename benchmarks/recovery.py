"""Recovery of exact one-dimensional fields by both models, for surveys of growing size.

Intervals are of importance-sampled draws where these are reliable, of NUTS elsewhere.

python benchmarks/recovery.py [STARS] [SEEDS]       # defaults: 1e6 stars, 2 seeds
"""

import sys

import astropy.units as u
import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import torusimaging as oti  # noqa: E402

HEIGHT = np.array([0.15, 0.25, 0.4, 0.55, 0.7, 0.85, 0.98])
BINS = {"pos": np.linspace(-1.2, 1.2, 81) * u.kpc, "vel": np.linspace(-70, 70, 81) * u.km / u.s}
FIELDS = {
    "thin + thick + halo": oti.mock.solar_potential(),
    "one sech^2": oti.mock.Potential1D([(0.08e9, 0.25)]),
    "harmonic": oti.mock.Potential1D([], 0.04e9),
}


def knots(model: str, stars: int) -> dict:
    """More stars resolve more of the shape."""
    if stars < 3e6:
        return {}
    if model == "potential":
        return {"label_knots": 10, "density_knots": 12}
    return {"label_knots": 10, "e_knots": {2: 10, 4: 5}}


def mock_map(field, stars: int, seed: int):
    """A survey of a field and its binned map."""
    survey = oti.mock.draw_stars(stars, field, seed=seed, selection="survey")
    return survey, oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, BINS, label_err=survey.label_err
    )


def compare(fit, truth) -> tuple[float, tuple]:
    """Pareto k, then relative error, relative sd and pull of a_z, and pull of rho."""
    fit = fit.laplace(num_draws=1000)
    if not fit.state.reliable:
        fit = fit.sample()
    table = oti.profiles((fit.model, fit.samples), HEIGHT * u.kpc, literature=False)

    def values(name, unit):
        low, middle, high = (table[f"{name}_{k}"].to_value(unit) for k in ("p16", "median", "p84"))
        return middle, (high - low) / 2

    a, sd = values("a_z", u.kpc / u.Myr**2)
    rho, rho_sd = values("rho", u.Msun / u.kpc**3)
    true = truth.acceleration(HEIGHT)
    error, pull = 100 * (a / true - 1), (a - true) / sd
    columns = error, 100 * sd / np.abs(true), pull, (rho - truth.density(HEIGHT)) / rho_sd
    return getattr(fit.state, "pareto_k", np.nan), columns


def main(stars: int = 1_000_000, seeds: int = 2) -> None:
    """Print errors, standard deviations and pulls at each height."""
    print(f"{stars} stars; |z| / kpc:", *HEIGHT)
    for name, field in FIELDS.items():
        for seed in range(seeds):
            _, binned = mock_map(field, stars, seed)
            for model in ("potential", "spline"):
                fit = oti.fit_map(binned, model=model, **knots(model, stars))
                k, columns = compare(fit, field)
                error, sd, pull, rho = (np.round(x, 1) for x in columns)
                draws = f"Pareto k {k:.2f}" if np.isfinite(k) else "NUTS"
                print(
                    f"{name}, seed {seed}, {model}, {draws}:\n   a_z error % {error}  sd % {sd}\n"
                    f"   a_z pull {pull}  rho pull {rho}",
                    flush=True,
                )


if __name__ == "__main__":
    main(*(int(float(x)) for x in sys.argv[1:]))
