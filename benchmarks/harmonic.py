"""The frequency of a harmonic field, whose orbits are circles, by both models.

python benchmarks/harmonic.py [STARS] [REALISATIONS]       # defaults: 1e5 stars, 10 realisations

An oscillator of 0.08 rad/Myr (4 pi G rho = Omega^2), stars with a dispersion of 50 km/s, a label
linear in r = sqrt(2 J), in pixels of three sizes.  Intervals are of importance-sampled draws where
these are reliable, of NUTS elsewhere.
"""

import sys

import astropy.units as u
import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import torusimaging as oti  # noqa: E402
from torusimaging.foliation.density import G  # noqa: E402

OMEGA = 0.08  # rad/Myr
FIELD = oti.mock.Potential1D([], OMEGA**2 / (4 * np.pi * G))
MODELS = ("spline", "potential")
SIDES = (32, 64, 128)  # pixels along each side of +-1.75 kpc by +-140 km/s


def mock_map(stars: int, side: int, seed: int) -> dict:
    """A survey of the field and its map."""
    survey = oti.mock.draw_stars(
        stars,
        FIELD,
        seed=seed,
        label=lambda J: 0.1 + 0.5 * np.sqrt(2 * J),
        populations=((1.0, 50 * u.km / u.s),),
    )
    bins = {
        "pos": np.linspace(-1.75, 1.75, side + 1) * u.kpc,
        "vel": np.linspace(-140, 140, side + 1) * u.km / u.s,
    }
    return oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, bins, label_err=survey.label_err
    )


def frequency(binned: dict, model: str) -> tuple[float, float, float]:
    """Posterior mean and sd of Omega0, and chi^2 per pixel."""
    fit = oti.fit_map(binned, model=model).laplace()
    if not fit.state.reliable:
        fit = fit.sample(num_warmup=300, num_steps=500, num_chains=2)
    omega = np.array([float(fit.model.foliation(p).omega0) for p in fit.samples])
    return omega.mean(), omega.std(), fit.chi2_per_pixel


def main(stars: int = 100_000, realisations: int = 10) -> None:
    """Print the mean error, the scatter of the means, the quoted sd and the pulls."""
    print(f"Omega0 = {OMEGA} rad/Myr, {stars} stars, {realisations} realisations")
    print("pixels     model      mean error  scatter of means  quoted sd  pull mean, rms  chi^2")
    for side in SIDES:
        found = {m: [] for m in MODELS}
        for seed in range(realisations):
            binned = mock_map(stars, side, 500 + seed)
            for model, rows in found.items():
                rows.append(frequency(binned, model))
        for model, rows in found.items():
            mean, sd, chi2 = np.array(rows).T
            pull = (mean - OMEGA) / sd
            print(
                f"{side:>4}^2     {model:<11}{mean.mean() / OMEGA - 1:>+9.2%}"
                f"{mean.std(ddof=1) / OMEGA:>15.2%}{sd.mean() / OMEGA:>15.2%}"
                f"{pull.mean():>+9.2f}, {np.sqrt(np.mean(pull**2)):4.2f}{chi2.mean():>9.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main(*(int(float(x)) for x in sys.argv[1:]))
