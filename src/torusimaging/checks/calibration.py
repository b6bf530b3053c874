"""Simulation-based calibration: whether posteriors of maps like the user's hold what they say."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import QTable, Table
from numpy.typing import NDArray
from tqdm import tqdm

from ..arguments import choice, shown, truth, whole_number
from ..data.pixels import require_x64
from ..files.paths import as_path, existing_file
from ..files.writing import in_use, write_complete
from ..inference.identity import data_digest, digest, likelihood_note, model_digest
from ..parallel import cores
from ..results.fit import Fitted
from .ranks import DRAWS, LEVELS, holm, inside, uniformity
from .simulations import SAMPLERS, Campaign, run

ROWS = ("index", "ranks", "z", "sd", "quality", "ess", "seconds", "failures")
FORMAT = "torusimaging calibration 1"


@dataclass(frozen=True)
class Calibration:
    """What `calibrate` found; arrays have one row for each simulation, quantities as columns.

    Attributes: ``names`` of the quantities (parameters first); ``ranks``, shape (n, q), of the
    truth among ``L`` draws (0 to L, -1 where the fit failed); ``z``, posterior mean minus truth
    over the posterior's sd; ``sd``, the posterior's; ``prior_sd``, shape (q,), NaN for what is no
    parameter; ``index``, ``quality`` (largest R-hat, or Pareto k), ``ess`` (the smallest) and
    ``seconds`` of each simulation, shape (n,); ``failures``, the reason of each failed one and ""
    of others; ``settings``, all that decides the result.
    """

    names: list[str]
    ranks: NDArray
    z: NDArray
    sd: NDArray
    prior_sd: NDArray
    index: NDArray
    quality: NDArray
    ess: NDArray
    seconds: NDArray
    failures: NDArray
    settings: dict
    L: int = DRAWS

    @property
    def good(self) -> NDArray:
        """Which simulations have ranks, shape (n,)."""
        return np.asarray([not text for text in self.failures], bool)

    @property
    def n_failed(self) -> int:
        """Simulations whose fit failed from the usual start and from draws of the prior."""
        return int(np.sum(~self.good))

    @property
    def n_unreliable(self) -> int:
        """Simulations, kept in the ranks, with R-hat above 1.05 or Pareto k above 0.7."""
        limit = 0.7 if self.settings["sampler"] == "laplace" else 1.05
        return int(np.sum(~(self.quality[self.good] <= limit)))

    @property
    def table(self) -> QTable:
        """One row for each quantity: p, Holm's p, mean and sd of z, and contraction.

        The contraction is 1 - (mean posterior variance) / (prior variance): 1 where the data tell
        all, 0 where they tell nothing (Schad et al. 2021, arXiv:1904.12765).
        """
        z, sd = self.z[self.good], self.sd[self.good]
        p = uniformity(self.ranks[self.good], self.L)
        columns = {
            "quantity": self.names,
            "p": p,
            "p_holm": holm(p),
            "mean_z": z.mean(axis=0),
            "sd_z": z.std(axis=0, ddof=1),
            "contraction": 1 - np.mean(sd**2, axis=0) / self.prior_sd**2,
        }
        return QTable(columns)

    @property
    def coverage(self) -> QTable:
        """Share of truths inside central intervals: quantity, nominal, found, error (binomial)."""
        ranks = self.ranks[self.good]
        rows = []
        for name, column in zip(self.names, ranks.T, strict=True):
            for level in LEVELS:
                error = np.sqrt(level * (1 - level) / len(ranks))
                rows.append((name, level, inside(column, level, self.L).mean(), error))
        return QTable(rows=rows, names=("quantity", "nominal", "found", "error"))

    @property
    def text(self) -> str:
        """The result in words and one line for each quantity."""
        n, failed, weak = len(self.ranks), self.n_failed, self.n_unreliable
        laplace = self.settings["sampler"] == "laplace"
        limit = "Pareto k above 0.7" if laplace else "R-hat above 1.05"
        reasons = [
            f"Simulation {i} failed: {reason}"
            for i, reason in zip(self.index, self.failures, strict=True)
            if reason
        ]
        if n - failed < 2:
            return "\n".join([f"NOTHING shown: {failed} of {n} simulations failed.", *reasons])
        table, found = self.table, np.reshape(self.coverage["found"], (-1, len(LEVELS)))
        worst = table[int(np.argmin(table["p"]))]
        bad = [row["quantity"] for row in table if row["p_holm"] < 0.05]
        verdict = "No sign of a wrong posterior"
        if failed + weak > 0.05 * n:
            verdict = "NOT SHOWN: too many simulations failed or are unreliable"
        if bad:
            verdict = f"NOT CALIBRATED: {', '.join(bad)}"
        few = int(np.sum(self.ess[self.good] < self.L))
        lines = [
            f"{verdict}. Smallest p of uniform ranks {worst['p']:.2g} ({worst['quantity']}), "
            f"{worst['p_holm']:.2g} corrected for {len(table)} quantities (Holm).",
            f"{n} simulations, {failed} failed and without ranks, {weak} with {limit}, {few} worth "
            f"fewer than {self.L} independent draws; {np.median(self.seconds):.2g} s each.",
            *reasons,
            "",
            f"{'quantity':<28}{'p':>8}"
            + "".join(f"{f'{100 * level:.0f} %':>7}" for level in LEVELS)
            + f"{'mean z':>9}{'sd z':>7}{'contraction':>13}",
        ]
        for row, shares in zip(table, found, strict=True):
            cells = "".join(f"{100 * share:>7.0f}" for share in shares)
            lines.append(
                f"{row['quantity']:<28}{row['p']:>8.2g}{cells}"
                f"{row['mean_z']:>+9.2f}{row['sd_z']:>7.2f}{row['contraction']:>13.3f}"
            )
        return "\n".join(lines)

    def save(self, path: str | os.PathLike) -> Path:
        """Write an ECSV table, one row a simulation; it appears under its name when complete.

        Raises ``OSError`` where the folder cannot be written.
        """
        meta = {"format": FORMAT, "L": self.L, "names": self.names, "settings": self.settings}
        meta["prior_sd"] = self.prior_sd.tolist()
        columns = {key: getattr(self, key) for key in ROWS}
        meta["digest"] = digest(columns["ranks"]) + digest(columns["index"])
        table = Table(columns, meta=meta)
        return write_complete(
            as_path(path), lambda name: table.write(name, format="ascii.ecsv", overwrite=True)
        )

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Calibration":
        """Read what `save` wrote; ``FileNotFoundError`` or ``ValueError`` for anything else."""
        path = existing_file(path, "calibration")
        try:
            table = Table.read(path, format="ascii.ecsv", fill_values=None)
            if table.meta["format"] != FORMAT:
                raise KeyError("format")
            meta = {key: table.meta[key] for key in ("L", "names", "settings")}
            columns = {key: np.asarray(table[key]) for key in ROWS}
            if table.meta["digest"] != digest(columns["ranks"]) + digest(columns["index"]):
                raise KeyError("digest")
            return cls(prior_sd=np.asarray(table.meta["prior_sd"]), **meta, **columns)
        except Exception as error:
            raise ValueError(f"{path} is no calibration of this package, or damaged.") from error


def calibrate(
    fit: Fitted,
    simulations: int = 200,
    *,
    sampler: str = "nuts",
    num_warmup: int = 300,
    num_steps: int = 500,
    seed: int = 0,
    processes: int | None = None,
    progress: bool | Callable[[int], None] = False,
    checkpoint: str | os.PathLike | None = None,
) -> Calibration:
    """Draw truths from the prior, simulate the map of each, fit it, and rank the truth.

    If model, optimiser and sampler are right, the rank of each true parameter, of a_z at 0.25, 0.5
    and 1 kpc and Sigma within 1.1 kpc (or the fit's reach), and of the ln likelihood is uniform.

    Parameters
    ----------
    fit : a fit of the user's map: its model, prior, bounds, start, pixels and errors are used
    sampler : "nuts", two chains of `num_warmup` and `num_steps`, of four times as many where these
        are not worth the 199 draws among which a truth is ranked; "laplace", the reweighted normal
        approximation with 2 `num_steps` draws; "auto", the latter where its Pareto k is below 0.7
        and its efficiency above 0.3, and NUTS elsewhere: the data choose, so the ranks stay uniform
    seed : the result depends on it alone, not on `processes` or their order
    processes : worker processes, by default one for each core.  A script that is run must call
        this below ``if __name__ == "__main__":`` unless it is 1
    progress : whether to show a bar, or a function called with the number of new simulations
    checkpoint : a file that keeps finished simulations; a rerun goes on from it, and may ask for
        more of them

    A fit that fails from the usual start is tried from four other draws of the prior; simulations
    that fail then have no ranks and are counted.

    Raises ``ValueError`` for bad arguments, a prior that cannot be drawn from, a model that cannot
    be sent to workers and a checkpoint of other settings; ``RuntimeError`` where workers die.

    Source: Talts et al. 2018 (arXiv:1804.06788); the ln likelihood as a quantity: Modrak et al.
    2023 (arXiv:2211.02383).
    """
    require_x64()
    processes = cores() if processes is None else processes
    if not isinstance(fit, Fitted):
        raise ValueError(f"fit must be a Fit, as fit_map returns, but {shown(fit)} was given.")
    choice(sampler, "sampler", SAMPLERS)
    check_numbers(
        simulations=simulations,
        num_warmup=num_warmup,
        num_steps=num_steps,
        seed=seed,
        processes=processes,
    )
    if not callable(progress):
        truth(progress, "progress")
    checkpoint = None if checkpoint is None else as_path(checkpoint, "checkpoint")
    settings = {
        "model": type(fit.model).__name__,
        "map": data_digest(fit.source),
        "prior, bounds and start": digest((model_digest(fit.model), fit.bounds, fit.start)),
        "sampler": sampler,
        "num_warmup": num_warmup,
        "num_steps": num_steps,
        "seed": seed,
    } | likelihood_note(fit.likelihood)
    done: dict[int, dict] = {}
    campaign = Campaign.of(fit, simulations, settings)
    names, parameters = campaign.names(), campaign.layout.size
    prior_sd = np.full(len(names), np.nan)
    prior_sd[:parameters] = campaign.others.std(axis=0, ddof=1)

    def result(numbers) -> Calibration:
        rows = [done[i] for i in numbers]
        columns = {key: np.asarray([row[key] for row in rows]) for key in rows[0]}
        return Calibration(names=names, prior_sd=prior_sd, settings=settings, **columns)

    bar = tqdm(
        total=simulations, disable=None if progress is True else True, desc="SBC", unit="map"
    )
    report = progress if callable(progress) else bar.update
    kept = nullcontext() if checkpoint is None else in_use(checkpoint)
    with kept, bar:
        if checkpoint is not None and checkpoint.exists():
            done |= _resume(Calibration.load(checkpoint), settings, checkpoint)
        todo = [i for i in range(simulations) if i not in done]
        report(simulations - len(todo))
        for row in run(campaign, todo, min(processes, len(todo))):
            done[row["index"]] = row
            if checkpoint is not None:
                result(sorted(done)).save(checkpoint)
            report(1)
    return result(range(simulations))


def check_numbers(**numbers) -> None:
    """Raise a ``ValueError`` for a number of `calibrate` that is not whole or too small."""
    least = {"simulations": 10, "num_steps": 100, "processes": 1, "num_warmup": 20, "seed": 0}
    most = {"simulations": 100_000, "processes": 1000, "seed": 2**63 - 1}
    for name, value in numbers.items():
        whole_number(value, name, least[name], most.get(name, 1_000_000))


def _resume(old: Calibration, settings: dict, path) -> dict[int, dict]:
    """Finished simulations by number; ``ValueError`` where they are of other settings."""
    for name, value in settings.items():
        if old.settings.get(name) != value:
            raise ValueError(
                f"the checkpoint {path} is of another {name}: {old.settings.get(name)!r} there, "
                f"{value!r} now."
            )
    rows = zip(*(getattr(old, key) for key in ROWS), strict=True)
    return {int(row[0]): dict(zip(ROWS, row, strict=True)) for row in rows}
