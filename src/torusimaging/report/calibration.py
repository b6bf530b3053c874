"""The command ``oti calibrate``: its result file, text and figure in a folder."""

import os
from pathlib import Path

import matplotlib.pyplot as plt

from .. import data, plot
from ..checks.calibration import Calibration, calibrate, check_numbers
from ..files.writing import in_use
from ..results.fit import fit_map
from .folder import DPI, filled_folder, prepare_folder


def write_calibration(result: Calibration, folder: str | os.PathLike) -> list[Path]:
    """Write ``calibration.ecsv``, ``.txt`` and ``.png`` to `folder`, all of them or nothing.

    Returns the files.  Raises ``OSError`` where the folder cannot be made or written.
    """
    with filled_folder(folder) as (work, files):
        result.save(work / "calibration.ecsv")
        (work / "calibration.txt").write_text(result.text + "\n")
        if result.good.any():
            figure = plot.plot_calibration(result)[0]
            figure.savefig(work / "calibration.png", dpi=DPI)
            plt.close(figure)
    return files


def run(options, progress) -> None:
    """Fit the map, calibrate, write and print; raises as these do.

    `progress` is the command's `cli.progress.Progress`.
    """
    processes = os.cpu_count() or 1 if options.processes is None else options.processes
    check_numbers(simulations=options.simulations, seed=options.seed, processes=processes)
    progress.stage(f"reading {Path(options.map).name}")
    binned = data.read_map(options.map, options.label, options.scatter)
    usual = f"oti-calibrate-{Path(options.map).stem}"
    folder = prepare_folder(usual if options.out is None else options.out)
    with in_use(folder):
        progress.stage("finding the optimum (compiles first)")
        fit = fit_map(binned, model=options.model)
        progress.stage("simulations")
        result = calibrate(
            fit,
            options.simulations,
            sampler=options.sampler,
            seed=options.seed,
            processes=processes,
            progress=progress.counter(options.simulations, "maps"),
            checkpoint=options.checkpoint,
        )
        progress.stage("writing")
        files = write_calibration(result, folder)
    progress.finish()
    print(result.text)
    print(f"\nWritten to {folder}: {', '.join(f.name for f in files)}")
