"""What a map says of the orbits: whether its label changes over it as closed contours ask."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from .pixels import read_map

# Chances that noise alone makes a change as large: a map is refused above the first, and doubtful
# above the second.  An error that is too small must show in chi^2 with the last.
NOTHING, LITTLE, WRONG_ERRORS = 1e-2, 1e-4, 1e-3
# Knots of the best function of one coordinate: one for so many pixels, within limits.
PIXELS_A_KNOT, FEWEST, MOST = 8, 3, 16


class TooFewPixels(ValueError):
    """A map of fewer usable pixels than a model has parameters."""


class Change(NamedTuple):
    """A change of the label: the words for it, its absence, and the chance that it is noise."""

    word: str
    without: str
    chance: float


def check_pixels(pixels: int, parameters: int) -> None:
    """Raise `TooFewPixels` for fewer usable pixels than parameters."""
    if pixels < parameters:
        raise TooFewPixels(
            "the map must have at least as many usable pixels as the model has parameters, "
            f"{parameters}, but has {pixels}: bin it into more pixels, or use a model of fewer "
            "knots or parameters."
        )


def check_gradient(binned_data: dict) -> None:
    """Raise a ``ValueError`` for a map whose label says nothing of the orbits.

    That is one without each of `changes`, where noise would do as well in 1 of 100 maps, and one
    whose label rises along one coordinate from the middle and falls along the other.
    """
    found, is_saddle = changes(*_values(binned_data))
    for change in found:
        if not change.chance < NOTHING:
            raise ValueError(
                f"label must change {change.word}, but {change.without} describes it as well "
                f"(noise does so with a chance of {change.chance:.2g}): such data cannot constrain "
                "the orbits."
            )
    if is_saddle:
        raise ValueError(
            "label must rise, or fall, from the middle along both pos and vel, but rises along "
            "one and falls along the other: its contours are open, and no orbits."
        )


def doubts(binned_data: dict) -> list[str]:
    """A sentence for each change of the label that is there, but may be noise."""
    return [
        f"That the label changes {change.word} may be noise (a chance of {change.chance:.2g}): the "
        "map says little of the orbits, and the prior much."
        for change in changes(*_values(binned_data))[0]
        if LITTLE < change.chance < NOTHING
    ]


def _values(binned_data: dict) -> tuple[np.ndarray, ...]:
    """(pos, vel, label, error) of a map's pixels; of counts, their logarithm."""
    kind = "gaussian" if "label" in binned_data else "poisson"
    data = read_map(binned_data, kind)
    label, error = np.asarray(data.label), np.asarray(data.label_err)
    if kind == "poisson":
        counts = np.maximum(label, 0.5)
        label, error = np.log(counts), 1 / np.sqrt(counts)
    return np.asarray(data.pos), np.asarray(data.vel), label, error


def changes(
    pos: np.ndarray, vel: np.ndarray, label: np.ndarray, error: np.ndarray
) -> tuple[list[Change], bool]:
    """The changes that orbits ask for, and whether the label has a saddle instead.

    A quadratic in pos and vel must describe it better than a constant; a function of pos with a
    quadratic in vel better than one of pos alone, and the other way round; and, with the slope
    along it, the curvature along one of them at least must be there, as a plane has none.
    Functions of one coordinate are straight between up to 16 knots.
    """
    x, y = (_scaled(c, error) for c in (pos, vel))
    of_x, of_y = (_straight_pieces(c) for c in (x, y))
    one = np.ones_like(x)
    fit = {
        "one": [one],
        "quadratic": [one, x, y, x**2, y**2],
        "x": of_x,
        "x, y": [*of_x, y],
        "x, y^2": [*of_x, y, y**2],
        "y": of_y,
        "y, x": [*of_y, x],
        "y, x^2": [*of_y, x, x**2],
    }
    fits = {name: _Fit.of(columns, label, error) for name, columns in fit.items()}
    curved = [fits["x, y^2"].chance(fits["x, y"]), fits["y, x^2"].chance(fits["y, x"])]
    found = [
        Change("over the map", "a constant", fits["quadratic"].chance(fits["one"])),
        Change("with pos", "a function of vel alone", fits["y, x^2"].chance(fits["y"])),
        Change("with vel", "a function of pos alone", fits["x, y^2"].chance(fits["x"])),
        Change("as closed contours do", "one that is straight in pos or vel", min(curved)),
    ]
    opposite = fits["x, y^2"].last * fits["y, x^2"].last < 0
    return found, bool(opposite and max(curved) < LITTLE)


class _Fit(NamedTuple):
    """A linear least-squares fit: chi^2, the columns' rank, pixels, and the last coefficient."""

    chi2: float
    rank: int
    pixels: int
    last: float

    @classmethod
    def of(cls, columns: list, value: np.ndarray, error: np.ndarray) -> "_Fit":
        design, target = np.stack(columns, axis=1) / error[:, None], value / error
        coefficients, _, rank, _ = np.linalg.lstsq(design, target, rcond=1e-10)
        chi2 = float(np.sum((target - design @ coefficients) ** 2))
        return cls(chi2, int(rank), target.size, float(coefficients[-1]))

    def chance(self, simple: "_Fit") -> float:
        """The chance that noise alone makes this fit so much better than a simpler one.

        By the drop of chi^2, or by its ratio to what is left (the F test) where that is too large
        for the errors, which are then too small or the fit too simple.
        """
        more, left = self.rank - simple.rank, self.pixels - self.rank
        drop = simple.chi2 - self.chi2
        if more < 1 or left < 1 or not drop > 0:
            return 1.0
        if stats.chi2.sf(self.chi2, left) < WRONG_ERRORS:
            return float(stats.f.sf(drop / more / (self.chi2 / left), more, left))
        return float(stats.chi2.sf(drop, more))


def _scaled(c: np.ndarray, error: np.ndarray) -> np.ndarray:
    """A coordinate about its mean in units of its spread."""
    return (c - np.average(c, weights=error**-2)) / np.std(c)


def _straight_pieces(x: np.ndarray) -> list[np.ndarray]:
    """Columns whose sums are all functions straight between knots that hold as many pixels each."""
    n = int(np.clip(x.size // PIXELS_A_KNOT, FEWEST, MOST))
    knots = np.unique(np.quantile(x, np.linspace(0.0, 1.0, n)))
    return [np.interp(x, knots, unit) for unit in np.eye(knots.size)]
