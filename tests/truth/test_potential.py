"""The potential family against closed forms, adaptive quadrature and orbits in time."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.interpolate import BSpline
from scipy.optimize import brentq

from torusimaging import mock
from torusimaging.coordinates import Points
from torusimaging.foliation import PotentialFoliation
from torusimaging.foliation.density import (
    FOUR_PI_G,
    FunctionSide,
    LayeredSide,
    LinearSide,
    SmoothSide,
    middles,
    potential_matrix,
    smooth_potential_matrix,
)
from torusimaging.foliation.grid import COARSE, FINE, HalfTable, OrbitGrid, orbit_integrals
from torusimaging.foliation.potential_orbits import potential_orbits
from torusimaging.models.smooth import smooth_knots

KNOTS = np.array([0.0, 0.04, 0.12, 0.23, 0.38, 0.55, 0.75, 0.96, 1.2, 3.0])
VALUES = 8e7 * np.exp(-KNOTS / 0.3) + 1e7
LINEAR = LinearSide(jnp.asarray(KNOTS), jnp.asarray(VALUES))
OTHER = LinearSide(jnp.asarray(KNOTS), jnp.asarray(VALUES[0] * (0.7 + 0.3 * np.exp(-KNOTS))))
TOP = 2.5


def layered(potential: mock.Potential1D) -> LayeredSide:
    layers = [("sech2", rho, h) for rho, h in potential.layers]
    kinds, rho, h = zip(*layers, ("constant", potential.rho_dm, 1.0), strict=True)
    return LayeredSide(kinds, tuple(map(jnp.asarray, rho)), tuple(map(jnp.asarray, h)))


def foliation(above, below=None, grid=None, pos0=0.0, vel0=0.0):
    grid = OrbitGrid.reaching(TOP, KNOTS) if grid is None else grid
    centre = jnp.asarray(pos0), jnp.asarray(vel0)
    return PotentialFoliation(*centre, above, below, grid, grid, grid.top)


def by_quadrature(side, energy: float) -> tuple[float, float, float]:
    """Turning height, action and 1/Omega of a symmetric orbit, by adaptive quadrature."""

    def phi(z):
        return float(potential_matrix(np.asarray(z), KNOTS) @ np.asarray(side.values))

    height = brentq(lambda z: phi(z) - energy, 1e-6, 10.0, xtol=1e-14, rtol=1e-15)
    kinks = [float(np.arcsin(k / height)) for k in KNOTS if 0 < k < height]
    kinks = kinks or [0.5]

    def kappa(x):
        return np.sqrt(2 * max(energy - phi(height * np.sin(x)), 0.0)) / height / np.cos(x)

    edges = [0.0, *kinks, np.pi / 2 - 1e-9]
    # Near the turning point the difference of potentials loses digits: 1e-10 is what is left.
    options = {"epsabs": 1e-13, "epsrel": 1e-10, "limit": 200}
    pieces = list(zip(edges[:-1], edges[1:], strict=True))
    action = sum(quad(lambda x: kappa(x) * np.cos(x) ** 2, a, b, **options)[0] for a, b in pieces)
    time = sum(quad(lambda x: 1 / kappa(x), a, b, **options)[0] for a, b in pieces)
    return height, 2 / np.pi * height**2 * action, 2 / np.pi * time


def test_frequencies_at_and_between_knots():
    """J and Omega of the table that stars get, to 1e-8, for a ragged density.

    Against Gauss-Legendre rules of 40 nodes between each two knots, on orbits next to knots, where
    derivatives jump, and between them.
    """
    rho = VALUES * np.exp(np.random.default_rng(0).normal(0, 0.3, KNOTS.size))
    side = LinearSide(jnp.asarray(KNOTS), jnp.asarray(rho))
    near = 1 + np.r_[-0.01, -1e-3, 1e-4, 1e-3, 3e-3, 0.01, 0.03]
    height = np.sort(np.r_[np.outer(KNOTS[1:-1], near).ravel(), np.linspace(0.02, 2.4, 60)])
    t, w = np.polynomial.legendre.leggauss(40)
    speed, action, omega = [], [], []
    for h in height:
        edges = np.r_[0.0, np.arcsin(KNOTS[(KNOTS > 0) & (KNOTS < h)] / h), np.pi / 2]
        half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
        x, weight = (middle + half * t).ravel(), (half * w).ravel()
        rise = potential_matrix(np.array([h]), KNOTS) - potential_matrix(h * np.sin(x), KNOTS)
        kappa = np.sqrt(2 * rise @ rho) / (h * np.cos(x))
        speed.append(np.sqrt(2 * (potential_matrix(np.array([h]), KNOTS) @ rho)[0]))
        action.append(2 / np.pi * h**2 * np.sum(weight * kappa * np.cos(x) ** 2))
        omega.append(1 / (2 / np.pi * np.sum(weight / kappa)))
    orbits = foliation(side, grid=OrbitGrid.for_knots(TOP, KNOTS, FINE))
    found = potential_orbits(orbits, Points(jnp.zeros(height.size), jnp.asarray(speed)))
    np.testing.assert_allclose(found.J, action, rtol=1e-9)
    np.testing.assert_allclose(found.Omega, omega, rtol=1e-8)


@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
def test_linear_density_against_adaptive_quadrature():
    """J to 1e-8 and Omega to 1e-7, between and beyond the knots."""
    orbits = foliation(LINEAR)
    for z in (0.02, 0.1, 0.3, 0.8, 1.5, 2.2):
        energy = float(LINEAR.potential(jnp.asarray(z)))
        _, action, inverse = by_quadrature(LINEAR, energy)
        found = potential_orbits(orbits, Points(jnp.asarray([z]), jnp.zeros(1)))
        assert float(found.J[0]) == pytest.approx(action, rel=1e-8)
        assert float(found.Omega[0]) == pytest.approx(1 / inverse, rel=1e-7)


def test_layers_against_the_exact_mock():
    """Actions, frequencies and angles of the mock's own quadrature, good to 1e-10."""
    truth = mock.solar_potential()
    side = layered(truth)
    z = jnp.linspace(0.0, 2.0, 7)
    np.testing.assert_allclose(side.density(z), truth.density(np.asarray(z)), rtol=1e-12)
    np.testing.assert_allclose(side.force(z), -truth.acceleration(np.asarray(z)), rtol=1e-12)
    np.testing.assert_allclose(side.potential(z), truth.potential(np.asarray(z)), atol=1e-16)
    rng = np.random.default_rng(0)
    pos, vel = rng.normal(0, 0.4, 400), rng.normal(0, 0.025, 400)
    orbits = foliation(side, grid=OrbitGrid.reaching(TOP, nodes=40))
    found = potential_orbits(orbits, Points(jnp.asarray(pos), jnp.asarray(vel)))
    assert np.all(np.asarray(found.flag) == 0)
    action, theta = truth.action_of(pos, vel), truth.angle(pos, vel)
    np.testing.assert_allclose(found.J, action, rtol=1e-8)
    energy = vel**2 / 2 + truth.potential(pos)
    np.testing.assert_allclose(found.Omega, truth.frequency(energy), rtol=1e-7)
    off = (np.asarray(found.theta) - theta + np.pi) % (2 * np.pi) - np.pi
    assert np.max(np.abs(off)) < 1e-6


def test_asymmetric_orbits_follow_the_motion_in_time():
    """Angles grow at the rate Omega along an orbit that is integrated in time."""
    orbits = foliation(LINEAR, OTHER, pos0=0.03, vel0=0.001)

    pull = eqx.filter_jit(orbits.acceleration)

    def rhs(_, y):
        return [y[1] - 0.001, float(pull(jnp.asarray(y[0])))]

    times = np.linspace(0.0, 150.0, 40)
    start = [0.5, 0.02]
    path = solve_ivp(rhs, (0, 150.0), start, "DOP853", times, rtol=1e-10, atol=1e-13).y
    found = potential_orbits(orbits, Points(*map(jnp.asarray, path)))
    assert np.ptp(found.J) < 1e-7 * found.J[0]
    expected = found.theta[0] + found.Omega[0] * times
    off = (np.asarray(found.theta - expected) + np.pi) % (2 * np.pi) - np.pi
    assert np.max(np.abs(off)) < 2e-6
    one, two = (
        by_quadrature(side, float(orbits.speed(Points(*map(jnp.asarray, start))) ** 2 / 2))
        for side in (LINEAR, OTHER)
    )
    assert float(found.J[0]) == pytest.approx((one[1] + two[1]) / 2, rel=1e-8)
    assert float(found.T[0]) == pytest.approx(np.pi * (one[2] + two[2]), rel=1e-7)


def test_angles_are_canonical():
    """The map (pos, vel) -> (theta, J) keeps areas: its determinant is 1."""
    orbits = foliation(LINEAR)

    def both(x):
        found = potential_orbits(orbits, Points(x[:1], x[1:]))
        return jnp.concatenate([found.theta, found.J])

    for point in ([0.3, 0.01], [-0.7, 0.03], [0.2, -0.04], [-0.05, -0.005]):
        determinant = np.linalg.det(jax.jacfwd(both)(jnp.asarray(point)))
        # Slopes of the tables' cubics are good to the cube of their spacing.
        assert determinant == pytest.approx(1.0, abs=2e-4)


def test_angle_zero_is_upwards_through_the_plane():
    orbits = foliation(LINEAR, pos0=0.02, vel0=0.001)
    pos = jnp.asarray([0.02, 0.52, 0.02, -0.48])
    vel = jnp.asarray([0.031, 0.001, -0.029, 0.001])
    found = potential_orbits(orbits, Points(pos, vel))
    np.testing.assert_allclose(found.theta, np.arange(4) * np.pi / 2, atol=1e-12)


def test_a_function_is_the_layer_it_computes():
    side = FunctionSide(lambda z, rho, h: rho / jnp.cosh(z / h) ** 2, {"rho": 9e7, "h": 0.2}, 1)
    layer = LayeredSide(("sech2",), (jnp.asarray(9e7),), (jnp.asarray(0.2),))
    x = jnp.asarray([0.0, 0.05, 0.4, 2.0])
    for name in ("density", "force", "potential"):
        one, two = (getattr(s, name)(x) for s in (side, layer))
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-18)


def smooth_side(seed: int = 0):
    """A rough one: values that differ by half their size from cell to cell."""
    knots = smooth_knots(16, 1.2, TOP)
    cells = middles(knots)
    values = 1e8 * np.exp(-cells / 0.3 + np.random.default_rng(seed).normal(0, 0.5, cells.size))
    return SmoothSide(jnp.asarray(knots), jnp.asarray(values))


def test_smooth_density_against_scipy():
    """The B-splines of degree 2 with mirrored knots, and their integrals."""
    side = smooth_side()
    knots, values = np.asarray(side.knots), np.asarray(side.values)
    # Mirrored at both ends: even about the plane, and flat where it ends.
    first, last = -knots[1:4][::-1], 2 * knots[-1] - knots[-4:-1][::-1]
    every = np.r_[first, knots, last]
    coefficients = np.r_[values[1::-1], values, values[:-3:-1]]
    spline = BSpline(every[1:-1], coefficients[1:-1], 2)
    x = np.linspace(0, knots[-1], 501)
    np.testing.assert_allclose(side.density(jnp.asarray(x)), spline(x), rtol=1e-9)
    force = np.array([spline.integrate(0, float(h)) for h in x]) * FOUR_PI_G
    np.testing.assert_allclose(side.force(jnp.asarray(x)), force, rtol=1e-9)
    for h in (0.03, 0.4, 1.3, 2.2):
        breaks = knots[knots < h]
        found, _ = quad(lambda y: float(side.force(jnp.asarray(y))), 0, h, points=breaks, limit=200)
        assert float(side.potential(jnp.asarray(h))) == pytest.approx(found, rel=1e-10)
    # Positive values make a positive density, constant beyond the knots, even far beyond.
    for seed in range(20):
        rough = smooth_side(seed)
        rho = np.asarray(rough.density(jnp.linspace(0.0, 100.0, 5001)))
        assert rho.min() >= float(rough.values.min()) * (1 - 1e-9)
    matrix = smooth_potential_matrix(x, knots) @ values
    np.testing.assert_allclose(matrix, side.potential(jnp.asarray(x)), rtol=1e-10, atol=1e-18)


def test_smooth_orbits_against_split_rules():
    """J to 1e-7 in fits and to 1e-8 for stars, Omega too: the rules are not split at the knots."""
    side = smooth_side()
    for n, tolerance in ((COARSE, 1e-7), (FINE, 1e-8)):
        grid = OrbitGrid.for_smooth(TOP, np.asarray(side.knots), n)
        split = OrbitGrid.reaching(TOP, np.asarray(side.knots), n, nodes=400)
        same = np.isin(np.asarray(split.heights), np.asarray(grid.heights))
        for one, other in zip(
            orbit_integrals(side, grid), orbit_integrals(side, split), strict=True
        ):
            np.testing.assert_allclose(one, np.asarray(other)[same], rtol=tolerance)


def test_basis_of_linear_densities():
    grid = OrbitGrid.for_knots(TOP, KNOTS)
    plain = OrbitGrid.reaching(TOP, KNOTS)
    np.testing.assert_allclose(LINEAR.kappa2(grid), LINEAR.kappa2(plain), rtol=1e-6)
    x = np.array([0.0, 0.3, 2.0])
    matrix = potential_matrix(x, KNOTS) @ VALUES
    np.testing.assert_allclose(matrix, LINEAR.potential(jnp.asarray(x)), rtol=1e-12)


def test_gradient_against_finite_differences():
    grid = OrbitGrid.for_knots(TOP, KNOTS)

    def of(ln_rho):
        side = LinearSide(jnp.asarray(KNOTS), jnp.exp(ln_rho))
        orbits = foliation(side, grid=grid)
        return orbits.radius(Points(jnp.asarray(0.4), jnp.asarray(0.03)))

    x = jnp.log(jnp.asarray(VALUES))
    slope, radius = jax.jit(jax.grad(of))(x), jax.jit(of)
    for i in (0, 2, 5):
        step = 1e-5 * jnp.eye(x.size)[i]
        finite = (radius(x + step) - radius(x - step)) / 2e-5
        assert float(slope[i]) == pytest.approx(float(finite), rel=1e-6)


def test_centre_and_beyond():
    """r is finite, with a finite gradient, at the centre and beyond the last orbit."""
    orbits = foliation(LINEAR)
    gradient = jax.grad(lambda p: orbits.radius(Points(p, jnp.zeros(()))))(jnp.zeros(()))
    assert np.isfinite(gradient)
    end = float(orbits.last_speed())
    table = HalfTable.of(LINEAR, orbits.grid)
    near = eqx.filter_jit(table.radius)(jnp.asarray([end * (1 - 1e-9), end * (1 + 1e-9), 2 * end]))
    assert float(near[1]) == pytest.approx(float(near[0]), rel=1e-6) and near[2] > near[1]
    found = potential_orbits(orbits, Points(jnp.asarray([0.1, 50.0, jnp.nan]), jnp.zeros(3)))
    assert list(np.asarray(found.flag)) == [0, 1, 2]
    assert np.isnan(found.J[1]) and np.isnan(found.theta[2])
