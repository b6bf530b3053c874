"""The Fourier family against finite differences, adaptive quadrature and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from torusimaging.coordinates import Points
from torusimaging.foliation import FourierFoliation, UserFunction, fourier_orbits, solve_r_e
from torusimaging.splines import QuadraticSpline


def smooth(r, amplitude):
    return amplitude * jnp.tanh(3 * r)


def spline(slopes):
    knots = jnp.asarray([0.0, 0.05, 0.2, 0.5])
    return QuadraticSpline(knots, jnp.asarray(0.0), jnp.asarray(slopes))


def foliation(convention, amplitudes, pos0=0.03, vel0=-0.002):
    return FourierFoliation(
        jnp.asarray(0.08),
        jnp.asarray(pos0),
        jnp.asarray(vel0),
        tuple(UserFunction(smooth, {"amplitude": a}) for a in amplitudes.values()),
        tuple(amplitudes),
        convention,
        jnp.asarray(0.5),
    )


CASES = {
    "even pv": foliation("pv", {2: 0.15, 4: -0.02}),
    "even vp": foliation("vp", {2: -0.15, 4: -0.02}),
    "odd vp": foliation("vp", {1: 0.05, 2: -0.1, 3: 0.02}),
    "odd pv": foliation("pv", {1: 0.05, 2: 0.1, 3: 0.02}),
    "spline": FourierFoliation(
        jnp.asarray(0.08),
        jnp.asarray(0.03),
        jnp.asarray(-0.002),
        (spline([0.8, 0.5, 0.2]), spline([-0.05, -0.06, -0.02])),
        (2, 4),
        "pv",
        jnp.asarray(0.5),
    ),
}
FORCED = {name: f for name, f in CASES.items() if f.has_force}


@pytest.mark.parametrize("name", CASES)
def test_round_trip(name):
    f = CASES[name]
    rng = np.random.default_rng(1)
    pos, vel = jnp.asarray(rng.normal(0.03, 0.5, 500)), jnp.asarray(rng.normal(0, 0.03, 500))
    r, (_, theta) = f.radius(Points(pos, vel)), f.elliptical(Points(pos, vel))
    back = f.point(r, theta)
    np.testing.assert_allclose(back[0], pos, atol=1e-10)
    np.testing.assert_allclose(back[1], vel, atol=1e-10)


@pytest.mark.parametrize("name", FORCED)
def test_acceleration_is_the_limit_of_the_contour_slope(name):
    f = FORCED[name]
    pos = jnp.asarray([-0.8, -0.3, -0.05, 0.1, 0.4, 0.9])

    def slope(q):
        # -p (dr/dq) / (dr/dp) at a small p: the error is of order p^2, 1e-10 relative.
        p = 1e-6
        dq, dp = jax.grad(lambda *x: f.radius(Points(*x)), argnums=(0, 1))(q, f.vel0 + p)
        return -p * dq / dp

    np.testing.assert_allclose(f.acceleration(pos), jax.vmap(slope)(pos), rtol=1e-6)
    derivative = jax.vmap(jax.grad(f.acceleration))(pos)
    np.testing.assert_allclose(f.acceleration_slope(pos), derivative, rtol=1e-9)


def e_and_slope(e, u):
    """A distortion and its slope in plain numpy, independent of the code under test."""
    if isinstance(e, UserFunction):
        a, t = float(e.params["amplitude"]), np.tanh(3 * u)
        return a * t, 3 * a * (1 - t**2)
    knots = np.asarray(e.knots)
    slopes = np.r_[np.asarray(e.slopes)[0], np.asarray(e.slopes)]
    i = min(max(int(np.searchsorted(knots, u, side="right")) - 1, 0), len(knots) - 2)
    start = np.sum(0.5 * (slopes[1 : i + 1] + slopes[:i]) * np.diff(knots)[:i])
    x, h = u - knots[i], knots[i + 1] - knots[i]
    rate = (slopes[i + 1] - slopes[i]) / h
    return start + slopes[i] * x + 0.5 * rate * x**2, slopes[i] + rate * x


def by_quadrature(f, pos, vel):
    """(J, theta) of one star from adaptive quadrature over its contour, in plain numpy."""
    r, theta_e = float(f.radius(Points(pos, vel))), float(f.elliptical(Points(pos, vel))[1])
    pairs = list(zip(f.orders, f.e_funcs, strict=True))

    def contour(t):
        u = r
        for _ in range(50):
            terms = [(np.cos(m * t), *e_and_slope(e, u)) for m, e in pairs]
            slope = 1 + sum(c * (v + u * d) for c, v, d in terms)
            step = (u * (1 + sum(c * v for c, v, _ in terms)) - r) / slope
            u -= step
            if abs(step) < 1e-15:
                return u, slope
        raise AssertionError("no root")

    def integrate(func, a, b):
        return quad(func, a, b, epsabs=1e-10, epsrel=1e-8, limit=200)[0]

    def g(t):
        u, slope = contour(t)
        return u / slope

    half = 2 * integrate(lambda t: contour(t)[0] ** 2, 0, np.pi)
    mean = integrate(g, 0, np.pi) / np.pi
    start = 0.0 if f.convention == "pv" else np.pi / 2
    theta = integrate(g, start, theta_e) / mean
    return half / (4 * np.pi), (theta if f.convention == "pv" else -theta) % (2 * np.pi)


@pytest.mark.parametrize("name", CASES)
def test_action_and_angle_against_quadrature(name):
    f = CASES[name]
    table = fourier_orbits.tabulate(f, jnp.asarray(0.5))
    stars = [(0.4, 0.02), (-0.5, 0.03), (-0.9, -0.01)]
    for pos, vel in stars:
        out = fourier_orbits.orbits(f, table, Points(jnp.asarray([pos]), jnp.asarray([vel])))
        action, theta = by_quadrature(f, jnp.asarray(pos), jnp.asarray(vel))
        assert out.flag[0] == 0
        np.testing.assert_allclose(out.J[0], action, rtol=1e-6)
        np.testing.assert_allclose(out.theta[0], theta, atol=1e-6)


def test_harmonic_oscillator_is_exact():
    f = foliation("pv", {2: 0.0})
    rng = np.random.default_rng(2)
    pos, vel = rng.normal(0.03, 0.4, 200), rng.normal(0, 0.02, 200)
    out = fourier_orbits.orbits(
        f,
        fourier_orbits.tabulate(f, jnp.asarray(1.0)),
        Points(jnp.asarray(pos), jnp.asarray(vel)),
    )
    q, p = pos - 0.03, vel + 0.002
    np.testing.assert_allclose(out.J, 0.5 * (q**2 * 0.08 + p**2 / 0.08), rtol=1e-10)
    angle = np.arctan2(q * 0.08, p) % (2 * np.pi)
    np.testing.assert_allclose(out.theta, angle, atol=1e-10)
    np.testing.assert_allclose(out.Omega, 0.08, rtol=1e-10)


@pytest.mark.parametrize("name", FORCED)
def test_period_is_the_time_along_the_contour(name):
    f = FORCED[name]
    table = fourier_orbits.tabulate(f, jnp.asarray(0.5))
    pos, vel = jnp.asarray([0.5]), jnp.asarray([0.0])
    out = fourier_orbits.orbits(f, table, Points(pos, vel))
    r = float(f.radius(Points(pos, vel))[0])
    # Periodic trapezoid on a fine grid, half a step off the turning points: smooth, so exact.
    theta = (jnp.arange(20000) + 0.5) / 20000 * 2 * jnp.pi
    q, v, *_ = f.point(jnp.full_like(theta, r), theta)
    step = (jnp.roll(q, -1) - jnp.roll(q, 1)) / 2
    total = float(jnp.abs(jnp.sum(step / (v - f.vel0))))
    np.testing.assert_allclose(out.T[0], total, rtol=1e-5)


def test_no_force_for_odd_orders_in_pv():
    f = CASES["odd pv"]
    assert not f.has_force
    assert np.all(np.isnan(f.acceleration(jnp.asarray([0.1, 0.2]))))


def test_flags():
    f = CASES["spline"]
    table = fourier_orbits.tabulate(f, jnp.asarray(0.5))
    out = fourier_orbits.orbits(f, table, Points(jnp.asarray([0.1, 50.0, np.nan]), jnp.zeros(3)))
    assert list(out.flag) == [0, 1, 2]
    assert list(np.isnan(out.J)) == [False, True, True]


def test_crossing_contours_end_the_model():
    f = foliation("pv", {2: 0.9})
    table = fourier_orbits.tabulate(f, jnp.asarray(2.0))
    limit = fourier_orbits.last_radius(f, jnp.asarray(2.0))[1]
    assert limit < 2.0
    out = fourier_orbits.orbits(f, table, Points(jnp.asarray([3.0]), jnp.asarray([0.0])))
    assert out.flag[0] == 1


def test_inverse_needs_no_bracket():
    f = foliation("pv", {2: 0.1})
    r = jnp.asarray([1e-12, 1.0, 1e6])
    u = solve_r_e(f, r, jnp.zeros(3))
    np.testing.assert_allclose(f.distort(u, jnp.zeros(3)), r, rtol=1e-12)
