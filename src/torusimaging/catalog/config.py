"""Configurations of `oti bin`: sections, keys and kinds, checked before a file is opened."""

import json
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import astropy.units as u
import numpy as np

from ..arguments import nearest
from ..files.paths import as_path, existing_file
from ..units import UnitError, internal
from .flags import bit
from .frames import FRAMES, KMS, Frame
from .selection import SLOPE, RotationCurve, Selection
from .surveys.base import ANY, CORRELATIONS, NEEDED, UNITS, Preset, observables_of
from .surveys.registry import FLAGS, PRESETS, SELECTIONS, selection

LENGTH, SPEED, ANGLE = u.kpc, KMS, u.deg
ROLES = (*UNITS, *CORRELATIONS)
# The keys of each section and the kind of their values: a unit for quantities, a list for lists.
SCHEMA: Mapping[str, Mapping[str, object]] = {
    "": {"preset": str, "files": [str], "output": str, "missing": [float]},
    "columns": dict.fromkeys(ROLES, str),
    "units": {},  # any column
    "join": {"keys": [str], "unique": str, "best": str, "hdus": [(int, str)]},
    "label": {"name": str, "error": str, "scatter": (str, float), "detrend": str},
    "flags": {"preset": str},  # and any flag
    "frame": {"preset": str, "R0": LENGTH, "z_sun": LENGTH, "v_sun": [SPEED]}
    | dict.fromkeys(("galcen_ra", "galcen_dec", "roll"), ANGLE),
    "selection": {"preset": str, "R": [LENGTH], "v_circ": SPEED, "v_circ_slope": SLOPE}
    | {"v_circ_radius": LENGTH, "v_circ_at": str, "parallax_over_error": float}
    | {"R_g": [LENGTH], "prograde": bool}
    | dict.fromkeys(("y_max", "z_max", "dR_max", "Lz_radius"), LENGTH)
    | {"vz_max": SPEED, "vR_max": SPEED, "Lz_spread": float}
    | {"polygon": [[float]], "polygon_columns": [str]},
    "ranges": {},  # any column
    "bins": {"z_max": LENGTH, "vz_max": SPEED, "n_z": int, "n_vz": int},
}
OPEN = ("units", "flags", "ranges")
MOST_PIXELS = 1_000_000
LARGEST = 1_000_000  # of any number, in the units above
# Keys of [selection] that make the rotation curve.
CURVE = {"v_circ": "v0", "v_circ_slope": "slope", "v_circ_radius": "R_ref", "v_circ_at": "at"}


@dataclass(frozen=True)
class Config:
    """All that `load` needs to know, checked; `tree` is what was given."""

    preset: Preset
    files: tuple[Path, ...]
    label: tuple[str, str | None]
    scatter: float | str | None
    detrend: str | None
    units: Mapping[str, str]
    flags: Mapping[str, object]
    frame: Frame
    selection: Selection
    bins: Mapping[str, u.Quantity]
    output: Path
    tree: Mapping


def read_config(config: str | os.PathLike | Mapping) -> Config:
    """A checked configuration, from a TOML file or a mapping of its sections.

    Files are relative to the configuration's folder, or to the working folder for a mapping.

    Raises ``FileNotFoundError`` for a missing file and ``ValueError`` (or `UnitError`) for one
    that is no TOML, an unknown section or key (with the nearest name), and a value of a wrong
    kind or without a unit.
    """
    if isinstance(config, Mapping):
        tree, folder, name = _plain(config), Path(), "the configuration"
    elif not isinstance(config, str | os.PathLike):
        raise ValueError(f"config must be a TOML file or a mapping of sections, not {config!r}.")
    else:
        path = existing_file(config, "configuration")
        tree, folder, name = _parse(path), path.parent, str(path)
    sections = {"": {k: v for k, v in tree.items() if not isinstance(v, Mapping)}}
    sections |= {k: dict(v) for k, v in tree.items() if isinstance(v, Mapping)}
    for section, entries in sections.items():
        _check(section, entries, name)
    return _build(sections, folder, name, json.loads(json.dumps(tree, default=str)))


def _plain(value):
    """A mapping of Python's as TOML would have it: lists for rows of any kind, plain numbers."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value


def _parse(path: Path) -> dict:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{path} is no readable TOML file: {error}.") from None
    except RecursionError:
        raise ValueError(f"{path} is no readable TOML file: its lists lie too deep.") from None


def _check(section: str, entries: Mapping, name: str) -> None:
    if section not in SCHEMA:
        raise ValueError(f"{name} has an unknown section [{section}]{nearest(section, SCHEMA)}")
    kinds = SCHEMA[section]
    for key, value in entries.items():
        where = f"{section}.{key}" if section else key
        if key in kinds:
            _check_kind(where, value, kinds[key], name)
        elif not section and key in SCHEMA:
            raise ValueError(f"{key} of {name} must be a section, [{key}], not {value!r}.")
        elif section not in OPEN:
            known = [*kinds, *(SCHEMA if not section else ())]
            raise ValueError(f"{name} has an unknown key {where}{nearest(key, known)}")


def _check_kind(where: str, value: object, kind: object, name: str) -> None:
    if isinstance(kind, list):
        if not isinstance(value, list):
            raise ValueError(f"{where} of {name} must be a list, but {value!r} was given.")
        for k, part in enumerate(value):
            _check_kind(f"{where}[{k}]", part, kind[0], name)
        return
    if isinstance(kind, u.UnitBase):
        _quantity(where, value, kind)
        return
    kinds = kind if isinstance(kind, tuple) else (kind,)
    # TOML and JSON tell true from 1, as Python does not.
    if type(value) is float and float in kinds and math.isnan(value):
        raise ValueError(f"{where} of {name} must be a number, but nan was given.")
    if type(value) in kinds or (float in kinds and type(value) is int and abs(value) < LARGEST):
        return
    words = {str: "a text", float: "a number", int: "a whole number", bool: "true or false"}
    allowed = " or ".join(words[k] for k in kinds)
    raise ValueError(f"{where} of {name} must be {allowed}, but {value!r} was given.")


def _quantity(where: str, value: object, unit: u.UnitBase) -> u.Quantity:
    if isinstance(value, str):
        try:
            value = u.Quantity(value)
        except (TypeError, ValueError):
            raise UnitError(
                f"{where} must be a number with a unit, but {value!r} was given."
            ) from None
        if value.unit == u.dimensionless_unscaled:
            value = float(value)
    if not isinstance(value, u.Quantity):
        raise UnitError(
            f'{where} has no unit: {value!r} was given, write for example "{value} {unit}".'
        )
    plain = internal(value, unit, where)
    # Only a range may be open at its end.
    open_end = where.partition("[")[0] in ("selection.R", "selection.R_g")
    if plain.ndim or not (abs(plain) < LARGEST or (open_end and np.isinf(plain))):
        raise ValueError(
            f"{where} must be one finite number below {LARGEST:,} {unit}, but {value} was given."
        )
    return value


def _choice(where: str, name: str, known: Mapping):
    if name not in known:
        raise ValueError(f"{where} is {name!r}, which is not known{nearest(name, known)}")
    return known[name]


def _build(sections: dict, folder: Path, name: str, tree: Mapping) -> Config:
    top = sections[""]
    preset = _preset(_choice("preset", top.get("preset", "generic"), PRESETS), sections)
    if "files" not in top:
        raise ValueError(f"{name} must name its files, such as files = ['stars.fits'].")
    label = sections.get("label", {})
    for key in ("name", "error"):
        if label.get(key) == "":
            raise ValueError(f"label.{key} of {name} must not be empty.")
    if "name" in label:
        chosen = label["name"], label.get("error")
    elif preset.label:
        chosen = preset.label[0], label.get("error", preset.label[1])
    else:
        raise ValueError(f"{name} must name the label, [label] name = 'mg_fe', error = 'e_mg_fe'.")
    if chosen[0] == chosen[1]:
        raise ValueError(f"label.error must be another column than label.name, {chosen[0]!r}.")
    for column, unit in sections.get("units", {}).items():
        try:
            if not isinstance(unit, str | u.UnitBase):
                raise TypeError
            # Magnitudes and the like, as dex(cm / s2), have no scale.
            scale = getattr(u.Unit(unit), "scale", 1.0)
            if isinstance(scale, complex) or not 0 < scale < math.inf:
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            raise UnitError(f"units.{column} is {unit!r}, which is no unit.") from None
    frame = _frame(sections, preset)
    return Config(
        preset=preset,
        files=tuple(_path(folder, f, f"files[{k}]") for k, f in enumerate(top["files"])),
        label=chosen,
        scatter=_scatter(label.get("scatter", "local")),
        detrend=_detrend(label.get("detrend", "none")),
        units=sections.get("units", {}),
        flags=_flags(sections, preset, chosen[0]),
        frame=frame,
        selection=_selection(sections, preset, frame),
        bins=_bins(sections.get("bins", {})),
        output=_path(folder, top.get("output", "oti-bin"), "output"),
        tree=tree,
    )


def _path(folder: Path, given: str, where: str) -> Path:
    """A path of the configuration: relative to its folder."""
    try:
        return folder / as_path(given, where, "be a path")
    except RuntimeError as error:
        raise ValueError(f"{where} must be a path, but {given!r} is none: {error}") from None


def _preset(preset: Preset, sections: dict) -> Preset:
    join = sections.get("join", {})
    changes = {k: join[k] for k in ("unique", "best") if k in join}
    if "keys" in join:
        changes["keys"] = tuple(join["keys"])
    if "hdus" in join:
        changes["hdus"] = tuple(None if hdu == "" else hdu for hdu in join["hdus"])
    if len(changes.get("keys", ())) not in (0, 2):
        raise ValueError(f"join.keys must be two columns, one a file, not {join['keys']}.")
    if any(isinstance(hdu, int) and hdu < 0 for hdu in changes.get("hdus", ())):
        raise ValueError(f"join.hdus must be numbers from 0 or names, not {join['hdus']}.")
    if "best" in join and not changes.get("unique", preset.unique):
        raise ValueError("join.best chooses among the rows of a star: give join.unique, too.")
    if "missing" in sections[""]:
        changes["missing"] = tuple(sections[""]["missing"])
    return replace(preset, columns=_roles(preset, sections.get("columns", {})), **changes)


def _roles(preset: Preset, given: Mapping[str, str]) -> dict[str, str]:
    """The preset's columns with the user's, whose observables have no error of the preset's."""
    for role, name in given.items():
        if not name and not observables_of(role):
            raise ValueError(f"columns.{role} must not be empty.")
    moved = {role for role, name in given.items() if name != preset.column(role)}
    own = {k: v for k, v in preset.columns.items() if moved.isdisjoint(observables_of(k))}
    columns = own | dict(given)
    used = {columns.get(role, role): role for role in NEEDED if role not in given}
    for role, name in columns.items():
        if name and used.setdefault(name, role) != role:
            raise ValueError(
                f"columns.{role} must be another column than that of {used[name]}, {name!r}."
            )
    return columns


def _scatter(given: float | str) -> float | str | None:
    """The scatter as `get_binned_label` takes it."""
    if given in ("local", "global"):
        return "local" if given == "local" else None
    if isinstance(given, str):
        raise ValueError(
            f"label.scatter must be 'local', 'global' or a number, but {given!r} was given."
        )
    if not 0 <= given < LARGEST:
        raise ValueError(f"label.scatter must be from 0 to {LARGEST:,}, but {given} was given.")
    return given


def _detrend(given: str) -> str | None:
    if given not in ("R_g", "none"):
        raise ValueError(f"label.detrend must be 'R_g' or 'none', but {given!r} was given.")
    return None if given == "none" else given


def _published(sections: dict) -> str | None:
    """The published work whose selection is asked for, where its frame and flags are here too."""
    name = sections.get("selection", {}).get("preset")
    return name if name in FRAMES and name in FLAGS else None


def _flags(sections: dict, preset: Preset, label: str) -> dict:
    entries = dict(sections.get("flags", {}))
    own = preset.flags
    if preset.flag_preset:
        own = FLAGS[_published(sections) or preset.flag_preset]
    if "preset" in entries:
        own = _choice("flags.preset", entries.pop("preset"), FLAGS)
    elif preset.label:
        own = {_of_label(flag, preset.label[0], label): bits for flag, bits in own.items()}
    flags = dict(own) | entries
    for flag, bits in flags.items():
        if not (isinstance(bits, str) and bits == ANY):
            if not isinstance(bits, (list, tuple)):
                raise ValueError(f"flags.{flag} must be a list of bits or 'any', not {bits!r}.")
            for entry in bits:
                bit(flag, entry)
    return {flag: bits for flag, bits in flags.items() if len(bits)}


def _of_label(flag: str, old: str, new: str) -> str:
    """The flag of another label: flag_mg_fe and mg_h_flags become flag_si_fe and si_h_flags."""
    flag = flag.replace(old, new)
    if old.endswith("_fe") and new.endswith("_fe"):
        flag = flag.replace(f"{old[:-3]}_h_flags", f"{new[:-3]}_h_flags")
    return flag


def _frame(sections: dict, preset: Preset) -> Frame:
    entries = dict(sections.get("frame", {}))
    usual = _published(sections) or preset.frame
    frame = _choice("frame.preset", entries.pop("preset", usual), FRAMES)
    units = SCHEMA["frame"]
    values = {k: _value(f"frame.{k}", v, units[k]) for k, v in entries.items()}
    with _keys_of("frame", {}):
        return replace(frame, name=f"{frame.name}, changed", **values) if values else frame


def _value(where: str, value, kind):
    """A checked value as the frame or selection takes it."""
    if isinstance(kind, u.UnitBase):
        return _quantity(where, value, kind)
    if isinstance(value, list):
        parts = tuple(_value(where, part, kind[0]) for part in value)
        return u.Quantity(parts) if isinstance(kind[0], u.UnitBase) else parts
    return value


def _selection(sections: dict, preset: Preset, frame: Frame) -> Selection:
    entries = dict(sections.get("selection", {}))
    name = entries.pop("preset", preset.selection)
    base = _choice("selection.preset", name, SELECTIONS)
    kinds = SCHEMA["selection"]
    values = {k: _value(f"selection.{k}", v, kinds[k]) for k, v in entries.items()}
    if base.R is not None and "R" not in values and name in FRAMES:
        # A published window is about the Sun: it goes along with another R0.
        shift = frame.R0 - FRAMES[name].R0
        values["R"] = tuple(x + shift for x in base.R)
    changes = {new: values.pop(old) for old, new in CURVE.items() if old in values}
    if "ranges" in sections:
        values["ranges"] = dict(base.ranges) | {
            k: _range(k, v) for k, v in sections["ranges"].items()
        }
    with _keys_of("selection", {new: old for old, new in CURVE.items()}):
        if changes:
            values["rotation"] = replace(base.rotation, **changes)
        return selection(name, **values)


@contextmanager
def _keys_of(section: str, names: Mapping[str, str]) -> Iterator[None]:
    """Errors that begin with the name of a parameter begin with its key in a section instead."""
    try:
        yield
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        raise type(error)(f"{section}.{names.get(name, name)} {rest}") from None


def _range(name: str, limits: object) -> tuple[float, float]:
    if isinstance(limits, list | tuple) and len(limits) == 2:
        if all(type(x) is float or (type(x) is int and abs(x) < 2**63) for x in limits):
            low, high = map(float, limits)
            if not low < high:
                raise ValueError(
                    f"ranges.{name} must be [low, high] with low < high, but is {limits!r}."
                )
            return low, high
    raise ValueError(f"ranges.{name} must be a list of two numbers, but is {limits!r}.")


def _bins(entries: dict) -> dict[str, u.Quantity]:
    z_max = _quantity("bins.z_max", entries.get("z_max", "1.2 kpc"), LENGTH)
    vz_max = _quantity("bins.vz_max", entries.get("vz_max", "70 km / s"), SPEED)
    n_z, n_vz = (entries.get(k, 80) for k in ("n_z", "n_vz"))
    for key, value in {"z_max": z_max, "vz_max": vz_max, "n_z": n_z, "n_vz": n_vz}.items():
        if not value > 0:
            raise ValueError(f"bins.{key} must be positive, but {value} was given.")
    if n_z * n_vz > MOST_PIXELS:
        raise ValueError(f"bins must have at most {MOST_PIXELS} pixels, not {n_z} x {n_vz}.")
    return {
        "pos": np.linspace(-1, 1, n_z + 1) * z_max,
        "vel": np.linspace(-1, 1, n_vz + 1) * vz_max,
    }


__all__ = ["Config", "RotationCurve", "read_config"]
