"""The model's actions, angles and frequencies beside those in a full Galactic potential."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import astropy.units as u
import jax.numpy as jnp
import numpy as np
from astropy.table import QTable, Table
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from .actions import potential_orbits
from .foliation.density import FOUR_PI_G, Side
from .foliation.potential import OrbitGrid, PotentialFoliation
from .mock import Potential1D
from .plot import plot_actions
from .profile import read_draws
from .units import internal

VELOCITY = u.kpc / u.Myr
UNITS = {"J": u.kpc**2 / u.Myr, "theta": u.rad, "Omega": u.rad / u.Myr}
NODES = 801
SOME_STARS, SOME_DRAWS = 5000, 32


@dataclass(frozen=True)
class ActionComparison:
    """Actions, angles and frequencies of stars by the model and by a reference.

    `table` has J, theta, Omega and flag of the model and J_ref, theta_ref, Omega_ref; `reference`
    says what the latter are of; `draws` are the model's tables of some stars for other draws.
    """

    table: QTable
    reference: str
    draws: tuple[QTable, ...] = ()

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
                "n_compared": int(good.sum()),
                "n_left_out": int((~good).sum()),
            },
        )
        for name in table.colnames[1:]:
            table[name].info.format = ".4g"
        return table

    def plot(self) -> tuple[Figure, NDArray]:
        """Three panels: J, theta and Omega of the model against the reference."""
        return plot_actions(self.table, {n: self.table[f"{n}_ref"] for n in UNITS})


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
) -> ActionComparison:
    """Compare the model's J, theta and Omega of stars with those in a full potential.

    Parameters
    ----------
    samples : a `Fit`, or a pair (model, params) or (model, draws); the optimum, or the first draw,
        is compared, and at most 32 draws and 5000 stars give the uncertainty of the medians
    potential : a galpy potential (or a list of them), a gala potential, an Agama potential, a
        `mock.Potential1D`, or a mapping with J, theta and Omega computed elsewhere (quantities)
    z, v : heights and vertical velocities in the model's frame, quantities of shape (n,); the
        model's pos0 and vel0 are taken off before they are handed to the potential
    R : Galactocentric radius (length), for potentials of more than one dimension
    method : "vertical", the one-dimensional orbit at fixed R (the model's own assumption), or
        "agama", Agama's action finder for stars at (R, 0, z) moving with the circular velocity

    Stars that are not finite or beyond the model are NaN and flagged.  Angles are 0 at the plane
    moving up.  Raises ``ValueError`` for unequal shapes, an unknown potential or method, a missing
    R, and where Agama is asked for and absent; `UnitError` for coordinates without units.
    """
    model, draws, _ = read_draws(samples)
    params = samples.params if hasattr(samples, "params") else draws[0]
    pos, vel = internal(z, u.kpc, "z"), internal(v, VELOCITY, "v")
    if pos.ndim != 1 or pos.shape != vel.shape:
        raise ValueError(
            f"z and v must be rows of one length, but have shapes {pos.shape} and {vel.shape}."
        )
    if method not in ("vertical", "agama"):
        raise ValueError(f"method must be 'vertical' or 'agama', but {method!r} was given.")
    table = model.compute_action_angle(pos * u.kpc, vel * VELOCITY, params)
    # The reference's table must not stretch to stars that the model does not reach.
    inside = np.where(np.asarray(table["flag"]) == 0, 0.0, np.nan)
    q, p = pos - float(params["pos0"]) + inside, vel - float(params["vel0"])
    if isinstance(potential, Mapping | Table):
        reference, name = _given(potential, pos.size), "values given"
    elif method == "agama" and isinstance(potential, Potential1D):
        raise ValueError("method='agama' needs a potential of three dimensions, not a Potential1D.")
    elif method == "agama" or _module(potential) == "agama":
        reference, name = _agama(potential, q, p, _radius(R, potential)), "Agama's action finder"
    else:
        phi, name = _vertical(potential, R)
        reference = _one_dimensional(phi, q, p)
    for key, unit in UNITS.items():
        table[f"{key}_ref"] = reference[key] * unit
    some = slice(0, SOME_STARS)
    step = max(1, -(-len(draws) // SOME_DRAWS))
    others = tuple(
        model.compute_action_angle(pos[some] * u.kpc, vel[some] * VELOCITY, draw)
        for draw in draws[::step]
    )
    return ActionComparison(table, name, others if len(others) > 1 else ())


def _module(potential: Any) -> str:
    first = potential[0] if isinstance(potential, list) and potential else potential
    return type(first).__module__.split(".")[0]


def _radius(R: u.Quantity | None, potential: Any) -> float:
    if R is None:
        raise ValueError(
            f"R must be given, a length, for the potential {type(potential).__name__}, which "
            "has more than one dimension."
        )
    return float(internal(R, u.kpc, "R"))


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


def _vertical(potential: Any, R: u.Quantity | None) -> tuple[Callable[[NDArray], NDArray], str]:
    """The potential on a vertical line as a function of z (kpc), in kpc^2/Myr^2, and its name."""
    kind = _module(potential)
    if isinstance(potential, Potential1D):
        return potential.potential, "the exact one-dimensional potential"
    if kind not in ("gala", "galpy"):
        raise ValueError(
            "potential must be one of galpy, gala, Agama or torusimaging.mock, or a mapping with "
            f"J, theta and Omega, but {type(potential).__name__} was given."
        )
    radius = _radius(R, potential)
    line = _gala_line if kind == "gala" else _galpy_line
    name = f"vertical orbits at R = {radius:g} kpc in {type(potential).__name__} ({kind})"
    return line(potential, radius), name


def _gala_line(potential: Any, radius: float) -> Callable[[NDArray], NDArray]:
    def phi(z):
        xyz = np.stack([np.full(z.size, radius), np.zeros(z.size), z]) * u.kpc
        return potential.energy(xyz).to_value(VELOCITY**2)

    return phi


def _galpy_line(potential: Any, radius: float) -> Callable[[NDArray], NDArray]:
    from galpy.potential import evaluatePotentials  # pyright: ignore[reportMissingImports]
    from galpy.util.conversion import get_physical  # pyright: ignore[reportMissingImports]

    scales = get_physical(potential)
    ro, vo = scales["ro"], (scales["vo"] * u.km / u.s).to_value(VELOCITY)

    def phi(z):
        # One height at a time: not every galpy potential takes arrays.
        natural = [
            evaluatePotentials(potential, radius / ro, x / ro, use_physical=False) for x in z
        ]
        return vo**2 * np.array(natural, dtype=float)

    return phi


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


def _one_dimensional(phi: Callable, q: NDArray, p: NDArray) -> dict[str, NDArray]:
    """J, theta and Omega of orbits of p^2/2 + phi(q), phi even; NaN where q or p is not finite."""
    finite = np.isfinite(q) & np.isfinite(p)
    if not finite.any():
        return {k: np.full(q.shape, np.nan) for k in UNITS}
    heights = np.abs(q[finite])
    zero = phi(np.zeros(1))
    energy = np.max(p[finite] ** 2 / 2 + phi(heights) - zero)
    top = max(float(heights.max()), 0.1)
    while phi(np.array([top]))[0] - zero[0] < energy:
        top *= 1.3
        if top > 1e3:
            raise ValueError("some stars are not bound to the plane within 1000 kpc.")
    top *= 1.02
    x = np.linspace(0.0, 1.02 * top, NODES)
    w = np.sqrt(2 * np.maximum(phi(x) - zero, 0.0))
    # sqrt(2 Phi) is odd and smooth through the plane: mirrored, the spline needs no end condition.
    both = CubicSpline(np.r_[-x[:0:-1], x], np.r_[-w[:0:-1], w])
    coefficients = both.c[:, NODES - 1 :]
    orbits = PotentialFoliation(
        jnp.zeros(()), jnp.zeros(()), _TableSide(x, coefficients), None, OrbitGrid.reaching(top)
    )
    found = potential_orbits(orbits, jnp.asarray(q), jnp.asarray(p))
    return {k: np.asarray(getattr(found, k)) for k in UNITS}


def _agama(potential: Any, q: NDArray, p: NDArray, radius: float) -> dict[str, NDArray]:
    try:
        import agama  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError(
            "Agama is not installed: build it with `pip install agama` (a C++ compiler and GSL "
            "are needed), or use method='vertical'."
        ) from None
    agama.setUnits(mass=1, length=1, time=1)  # Msun, kpc, Myr
    own = potential if _module(potential) == "agama" else potential.as_interop("agama")
    speed = np.sqrt(-radius * own.force([radius, 0, 0])[0])
    zero = np.zeros_like(q)
    stars = np.stack([zero + radius, zero, q, zero, zero + speed, p], axis=1)
    finite = np.isfinite(stars).all(axis=1)
    out = {k: np.full(q.shape, np.nan) for k in UNITS}
    found = agama.ActionFinder(own)(stars[finite], actions=True, angles=True, frequencies=True)
    for key, values in zip(UNITS, found, strict=True):
        out[key][finite] = values[:, 1]
    return out
