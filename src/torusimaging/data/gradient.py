"""What a map says of the orbits: whether its label changes over it as closed contours ask."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from .pixels import kind_of, read_map

# Chances that noise alone makes a change as large: a map is refused above the first, and doubtful
# above the second.  An error that is too small must show in chi^2 with the last.
NOTHING, LITTLE, WRONG_ERRORS = 1e-2, 1e-4, 1e-3
# Knots of the best function of one coordinate: one for so many pixels, within limits.
PIXELS_A_KNOT, FEWEST, MOST = 8, 3, 16
RATIOS = np.geomspace(0.1, 10.0, 9)  # axis ratios of contours, squared, in units of the map's sds


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
    kind = kind_of(binned_data)
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
    quadratic in vel, the same or another at each pos, better than one of pos alone, and the other
    way round; and, with the slope along it, the curvature along one of them at least must be
    there, as a plane has none.  Functions of one coordinate are straight between up to 16 knots.
    """
    x, y = (_scaled(c, error) for c in (pos, vel))
    one = np.ones_like(x)
    constant, quadratic = _Fit.nested([one, x, y, x**2, y**2], (1, 5), label, error)
    along_pos, along_vel = (
        _Along.of(c, scaled, _straight_pieces(other), label, error)
        for c, scaled, other in ((pos, x, y), (vel, y, x))
    )
    bend = _either(along_pos.bend, along_vel.bend, 0.5)
    found = [
        Change("over the map", "a constant", quadratic.chance(constant)),
        Change("with pos", "a function of vel alone", along_pos.change),
        Change("with vel", "a function of pos alone", along_vel.change),
        Change("as closed contours do", "one that is straight in pos or vel", bend),
    ]
    sure = max(along_pos.doubt, along_vel.doubt) < LITTLE
    opposite = sure and along_pos.rises != along_vel.rises
    return found, bool(opposite and _is_open(pos, vel, label, error))


class _Along(NamedTuple):
    """How the label goes along one coordinate at given values of the other.

    `change` and `bend` are the chances that noise makes it change and be curved; `rises` says
    whether it rises from 0, and `doubt` is the chance that noise makes that.
    """

    change: float
    bend: float
    rises: bool
    doubt: float

    @classmethod
    def of(
        cls, c: np.ndarray, scaled: np.ndarray, others: list, label: np.ndarray, error: np.ndarray
    ) -> "_Along":
        """Along `c`, which is `scaled` for the fits, beside the functions `others`."""
        n = len(others)
        without, straight, bent = _Fit.nested(
            [*others, scaled, scaled**2], (n, n + 1, n + 2), label, error
        )
        change, bend = bent.chance(without), bent.chance(straight)
        if change > LITTLE:
            # A label that rises and falls again may have no quadratic in common.  Of what noise
            # is allowed, a tenth goes to that second test: the first loses next to nothing.
            varying = [*others, scaled, *(k * scaled**2 for k in others)]
            second = _Fit.of(varying, label, error).chance(without)
            change = _either(change, second, 0.1)
        if _both_sides(c):
            return cls(change, bend, bent.last > 0, bend)
        # On one side of 0 the slope tells: a label that saturates is curved downwards there.
        rises = straight.last * np.mean(c) > 0
        return cls(change, bend, bool(rises), straight.chance(without))


def _both_sides(c: np.ndarray) -> bool:
    """Whether a coordinate of the map lies on both sides of 0, where the centre is looked for."""
    return bool(min(c.max(), -c.min()) > np.ptp(c) / 4)


def _either(first: float, second: float, share: float) -> float:
    """The chance that noise passes one of two tests, of which the second has a `share` of it."""
    return min(first / (1 - share), second / share, 1.0)


def _is_open(pos: np.ndarray, vel: np.ndarray, label: np.ndarray, error: np.ndarray) -> bool:
    """Whether hyperbolae describe the contours better than ellipses.

    By chi^2 of a function of x^2 - c y^2, for the best of some c, and of x^2 + c y^2, each with a
    slope for the place of the centre along what the map has on both sides of 0.
    """
    x, y = pos / np.std(pos), vel / np.std(vel)
    slopes = [c for c in (x, y) if _both_sides(c)]

    def best(sign: int) -> float:
        fits = (
            _Fit.of([*slopes, *_straight_pieces(x**2 + sign * c * y**2)], label, error)
            for c in RATIOS
        )
        return min(fit.chi2 for fit in fits)

    return best(-1) < best(1)


class _Fit(NamedTuple):
    """A linear least-squares fit: chi^2, the columns' rank, pixels, and the last coefficient."""

    chi2: float
    rank: int
    pixels: int
    last: float

    @classmethod
    def of(cls, columns: list, value: np.ndarray, error: np.ndarray) -> "_Fit":
        return cls.nested(columns, (len(columns),), value, error)[0]

    @classmethod
    def nested(
        cls, columns: list, numbers: tuple[int, ...], value: np.ndarray, error: np.ndarray
    ) -> list["_Fit"]:
        """The fits of the first so many columns each."""
        # Turned to a triangle, thousands of pixels are as many rows as there are columns.
        rows = np.linalg.qr(np.stack([*columns, value], axis=1) / error[:, None], mode="r")
        target, fits = rows[:, -1], []
        for n in numbers:
            design = rows[:, :n]
            coefficients, _, rank, _ = np.linalg.lstsq(design, target, rcond=1e-10)
            chi2 = float(np.sum((target - design @ coefficients) ** 2))
            fits.append(cls(chi2, int(rank), value.size, float(coefficients[-1])))
        return fits

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
