"""What a selection of stars may depend on without moving the field, and what it may not."""

import astropy.units as u
import numpy as np
import pytest

import torusimaging as oti

Z = np.array([0.1, 0.3, 0.6, 1.0]) * u.kpc


@pytest.fixture(scope="module")
def survey():
    """Errors of the label grow with height, as those of faint stars do."""
    survey = oti.mock.draw_stars(40_000, seed=31, label_err=(0.0, 0.0))
    rng = np.random.default_rng(32)
    err = 0.01 + 0.15 * np.abs(survey.pos.to_value(u.kpc))
    return survey, survey.label + err * rng.standard_normal(err.size), err


def pulls(survey, kept):
    """Error of a_z at the heights in units of its sd."""
    stars, label, err = survey
    some = oti.Stars(stars.pos[kept], stars.vel[kept], {"x": label[kept]}, {"x": err[kept]})
    fit = oti.fit_stars(some).laplace(num_draws=1000)
    table = oti.profiles(fit, Z)
    true = [stars.potential.acceleration(x) for x in Z.value] * u.kpc / u.Myr**2
    sd = (table["a_z_p84"] - table["a_z_p16"]) / 2
    return ((table["a_z_median"] - true) / sd).to_value("")


def test_a_selection_in_place_and_velocity_is_harmless(survey):
    """Stars hidden near the plane, above 0.6 kpc below it, and between two velocities."""
    stars = survey[0]
    z, v = stars.pos.to_value(u.kpc), stars.vel.to_value(u.km / u.s)
    chance = (1 - 0.9 * np.exp(-((z / 0.15) ** 2))) * np.where(z < -0.6, 0.2, 1.0)
    chance = chance * np.where((v > 10) & (v < 20), 0.1, 1.0)
    kept = np.random.default_rng(0).random(z.size) < chance
    assert np.abs(pulls(survey, kept)).max() < 3.5


def test_a_selection_by_place_and_label_together_is_not(survey):
    """Far stars are seen where their label is high only: the map is no steady state's."""
    stars, label, _ = survey
    far = np.abs(stars.pos.to_value(u.kpc)) > 0.3
    assert np.abs(pulls(survey, ~far | (label > 0.12))).max() > 6


def test_nor_is_a_cut_on_a_label_whose_error_changes_with_height(survey):
    """Of labels cut at a value the mean depends on the error, and so on the place on an orbit."""
    label = survey[1]
    assert np.abs(pulls(survey, label > 0.05)).max() > 6
