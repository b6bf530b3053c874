"""How far the contours of a Fourier model are from the orbits of a potential of positive mass."""

from dataclasses import dataclass
from typing import Any

import astropy.units as u
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from ..coordinates import VERTICAL
from ..data.pixels import require_x64
from ..foliation import FourierFoliation, solve_r_e
from ..foliation.field import density_of
from ..foliation.fourier_orbits import last_radius, tabulate
from ..results.fit import Fitted

FREQUENCY = u.rad / u.Myr
DENSITY = u.Msun / u.pc**3
RADIUS = u.kpc / u.Myr**0.5
N_HEIGHTS = 2001
N_RADII = 4096
SMALL = 1e-3  # relative differences of Omega below it are called agreement


@dataclass(frozen=True)
class Consistency:
    """What `check_consistency` found; ``text``, or ``str()`` of it, says it in sentences.

    Attributes
    ----------
    z_max : kpc, shape (n,), the orbits' largest heights above the midplane
    omega_time, omega_energy : rad/Myr, shape (n,), Omega from the time along the contour, and as
        dE/dJ; NaN without a force
    difference : shape (n,), abs(omega_time / omega_energy - 1)
    largest, median : of `difference`;  worst_z_max : kpc, where it is largest
    z, density : kpc and Msun/pc^3, shape (k,), -a'/(4 pi G) at heights above the midplane
    negative : kpc, shape (j, 2), the intervals of z in which the density is negative
    symmetric : whether both sides of the midplane are alike: then z >= 0 stands for abs(z)
    nested_to, end : kpc Myr^-1/2, the r_e up to which contours are nested, and of the model's end
    nested_height, reach : kpc, the same as heights
    knots, density_jumps : kpc and Msun/pc^3, the heights of knots and how much the density rises
        there (the acceleration itself is continuous)
    has_force : whether the contours allow a force at all
    """

    z_max: u.Quantity
    omega_time: u.Quantity
    omega_energy: u.Quantity
    difference: NDArray[np.float64]
    largest: float
    median: float
    worst_z_max: u.Quantity
    z: u.Quantity
    density: u.Quantity
    negative: u.Quantity
    symmetric: bool
    nested_to: u.Quantity
    end: u.Quantity
    nested_height: u.Quantity
    reach: u.Quantity
    knots: u.Quantity
    density_jumps: u.Quantity
    has_force: bool

    @property
    def crosses(self) -> bool:
        """Whether contours cross inside the model's end."""
        return bool(self.nested_to < self.end)

    @property
    def text(self) -> str:
        """The findings in a few plain sentences."""
        parts = [_nesting_text(self)]
        if self.has_force:
            parts += [_frequency_text(self), _density_text(self), _knot_text(self)]
        else:
            parts.append(
                'Odd orders m with the convention "pv" let no force depend on position alone: '
                "acceleration, density, Omega and T are undefined, actions and angles are not."
            )
        return " ".join(part for part in parts if part)

    def __str__(self) -> str:
        return self.text


def check_consistency(model: Any, params: dict | None = None) -> Consistency:
    """Whether the contours of a Fourier model could be the orbits of a potential.

    Contours from any potential give one Omega, whether by the time along the contour or as dE/dJ;
    a potential of real mass has a density that is nowhere negative; and orbits do not cross.  The
    Fourier family promises none of these.

    Parameters
    ----------
    model, params : a `TorusImaging1D` or `TorusImaging1DSpline` with a set of parameters, or a
        `Fit` alone, of which the optimum is taken

    The density is searched at 2001 heights up to where contours cross or the model ends, and the
    ends of negative intervals are then refined by bisection: an interval narrower than 1/2000 of
    that range may be missed.  Crossings are searched on 4096 radii and 65 angles.

    Raises ``ValueError`` for another kind of model, a missing part of `params` and contours that
    cross from the centre on.
    """
    require_x64()
    if isinstance(model, Fitted):
        model, params = model.model, model.params if params is None else params
    if params is None or not callable(getattr(model, "foliation", None)):
        raise ValueError("check_consistency needs a model with its params, or a Fit.")
    require_x64(model)
    params = model.floats(params, label=False)
    foliation = model.foliation(params)
    if not isinstance(foliation, FourierFoliation):
        raise ValueError(
            f"the model must be of the Fourier family, but {type(model).__name__} is not: orbits "
            "in a potential are consistent by construction."
        )
    end = jnp.asarray(foliation.end, float)
    limit = _nested_to(foliation, end)
    if not limit > 0:
        raise ValueError("the contours cross from the centre on: params describe no orbits.")
    root = float(jnp.sqrt(foliation.omega0))
    z, density, negative = _densities(foliation, float(limit) / root)
    knots, jumps = _jumps(model, foliation, float(limit) / root)
    return Consistency(
        **_frequencies(foliation, limit, bool(limit < end)),
        z=z * u.kpc,
        density=density * DENSITY,
        negative=negative * u.kpc,
        symmetric=foliation.even,
        nested_to=float(limit) * RADIUS,
        end=float(end) * RADIUS,
        nested_height=float(limit) / root * u.kpc,
        reach=float(end) / root * u.kpc,
        knots=knots * u.kpc,
        density_jumps=jumps * DENSITY,
        has_force=foliation.has_force,
    )


@eqx.filter_jit
def _nested_to(foliation: FourierFoliation, end: Array) -> Array:
    limit = last_radius(foliation, end, N_RADII)[1]
    finer = jnp.minimum(limit + jnp.linspace(0.0, 1.0, 65) * end / N_RADII, end)
    slope = foliation.distort_slope(finer[:, None], jnp.linspace(0.0, jnp.pi, 65))
    nested = jnp.cumprod(jnp.min(slope, axis=1) > 0.0)
    return jnp.where(limit > 0.0, jnp.max(jnp.where(nested == 1, finer, limit)), 0.0)


@eqx.filter_jit
def _table(foliation: FourierFoliation, limit: Array) -> tuple[Array, Array, Array]:
    """(z_max, Omega by time, Omega by energy) of orbits, without the harmonic one at the centre."""
    table = tabulate(foliation, limit)
    top = jnp.pi / 2 if foliation.convention == "pv" else 0.0
    r_e = solve_r_e(foliation, table.r[1:], jnp.full(table.r.size - 1, top))
    return r_e / jnp.sqrt(foliation.omega0), table.omega[1:], table.omega_energy[1:]


def _frequencies(foliation: FourierFoliation, limit: Array, crosses: bool) -> dict:
    z_max, time, energy = (np.asarray(x) for x in _table(foliation, limit))
    if crosses:
        # On the orbit at the crossing itself the integrals are singular.
        z_max, time, energy = z_max[:-1], time[:-1], energy[:-1]
    difference = np.abs(time / energy - 1.0)
    known = np.isfinite(difference)
    worst = int(np.argmax(np.where(known, difference, -1.0)))
    return {
        "z_max": z_max * u.kpc,
        "omega_time": time * FREQUENCY,
        "omega_energy": energy * FREQUENCY,
        "difference": difference,
        "largest": float(difference[worst]),
        "median": float(np.median(difference[known])) if known.any() else np.nan,
        "worst_z_max": (z_max[worst] if known.any() else np.nan) * u.kpc,
    }


@eqx.filter_jit
def _density(foliation: FourierFoliation, z: Array) -> Array:
    return density_of(foliation.acceleration_slope(z + foliation.pos0)) * 1e-9


def _densities(foliation: FourierFoliation, top: float) -> tuple[NDArray, NDArray, NDArray]:
    """Heights, density (Msun/pc^3) and the intervals in which it is negative, shape (j, 2)."""
    z = np.linspace(0.0 if foliation.even else -top, top, N_HEIGHTS)
    density = np.asarray(_density(foliation, jnp.asarray(z)))
    below = density < 0
    turns = np.flatnonzero(below[1:] != below[:-1])
    low, high, first = z[turns], z[turns + 1], below[turns]
    for _ in range(50):
        middle = 0.5 * (low + high)
        same = (np.asarray(_density(foliation, jnp.asarray(middle))) < 0) == first
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    edges = np.concatenate([z[:1][below[:1]], 0.5 * (low + high), z[-1:][below[-1:]]])
    return z, density, edges.reshape(-1, 2)


def _jumps(model: Any, foliation: FourierFoliation, top: float) -> tuple[NDArray, NDArray]:
    """Heights of the inner knots of all orders and the rise of the density there."""
    knots = [np.asarray(k)[1:-1] for k in model.knots.values()]
    if not knots:
        return np.zeros(0), np.zeros(0)
    z = np.unique(np.concatenate(knots)) / np.sqrt(float(foliation.omega0))
    z = z[z < top]
    sides = [np.asarray(_density(foliation, jnp.asarray(z * (1 + s)))) for s in (1e-9, -1e-9)]
    return z, sides[0] - sides[1]


def _nesting_text(result: Consistency) -> str:
    end = f"r_e = {result.end.value:.3g} kpc Myr^-1/2 (a height of {_kpc(result.reach)})"
    if not result.crosses:
        return f"Contours are nested out to the model's end, {end}."
    return (
        f"Contours cross at r_e = {result.nested_to.value:.3g} kpc Myr^-1/2 (a height of "
        f"{_kpc(result.nested_height)}), inside the model's end, {end}: beyond it no orbit is "
        "defined, and only what lies inside was examined."
    )


def _frequency_text(result: Consistency) -> str:
    if not np.isfinite(result.largest):
        return "Omega is undefined on every orbit."
    where = f"largest at z_max = {_kpc(result.worst_z_max)}"
    if result.largest < SMALL:
        return (
            "The frequencies by the time along the contour and by energy agree to "
            f"{100 * result.largest:.2g} %, as they do for the orbits of a potential."
        )
    return (
        "The frequencies by the time along the contour and by energy differ by "
        f"{100 * result.median:.2g} % (median) and up to {100 * result.largest:.2g} % ({where}): "
        "so far the contours are from the orbits of any potential."
    )


def _density_text(result: Consistency) -> str:
    z = VERTICAL.pos.symbol
    symbol = f"|{z}|" if result.symmetric else z
    if not len(result.negative):
        return f"The density is nowhere negative for {symbol} up to {_kpc(result.z[-1])}."
    spans = [f"{low:.3g} to {high:.3g}" for low, high in np.asarray(result.negative.value)]
    return (
        f"The density is negative at {symbol} from {', '.join(spans)} kpc, down to "
        f"{np.nanmin(result.density.value):.2g} Msun/pc^3: no layers of mass exert such a force."
    )


def _knot_text(result: Consistency) -> str:
    if not len(result.knots):
        return ""
    worst = int(np.argmax(np.abs(result.density_jumps)))
    return (
        "The acceleration is continuous; at knots the density jumps by up to "
        f"{abs(result.density_jumps[worst].value):.2g} Msun/pc^3 "
        f"(at |z| = {_kpc(result.knots[worst])})."
    )


def _kpc(z: u.Quantity) -> str:
    return f"{z.to_value(u.kpc):.3g} kpc"
