r"""Selections of disc stars: volume, guiding radius, velocities, parameters and abundances.

The guiding radius is R_g = |L_z| / v_c.  Where the circular velocity changes with radius,
v_c(R) = v0 + slope (R - R_ref), the published selections evaluate it at the star's own radius;
the radius of the circular orbit with the star's angular momentum solves R_g v_c(R_g) = |L_z|.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real

import astropy.units as u
import numpy as np

from ..arguments import positive, texts, truth
from ..files.formats import as_floats
from ..units import internal
from .frames import KMS, Galactocentric

SLOPE = KMS / u.kpc


@dataclass(frozen=True)
class RotationCurve:
    """A straight circular-velocity curve v_c(R) = v0 + slope (R - R_ref).

    Parameters
    ----------
    v0 : quantity (speed), > 0
    slope : quantity (speed / length)
    R_ref : quantity (length)
    at : "guiding": R_g solves R_g v_c(R_g) = |L_z|; "star": v_c at the star's radius

    Raises `UnitError` for missing or wrong units and ``ValueError`` for a v0 that is not positive
    or an unknown `at`.
    """

    v0: u.Quantity = 229 * KMS
    slope: u.Quantity = 0 * SLOPE
    R_ref: u.Quantity = 8.275 * u.kpc
    at: str = "guiding"

    def __post_init__(self):
        if self.v0 is None:
            raise ValueError("v0 must be positive, but None was given.")
        _positive(self.v0, KMS, "v0")
        for name, unit in (("slope", SLOPE), ("R_ref", u.kpc)):
            value = internal(getattr(self, name), unit, name)
            if value.ndim or not np.isfinite(value):
                raise ValueError(f"{name} must be one finite value, not {getattr(self, name)}.")
        if self.at not in ("guiding", "star"):
            raise ValueError(f"at must be 'guiding' or 'star', but {self.at!r} was given.")

    def guiding_radius(self, L_z: u.Quantity, R: u.Quantity | None = None) -> u.Quantity:
        """The guiding radius of stars with angular momentum `L_z` (either sign), in kpc.

        `R`, the stars' own radius, is needed for ``at="star"``.  NaN where the curve has no
        circular orbit of that angular momentum, or has fallen to zero at the star.
        """
        L = np.abs(internal(L_z, KMS * u.kpc, "L_z"))
        v0, slope = self.v0.to_value(KMS), self.slope.to_value(SLOPE)
        R_ref = self.R_ref.to_value(u.kpc)
        if self.at == "star" and slope:
            if R is None:
                raise ValueError("R must be given for a curve at the stars' own radius.")
            speed = v0 + slope * (internal(R, u.kpc, "R") - R_ref)
            return L / np.where(speed > 0, speed, np.nan) * u.kpc
        intercept = v0 - slope * R_ref
        root = intercept**2 + 4 * slope * L
        root = np.sqrt(np.where(root >= 0, root, np.nan))
        if intercept <= 0:
            # A curve that starts from zero outside the centre, if it rises at all.
            return (root - intercept) / (2 * slope if slope > 0 else np.nan) * u.kpc
        # The root that tends to L / intercept for a flat curve, without its cancellation.
        return 2 * L / (intercept + root) * u.kpc

    def speed(self, R: u.Quantity) -> u.Quantity:
        """The circular velocity at `R`."""
        distance = internal(R, u.kpc, "R") * u.kpc - self.R_ref
        return (self.v0 + self.slope * distance).to(KMS)


@dataclass(frozen=True)
class Selection:
    """Cuts on places, velocities, stellar parameters and abundances; None leaves one out.

    Parameters
    ----------
    R : (low, high), quantities (length): low < R < high
    y_max, z_max : quantities (length): |y| < y_max, |z| < z_max
    vz_max, vR_max : quantities (speed): |v_z| < vz_max, |v_R| < vR_max
    rotation : the curve of the guiding radius
    R_g : (low, high), quantities (length): low < R_g < high
    dR_max : quantity (length): |R - R_g| < dR_max
    prograde : whether stars must turn with the disc, L_z < 0
    Lz_spread, Lz_radius : |L_z - L_0| < Lz_spread L_0 with L_0 = Lz_radius v_c(Lz_radius)
    parallax_over_error : parallaxes are kept where parallax / error is at least this
    ranges : (low, high) of columns by name: low < value < high
    polygon : vertices ((x, y), ...) in the columns `polygon_columns`, at least three; stars
        inside are kept, and one on an edge may be either
    """

    R: tuple[u.Quantity, u.Quantity] | None = None
    y_max: u.Quantity | None = None
    z_max: u.Quantity | None = None
    vz_max: u.Quantity | None = None
    rotation: RotationCurve = field(default_factory=RotationCurve)
    R_g: tuple[u.Quantity, u.Quantity] | None = None
    dR_max: u.Quantity | None = None
    prograde: bool = False
    vR_max: u.Quantity | None = None
    Lz_spread: float | None = None
    Lz_radius: u.Quantity | None = None
    parallax_over_error: float | None = None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    polygon: tuple[tuple[float, float], ...] | None = None
    polygon_columns: tuple[str, str] = ("FE_H", "MG_FE")

    def __post_init__(self):
        lengths = {name: getattr(self, name) for name in ("y_max", "z_max", "dR_max", "Lz_radius")}
        for name, value in lengths.items():
            _positive(value, u.kpc, name)
        for name in ("vz_max", "vR_max"):
            _positive(getattr(self, name), KMS, name)
        for name in ("R", "R_g"):
            object.__setattr__(self, name, _length_range(getattr(self, name), name))
        for name in ("parallax_over_error", "Lz_spread"):
            value = getattr(self, name)
            if value is not None:
                positive(value, name)
        if self.prograde is not None:
            truth(self.prograde, "prograde")
        if not isinstance(self.rotation, RotationCurve):
            raise ValueError(f"rotation must be a RotationCurve, not {self.rotation!r}.")
        if not isinstance(self.ranges, Mapping):
            raise ValueError(f"ranges must be (low, high) by column, not {self.ranges!r}.")
        for name, limits in self.ranges.items():
            if not _are_numbers(limits, 2) or not limits[0] < limits[1]:
                raise ValueError(f"the range of {name} must be (low, high), not {limits!r}.")
        if (self.Lz_spread is None) != (self.Lz_radius is None):
            raise ValueError("Lz_spread and Lz_radius must be given together.")
        if self.polygon is not None:
            vertices = list(self.polygon) if np.iterable(self.polygon) else ()
            good = all(_are_numbers(x, 2) and np.all(np.isfinite(x)) for x in vertices)
            if not good or len(vertices) < 3:
                raise ValueError("polygon must have three or more vertices (x, y), finite numbers.")
            if len(texts(self.polygon_columns, "polygon_columns")) != 2:
                raise ValueError(
                    f"polygon_columns must be two columns, not {self.polygon_columns}."
                )

    @property
    def columns(self) -> list[str]:
        """The columns of the catalogue that the selection needs beside the kinematics."""
        own = list(self.polygon_columns) if self.polygon is not None else []
        return [*dict.fromkeys([*self.ranges, *own])]

    def column_cuts(self, columns: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        """The cuts on the catalogue's columns: names and masks of the stars kept."""
        for name, (low, high) in self.ranges.items():
            values = as_floats(columns, name)
            yield f"{low:g} < {name} < {high:g}", (values > low) & (values < high)
        if self.polygon is not None:
            x, y = (as_floats(columns, name) for name in self.polygon_columns)
            yield f"polygon in {', '.join(self.polygon_columns)}", inside(self.polygon, x, y)

    def space_cuts(self, stars: Galactocentric) -> Iterator[tuple[str, np.ndarray]]:
        """The cuts on places and velocities: names and masks over all `stars` given."""
        R = stars.R
        if self.R is not None:
            low, high = (x.to(u.kpc) for x in self.R)
            yield f"{low.value:g} < R < {high.value:g} kpc", (R > low) & (R < high)
        for name, values, limit in (
            ("y", stars.y, self.y_max),
            ("z", stars.z, self.z_max),
            ("v_z", stars.v_z, self.vz_max),
        ):
            if limit is not None:
                yield f"|{name}| < {limit:g}", np.abs(values) < limit
        if self.prograde:
            yield "prograde", stars.L_z < 0
        if self.R_g is not None or self.dR_max is not None:
            yield from self._guiding_cuts(stars)
        if self.vR_max is not None:
            yield f"|v_R| < {self.vR_max:g}", np.abs(stars.v_R) < self.vR_max
        if self.Lz_spread is not None and self.Lz_radius is not None:
            L0 = self.Lz_radius * self.rotation.speed(self.Lz_radius)
            keep = np.abs(np.abs(stars.L_z) - L0) < self.Lz_spread * L0
            yield f"|L_z - L_0| < {self.Lz_spread:g} L_0", keep

    def _guiding_cuts(self, stars: Galactocentric) -> Iterator[tuple[str, np.ndarray]]:
        R_g = self.rotation.guiding_radius(stars.L_z, stars.R)
        if self.R_g is not None:
            low, high = (x.to(u.kpc) for x in self.R_g)
            yield f"{low.value:g} < R_g < {high.value:g} kpc", (R_g > low) & (R_g < high)
        if self.dR_max is not None:
            yield f"|R - R_g| < {self.dR_max:g}", np.abs(stars.R - R_g) < self.dR_max


def inside(vertices: Sequence[Sequence[float]], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether points lie inside a polygon, by the number of edges to their right (even-odd).

    `vertices` ((x, y), ...) need not be closed.  Points that are not finite are outside.
    """
    points = np.asarray(vertices, dtype=float)
    odd = np.zeros(np.shape(x), dtype=bool)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y1 == y2:
            continue
        spans = (y1 > y) != (y2 > y)
        odd ^= spans & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return odd & np.isfinite(x) & np.isfinite(y)


def _length_range(limits, name: str) -> tuple[u.Quantity, u.Quantity] | None:
    if limits is None:
        return None
    given = list(limits) if np.iterable(limits) else [limits]
    values = [internal(x, u.kpc, name) for x in given]
    if len(values) != 2 or not values[0] < values[1]:
        raise ValueError(f"{name} must be a range (low, high), but {limits} was given.")
    return given[0], given[1]


def _positive(value: u.Quantity | None, unit: u.UnitBase, name: str) -> None:
    if value is None:
        return
    plain = internal(value, unit, name)
    if plain.ndim or not plain > 0:
        raise ValueError(f"{name} must be positive, but {value} was given.")


def _are_numbers(values: object, n: int) -> bool:
    if not isinstance(values, Sequence | np.ndarray) or np.shape(values) != (n,):
        return False
    return all(isinstance(x, Real) for x in values)
