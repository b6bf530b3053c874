"""Coverage of the 68 % and 95 % intervals of a_z and Sigma over independent exact mocks.

python benchmarks/calibration.py [STARS] [MOCKS]       # defaults: 1e5 stars, 60 mocks

The truth is the solar mock's; intervals are central ones of the posterior draws, from the
reweighted normal approximation of both models and from NUTS for the potential model.
"""

import sys

import astropy.units as u
import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import torusimaging as oti  # noqa: E402

BINS = {"pos": np.linspace(-1.2, 1.2, 81) * u.kpc, "vel": np.linspace(-70, 70, 81) * u.km / u.s}
HEIGHT = np.array([0.25, 0.5, 1.0, 1.1])
NAMES = ("a_z(0.25)", "a_z(0.5)", "a_z(1.0)", "Sigma(1.1)")
LEVELS = {0.68: ("p16", "p84"), 0.95: ("p2_5", "p97_5")}
WAYS = {
    "potential, Laplace": ("potential", lambda fit: fit.laplace()),
    "potential, NUTS": (
        "potential",
        lambda fit: fit.sample(num_warmup=300, num_steps=400, num_chains=2),
    ),
    "spline, Laplace": ("spline", lambda fit: fit.laplace()),
}


def covered(fit, potential) -> np.ndarray:
    """Whether each interval holds the truth, shape (levels, quantities), then pulls and k."""
    table = oti.profiles(fit, HEIGHT * u.kpc, literature=False)
    truth = np.r_[
        potential.acceleration(HEIGHT[:3]) * 977.79222, potential.surface_density(1.1) * 1e-6
    ]

    def values(level):
        a = table[f"a_z_{level}"].to_value(u.km / u.s / u.Myr)
        return np.r_[a[:3], table[f"Sigma_{level}"][3].to_value(u.Msun / u.pc**2)]

    inside = [(values(low) < truth) & (truth < values(high)) for low, high in LEVELS.values()]
    pulls = 2 * (values("median") - truth) / (values("p84") - values("p16"))
    return np.stack([*inside, pulls])


def mock_map(stars: int, seed: int):
    """A survey of the solar mock and its map."""
    survey = oti.mock.draw_stars(
        stars, seed=seed, selection="survey", midplane=(0.02 * u.kpc, -0.5 * u.km / u.s)
    )
    return survey, oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, BINS, label_err=survey.label_err
    )


def main(stars: int = 100_000, mocks: int = 60) -> None:
    """Print the coverage and the mean and sd of the pulls."""
    results = {way: [] for way in WAYS}
    unreliable = 0
    for seed in range(mocks):
        survey, binned = mock_map(stars, 1000 + seed)
        for way, (model, sample) in WAYS.items():
            fit = sample(oti.fit_map(binned, model=model))
            unreliable += way == "potential, Laplace" and not fit.state.reliable
            results[way].append(covered(fit, survey.potential))
        print(f"\r{seed + 1} of {mocks}", end="", file=sys.stderr, flush=True)
    print(f"\n{mocks} mocks of {stars} stars; Pareto k above 0.7 in {unreliable}")
    for level in LEVELS:
        error = np.sqrt(level * (1 - level) / mocks)
        print(f"nominal {level:.2f} +- {error:.3f}")
    print(f"{'':<22}" + "".join(f"{name:>14}" for name in NAMES))
    for way, found in results.items():
        found = np.array(found)
        for i, level in enumerate(LEVELS):
            rates = found[:, i].mean(axis=0)
            print(f"{way:<19}{level:.2f}" + "".join(f"{r:>14.2f}" for r in rates))
        means, sds = found[:, -1].mean(axis=0), found[:, -1].std(axis=0)
        cells = "".join(f"{m:>+8.2f}, {s:4.2f}" for m, s in zip(means, sds, strict=True))
        print(f"{way:<19}pull{cells}")


if __name__ == "__main__":
    main(*(int(float(x)) for x in sys.argv[1:]))
