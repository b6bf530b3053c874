"""Orbits at other radii against quadrature, and the field's change with radius against a truth."""

import astropy.units as u
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

import torusimaging as oti
from torusimaging.coordinates import ROTATION, Points, radius_of
from torusimaging.foliation.radial import RadialFoliation
from torusimaging.models.extras import RadialChange

R0, H = 8.2, 3.0


@pytest.fixture(scope="module")
def survey():
    return oti.mock.draw_stars(20_000, seed=3)


def moved(survey, seed, inv_h=1 / H, spread=0.8):
    """The stars at radii of their own: the same shapes of orbits in a stronger or weaker field."""
    rng = np.random.default_rng(seed)
    R = rng.normal(R0, spread, len(survey)).clip(R0 - 2, R0 + 2)
    root = np.exp(-0.5 * inv_h * (R - R0))
    return R, (survey.vel - survey.vel0) * root + survey.vel0, root * survey.J.value


@pytest.fixture(scope="module")
def at_R0(survey):
    edges = {"pos": np.linspace(-1, 1, 21) * u.kpc, "vel": np.linspace(-60, 60, 21) * u.km / u.s}
    label, err = survey.label, survey.label_err
    binned = oti.data.get_binned_label(survey.pos, survey.vel, label, edges, label_err=err)
    return [oti.fit_map(binned, model=name) for name in ("potential", "spline")]


@pytest.mark.parametrize("kind", [0, 1])
def test_points_at_other_radii(at_R0, kind):
    """J, theta, Omega and T of a star in k Phi: those of the star at R0 with its speed over sqrt k.

    Round trip: a point at R0 moved to R and back is on the orbit of r k^(1/4).
    """
    here = at_R0[kind].model.foliation(at_R0[kind].params)
    orbits = RadialFoliation.around(here, jnp.asarray(R0), jnp.asarray(1 / H))
    R = np.linspace(7.0, 9.5, 11)
    k = np.exp(-(R - R0) / H)
    rng = np.random.default_rng(1)
    z, p = rng.normal(0, 0.3, 11), rng.normal(0, 0.02, 11)
    own = here.orbits(Points(jnp.asarray(z), jnp.asarray(p)))
    vel = float(here.vel0) + (p - float(here.vel0)) * np.sqrt(k)
    points = Points(jnp.asarray(z), jnp.asarray(vel), jnp.asarray(R))
    found = orbits.orbits(points)
    np.testing.assert_allclose(found.J, np.sqrt(k) * own.J, rtol=1e-12)
    np.testing.assert_allclose(found.theta, own.theta, rtol=1e-10)
    np.testing.assert_allclose(found.Omega, np.sqrt(k) * own.Omega, rtol=1e-12)
    np.testing.assert_allclose(found.T * found.Omega, 2 * np.pi, rtol=1e-12)
    radius = here.radius(Points(jnp.asarray(z), jnp.asarray(p)))
    np.testing.assert_allclose(orbits.radius(points), k**0.25 * radius, rtol=1e-12)
    np.testing.assert_allclose(orbits.prepared().radius(points), k**0.25 * radius, rtol=2e-6)
    np.testing.assert_array_equal(orbits.radius(points._replace(R=None)), here.radius(points))


def test_the_action_by_quadrature(at_R0):
    """sqrt(2 J) of the field k Phi itself, integrated; Omega as dE/dJ by differences."""
    here = at_R0[0].model.foliation(at_R0[0].params)
    orbits = RadialFoliation.around(here, jnp.asarray(R0), jnp.asarray(1 / H))
    R, z0, v0 = 9.1, float(here.pos0), float(here.vel0)
    k = np.exp(-(R - R0) / H)

    def action(energy):
        def phi(q):
            return k * float(here.potential(jnp.asarray(z0 + q)))

        top = brentq(lambda q: phi(q) - energy, 1e-3, 2.0, xtol=1e-14)

        def speed(t):
            return np.sqrt(max(2 * (energy - phi(top * np.sin(t))), 0.0)) * top * np.cos(t)

        return 2 / np.pi * quad(speed, 0, np.pi / 2, epsrel=1e-9, limit=200)[0]

    v = 0.03
    star = Points(jnp.full(1, z0), jnp.full(1, v0 + v), jnp.full(1, R))
    found = orbits.orbits(star)
    energy, step = 0.5 * v**2, 2e-6
    assert float(found.J[0]) == pytest.approx(action(energy), rel=1e-6)
    slope = 2 * step / (action(energy + step) - action(energy - step))
    assert float(found.Omega[0]) == pytest.approx(slope, rel=1e-4)


def test_actions_of_stars_at_their_radii(survey, at_R0):
    """`compute_action_angle` with R, against the truth: a tenth of the field's own error in J."""
    stars, model = 2000, at_R0[0].model
    R, vel, J = (x[:stars] for x in moved(survey, 0))
    # A model of the same field that changes with radius.
    params = at_R0[0].params | {"inv_h": 1 / H}
    other = model.with_extras((RadialChange.about(R0),))
    found = other.compute_action_angle(survey.pos[:stars], vel, params, R=R * u.kpc)
    plain = model.compute_action_angle(survey.pos[:stars], survey.vel[:stars], at_R0[0].params)
    # The plane's velocity, about which the field scales speeds, is a fitted one.
    ratio = found["J"].value / (plain["J"].value * J / survey.J[:stars].value)
    assert np.nanmedian(np.abs(ratio - 1)) < 1e-3
    assert np.nanmedian(np.abs(found["J"].value / J - 1)) < 0.03
    R[3] = np.nan
    lost = other.compute_action_angle(survey.pos[:stars], vel, params, R=R * u.kpc)
    assert lost["flag"][3] == 2 and np.isnan(lost["J"][3])
    with pytest.raises(ValueError, match="the field of this model does not change with R"):
        model.compute_action_angle(survey.pos[:stars], vel, at_R0[0].params, R=R * u.kpc)
    with pytest.raises(ValueError, match="R must be positive"):
        other.compute_action_angle(survey.pos[:stars], vel, params, R=-R * u.kpc)
    with pytest.raises(ValueError, match="pos, vel, R must have equal shapes"):
        other.compute_action_angle(survey.pos[:stars], vel, params, R=R[:7] * u.kpc)


def stars_at_radii(survey, gradient=0.0, seed=0):
    """Stars at their radii, whose label follows the action there and the guiding radius."""
    R, vel, J = moved(survey, seed)
    rng = np.random.default_rng(seed + 1)
    Lz = -ROTATION * rng.normal(R, 0.5) * u.kpc**2 / u.Myr
    label = oti.mock.tanh_label(J) + gradient * (np.abs(Lz.value) / ROTATION - R0)
    err = rng.uniform(0.01, 0.03, len(survey))
    label = label + np.hypot(0.06, err) * rng.standard_normal(len(survey))
    return oti.Stars(survey.pos, vel, {"x": label}, {"x": err}, R=R * u.kpc, Lz=Lz)


@pytest.mark.parametrize("model", ["potential", "spline"])
def test_the_change_with_radius_is_found(survey, model, tmp_path):
    """1/h, a label's gradient and a_z at R0, within 3.5 sd; without the term a_z is off."""
    stars = stars_at_radii(survey, gradient=-0.05)
    fit = oti.fit_stars(stars, model=model, R0=R0 * u.kpc).laplace(num_draws=1000)
    inv_h, slope = fit.samples["inv_h"], fit.samples["label_params.gradient"]
    assert np.abs(inv_h.mean() - 1 / H) < 3.5 * inv_h.std() < 0.35
    assert np.abs(slope.mean() + 0.05) < 3.5 * slope.std() < 0.01
    z = np.array([0.1, 0.3, 0.6]) * u.kpc
    table = oti.profiles(fit, z)
    true = [survey.potential.acceleration(x) for x in z.value] * u.kpc / u.Myr**2
    sd = (table["a_z_p84"] - table["a_z_p16"]) / 2
    assert np.max(np.abs((table["a_z_median"] - true) / sd).to_value("")) < 3.5
    assert fit.summary()["unit"][list(fit.samples.names).index("inv_h")] == "1 / kpc"
    R, few = stars.points.R[:5] * u.kpc, slice(0, 5)
    own = fit.actions(stars.pos[few], stars.vel[few], R=R, draws=10)
    plain = fit.model.compute_action_angle(stars.pos[few], stars.vel[few], fit.params, R=R)
    np.testing.assert_array_equal(own["J"], plain["J"])
    assert np.all(own["J_err"] > 0)
    assert "falls off with R as exp(-(R - 8.2 kpc) / h): 1/h = 0." in fit.report()
    back = oti.load(fit.save(tmp_path / "fit.nc"))
    assert float(back.model.extras[0].R0) == R0 and "h" in back.model.meaning("inv_h")
    np.testing.assert_allclose(back.chi2_per_pixel, fit.chi2_per_pixel)


def test_where_R0_comes_from(survey):
    """The given one, the frame's, and refusals of stars and values of no use."""
    R, vel, _ = moved(survey, 0)
    few = slice(0, 2000)

    def stars(R, **more):
        return oti.Stars(
            survey.pos[few], vel[few], {"x": survey.label[few]}, R=R[few] * u.kpc, **more
        )

    frame = oti.catalog.FRAMES["tutorial"]
    assert radius_of(str(frame)) == 8.3 and radius_of("nothing") is None
    fit = oti.fit_stars(stars(R, frame=frame), density_knots=6, label_knots=4)
    assert float(fit.model.extras[0].R0) == 8.3
    off = oti.fit_stars(stars(R), radial=False, density_knots=6, label_knots=4)
    assert off.model.extras == () and "inv_h" not in off.params
    with pytest.raises(ValueError, match="the radii R of the stars are all 8.2 kpc"):
        oti.fit_stars(stars(np.full(len(survey), R0)))
    with pytest.raises(ValueError, match="R0 is 20 kpc, but the stars' R are from"):
        oti.fit_stars(stars(R), R0=20 * u.kpc)
    with pytest.raises(ValueError, match="the stars have no R"):
        oti.fit_stars(oti.Stars(survey.pos, survey.vel, {"x": survey.label}), radial=True)
    with pytest.raises(ValueError, match="R0 must be positive"):
        RadialChange.about(-1.0)
