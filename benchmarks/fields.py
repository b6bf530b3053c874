"""Exact one-dimensional fields of any density, and stars in a steady state in them.

For benchmarks: densities that no form of the model holds, selections with holes at the plane.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import leggauss

G = 4.498502151469554e-12  # kpc^3 / (Msun Myr^2)
FOUR_PI_G = 4 * np.pi * G
KMS = 1 / 977.7922216807892  # kpc/Myr
PER_PC3 = 1e9  # Msun/kpc^3
TOP, CELLS = 6.0, 60_000  # kpc, cells of each side
POPULATIONS = ((0.75, 18 * KMS), (0.25, 35 * KMS))  # weight and dispersion (kpc/Myr)
SUN = 0.021, 0.7 * KMS  # the midplane's pos0 and vel0 as observed


def sech2(x):
    """1 / cosh^2, without overflow."""
    return 1 / np.cosh(np.minimum(np.abs(x), 300.0)) ** 2


def disc(z, *layers, halo=0.0):
    """Layers (Msun/pc^3, kpc) of sech^2 and a constant, in Msun/kpc^3."""
    return PER_PC3 * (halo + sum(rho * sech2(z / h) for rho, h in layers))


def gas100(z):
    """An exponential disc with a Gaussian layer of gas of 100 pc and a halo."""
    gas, stars = 0.04 * np.exp(-0.5 * (z / 0.1) ** 2), 0.045 * np.exp(-np.abs(z) / 0.29)
    return PER_PC3 * (gas + stars + 0.004 * np.exp(-np.abs(z) / 0.9) + 0.0105)


def ring(z):
    """A disc, a layer that ends at 150 pc, and a halo that falls."""
    layer = 0.0125 * (1 + np.cos(np.pi * np.minimum(np.abs(z) / 0.15, 1.0)))
    return disc(z, (0.06, 0.25), halo=0.012) + PER_PC3 * (layer + 0.004 / (1 + (z / 0.8) ** 2))


def asymmetric(z):
    """Scale heights of 0.32 kpc above and 0.20 kpc below."""
    height = np.where(z >= 0, 0.32, 0.20)
    return disc(z / height, (0.055, 1.0)) + disc(z, (0.035, 0.13), halo=0.01)


DENSITIES: dict[str, Callable] = {
    "gas100": gas100,
    "gas60": lambda z: disc(z, (0.05, 0.06), (0.04, 0.30), (0.006, 0.9), halo=0.01),
    "exponential": lambda z: PER_PC3 * (0.09 * np.exp(-np.abs(z) / 0.25) + 0.01),
    "harmonic": lambda z: np.full(np.shape(z), 0.06 * PER_PC3),
    "sheet": lambda z: disc(z, (0.085, 0.28), halo=0.001),
    "ring": ring,
    "asymmetric": asymmetric,
    "razor": lambda z: disc(z, (1.0, 0.02), halo=0.03),
}


def survey(z):
    """Most stars near the plane hidden, and fewer far away, above more than below."""
    x = np.abs(z)
    return (1 - 0.92 * np.exp(-((x / 0.15) ** 2))) * np.exp(-x / np.where(z > 0, 1.4, 0.9))


def holes(z):
    """No star within 90 pc of the plane, and two layers nearly empty."""
    x = np.abs(z)
    chance = np.exp(-x / np.where(z > 0, 1.1, 0.6)) / (1 + np.exp(-(x - 0.13) / 0.012))
    chance = np.where((z > 0.36) & (z < 0.46), 0.05 * chance, chance)
    chance = np.where((z < -0.62) & (z > -0.70), 0.1 * chance, chance)
    return np.where(x < 0.09, 0.0, chance)


SELECTIONS: dict[str, Callable] = {"all": np.ones_like, "survey": survey, "holes": holes}


@dataclass(frozen=True)
class Field:
    """Force and potential at the edges of even cells of |z|, of either side: shape (2, n)."""

    rho: Callable
    edges: np.ndarray
    force: np.ndarray
    phi: np.ndarray

    @classmethod
    def of(cls, rho: Callable) -> "Field":
        """By Gauss-Legendre rules of 4 nodes in each cell, of rho and of (edge - z) rho."""
        edges = np.linspace(0.0, TOP, CELLS + 1)
        step = edges[1]
        t, w = leggauss(4)
        nodes = edges[:-1, None] + step * (1 + t) / 2
        force, phi = [], []
        for sign in (1, -1):
            values = FOUR_PI_G * rho(sign * nodes) * w * step / 2
            f = np.concatenate([[0.0], np.cumsum(values.sum(axis=1))])
            # Phi rises by force(start) * step and by what the cell's own mass adds.
            own = np.sum(values * (edges[1:, None] - nodes), axis=1)
            force.append(f)
            phi.append(np.concatenate([[0.0], np.cumsum(f[:-1] * step + own)]))
        return cls(rho, edges, np.array(force), np.array(phi))

    def _at(self, z, columns):
        """A column at heights z of either sign: linear in cells of 0.1 pc, good to 1e-8."""
        up, down = (np.interp(np.abs(z), self.edges, c) for c in columns)
        return np.where(np.asarray(z) >= 0, up, down)

    def acceleration(self, z):
        """kpc/Myr^2 at heights z (kpc)."""
        return -np.sign(z) * self._at(z, self.force)

    def potential(self, z):
        """kpc^2/Myr^2, 0 at the plane."""
        return self._at(z, self.phi)

    def surface_density(self, height: float) -> float:
        """Msun/kpc^2 within +-height."""
        return float(np.diff(self.acceleration(np.array([height, -height])))[0] / FOUR_PI_G)

    def action(self, energy):
        """J (kpc^2/Myr) = (1/pi) int sqrt(2 (E - Phi)) dz over both sides, by a table of orbits."""
        heights = np.geomspace(2e-4, 0.9 * TOP, 1200)
        table = self.phi[0][np.searchsorted(self.edges, heights)]
        t, w = leggauss(200)
        total = np.zeros(table.size)
        for phi in self.phi:
            turn = np.interp(table, phi, self.edges)
            # z = turn sin(u); half of the nodes within 150 pc, where thin layers bend the force.
            split = np.arcsin(np.minimum(0.15 / turn, 1.0))
            for low, high in ((0 * split, split), (split, np.full(split.size, np.pi / 2))):
                u = (low + high)[:, None] / 2 + (high - low)[:, None] / 2 * t
                z = turn[:, None] * np.sin(u)
                speed = np.sqrt(np.maximum(2 * (table[:, None] - np.interp(z, self.edges, phi)), 0))
                total += np.sum(speed * turn[:, None] * np.cos(u) * w, axis=1) * (high - low) / 2
        ratio = total / np.pi / table  # 1 / Omega of the smallest orbits: smooth in ln E
        energy = np.maximum(energy, table[0])
        return energy * np.interp(np.log(energy), np.log(table), ratio)


def draw(field: Field, stars: int, rng, selection: Callable) -> dict[str, np.ndarray]:
    """`stars` that survive the selection of the height above the plane: pos, vel, label, error.

    Isothermal populations, exp(-Phi / sigma^2) in height, and the label 0.25 tanh(sqrt(J) / 0.25).
    """
    z = np.linspace(-3.0, 3.0, 24_001)
    shapes = [np.exp(-field.potential(z) / sigma**2) for _, sigma in POPULATIONS]
    kept = [shape * selection(z) for shape in shapes]
    mass = np.array(
        [w * k.sum() / s.sum() for (w, _), k, s in zip(POPULATIONS, kept, shapes, strict=True)]
    )
    which = rng.choice(len(POPULATIONS), stars, p=mass / mass.sum())
    height, vel = np.empty(stars), np.empty(stars)
    for i, (_, sigma) in enumerate(POPULATIONS):
        mine = which == i
        total = np.concatenate([[0.0], np.cumsum(kept[i][1:] + kept[i][:-1])])
        height[mine] = np.interp(rng.random(mine.sum()), total / total[-1], z)
        vel[mine] = sigma * rng.standard_normal(mine.sum())
    action = field.action(vel**2 / 2 + field.potential(height))
    error = np.exp(rng.normal(-4.0, 0.4, stars))
    label = 0.25 * np.tanh(np.sqrt(action) / 0.25)
    label += np.hypot(0.06, error) * rng.standard_normal(stars)
    return {"pos": height + SUN[0], "vel": vel + SUN[1], "label": label, "label_err": error}
