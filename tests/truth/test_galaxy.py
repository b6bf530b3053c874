"""Comparison of actions with exact, galpy's and gala's potentials, and with stored values."""

import astropy.units as u
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

import torusimaging as oti
from torusimaging.galaxy import _one_dimensional, _vertical

STARS = np.random.default_rng(0).normal(0, [0.4, 0.025], (200, 2)).T


def make_fit():
    bins = {"pos": np.linspace(-1.2, 1.2, 41) * u.kpc, "vel": np.linspace(-70, 70, 41) * u.km / u.s}
    survey = oti.mock.draw_stars(100_000, seed=0, selection="survey")
    binned = oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, bins, label_err=survey.label_err
    )
    return survey, oti.fit_map(binned)


@pytest.fixture(scope="module")
def survey_fit():
    return make_fit()


def test_exact_potential():
    """A spline of 801 heights gives J to 1e-8 and angles to 1e-6 rad."""
    truth = oti.mock.solar_potential()
    found = _one_dimensional(truth.potential, *STARS)
    np.testing.assert_allclose(found["J"], truth.action_of(*STARS), rtol=1e-8)
    off = (found["theta"] - truth.angle(*STARS) + np.pi) % (2 * np.pi) - np.pi
    assert np.max(np.abs(off)) < 1e-6


def by_quadrature(phi, q, p):
    zero = phi(np.zeros(1))[0]
    energy = p**2 / 2 + phi(np.array([q]))[0] - zero
    top = brentq(lambda z: phi(np.array([z]))[0] - zero - energy, 1e-6, 20)

    def rate(x):
        rise = energy - phi(np.array([top * np.sin(x)]))[0] + zero
        return np.sqrt(2 * max(rise, 0.0)) * top * np.cos(x)

    return 2 / np.pi * quad(rate, 0, np.pi / 2, epsabs=1e-13, epsrel=1e-10)[0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["gala", "galpy"])
def test_full_potentials(name):
    """Vertical actions against adaptive quadrature of the same potential."""
    if name == "gala":
        potentials = pytest.importorskip("gala.potential", reason="gala is not installed")
        potential = potentials.MilkyWayPotential2022()
    else:
        potentials = pytest.importorskip("galpy.potential", reason="galpy is not installed")
        potential = potentials.MWPotential2014
    phi, text = _vertical(potential, 8.21 * u.kpc)
    assert name in text
    q, p = STARS[:, :4]
    found = _one_dimensional(phi, q, p)
    for i in range(q.size):
        assert found["J"][i] == pytest.approx(by_quadrature(phi, q[i], p[i]), rel=1e-6)


def test_a_fit_beside_the_truth(survey_fit):
    survey, fit = survey_fit
    few = slice(0, 3000)
    z, v = survey.pos[few], survey.vel[few]
    given = {"J": survey.J[few], "theta": survey.theta[few], "Omega": survey.Omega[few]}
    pair = (fit.model, fit.params)
    one = oti.compare_actions(fit, survey.potential, z, v)
    two = oti.compare_actions(pair, given, z, v).summary()
    rows = one.summary()
    assert np.all(np.abs(rows["median"] - [1, 1, 0]) < [0.03, 0.03, 0.03])
    np.testing.assert_allclose(rows["median"], two["median"], atol=0.02)
    assert rows.meta["n_compared"] + rows.meta["n_left_out"] == 3000
    figure, axes = one.plot()
    assert len(axes) == 3
    figure.clear()


def test_bad_input(survey_fit):
    survey, fit = survey_fit
    z, v = survey.pos[:3], survey.vel[:3]
    with pytest.raises(ValueError, match="z has no unit"):
        oti.compare_actions(fit, survey.potential, z.value, v)
    with pytest.raises(ValueError, match="rows of one length"):
        oti.compare_actions(fit, survey.potential, z, v[:2])
    with pytest.raises(ValueError, match="but str was given"):
        oti.compare_actions(fit, "MWPotential2014", z, v)
    with pytest.raises(ValueError, match="method must be"):
        oti.compare_actions(fit, survey.potential, z, v, method="staeckel")
    with pytest.raises(ValueError, match="lacks theta, Omega"):
        oti.compare_actions(fit, {"J": survey.J[:3]}, z, v)
    with pytest.raises(ValueError, match="three dimensions, not a Potential1D"):
        oti.compare_actions(fit, survey.potential, z, v, method="agama")
    galpy = type("Disc", (), {"__module__": "galpy.potential"})()
    with pytest.raises(ValueError, match="R must be given"):
        oti.compare_actions(fit, galpy, z, v)
    try:
        import agama  # noqa: F401
    except ImportError:
        with pytest.raises(ValueError, match="Agama is not installed"):
            oti.compare_actions(fit, galpy, z, v, R=8 * u.kpc, method="agama")
    far = oti.compare_actions(fit, survey.potential, [0.1, np.nan] * u.kpc, [0, 0] * u.km / u.s)
    assert list(far.table["flag"]) == [0, 2] and np.isnan(far.table["J_ref"][1])
