"""Cost and memory of binning stars from files, from 1e6 of them to as many as are asked for.

Run: python benchmarks/streaming.py [STARS] [--folder FOLDER] [--single]

Parquet files of 1e7 stars each are written to a temporary folder (32 bytes a star, 16 with
--single) and removed at the end. Each size is binned in a process of its own, whose peak memory
is printed beside the seconds, with an intrinsic scatter to estimate (three readings of the files).
At 1e7 stars the way in memory and numpy's bincount are timed in the same run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import astropy.units as u
import numpy as np

FILE_STARS = 10_000_000
COLUMNS = {name: name for name in ("pos", "vel", "label", "label_err")}
BINS = {"pos": np.linspace(-1.2, 1.2, 81) * u.kpc, "vel": np.linspace(-70, 70, 81) * u.km / u.s}


def draw(n: int, seed: int, dtype) -> dict:
    """Stars of a plain disc with a label that rises with height."""
    rng = np.random.default_rng(seed)
    pos, vel = 0.45 * rng.standard_normal(n), 25 * rng.standard_normal(n)
    err = rng.uniform(0.01, 0.05, n)
    label = 0.2 * pos**2 + np.hypot(0.06, err) * rng.standard_normal(n)
    columns = {"pos": pos, "vel": vel, "label": label, "label_err": err}
    columns = {name: values.astype(dtype) for name, values in columns.items()}
    return columns | {"pos": columns["pos"] * u.kpc, "vel": columns["vel"] * u.km / u.s}


def write(folder: Path, n: int, dtype) -> list[Path]:
    """Files with `n` stars in all."""
    import torusimaging as oti

    out = []
    for k, first in enumerate(range(0, n, FILE_STARS)):
        columns = draw(min(FILE_STARS, n - first), k, dtype)
        out.append(oti.data.write_table(folder / f"stars{k:03d}.parquet", columns))
    return out


def measure(task: dict) -> None:
    """Bin what `task` says and print seconds, peak memory (MB) and a check sum as JSON."""
    from torusimaging import data

    data.open_table(task["paths"][0])  # Imports pyarrow, whatever the number of stars.
    before = peak_memory()
    if task["way"] == "streamed":
        start = time.perf_counter()
        out = data.bin_files(
            task["paths"], BINS, COLUMNS, workers=task["workers"], rows=task["rows"]
        )
        seconds = time.perf_counter() - start
    else:
        table = data.open_table(task["paths"][0])
        columns = table.read(["pos", "vel", "label", "label_err"])
        stars = [columns["pos"] * u.kpc, columns["vel"] * u.km / u.s, columns["label"]]
        start = time.perf_counter()
        if task["way"] == "memory":
            out = data.get_binned_label(*stars, BINS, label_err=columns["label_err"])
        else:
            out = bincount(*columns.values())
        seconds = time.perf_counter() - start
    peak = peak_memory()
    total = float(np.nansum(out["label"] * out["counts"]))
    print(json.dumps({"s": seconds, "peak": peak, "before": before, "sum": total}))


def peak_memory() -> float:
    """The largest resident memory of this process so far, in MB (Linux)."""
    # Not getrusage's: it begins with that of the process which started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def bincount(pos, vel, label, err) -> dict:
    """The same weighted means with numpy, for a scatter that is known: the least it can do."""
    shape = tuple(edges.size - 1 for edges in BINS.values())
    index = [
        np.floor((x - e[0]) * ((e.size - 1) / (e[-1] - e[0]))).astype(int)
        for x, e in zip((pos, vel), (b.value for b in BINS.values()), strict=True)
    ]
    inside = np.all([(i >= 0) & (i < n) for i, n in zip(index, shape, strict=True)], axis=0)
    pixel = (index[0] * shape[1] + index[1])[inside]
    w = 1 / (0.06**2 + err[inside] ** 2)
    size = shape[0] * shape[1]
    weights = [None, w, w * label[inside], w * pos[inside], w * vel[inside]]
    counts, total, top, *_ = (np.bincount(pixel, x, minlength=size) for x in weights)
    return {"counts": counts, "label": top / np.where(total > 0, total, 1)}


def run(**task) -> dict:
    """`measure` in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--task", json.dumps(task)], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Write the files, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stars", type=float, nargs="?", default=1e7)
    parser.add_argument("--folder", help="where the temporary folder is made")
    parser.add_argument("--single", action="store_true", help="columns in single precision")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        measure(json.loads(options.task))
        return
    n, dtype = int(options.stars), np.float32 if options.single else np.float64
    need = n * 4 * np.dtype(dtype).itemsize
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        free = shutil.disk_usage(folder).free
        if free < 1.2 * need:
            raise SystemExit(
                f"{folder} has room for {free / 1e9:.1f} GB, but {need / 1e9:.1f} GB is needed."
            )
        compare(folder, n, dtype, options.rows)
    finally:
        shutil.rmtree(folder)


def compare(folder: Path, n: int, dtype, rows: int) -> None:
    """Time streams of growing length, and the other ways at 1e7 stars."""
    start = time.perf_counter()
    paths = [str(path) for path in write(folder, n, dtype)]
    size = sum(Path(path).stat().st_size for path in paths)
    print(
        f"{size / 1e9:.2f} GB written in {time.perf_counter() - start:.0f} s; "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'stars':>8} {'way':<12} {'s':>7} {'ns/star':>8} {'ratio':>6} {'peak MB':>8}")
    first = None
    small = folder / "small"
    small.mkdir()
    for count in (10**k for k in range(6, 10)):
        if count > n:
            break
        here = paths[: count // FILE_STARS] or [str(p) for p in write(small, count, dtype)]
        ways = [("streamed", None)]
        if count == FILE_STARS:
            ways += [("streamed", 1), ("memory", None), ("bincount", None)]
        for way, workers in ways:
            found = run(way=way, paths=here, workers=workers, rows=rows)
            cost = found["s"] / count * 1e9
            first = first or cost
            name = f"{way}, 1" if workers else way
            print(
                f"{count:8.0e} {name:<12} {found['s']:7.2f} {cost:8.1f} {cost / first:6.2f} "
                f"{found['peak']:8.0f}  (imports: {found['before']:.0f} MB; sum {found['sum']:.6g})"
            )


if __name__ == "__main__":
    main()
