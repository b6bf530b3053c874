"""Catalogue files to stars: only the columns needed, joined, and each star once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np

from ..arguments import hint, shown, texts
from ..files.formats import filled
from ..files.missing import MISSING, is_missing
from ..files.open import TableFile, open_table
from ..files.paths import as_path
from ..units import UnitError
from .cuts import CutFlow
from .join import EXACT, as_ids, best_rows, join_rows, repeated, repeated_pairs
from .stars import Stars
from .surveys.base import ERRORS, NEEDED, OPTIONAL, UNITS, Preset, observables_of
from .surveys.registry import PRESETS


@dataclass(frozen=True)
class Request:
    """What is wanted of catalogue files.

    Attributes
    ----------
    preset : the survey's description, with the user's changes
    label : the label's column and that of its error, or None for no error
    needed : columns that must be there beside those of the kinematics: flags, selections
    units : units of columns, by column, where the file has none or a wrong one
    flags : those of the columns needed that hold bits: they stay whole numbers where some are
        missing, and 999999 is a pattern of bits like any other
    """

    preset: Preset
    label: tuple[str, str | None]
    needed: tuple[str, ...] = ()
    units: Mapping[str, str] | None = None
    flags: tuple[str, ...] = ()

    def __post_init__(self):
        if not isinstance(self.preset, Preset):
            raise ValueError(f"preset must be a Preset, PRESETS['generic'], not {self.preset!r}.")
        label = self.label
        if not isinstance(label, tuple | list) or len(label) != 2 or not isinstance(label[0], str):
            raise ValueError(f"label must be two columns, the second None perhaps, not {label!r}.")
        for name in ("needed", "flags"):
            columns = getattr(self, name)
            if not isinstance(columns, tuple | list) or columns:
                texts(columns, name)


def read_stars(files: Sequence[str | Path], request: Request) -> Stars:
    """Read, join and reduce catalogue files to rows with one star each.

    Parameters
    ----------
    files : one file, or as many as the preset joins, in its order; FITS, Parquet, CSV, ECSV or
        VOTable
    request : the columns wanted

    The steps are: the rows of the first file; those with a key, where some have none, and the
    inner join, where there are two files; the rows with an id; and each id once, the row with the
    highest value of the preset's `best` (of equal ones the first).  `as_ids` says what a key or an
    id is.  A column that both files have is taken from the first; an error or a correlation by its
    default name only from the file of its observable.  A key that both files repeat, in rows that
    are kept, is a remark of the flow.

    Raises ``FileNotFoundError`` and ``ValueError`` as `torusimaging.data.open_table` does,
    and ``ValueError`` for a missing column (with the nearest name), the same table twice, an empty
    join, and an id that occurs twice where nothing says which row to keep; `UnitError` for a
    column whose unit is missing or wrong.
    """
    if not isinstance(request, Request):
        raise ValueError(f"request must be a Request, but {shown(request)} was given.")
    preset = request.preset
    tables = _opened(files, preset)
    roles = _roles(tables, preset)
    wanted = _columns(tables, request, roles)
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
    keys = _ids(data, tables, preset)
    rows = _joined(flow, keys, tables, preset)
    columns = {
        name: (part, name)
        for part, names in zip(data, wanted, strict=True)
        for name in names
        if name in part
    }
    places = {id(part): index for part, index in zip(data, rows, strict=True)}
    keep = np.arange(rows[0].size)
    if preset.unique:
        part, name = columns[preset.unique]
        keep = _unique(flow, part, name, columns, places, preset, tables)
        places = {k: index[keep] for k, index in places.items()}
    if len(tables) == 2:
        _remark_on_repeated_keys(flow, keys[0], rows, keep, tables, preset)
    out = {name: part[name][places[id(part)]] for name, (part, _) in columns.items()}
    for name, values in out.items():
        if name not in (preset.unique, *preset.keys):
            out[name] = _without_missing(values, preset.missing, name in request.flags)
        else:
            out[name] = np.asarray(values)
    _add_ratio(out, request)
    return Stars(out, units, roles, flow)


def _opened(files: Sequence[str | Path], preset: Preset) -> list[TableFile]:
    paths = _checked_files(files, preset)
    hdus = preset.hdus or (None,) * len(paths)
    if len(hdus) != len(paths):
        raise ValueError(
            f"join.hdus must be one a file, but are {list(hdus)} for {len(paths)} "
            f"file{'s' * (len(paths) > 1)}."
        )
    tables = [open_table(path, hdu) for path, hdu in zip(paths, hdus, strict=True)]
    if len(tables) == 2 and paths[0].samefile(paths[1]):
        # A file holds several tables only where these have HDUs.
        if len({getattr(table, "hdu", None) for table in tables}) == 1:
            names = f"{paths[0]}" if paths[0] == paths[1] else f"{paths[0]}, as {paths[1]},"
            raise ValueError(
                f"{names} is given twice: the two files of a join must differ, or their HDUs, "
                "join.hdus = [1, 2]."
            )
    return tables


def _roles(tables: list[TableFile], preset: Preset) -> dict[str, str]:
    """The columns of the roles, "" for an error that is of another file than its observable."""
    roles = preset.roles
    for role in (*ERRORS, *OPTIONAL, "distance_error"):
        if role not in roles:
            home = _home(tables, role)
            if any(_home(tables, roles.get(of, of)) != home for of in observables_of(role)):
                roles[role] = ""
    return roles


def _home(tables: list[TableFile], name: str) -> int | None:
    """The number of the table that a column is taken from."""
    return next((k for k, table in enumerate(tables) if name in table.names), None)


def _checked_files(files: Sequence[str | Path], preset: Preset) -> list[Path]:
    if isinstance(files, str | bytes | Mapping) or not np.iterable(files):
        raise ValueError(f"files must be a list of paths, but {shown(files)} was given.")
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
    return paths


def _key(preset: Preset, k: int, tables: list[TableFile]) -> list[str]:
    if not preset.keys:
        return []
    _require([tables[k]], preset.keys[k])
    return [preset.keys[k]]


def _columns(
    tables: list[TableFile], request: Request, roles: Mapping[str, str]
) -> list[list[str]]:
    """The columns to read from each file."""
    preset, label = request.preset, [name for name in request.label if name]
    needed = [preset.column(role) for role in _kinematics(preset)]
    needed += [*request.needed, *([preset.unique] if preset.unique else [])]
    names = {name for table in tables for name in table.names}
    for name in label:
        needed += [name] if name in names else _parts_of_ratio(name, names) or [name]
    optional = [roles.get(role, role) for role in (*ERRORS, *OPTIONAL, "distance_error")]
    optional += [*preset.extra, *([preset.best] if preset.best else [])]
    # What the survey's files may lack, a user who names it expects.
    own = PRESETS.get(preset.name, preset)
    needed += [
        name for role, name in preset.columns.items() if name not in ("", role, own.column(role))
    ]
    needed += [preset.best] if preset.best and preset.best != own.best else []
    for name in needed:
        _require(tables, name)
    for name in request.units or {}:
        _require(tables, name)
    chosen = dict.fromkeys([*needed, *(name for name in optional if name in names)])
    out: list[list[str]] = [[] for _ in tables]
    for name in chosen:
        out[_home(tables, name) or 0].append(name)
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
        where = " or ".join(dict.fromkeys(str(table.path) for table in tables))
        shown = ", ".join(known[:12]) + ", ..." * (len(known) > 12)
        end = hint(name, known) or f" (columns: {shown})."
        raise ValueError(f"there is no column '{name}' in {where}{end}")


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


def _ids(data: list[dict], tables: list[TableFile], preset: Preset) -> list[np.ma.MaskedArray]:
    """Make ids of the columns of keys and of `unique`; returns the keys."""
    names = [preset.unique] if preset.unique else []
    for k, (part, table) in enumerate(zip(data, tables, strict=True)):
        for name in dict.fromkeys([*names, *preset.keys[k : k + 1]]):
            if name in part:
                part[name] = as_ids(part[name], f"column '{name}' of {table.path}")
    return [part[key] for part, key in zip(data, preset.keys, strict=False)]


def _joined(
    flow: CutFlow, keys: list[np.ma.MaskedArray], tables: list[TableFile], preset: Preset
) -> list[np.ndarray]:
    """The rows of each table that are joined: all, where there is one."""
    if len(tables) == 1:
        return [np.arange(flow.steps[-1].left)]
    known = int(keys[0].count())
    if known < keys[0].size:
        flow.count(f"{preset.keys[0]} known", known)
    names = [f"'{key}' of {t.path}" for key, t in zip(preset.keys, tables, strict=True)]
    rows = join_rows(*keys, names=(names[0], names[1]))
    if rows[0].size == 0:
        raise ValueError(
            f"the join is empty: no {preset.keys[0]} of {tables[0].path} is a {preset.keys[1]} of "
            f"{tables[1].path}."
        )
    same = tables[0].path.samefile(tables[1].path)
    hdu = f", HDU {getattr(tables[1], 'hdu', None)}" if same else ""
    flow.count(f"joined with {tables[1].path.name}{hdu}", rows[0].size)
    return list(rows)


def _remark_on_repeated_keys(flow, key, rows, keep, tables, preset: Preset) -> None:
    """Say which keys pair rows that may be of different stars."""
    kept = keep[repeated_pairs(*rows)[keep]]
    ids, counts = np.unique(np.asarray(key)[rows[0][kept]], return_counts=True)
    if ids.size == 0 or counts.max() == 1:
        return
    again = ids[counts > 1]
    many = again.size > 1
    way = (
        f"each must name one star for '{preset.unique}' to choose among its rows"
        if preset.unique
        else "[join] unique = ... keeps each star once"
    )
    flow.remarks.append(
        f"{again.size:,} key{'s' * many} '{preset.keys[0]}' occur{'s' * (not many)} more than once "
        f"in both {tables[0].path.name} and {tables[1].path.name}, such as "
        f"{again[0].item()!r}: every row of one is joined with every row of the other; {way}."
    )


def _unique(flow, part, name, columns, places, preset: Preset, tables) -> np.ndarray:
    """The joined rows to keep: those with an id, each once."""
    ids = part[name][places[id(part)]]
    kept = np.flatnonzero(~np.ma.getmaskarray(ids))
    flow.count(f"{name} known", kept.size)
    ids = np.asarray(ids[kept])
    if preset.best and preset.best in columns:
        other, best = columns[preset.best]
        what = f"column '{best}', by which the best row is chosen,"
        values = other[best][places[id(other)]][kept]
        rank = np.where(is_missing(values, preset.missing), np.nan, filled(values, what))
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


def _without_missing(values: np.ndarray, marks: Sequence[float], flag: bool) -> np.ndarray:
    """A plain column, with NaN for what is masked or has one of the marks of a missing value.

    Masked instead are flags, and whole numbers of which fractions would lose figures.
    """
    if values.dtype.kind not in "biuf":
        return np.asarray(values)
    if flag:
        marks = [mark for mark in marks if mark < 0 or mark not in MISSING]
    missing = is_missing(values, marks)
    values = np.array(values)
    if not missing.any():
        return values
    if values.dtype.kind != "f":
        if flag or np.any(np.abs(values[~missing].astype(float)) >= EXACT):
            return np.ma.array(values, mask=missing)
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
