"""The model's actions, angles and frequencies beside those in a full Galactic potential."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import astropy.units as u
import jax.numpy as jnp
import numpy as np
from astropy.table import QTable, Table
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from ..coordinates import Points
from ..data.pixels import require_x64
from ..foliation.density import FOUR_PI_G, Side
from ..foliation.grid import OrbitGrid
from ..foliation.potential import PotentialFoliation
from ..foliation.potential_orbits import potential_orbits
from ..mock import Potential1D
from ..results.profiles import read_draws
from ..units import internal
from .packages import (
    VELOCITY,
    AgamaUnits,
    frame_notes,
    package_of,
    radius_of,
    title_of,
    vertical_line,
)

UNITS = {"J": u.kpc**2 / u.Myr, "theta": u.rad, "Omega": u.rad / u.Myr}
NODES = 801
WIDEST = 0.01  # kpc between the heights of a reference's table, for orbits that reach far
HIGHEST = 100.0  # kpc; orbits that turn beyond it are left out
METHODS = ("vertical", "agama")
SOME_STARS, SOME_DRAWS = 5000, 32


@dataclass(frozen=True, repr=False)
class ActionComparison:
    """Actions, angles and frequencies of stars by the model and by a reference.

    `table` has J, theta, Omega and flag of the model and J_ref, theta_ref, Omega_ref; `reference`
    says what the latter are of; `draws` are the model's tables of some stars for other draws;
    `notes` says in sentences where the reference's radius and frame are not the fit's, and what
    else to know of it.
    """

    table: QTable
    reference: str
    draws: tuple[QTable, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        lines = [f"{len(self.table)} stars beside {self.reference}.", *self.notes]
        return "ActionComparison: " + "\n  ".join(lines)

    def summary(self) -> QTable:
        """Median and half the 16-84 % range of J / J_ref, Omega / Omega_ref and theta - theta_ref.

        Angles are in rad and their differences wrapped to (-pi, pi].  ``sd`` is the posterior's
        standard deviation of the median, NaN without draws: how well the fit knows it; the
        scatter is from star to star.  ``meta`` counts the stars compared and those left out
        because either side has no value.
        """
        values, good = _differences(self.table, self.table)
        if not good.any():
            raise ValueError("no star has values by both the model and the reference.")
        low, middle, high = np.array([np.percentile(v, [16, 50, 84]) for v in values.values()]).T
        medians = [
            [np.median(v) for v in _differences(draw, self.table[: len(draw)])[0].values()]
            for draw in self.draws
        ]
        sd = np.std(medians, axis=0, ddof=1) if len(medians) > 1 else np.full(3, np.nan)
        table = QTable(
            {"quantity": list(values), "median": middle, "sd": sd, "scatter": (high - low) / 2},
            meta={
                "reference": self.reference,
                "notes": list(self.notes),
                "n_compared": int(good.sum()),
                "n_left_out": int((~good).sum()),
            },
        )
        for name in table.colnames[1:]:
            table[name].info.format = ".4g"
        return table


def _differences(table: QTable, other: QTable) -> tuple[dict[str, NDArray], NDArray]:
    """Ratios and differences of a model's columns to the reference of `other`, and where."""
    columns = {n: table[n].to_value(UNITS[n]) for n in UNITS}
    true = {n: other[f"{n}_ref"].to_value(UNITS[n]) for n in UNITS}
    good = np.all([np.isfinite(c) for c in (*columns.values(), *true.values())], axis=0)
    good &= true["J"] > 0
    off = columns["theta"] - true["theta"]
    values = {
        "J / J_ref": columns["J"][good] / true["J"][good],
        "Omega / Omega_ref": columns["Omega"][good] / true["Omega"][good],
        "theta - theta_ref": ((off + np.pi) % (2 * np.pi) - np.pi)[good],
    }
    return values, good


def compare_actions(
    samples: Any,
    potential: Any,
    z: u.Quantity,
    v: u.Quantity,
    R: u.Quantity | None = None,
    method: str = "vertical",
    frame: Any = None,
) -> ActionComparison:
    """Compare the model's J, theta and Omega of stars with those in a full potential.

    Parameters
    ----------
    samples : a `Fit`, or a pair (model, params) or (model, draws); the optimum, or the first draw,
        is compared, and at most 32 draws and 5000 stars give the uncertainty of the medians
    potential : a galpy or gala potential (or a list of them), an Agama potential, a
        `mock.Potential1D`, or a mapping with J, theta and Omega computed elsewhere (quantities)
    z, v : heights and vertical velocities in the model's frame, quantities of shape (n,) or
        scalars; the model's pos0 and vel0 are taken off before they are handed to the potential
    R : Galactocentric radius (length), for potentials of more than one dimension
    method : "vertical", the one-dimensional orbit at fixed R (the model's own assumption), or
        "agama", Agama's action finder for stars at (R, 0, z) moving with the circular velocity
    frame : the frame in which the potential was measured, a `catalog.Frame` or words such as
        "R0 = 8.275 kpc, z_sun = 20.8 pc"; where it, or R, is not the fit's own, ``notes`` says so

    Stars that are not finite or beyond the model are NaN and flagged, and those that the potential
    does not hold within 100 kpc are NaN.  Angles are 0 at the plane moving up.  Raises
    ``ValueError`` for unequal shapes, an unknown potential or method, an R that is missing or
    outside the potential's range, a potential that does not rise evenly from z = 0, and where
    Agama is asked for and absent or its units are not set; `UnitError` for coordinates without
    units.
    """
    require_x64()
    model, draws, meta = read_draws(samples)
    params = samples.params if hasattr(samples, "params") else draws[0]
    pos = np.atleast_1d(internal(z, u.kpc, "z"))
    vel = np.atleast_1d(internal(v, VELOCITY, "v"))
    if pos.ndim != 1 or pos.shape != vel.shape:
        raise ValueError(
            f"z and v must be rows of one length, but have shapes {pos.shape} and {vel.shape}."
        )
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"method must be 'vertical' or 'agama', but {method!r} was given.")
    table = model.compute_action_angle(pos * u.kpc, vel * VELOCITY, params)
    # The reference's table must not stretch to stars that the model does not reach.
    inside = np.where(np.isfinite(table["J"].value), 0.0, np.nan)
    q, p = pos - float(params["pos0"]) + inside, vel - float(params["vel0"])
    reference, name, notes, radius = _reference(potential, q, p, R, method)
    for key, unit in UNITS.items():
        table[f"{key}_ref"] = reference[key] * unit
    some = slice(0, SOME_STARS)
    step = max(1, -(-len(draws) // SOME_DRAWS))
    others = tuple(
        model.compute_action_angle(pos[some] * u.kpc, vel[some] * VELOCITY, draw)
        for draw in draws[::step]
    )
    notes = (*frame_notes(meta["frame"], radius, frame), *notes)
    if lost := int(np.sum(np.isfinite(q) & np.isfinite(p) & ~np.isfinite(reference["J"]))):
        notes += (f"{lost} stars of the model have no values in the reference and are left out.",)
    return ActionComparison(table, name, others if len(others) > 1 else (), notes)


def _reference(
    potential: Any, q: NDArray, p: NDArray, R: u.Quantity | None, method: str
) -> tuple[dict[str, NDArray], str, tuple[str, ...], float | None]:
    """J, theta and Omega by a reference, its name, notes and radius (kpc; None: it has none)."""
    kind = package_of(potential)
    if not kind and isinstance(potential, Mapping | Table):
        return _given(potential, q.size), "values given", (), None
    if isinstance(potential, Potential1D):
        if method == "agama":
            raise ValueError(
                "method='agama' needs a potential of three dimensions, not a Potential1D."
            )
        name = "the exact one-dimensional potential"
        return _one_dimensional(potential.potential, q, p, name), name, (), None
    if kind == "agama" or (kind and method == "agama"):
        radius = radius_of(R, potential)
        name = f"Agama's action finder in {title_of(potential)} ({kind}) at R = {radius:g} kpc"
        return _agama(potential, q, p, radius), name, (), radius
    line = vertical_line(potential, R)
    found = _one_dimensional(line.potential, q, p, line.name)
    return found, f"vertical orbits in {line.name}", line.notes, line.radius


def _given(values: Any, n: int) -> dict[str, NDArray]:
    if isinstance(values, Table):
        values = {name: QTable(values)[name] for name in values.colnames}
    names = list(values)
    if missing := [k for k in UNITS if k not in names]:
        raise ValueError(f"potential lacks {', '.join(missing)} (given: {', '.join(names)}).")
    out = {k: internal(values[k], unit, f"potential[{k!r}]") for k, unit in UNITS.items()}
    if any(x.shape != (n,) for x in out.values()):
        raise ValueError(f"potential must have one value for each of the {n} stars.")
    return out


class _TableSide(Side):
    """The potential of one side from a spline of its square root over the height."""

    height: NDArray
    coefficients: NDArray  # (4, cells), of w = sqrt(2 Phi)

    def _speed(self, x):
        width = self.height[1]
        i = jnp.clip((x / width).astype(int), 0, self.coefficients.shape[1] - 1)
        t = x - i * width
        c = [jnp.asarray(row)[i] for row in self.coefficients]
        w = ((c[0] * t + c[1]) * t + c[2]) * t + c[3]
        return w, (3 * c[0] * t + 2 * c[1]) * t + c[2], 6 * c[0] * t + 2 * c[1]

    def potential(self, x):
        """Potential above the plane's in kpc^2/Myr^2."""
        return self._speed(x)[0] ** 2 / 2

    def force(self, x):
        """Pull towards the plane in kpc/Myr^2."""
        w, slope, _ = self._speed(x)
        return w * slope

    def density(self, x):
        """Mass density in Msun/kpc^3 by the one-dimensional Poisson equation."""
        w, slope, bend = self._speed(x)
        return (slope**2 + w * bend) / FOUR_PI_G


def _one_dimensional(phi: Callable, q: NDArray, p: NDArray, name: str) -> dict[str, NDArray]:
    """J, theta and Omega of orbits of p^2/2 + phi(q), phi even; NaN where q or p is not finite.

    Orbits that reach beyond `HIGHEST` are NaN, too.  Raises ``ValueError`` where all do, and for a
    potential, called `name`, that is not finite, rising and even.
    """
    finite = np.isfinite(q) & np.isfinite(p)
    if not finite.any():
        return {k: np.full(q.shape, np.nan) for k in UNITS}
    zero = phi(np.zeros(1))
    energy = np.full(q.shape, np.inf)
    energy[finite] = p[finite] ** 2 / 2 + phi(np.abs(q[finite])) - zero
    if not np.isfinite(energy[finite]).all():
        raise ValueError(f"{name} has no finite value at some stars: they lie outside its range.")
    highest = float(phi(np.array([HIGHEST]))[0] - zero[0])
    # A potential may end below: then the orbits must, and the check of its table says whether.
    bound = finite & (~np.isfinite(highest) | (energy < highest))
    if not bound.any():
        raise ValueError(f"{name} holds no star within {HIGHEST:g} kpc of the plane.")
    most = energy[bound].max()
    top = max(float(np.abs(q[bound]).max()), 0.1)
    while phi(np.array([top]))[0] - zero[0] < most and top < HIGHEST:
        top = min(1.3 * top, HIGHEST)
    top *= 1.02
    nodes = max(NODES, int(top / WIDEST))
    x = np.linspace(0.0, 1.02 * top, nodes)
    rise = phi(x) - zero
    _check_rise(phi, x, rise, name)
    w = np.sqrt(2 * np.maximum(rise, 0.0))
    # sqrt(2 Phi) is odd and smooth through the plane: mirrored, the spline needs no end condition.
    both = CubicSpline(np.r_[-x[:0:-1], x], np.r_[-w[:0:-1], w])
    coefficients = both.c[:, nodes - 1 :]
    grid, side = OrbitGrid.reaching(top), _TableSide(x, coefficients)
    zero = jnp.zeros(())
    orbits = PotentialFoliation(zero, zero, side, None, grid, grid, grid.top)
    inside = np.where(bound, q, np.nan)
    found = potential_orbits(orbits, Points(jnp.asarray(inside), jnp.asarray(p)))
    return {k: np.asarray(getattr(found, k)) for k in UNITS}


def _check_rise(phi: Callable, x: NDArray, rise: NDArray, name: str) -> None:
    """Refuse a potential that is not finite, does not rise from the plane, or is not even."""
    if not np.isfinite(rise).all():
        end = x[np.flatnonzero(~np.isfinite(rise))[0]]
        raise ValueError(
            f"{name} has no finite value at z = {end:.3g} kpc, which the stars' orbits need."
        )
    depth = np.ptp(rise)
    some = x[:: max(1, x.size // 16)]
    skew = np.abs(phi(some) - phi(-some)).max() / (depth or 1.0)
    if skew > 1e-5:
        raise ValueError(
            f"{name} is not symmetric about z = 0 (by {100 * skew:.2g} %), which the comparison "
            "needs: hand over a mapping with J, theta and Omega computed elsewhere."
        )
    if not rise.max() > 0 or np.diff(rise).min() < -1e-7 * depth:
        raise ValueError(f"{name} does not rise from z = 0 upwards, so that orbits have no action.")


def _agama(potential: Any, q: NDArray, p: NDArray, radius: float) -> dict[str, NDArray]:
    """J, theta and Omega by Agama's action finder, in the units that the user gave Agama."""
    kind = package_of(potential)
    if kind == "galpy" or (kind == "gala" and isinstance(potential, list | tuple)):
        raise ValueError(
            "method='agama' takes an Agama or one gala potential, but "
            f"{title_of(potential)} ({kind}) was given: build it in Agama or use method='vertical'."
        )
    units = AgamaUnits.current()
    import agama  # pyright: ignore[reportMissingImports]

    own = _for_agama(potential, units)
    pull = -float(np.ravel(own.force([radius / units.length, 0, 0]))[0])
    if not pull > 0:
        raise ValueError(
            f"{title_of(potential)} has no circular orbit at R = {radius:g} kpc: R lies outside "
            "its range."
        )
    speed = np.sqrt(radius / units.length * pull)
    finite = np.isfinite(q) & np.isfinite(p)
    out = {k: np.full(q.shape, np.nan) for k in UNITS}
    if not finite.any():
        return out
    height, rate = q[finite] / units.length, p[finite] / units.velocity
    zero = np.zeros_like(height)
    stars = np.stack([zero + radius / units.length, zero, height, zero, zero + speed, rate], axis=1)
    try:
        found = agama.ActionFinder(own)(stars, actions=True, angles=True, frequencies=True)
    except (RuntimeError, ValueError, TypeError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"Agama's action finder does not take {title_of(potential)}: {text}."
        ) from error
    shown = {"J": units.length * units.velocity, "theta": 1.0, "Omega": 1 / units.time}
    for (key, unit), values in zip(shown.items(), found, strict=True):
        out[key][finite] = unit * np.asarray(values)[:, 1]
    return out


def _for_agama(potential: Any, units: AgamaUnits) -> Any:
    """The potential as Agama's.  Never sets Agama's units: that is gala's converter's own way."""
    import agama  # pyright: ignore[reportMissingImports]

    if package_of(potential) == "agama":
        return agama.Potential(*potential) if isinstance(potential, list | tuple) else potential
    vertical_line(potential, 1.0 * u.kpc)  # refuses what has no units
    wanted = {
        name: (1 * potential.units[name]).to_value(unit)
        for name, unit in (("length", u.kpc), ("time", u.Myr), ("mass", u.Msun))
    }
    if not all(np.isclose(wanted[n], getattr(units, n), rtol=1e-10) for n in wanted):
        asked = ", ".join(f"{name}={value:.10g}" for name, value in wanted.items())
        raise ValueError(
            f"gala hands {title_of(potential)} to Agama in its own units, which are not those that "
            f"Agama has: call agama.setUnits({asked}) before you build anything with Agama, or "
            "hand over an Agama potential."
        )
    try:
        return potential.as_interop("agama")
    except (ImportError, TypeError, KeyError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"gala cannot hand {title_of(potential)} to Agama ({error}): use method='vertical'."
        ) from error
