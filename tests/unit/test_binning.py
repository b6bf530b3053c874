"""Binned counts and label means against direct sums and against their own scatter."""

import astropy.units as u
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import torusimaging as oti

BINS = {"pos": np.linspace(-1, 1, 11) * u.kpc, "vel": np.linspace(-50, 50, 9) * u.km / u.s}


@pytest.fixture(scope="module")
def stars():
    rng = np.random.default_rng(11)
    n = 4000
    pos, vel = rng.normal(0, 0.6, n), rng.normal(0, 30, n)
    err = rng.uniform(0.02, 0.12, n)
    label = 0.2 * pos**2 + rng.normal(0, np.hypot(0.05, err))
    return {"pos": pos * u.kpc, "vel": vel * u.km / u.s, "label": label, "label_err": err}


def test_mean_and_error_are_the_stated_sums(stars):
    out = oti.data.get_binned_label(**stars, bins=BINS, s=0.07)
    i = np.digitize(stars["pos"].value, BINS["pos"].value) - 1
    j = np.digitize(stars["vel"].value, BINS["vel"].value) - 1
    here = (i == 4) & (j == 5)
    w = 1 / (0.07**2 + stars["label_err"][here] ** 2)
    assert out["counts"][4, 5] == here.sum() > 10
    np.testing.assert_allclose(out["label"][4, 5], np.average(stars["label"][here], weights=w))
    np.testing.assert_allclose(out["label_err"][4, 5], w.sum() ** -0.5)
    assert out["n_outside"] == 4000 - out["counts"].sum() > 0


def test_uneven_bins_agree_with_even_ones(stars):
    uneven = BINS | {"pos": np.r_[-1, -0.2, 0.0, 0.7, 1] * u.kpc}
    out = oti.data.get_binned_counts(stars["pos"], stars["vel"], uneven)
    direct = np.histogram2d(
        stars["pos"].value, stars["vel"].value, [b.value for b in uneven.values()]
    )
    np.testing.assert_array_equal(out["counts"], direct[0])
    label = oti.data.get_binned_label(**stars, bins=uneven)
    np.testing.assert_array_equal(label["counts"], direct[0])


def test_units_of_the_output_and_of_the_input(stars):
    a = oti.data.get_binned_label(**stars, bins=BINS, units=[u.kpc, u.Myr, u.Msun, u.rad])
    b = oti.data.get_binned_label(
        **(stars | {"vel": stars["vel"].to(u.kpc / u.Myr), "pos": stars["pos"].to(u.pc)}), bins=BINS
    )
    assert a["vel"].unit == u.kpc / u.Myr and b["vel"].unit == u.km / u.s
    assert a["pos"].shape == a["vel"].shape == a["counts"].shape == (10, 8)
    np.testing.assert_allclose(a["vel"].to_value(u.km / u.s), b["vel"].value)
    np.testing.assert_allclose(a["label"], b["label"])
    np.testing.assert_allclose(a["pos"][0, 0].value, -0.9)


def test_a_unit_system_as_gala_has_it(stars):
    class System:
        def __getitem__(self, key):
            return {"length": u.pc, "time": u.Myr}[key]

    out = oti.data.get_binned_counts(stars["pos"], stars["vel"], BINS, units=System())
    assert out["pos"].unit == u.pc and out["vel"].unit == u.pc / u.Myr


@pytest.mark.parametrize("s", [None, "local"])
def test_errors_equal_the_scatter_of_the_means(s):
    """20 maps of 400 pixels give 8,000 means: their scatter is known to 0.8 %."""
    rng = np.random.default_rng(5)
    edges = np.linspace(0, 1, 21)
    bins = {"pos": edges * u.kpc, "vel": edges * u.km / u.s}
    pulls = []
    for _ in range(20):
        n = 6000
        pos, vel = rng.uniform(0, 1, (2, n))
        err = np.exp(rng.uniform(np.log(0.01), np.log(0.2), n))
        label = 0.1 + rng.normal(0, np.hypot(0.06, err))
        out = oti.data.get_binned_label(
            pos * u.kpc, vel * u.km / u.s, label, bins, label_err=err, s=s
        )
        pulls.append((out["label"] - 0.1) / out["label_err"])
    pulls = np.ravel(pulls)
    assert abs(np.std(pulls[np.isfinite(pulls)]) - 1) < 0.03


def test_scatter_is_unbiased_with_few_stars_a_pixel():
    """With two stars a pixel a plain maximum likelihood would give s / sqrt(2)."""
    rng = np.random.default_rng(8)
    n = 40_000
    pos = np.repeat(np.arange(n // 2), 2) + 0.5
    level = np.repeat(rng.normal(0, 1, n // 2), 2)
    err = rng.uniform(0.02, 0.05, n)
    label = level + rng.normal(0, np.hypot(0.06, err))
    bins = {"pos": np.arange(n // 2 + 1) * u.kpc, "vel": [-1, 1] * u.km / u.s}
    out = oti.data.get_binned_label(
        pos * u.kpc, np.zeros(n) * u.km / u.s, label, bins, label_err=err
    )
    # 20,000 degrees of freedom fix the total spread of 0.07 to 0.5 %, hence s to 0.7 %.
    assert abs(out["s"] / 0.06 - 1) < 4 * 0.007


@pytest.mark.parametrize(("inside", "outside"), [(0.01, 0.05), (0.03, 0.01)])
def test_scatter_from_classes_of_error_is_the_exact_one(inside, outside):
    """Stars outside the bins and one with a huge error do not blur the classes of the others."""
    rng = np.random.default_rng(11)
    n = 4000
    pos, vel = rng.normal(0, 0.5, n), rng.normal(0, 30, n)
    there = (np.abs(pos) < 1) & (np.abs(vel) < 60)
    err = np.where(there, inside, outside) * rng.uniform(0.9, 1.1, n)
    err[np.argmin(np.abs(pos))] = 3.0
    label = rng.normal(0, np.hypot(0.02, err))
    edges = {"pos": np.linspace(-1, 1, 11), "vel": np.linspace(-60, 60, 11)}
    bins = {"pos": edges["pos"] * u.kpc, "vel": edges["vel"] * u.km / u.s}
    out = oti.data.get_binned_label(
        pos * u.kpc, vel * u.km / u.s, label, bins, label_err=err, s=None
    )
    i, j = np.digitize(pos, edges["pos"])[there], np.digitize(vel, edges["vel"])[there]
    pixel = np.unique(11 * i + j, return_inverse=True)[1]

    def minus_ln_likelihood(s):
        w = 1 / (s**2 + err[there] ** 2)
        total = np.bincount(pixel, w)
        mean = np.bincount(pixel, w * label[there]) / total
        terms = w * (label[there] - mean[pixel]) ** 2 - np.log(w)
        return 0.5 * np.sum(terms) + 0.5 * np.sum(np.log(total))

    exact = abs(minimize_scalar(minus_ln_likelihood, (0.01, 0.03), tol=1e-8).x)
    # The noise of s itself is 4e-4.
    assert abs(out["s"] - exact) < 5e-5


def test_local_scatter_follows_the_sky():
    rng = np.random.default_rng(9)
    n = 200_000
    pos, vel = rng.uniform(0, 1, (2, n))
    truth = 0.04 + 0.08 * pos
    label = rng.normal(0, truth)
    edges = np.linspace(0, 1, 41)
    bins = {"pos": edges * u.kpc, "vel": edges * u.km / u.s}
    out = oti.data.get_binned_label(
        pos * u.kpc, vel * u.km / u.s, label, bins, label_err=1e-3, s="local"
    )
    inner = out["s"][8:-8]
    np.testing.assert_allclose(inner, 0.04 + 0.08 * out["pos"].value[8:-8], rtol=0.08)


def test_no_scatter_beyond_the_errors():
    rng = np.random.default_rng(10)
    n = 5000
    label = rng.normal(0, 0.05, n)
    x = rng.uniform(0, 1, n)
    out = oti.data.get_binned_label(
        x * u.kpc,
        x * u.km / u.s,
        label,
        {"pos": [0, 0.5, 1] * u.kpc, "vel": [0, 2] * u.km / u.s},
        label_err=0.1,
    )
    assert out["s"] == 0


def test_stars_that_are_not_finite_are_counted(stars):
    label = stars["label"].copy()
    label[:7] = np.nan
    err = stars["label_err"].copy()
    err[10] = np.inf
    out = oti.data.get_binned_label(**(stars | {"label": label, "label_err": err}), bins=BINS)
    assert out["n_not_finite"] == 8 and out["n_stars"] == 4000
    masked = np.ma.masked_invalid(label)
    again = oti.data.get_binned_label(**(stars | {"label": masked, "label_err": err}), bins=BINS)
    np.testing.assert_array_equal(out["label"], again["label"])


def test_empty_pixels_are_nan(stars):
    few = {k: v[:5] for k, v in stars.items()}
    out = oti.data.get_binned_label(**few, bins=BINS, s=0.05)
    empty = out["counts"] == 0
    assert np.all(np.isnan(out["label"][empty]) & np.isnan(out["label_err"][empty]))
    assert np.all(np.isfinite(out["label"][~empty]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos": np.zeros(4000)}, "pos has no unit"),
        ({"vel": np.zeros(4000) * u.kpc}, "vel must have a unit like km / s"),
        ({"vel": np.zeros(3) * u.km / u.s}, "pos and vel must have equal length"),
        ({"label": np.zeros(3)}, "label must have one value a star"),
        ({"label": np.full(4000, np.nan)}, "none of 4000 stars"),
        ({"label_err": np.zeros(3)}, "label_err must have one value a star"),
        ({"label_err": np.full(4000, -9999.0)}, "label_err must not be negative"),
        ({"label_err": np.zeros(4000), "s": 0.0}, "infinite weight"),
        ({"pos": np.full(4000, 5e3) * u.kpc}, "no star lies inside the bins"),
        ({"s": -1.0}, "s must be a number of at least 0"),
        ({"s": "guess"}, "s must be a number of at least 0, None or 'local'"),
        ({"moment": "median"}, "moment must be 'mean'"),
        ({"bins": {"pos": BINS["pos"]}}, "bins must be a dictionary"),
        ({"bins": BINS | {"pos": [0, 1]}}, "has no unit"),
        ({"bins": BINS | {"pos": [1, 0] * u.kpc}}, "must be finite and increasing"),
        ({"bins": BINS | {"pos": [1] * u.kpc}}, "at least two edges"),
        ({"units": [u.kpc]}, "units must be a unit system"),
        ({"units": "galactic"}, "units must be a unit system"),
        ({"s": True}, "s must be a number of at least 0"),
        ({"s": 0.1 * u.Gyr}, "s must have no unit"),
        ({"s": 1e200}, "s must be 0 or from 1e-70"),
        ({"label": 1e200 * np.arange(4000)}, "label must be 0 or from 1e-70 to 1e.70 in size"),
        ({"label": np.arange(4000) * 1e-200}, "label must be 0 or from 1e-70 to 1e.70 in size"),
        ({"label_err": np.geomspace(1e-3, 1e200, 4000)}, "label_err must be 0 or from 1e-70"),
        ({"label": np.zeros(4000, complex)}, "label must hold real numbers"),
        ({"label": ["a"] * 4000}, "label must hold real numbers"),
        ({"label": None}, "label must hold real numbers"),
        ({"pos": [0 * u.kpc] * 4000}, "pos has no unit"),
        ({"pos": np.zeros(4000, complex) * u.kpc}, "pos must be real numbers"),
        ({"bins": BINS | {"pos": [-1e308, 1e308] * u.kpc}}, r"bins\['pos'\] must be 0 or from"),
        ({"bins": BINS | {"pos": [0, 1j] * u.kpc}}, r"bins\['pos'\] must be real numbers"),
        (
            {"bins": {k: np.linspace(0, 1, 4000) * x.unit for k, x in BINS.items()}},
            "at most 10,000",
        ),
    ],
)
def test_bad_input(stars, change, message):
    with pytest.raises(ValueError, match=message):
        oti.data.get_binned_label(**({"bins": BINS} | stars | change))


def test_a_star_without_a_label_is_missing_whatever_its_error(stars):
    """The mark of either is what a survey writes: NaN, a mask and the marks are one thing."""
    keep = np.arange(4000) >= 6
    want = oti.data.get_binned_label(**{k: x[keep] for k, x in stars.items()}, bins=BINS)
    label, err = stars["label"].copy(), stars["label_err"].copy()
    label[:4], err[:6] = [-9999, np.nan, -9999.99, np.inf], [-9999, -9999, -1, -5, -9999, -999.99]
    masked = np.ma.array(stars["label"], mask=~keep), np.where(keep, err, -1)
    for y, sigma in ((label, err), masked):
        out = oti.data.get_binned_label(**(stars | {"label": y, "label_err": sigma}), bins=BINS)
        assert out["n_not_finite"] == 6 and out["n_stars"] == 4000
        np.testing.assert_array_equal(out["label"], want["label"])
        np.testing.assert_array_equal(out["label_err"], want["label_err"])


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_marks_are_compared_in_the_labels_own_precision(stars, kind):
    label = stars["label"].astype(kind)
    label[:3] = -9999.99, -999.99, -9999
    out = oti.data.get_binned_label(**(stars | {"label": label}), bins=BINS)
    assert out["n_not_finite"] == 3 and np.nanmin(out["label"]) > -1


def test_a_mark_among_labels_as_large_is_a_label(stars):
    """Velocities as a label: -999 km/s is one of them."""
    label, err = 5000 * stars["label"], 5000 * stars["label_err"]
    label[0] = -999
    out = oti.data.get_binned_label(**(stars | {"label": label, "label_err": err}), bins=BINS)
    assert out["n_not_finite"] == 0


def test_single_precision_and_whole_numbers_are_taken_as_they_are(stars):
    single = {k: x.astype("f4") for k, x in stars.items()}
    out, want = (oti.data.get_binned_label(**x, bins=BINS) for x in (single, stars))
    assert out["label"].dtype == float and abs(out["s"] / want["s"] - 1) < 1e-4
    whole = oti.data.get_binned_label(
        stars["pos"], stars["vel"], np.arange(4000), BINS, label_err=np.int64(3)
    )
    assert whole["n_not_finite"] == 0 and np.nanmax(whole["label"]) < 4000


@pytest.mark.parametrize("s", [None, "local", 70 * u.Myr, 0.07])
def test_a_label_keeps_its_unit(stars, s):
    plain = oti.data.get_binned_label(
        **stars, bins=BINS, s=0.07 if s is not None and s != "local" else s
    )
    ages = stars | {"label": stars["label"] * u.Gyr, "label_err": 1e3 * stars["label_err"] * u.Myr}
    out = oti.data.get_binned_label(**ages, bins=BINS, s=s)
    for name in ("label", "label_err", "s"):
        assert out[name].unit == u.Gyr
        np.testing.assert_allclose(out[name].value, plain[name], rtol=1e-12)


@pytest.mark.parametrize("unit", [u.dimensionless_unscaled, u.dex])
def test_abundances_are_plain_numbers(stars, unit):
    units = stars | {k: stars[k] * unit for k in ("label", "label_err")}
    out, plain = (oti.data.get_binned_label(**x, bins=BINS) for x in (units, stars))
    for name in ("label", "label_err", "s"):
        assert not isinstance(out[name], u.Quantity)
        np.testing.assert_array_equal(out[name], plain[name])


def test_lonely_stars_cannot_tell_the_scatter(stars):
    few = {k: v[:1] * 0 for k, v in stars.items()}
    with pytest.raises(ValueError, match="no pixel has two stars"):
        oti.data.get_binned_label(**few, bins=BINS)


def test_bad_counts(stars):
    with pytest.raises(ValueError, match="bins must be a dictionary"):
        oti.data.get_binned_counts(stars["pos"], stars["vel"], None)
