r"""From the sky to Galactocentric cylindrical coordinates, with every parameter explicit.

Positions and velocities are x_gal = A x + x_0 and v_gal = A v + v_sun, with the matrix A and the
offset x_0 of Astropy's ``Galactocentric`` frame, read off its transformation of four points, so
that the frame is Astropy's to rounding; the stars then cost a few vector operations.

As in Astropy and gala the Sun is at x = -R0, so that the disc turns towards negative phi: v_phi
and L_z of disc stars are negative.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np

from ..arguments import mapping, nearest, shown
from ..units import internal, with_unit

if TYPE_CHECKING:
    import astropy.coordinates as coord

KMS = u.km / u.s
# (1 mas/yr * 1 kpc).to("km/s", u.dimensionless_angles())
TRANSVERSE = 4.740470463533349
COORDINATES = ("x", "y", "z", "v_x", "v_y", "v_z")
CHUNK = 2**16  # stars at a time: the work arrays stay in the cache


@dataclass(frozen=True, eq=False)
class Frame:
    """A Galactocentric frame: where the Sun is, how it moves, and where the centre is seen.

    Parameters
    ----------
    R0 : quantity (length), the Sun's distance from the Galactic centre, in Astropy's sense
        (``galcen_distance``)
    z_sun : quantity (length), the Sun's height above the frame's plane
    v_sun : quantity (speed), shape (3,), the Sun's velocity (x to the centre, y with the rotation,
        z to the north pole)
    galcen_ra, galcen_dec, roll : quantities (angle), the centre's place on the sky and the turn
        about the line of sight
    name : a word for it

    Raises `UnitError` for missing or wrong units and ``ValueError`` for values that are not
    finite, an R0 that is not positive or a |z_sun| of R0 or more.
    """

    R0: u.Quantity
    z_sun: u.Quantity = 20.8 * u.pc
    v_sun: u.Quantity = (12.9, 245.6, 7.78) * KMS
    galcen_ra: u.Quantity = 266.4051 * u.deg
    galcen_dec: u.Quantity = -28.936175 * u.deg
    roll: u.Quantity = 0 * u.deg
    name: str = "own"

    def __post_init__(self):
        units = {"R0": u.kpc, "z_sun": u.pc, "v_sun": KMS}
        units |= dict.fromkeys(("galcen_ra", "galcen_dec", "roll"), u.deg)
        if not isinstance(self.name, str):
            raise ValueError(f"name must be a text, but {shown(self.name)} was given.")
        for name, unit in units.items():
            value = internal(getattr(self, name), unit, name)
            shape = (3,) if name == "v_sun" else ()
            if value.shape != shape or not np.all(np.isfinite(value)):
                wanted = "three finite speeds" if shape else "one finite value"
                raise ValueError(f"{name} must be {wanted}, but {getattr(self, name)} was given.")
            object.__setattr__(self, name, value * unit)
        if not abs(self.galcen_dec.to_value(u.deg)) <= 90:
            raise ValueError(
                f"galcen_dec must lie between -90 and 90 deg, but {self.galcen_dec} was given."
            )
        if not self.R0.value > 0 or abs(self.z_sun.to_value(u.kpc)) >= self.R0.value:
            raise ValueError(
                f"R0 must be positive and larger than |z_sun|, but R0 = {self.R0} and z_sun = "
                f"{self.z_sun} were given."
            )

    @cached_property
    def astropy(self) -> "coord.Galactocentric":
        """The same frame as an Astropy object."""
        # Slow to import, and most of the package needs no sky.
        import astropy.coordinates as coord

        return coord.Galactocentric(
            galcen_coord=coord.ICRS(ra=self.galcen_ra, dec=self.galcen_dec),
            galcen_distance=self.R0,
            z_sun=self.z_sun,
            galcen_v_sun=coord.CartesianDifferential(self.v_sun),
            roll=self.roll,
        )

    @cached_property
    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """The matrix A, shape (3, 3), and the offset x_0 (kpc), shape (3,), from ICRS."""
        import astropy.coordinates as coord

        points = np.concatenate([np.zeros((1, 3)), np.eye(3)])
        icrs = coord.ICRS(coord.CartesianRepresentation(points.T * u.kpc))
        with coord.galactocentric_frame_defaults.set("v4.0"):
            there = icrs.transform_to(self.astropy).cartesian.xyz.to_value(u.kpc)
        return there[:, 1:] - there[:, :1], there[:, 0]

    def as_dict(self) -> dict[str, str]:
        """The parameters as text with units, by name; `Frame.from_dict` reads them."""
        out = {k: _text(v) for k, v in asdict(self).items() if isinstance(v, u.Quantity)}
        return out | {"name": self.name}

    @classmethod
    def from_dict(cls, values: Mapping[str, str]) -> "Frame":
        """The frame that `as_dict` wrote down."""
        if missing := {"R0", "v_sun"} - set(mapping(values, "a frame")):
            raise ValueError(f"a frame must have {', '.join(sorted(missing))}, but has not.")
        own = {}
        for name, text in values.items():
            if name not in cls.__dataclass_fields__:
                known = nearest(name, cls.__dataclass_fields__)
                raise ValueError(f"a frame has no {name!r}{known}")
            own[name] = text if name == "name" else _read_text(text, name)
        return cls(**own)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frame) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash(tuple(self.as_dict().items()))

    def __str__(self) -> str:
        text = ", ".join(f"{k} = {v}" for k, v in self.as_dict().items() if k != "name")
        return f"{self.name}: {text}"


def _text(q: u.Quantity) -> str:
    if q.ndim:
        return f"({', '.join(repr(float(x)) for x in q.value)}) {q.unit}"
    return f"{float(q.value)!r} {q.unit}"


def _read_text(text: str, name: str) -> u.Quantity:
    """What `_text` wrote; a ``ValueError`` for anything else."""
    try:
        if not isinstance(text, str):
            raise TypeError
        if not text.startswith("("):
            return u.Quantity(text)
        values, unit = text[1:].split(")")
        return [float(part) for part in values.split(",")] * u.Unit(unit)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} of a frame must be a text such as '8.3 kpc' or '(12.9, 245.6, 7.78) km / s', "
            f"but {shown(text)} was given."
        ) from None


# Frames of the published samples.  The tutorial's solar motion is Astropy's default set "v4.0",
# written out here; Horta et al. 2024 give R0 and the velocity, the rest is the same set.
FRAMES: Mapping[str, Frame] = MappingProxyType(
    {
        "tutorial": Frame(8.3 * u.kpc, name="tutorial"),
        "horta24": Frame(8.275 * u.kpc, v_sun=(8.4, 251.8, 8.4) * KMS, name="horta24"),
    }
)


@dataclass(frozen=True)
class Galactocentric:
    """Places and velocities of stars in a frame, shape (n_stars,) each.

    x, y, z, R (kpc), phi (rad, as Astropy and gala count it: the Sun is at pi), v_x, v_y, v_z,
    v_R, v_phi (km/s) and L_z (kpc km/s, negative with the disc's rotation).
    """

    x: u.Quantity
    y: u.Quantity
    z: u.Quantity
    v_x: u.Quantity
    v_y: u.Quantity
    v_z: u.Quantity
    frame: Frame

    def take(self, kept: np.ndarray) -> "Galactocentric":
        """The stars with the indices `kept`."""
        columns = {k: getattr(self, k) for k in COORDINATES}
        return replace(self, **{k: np.asarray(q.value)[kept] * q.unit for k, q in columns.items()})

    @property
    def R(self) -> u.Quantity:
        return np.hypot(self.x, self.y)

    @property
    def phi(self) -> u.Quantity:
        return np.arctan2(self.y, self.x)

    @property
    def L_z(self) -> u.Quantity:
        return self.x * self.v_y - self.y * self.v_x

    @property
    def v_R(self) -> u.Quantity:
        return (self.x * self.v_x + self.y * self.v_y) / self.R

    @property
    def v_phi(self) -> u.Quantity:
        return self.L_z / self.R


@dataclass(frozen=True)
class Sky:
    """Unit vectors of stars in the frame's axes: to the star, to growing ra, to growing dec."""

    radial: np.ndarray  # shape (3, n)
    ra: np.ndarray
    dec: np.ndarray

    @classmethod
    def towards(cls, ra: np.ndarray, dec: np.ndarray, matrix: np.ndarray) -> "Sky":
        """The vectors at (ra, dec) in radians, turned by `matrix`."""
        ca, sa, cd, sd = np.cos(ra), np.sin(ra), np.cos(dec), np.sin(dec)
        zero = np.zeros_like(ca)
        vectors = ((cd * ca, cd * sa, sd), (-sa, ca, zero), (-sd * ca, -sd * sa, cd))
        return cls(*(matrix @ np.stack(v) for v in vectors))


def to_galactocentric(
    frame: Frame,
    ra: u.Quantity,
    dec: u.Quantity,
    distance: u.Quantity,
    pmra: u.Quantity,
    pmdec: u.Quantity,
    radial_velocity: u.Quantity,
) -> Galactocentric:
    """Galactocentric places and velocities of stars.

    Parameters
    ----------
    frame : the frame
    ra, dec : quantities (angle), shape (n_stars,), ICRS
    distance : quantity (length), or a parallax (angle), whose inverse is taken
    pmra, pmdec : quantities (angle / time); pmra includes cos(dec)
    radial_velocity : quantity (speed), heliocentric

    Stars with a value that is not finite, or a parallax or distance that is not positive, are NaN
    in all coordinates; `torusimaging.catalog.measured` counts them.  Equal to Astropy's
    ``SkyCoord.transform_to`` to rounding.

    Raises `UnitError` for missing or wrong units and ``ValueError`` for unequal lengths.
    """
    if not isinstance(frame, Frame):
        raise ValueError(f"frame must be a Frame, such as FRAMES['tutorial'], not {frame!r}.")
    columns = plain_observables(ra, dec, distance, pmra, pmdec, radial_velocity)
    n = columns[0].size
    matrix, offset = frame.affine
    v_sun = np.asarray(frame.v_sun.to_value(KMS))
    out = np.empty((6, n))
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        a, d, dist, mu_a, mu_d, v_r = (column[part] for column in columns)
        sky = Sky.towards(a, d, matrix)
        k = TRANSVERSE * dist
        out[:3, part] = sky.radial * dist + offset[:, None]
        out[3:, part] = (
            sky.radial * v_r + sky.ra * (k * mu_a) + sky.dec * (k * mu_d) + v_sun[:, None]
        )
    out[:, ~np.all(np.isfinite(out), axis=0)] = np.nan
    return Galactocentric(*(row * u.kpc for row in out[:3]), *(row * KMS for row in out[3:]), frame)


def plain_observables(ra, dec, distance, pmra, pmdec, radial_velocity) -> list[np.ndarray]:
    """Plain columns of the observables: rad, rad, kpc, mas/yr, mas/yr, km/s.

    Raises `UnitError` for missing or wrong units and ``ValueError`` for unequal lengths.
    """
    columns = [
        np.ravel(internal(ra, u.rad, "ra")),
        np.ravel(internal(dec, u.rad, "dec")),
        np.ravel(plain_distance(distance)),
        np.ravel(internal(pmra, u.mas / u.yr, "pmra")),
        np.ravel(internal(pmdec, u.mas / u.yr, "pmdec")),
        np.ravel(internal(radial_velocity, KMS, "radial_velocity")),
    ]
    if any(column.size != columns[0].size for column in columns):
        raise ValueError(
            "ra, dec, distance, pmra, pmdec and radial_velocity must have equal length, but have "
            f"{', '.join(str(column.size) for column in columns)} stars."
        )
    return columns


def is_parallax(distance: u.Quantity) -> bool:
    """Whether a quantity, or a table's column with a unit, is an angle."""
    distance = with_unit(distance, "distance")
    return isinstance(distance, u.Quantity) and u.Unit(distance.unit).is_equivalent(u.mas)


def plain_distance(distance: u.Quantity) -> np.ndarray:
    """A distance, or the inverse of a parallax, in kpc; NaN where it is not positive."""
    if is_parallax(distance):
        parallax = internal(distance, u.mas, "parallax")
        # 1 kpc at 1 mas, to 1e-16: the parsec is defined by small angles.
        return 1 / np.where(parallax > 0, parallax, np.nan)
    kpc = internal(distance, u.kpc, "distance")
    return np.where(kpc > 0, kpc, np.nan)
