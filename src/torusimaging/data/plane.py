"""The phase plane that bins span: its units, pixels, and the checks at its door."""

from numbers import Real
from typing import NamedTuple

import astropy.units as u
import boost_histogram as bh
import numpy as np
from numpy.typing import NDArray

from ..units import internal, plane_units, with_unit
from .formats import filled
from .sums import Axes, Map

SPEED = u.km / u.s
MISSING = (-9999.0, -999.0)


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
            edges.append(_edges(given.value, name))
            own.append(given.unit)
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
            internal(x[:0] if np.ndim(x) else x, kind, name)
            value = (
                np.ma.filled(x.to_value(unit), np.nan) if hasattr(x, "mask") else x.to_value(unit)
            )
            values.append(np.ascontiguousarray(np.ravel(np.asarray(value, dtype=float))))
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
        return self.grid() | {
            "counts": made.counts,
            "label": made.label,
            "label_err": made.label_err,
            "pos_mean": means[0],
            "vel_mean": means[1],
            "s": made.s,
            "n_stars": made.census.n + made.census.n_not_finite,
            "n_not_finite": made.census.n_not_finite,
            "n_outside": int(made.census.n - made.counts.sum()),
        }


def check_scatter(s: float | str | None) -> None:
    """Raise a ``ValueError`` for an `s` other than None, "local" and numbers of at least 0."""
    if s is None or (isinstance(s, str) and s == "local"):
        return
    number = isinstance(s, Real) and not isinstance(s, bool)
    if not (number and np.isfinite(s) and s >= 0):
        raise ValueError(f"s must be a number of at least 0, None or 'local', not {s!r}.")


def _edges(values, name: str) -> np.ndarray:
    edges = np.asarray(values, dtype=float)
    if edges.ndim != 1 or edges.size < 2:
        raise ValueError(
            f"bins['{name}'] must be at least two edges in one row, but has shape {edges.shape}."
        )
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


def labels_of(label, label_err, n: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Plain labels and errors of `n` stars; a ``ValueError`` or `UnitError` for bad ones.

    Masked labels and those that are -9999 or -999, catalogues' marks of a missing value, are NaN.
    """
    label, label_err = with_unit(label, "label"), with_unit(label_err, "label_err")
    if isinstance(label, u.Quantity) or isinstance(label_err, u.Quantity):
        unit = getattr(label, "unit", u.dimensionless_unscaled)
        if label_err is not None:
            label_err = internal(u.Quantity(label_err), unit, "label_err")
        label = internal(u.Quantity(label), unit, "label")
    y = np.ravel(filled(label, "label"))
    missing = (y == MISSING[0]) | (y == MISSING[1])
    if missing.any():
        y = np.where(missing, np.nan, y)
    if y.size != n:
        raise ValueError(f"label must have one value a star, but has {y.size} for {n} stars.")
    if label_err is None:
        return y, None
    sigma = filled(label_err, "label_err")
    sigma = np.ravel(np.broadcast_to(sigma, (n,)) if sigma.ndim == 0 else sigma)
    if sigma.size != n:
        raise ValueError(
            f"label_err must have one value a star, but has {sigma.size} for {n} stars."
        )
    smallest = np.nanmin(sigma) if n and not np.all(np.isnan(sigma)) else 0.0
    if smallest < 0:
        raise ValueError(
            f"label_err must not be negative, but is for {np.sum(sigma < 0)} of {n} stars (the "
            f"smallest: {smallest:g}): leave those stars out."
        )
    return y, sigma
