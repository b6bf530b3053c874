"""The verdict: trust where all is well, and each fault found, named and answered."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest

import torusimaging as oti
from torusimaging.report import text_report, text_table

BINS = {"pos": np.linspace(-1.2, 1.2, 41) * u.kpc, "vel": np.linspace(-70, 70, 41) * u.km / u.s}


def make_map(seed=3):
    survey = oti.mock.draw_stars(50_000, seed=seed, selection="survey")
    return oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, BINS, label_err=survey.label_err
    )


@pytest.fixture(scope="module")
def binned():
    return make_map()


@pytest.fixture(scope="module")
def fit(binned):
    return oti.fit_map(binned).laplace()


def changed(fit, **columns):
    """The fit of the same map with other columns, from the same optimum on."""
    data = fit.data | columns
    result = fit.model.optimize(fit.params, bounds=fit.bounds, **data)
    again = replace(fit, data=data, params=result.params, optimizer=result.state)
    return replace(again, samples=None, state=None).laplace()


def reasons(fit, level):
    return [x.text for x in fit.verdict.findings if x.level == level]


def test_a_clean_map_is_trusted(fit):
    verdict = oti.judge(fit)
    assert (verdict.level, verdict.word, verdict.findings) == (0, "trust", ())
    assert str(verdict) == "Verdict: trust." and fit.problems == ()
    assert set(verdict.factors.values()) == {1.0} and not any(verdict.shifts.values())
    assert "wider" not in text_table(fit) and text_report(fit).endswith("Verdict: trust.")
    table = fit.derived(widened=True)
    np.testing.assert_allclose(table["p16_wide"], table["p16"])


def test_scatter_widens_every_error(fit):
    """Errors that are too small by 1.2 widen by 1.2 and are said to."""
    small = changed(fit, label_err=fit.data["label_err"] / 1.2)
    assert [t for t in reasons(small, 1) if "chi^2 per pixel" in t]
    factors = np.array(list(small.verdict.factors.values()))
    np.testing.assert_allclose(factors, np.sqrt(1.44 * fit.chi2_per_pixel), rtol=0.03)
    table = small.derived(widened=True)
    plain, wide = (table[f"p84{k}"] - table["median"] for k in ("", "_wide"))
    np.testing.assert_allclose(wide, factors * plain)
    assert "wider: errors times 1.2" in text_table(small)
    assert "Verdict: trust with care." in text_report(small)
    half = changed(fit, label_err=fit.data["label_err"] / 2)
    assert half.verdict.word == "do not quote"


def test_a_label_that_depends_on_the_angle(fit):
    """A term that no shift of the orbits imitates: neighbours that err alike widen the errors."""
    orbits = fit.model.compute_action_angle(fit.data["pos"], fit.data["vel"], fit.params)
    wave = np.nan_to_num(np.cos(3 * orbits["theta"].value)) + np.nan_to_num(
        np.sin(2 * orbits["theta"].value)
    )
    spiral = changed(fit, label=fit.data["label"] + 0.012 * wave)
    found = [x for x in spiral.verdict.findings if "angle along orbits" in x.text]
    assert len(found) == 1 and "detrend" in found[0].advice
    assert max(spiral.verdict.factors.values()) > 1.1
    assert spiral.verdict.level >= 1


def test_one_side_of_the_plane(fit, binned):
    up = binned["pos"] > 0.02 * u.kpc
    one = {k: binned[k][up] for k in ("pos", "vel", "label", "label_err", "counts")}
    found = oti.fit_map(one).verdict
    assert found.word == "do not quote"
    assert any("few pixels below the plane" in x.text for x in found.findings)
    assert not any("few pixels" in text for text in fit.problems)


def test_one_side_of_two(binned):
    """With two sides the other one rests on how alike the prior holds them."""
    half = binned | {"label": np.where(binned["pos"] > 0.1 * u.kpc, binned["label"], np.nan)}
    fit = oti.fit_map(half, asymmetric=True).laplace()
    assert [t for t in reasons(fit, 2) if "asymmetry_sigma" in t]


def test_a_prior_of_one_shape(binned):
    """A prior that lets the density have one shape only is not to be quoted."""
    fit = oti.fit_map(binned, density_options={"length": 30.0}).laplace()
    assert [t for t in reasons(fit, 2) if "prior fixes the shape" in t]
    fit = oti.fit_map(binned, density_options={"amplitude": 0.4}).laplace()
    assert [t for t in reasons(fit, 1) if "prior fixes the shape" in t]


def test_heights_that_the_prior_says():
    """Of few stars the prior says more than the data from some height on."""
    stars = oti.mock.draw_stars(1500, seed=5, selection="survey")
    bins = {"pos": np.linspace(-1.2, 1.2, 13) * u.kpc, "vel": np.linspace(-70, 70, 13) * u.km / u.s}
    few = oti.data.get_binned_label(
        stars.pos, stars.vel, stars.label, bins, label_err=10 * stars.label_err
    )
    fit = oti.fit_map(few).laplace()
    table = oti.profiles(fit)
    first = table["z"][np.asarray(table["rho_from_data"]) < 0.5][0]
    text = "The prior says more than the data of the density beyond |z| = "
    assert f"{text}{first.value:.2f} kpc" in oti.report.describe(fit)


def test_pixels_higher_than_the_layer():
    """In rows of 400 pc the shape at the plane is the prior's, and it is said."""
    survey = oti.mock.draw_stars(50_000, seed=3)
    rows = {"pos": np.linspace(-1.2, 1.2, 7) * u.kpc, "vel": BINS["vel"]}
    coarse = oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, rows, label_err=survey.label_err
    )
    assert any("Pixels are 400 pc high" in text for text in oti.fit_map(coarse).problems)


def test_the_sun_elsewhere(fit):
    """This midplane is the frame's own, and so a frame with the Sun 60 pc below it is odd."""
    assert not [x for x in replace(fit, frame="z_sun = 20.8 pc").verdict.findings]
    odd = replace(fit, frame="z_sun = -60 pc").verdict
    assert odd.level == 1 and "pc below the midplane" in odd.text


def test_words_of_the_sampler(fit):
    sampled = fit.sample(num_warmup=20, num_steps=20, num_chains=2)
    text = sampled.verdict.text
    assert "NOT CONVERGED" in text and "--draws 1000" in text and "DISAGREE" not in text
    for worst, level, words in ((1.004, 0, ""), (1.019, 1, "not yet converged"), (1.2, 2, "NOT C")):
        state = sampled.state._replace(
            rhat=dict.fromkeys(sampled.state.rhat, worst),
            ess_bulk=dict.fromkeys(sampled.state.rhat, 500.0),
            divergent_fraction=0.0,
            e_bfmi=np.ones(2),
        )
        found = replace(sampled, state=state).verdict.findings
        assert max((x.level for x in found), default=0) == level
        assert not words or words in found[0].text


def test_what_cannot_be_checked_is_said(fit):
    """Away from the optimum there is no first order to judge the residuals by."""
    moved = fit.params | {"pos0": fit.params["pos0"] + 0.05}
    odd = replace(fit, params=moved)
    assert any("could not be checked: fit must be at its optimum" in x for x in odd.problems)


def test_at_most_three_reasons(fit):
    verdict = oti.Verdict(
        tuple(oti.Finding(1, f"Fault {k}.", "mend it.") for k in range(5)), {}, {}
    )
    assert verdict.text.count("Fault") == 3 and "2 more: `fit.problems` names them" in verdict.text


def test_report_writes_what_it_says(fit, tmp_path):
    text = fit.report(tmp_path / "out")
    assert (tmp_path / "out" / "table.txt").read_text() == text + "\n"
    assert (tmp_path / "out" / "fit.nc").exists()


def test_bad_input(fit, tmp_path):
    with pytest.raises(ValueError, match="fit must be a Fit"):
        oti.judge({"pos0": 0.0})
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="is a file"):
        fit.report(tmp_path / "file")
    with pytest.raises(ValueError, match="fit must be a Fit, but 3 was given"):
        oti.report.describe(3)
