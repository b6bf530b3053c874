"""Binned maps from files."""

import difflib
import os
from pathlib import Path

import astropy.units as u
import numpy as np

from ..reading import existing_file
from ..writing import write_complete
from .csvtext import NULLS, first_bad, layout_of, no_number, rows_of
from .plane import MISSING

# What catalogues write for a missing value, and how many times all others it must be to be one.
MARKS, FAR = (*MISSING, -9999.99, -99999.0, -1e30), 3.0
# The unit of a column is the end of its name.
LENGTHS = {"kpc": u.kpc, "pc": u.pc}
SPEEDS = {"kms": u.km / u.s, "kpc_myr": u.kpc / u.Myr}


def read_map(path: str | os.PathLike, label: str | None = None, scatter: float = 0.0) -> dict:
    """Read a binned map from a CSV file with one row for each pixel.

    Parameters
    ----------
    path : file with the columns ``z_kpc`` (or ``z_pc``), ``vz_kms`` (or ``vz_kpc_myr``), a label
        and its error under the same name with ``_err``, and perhaps ``count`` and ``saturated``
    label : name of the label's column; default: the first that has an error column
    scatter : intrinsic scatter s to add where the errors are of measurement only:
        err^2 + s^2 / count

    The stars' mean places, ``z_mean_kpc`` (or ``_pc``) and ``vz_mean_kms`` (or ``_kpc_myr``), are
    read where the file has both.  A line ``# frame: ...`` before the header names the frame.

    Rows with ``saturated`` other than 0 are left out and counted in ``n_saturated``.  Returns a
    dictionary as `get_binned_label` does, with one-dimensional arrays, ``name``, the label's
    column, and perhaps ``frame``.

    Raises ``FileNotFoundError`` for a missing file and ``ValueError`` for what is no regular file
    or no table, lacks a column, has values that are no numbers (the first row of them is named) or
    marks of missing ones such as -9999, has no row left, or seems to list stars.
    """
    path = existing_file(path, want="the CSV file of a binned map")
    table, comments = _cells(path)
    names = list(table)
    z, pos_unit = _coordinate(path, names, "z", LENGTHS)
    vz, vel_unit = _coordinate(path, names, "vz", SPEEDS)
    label = _label_name(path, [n for n in names if n not in (z, vz)], label)
    means = _mean_places(names)
    columns = {
        name: _numbers(path, table[name], name)
        for name in (z, vz, label, f"{label}_err", "count", "saturated", *means)
        if name in names
    }
    n_rows = len(columns[z])
    keep = np.nan_to_num(columns.get("saturated", np.zeros(n_rows))) == 0
    if not keep.any():
        raise ValueError(
            f"{path} has no row to fit: {n_rows} rows, {np.sum(~keep)} of them saturated."
        )
    for name, values in columns.items():
        _check_marks(path, name, np.where(keep, values, np.nan))
    columns = {name: values[keep] for name, values in columns.items()}
    if "count" not in columns and _are_stars(columns[z], columns[vz]):
        raise ValueError(
            f"{path} seems to list stars, not pixels (nearly every row has a {z} and a {vz} of its "
            "own, and there is no column 'count'): bin them with get_binned_label first."
        )
    error = columns[f"{label}_err"]
    if not (np.isfinite(scatter) and scatter >= 0):
        raise ValueError(f"scatter must be a number of at least 0, but {scatter!r} was given.")
    if scatter > 0:
        if "count" not in columns:
            raise ValueError(f"scatter needs a column 'count' in {path}, which has none.")
        error = np.sqrt(error**2 + scatter**2 / np.maximum(columns["count"], 1))
    out = {
        "pos": columns[z] * pos_unit,
        "vel": columns[vz] * vel_unit,
        "label": columns[label],
        "label_err": error,
        "name": label,
        "n_saturated": int(np.sum(~keep)),
    }
    for name, (key, unit) in means.items():
        out[key] = columns[name] * unit
    frame = [c[6:].strip() for c in comments if c.startswith("frame:")]
    out |= {"frame": frame[0]} if frame else {}
    return out | ({"counts": columns["count"]} if "count" in columns else {})


def write_map(
    binned: dict, path: str | os.PathLike, name: str = "label", frame: str | None = None
) -> Path:
    """Write the filled pixels of a binned map to a CSV file that `read_map` reads.

    Parameters
    ----------
    binned : a map as `get_binned_label` returns it
    path : the file, which appears only when complete
    name : the label's column; its error is under the same name with ``_err``
    frame : the frame of z and v_z in words, kept in a line before the header

    Raises ``ValueError`` for a map without a filled pixel or a name or frame that the file cannot
    hold, and ``OSError`` where it cannot be written.
    """
    if not name.strip() or not name.isprintable() or set(name) & set(',"#'):
        raise ValueError(
            f"name, the label's column, must be a text without commas, quotes and #, but {name!r} "
            "was given."
        )
    if frame and not frame.isprintable():
        raise ValueError(f"frame must be a line, but {frame!r} was given.")
    filled = np.isfinite(binned["label"]) & (binned["counts"] > 0)
    if not filled.any():
        raise ValueError("the map has no filled pixel to write.")
    places = ("pos", u.kpc, "z_kpc"), ("vel", u.km / u.s, "vz_kms")
    columns = {key: binned[k].to_value(unit) for k, unit, key in places}
    columns["count"] = binned["counts"]
    if "pos_mean" in binned:
        columns["z_mean_kpc"] = binned["pos_mean"].to_value(u.kpc)
        columns["vz_mean_kms"] = binned["vel_mean"].to_value(u.km / u.s)
    own = {name: binned["label"], f"{name}_err": binned["label_err"]}
    if taken := own.keys() & {*columns, "saturated"}:
        raise ValueError(f"name must not be that of another column, {', '.join(taken)}.")
    columns |= own
    rows = np.column_stack([values[filled] for values in columns.values()])
    header = ([f"# frame: {frame}"] if frame else []) + [",".join(columns)]
    # 17 figures: what is read back is what was written.
    lines = [",".join(f"{x:.17g}" for x in row) for row in rows]
    text = "\n".join([*header, *lines, ""])
    return write_complete(path, lambda file: Path(file).write_text(text))


def _mean_places(names: list[str]) -> dict[str, tuple[str, u.UnitBase]]:
    """The columns of the stars' mean places, what they are, and their units; both or none."""
    out = {
        f"{stem}_mean_{ending}": (key, unit)
        for stem, key, units in (("z", "pos_mean", LENGTHS), ("vz", "vel_mean", SPEEDS))
        for ending, unit in units.items()
        if f"{stem}_mean_{ending}" in names
    }
    return out if len(out) == 2 else {}


def _are_stars(z: np.ndarray, vz: np.ndarray) -> bool:
    """Whether coordinates are as many as rows: pixels share theirs with a row and a column."""
    return z.size > 100 and min(np.unique(z).size, np.unique(vz).size) > 0.5 * z.size


def _coordinate(path: Path, names: list[str], stem: str, units: dict) -> tuple[str, u.UnitBase]:
    for ending, unit in units.items():
        if f"{stem}_{ending}" in names:
            return f"{stem}_{ending}", unit
    wanted = " or ".join(f"'{stem}_{ending}'" for ending in units)
    raise ValueError(
        f"{path} has no column {wanted}{_nearest(stem, names)} (columns: {', '.join(names)})."
    )


def _label_name(path: Path, names: list[str], label: str | None) -> str:
    if label is None:
        candidates = [n for n in names if f"{n}_err" in names]
        if not candidates:
            raise ValueError(
                f"{path} has no label with an error: a column such as 'mgfe' needs a second one, "
                f"'mgfe_err' (columns: {', '.join(names)})."
            )
        return candidates[0]
    for name in (label, f"{label}_err"):
        if name not in names:
            raise ValueError(
                f"{path} has no column '{name}'{_nearest(name, names)} "
                f"(columns: {', '.join(names)})."
            )
    return label


def _nearest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, 1, 0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def _cells(path: Path) -> tuple[dict[str, list[str]], list[str]]:
    """The cells of a CSV file by column, and the comments beside them."""
    layout = layout_of(path)
    rows = list(rows_of(path, layout, comments=True))
    columns = zip(*rows, strict=True) if rows else ([] for _ in layout.names)
    return dict(zip(layout.names, map(list, columns), strict=False)), layout.comments


def _numbers(path: Path, cells: list[str], name: str) -> np.ndarray:
    """A column's numbers, NaN where a cell is empty or says that there is none."""
    if (bad := first_bad(cells)) is not None:
        raise no_number(path, name, bad[0] + 1, bad[1])
    texts = (cell.strip() for cell in cells)
    return np.array([np.nan if text in NULLS else float(text) for text in texts], float)


def _check_marks(path: Path, name: str, values: np.ndarray) -> None:
    """Raise a ``ValueError`` for catalogues' marks of a missing value, far from all other values.

    Where others are as large, as heights in pc, -999 is a value like any other.
    """
    marked = np.isin(values, MARKS)
    others = np.abs(values[~marked & np.isfinite(values)])
    marked &= np.abs(values) > FAR * np.max(others, initial=0)
    if marked.any():
        k = int(np.argmax(marked))
        raise ValueError(
            f"column '{name}' of {path} is {values[k]:g}, a mark of a missing value, in "
            f"{marked.sum()} of {values.size} rows (the first: row {k + 1}): remove those rows."
        )
