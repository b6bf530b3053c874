"""Catalogue files to stars: only the columns needed, joined, and each star once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np

from ..data.files import TableFile, open_table
from ..data.formats import filled, nearest
from ..reading import as_path
from ..units import UnitError
from .cuts import CutFlow
from .join import EXACT, best_rows, join_rows, repeated
from .presets import ERRORS, NEEDED, OPTIONAL, PRESETS, UNITS, Preset
from .stars import Stars


@dataclass(frozen=True)
class Request:
    """What is wanted of catalogue files.

    Attributes
    ----------
    preset : the survey's description, with the user's changes
    label : the label's column and that of its error, or None for no error
    needed : columns that must be there beside those of the kinematics: flags, selections
    units : units of columns, by column, where the file has none or a wrong one
    """

    preset: Preset
    label: tuple[str, str | None]
    needed: tuple[str, ...] = ()
    units: Mapping[str, str] | None = None


def read_stars(files: Sequence[str | Path], request: Request) -> Stars:
    """Read, join and reduce catalogue files to rows with one star each.

    Parameters
    ----------
    files : one file, or as many as the preset joins, in its order; FITS, Parquet, CSV, ECSV or
        VOTable
    request : the columns wanted

    The steps are: the rows of the first file; the inner join, where there are two; the rows with
    an id; and each id once, the row with the highest value of the preset's `best` (of equal ones
    the first).  A column that both files have is taken from the first.

    Raises ``FileNotFoundError`` and ``ValueError`` as `torusimaging.data.files.open_table` does,
    and ``ValueError`` for a missing column (with the nearest name), the same file twice, an empty
    join, and an id that occurs twice where nothing says which row to keep; `UnitError` for a
    column whose unit is missing or wrong.
    """
    preset = request.preset
    paths = _checked_files(files, preset)
    hdus = preset.hdus or (None,) * len(paths)
    if len(hdus) != len(paths):
        raise ValueError(f"hdus must be one a file, but {hdus} for {len(paths)} files were given.")
    tables = [open_table(path, hdu) for path, hdu in zip(paths, hdus, strict=True)]
    wanted = _columns(tables, request)
    units = _units(tables, wanted, request)
    numbers = _numbers(request)
    for table, names in zip(tables, wanted, strict=True):
        table.check(names, [name for name in names if name in numbers])
    data = [
        table.read(list(dict.fromkeys([*names, *_key(preset, k, tables)])))
        for k, (table, names) in enumerate(zip(tables, wanted, strict=True))
    ]
    flow = CutFlow()
    for table, part in zip(tables, data, strict=True):
        if next(iter(part.values())).size == 0:
            raise ValueError(f"{table.path} has no rows.")
    n = next(iter(data[0].values())).shape[0]
    flow.start(f"rows of {tables[0].path.name}", n)
    rows = [np.arange(n)]
    if len(tables) == 2:
        keys = [part[key] for part, key in zip(data, preset.keys, strict=True)]
        rows = list(join_rows(*keys))
        _count_join(flow, rows[0].size, tables, preset)
    columns = {
        name: (part, name)
        for part, names in zip(data, wanted, strict=True)
        for name in names
        if name in part
    }
    places = {id(part): index for part, index in zip(data, rows, strict=True)}
    if preset.unique:
        part, name = columns[preset.unique]
        keep = _unique(flow, part, name, columns, places, preset, tables)
        places = {k: index[keep] for k, index in places.items()}
    out = {name: part[name][places[id(part)]] for name, (part, _) in columns.items()}
    out = {name: _without_missing(values, preset.missing, name) for name, values in out.items()}
    _add_ratio(out, request)
    return Stars(out, units, preset.columns, flow)


def _checked_files(files: Sequence[str | Path], preset: Preset) -> list[Path]:
    paths = [as_path(f, "files") for f in files]
    n = max(1, len(preset.keys))
    if len(paths) != n:
        names = f" ({' and '.join(preset.files)})" if preset.files else ""
        raise ValueError(
            f"files must be {n} for the preset {preset.name}{names}, but {len(paths)} were given."
        )
    for path in paths:
        if not path.exists():
            where = f"; {preset.where}" if path.name in preset.files and preset.where else ""
            raise FileNotFoundError(f"there is no file {path}{where}.")
    if n == 2 and paths[0].resolve() == paths[1].resolve():
        raise ValueError(f"{paths[0]} is given twice: the two files of a join must differ.")
    return paths


def _key(preset: Preset, k: int, tables: list[TableFile]) -> list[str]:
    if not preset.keys:
        return []
    _require([tables[k]], preset.keys[k])
    return [preset.keys[k]]


def _columns(tables: list[TableFile], request: Request) -> list[list[str]]:
    """The columns to read from each file."""
    preset, label = request.preset, [name for name in request.label if name]
    needed = [preset.column(role) for role in _kinematics(preset)]
    needed += [*request.needed, *([preset.unique] if preset.unique else [])]
    names = {name for table in tables for name in table.names}
    for name in label:
        needed += [name] if name in names else _parts_of_ratio(name, names) or [name]
    optional = [preset.column(role) for role in (*ERRORS, *OPTIONAL, "distance_error")]
    optional += [*preset.extra, *([preset.best] if preset.best else [])]
    # What the survey's files may lack, a user who names it expects.
    own = PRESETS.get(preset.name, preset)
    needed += [
        name for role, name in preset.columns.items() if name not in (role, own.column(role))
    ]
    needed += [preset.best] if preset.best and preset.best != own.best else []
    for name in needed:
        _require(tables, name)
    for name in request.units or {}:
        _require(tables, name)
    chosen = dict.fromkeys([*needed, *(name for name in optional if name in names)])
    out: list[list[str]] = [[] for _ in tables]
    for name in chosen:
        k = next(k for k, table in enumerate(tables) if name in table.names)
        out[k].append(name)
    return out


def _numbers(request: Request) -> set[str]:
    """The columns that are of no use as text."""
    preset = request.preset
    roles = (*_kinematics(preset), *ERRORS, *OPTIONAL, "distance_error")
    names = {*map(preset.column, roles), *request.label, preset.best}
    return {name for name in names if name}


def _kinematics(preset: Preset) -> tuple[str, ...]:
    distance = "distance" if "distance" in preset.columns else "parallax"
    return tuple(distance if role == "parallax" else role for role in NEEDED)


def _require(tables: list[TableFile], name: str) -> None:
    known = [known for table in tables for known in table.names]
    if name not in known:
        where = " or ".join(str(table.path) for table in tables)
        raise ValueError(f"there is no column '{name}' in {where}{nearest(name, known) or '.'}")


def _units(
    tables: list[TableFile], wanted: list[list[str]], request: Request
) -> dict[str, u.UnitBase]:
    """The units of the columns, those of the kinematics checked."""
    preset, given = request.preset, request.units or {}
    out = {}
    for table, names in zip(tables, wanted, strict=True):
        for name in names:
            unit = u.Unit(given[name]) if name in given else table.units.get(name)
            if unit is not None:
                out[name] = unit
    own, missing = PRESETS.get(preset.name, preset), []
    for role, text in UNITS.items():
        name = preset.column(role)
        k = next((k for k, names in enumerate(wanted) if name in names), None)
        if k is None:
            continue
        if name not in out and preset.units and name == own.column(role):
            out[name] = u.Unit(text)
        if name not in out:
            missing.append((name, tables[k].path, text))
        elif isinstance(out[name], u.UnrecognizedUnit):
            raise UnitError(
                f"column '{name}' of {tables[k].path} has the unit '{out[name]}', which is not "
                f"understood: give one in [units], such as '{name}' = '{text}'."
            )
        elif not out[name].is_equivalent(u.Unit(text)):
            raise UnitError(
                f"column '{name}' of {tables[k].path} must have a unit like {text}, but has "
                f"{out[name] if str(out[name]) else 'none'}."
            )
    if missing:
        names = ", ".join(f"'{name}'" for name, _, _ in missing)
        examples = ", ".join(f"'{name}' = '{text}'" for name, _, text in missing)
        raise UnitError(
            f"column{'s' * (len(missing) > 1)} {names} of {missing[0][1]} "
            f"{'have' if len(missing) > 1 else 'has'} no unit: give them in [units], such as "
            f"{examples}."
        )
    return {name: unit for name, unit in out.items() if not isinstance(unit, u.UnrecognizedUnit)}


def _count_join(flow: CutFlow, n: int, tables: list[TableFile], preset: Preset) -> None:
    step = f"joined with {tables[1].path.name}"
    if n == 0:
        raise ValueError(
            f"the join is empty: no {preset.keys[0]} of {tables[0].path} is a {preset.keys[1]} of "
            f"{tables[1].path}."
        )
    flow.count(step, n)


def _unique(flow, part, name, columns, places, preset: Preset, tables) -> np.ndarray:
    """The joined rows to keep: those with an id, each once."""
    ids = part[name][places[id(part)]]
    kept = np.flatnonzero(_known(ids))
    flow.count(f"{name} known", kept.size)
    ids = np.asarray(ids[kept])
    if preset.best and preset.best in columns:
        other, best = columns[preset.best]
        what = f"column '{best}', by which the best row is chosen,"
        rank = filled(other[best][places[id(other)]][kept], what)
        step = f"{name} unique, highest {best}"
    else:
        again = repeated(ids)
        if again is not None:
            raise ValueError(
                f"{name} {again[0]} occurs {again[1]} times in {tables[0].path}: name the column "
                "whose highest value chooses the row, best = ..., or remove the others."
            )
        rank, step = None, f"{name} unique"
    rows = best_rows(ids, rank)
    flow.count(step, rows.size)
    return kept[rows]


def _known(ids: np.ndarray) -> np.ndarray:
    """Whether ids name a star: positive numbers, or texts that are not empty."""
    if ids.dtype.kind in "iu":
        return np.ma.filled(ids > 0, False)
    if ids.dtype.kind == "f":
        raise ValueError(
            "an id must be a whole number or a text: as a fraction, Gaia's numbers lose figures."
        )
    return np.char.str_len(ids.astype(str)) > 0


def _without_missing(values: np.ndarray, marks: tuple[float, ...], name: str) -> np.ndarray:
    """A plain column, with NaN for what is masked or has one of the marks of a missing value."""
    if values.dtype.kind not in "iuf":
        return np.asarray(values)
    missing = np.ma.getmaskarray(values) | np.isin(values, marks)
    values = np.array(values)
    if not missing.any():
        return values
    if values.dtype.kind != "f":
        if np.any(np.abs(values[~missing].astype(float)) >= EXACT):
            raise ValueError(
                f"column '{name}' has missing values among numbers that fractions cannot hold."
            )
        values = values.astype(float)
    values[missing] = np.nan
    return values


def _parts_of_ratio(name: str, names: Iterable[str]) -> list[str]:
    """The columns that [X/Fe] or its error is made of where a file has [X/H] only."""
    error = name.startswith("e_")
    element = name[2:] if error else name
    if not element.endswith("_fe"):
        return []
    parts = [f"{element[:-3]}_h", "fe_h"]
    parts = [f"e_{part}" for part in parts] if error else parts
    return parts if set(parts) <= set(names) else []


def _add_ratio(columns: dict[str, np.ndarray], request: Request) -> None:
    """Add [X/Fe] = [X/H] - [Fe/H], and its error in quadrature, where a file has [X/H] only."""
    for name in request.label:
        if name and name not in columns:
            a, b = (np.asarray(columns[part], float) for part in _parts_of_ratio(name, columns))
            columns[name] = np.hypot(a, b) if name.startswith("e_") else a - b
