"""Where the stars of a sample are."""

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..arguments import shown, whole_number
from ..catalog.frames import Galactocentric
from .style import BLUE, GREY, ORANGE

SHOWN = 60_000  # stars: more only blacken the figure
PLANES = (("x", "y"), ("x", "z"), ("y", "z"))


def plot_places(
    places: Galactocentric, axes: list[Axes] | None = None, seed: int = 0
) -> tuple[Figure, np.ndarray]:
    """Stars in x-y, x-z and y-z, with the Sun, in square axes of one scale each.

    The farthest 0.2 % may lie outside the axes.

    Parameters
    ----------
    places : Galactocentric coordinates of the stars
    axes : three axes to draw in; default: a new figure
    seed : seed of the draw of 60,000 stars where there are more

    Returns the figure and its axes, shape (3,).  Raises ``ValueError`` where no star has a finite
    place or `axes` are not three.
    """
    if not isinstance(places, Galactocentric):
        raise ValueError(f"places must be Galactocentric coordinates, not {shown(places)}.")
    seed = whole_number(seed, "seed", 0)
    xyz = {k: getattr(places, k).to_value(u.kpc) for k in "xyz"}
    good = np.flatnonzero(np.isfinite(xyz["x"]))
    if good.size == 0:
        raise ValueError("places must have at least one star with finite coordinates.")
    n = good.size
    if n > SHOWN:
        good = np.random.default_rng(seed).choice(good, SHOWN, replace=False)
    if axes is None:
        own = plt.subplots(1, 3, figsize=(11, 4), layout="constrained")[1]
    else:
        own = np.asarray(axes, dtype=object).ravel()
    if own.size != 3:
        raise ValueError(f"axes must be three, but {own.size} were given.")
    sun = {"x": -_sun_x(places), "y": 0.0, "z": places.frame.z_sun.to_value(u.kpc)}
    # Few stars need larger points to be seen, many need fainter ones to be told apart.
    alpha = float(np.clip(8_000 / good.size, 0.2, 0.9))
    for axis, (a, b) in zip(own, PLANES, strict=True):
        axis.plot(xyz[a][good], xyz[b][good], ".", ms=2.5, mew=0, color=BLUE, alpha=alpha)
        axis.plot(sun[a], sun[b], "o", ms=6, mfc="none", mec=ORANGE, mew=1.5)
        axis.axhline(0, color=GREY, lw=0.5, zorder=0)
        x, y = (_middle_and_reach(xyz[k][good], sun[k]) for k in (a, b))
        # Limits of equal lengths in a square box: matplotlib need not change them for the aspect.
        half = 1.05 * max(x[1], y[1])
        axis.set(xlabel=f"{a} [kpc]", ylabel=f"{b} [kpc]", box_aspect=1)
        axis.set(xlim=(x[0] - half, x[0] + half), ylim=(y[0] - half, y[0] + half))
    own[0].set_title(f"{n:,} stars (circle: the Sun)", fontsize="medium")
    return own[0].figure, own


def _middle_and_reach(x: np.ndarray, sun: float) -> tuple[float, float]:
    """The middle and half the length of the range of most stars and the Sun."""
    # A few stars of the halo would make the others a spot.
    middle = np.median(x)
    reach = 1.2 * np.quantile(np.abs(x - middle), 0.998)
    low = min(sun, max(middle - reach, np.min(x)))
    high = max(sun, min(middle + reach, np.max(x)))
    return 0.5 * (low + high), max(0.5 * (high - low), 1e-3)


def _sun_x(places: Galactocentric) -> float:
    R0, z = places.frame.R0.to_value(u.kpc), places.frame.z_sun.to_value(u.kpc)
    return float(np.sqrt(R0**2 - z**2))
