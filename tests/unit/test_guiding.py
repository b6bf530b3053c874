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


def by_dummies(p, v, y, x, pixel, columns):
    """Least squares with a constant for each pixel: slopes and their errors, in `columns` order."""
    constants = (pixel[:, None] == np.unique(pixel)).astype(float)
    T = np.column_stack([*columns, p, v, constants])
    found, *_ = np.linalg.lstsq(T, y)
    spread = np.sum((y - T @ found) ** 2) / (y.size - T.shape[1])
    return found, np.sqrt(spread * np.diag(np.linalg.inv(T.T @ T)))


@pytest.mark.parametrize("change", [0, 0.3])
def test_the_regression_is_that_with_a_constant_for_each_pixel(change):
    rng = np.random.default_rng(3)
    n = 3000
    p, v, x = rng.uniform(-1, 1, n), rng.uniform(-60, 60, n), rng.normal(8, 1, n)
    r = np.hypot(p / np.std(p), v / np.std(v))
    y = 0.3 * p**2 + (SLOPE + change * (r - 1)) * (x - 8) + 0.1 * rng.normal(size=n)
    bins = {"pos": np.linspace(-1, 1, 7) * u.kpc, "vel": np.linspace(-60, 60, 6) * u.km / u.s}
    gradient = get_binned_label(
        p * u.kpc, v * u.km / u.s, y, bins, R_g=x * u.kpc, label_err=np.full(n, 0.1)
    )["R_g_gradient"]
    pixel = np.floor((p + 1) * 3).astype(int) * 5 + np.floor((v + 60) / 24).astype(int)
    off, r = x - x.mean(), r - r.mean()
    found, sd = by_dummies(p, v, y, x, pixel, [off, off * r, r] if change else [off, r])
    assert gradient.slope == pytest.approx(found[0], rel=1e-10)
    if change:
        assert (gradient.change, gradient.change_err) == pytest.approx((found[1], sd[1]), rel=1e-9)
    # The degrees of freedom are those of all columns, whether or not the change is used.
    free = n - pixel.max() - 1 - 5
    expected = sd[0] * np.sqrt((free + (not change)) / free)
    assert gradient.slope_err == pytest.approx(expected, rel=1e-9)


def test_places_that_are_one_in_each_pixel():
    """Their deviations are of rounding alone: the slope is that without them."""
    rng = np.random.default_rng(4)
    n = 600
    p, v = rng.choice([-0.7, 0.1, 0.3], n), rng.choice([-30.0, 1.1], n)
    x = rng.normal(8, 1, n)
    y = SLOPE * x + 0.1 * rng.normal(size=n)
    bins = {"pos": [-1, 0, 0.2, 1] * u.kpc, "vel": [-60, 0, 60] * u.km / u.s}
    gradient = get_binned_label(p * u.kpc, v * u.km / u.s, y, bins, R_g=x * u.kpc)["R_g_gradient"]
    pixel = 2 * np.searchsorted([0, 0.2], p) + (v > 0)
    off = np.column_stack([y, x])
    for k in range(6):
        off[pixel == k] -= off[pixel == k].mean(axis=0)
    assert gradient.change == 0
    assert gradient.slope == pytest.approx(
        off[:, 0] @ off[:, 1] / (off[:, 1] @ off[:, 1]), rel=1e-9
    )


def test_stars_without_an_error_are_in_neither_map_nor_gradient(stars):
    """What a star says that the map leaves out is no part of its gradient."""
    survey, R_g, label = stars
    error, some = survey.label_err.copy(), label.copy()
    error[::2], some[::2] = np.nan, 50.0
    some[::4] = -50.0
    data = get_binned_label(survey.pos, survey.vel, some, BINS, label_err=error, R_g=R_g)
    kept = (x[1::2] for x in (survey.pos, survey.vel, label))
    half = get_binned_label(*kept, BINS, label_err=survey.label_err[1::2], R_g=R_g[1::2])
    assert data["R_g_gradient"] == half["R_g_gradient"]


def test_one_part_of_the_gradient_without_the_other(stars, tmp_path):
    data = binned(stars)
    lines = write_map(data, tmp_path / "map.csv", "mg_fe").read_text().splitlines()
    for name, column in (("R_g_part", "mg_fe_R_g"), ("R_g_part_err", "mg_fe_R_g_err")):
        one = {k: x for k, x in data.items() if k != name}
        for detrend in (None, "R_g"):
            with pytest.raises(ValueError, match=f"or neither, but {name} is missing"):
                oti.fit_map(one, detrend=detrend)
        with pytest.raises(ValueError, match=f"or neither, but '{name}' is missing"):
            write_map(one, tmp_path / "other.csv", "mg_fe")
        k = lines[0].split(",").index(column)
        rows = (line.split(",") for line in lines)
        text = "\n".join(",".join(row[:k] + row[k + 1 :]) for row in rows)
        (tmp_path / "one.csv").write_text(text + "\n")
        with pytest.raises(ValueError, match=f"one.csv must have both .*, but '{column}' is miss"):
            read_map(tmp_path / "one.csv")


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
