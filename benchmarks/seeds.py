"""NUTS with default settings on the real map (or a mock): the worst of many seeds.

python benchmarks/seeds.py [SEEDS] [MAP.csv]        # default: 20
"""

import sys

import jax

jax.config.update("jax_enable_x64", True)

from recovery import FIELDS, mock_map  # noqa: E402

import torusimaging as oti  # noqa: E402

NAME = "thin + thick + halo"


def main(seeds: int = 20, path: str | None = None) -> None:
    """Print the largest R-hat and share of divergences, and the smallest effective sample size."""
    binned = mock_map(FIELDS[NAME], 300_000, 0)[1] if path is None else oti.data.read_map(path)
    for model in ("potential", "spline"):
        fit = oti.fit_map(binned, model=model)
        states = [fit.sample(seed=seed).state for seed in range(seeds)]
        rhat = max(max(s.rhat.values()) for s in states)
        ess = min(min(s.ess_bulk.values()) for s in states)
        divergent = max(s.divergent_fraction for s in states)
        energy = min(s.e_bfmi.min() for s in states)
        print(
            f"{model}, {seeds} seeds: largest R-hat {rhat:.4f}, largest share of divergences "
            f"{100 * divergent:.2g} %, smallest bulk ESS {ess:.0f}, smallest E-BFMI {energy:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*(int(x) for x in sys.argv[1:2]), *sys.argv[2:3])
