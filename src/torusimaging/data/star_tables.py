"""Single stars of whatever holds them: a catalogue's sample, a table, its file, a mock survey."""

import os
from collections.abc import Mapping
from typing import Any

import astropy.units as u

from ..arguments import nearest, shown, texts
from ..files.formats import filled
from ..files.open import open_table
from .pixels import VELOCITY
from .stars import Stars, covariance_of

KMS = u.km / u.s
# The columns of a table that hold a star's place, in the order in which they are looked for, and
# those whose names tell their unit.
PLACES = {
    "pos": {"pos": None, "z": None, "z_kpc": u.kpc, "z_pc": u.pc},
    "vel": {"vel": None, "v_z": None, "vz": None, "vz_kms": KMS, "vz_kpc_myr": VELOCITY},
    "R": {"R": None, "R_kpc": u.kpc},
    "Lz": {"Lz": None, "L_z": None},
}
# Errors of places, as a catalogue's sample has them.
PLACE_ERRORS = ("z_err", "v_z_err", "z_v_z_corr")


def stars_of(given: Any, labels: Any = None) -> Stars:
    """Stars of whatever holds them: these, a `catalog.Sample`, a simulated survey or a table.

    A table may be on file.  `labels` names the labels: of a table the columns, whose errors are
    under the same name with ``_err`` (or ``_ERR``); by default a sample's own.  A table's
    places are ``pos`` or ``z`` and ``vel``, ``v_z`` or ``vz``, with units, or columns whose
    names tell them, ``z_kpc`` and ``vz_kms``; R, Lz and the errors of places are taken if they
    are there.  Raises ``ValueError`` for anything else, and ``FileNotFoundError`` for no file.
    """
    if isinstance(given, Stars):
        return given if labels is None else given.only(labels)
    if all(hasattr(given, k) for k in ("places", "label", "config")):
        return _of_sample(given, labels)
    if all(hasattr(given, k) for k in ("pos", "vel", "label", "label_err")):
        name = "label" if labels is None else labels
        if not isinstance(name, str):
            raise ValueError(f"a simulated survey has one label: give its name, not {shown(name)}.")
        return Stars(given.pos, given.vel, {name: given.label}, {name: given.label_err})
    if isinstance(given, str | os.PathLike):
        return _of_file(given, labels)
    if hasattr(given, "colnames") or isinstance(given, Mapping):
        return _of_table(given, labels)
    raise ValueError(
        "stars must be Stars, what catalog.load returns, or a table with columns of places and "
        f"labels, or its file, but {type(given).__name__} was given."
    )


def _of_file(path: Any, labels: Any) -> Stars:
    table = open_table(path)
    wanted = [] if labels is None else texts(_list(labels), "labels")
    columns = {c for names in PLACES.values() for c in names} | set(PLACE_ERRORS)
    columns |= {c for k in wanted for c in (k, *_errors_of(k))}
    read = table.as_table([c for c in table.names if c in columns])
    return _of_table(read, labels, table.names)


def _of_sample(sample: Any, labels: Any) -> Stars:
    places, own = sample.places, sample.stars
    name, error = sample.config.label
    names = [name] if labels is None else texts(_list(labels), "labels")
    values, errors = {}, {}
    for k in names:
        if k not in own.columns:
            raise ValueError(f"the sample has no label {k!r}{nearest(k, own.columns)}")
        unit = own.units.get(k)
        values[k] = own.values(k) * (1 if unit is None else unit)
        e = error if k == name else next((x for x in _errors_of(k) if x in own.columns), None)
        if e is not None:
            errors[k] = own.values(e) * (1 if unit is None else unit)
    more = (places.R, places.L_z, sample.errors, sample.frame)
    return Stars(places.z, places.v_z, values, errors, *more)


def _of_table(table: Any, labels: Any, names: Any = None) -> Stars:
    names = [str(c) for c in getattr(table, "colnames", table)] if names is None else names
    if labels is None:
        raise ValueError(
            f"labels must name the columns of the labels (there are {', '.join(names)})."
        )
    places = {}
    for k, columns in PLACES.items():
        own = next((c for c in columns if c in names), None)
        if own is not None:
            unit = columns[own]
            bare = unit is not None and getattr(table[own], "unit", None) is None
            places[k] = filled(table[own], f"column {own!r}") * unit if bare else table[own]
        elif k in ("pos", "vel"):
            raise ValueError(
                f"the table must have a column {' or '.join(columns)}, but has {', '.join(names)}."
            )
    there = [c for c in PLACE_ERRORS if c in names]
    if len(there) == len(PLACE_ERRORS):
        places["covariance"] = covariance_of(*(table[c] for c in PLACE_ERRORS))
    elif set(there) & set(PLACE_ERRORS[:2]):
        missing = ", ".join(c for c in PLACE_ERRORS if c not in there)
        raise ValueError(
            f"the table has {' and '.join(there)}, errors of places, but no {missing}: give all "
            "three (z_v_z_corr is their correlation, 0 where there is none), or leave them out."
        )
    values, errors = {}, {}
    for k in texts(_list(labels), "labels"):
        if k not in names:
            raise ValueError(f"the table has no label {k!r}{nearest(k, names)}")
        values[k] = table[k]
        if (e := next((x for x in _errors_of(k) if x in names), None)) is not None:
            errors[k] = table[e]
    frame = (getattr(table, "meta", None) or {}).get("frame", "not stated")
    frame = str(frame) if not isinstance(frame, str) else frame
    return Stars(labels=values, label_errs=errors, frame=frame, **places)


def _list(names: Any) -> Any:
    return [names] if isinstance(names, str) else names


def _errors_of(name: str) -> tuple[str, ...]:
    """The columns in which a label's errors may be."""
    return f"{name}_err", f"{name}_ERR", f"{name}_error"
