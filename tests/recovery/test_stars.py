"""Fits of single stars against the truth, against maps of the same stars, and of several labels."""

import astropy.units as u
import numpy as np
import pytest

import torusimaging as oti
from torusimaging.models.stars import edges_of

Z = np.array([0.1, 0.3, 0.6, 1.0]) * u.kpc
HERE = u.km / u.s / u.Myr


def a_z(fit):
    """Median and sd of a_z at four heights (km/s/Myr)."""
    table = oti.profiles(fit, Z)
    width = (table["a_z_p84"] - table["a_z_p16"]) / 2
    return table["a_z_median"].to_value(HERE), width.to_value(HERE)


def truth(survey):
    at = [survey.potential.acceleration(z) for z in Z.value]
    return (np.array(at) * u.kpc / u.Myr**2).to_value(HERE)


@pytest.fixture(scope="module")
def survey():
    return oti.mock.draw_stars(20_000, seed=11, selection="survey")


@pytest.fixture(scope="module")
def stars(survey):
    return oti.Stars(survey.pos, survey.vel, {"mg_fe": survey.label}, {"mg_fe": survey.label_err})


@pytest.fixture(scope="module")
def fit(stars):
    return oti.fit_stars(stars).laplace(num_draws=2000)


def test_the_field_is_recovered(fit, survey):
    """Four correlated heights: a largest deviation above 3.5 sd is one in a thousand."""
    middle, sd = a_z(fit)
    assert np.abs((middle - truth(survey)) / sd).max() < 3.5
    assert sd[1] < 0.1 and fit.state.reliable
    scatter = np.exp(fit.samples["label_params.ln_scatter"])
    assert np.abs(scatter[:, 0].mean() - 0.06) < 4 * scatter[:, 0].std()


def test_a_fine_map_of_the_stars_gives_the_same(fit, stars):
    """Half a sd: pixels lose little, and 2,000 draws of each know a mean to 0.05 sd."""
    # Over the same stars: a model's knots follow the height that its data reach.
    edges = {name: np.linspace(x[0], x[-1], 61) for name, x in edges_of(stars).items()}
    label, err = stars.label[:, 0], stars.label_err[:, 0]
    binned = oti.data.get_binned_label(stars.pos, stars.vel, label, edges, label_err=err)
    knots = np.asarray(fit.model.label.places)
    other = oti.fit_map(binned, label_knots=knots).laplace(num_draws=2000)
    (one, sd), (two, wide) = a_z(fit), a_z(other)
    assert np.abs((one - two) / wide).max() < 0.5
    assert np.all(sd < 1.15 * wide)


def test_outliers_do_not_move_the_field(fit, survey):
    """Three in a hundred labels of another kind widen the scatter of a normal, not of this one."""
    rng = np.random.default_rng(0)
    bad = rng.random(survey.label.size) < 0.03
    label = np.where(bad, rng.normal(0.1, 0.5, bad.size), survey.label)
    spoilt = oti.Stars(survey.pos, survey.vel, {"mg_fe": label}, {"mg_fe": survey.label_err})
    found = oti.fit_stars(spoilt).laplace(num_draws=2000)
    (one, sd), (two, _) = a_z(fit), a_z(found)
    assert np.abs((one - two) / sd).max() < 1.5
    share = 1 / (1 + np.exp(-found.samples["label_params.logit_outliers"]))
    # Of those some lie where the others do.
    assert 0.02 < share.mean() < 0.035
    sd_of = np.exp(found.samples["label_params.ln_outlier_sd"])
    assert np.abs(sd_of.mean() - 0.5) < 4 * sd_of.std()


def test_a_fit_of_stars_is_kept_whole(fit, tmp_path):
    back = oti.load(fit.save(tmp_path / "fit.nc"))
    np.testing.assert_array_equal(back.samples.draws, fit.samples.draws)
    np.testing.assert_array_equal(back.stars.label, fit.stars.label)
    assert back.stars.left_out == fit.stars.left_out and back.problem.likelihood.many
    np.testing.assert_allclose(back.mapped.chi2_per_pixel, fit.mapped.chi2_per_pixel)
    text = back.report(tmp_path / "out")
    assert "Verdict: trust" in text and "stars, compared in" in text
    assert (tmp_path / "out" / "model.png").exists()
    assert oti.check_goodness(back).p > 1e-3


def test_chains_agree_with_importance_draws(stars):
    """Means within a third of an sd: some 300 effective draws know them to 0.06 sd."""
    few = stars.where(np.arange(len(stars)) < 3000, "not drawn")
    best = oti.fit_stars(few, density_knots=6, label_knots=4)
    drawn = best.laplace(num_draws=2000)
    chains = best.sample(num_warmup=200, num_steps=300, num_chains=2)
    one, two = drawn.samples.draws, chains.samples.draws
    assert drawn.state.reliable
    assert np.abs((one.mean(axis=0) - two.mean(axis=0)) / two.std(axis=0)).max() < 0.33


@pytest.fixture(scope="module")
def pair():
    """[Mg/Fe] and [Fe/H] whose scatter is correlated by 0.6; a tenth of the second is missing."""
    n = 20_000
    survey = oti.mock.draw_stars(n, seed=12, label_scatter=0.0, label_err=(0, 0))
    rng = np.random.default_rng(13)
    noise = np.linalg.cholesky([[1, 0.6], [0.6, 1]]) @ rng.standard_normal((2, n))
    radius = np.sqrt(survey.J.value)
    mg = survey.label + 0.06 * noise[0]
    fe = -0.3 * np.tanh(radius / 0.3) + 0.12 * noise[1]
    errs = rng.uniform(0.01, 0.03, (2, n))
    mg, fe = (x + e * rng.standard_normal(n) for x, e in zip((mg, fe), errs, strict=True))
    fe[rng.random(n) < 0.1] = np.nan
    both = dict(zip(("mg_fe", "fe_h"), (mg, fe), strict=True))
    return survey, oti.Stars(survey.pos, survey.vel, both, dict(zip(both, errs, strict=True)))


def test_labels_with_a_slash_are_kept(stars, tmp_path):
    few = stars.where(np.arange(len(stars)) < 2000, "not drawn")
    two = {"[Fe/H]": few.label[:, 0], "b": few.label[:, 0] + 0.05 * np.sin(np.arange(2000.0))}
    fit = oti.fit_stars(oti.Stars(few.pos, few.vel, two), density_knots=6, label_knots=4)
    fit = fit.laplace(num_draws=20)
    back = oti.load(fit.save(tmp_path / "fit.nc"))
    np.testing.assert_array_equal(back.samples.draws, fit.samples.draws)
    assert back.stars.names == ("[Fe/H]", "b")


def test_two_labels_tell_more_than_each(pair):
    """The field is tighter than the two alone would make it: correlated noise is the same twice."""
    survey, stars = pair
    sds = []
    for labels in ("mg_fe", "fe_h", ["mg_fe", "fe_h"]):
        fit = oti.fit_stars(stars, labels=labels).laplace(num_draws=1000)
        middle, sd = a_z(fit)
        assert np.abs((middle - truth(survey)) / sd).max() < 3.5
        sds.append(sd)
    assert np.all(sds[2][:3] < (sds[0] ** -2 + sds[1] ** -2)[:3] ** -0.5)
    correlation = np.tanh(fit.samples["label_params.correlation[0]"])
    assert np.abs(correlation.mean() - 0.6) < 4 * correlation.std() < 0.1
    assert fit.verdict.word == "trust"
    other = fit.map_of("fe_h")
    assert other.label_name == "fe_h" and other.chi2_per_pixel < 1.5
