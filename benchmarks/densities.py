"""Forms of the density on exact fields that none of them holds.

python benchmarks/densities.py [SEEDS] [FORM,...] [KIND,...] [SELECTION,...]
    # 24 smooth,fixed,warm,free all kinds all,survey,holes

Maps of 1e5 stars in pixels of 40 pc by 2.3 km/s; every kind, selection and seed has stars of its
own, the same for all forms.  For each quantity: rms error and mean error in per cent of the truth,
mean pull (error over half the 68 % interval), and how many of the 68 % and 95 % intervals hold the
truth in per cent.  The asymmetric field is fitted with asymmetric=True and judged above the plane.
What is done stays in output/, from where a run that was stopped goes on.
"""

import json
import sys
import time
import zlib
from pathlib import Path

import astropy.units as u
import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from fields import DENSITIES, FOUR_PI_G, SELECTIONS, Field, draw  # noqa: E402

import torusimaging as oti  # noqa: E402
from torusimaging.inference.draws import of_draws  # noqa: E402

STARS = 100_000
BINS = {"pos": np.linspace(-1.2, 1.2, 61) * u.kpc, "vel": np.linspace(-70, 70, 61) * u.km / u.s}
HEIGHTS, OUTER = np.array([0.1, 0.5, 1.0]), np.array([0.9, 1.15])  # kpc
QUANTITIES = ("rho(0)", "a(0.1)", "a(0.5)", "a(1.0)", "Sigma(1.1)", "rho(0.9)", "rho(1.15)")
LEVELS = (2.5, 16, 50, 84, 97.5)
FORMS = {
    "smooth": {},
    "fixed": {"density_options": {"dof": None}},
    "rigid": {"density_options": {"dof": None, "amplitude": 1.0}},
    "free": {"density": "free"},
    "layers": {"density": "solar"},
}
OUTPUT = Path("output/densities.jsonl")


def truth(field: Field) -> np.ndarray:
    """The quantities' true values, plain (kpc, Myr, Msun)."""
    return np.concatenate(
        [
            [field.surface_density(0.05) / 0.1],
            -field.acceleration(HEIGHTS),
            [field.surface_density(1.1)],
            field.rho(OUTER),
        ]
    )


def values(model, params) -> np.ndarray:
    """The same of one draw."""
    orbits, centre = model.foliation(params), params["pos0"]

    def mass(height):
        pull = orbits.acceleration(centre - height) - orbits.acceleration(centre + height)
        return pull / FOUR_PI_G

    density = -orbits.acceleration_slope(centre + OUTER) / FOUR_PI_G
    pull = -orbits.acceleration(centre + HEIGHTS)
    return jax.numpy.concatenate(
        [jax.numpy.stack([mass(0.05) / 0.1]), pull, jax.numpy.stack([mass(1.1)]), density]
    )


def measure(form: str, kind: str, selection: str, seed: int, field: Field) -> dict:
    """One fit: percentiles of every quantity, and what the draws cost."""
    rng = np.random.default_rng([seed, zlib.crc32(f"{kind} {selection}".encode())])
    stars = draw(field, STARS, rng, SELECTIONS[selection])
    binned = oti.data.get_binned_label(
        stars["pos"] * u.kpc,
        stars["vel"] * u.kpc / u.Myr,
        stars["label"],
        BINS,
        label_err=stars["label_err"],
    )
    options = FORMS[form] | ({"asymmetric": True} if kind == "asymmetric" else {})
    begin = time.perf_counter()
    fit = oti.fit_map(binned, **options).laplace(num_draws=1000)
    seconds = time.perf_counter() - begin
    drawn = of_draws(values, fit.model, fit.samples.stacked)
    return {
        "percentiles": np.percentile(np.asarray(drawn), LEVELS, axis=0).T.tolist(),
        "truth": truth(field).tolist(),
        "k": fit.state.pareto_k,
        "efficiency": fit.state.efficiency,
        "seconds": seconds,
        "ess": fit.state.ess,
        "chi2": fit.chi2_per_pixel,
    }


def judge(rows: list[dict]) -> tuple[np.ndarray, ...]:
    """Relative error, pull, whether 68 % and 95 % hold the truth: each (rows, quantities)."""
    low2, low, middle, high, high2 = np.moveaxis([row["percentiles"] for row in rows], -1, 0)
    true = np.array([row["truth"] for row in rows])
    pull = (middle - true) / ((high - low) / 2)
    return middle / true - 1, pull, (low < true) & (true < high), (low2 < true) & (true < high2)


def line(name: str, rows: list[dict]) -> str:
    """A row of the table."""
    error, pull, held, held2 = judge(rows)
    columns = zip(error.T, pull.T, held.mean(0), held2.mean(0), strict=True)
    cells = [
        f"{100 * np.sqrt(np.mean(e**2)):6.1f}{100 * e.mean():+7.1f}{p.mean():+6.2f}"
        f"{100 * a:5.0f}{100 * b:4.0f}"
        for e, p, a, b in columns
    ]
    k, efficiency, seconds, ess = (
        np.median([row[name] for row in rows]) for name in ("k", "efficiency", "seconds", "ess")
    )
    cost = f"  {k:5.2f}{100 * efficiency:5.0f} %{seconds:6.1f}{1e3 * seconds / ess:6.1f}"
    return f"{name:<28}" + "".join(cells) + cost


def main(
    seeds: str = "24",
    forms: str = "smooth,fixed,rigid,free",
    kinds: str = ",".join(DENSITIES),
    selections: str = ",".join(SELECTIONS),
) -> None:
    """Fit what is missing and print the table of each form."""
    OUTPUT.parent.mkdir(exist_ok=True)
    done = {}
    if OUTPUT.exists():
        for text in OUTPUT.read_text().splitlines():
            row = json.loads(text)
            done[tuple(row["key"])] = row
    number, cells = int(seeds), [(k, s) for k in kinds.split(",") for s in selections.split(",")]
    for kind, selection in cells:
        field = Field.of(DENSITIES[kind])
        for form in forms.split(","):
            for seed in range(number):
                key = (form, kind, selection, seed)
                if key not in done:
                    done[key] = measure(*key, field) | {"key": key}
                    with OUTPUT.open("a") as file:
                        file.write(json.dumps(done[key]) + "\n")
    spread = [100 * np.sqrt(p * (1 - p) / number) for p in (0.68, 0.95)]
    for form in forms.split(","):
        print(f"\n{form} {FORMS[form]}: {number} maps a row; rms %, mean %, mean pull, 68, 95 %")
        print(f"held (binomial error {spread[0]:.0f} and {spread[1]:.0f}); Pareto k, efficiency,")
        print(
            "s a fit, ms a draw that counts\n" + " " * 28 + "".join(f"{q:>28}" for q in QUANTITIES)
        )
        everything = []
        for kind, selection in cells:
            rows = [done[form, kind, selection, seed] for seed in range(number)]
            print(line(f"{kind} {selection}", rows), flush=True)
            everything += rows if kind != "razor" else []
        if everything:
            print(line("all but razor", everything))


if __name__ == "__main__":
    main(*sys.argv[1:])
