"""A disc that was kicked 500 Myr ago: bias and coverage of a_z without and with terms in the angle.

Run: python benchmarks/spirals.py [SEEDS] [KICK ...]   # default: 6 surveys; kicks of 0 3 6 12 km/s

Each survey has 1.3e5 stars in an exact field, which all got the same vertical speed and have moved
in it since.  Printed for each kick, without and with ``angles=True``: the mean error of a_z at 0.1,
0.3, 0.5 and 1 kpc in per cent, the mean sd of one fit, the rms error in units of the sd (1 for an
honest one), and chi^2 per pixel.  Draws are by importance sampling, or by NUTS where these are not
reliable.
"""

import sys

import astropy.units as u
import jax
import numpy as np

import torusimaging as oti

HEIGHTS = [0.1, 0.3, 0.5, 1.0] * u.kpc
UNIT = u.km / u.s / u.Myr
KMS = (1 * u.km / u.s).to_value(u.kpc / u.Myr)
BINS = {"pos": np.linspace(-1.2, 1.2, 61) * u.kpc, "vel": np.linspace(-70, 70, 61) * u.km / u.s}


def kicked(seed: int, kick: float, time: float = 500.0, stars: int = 130_000):
    """A survey, and the map of its stars after a kick (km/s) and a time (Myr)."""
    survey = oti.mock.draw_stars(stars, seed=seed)
    z, v = survey.pos.to_value(u.kpc), survey.vel.to_value(u.kpc / u.Myr) + kick * KMS
    grid = np.linspace(-6, 6, 4001)
    pull, step = survey.potential.acceleration(grid), 0.5
    v = v + step / 2 * np.interp(z, grid, pull)
    for _ in range(int(time / step)):
        z = z + step * v
        v = v + step * np.interp(z, grid, pull)
    z, v = z * u.kpc, (v - step / 2 * np.interp(z, grid, pull)) * u.kpc / u.Myr
    label, err = survey.label, survey.label_err
    return survey, oti.data.get_binned_label(z, v, label, BINS, label_err=err)


def main(seeds: int = 6, *kicks: float) -> None:
    """Print the table."""
    jax.config.update("jax_enable_x64", True)
    for kick in kicks or (0.0, 3.0, 6.0, 12.0):
        rows: dict[bool, list] = {False: [], True: []}
        for seed in range(seeds):
            survey, binned = kicked(300 + seed, kick)
            true = [survey.potential.acceleration(z) for z in HEIGHTS.value]
            true = (np.array(true) * u.kpc / u.Myr**2).to_value(UNIT)
            for angles, own in rows.items():
                fit = oti.fit_map(binned, angles=angles)
                quick = fit.laplace()
                fit = quick if quick.state.reliable else fit.sample(num_chains=2)
                table = oti.profiles(fit, HEIGHTS)
                sd = (table["a_z_p84"] - table["a_z_p16"]).to_value(UNIT) / 2
                off = table["a_z_median"].to_value(UNIT) - true
                own.append((off / true, sd / np.abs(true), off / sd, fit.chi2_per_pixel + 0 * sd))
        for angles, own in rows.items():
            off, sd, pull, chi2 = np.swapaxes(own, 0, 1)
            print(
                f"kick {kick:4.1f} km/s, {'with' if angles else 'without':<8}error %"
                + "".join(f"{100 * x:+7.1f}" for x in off.mean(axis=0))
                + "   sd %"
                + "".join(f"{100 * x:6.1f}" for x in sd.mean(axis=0))
                + "   rms pull"
                + "".join(f"{x:6.2f}" for x in np.sqrt(np.mean(pull**2, axis=0)))
                + f"   chi^2 {chi2.mean():.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main(*(int(x) for x in sys.argv[1:2]), *map(float, sys.argv[2:]))
