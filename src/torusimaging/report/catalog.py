"""A folder with a catalogue's map, stars, cuts and a figure of the stars' places."""

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt

from ..catalog import Sample, fetch, load, read_config, template
from ..data import write_map
from ..files.open import write_table
from ..files.writing import in_use
from ..plot import plot_places
from .folder import DPI, filled_folder, prepare_folder


def write_sample(sample: Sample, folder: str | os.PathLike) -> list[Path]:
    """Write ``map.csv``, ``stars.parquet``, ``cuts.ecsv`` and ``places.png`` to `folder`.

    `oti fit` reads the map, `torusimaging.data.files.open_table` the stars: every column with its
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


def run_bin(options, progress) -> None:
    """The command `oti bin`: a template, or a configuration's map with its cuts printed."""
    if options.template is not None:
        progress.finish()
        print(template(options.template), end="")
        return
    if options.config is None:
        raise ValueError("give a configuration, or --template PRESET to print one.")
    config = read_config(options.config)
    folder = prepare_folder(config.output if options.out is None else options.out)
    with in_use(folder):
        sample = load(config, progress.stage)
        progress.stage("writing")
        files = write_sample(sample, folder)
    progress.finish()
    print(sample.flow)
    print(f"\n{sample.describe()}\n\nWritten to {folder}: {', '.join(f.name for f in files)}")


def run_fetch(options, progress) -> bool:
    """The command `oti fetch`; whether a file is left for a person to download."""
    # A download has a bar of its own.
    progress.finish()
    fetched = fetch(options.preset, options.to, options.mirror, progress=not options.quiet)
    for path in fetched.files:
        print(path)
    for sentence in fetched.by_hand:
        print(f"oti: {sentence}", file=sys.stderr)
    return bool(fetched.by_hand)
