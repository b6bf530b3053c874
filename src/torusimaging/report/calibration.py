"""The command ``oti calibrate``: its result file, text and figure in a folder."""

import os
from pathlib import Path

import matplotlib.pyplot as plt

from ..checks.calibration import Calibration
from ..files.folders import filled_folder
from ..plot.calibration import plot_calibration
from ..plot.style import DPI


def write_calibration(result: Calibration, folder: str | os.PathLike) -> list[Path]:
    """Write ``calibration.ecsv``, ``.txt`` and ``.png`` to `folder`, all of them or nothing.

    Returns the files.  Raises ``OSError`` where the folder cannot be made or written.
    """
    with filled_folder(folder) as (work, files):
        result.save(work / "calibration.ecsv")
        (work / "calibration.txt").write_text(result.text + "\n")
        if result.good.any():
            figure = plot_calibration(result)[0]
            figure.savefig(work / "calibration.png", dpi=DPI)
            plt.close(figure)
    return files
