"""Survey-like catalogues of stars in an exact steady state, with the truth attached."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real

import astropy.units as u
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from ..arguments import real_number, whole_number
from ..parallel import Threads, cores
from ..units import internal
from .orbits import ORDER, Array, Grid, PhaseTable, mirrored, spline_coefficients, spline_value
from .potential1d import Potential1D, solar_potential

KMS = u.km / u.s
POPULATIONS = ((0.75, 18 * KMS), (0.25, 35 * KMS))
CHUNK = 2**17  # stars drawn at a time: fits the cache; a chunk depends on (seed, its number) only
ENERGY_TOP = 42.0  # in sigma^2: beyond it lies less than 1e-16 of the stars
MAX_BARREN = 50  # chunks in a row without a surviving star


@dataclass(frozen=True)
class MockSurvey:
    """Stars of an exact steady state, as observed, and the truth about each of them.

    `pos` and `vel` are in the observer's frame: pos = z + pos0, vel = v_z + vel0. J, theta and
    Omega are the true action (kpc^2/Myr), angle (rad) and frequency (rad/Myr) in `potential`.
    All arrays have shape (n_stars,).
    """

    pos: u.Quantity
    vel: u.Quantity
    label: NDArray[np.float64]
    label_err: NDArray[np.float64]
    J: u.Quantity
    theta: u.Quantity
    Omega: u.Quantity
    pos0: u.Quantity
    vel0: u.Quantity
    potential: Potential1D

    def __len__(self) -> int:
        return self.label.size


def tanh_label(J: Array) -> Array:
    """The default label of an orbit, 0.25 tanh(sqrt(J) / 0.25), with J in kpc^2/Myr."""
    J = internal(J, u.kpc**2 / u.Myr, "J", allow_plain=True)
    return 0.25 * np.tanh(np.sqrt(J) / 0.25)


def survey_selection(z: Array) -> Array:
    """The chance that a survey holds a star at height z (kpc), between 0 and 1.

    Dust and crowding hide most stars near the plane, distance those far from it, and the north
    was observed to larger heights than the south.
    """
    z = internal(z, u.kpc, "z", allow_plain=True)
    height = np.abs(z)
    hidden = 0.92 * np.exp(-((height / 0.15) ** 2))
    return (1 - hidden) * np.exp(-height / np.where(z > 0, 1.4, 0.9))


def draw_stars(
    n: int,
    potential: Potential1D | None = None,
    seed: int = 0,
    selection: str | Callable[[Array], Array] | None = None,
    *,
    midplane: tuple[u.Quantity, u.Quantity] | None = None,
    sun: tuple[u.Quantity, u.Quantity] | None = None,
    label: Callable[[Array], Array] = tanh_label,
    label_scatter: float = 0.06,
    label_err: tuple[float, float] = (0.01, 0.03),
    populations: Sequence[tuple[float, u.Quantity]] = POPULATIONS,
) -> MockSurvey:
    r"""Draw stars of an exact steady state until `n` of them survive the selection.

    The distribution function is f(J) = sum_k w_k exp[-E(J) / sigma_k^2] / N_k: each population
    is isothermal, so v_z is Gaussian of dispersion sigma_k at every height and the density
    goes as exp(-Phi / sigma_k^2) (Spitzer 1942). J is drawn from its tabulated cumulative
    distribution, the angle uniformly, and both are mapped to (z, v_z) on the orbit, whose table
    is good to a relative 1e-8. The same seed gives the same stars, and a smaller n their beginning.

    Parameters
    ----------
    n : int
        Number of stars returned.
    potential : Potential1D, optional
        The true potential; `solar_potential()` by default.
    seed : int
        Seed of all random numbers, not negative.
    selection : None, "survey" or callable
        The probability that a star at height z above the midplane (kpc, array) is kept.
    midplane : (Quantity, Quantity), optional
        The midplane's position and velocity (pos0, vel0) in the observer's frame; zero by default.
        An observer at the Sun, in a frame with the Sun at zero, is at -pos0 above the midplane.
    sun : (Quantity, Quantity), optional
        The earlier name of `midplane`.
    label : callable
        Mean label as a function of J (kpc^2/Myr); it should be monotone.
    label_scatter : float
        Standard deviation of the intrinsic scatter of the label.
    label_err : (float, float)
        Range of the measurement errors, which are log-uniform in it and included in the label.
    populations : sequence of (float, Quantity)
        Weight and velocity dispersion of each population, before the selection.

    Returns
    -------
    MockSurvey
        The stars and the truth about them.

    Raises
    ------
    ValueError
        For a negative n or seed, an unknown selection, one with values outside [0, 1] or one that
        no star survives, and for negative errors, scatter, weights or dispersions.
    UnitError
        For an offset or a dispersion without a unit, or with one of the wrong kind.
    """
    n, seed = checked_count(n), _checked_seed(seed)
    potential = solar_potential() if potential is None else potential
    if not isinstance(potential, Potential1D):
        raise ValueError(f"potential must be a Potential1D, not {potential!r}.")
    if not callable(label):
        raise ValueError(f"label must be a function of J, not {label!r}.")
    if midplane is not None and sun is not None:
        raise ValueError("midplane must be given once: sun is its earlier name.")
    pos0, vel0 = _checked_midplane(midplane if sun is None else sun)
    galaxy = _Galaxy.build(potential, populations)
    noise = _Noise(label, *_checked_noise(label_scatter, label_err))
    keep = _checked_selection(selection)
    columns = _collect(n, lambda rng: _draw_chunk(rng, galaxy, keep, noise), seed)
    z, vz, J, theta, omega, values, errors = columns
    return MockSurvey(
        pos=(z + pos0) * u.kpc,
        vel=(vz + vel0) * (u.kpc / u.Myr),
        label=values,
        label_err=errors,
        J=J * (u.kpc**2 / u.Myr),
        theta=theta * u.rad,
        Omega=omega * (u.rad / u.Myr),
        pos0=pos0 * u.kpc,
        vel0=vel0 * (u.kpc / u.Myr),
        potential=potential,
    )


@dataclass(frozen=True)
class _Noise:
    label: Callable[[Array], Array]
    scatter: float
    low: float
    high: float

    def draw(self, rng: np.random.Generator, J: Array) -> tuple[Array, Array]:
        errors = self.low * (self.high / self.low) ** rng.random(J.size) if self.high else 0 * J
        spread = np.hypot(self.scatter, errors)
        mean = np.asarray(self.label(J), dtype=float)
        if mean.shape != J.shape:
            raise ValueError(f"label must return one value a star, not an array {mean.shape}.")
        if not np.all(np.isfinite(mean)):
            raise ValueError("label must return finite values, but does not.")
        return mean + spread * rng.standard_normal(J.size), errors


@dataclass(frozen=True)
class _Population:
    # The orbit's place as a function of w = sqrt(-ln S), S the fraction of stars with a larger J.
    # In a harmonic well w is sqrt(J Omega) / sigma: everywhere else as smooth, tail included.
    grid: Grid
    height: Array

    def draw_height(self, rng: np.random.Generator, n: int) -> Array:
        w = np.sqrt(rng.standard_exponential(n))
        return w * spline_value(self.height, self.grid.index(np.minimum(w, self._top)))

    @property
    def _top(self) -> float:
        return self.grid.scale * float(np.sinh(self.grid.step * self.grid.n))


@dataclass(frozen=True)
class _Galaxy:
    table: PhaseTable
    weights: Array
    populations: tuple[_Population, ...]

    @classmethod
    def build(cls, potential: Potential1D, populations: Sequence) -> "_Galaxy":
        pairs = isinstance(populations, Sequence) and not isinstance(populations, str)
        if not pairs or not all(isinstance(p, Sequence) and len(p) == 2 for p in populations):
            raise ValueError(
                f"populations must be pairs (weight, dispersion), but {populations!r} was given."
            )
        weights = np.array([float(weight) for weight, _ in populations])
        if not (weights.size and np.all(weights >= 0) and 0 < weights.sum() < np.inf):
            raise ValueError(f"the weights of populations must be >= 0, not {weights.tolist()}.")
        sigmas = [_checked_dispersion(sigma) for _, sigma in populations]
        top = 1.2 * potential.z_max(ENERGY_TOP * max(sigmas) ** 2)
        table = potential.tabulate(float(top))
        tables = tuple(_tabulate_population(table, sigma) for sigma in sigmas)
        return cls(table, np.cumsum(weights) / weights.sum(), tables)

    def draw_orbits(self, rng: np.random.Generator, n: int) -> Array:
        which = np.searchsorted(self.weights, rng.random(n), side="right")
        heights = np.empty(n)
        for k, population in enumerate(self.populations):
            mine = which == k
            heights[mine] = population.draw_height(rng, int(mine.sum()))
        return heights


def _tabulate_population(table: PhaseTable, sigma: float) -> _Population:
    speed, mass = _action_mass(table, sigma)
    tail = mass[-1]
    below = np.cumsum(mass[:-1])
    above = (np.cumsum(mass[::-1])[::-1])[1:]
    total = below[-1] + tail
    # Each half is summed from its own end, so neither loses digits to the other.
    small = np.minimum(below, above) / total
    log_survival = np.where(below < above, np.log1p(-small), np.log(small))
    w = np.sqrt(-log_survival)
    height = table.potential.z_max(speed**2 / 2)
    knots = np.concatenate([-w[::-1], [0.0], w])
    odd = make_interp_spline(knots, np.concatenate([-height[::-1], [0.0], height]), k=ORDER)
    grid = Grid.reaching(0.9 * w[-1], 0.1)
    ratio = np.append(odd.derivative()(0.0), odd(grid.nodes()[1:]) / grid.nodes()[1:])
    return _Population(grid, spline_coefficients(mirrored(ratio, 1)))


def _action_mass(table: PhaseTable, sigma: float) -> tuple[Array, Array]:
    # f dJ = exp(-v^2 / 2 sigma^2) v dv / Omega between knots in v = sqrt(2 E), and the tail.
    edges = np.linspace(0, np.sqrt(2 * ENERGY_TOP) * sigma, 4001)
    nodes, weights = np.polynomial.legendre.leggauss(4)
    half = edges[1] / 2
    speed = edges[:-1, None] + half * (1 + nodes)
    omega = table.frequency(table.orbit(speed.ravel() ** 2 / 2)).reshape(speed.shape)
    mass = half * (np.exp(-(speed**2) / (2 * sigma**2)) * speed / omega) @ weights
    return edges[1:], np.append(mass, sigma**2 * np.exp(-ENERGY_TOP) / omega[-1, -1])


def _draw_chunk(
    rng: np.random.Generator, galaxy: _Galaxy, keep: Callable | None, noise: _Noise
) -> Array:
    table = galaxy.table
    height = galaxy.draw_orbits(rng, CHUNK)
    theta = 2 * np.pi * rng.random(CHUNK)
    orbit = table.orbits.index(height)
    x = table.phase(orbit, theta)
    z = height * np.sin(x)
    if keep is not None:
        kept = rng.random(CHUNK) < _checked_probability(keep(z), z)
        height, theta, orbit, x, z = (column[kept] for column in (height, theta, orbit, x, z))
    vz = height * np.cos(x) * table.potential.kappa(z, height)
    J, omega = table.action(orbit), table.frequency(orbit)
    return np.stack([z, vz, J, theta, omega, *noise.draw(rng, J)])


def _collect(n: int, draw: Callable[[np.random.Generator], Array], seed: int) -> Array:
    chunks, found, barren = [], 0, 0
    for chunk in _in_order(draw, seed) if n else ():
        chunks.append(chunk)
        found += chunk.shape[1]
        barren = 0 if chunk.shape[1] else barren + 1
        if found >= n:
            break
        if barren == MAX_BARREN:
            raise ValueError(f"selection kept none of {barren * CHUNK} stars in a row.")
    return np.concatenate(chunks, axis=1)[:, :n] if n else np.empty((7, 0))


def _in_order(draw: Callable, seed: int) -> Iterator[Array]:
    # Threads only help: a chunk's stars depend on the seed and its number, and come in order.
    # Other streams of a mock are children of `streams`, which share nothing with these.
    workers = min(8, cores())
    with Threads(workers) as pool:
        start = 0
        while True:
            seeds = range(start, start + (1 if start == 0 else workers))
            start += len(seeds)
            yield from pool.map(lambda i: draw(np.random.default_rng([seed, i])), seeds)


def streams(seed: int, name: str) -> np.random.SeedSequence:
    """The root of the random streams called `name` of a seed: to spawn from, never to draw from.

    Names keep apart what draws with the same seed, and a child is no stream of stars.
    """
    return np.random.SeedSequence(_checked_seed(seed), spawn_key=tuple(name.encode()))


def _checked_seed(seed: int) -> int:
    return whole_number(seed, "seed", 0)


def checked_count(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, Real) or not 0 <= n < 2**63 or n % 1:
        raise ValueError(f"n must be a whole number of stars >= 0, not {n!r}.")
    return int(n)


def _checked_dispersion(sigma: u.Quantity) -> float:
    value = internal(sigma, u.kpc / u.Myr, "the dispersion of a population")
    # Between these the potential's tables are exact: from a millionth of the disc's to light's.
    if value.ndim or not 1e-8 < value < 300:
        raise ValueError(f"the dispersion of a population must be > 0, not {sigma}.")
    return float(value)


def _checked_midplane(midplane: tuple[u.Quantity, u.Quantity] | None) -> tuple[float, float]:
    midplane = (0 * u.kpc, 0 * KMS) if midplane is None else midplane
    if not isinstance(midplane, tuple | list) or len(midplane) != 2:
        raise ValueError(f"midplane must be a pair (pos0, vel0), but {midplane!r} was given.")
    out = internal(midplane[0], u.kpc, "pos0"), internal(midplane[1], u.kpc / u.Myr, "vel0")
    for name, value, given in zip(("pos0", "vel0"), out, midplane, strict=True):
        if value.ndim or not abs(value) < 1e6:
            raise ValueError(f"{name} must be one finite value, but {given} was given.")
    return float(out[0]), float(out[1])


def _checked_noise(scatter: float, err: tuple[float, float]) -> tuple[float, float, float]:
    if not isinstance(err, tuple | list) or [isinstance(x, Real) for x in err] != [True] * 2:
        raise ValueError(f"label_err must be a range (low, high) of numbers, not {err!r}.")
    low, high = err
    scatter = real_number(scatter, "label_scatter", "a number >= 0", lambda x: x >= 0)
    if not (low == high == 0 or 0 < low <= high < np.inf):
        raise ValueError(f"label_err must be (0, 0) or a range 0 < low <= high, not {err}.")
    return scatter, low, high


def _checked_selection(selection: str | Callable | None) -> Callable[[Array], Array] | None:
    if selection == "survey":
        return survey_selection
    if selection is None or callable(selection):
        return selection
    raise ValueError(f'selection must be None, "survey" or a function of z, not {selection!r}.')


def _checked_probability(chance: Array, z: Array) -> Array:
    chance = np.asarray(chance, dtype=float)
    if chance.shape not in ((), z.shape):
        raise ValueError(f"selection must return one value a star, not an array {chance.shape}.")
    if not np.all((chance >= 0) & (chance <= 1)):
        raise ValueError(
            "selection must return probabilities between 0 and 1, but it returned values between "
            f"{np.min(chance):g} and {np.max(chance):g}."
        )
    return chance
