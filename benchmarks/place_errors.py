"""What errors of the stars' places do to a_z, with and without the covariance of each star.

Run: python benchmarks/place_errors.py [STARS] [SEEDS]

Stars of an exact survey are seen with distances that are wrong by 10 or 20 %, which move z and the
part of v_z that is a proper motion times the distance, or with velocities that are wrong by 1 km/s.
Each is fitted as if places were exact, with their covariance ("known"), and with that as one of
distances ("as such").  Printed is the error of a_z in per cent of the truth at four heights, the
mean over the seeds, and the sd of one fit.
"""

import sys

import astropy.units as u
import jax
import numpy as np

import torusimaging as oti

HEIGHTS = [0.1, 0.3, 0.6, 1.0] * u.kpc
KMS = u.km / u.s
SHARE = 0.7  # of v_z that is a proper motion times the distance


def spoilt(survey, kind: str, size: float, seed: int):
    """Places as they are seen, and their covariance as an astronomer would state it."""
    rng = np.random.default_rng(seed)
    z, v = survey.pos - survey.pos0, survey.vel - survey.vel0
    noise = rng.standard_normal(len(survey))
    if kind == "velocity":
        sd = np.full(len(survey), size) * KMS
        return survey.pos, survey.vel + sd * noise, (0 * z**2, sd**2, 0 * z * sd)
    off = 1 + size * noise
    z, v = z * off, v * (1 - SHARE + SHARE * off)
    # The errors that are stated are those of the distances that are seen.
    sd_z, sd_v = size * z, SHARE * size * v
    return z + survey.pos0, v + survey.vel0, (sd_z**2, sd_v**2, sd_z * sd_v)


def a_z(stars) -> tuple[np.ndarray, np.ndarray]:
    """a_z at the heights above and below, odd part, and its sd (km/s/Myr)."""
    fit = oti.fit_stars(stars).laplace(num_draws=500)
    table = oti.profiles(fit, HEIGHTS)
    unit = KMS / u.Myr
    sd = (table["a_z_p84"] - table["a_z_p16"]) / 2
    return table["a_z_median"].to_value(unit), sd.to_value(unit)


def main() -> None:
    """Print the table."""
    jax.config.update("jax_enable_x64", True)
    n = int(float(sys.argv[1])) if len(sys.argv) > 1 else 300_000
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print(f"{n} stars, {seeds} surveys: error of a_z (%) at {', '.join(map(str, HEIGHTS))}")
    rows: dict[str, list] = {}
    for seed in range(seeds):
        survey = oti.mock.draw_stars(n, seed=100 + seed, selection="survey")
        true = [survey.potential.acceleration(z) for z in HEIGHTS.value]
        true = (np.array(true) * u.kpc / u.Myr**2).to_value(KMS / u.Myr)
        labels, errs = {"mg_fe": survey.label}, {"mg_fe": survey.label_err}
        found = {"exact places": oti.Stars(survey.pos, survey.vel, labels, errs)}
        for kind, size in (("distance", 0.1), ("distance", 0.2), ("velocity", 1.0)):
            pos, vel, covariance = spoilt(survey, kind, size, seed)
            name = f"{kind} {size:g}"
            found[f"{name}, ignored"] = oti.Stars(pos, vel, labels, errs)
            found[f"{name}, known"] = oti.Stars(pos, vel, labels, errs, covariance=covariance)
            if kind == "distance":
                shares = np.full(n, size)
                found[f"{name}, as such"] = oti.Stars(
                    pos, vel, labels, errs, covariance=covariance, distance_err=shares
                )
        for name, stars in found.items():
            middle, sd = a_z(stars)
            rows.setdefault(name, []).append((100 * (middle / true - 1), 100 * sd / np.abs(true)))
            off, width = np.mean(rows[name], axis=0)
            print(
                f"{name:<24}"
                + "".join(f"{x:>+8.2f}" for x in off)
                + "   sd"
                + "".join(f"{x:>7.2f}" for x in width),
                flush=True,
            )


if __name__ == "__main__":
    main()
