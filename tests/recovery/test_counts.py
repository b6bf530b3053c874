"""The field from counts of stars, where the survey's selection is known and where it is not."""

import astropy.units as u
import numpy as np
import pytest

import torusimaging as oti
from torusimaging.units import UnitError

BINS = {"pos": np.linspace(-1.0, 1.0, 61) * u.kpc, "vel": np.linspace(-60, 60, 61) * u.km / u.s}
Z = np.array([0.1, 0.3, 0.6])


@pytest.fixture(scope="module")
def counted():
    survey = oti.mock.draw_stars(200_000, seed=41, selection="survey")
    binned = oti.data.get_binned_counts(survey.pos, survey.vel, BINS)
    return survey, {k: binned[k] for k in ("pos", "vel", "counts")}


def errors(survey, data):
    """Error of a_z in units of its sd, and the residuals' deviance per pixel."""
    model, bounds, start = oti.TorusImaging1DPotential.auto_init(data)
    best = model.optimize(start, "poisson", bounds, **data)
    _, draws = model.laplace_run_label(data, best.params, bounds, likelihood="poisson")
    values = [model.get_acceleration(Z * u.kpc, draws[k]).value for k in range(0, 1000, 5)]
    sd, off = np.std(values, axis=0), np.mean(values, axis=0) - survey.potential.acceleration(Z)
    return off / sd, off / np.abs(survey.potential.acceleration(Z))


def test_a_known_selection_is_allowed_for(counted):
    """Of 200,000 stars within 3.5 sd; taken for complete, the counts say another field."""
    survey, data = counted
    share = oti.mock.survey_selection(data["pos"].to_value(u.kpc))
    pull, off = errors(survey, data | {"selection": share})
    assert np.abs(pull).max() < 3.5 and np.abs(off).max() < 0.15
    assert np.abs(errors(survey, data)[1]).max() > 0.2


def test_selections_that_cannot_be(counted):
    data = counted[1]
    model, bounds, start = oti.TorusImaging1DPotential.auto_init(data)
    share = np.full(data["counts"].shape, 0.5)
    for change, text in (
        (share[:3], "selection must have the map's 3600 pixels, but has 180"),
        (-share, "must be finite and not negative, but is not for 3600 of 3600"),
        (0 * share, "selection is zero in .* pixels that have stars"),
        (share * u.kpc, "selection must have no unit"),
    ):
        with pytest.raises((ValueError, UnitError), match=text):
            model.optimize(start, "poisson", bounds, **data, selection=change)
    # A common factor is one of the rate: it changes nothing but the label's level.
    one = model.objective_poisson(start, **data)
    lifted = {"label_vals": start["label_params"]["label_vals"] + np.eye(6)[0] * np.log(2)}
    two = model.objective_poisson(start | {"label_params": lifted}, **data, selection=share)
    assert one == pytest.approx(two, rel=1e-10)
