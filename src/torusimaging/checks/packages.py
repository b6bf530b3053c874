"""Potentials of galpy, gala and Agama along the vertical line at one radius, and stated frames."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import astropy.units as u
import numpy as np
from numpy.typing import NDArray

from ..foliation.density import G
from ..units import internal

VELOCITY = u.kpc / u.Myr
FORCE = u.kpc / u.Myr**2
PACKAGES = ("agama", "gala", "galpy")  # Agama's hybrids are galpy potentials, too
STEP = 1e-3  # kpc: half the distance over which a density is the slope of a_z
# Up to this version galpy's own finders lose four digits with their default quadratures.
LAST_COARSE = (1, 12, 0)
NUMBER = r"[=:]?\s*([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*(kpc|pc)\b"
STATED = {
    "R0": (re.compile(rf"\b(?:R_?0|R_sun|galcen_distance)\s*{NUMBER}"), u.kpc, 5e-3),
    "z_sun": (re.compile(rf"\b(?:z_?sun|Z_sun|z_?0)\s*{NUMBER}"), u.pc, 0.5),
}


@dataclass(frozen=True)
class Line:
    """A potential along a vertical line: functions of the height z (kpc, plain arrays).

    `potential` is in kpc^2/Myr^2 and `acceleration` in kpc/Myr^2; `name` says in words whose it
    is and where the line stands, `notes` what else to know of it, one sentence each; `radius` is
    in kpc, None for a potential of one dimension.
    """

    name: str
    potential: Callable[[NDArray], NDArray]
    acceleration: Callable[[NDArray], NDArray]
    notes: tuple[str, ...] = ()
    radius: float | None = None

    def density(self, z: NDArray) -> NDArray:
        """-(da/dz) / (4 pi G) in Msun/kpc^3, the density by the one-dimensional Poisson equation.

        It is what a fit's profiles call rho: without the radial term of the full equation.
        """
        z = np.asarray(z, dtype=float)
        rise = self.acceleration(z + STEP) - self.acceleration(z - STEP)
        return -rise / (8 * np.pi * G * STEP)

    def surface_density(self, z: NDArray) -> NDArray:
        """[a(-|z|) - a(|z|)] / (4 pi G) in Msun/kpc^2, a fit's Sigma within +-z."""
        z = np.abs(z)
        return (self.acceleration(-z) - self.acceleration(z)) / (4 * np.pi * G)


def package_of(potential: Any) -> str:
    """The package whose class a potential, or the first of a list of them, is; "" for none."""
    parts = list(_parts(potential))
    homes = {c.__module__.split(".")[0] for c in type(parts[0]).__mro__} if parts else set()
    return next((p for p in PACKAGES if p in homes), "")


def title_of(potential: Any) -> str:
    """The class of a potential, or those of a list of them, in words."""
    return " + ".join(map(_title, _parts(potential))) or "an empty list"


def _title(part: Any) -> str:
    if isinstance(part, type):
        return f"the class {part.__name__} itself"
    home = type(part).__module__.split(".")[0]
    known = home in (*PACKAGES, "builtins", "__main__") or package_of(part)
    return type(part).__name__ + ("" if known else f" of {home}")


def radius_of(R: u.Quantity | None, potential: Any) -> float:
    """The radius in kpc.  Raises ``ValueError`` unless it is one positive length."""
    if R is None:
        raise ValueError(
            f"R must be given, a length, for the potential {title_of(potential)}, which "
            "has more than one dimension."
        )
    radius = internal(R, u.kpc, "R")
    if radius.size != 1 or not (np.isfinite(radius).all() and radius.min() > 0):
        raise ValueError(f"R must be one positive length, but {R} was given.")
    return float(radius.ravel()[0])


def vertical_line(potential: Any, R: u.Quantity | None) -> Line:
    """The line at `R` of a galpy, gala or Agama potential or of a list of them.

    A one-dimensional potential of galpy needs no radius.  Raises ``ValueError`` for an object of
    another kind, a missing or unusable R, and a potential without a finite value at (R, z = 0).
    """
    kind = package_of(potential)
    parts = list(_parts(potential))
    if kind and any(package_of(part) != kind for part in parts):
        raise ValueError(
            f"a list of potentials must be of one package, but {title_of(parts)} was given, of "
            f"{' and '.join(dict.fromkeys(package_of(p) or 'none' for p in parts))}."
        )
    if not kind:
        raise ValueError(
            "potential must be one of galpy, gala, Agama or torusimaging.mock, or a mapping with "
            f"J, theta and Omega, but {title_of(potential)} was given."
        )
    line = {"gala": _gala, "galpy": _galpy, "agama": _agama}[kind](parts, R)
    try:
        start = line.potential(np.zeros(1)), line.acceleration(np.zeros(1))
    except Warning:  # a caller's own wish to stop at warnings
        raise
    except Exception as error:  # whatever another package's class may raise
        text = f"{type(error).__name__} {error}".splitlines()[0]
        raise ValueError(f"{line.name} cannot be evaluated at z = 0: {text}.") from error
    if not np.isfinite(start[0]).all():
        raise ValueError(f"{line.name} has no finite value at z = 0: R lies outside its range.")
    return line


def _parts(potential: Any) -> Iterator[Any]:
    if isinstance(potential, list | tuple):
        for part in potential:
            yield from _parts(part)
    else:
        yield potential


def _sum(functions: list[Callable[[NDArray], NDArray]]) -> Callable[[NDArray], NDArray]:
    return lambda z: np.sum([f(z) for f in functions], axis=0)


def _place(parts: list, radius: float, package: str) -> str:
    return f"{title_of(parts)} ({package}) at R = {radius:g} kpc"


def _round(name: str, at_azimuth: Callable[[float], Callable]) -> str:
    """The line's name, which says where it stands in a potential that is not axisymmetric."""
    z = np.array([0.0, 0.5, 1.0])
    try:
        rises = [np.diff(at_azimuth(phi)(z)) for phi in np.linspace(0, 2 * np.pi, 9)[:-1]]
    except Exception:  # the line itself says later why it has no value
        return name
    spread = np.ptp(rises, axis=0) / np.abs(np.mean(rises, axis=0))
    if not np.max(spread) > 1e-6:
        return name
    return (
        f"{name} and azimuth 0 (x = R, y = 0) of a potential that is not axisymmetric: from z = 0 "
        f"to 1 kpc it varies by {100 * np.max(spread):.2g} % with azimuth"
    )


def _gala(parts: list, R: u.Quantity | None) -> Line:
    from gala.potential import Hamiltonian, PotentialBase  # pyright: ignore[reportMissingImports]

    parts = [part.potential if isinstance(part, Hamiltonian) else part for part in parts]
    for part in parts:
        if not isinstance(part, PotentialBase):
            raise ValueError(
                f"potential must be a gala potential, but gala's {type(part).__name__} was given."
            )
        if isinstance(part, dict) and not part:
            raise ValueError(f"the gala potential {type(part).__name__} has no component.")
        if "dimensionless" in str(part.units):
            raise ValueError(
                f"the gala potential {type(part).__name__} has no units: build it with "
                "units=gala.units.galactic and quantities."
            )
    radius = radius_of(R, parts)

    def at_azimuth(phi: float, verb: str, unit: u.UnitBase):
        def along(part):
            def value(z):
                x, y = radius * np.cos(phi), radius * np.sin(phi)
                z = np.asarray(z, dtype=float)
                xyz = np.stack([np.full(z.size, x), np.full(z.size, y), z.ravel()]) * u.kpc
                found = getattr(part, verb)(xyz).to_value(unit)
                return (found[2] if verb == "acceleration" else found).reshape(z.shape)

            return value

        return _sum([along(part) for part in parts])

    name = _round(_place(parts, radius, "gala"), lambda phi: at_azimuth(phi, "energy", VELOCITY**2))
    energy, pull = (
        at_azimuth(0.0, verb, unit)
        for verb, unit in (("energy", VELOCITY**2), ("acceleration", FORCE))
    )
    return Line(name, energy, pull, radius=radius)


def _galpy(parts: list, R: u.Quantity | None) -> Line:
    import galpy  # pyright: ignore[reportMissingImports]
    import galpy.potential as library  # pyright: ignore[reportMissingImports]

    flat = all(isinstance(part, library.linearPotential) for part in parts)
    if not flat and not all(isinstance(part, library.Potential) for part in parts):
        raise ValueError(
            "a galpy potential must be of three dimensions or all of one (linearPotential), but "
            f"{title_of(parts)} was given."
        )
    radius = 0.0 if flat else radius_of(R, parts)
    scales, words = _galpy_scales(parts)

    def at_azimuth(phi: float, verbs: tuple[str, str], power: int):
        def along(part, ro, vo):
            evaluate = getattr(library, verbs[0] if flat else verbs[1])
            place = () if flat else (radius / ro,)
            more = {} if flat else {"phi": phi}

            def value(z):
                # One height at a time: not every galpy potential takes arrays.
                z = np.asarray(z, dtype=float)
                found = [
                    evaluate(part, *place, float(x) / ro, use_physical=False, **more)
                    for x in z.ravel()
                ]
                return vo**2 / ro**power * np.array(found, dtype=float).reshape(z.shape)

            return value

        return _sum([along(*one) for one in zip(parts, *scales, strict=True)])

    potentials = "evaluatelinearPotentials", "evaluatePotentials"
    forces = "evaluatelinearForces", "evaluatezforces"
    name = f"{title_of(parts)} (galpy, one-dimensional)"
    if not flat:
        name = _round(_place(parts, radius, "galpy"), lambda phi: at_azimuth(phi, potentials, 0))
    return Line(
        name,
        at_azimuth(0.0, potentials, 0),
        at_azimuth(0.0, forces, 1),
        (words, *_galpy_age(galpy.__version__)),
        None if flat else radius,
    )


def _galpy_scales(parts: list) -> tuple[tuple[list[float], list[float]], str]:
    """(ro, vo) in kpc and kpc/Myr of each potential, and a sentence on where they are from.

    A potential without its own ro or vo takes that of the first in the list that has one.
    """
    from galpy.util.config import __config__  # pyright: ignore[reportMissingImports]
    from galpy.util.conversion import get_physical  # pyright: ignore[reportMissingImports]

    each = [get_physical(part, include_set=True) for part in parts]
    out, words = [], []
    for name, unit in (("ro", "kpc"), ("vo", "km/s")):
        default = float(__config__.get("normalization", name))
        # Physical output switched off leaves the potential the scale that it was built with.
        own = [float(e[name]) if e[f"{name}Set"] or e[name] != default else None for e in each]
        usual = next((scale for scale in own if scale is not None), default)
        out.append([usual if scale is None else scale for scale in own])
        whose = "galpy's default" if all(s is None for s in own) else "the potential's own"
        words.append(f"{name} = {usual:g} {unit} ({whose})")
    factor = (u.km / u.s).to(VELOCITY)
    return (out[0], [v * factor for v in out[1]]), f"galpy's scales are {' and '.join(words)}."


def _galpy_age(version: str) -> tuple[str, ...]:
    numbers = tuple(int(x) for x in re.findall(r"\d+", version)[:3])
    if numbers > LAST_COARSE:
        return ()
    return (
        f"galpy {version} is installed: up to 1.12.0 the default quadratures of its own "
        "actionAngleAdiabatic and actionAngleStaeckel are off by 1e-4 to 5e-4; the vertical orbits "
        "here do not use them.",
    )


@dataclass(frozen=True)
class AgamaUnits:
    """The units in which Agama's functions speak, as the user set them: kpc, kpc/Myr and Myr."""

    length: float
    velocity: float
    time: float
    mass: float  # Msun

    @classmethod
    def current(cls) -> "AgamaUnits":
        """Those in force.  Raises ``ValueError`` where Agama is absent or its units are not set.

        They are one setting for the whole process: potentials built before a change would give
        other numbers after it, so they are read here and never set.
        """
        try:
            import agama  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ValueError(
                "Agama is not installed: build it with `pip install agama` (a C++ compiler and "
                "GSL are needed), or use method='vertical'."
            ) from None
        found = agama.getUnits() if hasattr(agama, "getUnits") else {}
        if not found:
            raise ValueError(
                "Agama's units are not set, so its numbers mean nothing in kpc and Myr: call "
                "agama.setUnits(length=1, time=1, mass=1) before you build the potential."
            )
        units = {"length": u.kpc, "velocity": u.km / u.s, "time": u.Myr, "mass": u.Msun}
        plain = {k: float(u.Quantity(found[k], unit).value) for k, unit in units.items()}
        plain["velocity"] *= (u.km / u.s).to(VELOCITY)
        return cls(**plain)


def _agama(parts: list, R: u.Quantity | None) -> Line:
    radius = radius_of(R, parts)
    units = AgamaUnits.current()

    def along(part, verb: str, unit: float):
        def value(z):
            z = np.asarray(z, dtype=float)
            xyz = np.stack([np.full(z.size, radius), np.zeros(z.size), z.ravel()], axis=1)
            found = np.asarray(getattr(part, verb)(xyz / units.length), dtype=float)
            return unit * (found[:, 2] if verb == "force" else found).reshape(z.shape)

        return value

    pull = units.velocity / units.time
    return Line(
        _place(parts, radius, "agama"),
        _sum([along(part, "potential", units.velocity**2) for part in parts]),
        _sum([along(part, "force", pull) for part in parts]),
        radius=radius,
    )


def stated_frame(frame: Any) -> dict[str, float]:
    """R0 (kpc) and z_sun (pc) as far as a frame states them: words, or an object that has them."""
    out = {}
    for name, (pattern, unit, _) in STATED.items():
        own = getattr(frame, name, None)
        if isinstance(own, u.Quantity):
            out[name] = float(own.to_value(unit))
        elif isinstance(frame, str) and (found := pattern.search(frame)):
            out[name] = float(u.Quantity(float(found[1]), found[2]).to_value(unit))
    return out


def frame_notes(fitted: Any, radius: float | None, given: Any = None) -> tuple[str, ...]:
    """Sentences on where a reference's radius and frame are not those of the fit.

    `fitted` is the fit's frame, `radius` (kpc) where the reference was taken (None: it has none),
    `given` the frame in which the reference stands, where it is known.
    """
    own, other = stated_frame(fitted), stated_frame(given)
    out = []
    if radius is not None and "R0" not in own:
        out.append(
            f"The fit's frame ({fitted}) does not say R0: whether R = {radius:g} kpc is its "
            "Sun's is unknown."
        )
    elif radius is not None and abs(radius - own["R0"]) > STATED["R0"][2]:
        out.append(
            f"R = {radius:g} kpc differs from R0 = {own['R0']:g} kpc, the Sun's distance in the "
            "fit's frame."
        )
    for name, (_, unit, close) in STATED.items() if given is not None else ():
        if name not in own or name not in other:
            whose = "fit" if name not in own else "reference"
            out.append(f"The frame of the {whose} does not say {name}.")
        elif abs(own[name] - other[name]) > close:
            out.append(
                f"{name} is {other[name]:g} {unit} in the reference's frame, but {own[name]:g} "
                f"{unit} in the fit's."
            )
    return tuple(out)
