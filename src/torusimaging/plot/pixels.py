"""A map's pixels on a grid, however they were given."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..arguments import real_number
from ..coordinates import VERTICAL, Plane
from ..data.pixels import as_dictionary
from ..units import internal, plain, plane_units

# Coordinates closer than this part of their range are one row of the grid.
SAME = 1e-6
# A list of pixels that fills less than 1/SPARSE of its grid is drawn as points.
SPARSE = 4


@dataclass(frozen=True)
class Pixels:
    """Pixel centres as flat arrays and, where they lie on a grid, its edges and their places.

    `pos`, `vel`, shape (n,), in `units`; `pos_edges`, `vel_edges` and `cell` (two index arrays of
    shape (n,)) are None for pixels on no grid.
    """

    pos: NDArray[np.float64]
    vel: NDArray[np.float64]
    units: tuple[u.UnitBase, u.UnitBase]
    shape: tuple[int, ...]
    pos_edges: NDArray[np.float64] | None = None
    vel_edges: NDArray[np.float64] | None = None
    cell: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None

    @classmethod
    def of(cls, data: dict, names: tuple[str, ...], usys=None) -> "Pixels":
        """The pixels of the binned map `data`, which must hold pos, vel and `names`.

        Raises ``ValueError`` for missing entries, unequal shapes or coordinates that are not
        finite, `UnitError` for coordinates without units and for a `usys` that is none.
        """
        data, wanted = as_dictionary(data), ("pos", "vel", *names)
        missing = [n for n in wanted if n not in data]
        if missing:
            raise ValueError(
                f"binned_data must have {', '.join(wanted)}, but {', '.join(missing)} is missing "
                f"(given: {', '.join(map(str, data))})."
            )
        units = (VERTICAL.pos.shown, VERTICAL.vel.shown) if usys is None else plane_units(usys)
        pos, vel = (
            internal(data[n], unit, f"binned_data['{n}']")
            for n, unit in zip(("pos", "vel"), units, strict=True)
        )
        shapes = {"pos": pos.shape, "vel": vel.shape} | {n: np.shape(data[n]) for n in names}
        if len(set(shapes.values())) > 1 or pos.size == 0:
            text = ", ".join(f"{n} {s}" for n, s in shapes.items())
            raise ValueError(
                f"the arrays of binned_data must have one shape and a pixel, but have: {text}."
            )
        flat = pos.ravel(), vel.ravel()
        n_bad = int(np.sum(~np.isfinite(flat[0]) | ~np.isfinite(flat[1])))
        if n_bad:
            raise ValueError(
                f"pos and vel of binned_data must be finite, but {n_bad} of {pos.size} are not."
            )
        edges = _given_edges(data, units) or tuple(map(_edges, flat))
        cell = _cells(flat, edges)
        if cell is None:
            return cls(*flat, units, pos.shape)
        return cls(*flat, units, pos.shape, *edges, cell)

    def values(self, x, name: str) -> NDArray[np.float64]:
        """`x` as a flat float array with NaN where masked; its shape must be the map's."""
        x = plain(getattr(x, "value", x), name)
        if x.shape != self.shape:
            raise ValueError(
                f"{name} must have the shape of the map, {self.shape}, but has {x.shape}."
            )
        return x.ravel()

    def grid(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Flat values on the grid (n_pos, n_vel), NaN where there is no pixel."""
        if self.pos_edges is None or self.vel_edges is None or self.cell is None:
            raise ValueError("these pixels lie on no grid.")
        out = np.full((self.pos_edges.size - 1, self.vel_edges.size - 1), np.nan)
        out[self.cell] = values
        return out

    def smooth(self, values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
        """Flat values after a Gaussian filter of `sigma` pixels that skips NaN; NaN stays NaN."""
        allowed = "a number of pixels > 0"
        sigma = real_number(sigma, "smooth_residual", allowed, lambda x: 0 < x <= 1000)
        if self.cell is None:
            raise ValueError(
                "smooth_residual needs pixels on a grid, but those of binned_data lie on none."
            )
        grid = self.grid(values)
        good = np.isfinite(grid)
        # The filtered weights say how much of the kernel fell on pixels with a value.
        total = gaussian_filter(np.where(good, grid, 0.0), sigma, mode="constant")
        weight = gaussian_filter(good.astype(float), sigma, mode="constant")
        smooth = np.where(good, total / np.where(good, weight, 1.0), np.nan)
        return smooth[self.cell]

    def draw(self, ax: Axes, values: NDArray[np.float64], **style) -> Collection:
        """Draw flat values over (vel, pos); returns what a colour bar needs."""
        if self.pos_edges is None or self.vel_edges is None:
            good = np.isfinite(values)
            drawn = ax.scatter(
                self.vel[good], self.pos[good], c=values[good], marker="s", s=12, lw=0, **style
            )
        else:
            # Vector pixels show seams and make large files.
            drawn = ax.pcolormesh(
                self.vel_edges,
                self.pos_edges,
                np.ma.masked_invalid(self.grid(values)),
                rasterized=True,
                **style,
            )
        return drawn

    def contour(self, ax: Axes, values: NDArray[np.float64], levels: NDArray) -> None:
        """Draw lines of equal flat values, where the pixels lie on a grid."""
        if self.pos_edges is None or self.vel_edges is None:
            return
        centres = [(e[1:] + e[:-1]) / 2 for e in (self.vel_edges, self.pos_edges)]
        levels = np.unique(levels[np.isfinite(levels)])
        grid = np.ma.masked_invalid(self.grid(values))
        # A label that is the same everywhere, or a row of pixels, has no contour.
        if levels.size > 1 and min(grid.shape) > 1:
            ax.contour(*centres, grid, levels=levels, colors="k", linewidths=0.7, alpha=0.8)

    def axis_labels(self, plane: Plane = VERTICAL) -> tuple[str, str]:
        """Texts of the vel and pos axes."""
        pos, vel = self.units
        return plane.vel.text(vel), plane.pos.text(pos)


def _given_edges(data: dict, units) -> tuple | None:
    if "pos_edges" not in data or "vel_edges" not in data:
        return None
    names = ("pos_edges", "vel_edges")
    return tuple(
        internal(data[n], unit, f"binned_data['{n}']") for n, unit in zip(names, units, strict=True)
    )


def _edges(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges between the distinct values of `x`; empty with fewer than two of them."""
    x = np.sort(x)
    new = np.diff(x, prepend=-np.inf) > SAME * (x[-1] - x[0])
    centres = x[new]
    if centres.size < 2:
        return np.zeros(0)
    steps = np.diff(centres)
    multiples = steps / steps.min()
    # Rows without any pixel are gaps of an even grid, not wide pixels.
    if np.all(np.abs(multiples - np.round(multiples)) < 0.05):
        n = int(np.round(multiples).sum()) + 1
        if n <= SPARSE * centres.size:
            centres = np.linspace(centres[0], centres[-1], n)
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _cells(points, edges) -> tuple | None:
    """Where each pixel lies on the grid; None unless every pixel has a cell of its own."""
    if min(e.size for e in edges) < 2:
        return None
    places = [np.searchsorted(e, x, side="right") - 1 for e, x in zip(edges, points, strict=True)]
    shape = [e.size - 1 for e in edges]
    if any(np.any((i < 0) | (i >= n)) for i, n in zip(places, shape, strict=True)):
        return None
    flat = places[0] * shape[1] + places[1]
    if np.unique(flat).size < flat.size or shape[0] * shape[1] > SPARSE * flat.size:
        return None
    return places[0], places[1]
