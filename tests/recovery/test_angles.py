"""A disc that was kicked and is not mixed: terms of the label in the angle."""

import astropy.units as u
import jax.numpy as jnp
import numpy as np
import pytest

import torusimaging as oti
from torusimaging.coordinates import Points
from torusimaging.models.extras import WAVES, AngleTerms
from torusimaging.report.tables import describe

KMS = (1 * u.km / u.s).to_value(u.kpc / u.Myr)
BINS = {"pos": np.linspace(-1.2, 1.2, 41) * u.kpc, "vel": np.linspace(-70, 70, 41) * u.km / u.s}


def kicked(kick, time=500.0, stars=60_000, seed=1):
    """A survey whose stars all got the same speed (km/s) some time ago (Myr)."""
    survey = oti.mock.draw_stars(stars, seed=seed)
    z, v = survey.pos.to_value(u.kpc), survey.vel.to_value(u.kpc / u.Myr) + kick * KMS
    grid = np.linspace(-6, 6, 4001)
    pull, step = survey.potential.acceleration(grid), 0.5
    v = v + step / 2 * np.interp(z, grid, pull)
    for _ in range(int(time / step)):
        z = z + step * v
        v = v + step * np.interp(z, grid, pull)
    return survey, z * u.kpc, (v - step / 2 * np.interp(z, grid, pull)) * u.kpc / u.Myr


def test_terms_are_waves_in_the_angle():
    """Against sines and cosines of the angle itself; fast slopes are asked for or not."""
    survey = oti.mock.draw_stars(5000, seed=1)
    edges = {"pos": np.linspace(-1, 1, 21) * u.kpc, "vel": np.linspace(-60, 60, 21) * u.km / u.s}
    binned = oti.data.get_binned_label(survey.pos, survey.vel, survey.label, edges, label_err=0.02)
    model, _, start = oti.TorusImaging1DPotential.auto_init(binned)
    orbits = model.foliation(start)
    terms = AngleTerms.reaching(0.3, {"a": 1.0, "b": 2.0})
    rng = np.random.default_rng(0)
    own = {
        name: {m: jnp.asarray(rng.normal(size=2 * len(k))) for m, k in WAVES.items()}
        for name in "ab"
    }
    points = Points(*(jnp.asarray(rng.normal(0, s, 50)) for s in (0.3, 0.02)))
    radius, theta = orbits.radius(points), orbits.elliptical(points)[1]
    x = 1.5 * radius / (radius + 0.15)
    waves = [np.sin(np.pi * np.multiply.outer(np.array(k), np.asarray(x))) for k in WAVES.values()]
    found = terms.terms(orbits, points, radius, own)
    for k, name in enumerate("ab"):
        total = 0.0
        for m, sines in enumerate(waves, 1):
            cosine, sine = np.asarray(own[name][f"m{m}"]).reshape(2, -1) @ sines
            total = total + cosine * np.cos(m * theta) + sine * np.sin(m * theta)
        np.testing.assert_allclose(found[k], total, atol=1e-10)
    fast = terms.terms(orbits.prepared(), points, radius, own)
    np.testing.assert_allclose(fast, found, atol=1e-12)
    again = AngleTerms.from_settings(terms.settings())
    np.testing.assert_array_equal(again.terms(orbits, points, radius, own), found)
    centre = Points(orbits.pos0[None], orbits.vel0[None])
    assert np.all(np.asarray(terms.terms(orbits, centre, jnp.zeros(1), own)) == 0)
    one = terms.of_label("b")
    np.testing.assert_array_equal(
        one.terms(orbits, points, radius, terms.own_of_label(own, "b"))[0], found[1]
    )


@pytest.mark.parametrize("model", ["potential", "spline"])
def test_a_phase_spiral_is_described(model, tmp_path):
    """chi^2 per pixel falls to 1, and a_z stays within 15 % at three heights."""
    survey, z, v = kicked(12.0)
    binned = oti.data.get_binned_label(z, v, survey.label, BINS, label_err=survey.label_err)
    plain = oti.fit_map(binned, model=model)
    fit = oti.fit_map(binned, model=model, angles=True).laplace(num_draws=20)
    assert plain.chi2_per_pixel > 1.5 and fit.chi2_per_pixel < 1.15
    heights = np.array([0.2, 0.5, 1.0])
    found = fit.model.get_acceleration(heights * u.kpc, fit.params).value
    assert np.abs(found / survey.potential.acceleration(heights) - 1).max() < 0.15
    back = oti.load(fit.save(tmp_path / "fit.nc"))
    np.testing.assert_allclose(back.chi2_per_pixel, fit.chi2_per_pixel)
    assert "along the orbit" in back.model.meaning("angle_params.label.m1[0]")
    assert "The label changes along the orbits (rms): label by 0.0" in describe(back)
    assert len(back.model.draw_prior(back.params, back.bounds, 10)) == 10


def test_single_stars_have_such_terms():
    """A fit of stars describes the spiral, and so does its view as a map."""
    survey, z, v = kicked(12.0, stars=30_000)
    stars = oti.Stars(z, v, {"x": survey.label}, {"x": survey.label_err})
    fit = oti.fit_stars(stars, angles=True)
    plain = oti.fit_stars(stars)
    assert fit.mapped.chi2_per_pixel < 1.25 < plain.mapped.chi2_per_pixel
    own = fit.mapped.params["angle_params"]["x"]
    np.testing.assert_array_equal(own["m1"], fit.params["angle_params"]["x"]["m1"])
    assert np.abs(own["m1"]).max() > 0.003


def test_bad_input():
    survey = oti.mock.draw_stars(2000, seed=1)
    stars = oti.Stars(survey.pos, survey.vel, {"x": survey.label})
    with pytest.raises(ValueError, match="angles must be True or False"):
        oti.fit_stars(stars, angles="yes")
