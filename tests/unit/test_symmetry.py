"""What a symmetric, smooth density misses is found, and nothing where it misses nothing."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest

import torusimaging as oti
from torusimaging.report import describe

BINS = {"pos": np.linspace(-1.2, 1.2, 41) * u.kpc, "vel": np.linspace(-70, 70, 41) * u.km / u.s}


@pytest.fixture(scope="module")
def fit():
    """Of a symmetric field, with a Sun above the plane and a survey that sees more in the north."""
    survey = oti.mock.draw_stars(
        50_000, seed=2, selection="survey", midplane=(21 * u.pc, 0.7 * u.km / u.s)
    )
    binned = oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, BINS, label_err=survey.label_err
    )
    return oti.fit_map(binned)


@pytest.fixture(scope="module")
def lopsided(fit):
    """The same pixels in a field with half the density below the plane."""
    two, _, start = oti.TorusImaging1DPotential.auto_init(fit.data, asymmetric=True)
    ln_rho = fit.params["density_params"]["ln_rho"]
    fall = np.minimum(np.arange(1, ln_rho.size), 4) * np.log(2) / 4
    density = {"ln_rho": ln_rho, "ln_rho_below": ln_rho[1:] - fall}
    params = fit.params | {"density_params": density}
    places = [fit.data.get(f"{n}_mean", fit.data[n]) for n in ("pos", "vel")]
    noise = np.random.default_rng(0).normal(size=fit.data["label"].size)
    label = two.get_label(*places, params) + fit.data["label_err"] * noise
    return oti.fit_map(fit.data | {"label": label})


def test_alike_sides(fit):
    found = oti.check_asymmetry(fit)
    assert found.p > 1e-3 and found.dof >= 1
    assert "are alike" in found.text
    assert not any("two sides" in problem for problem in fit.problems)
    # Near the plane the ratio is known to a fifth or so, and is one.
    assert np.all((found.table["ratio_p16"] < 1.5) & (found.table["ratio_p84"] > 0.7))


def test_different_sides(lopsided):
    found = oti.check_asymmetry(lopsided)
    assert found.p < 1e-6 and "asymmetric=True" in str(found)
    assert np.all(found.table["ratio"][2:4] > 1.2)
    assert sum("asymmetric=True" in problem for problem in lopsided.problems) == 1


def test_noise_alone_gives_uniform_p(fit):
    """Refitted maps of the fit's own field: chi^2 has the mean of its degrees of freedom."""
    rng, found = np.random.default_rng(1), []
    places = [fit.data.get(f"{n}_mean", fit.data[n]) for n in ("pos", "vel")]
    label = fit.model.get_label(*places, fit.params)
    for _ in range(12):
        noise = fit.data["label_err"] * rng.normal(size=label.size)
        data = fit.data | {"label": label + noise}
        result = fit.model.optimize(fit.params, bounds=fit.bounds, **data)
        again = replace(fit, data=data, params=result.params, optimizer=result.state)
        found.append(oti.check_asymmetry(again))
    chi2, dof = (np.array([getattr(g, name) for g in found]) for name in ("chi2", "dof"))
    # 4 sd of a sum of chi^2.
    assert abs(np.sum(chi2 - dof)) < 4 * np.sqrt(2 * dof.sum())
    assert min(g.p for g in found) > 1e-4


def test_too_small_errors_do_not_make_sides_differ(fit):
    small = fit.data | {"label_err": fit.data["label_err"] / 3}
    found = oti.check_asymmetry(oti.fit_map(small))
    assert found.p > 1e-3


def test_a_layer_that_pixels_do_not_resolve(fit):
    drawn = fit.laplace(num_draws=400)
    found = oti.check_thin_layer(drawn)
    assert found.pixel.to_value(u.pc) == pytest.approx(60, abs=0.1)
    # No layer was put in: what is asked for is noise, and rho(0) can only rise.
    assert abs(found.mass / found.mass_sd) < 3.5
    middle, low, high = found.rho0.to_value(u.Msun / u.pc**3)
    plain = drawn.derived()["median"][3]
    assert plain < middle and high - low > 0.01
    assert "60 pc high" in str(found) and str(found) in describe(drawn)
    assert oti.check_thin_layer(drawn, seed=1).mass == found.mass


def test_bad_input(fit):
    spline = oti.fit_map(fit.data, model="spline")
    two = oti.fit_map(fit.data, asymmetric=True)
    for other, text in (
        (spline, "must be of the potential model"),
        (two, "the same on both sides"),
    ):
        with pytest.raises(ValueError, match=text):
            oti.check_asymmetry(other)
        assert not any("two sides" in problem for problem in other.problems)
    with pytest.raises(ValueError, match="seed must be a whole number"):
        oti.check_thin_layer(fit, seed=-1)
    with pytest.raises(ValueError, match="must have draws"):
        oti.check_thin_layer(fit)
    with pytest.raises(ValueError, match="fit must be a Fit, but dict"):
        oti.check_asymmetry({})
    away = replace(fit, params=fit.params | {"pos0": 0.1})
    with pytest.raises(ValueError, match="at its optimum"):
        oti.check_asymmetry(away)
