"""Maps of catalogues that need not fit in memory: files in chunks, by threads or by a cluster."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import astropy.units as u

from ..arguments import check_detrend, whole_number
from ..files.formats import TableError, TableFile
from ..files.hats import is_opened, partitions
from ..files.missing import MISSING
from ..files.open import expand, open_table
from ..parallel import Cluster, Threads
from .plane import Plane, check_scatter
from .source import Source, check_columns, check_marks, check_units
from .sums import Stars, make_map


class Part(NamedTuple):
    """A part of a file that one worker reads; `table` is what is in memory and not opened anew."""

    source: Source
    path: Path
    where: Any
    table: TableFile | None = None
    stamp: tuple[int, int] | None = None

    def chunks(self) -> Iterator[Stars]:
        """The part's stars, chunk by chunk."""
        if self.stamp is not None and _stamp(self.path) != self.stamp:
            raise TableError(f"{self.path} has changed while it was read.")
        file = self.table or open_table(self.path, self.source.hdu)
        for read in file.pieces(self.source.names(), self.source.rows, self.where):
            yield self.source.stars(read, file.units, self.path)

    def total(self, function: Callable) -> Any:
        """The sum of `function` over the part's chunks, in order; None without a star."""
        return _sum(map(function, self.chunks()))


@dataclass
class Report:
    """What became of the files.

    ``read``: how many were; ``bad``: the reason for each that was left out; ``notes``: sentences
    about files whose columns have other units than those of the first.
    """

    read: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def bin_files(
    paths: str | os.PathLike | Sequence[str | os.PathLike],
    bins: dict,
    columns: Mapping[str, str] | Sequence[str],
    transform: Callable | None = None,
    column_units: Mapping[str, u.UnitBase] | None = None,
    units=None,
    s: float | u.Quantity | str | None = None,
    rows: int = 1_000_000,
    workers: int | None = None,
    client: Any = None,
    skip_bad_files: bool = False,
    hdu: int | str | None = None,
    missing: Sequence[float] = MISSING,
    detrend: str | None = None,
) -> dict:
    """Mean label of the stars of table files in pixels of the phase plane, and its error.

    The estimator is that of `get_binned_label`, and so is the result, but for rounding; it is the
    same to the last bit for given `rows`, however many workers there are and in whatever order
    they end.

    Parameters
    ----------
    paths : a file, a folder (a HATS catalogue, too), a pattern or a list of them: FITS, Parquet,
        CSV, ECSV or VOTable; or a catalogue that LSDB has opened,
        perhaps with cuts, whose partitions then stand for files
    bins : ``{"pos": edges, "vel": edges}``, increasing, with units
    columns : names of the columns, ``{"pos": ..., "vel": ..., "label": ..., "label_err": ...,
        "R_g": ...}`` (the last two may be left out); with a `transform`, the names that it takes
    transform : a function from a dictionary of those columns, plain arrays of one chunk (masked
        where whole numbers are missing), to (pos, vel, label, label_err), the first two quantities,
        or to (pos, vel, label, label_err, R_g), the last a quantity, too
    column_units : units of columns for which the files state none, or a wrong one; labels in
        different units are converted to that of the first file, and the map's report says so
    units : unit system of the output, for example gala's ``galactic``; default: the bins' own
    s : the intrinsic scatter; None: estimated, one value; "local": around each pixel
    rows : rows of a chunk: memory grows with it, about 100 bytes each for each worker, with R_g 250
    workers : threads; default: one for each core
    client : a ``dask.distributed.Client``, or the address of a scheduler, whose workers see the
        same files; in place of threads
    skip_bad_files : whether to go on without files that cannot be read, which then count nothing
    hdu : number or name of the table in FITS files and VOTables (there from 0)
    missing : numbers that stand for a missing label, error or guiding radius in files
    detrend : "R_g": the label's gradient in the guiding radius is taken off the stars' labels first

    The files are read three times, twice where `s` is given: for the ranges, for the scatter, and
    for the means.  With R_g, |L_z| / v_c (length), they are read once more, for the gradient of the
    label in it, and the map knows what this adds to each pixel's label.  Returns the dictionary of
    `get_binned_label` with ``files``, a `Report`.

    Raises ``FileNotFoundError``, ``TableError`` for a bad file (its name in the sentence),
    `UnitError`, and ``ValueError`` as `get_binned_label` does.
    """
    check_scatter(s)
    for name, value in (("rows", rows), ("workers", 1 if workers is None else workers)):
        whole_number(value, name, 1)
    check_columns(columns, transform)
    check_detrend(detrend)
    if detrend is not None and transform is None and "R_g" not in columns:
        raise ValueError('detrend="R_g" needs the guiding radii: name their column "R_g".')
    check_units(columns, column_units or {})
    plane = Plane.of(bins, units)
    source = Source(
        plane,
        columns,
        transform,
        dict(column_units or {}),
        int(rows),
        hdu,
        missing=check_marks(missing),
    )
    with Cluster(client) if client is not None else Threads(workers) as crew:
        report, parts = _parts_of(source, paths, skip_bad_files)
        passes = _passes(report, parts, crew, skip_bad_files)
        made = make_map(passes, plane.axes, s, detrend is not None)
    return plane.describe(made) | {"files": report}


def _parts_of(source: Source, paths, skip: bool) -> tuple[Report, dict[Path, list[Part]]]:
    """The files that cannot be opened, and the parts of the others."""
    report, found = Report(), {}
    if is_opened(paths):
        for table in partitions(paths):
            table.check(source.names())
            found[table.path] = table, [None], None
    else:
        for path in expand(paths):
            try:
                stamp = _stamp(path)
                file = open_table(path, source.hdu)
                file.check(source.names(), source.numbers())
                file.keep(source.names())
                found[path] = file, file.parts(source.rows), stamp
            except TableError as error:
                if not skip:
                    raise
                report.bad[str(path)] = str(error)
    if source.transform is None:
        units = (source.unit_of("label", file.units, path) for path, (file, *_) in found.items())
        source = replace(source, label_unit=next(units, None))
    parts, first = {}, next(iter(found), None)
    for path, (file, places, stamp) in found.items():
        if first is not None:
            report.notes += source.converted(file.units, path, found[first][0].units, first)
        table = file if file.in_memory else None
        parts[path] = [Part(source, path, where, table, stamp) for where in places]
    return report, parts


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is written again; `TableError` where it is gone."""
    try:
        found = path.stat()
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}.") from None
    return found.st_size, found.st_mtime_ns


def _passes(report: Report, parts: dict, crew: Threads | Cluster, skip: bool) -> Callable:
    """Passes over the parts; `report` is told what becomes of their files."""
    n_files = len(parts) + len(report.bad)

    def passes(function):
        totals = []
        for path, total in _by_file(crew, function, parts, skip):
            if isinstance(total, TableError):
                # In a later pass a file has changed: its stars are in the sums of an earlier one.
                if report.read:
                    raise total
                report.bad[str(path)] = str(total)
            elif total is not None:
                totals.append(total)
        for path in report.bad:
            parts.pop(Path(path), None)
        report.read = len(parts)
        if not totals:
            bad = f", {len(report.bad)} could not be read" * bool(report.bad)
            raise ValueError(f"paths must hold stars, but none of {n_files} files does{bad}.")
        return _sum(totals)

    return passes


def _by_file(
    crew: Threads | Cluster, function: Callable, parts: dict, skip: bool
) -> Iterator[tuple]:
    """(file, sum over its parts, or why it is bad), in order, a bounded number under way."""
    waiting: deque = deque()
    queue = ((path, part) for path, some in parts.items() for part in some)
    sums: dict[Path, list] = {path: [] for path in parts}
    left = {path: len(some) for path, some in parts.items()}

    def collect():
        path, future = waiting.popleft()
        try:
            sums[path].append(future.result())
        except TableError as error:
            if not skip:
                raise
            sums[path].append(error)
        left[path] -= 1

    def finished() -> Iterator[tuple]:
        while (path := next(iter(sums), None)) is not None and left[path] == 0:
            found = sums.pop(path)
            bad = next((x for x in found if isinstance(x, TableError)), None)
            yield path, bad if bad is not None else _sum(x for x in found if x is not None)

    for path, part in queue:
        waiting.append((path, crew.submit(Part.total, part, function)))
        if len(waiting) >= crew.limit:
            collect()
            yield from finished()
    while waiting:
        collect()
        yield from finished()
    yield from finished()


def _sum(terms: Iterable) -> Any:
    """The terms added in order; None for no term."""
    total = None
    for term in terms:
        total = term if total is None else total + term
    return total
