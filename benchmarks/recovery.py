"""Recovery of exact mocks: errors of a_z in per cent, for surveys of growing size.

python benchmarks/recovery.py [STARS] [SEEDS]       # defaults: 1e6 stars, 4 seeds
"""

import sys

import astropy.units as u
import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import torusimaging as oti  # noqa: E402

HEIGHT = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])


def main(stars: int = 1_000_000, seeds: int = 4) -> None:
    """Print the relative error, its standard deviation and their ratio at each height."""
    bins = {"pos": np.linspace(-1.2, 1.2, 81) * u.kpc, "vel": np.linspace(-70, 70, 81) * u.km / u.s}
    print(f"{stars} stars; |z| / kpc:", *HEIGHT)
    errors = []
    for seed in range(seeds):
        survey = oti.mock.draw_stars(stars, seed=seed, selection="survey")
        binned = oti.data.get_binned_label(
            survey.pos, survey.vel, survey.label, bins, label_err=survey.label_err
        )
        # More stars resolve more of the splines' shape.
        knots = {"label_knots": 10, "e_knots": {2: 10, 4: 5}} if stars > 3e6 else {}
        fit = oti.fit_map(binned, **knots)

        def at(params, fit=fit):
            z = (HEIGHT + float(params["pos0"])) * u.kpc
            return fit.model.get_acceleration(z, params).value

        truth = survey.potential.acceleration(HEIGHT)
        draws = fit.model.get_crlb_error_samples(fit.params, fit.data, size=200, seed=0)
        sd = np.std([at(p) for p in draws], axis=0)
        error = at(fit.params) - truth
        errors.append(100 * error / truth)
        print(
            f"seed {seed}: error %",
            np.round(errors[-1], 1),
            "sd %",
            np.round(100 * sd / np.abs(truth), 1),
            "error / sd",
            np.round(error / sd, 1),
            flush=True,
        )
    print("mean error %", np.round(np.mean(errors, axis=0), 2))


if __name__ == "__main__":
    main(*(int(float(x)) for x in sys.argv[1:]))
