"""Where a fit of the spline model starts: knots, bounds and first parameters from the data."""

from numbers import Real
from typing import NamedTuple

import astropy.units as u
import jax
import numpy as np

from ..arguments import real_number, shown
from ..data.pixels import kind_of, read_map
from ..splines import radial_knots

# Typical size of e_m at the last knot, used to centre the default prior: e_2 of exact orbits in
# sech^2 layers of 0.15 to 0.4 kpc, with and without a halo, is within a factor 3 of the prior's.
TYPICAL_DISTORTION = {2: 0.4, 4: 0.02}
# Radius, in units of the last knot, inside which the prior's distortions grow quadratically.
CORE = 0.08
MOST_KNOTS = 100  # each is a parameter, and a term of every program that is compiled
# Share of the information (sum of 1 / error^2) that the farthest pixels together may lack.
NEGLIGIBLE = 1e-6
RADIUS = u.kpc / u.Myr**0.5
SMALLEST = 1e-9  # the sd of pos (kpc) and vel (kpc/Myr) that no map falls below


class Guess(NamedTuple):
    """First estimates from a binned map (kpc, kpc/Myr, rad/Myr, label units).

    `pixels` are those that decide how far the model reaches (see `informative`).
    """

    pos0: float
    vel0: float
    ln_omega0: float
    label0: float
    label_range: float
    label_sign: int
    r_e_max: float
    pos_range: float
    vel_range: float
    pixels: np.ndarray


def guess(binned_data: dict) -> Guess:
    r"""Estimate centre, frequency and label from a quadratic fit to the map's inner part.

    With label = c_0 + c_1 q + c_2 p + c_3 q^2 + c_4 p^2, the contours are ellipses about
    (-c_1 / 2 c_3, -c_2 / 2 c_4) with Omega_0^2 = c_3 / c_4.
    """
    kind = kind_of(binned_data)
    data = read_map(binned_data, kind)
    pos, vel = np.asarray(data.pos), np.asarray(data.vel)
    if kind == "gaussian":
        label, weight = np.asarray(data.label), np.asarray(data.label_err) ** -2
    else:
        counts = np.asarray(data.label)
        label, weight = np.log(np.maximum(counts, 0.5)), np.maximum(counts, 0.5)
    scale_pos, scale_vel = np.std(pos), np.std(vel)
    if min(scale_pos, scale_vel) < SMALLEST:
        raise ValueError(
            "the map must have pixels at more than one pos and more than one vel, but all usable "
            "pixels share one."
        )
    _check_beside(pos, "pos", "kpc")
    _check_beside(vel, "vel", "kpc/Myr")
    # Scaled variables keep the quadratic fit well conditioned; the outer part bends away from it.
    x, y = pos / scale_pos, vel / scale_vel
    inner = np.hypot(x, y) < 2.0
    design = np.stack([np.ones_like(x), x, y, x**2, y**2], axis=1)
    root = np.sqrt(weight)[:, None] * inner[:, None]
    c = np.linalg.lstsq(root * design, root[:, 0] * label, rcond=None)[0]
    same = c[3] * c[4] > 0
    ratio = np.clip(np.sqrt(c[3] / c[4]), 0.3, 3.0) if same else 1.0
    centre = (-c[1] / (2 * c[3]), -c[2] / (2 * c[4])) if same else (0.0, 0.0)
    pos0, vel0 = (np.clip(centre, -0.5, 0.5) * (scale_pos, scale_vel)).tolist()
    omega0 = ratio * scale_vel / scale_pos
    r_e = np.hypot((pos - pos0) * np.sqrt(omega0), (vel - vel0) / np.sqrt(omega0))
    known = informative(r_e, weight)
    near = np.average(label, weights=weight * (r_e <= np.quantile(r_e, 0.1)))
    far = np.average(label, weights=weight * (r_e >= np.quantile(r_e, 0.75)))
    return Guess(
        pos0=pos0,
        vel0=vel0,
        ln_omega0=float(np.log(omega0)),
        label0=float(near),
        # A label without any gradient still needs a scale: a little of its errors.
        label_range=float(max(abs(far - near), 0.01 / np.sqrt(np.median(weight)))),
        label_sign=1 if far >= near else -1,
        r_e_max=float(r_e[known].max()),
        pos_range=float(np.ptp(pos[known])),
        vel_range=float(np.ptp(vel[known])),
        pixels=known,
    )


def _check_beside(x: np.ndarray, name: str, unit: str) -> None:
    """Raise a ``ValueError`` for a map that lies farther from the centre than it is wide.

    Maps of one side of a disc do not hold the centre, but come near it.
    """
    if np.abs(x).min() > np.ptp(x):
        raise ValueError(
            f"{name} of the map must hold or come near 0, where the plane lies, but spans "
            f"{x.min():.4g} to {x.max():.4g} {unit}: subtract the plane's place in your frame."
        )


def number_of_knots(knots, least: int, name: str) -> int:
    """A number of knots; a ``ValueError`` unless it is whole, and from `least` to `MOST_KNOTS`."""
    number = isinstance(knots, Real) and not isinstance(knots, bool | np.bool_)
    if not number or not least <= knots <= MOST_KNOTS or knots != int(knots):
        raise ValueError(
            f"{name} must be at least {least} knots and at most {MOST_KNOTS}, or the knots "
            f"themselves, but {shown(knots)} was given."
        )
    return int(knots)


def are_knots(knots) -> bool:
    """Whether these are knots themselves, good or bad, rather than a number of them."""
    try:
        return np.ndim(getattr(knots, "value", knots)) > 0
    except ValueError:
        return True  # Rows of unequal length.


def informative(radius: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Pixels inside the radius that holds all but a millionth of the information.

    A pixel far out that says nothing must not decide how far the model reaches.
    """
    order = np.argsort(radius)
    share = np.cumsum(weight[order]) / np.sum(weight)
    last = min(int(np.searchsorted(share, 1 - NEGLIGIBLE)), radius.size - 1)
    return radius <= radius[order[last]]


def spacing_power(power, name: str) -> float:
    """The power in which knots are even; a ``ValueError`` unless it is from 0.05 to 20."""
    return real_number(
        power, f"the spacing power of {name}", "a number from 0.05 to 20", lambda p: 0.05 <= p <= 20
    )


def make_knots(knots, r_max: float, power: float, name: str) -> np.ndarray:
    """Knots from 0 to `r_max`, even in r to the `power`, or the given ones themselves."""
    if are_knots(knots):
        return radial_knots(knots, RADIUS, name)
    number, power = number_of_knots(knots, 2, name), spacing_power(power, name)
    out = np.linspace(0.0, r_max**power, number) ** (1.0 / power)
    out[-1] = r_max
    return out


def reference_slopes(label_knots, e_knots: dict) -> dict:
    """Centres of the default prior on ln-slopes at the knots but the first.

    The label is straight with a range of 0.3.  Distortions are even, analytic functions of r_e
    in any smooth potential, so their slopes start at zero and settle beyond the scale of the disc:
    slope proportional to r_e / sqrt(r_e^2 + c^2) with c = `CORE` times the last knot.
    """
    out = {"label": np.log(0.3 / float(label_knots[-1]))}
    for m, knots in e_knots.items():
        x = np.asarray(knots, dtype=float)[1:] / float(knots[-1])
        shape = x / np.hypot(x, CORE)
        out[m] = np.log(TYPICAL_DISTORTION.get(m, 0.01) / float(knots[-1]) * shape)
    return out


def start(model, guess: Guess) -> dict:
    """First parameters: the prior's reference slopes."""
    return {
        "pos0": np.float64(guess.pos0),
        "vel0": np.float64(guess.vel0),
        "ln_Omega0": np.float64(guess.ln_omega0),
        "e_params": jax.tree.map(np.array, model.template()["e_params"]),
        "label_params": model.label.start(guess.label0),
    }


def bounds(params: dict, guess: Guess) -> dict:
    """Wide limits about the start, nested like the parameters: ``(lower, upper)`` each."""
    wide = 8.0
    span = guess.label_range
    label = params["label_params"]["label_vals"]
    low, high = label - wide, label + wide
    low[0], high[0] = label[0] - 5 * span, label[0] + 5 * span

    def pair(x, half):
        return (x - half, x + half)

    return {
        "pos0": pair(guess.pos0, 0.25 * guess.pos_range),
        "vel0": pair(guess.vel0, 0.25 * guess.vel_range),
        "ln_Omega0": pair(guess.ln_omega0, 1.5),
        "e_params": {
            m: {name: pair(x, wide) for name, x in own.items()}
            for m, own in params["e_params"].items()
        },
        "label_params": {"label_vals": (low, high)},
    }
