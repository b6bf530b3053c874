"""The phase plane that bins span: its units, pixels, and the checks at its door."""

from collections.abc import Sequence
from numbers import Real
from typing import NamedTuple

import astropy.units as u
import boost_histogram as bh
import numpy as np
from numpy.typing import NDArray

from ..files.formats import filled
from ..files.missing import is_missing, stands_out
from ..units import internal, label_unit, plane_units, with_unit
from .sums import Axes, Map, check_size

SPEED = u.km / u.s
MOST_PIXELS = 10**7


class Plane(NamedTuple):
    """Pixels of the (pos, vel) plane.

    `axes` are in the bins' own units, `own`; `shown` are the units of the output.
    """

    axes: Axes
    edges: list[NDArray]
    own: tuple[u.UnitBase, u.UnitBase]
    shown: tuple[u.UnitBase, u.UnitBase]

    @classmethod
    def of(cls, bins: dict, units=None) -> "Plane":
        """The plane of ``{"pos": edges, "vel": edges}`` (quantities).

        Raises `UnitError` for missing or wrong units and ``ValueError`` for edges that are not
        finite and increasing.
        """
        if not isinstance(bins, dict) or not {"pos", "vel"} <= set(bins):
            raise ValueError("bins must be a dictionary with the edges 'pos' and 'vel'.")
        edges, own = [], []
        for name, kind in (("pos", u.kpc), ("vel", SPEED)):
            given = with_unit(bins[name], f"bins['{name}']")
            internal(given, kind, f"bins['{name}']")
            edges.append(_edges(internal(given, given.unit, name), name))
            own.append(given.unit)
        n_pixels = (edges[0].size - 1) * (edges[1].size - 1)
        if n_pixels > MOST_PIXELS:
            raise ValueError(
                f"bins must make at most {MOST_PIXELS:,} pixels, but make {n_pixels:,}."
            )
        shown = (own[0], own[1]) if units is None else plane_units(units)
        return cls([_axis(x) for x in edges], edges, (own[0], own[1]), shown)

    def places(self, pos: u.Quantity, vel: u.Quantity) -> tuple[NDArray, NDArray]:
        """Plain coordinates in the bins' units; `UnitError` and ``ValueError`` as at any door."""
        values = []
        for name, kind, x, unit in zip(
            ("pos", "vel"), (u.kpc, SPEED), (pos, vel), self.own, strict=True
        ):
            x = with_unit(x, name)
            # In the bins' unit a catalogue in that same unit is not copied.
            internal(x[:0] if getattr(x, "ndim", 0) else x, kind, name)
            value = x.filled(np.nan).to_value(unit) if hasattr(x, "mask") else x.to_value(unit)
            values.append(np.ascontiguousarray(np.ravel(filled(value, name))))
        if values[0].size != values[1].size:
            raise ValueError(
                "pos and vel must have equal length, but have "
                f"{values[0].size} and {values[1].size} stars."
            )
        return values[0], values[1]

    def grid(self) -> dict:
        """The pixels' centres, shape (n_pos, n_vel), and edges, in the output's units."""
        pos, vel = (
            (x * unit).to(to) for x, unit, to in zip(self.edges, self.own, self.shown, strict=True)
        )
        grid = np.meshgrid(*(0.5 * (x[1:] + x[:-1]) for x in (pos, vel)), indexing="ij")
        return {"pos": grid[0], "vel": grid[1], "pos_edges": pos, "vel_edges": vel}

    def describe(self, made: Map) -> dict:
        """The dictionary that users get of a map (see `get_binned_label`)."""
        means = [
            (x * unit).to(to) for x, unit, to in zip(made.places, self.own, self.shown, strict=True)
        ]
        labels = {"label": made.label, "label_err": made.label_err, "s": made.s}
        if (unit := made.census.units[0]) is not None:
            labels = {name: values * unit for name, values in labels.items()}
        out = self.grid() | {
            "counts": made.counts,
            "label": labels["label"],
            "label_err": labels["label_err"],
            "pos_mean": means[0],
            "vel_mean": means[1],
            "s": labels["s"],
            "n_stars": made.census.n + made.census.n_not_finite,
            "n_not_finite": made.census.n_not_finite,
            "n_outside": int(made.census.n - made.counts.sum()),
        }
        if made.guided is not None:
            out |= {"R_g_mean": made.guided.mean * u.kpc, "R_g_gradient": made.guided.gradient}
            parts = {"R_g_part": made.guided.part, "R_g_part_err": made.guided.part_err}
            out |= {k: x * (1 if unit is None else unit) for k, x in parts.items() if x is not None}
        return out


def check_scatter(s: float | u.Quantity | str | None) -> None:
    """Raise a ``ValueError`` for an `s` other than None, "local" and numbers of at least 0."""
    if s is None or (isinstance(s, str) and s == "local"):
        return
    value = s.value if isinstance(s, u.Quantity) and np.ndim(s) == 0 else s
    number = isinstance(value, Real | np.floating) and not isinstance(value, bool)
    if not (number and np.isfinite(value) and value >= 0):
        raise ValueError(f"s must be a number of at least 0, None or 'local', not {s!r:.60}.")
    check_size("s", float(value))


def _edges(values, name: str) -> np.ndarray:
    edges = np.asarray(values, dtype=float)
    if edges.ndim != 1 or edges.size < 2:
        raise ValueError(
            f"bins['{name}'] must be at least two edges in one row, but has shape {edges.shape}."
        )
    check_size(f"bins['{name}']", float(np.max(np.abs(edges), initial=0, where=edges < np.inf)))
    bad = ~np.isfinite(edges) | ~np.append(True, np.diff(edges) > 0)
    if bad.any():
        k = int(np.argmax(bad))
        raise ValueError(
            f"bins['{name}'] must be finite and increasing, but edge {k} is {edges[k]:g}"
            f"{f' after {edges[k - 1]:g}' if k else ''}."
        )
    return edges


def _axis(edges: np.ndarray) -> bh.axis.Axis:
    """Even edges need no search."""
    steps = np.diff(edges)
    if np.allclose(steps, steps.mean(), rtol=1e-9, atol=1e-12 * np.abs(edges).max()):
        return bh.axis.Regular(edges.size - 1, edges[0], edges[-1])
    return bh.axis.Variable(edges)


class Labels(NamedTuple):
    """Plain labels and errors of stars, shape (n,), NaN where missing, and their unit."""

    y: NDArray
    sigma: NDArray | None
    unit: u.UnitBase | None


def labels_of(label, label_err, n: int, marks: Sequence[float] | None = None) -> Labels:
    """The labels of `n` stars; a ``ValueError`` or `UnitError` for bad ones.

    Masked values are NaN, and so are `marks`; where these are None, surveys' marks of a missing
    value that stand out among the other labels or errors (see `stands_out`).  The error of a star
    without a label is not looked at.
    """
    label, label_err = with_unit(label, "label"), with_unit(label_err, "label_err")
    unit = getattr(label, "unit", None)
    if isinstance(label, u.Quantity) or isinstance(label_err, u.Quantity):
        own = u.dimensionless_unscaled if unit is None else unit
        if label_err is not None:
            label_err = internal(u.Quantity(label_err), own, "label_err")
        label = internal(u.Quantity(label), own, "label")
    unit = label_unit(unit)
    y = np.ravel(_unmarked(label, "label", marks))
    if y.size != n:
        raise ValueError(f"label must have one value a star, but has {y.size} for {n} stars.")
    if label_err is None:
        return Labels(y, None, unit)
    sigma = _unmarked(label_err, "label_err", marks)
    sigma = np.ravel(np.broadcast_to(sigma, (n,)) if sigma.ndim == 0 else sigma)
    if sigma.size != n:
        raise ValueError(
            f"label_err must have one value a star, but has {sigma.size} for {n} stars."
        )
    if np.fmin.reduce(sigma, initial=0.0) < 0:
        _check_negative(np.where(np.isfinite(y), sigma, np.nan), n)
    if marks is None and np.all(np.isnan(sigma)) and np.any(np.isfinite(y)):
        raise ValueError(
            "label_err must not be negative or NaN for all stars, but is, or a mark of a missing "
            "value such as -9999: give label_err=None where there are no errors."
        )
    return Labels(y, sigma, unit)


def _unmarked(values, name: str, marks: Sequence[float] | None) -> NDArray:
    """Plain numbers, NaN for masked ones and marks of missing ones."""
    plain = filled(values, name)
    missing = stands_out(values) if marks is None else is_missing(values, marks)
    return np.where(missing, np.nan, plain) if missing.any() else plain


def _check_negative(sigma: NDArray, n: int) -> None:
    if (bad := sigma < 0).any():
        raise ValueError(
            f"label_err must not be negative, but is for {bad.sum()} of {n} stars with a label "
            f"(the smallest: {np.nanmin(sigma):g}): leave those stars out, or make these errors "
            "NaN or, in files, one of the numbers that `missing` names."
        )
