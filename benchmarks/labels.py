"""Two labels whose scatter is correlated: fitted together, and combined as if they were not.

Run: python benchmarks/labels.py [STARS] [SEEDS] [CORRELATION]

[Mg/Fe] rises with the action and [Fe/H] falls; the scatter of the two is correlated.  For each of
some surveys a_z is found with either label alone, with both (`fit_stars`), and as the average of
the two alone, weighted by their errors, which takes them for independent.  Printed are the mean sd
of a_z (km/s/Myr) and the rms of the error in units of that sd, which is 1 for an honest one.
"""

import sys

import astropy.units as u
import jax
import numpy as np

import torusimaging as oti

HEIGHTS = [0.1, 0.3, 0.6, 1.0] * u.kpc
UNIT = u.km / u.s / u.Myr


def draw(n: int, seed: int, correlation: float):
    """A survey, and its stars with two labels."""
    survey = oti.mock.draw_stars(n, seed=seed, label_scatter=0.0, label_err=(0, 0))
    rng = np.random.default_rng([seed, 1])
    root = np.linalg.cholesky([[1, correlation], [correlation, 1]])
    noise = root @ rng.standard_normal((2, n))
    fe = -0.3 * np.tanh(np.sqrt(survey.J.value) / 0.3) + 0.12 * noise[1]
    both = {"mg_fe": survey.label + 0.06 * noise[0], "fe_h": fe}
    errs = {name: rng.uniform(0.01, 0.03, n) for name in both}
    both = {name: x + errs[name] * rng.standard_normal(n) for name, x in both.items()}
    return survey, oti.Stars(survey.pos, survey.vel, both, errs)


def main() -> None:
    """Print the table."""
    jax.config.update("jax_enable_x64", True)
    n = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    correlation = float(sys.argv[3]) if len(sys.argv) > 3 else -0.7
    rows: dict[str, list] = {}
    for seed in range(seeds):
        survey, stars = draw(n, 500 + seed, correlation)
        true = [survey.potential.acceleration(z) for z in HEIGHTS.value]
        true = (np.array(true) * u.kpc / u.Myr**2).to_value(UNIT)
        found = {}
        for name, labels in (("mg_fe", "mg_fe"), ("fe_h", "fe_h"), ("both", ["mg_fe", "fe_h"])):
            table = oti.profiles(oti.fit_stars(stars, labels=labels).laplace(), HEIGHTS)
            sd = (table["a_z_p84"] - table["a_z_p16"]).to_value(UNIT) / 2
            found[name] = table["a_z_median"].to_value(UNIT), sd
        weights = {name: found[name][1] ** -2.0 for name in ("mg_fe", "fe_h")}
        total = sum(weights.values())
        average = sum(weights[name] * found[name][0] for name in weights) / total
        found["as if independent"] = average, total**-0.5
        for name, (middle, sd) in found.items():
            rows.setdefault(name, []).append((sd, (middle - true) / sd))
    print(f"{seeds} surveys of {n} stars, correlation {correlation:g}, at {HEIGHTS}")
    for name, values in rows.items():
        sd, pull = np.swapaxes(values, 0, 1)
        print(
            f"{name:<20}sd "
            + " ".join(f"{x:.4f}" for x in sd.mean(axis=0))
            + "   rms pull "
            + " ".join(f"{x:.2f}" for x in np.sqrt(np.mean(pull**2, axis=0)))
            + f"   all {np.sqrt(np.mean(pull**2)):.2f}"
        )


if __name__ == "__main__":
    main()
