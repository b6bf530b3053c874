"""The gradient of a label in the guiding radius: measured, taken off, and found to bias a fit."""

import astropy.units as u
import numpy as np
import pytest

import torusimaging as oti
from torusimaging.data import get_binned_label, read_map, write_map

BINS = {"pos": np.linspace(-1.2, 1.2, 31) * u.kpc, "vel": np.linspace(-70, 70, 31) * u.km / u.s}
SLOPE = -0.06


@pytest.fixture(scope="module")
def stars():
    """Stars whose guiding radius falls with the height, and whose label follows it."""
    survey = oti.mock.draw_stars(60_000, seed=5, selection="survey")
    rng = np.random.default_rng(6)
    z = np.abs(survey.pos.to_value(u.kpc))
    R_g = 8.2 - 0.8 * z + 0.5 * rng.normal(size=z.size)
    return survey, R_g * u.kpc, survey.label + SLOPE * (R_g - 8.2)


def binned(stars, **options):
    survey, R_g, label = stars
    return get_binned_label(
        survey.pos, survey.vel, label, BINS, label_err=survey.label_err, R_g=R_g, **options
    )


def test_the_slope_within_pixels(stars):
    gradient = binned(stars)["R_g_gradient"]
    assert abs(gradient.slope - SLOPE) < 3 * gradient.slope_err < 0.01
    assert gradient.change == 0 and "per kpc of R_g" in str(gradient)
    # Between pixels the slope is another one: R_g and the orbit go together.
    survey, R_g, label = stars
    assert abs(np.polyfit(R_g.value, label, 1)[0] - SLOPE) > 10 * gradient.slope_err


def test_a_slope_that_changes_with_the_orbit(stars):
    survey, R_g, _ = stars
    size = np.hypot(survey.pos / np.std(survey.pos), survey.vel / np.std(survey.vel)).value
    label = survey.label + (SLOPE + 0.03 * (size - size.mean())) * (R_g.value - 8.2)
    gradient = binned((survey, R_g, label))["R_g_gradient"]
    assert abs(gradient.change - 0.03) < 4 * gradient.change_err
    assert abs(gradient.slope - SLOPE) < 4 * gradient.slope_err + 0.003


def test_two_ways_to_take_it_off(stars):
    """From the stars before binning, and from the map; both leave the label of the orbit."""
    with_part, plain = binned(stars), binned(stars, detrend="R_g")
    assert "R_g_part" not in plain and plain["R_g_gradient"] == with_part["R_g_gradient"]
    filled = with_part["counts"] > 20
    left = with_part["label"] - with_part["R_g_part"]
    # The scatter of the two maps, and with it the weights, differs a little.
    np.testing.assert_allclose(left[filled], plain["label"][filled], atol=2e-3)
    survey, _, _ = stars
    exact = get_binned_label(survey.pos, survey.vel, survey.label, BINS, label_err=survey.label_err)
    # The two differ by the label between two guiding radii, the mean one and 8.2 kpc.
    shift = SLOPE * (with_part["R_g_gradient"].centre - 8.2)
    pull = (left - shift - exact["label"])[filled] / exact["label_err"][filled]
    assert np.abs(np.mean(pull)) < 0.1 and np.std(pull) < 0.5
    mean = with_part["R_g_mean"][filled].to_value(u.kpc)
    expected = 8.2 - 0.8 * np.abs(with_part["pos"][filled].to_value(u.kpc))
    assert np.abs(np.mean(mean - expected)) < 0.05


def test_a_biased_fit_is_said_to_be(stars, tmp_path):
    data = binned(stars)
    raw = oti.fit_map(data).laplace()
    assert any("guiding radius" in text and "--detrend R_g" in text for text in raw.problems)
    again = oti.load(raw.save(tmp_path / "fit.nc"))
    assert again.problems == raw.problems
    without = oti.fit_map(data, detrend="R_g").laplace()
    assert not any("guiding radius" in text for text in without.problems)
    assert without.settings["detrend"] == "R_g" and "R_g_part" not in without.data
    truth = stars[0].potential.surface_density(1.1) / 1e6
    found = [
        dict(zip(f.derived()["quantity"], f.derived()["median"], strict=True))
        for f in (raw, without)
    ]
    errors = [abs(x["Sigma(1.1 kpc)"] / truth - 1) for x in found]
    assert errors[1] < 0.15 < errors[0]


def test_the_file_keeps_it(stars, tmp_path):
    data = binned(stars)
    again = read_map(write_map(data, tmp_path / "map.csv", "mg_fe"))
    used = data["counts"] > 0
    for name in ("R_g_part", "R_g_part_err"):
        np.testing.assert_array_equal(again[name], data[name][used])


def test_stars_without_a_radius(stars):
    """They are in the map, but not in the gradient; detrended they cannot be."""
    survey, R_g, label = stars
    some = R_g.copy()
    some[::3] = np.nan
    data = binned((survey, some, label))
    assert data["counts"].sum() == binned(stars)["counts"].sum()
    assert abs(data["R_g_gradient"].slope - SLOPE) < 0.01
    assert binned((survey, some, label), detrend="R_g")["counts"].sum() < data["counts"].sum()
    # Pixels of which nothing is known are left out of a map that is detrended, and only there.
    part = data["R_g_part"].copy()
    part[:15] = np.nan
    half = data | {"R_g_part": part}
    whole, up = oti.fit_map(half), oti.fit_map(half, detrend="R_g")
    assert up.data["pos"].min() > 0 > whole.data["pos"].min()
    lost = up.settings["pixels without R_g"]
    assert lost == whole.data["pos"].size - up.data["pos"].size >= np.sum(whole.data["pos"] < 0)
    assert f"{lost} pixels whose stars have no guiding radius" in oti.report.describe(up)


def test_marks_of_missing_radii(stars):
    """A star at 99999 kpc is none; half of them are another unit."""
    survey, R_g, label = stars
    some = R_g.copy()
    some[0], some[1] = 99999 * u.kpc, -9999 * u.kpc
    slope = binned((survey, some, label))["R_g_gradient"].slope
    assert slope == pytest.approx(binned(stars)["R_g_gradient"].slope, abs=1e-4)
    with pytest.raises(ValueError, match="R_g must be radii below 200 kpc"):
        binned((survey, 1e3 * R_g, label))


def test_bad_input(stars):
    survey, R_g, label = stars
    few = {k: x[:20] for k, x in (("p", survey.pos), ("v", survey.vel), ("R", R_g))}
    for text, call in (
        ("detrend must be", lambda: binned(stars, detrend="L_z")),
        ("one value a star", lambda: binned((survey, R_g[:5], label))),
        ("must not be negative", lambda: binned((survey, -R_g, label))),
        ("unit", lambda: binned((survey, R_g.value, label))),
        (
            "must differ",
            lambda: binned((survey, np.full(R_g.size, 8.0) * u.kpc, label), detrend="R_g"),
        ),
        (
            "needs the guiding radii",
            lambda: get_binned_label(survey.pos, survey.vel, label, BINS, detrend="R_g"),
        ),
        (
            "pixels with several stars",
            lambda: get_binned_label(
                few["p"], few["v"], label[:20], BINS, s=0.1, R_g=few["R"], detrend="R_g"
            ),
        ),
        (
            "knows its stars' guiding radii",
            lambda: oti.fit_map(
                {k: x for k, x in binned(stars).items() if "part" not in k}, detrend="R_g"
            ),
        ),
        ("detrend must be", lambda: oti.fit_map(binned(stars), detrend=1)),
        (
            "R_g_part_err must not be negative",
            lambda: oti.fit_map(binned(stars) | {"R_g_part_err": np.full((30, 30), -1.0)}),
        ),
        (
            "R_g_part must have 900 pixels",
            lambda: oti.fit_map(binned(stars) | {"R_g_part": np.zeros(5)}, detrend="R_g"),
        ),
    ):
        with pytest.raises(ValueError, match=text):
            call()
    few = get_binned_label(few["p"], few["v"], label[:20], BINS, s=0.1, R_g=few["R"])
    assert few["R_g_gradient"] is None and "R_g_part" not in few
