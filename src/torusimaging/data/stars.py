"""Stars one by one: places, labels and errors, checked at the door."""

from collections.abc import Mapping, Sequence
from typing import Any

import astropy.units as u
import numpy as np
from numpy.typing import NDArray

from ..arguments import nearest, shown, texts
from ..coordinates import ROTATION, Points, words_of_frame
from ..files.missing import is_missing, stands_out
from ..units import UnitError, internal, label_unit, plain, stated_unit, unit_words, with_unit
from .mixture import SPREADS, Mixture
from .pixels import FARTHEST, LARGEST, LIGHT, VELOCITY

MOST_LABELS = 20
# Names that the parameters of several labels have beside the labels' own.
TAKEN = ("correlation", "logit_outliers")
ANGULAR = u.kpc**2 / u.Myr


class Stars:
    """Places, labels and errors of single stars, for `torusimaging.fit_stars`.

    Example: ``oti.Stars(z, v_z, {"mg_fe": mg_fe}, {"mg_fe": mg_fe_err})``.

    Parameters
    ----------
    pos, vel : quantities (length, speed), shape (n,)
    labels : label by name, each of shape (n,), NaN or masked where a star has none
    label_errs : their errors by the same names; a label without errors is exact, and an error of
        zero means that only the label's own scatter spreads the star
    R : Galactocentric radii (length), shape (n,), for a field that changes with them
    Lz : angular momenta (length times speed), shape (n,)
    covariance : errors of pos and vel, shape (n,) each: the variance of pos, that of vel and their
        covariance as three quantities, or what `catalog.vertical_errors` returns; None: exact
    distance_err : relative errors of the distances, shape (n,), numbers up to 0.5: the part of the
        covariance that comes from them, which grows with the distance itself (see
        `data.mixture.DistanceErrors`); None: the covariance is that of normal errors of one size
    frame : the frame of pos and vel, in words or a `catalog.Frame`

    Left out are stars whose pos, vel, R, Lz or covariance is not finite, and those that have no
    label at all; a label is missing where it is not finite, is a catalogue's mark of a missing
    value such as -9999, or has an error that is not finite.  ``left_out`` counts both by reason.

    Attributes
    ----------
    points : `coordinates.Points` of the stars that are left, plain arrays (kpc, kpc/Myr)
    label, label_err : plain arrays, shape (n, labels); NaN where a star has no such label
    errors : shape (n, 3), the covariance (kpc^2, kpc^2/Myr^2, kpc^2/Myr); None: exact
    distance_err : shape (n,), relative errors of the distances, or None
    crowd : the density of stars in the plane that a fit found, which tells where stars with errors
        truly are (`data.mixture.Mixture`); None before
    names : of the labels;  units : theirs, None for plain numbers
    frame : in words;  n_given, left_out : stars given, and how many were left out by reason

    Raises ``ValueError`` for arrays of unequal length, labels that are no dictionary, an error of a
    label that there is not, negative errors, a covariance that is not positive definite or larger
    than the stars' spread, and values that no star can have; `UnitError` for missing or wrong
    units.
    """

    def __init__(
        self,
        pos: u.Quantity,
        vel: u.Quantity,
        labels: Mapping[str, Any],
        label_errs: Mapping[str, Any] | None = None,
        R: u.Quantity | None = None,
        Lz: u.Quantity | None = None,
        covariance: Any = None,
        distance_err: Any = None,
        frame: Any = "not stated",
    ):
        labels = _named(labels, "labels")
        errors = {} if label_errs is None else _named(label_errs, "label_errs")
        if not labels:
            raise ValueError("labels must hold at least one label, but is empty.")
        if len(labels) > MOST_LABELS:
            raise ValueError(f"labels must be at most {MOST_LABELS}, but {len(labels)} were given.")
        if taken := [name for name in labels if name in TAKEN and len(labels) > 1]:
            raise ValueError(
                f"labels must not be named {taken[0]!r} where there are several: a parameter of "
                "their scatter is; give it another name."
            )
        for name in errors:
            if name not in labels:
                raise ValueError(
                    f"label_errs has {name!r}, which is no label{nearest(name, labels)}"
                )
        self.names = tuple(labels)
        self.units = {name: _unit_of(x, name) for name, x in labels.items()}
        columns = {"pos": _place(pos, u.kpc, "pos"), "vel": _place(vel, VELOCITY, "vel")}
        if R is not None:
            columns["R"] = _place(R, u.kpc, "R")
        if Lz is not None:
            columns["Lz"] = _place(Lz, ANGULAR, "Lz")
        if covariance is not None:
            columns |= _covariance(covariance)
        if distance_err is not None:
            columns["distance_err"] = _distance_errors(distance_err, covariance)
        values = {name: _label(x, self.units[name], name) for name, x in labels.items()}
        sds = {
            name: _error(errors.get(name), self.units[name], name, values[name]) for name in labels
        }
        sizes = {k: x.size for k, x in columns.items()}
        sizes |= {f"labels[{k!r}]": x.size for k, x in values.items()}
        sizes |= {f"label_errs[{k!r}]": sds[k].size for k in errors}
        if len(set(sizes.values())) > 1:
            text = ", ".join(f"{k} {n}" for k, n in sizes.items())
            raise ValueError(f"the stars' arrays must have equal length, but have: {text}.")
        self.frame = words_of_frame(frame)
        self.n_given = columns["pos"].size
        label = np.stack([values[name] for name in self.names], axis=1)
        error = np.stack([sds[name] for name in self.names], axis=1)
        there = np.isfinite(label) & np.isfinite(error)
        known = np.ones(self.n_given, bool)
        self.left_out: dict[str, int] = {}
        shares = columns.pop("distance_err", None)
        spreads = [columns.pop(k) for k in SPREADS] if covariance is not None else []
        reasons = {f"no finite {k}": np.isfinite(x) for k, x in columns.items()}
        if spreads:
            reasons["no finite covariance"] = np.all(np.isfinite(spreads), axis=0)
        if shares is not None:
            reasons["no finite distance_err"] = np.isfinite(shares)
        reasons["none of the labels" if len(labels) > 1 else "no label"] = there.any(axis=1)
        for reason, good in reasons.items():
            if lost := int(np.sum(known & ~good)):
                self.left_out[reason] = lost
            known &= good
        if not known.any():
            reasons = ", ".join(f"{n} with {reason}" for reason, n in self.left_out.items())
            raise ValueError(f"no star is left of {self.n_given}: {reasons or 'none was given'}.")
        columns = {k: x[known] for k, x in columns.items()}
        self.crowd: Mixture | None = None
        self.errors = np.stack([x[known] for x in spreads], axis=1) if spreads else None
        self.distance_err = None if shares is None else shares[known]
        if self.errors is not None:
            _check_errors(self.errors, columns, np.flatnonzero(known))
        for k, most, unit in (("pos", FARTHEST, "kpc"), ("R", FARTHEST, "kpc")):
            _check_size(columns.get(k), most, f"{k} of the stars", unit)
        _check_size(columns["vel"], LIGHT, "vel of the stars", "kpc/Myr, the speed of light")
        if "Lz" in columns and not (
            0.1 < np.median(np.abs(columns["Lz"])) / ROTATION < 100
            and np.max(np.abs(columns["Lz"])) / ROTATION < 1000
        ):
            low, high = np.min(np.abs(columns["Lz"])), np.max(np.abs(columns["Lz"]))
            raise ValueError(
                "Lz must be angular momenta of stars, but over 229 km/s they make guiding radii "
                f"from {low / ROTATION:.3g} to {high / ROTATION:.3g} kpc: check its unit."
            )
        if "R" in columns and not np.all(columns["R"] > 0):
            raise ValueError(f"R must be positive, but is {columns['R'].min():.4g} kpc for a star.")
        self.points = Points(columns["pos"], columns["vel"], columns.get("R"), columns.get("Lz"))
        self.label = np.where(there, label, np.nan)[known]
        self.label_err = np.where(there, error, np.nan)[known]
        for k, name in enumerate(self.names):
            own = self.label[:, k]
            if not np.isfinite(own).any():
                raise ValueError(f"the label {name!r} is missing in all stars.")
            _check_size(own, LARGEST, f"the label {name!r}", "")

    def __len__(self) -> int:
        return self.points.pos.size

    def __repr__(self) -> str:
        lost = "".join(f", {n} left out: {reason}" for reason, n in self.left_out.items())
        return f"Stars({len(self)} stars with {', '.join(self.names)}{lost})"

    @property
    def pos(self) -> u.Quantity:
        """Positions (kpc), shape (n,)."""
        return self.points.pos * u.kpc

    @property
    def vel(self) -> u.Quantity:
        """Velocities (kpc/Myr), shape (n,)."""
        return self.points.vel * VELOCITY

    def only(self, labels: Any) -> "Stars":
        """The stars that have any of these labels, with these alone.

        Raises ``ValueError`` for a label that there is not.
        """
        names = texts([labels] if isinstance(labels, str) else labels, "labels")
        for name in names:
            if name not in self.names:
                raise ValueError(
                    f"the stars have no label {shown(name)}{nearest(name, self.names)}"
                )
        picks = [self.names.index(name) for name in dict.fromkeys(names)]
        kept = np.isfinite(self.label[:, picks]).any(axis=1)
        new = self.where(kept, f"no {' or '.join(names)}")
        new.label, new.label_err = new.label[:, picks], new.label_err[:, picks]
        new.names = tuple(self.names[k] for k in picks)
        new.units = {name: self.units[name] for name in new.names}
        return new

    def with_label(self, label: NDArray) -> "Stars":
        """The stars with other labels, plain and of the same shape."""
        new = self.where(np.ones(len(self), bool), "")
        new.label = label
        return new

    def where(self, kept: NDArray, reason: str) -> "Stars":
        """The stars that are kept; the others are counted in ``left_out`` with this reason."""
        new = object.__new__(Stars)
        new.points = Points(*(None if x is None else x[kept] for x in self.points))
        new.label, new.label_err = self.label[kept], self.label_err[kept]
        new.errors, new.crowd = None if self.errors is None else self.errors[kept], self.crowd
        new.distance_err = None if self.distance_err is None else self.distance_err[kept]
        new.names, new.units = self.names, self.units
        new.frame, new.n_given = self.frame, self.n_given
        lost = int(np.sum(~kept))
        new.left_out = self.left_out | ({reason: lost} if lost else {})
        return new

    def columns(self) -> dict[str, NDArray]:
        """The plain arrays by name, for likelihoods: pos, vel, label, label_err, ..."""
        return self._rows() | ({} if self.crowd is None else {"crowd": self.crowd.table()})

    def _rows(self) -> dict[str, NDArray]:
        """The plain arrays of one row a star."""
        out = {k: x for k, x in self.points._asdict().items() if x is not None}
        if self.errors is not None:
            out |= dict(zip(SPREADS, self.errors.T, strict=True))
        if self.distance_err is not None:
            out["distance_err"] = self.distance_err
        return out | {"label": self.label, "label_err": self.label_err}

    def crowded(self) -> "Stars":
        """The same with the density of the stars in the plane, if they have errors."""
        if self.errors is None:
            return self
        new = self.where(np.ones(len(self), bool), "")
        new.crowd = Mixture.fitted(*self.points[:2], self.errors, self.distance_err)
        return new

    def state(self) -> tuple[dict[str, NDArray], dict]:
        """The plain columns, and all else in words and numbers, for files."""
        facts = {
            "names": list(self.names),
            "units": {name: unit_words(unit) for name, unit in self.units.items()},
            "frame": self.frame,
            "n_given": self.n_given,
            "left_out": self.left_out,
            "crowd": None if self.crowd is None else self.crowd.table().tolist(),
        }
        return self._rows(), facts

    @classmethod
    def from_state(cls, columns: Mapping[str, NDArray], facts: dict) -> "Stars":
        """The stars of `state`."""
        new = object.__new__(cls)
        new.points = Points(*(columns.get(k) for k in Points._fields))
        new.label, new.label_err = columns["label"], columns["label_err"]
        spreads = [columns[k] for k in SPREADS if k in columns]
        new.errors = np.stack(spreads, axis=1) if spreads else None
        new.distance_err = columns.get("distance_err")
        crowd = facts.get("crowd")
        new.crowd = None if crowd is None else Mixture.of_table(np.asarray(crowd))
        new.names = tuple(facts["names"])
        new.units = {name: stated_unit(facts["units"][name]) for name in new.names}
        new.frame, new.n_given = facts["frame"], facts["n_given"]
        new.left_out = facts["left_out"]
        return new


def _named(given: Any, name: str) -> dict:
    if not isinstance(given, Mapping) or not all(isinstance(k, str) and k.strip() for k in given):
        raise ValueError(
            f'{name} must be a dictionary by name, such as {{"mg_fe": values}}, but '
            f"{shown(given)} was given."
        )
    return dict(given)


def _place(x: Any, unit: u.UnitBase, name: str) -> NDArray:
    """A column of places, NaN where it is masked or a mark of a missing value."""
    stated = with_unit(x, name)
    values = np.ravel(internal(stated, unit, name))
    held = np.ravel(np.asarray(getattr(stated, "value", stated), float))
    return np.where(stands_out(held), np.nan, values)


def _covariance(given: Any) -> dict[str, NDArray]:
    """The columns `SPREADS` of a covariance in any form."""
    if all(hasattr(given, k) for k in ("z", "v_z", "correlation")):
        given = covariance_of(given.z, given.v_z, given.correlation)
    if isinstance(given, u.Quantity | str) or not isinstance(given, Sequence) or len(given) != 3:
        raise ValueError(
            "covariance must be three quantities, the variance of pos, that of vel and their "
            f"covariance, but {shown(given)} was given."
        )
    units = (u.kpc**2, VELOCITY**2, u.kpc * VELOCITY)
    names = ("of pos", "of vel", "of both")
    return {
        k: _place(x, unit, f"covariance {name}")
        for k, x, unit, name in zip(SPREADS, given, units, names, strict=True)
    }


def covariance_of(pos_err: Any, vel_err: Any, correlation: Any) -> tuple[Any, Any, Any]:
    """Variances and covariance of errors; NaN where one of them is a mark of a missing value.

    Raises ``ValueError`` for negative errors.
    """
    columns = []
    for x, name in ((pos_err, "pos"), (vel_err, "vel"), (correlation, "")):
        stated = with_unit(x, f"the errors of {name}" if name else "their correlation")
        values = np.asarray(np.ma.filled(getattr(stated, "value", stated), np.nan), float)
        values = np.where(is_missing(values), np.nan, values)
        if name and np.any(values < 0):
            raise ValueError(
                f"the errors of {name} must not be negative, but {np.nanmin(values):.4g} is."
            )
        unit = getattr(stated, "unit", None)
        columns.append(values if unit is None else values * unit)
    one, two, both = columns
    return one**2, two**2, both * one * two


def _distance_errors(given: Any, covariance: Any) -> NDArray:
    """Relative errors of distances; a ``ValueError`` without a covariance, or beyond 0.5."""
    if covariance is None:
        raise ValueError(
            "distance_err needs the covariance of pos and vel: the errors that distances make."
        )
    unit = u.dimensionless_unscaled
    values = np.ravel(internal(given, unit, "distance_err", allow_plain=True))
    known = values[np.isfinite(values)]
    if known.size and not (known.min() >= 0 and known.max() <= 0.5):
        raise ValueError(
            "distance_err must be relative errors from 0 to 0.5, but is "
            f"{known.min() if known.min() < 0 else known.max():.4g} for a star."
        )
    return values


def _check_errors(errors: NDArray, columns: dict[str, NDArray], numbers: NDArray) -> None:
    """Raise a ``ValueError`` for a covariance that no errors have, or that drowns the places."""
    one, two, both = errors.T
    bad = ~((one >= 0) & (two >= 0) & (both**2 <= one * two * (1 + 1e-9)))
    if bad.any():
        k = int(np.argmax(bad))
        raise ValueError(
            f"covariance must be positive definite, but is not for {bad.sum()} of {bad.size} "
            f"stars, the first of them number {numbers[k]}, counted from 0: variances {one[k]:.4g} "
            f"kpc^2 and {two[k]:.4g} kpc^2/Myr^2, covariance {both[k]:.4g} kpc^2/Myr."
        )
    for name, x, variance, unit in (
        ("pos", columns["pos"], one, "kpc"),
        ("vel", columns["vel"], two, "kpc/Myr"),
    ):
        error, spread = float(np.sqrt(np.median(variance))), float(np.std(x))
        if error >= spread:
            raise ValueError(
                f"the errors of {name} (median {error:.3g} {unit}) are as large as the stars' "
                f"spread in {name} ({spread:.3g} {unit}): their orbits cannot be told."
            )


def _unit_of(x: Any, name: str) -> u.UnitBase | None:
    return label_unit(with_unit(x, f"labels[{name!r}]"))


def _label(x: Any, unit: u.UnitBase | None, name: str) -> NDArray:
    """A label's numbers in its unit, NaN where it is missing."""
    stated = with_unit(x, f"labels[{name!r}]")
    values = np.ravel(plain(getattr(stated, "value", stated), f"labels[{name!r}]"))
    return np.where(stands_out(values) | ~np.isfinite(values), np.nan, values)


def _error(x: Any, unit: u.UnitBase | None, name: str, label: NDArray) -> NDArray:
    """The errors of a label in its unit; zero where it has none.

    Raises ``ValueError`` for negative ones and `UnitError` for another unit than the label's.
    """
    if x is None:
        return np.zeros(label.size)
    full = f"label_errs[{name!r}]"
    stated = with_unit(x, full)
    own = label_unit(stated)
    if (own is None) != (unit is None):
        words = [unit_words(k) or "none" for k in (own, unit)]
        raise UnitError(f"{full} must have the label's unit, {words[1]}, but has {words[0]}.")
    if unit is not None:
        stated = internal(stated, unit, full)
    values = np.ravel(plain(getattr(stated, "value", stated), full))
    if values.size != label.size:
        return values
    values = np.where(is_missing(values), np.nan, values)
    bad = np.isfinite(label) & (values < 0)
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(
            f"{full} must not be negative, but is for {bad.sum()} stars (star {first}: "
            f"{values[first]:.4g})."
        )
    return values


def _check_size(x: NDArray | None, most: float, name: str, unit: str) -> None:
    if x is not None and (largest := np.nanmax(np.abs(x))) > most:
        raise ValueError(
            f"{name} reaches {largest:.3g}, but must not exceed {most:.3g} {unit}".rstrip() + "."
        )
