"""A folder with a catalogue's map, stars, cuts and a figure of the stars' places."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt

from ..data import write_map
from ..files.folders import filled_folder
from ..files.open import write_table
from ..plot import plot_places
from ..plot.style import DPI

if TYPE_CHECKING:
    from ..catalog import Sample


def write_sample(sample: "Sample", folder: str | os.PathLike) -> list[Path]:
    """Write ``map.csv``, ``stars.parquet``, ``cuts.ecsv`` and ``places.png`` to `folder`.

    `oti fit` reads the map, `torusimaging.data.open_table` the stars: every column with its
    unit, and the frame, configuration and cuts in the table's metadata.  Everything is written
    beside the folder first and moved in when complete.  Returns the files.

    Raises ``OSError`` where the folder cannot be made or written, and ``ImportError`` without
    pyarrow.
    """
    with filled_folder(folder) as (work, files):
        write_map(sample.binned, work / "map.csv", sample.config.label[0], str(sample.frame))
        write_table(work / "stars.parquet", sample.columns, sample.meta)
        cuts = sample.flow.table
        cuts.meta = {"frame": str(sample.frame), "remarks": sample.flow.remarks}
        cuts.write(work / "cuts.ecsv", format="ascii.ecsv")
        figure, _ = plot_places(sample.places)
        figure.savefig(work / "places.png", dpi=DPI)
        plt.close(figure)
    return files
