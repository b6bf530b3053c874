"""Binned maps from files."""

import os
from collections.abc import Mapping
from pathlib import Path

import astropy.units as u
import numpy as np

from ..arguments import hint, real_number, shown
from ..coordinates import VERTICAL, Axis
from ..files.csv_text import NULLS, first_bad, layout_of, no_number, rows_of
from ..files.missing import MISSING, stands_out
from ..files.paths import as_path, existing_file
from ..files.writing import write_complete
from ..units import internal, label_unit, plain, stated_unit, unit_words, with_unit

# What stands for a missing value in maps.
MARKS = (*MISSING, -1e30)
# What the file's columns of places are called; the unit of one is the end of its name.
PLANE = VERTICAL


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
    read where the file has both, and so is what the gradient in the guiding radius adds to the
    label, ``LABEL_R_g`` and ``LABEL_R_g_err`` (see `get_binned_label`), both or none.  A line
    ``# frame: ...`` before the header names the frame, a line ``# unit of LABEL: ...`` the label's
    unit; its label and error are quantities then.

    Rows with ``saturated`` other than 0 are left out and counted in ``n_saturated``.  Returns a
    dictionary as `get_binned_label` does, with one-dimensional arrays, ``name``, the label's
    column, and perhaps ``frame``.

    Raises ``FileNotFoundError`` for a missing file and ``ValueError`` for what is no regular file
    or no table, lacks a column, has values that are no numbers (the first row of them is named) or
    marks of missing ones such as -9999, has no row left, has one pixel twice, has one column of
    the gradient in R_g without the other, or seems to list stars.
    """
    path = existing_file(path, want="the CSV file of a binned map")
    table, comments = _cells(path)
    names = list(table)
    z, pos_unit = _coordinate(path, names, PLANE.pos)
    vz, vel_unit = _coordinate(path, names, PLANE.vel)
    label = _label_name(path, [n for n in names if n not in (z, vz)], label)
    means = _mean_places(names)
    parts = _both(
        {f"{label}_R_g": "R_g_part", f"{label}_R_g_err": "R_g_part_err"}, names, str(path)
    )
    columns = {
        name: _numbers(path, table[name], name)
        for name in (z, vz, label, f"{label}_err", "count", "saturated", *means, *parts)
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
    pixel = (z, vz, label, f"{label}_err")
    _check_repeated(path, np.column_stack([columns[name] for name in pixel]))
    values = {"label": columns[label]}
    values["label_err"] = _with_scatter(path, columns, label, scatter)
    values |= {key: columns[name] for name, key in parts.items()}
    if (unit := _label_unit(path, comments, label)) is not None:
        values = {key: x * unit for key, x in values.items()}
    out = {"pos": columns[z] * pos_unit, "vel": columns[vz] * vel_unit} | values
    out |= {"name": label, "n_saturated": int(np.sum(~keep))}
    for name, (key, unit) in means.items():
        out[key] = columns[name] * unit
    frame = _comment(comments, "frame")
    out |= {"frame": frame} if frame is not None else {}
    return out | ({"counts": columns["count"]} if "count" in columns else {})


def _comment(comments: list[str], key: str) -> str | None:
    """What the first comment of a map says of `key`."""
    found = (c[len(key) + 1 :].strip() for c in comments if c.startswith(f"{key}:"))
    return next(found, None)


def _label_unit(path: Path, comments: list[str], label: str) -> u.UnitBase | None:
    """The unit that a map states of its label; None for a plain number."""
    unit = stated_unit(_comment(comments, f"unit of {label}"))
    if isinstance(unit, u.UnrecognizedUnit):
        raise ValueError(f"{path} has the unit '{unit}' of {label!r}, which is not understood.")
    return label_unit(unit)


def _with_scatter(path: Path, columns: dict, label: str, scatter: float) -> np.ndarray:
    """The label's errors with the intrinsic scatter of their pixels' stars."""
    error, count = columns[f"{label}_err"], columns.get("count")
    scatter = real_number(scatter, "scatter", "a number of at least 0", lambda x: x >= 0)
    if count is not None:
        _check_counts(path, count, count < 0, "must not be negative")
    if scatter == 0:
        return error
    if count is None:
        raise ValueError(f"scatter needs a column 'count' in {path}, which has none.")
    used = np.isfinite(columns[label]) & np.isfinite(error)
    _check_counts(path, count, used & ~(count >= 1), "must be at least 1 where scatter is added")
    return np.hypot(error, scatter / np.sqrt(np.where(used, count, 1)))


def _check_counts(path: Path, count: np.ndarray, bad: np.ndarray, rule: str) -> None:
    if bad.any():
        raise ValueError(
            f"column 'count' of {path} {rule}, but is {count[bad][0]:g} in {bad.sum()} of "
            f"{bad.size} rows."
        )


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

    Columns that the map does not have, ``counts``, the stars' mean places and the parts of a
    gradient in R_g, are left out; a label's unit stands in a line before the header.

    Raises ``ValueError`` for a map without label, label_err or a filled pixel, arrays of unequal
    shape, one part of a gradient without the other, or a name or frame that the file cannot hold,
    and ``OSError`` where it cannot be written.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(f"name, the label's column, must be a text, but {name!r:.60} was given.")
    if set(name) & set(',"#'):
        raise ValueError(
            f"name, the label's column, must be a text without commas, quotes and #, but {name!r} "
            "was given."
        )
    if frame is not None and not (isinstance(frame, str) and frame.isprintable()):
        raise ValueError(f"frame must be a line, but {frame!r:.60} was given.")
    columns, unit = _columns_of(binned, name)
    used = np.isfinite(columns[name])
    if "count" in columns:
        used &= columns["count"] > 0
    if not used.any():
        raise ValueError("the map has no filled pixel to write.")
    rows = np.column_stack([values[used] for values in columns.values()])
    header = [f"# frame: {frame}"] if frame else []
    header += [] if unit is None else [f"# unit of {name}: {unit_words(unit)}"]
    # 17 figures: what is read back is what was written.
    lines = [",".join(f"{x:.17g}" for x in row) for row in rows]
    text = "\n".join([*header, ",".join(columns), *lines, ""])
    return write_complete(as_path(path), lambda file: Path(file).write_text(text, encoding="utf-8"))


def _columns_of(binned: dict, name: str) -> tuple[dict[str, np.ndarray], u.UnitBase | None]:
    """The columns of a map's file, shape (n_pixels,) each, and the label's unit."""
    given = list(binned) if isinstance(binned, Mapping) else type(binned).__name__
    if missing := [k for k in ("pos", "vel", "label", "label_err") if k not in given]:
        raise ValueError(
            "binned must be a map with pos, vel, label and label_err, as get_binned_label makes "
            f"it, but has no {' and no '.join(missing)} (given: "
            f"{given if isinstance(given, str) else ', '.join(map(str, given))})."
        )
    places = {"pos": PLANE.pos, "vel": PLANE.vel}
    columns = {}
    for k, axis in places.items():
        column, own = axis.column()
        columns[column] = internal(binned[k], own, k)
    if "counts" in binned:
        columns["count"] = plain(binned["counts"], "counts")
    if {"pos_mean", "vel_mean"} <= set(binned):
        for k, axis in places.items():
            column, own = axis.column(mean=True)
            columns[column] = internal(binned[f"{k}_mean"], own, f"{k}_mean")
    parts = {"R_g_part": f"{name}_R_g", "R_g_part_err": f"{name}_R_g_err"}
    parts = _both(parts, list(binned), "binned")
    if taken := {name, f"{name}_err"} & {*columns, "saturated"}:
        raise ValueError(f"name must not be that of another column, {', '.join(taken)}.")
    unit = getattr(with_unit(binned["label"], "label"), "unit", None)
    own = u.dimensionless_unscaled if unit is None else unit
    for k, key in (("label", name), ("label_err", f"{name}_err"), *parts.items()):
        columns[key] = internal(binned[k], own, k, allow_plain=label_unit(unit) is None)
    shapes = {k: x.shape for k, x in columns.items()}
    if len(set(shapes.values())) > 1:
        text = ", ".join(f"{k} {shape}" for k, shape in shapes.items())
        raise ValueError(f"the arrays of binned must have one shape, but have: {text}.")
    return {k: x.ravel() for k, x in columns.items()}, label_unit(unit)


def _both(parts: dict[str, str], names: list[str], what: str) -> dict[str, str]:
    """The columns of the gradient in R_g, or none; a ``ValueError`` for one without the other."""
    missing = [name for name in parts if name not in names]
    if len(missing) == 1:
        raise ValueError(
            f"{what} must have both {' and '.join(map(repr, parts))} or neither, but "
            f"{missing[0]!r} is missing."
        )
    return {} if missing else parts


def _mean_places(names: list[str]) -> dict[str, tuple[str, u.UnitBase]]:
    """The columns of the stars' mean places, what they are, and their units; both or none."""
    out = {
        f"{axis.stem}_mean_{ending}": (key, unit)
        for axis, key in ((PLANE.pos, "pos_mean"), (PLANE.vel, "vel_mean"))
        for ending, unit in axis.endings.items()
        if f"{axis.stem}_mean_{ending}" in names
    }
    return out if len(out) == 2 else {}


def _check_repeated(path: Path, pixels: np.ndarray) -> None:
    """Raise a ``ValueError`` for a pixel, label and error, in two rows: it would count twice.

    Two labels at one place are of two surveys, perhaps.
    """
    known = np.flatnonzero(np.isfinite(pixels).all(axis=1))
    _, first, group = np.unique(pixels[known], axis=0, return_index=True, return_inverse=True)
    earlier = first[np.ravel(group)]
    again = np.flatnonzero(earlier != np.arange(known.size))
    if again.size:
        k = again[0]
        raise ValueError(
            f"{path} has one pixel in two rows, {known[earlier[k]] + 1} and {known[k] + 1} of "
            "those that are not saturated: its stars would count twice; remove one."
        )


def _are_stars(z: np.ndarray, vz: np.ndarray) -> bool:
    """Whether coordinates are as many as rows: pixels share theirs with a row and a column."""
    return z.size > 100 and min(np.unique(z).size, np.unique(vz).size) > 0.5 * z.size


def _coordinate(path: Path, names: list[str], axis: Axis) -> tuple[str, u.UnitBase]:
    for ending, unit in axis.endings.items():
        if f"{axis.stem}_{ending}" in names:
            return f"{axis.stem}_{ending}", unit
    wanted = " or ".join(f"'{axis.stem}_{ending}'" for ending in axis.endings)
    raise ValueError(
        f"{path} has no column {wanted}{hint(axis.stem, names)} (columns: {', '.join(names)})."
    )


def _label_name(path: Path, names: list[str], label: str | None) -> str:
    if not (label is None or isinstance(label, str)):
        raise ValueError(f"label must be the name of a column, but {shown(label)} was given.")
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
                f"{path} has no column '{name}'{hint(name, names)} (columns: {', '.join(names)})."
            )
    return label


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
    """Raise a ``ValueError`` for catalogues' marks of a missing value."""
    marked = stands_out(values, MARKS)
    if marked.any():
        k = int(np.argmax(marked))
        raise ValueError(
            f"column '{name}' of {path} is {values[k]:g}, a mark of a missing value, in "
            f"{marked.sum()} of {values.size} rows (the first: row {k + 1}): remove those rows."
        )
