"""What the figures show."""

import astropy.units as u
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PathCollection, PolyCollection, QuadMesh

from torusimaging import TorusImaging1DSpline, mock, plot

KMS = u.km / u.s


@pytest.fixture(scope="module")
def problem():
    """A map with empty pixels, a model of it and the start as its parameters."""
    grid = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-60, 60, 17), indexing="ij")
    r = np.hypot((grid[0] - 0.03) / 0.8, grid[1] / 40)
    label = 0.2 * np.tanh(r) + np.random.default_rng(1).normal(0, 0.01, r.shape)
    err = np.full(r.shape, 0.01)
    err[5] = 0.02
    label[0, :3] = err[0, :3] = np.nan
    label[10, 8] = np.nan
    counts = np.where(np.isfinite(label), np.round(100 * np.exp(-(r**2))) + 1, 0)
    data = {"pos": grid[0] * u.kpc, "vel": grid[1] * KMS, "label": label, "label_err": err}
    model, _, params = TorusImaging1DSpline.auto_init(data, label_knots=4, e_knots={2: 4, 4: 3})
    return data | {"counts": counts}, model, params


@pytest.fixture(autouse=True)
def clean_figures():
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


def mesh(ax):
    return next(c for c in ax.collections if isinstance(c, QuadMesh))


def shown(ax):
    return np.ma.filled(mesh(ax).get_array(), np.nan)


def bar_labels(fig, axes):
    bars = [ax for ax in fig.axes if ax not in list(np.ravel(axes))]
    return [ax.get_ylabel() for ax in bars]


def masked(data):
    good = np.isfinite(data["label"])
    return {k: v[good] for k, v in data.items()}


# -- maps ------------------------------------------------------------------------------------


def test_residual_panel(problem):
    data, model, params = problem
    fit = model.get_label(data["pos"], data["vel"], params)
    err = data["label_err"]
    fig, axes = plot.plot_data_models_residual(
        data, model, params, vlim_residual=5, residual_normalization=err
    )
    assert axes.shape == (3,)
    assert [ax.get_title() for ax in axes] == ["data", "model", "residual"]
    np.testing.assert_allclose(shown(axes[0]), data["label"])
    np.testing.assert_allclose(shown(axes[1]), fit)
    np.testing.assert_allclose(shown(axes[2]), (data["label"] - fit) / err)
    assert mesh(axes[2]).get_clim() == (-5, 5)
    assert bar_labels(fig, axes) == ["mean label", "(data - model) / error"]
    assert axes[0].get_xlabel() == "$v_z$ [km/s]" and axes[0].get_ylabel() == "$z$ [kpc]"
    corners = mesh(axes[0]).get_coordinates()
    np.testing.assert_allclose(corners[[0, -1], 0, 1], [-1.05, 1.05])
    np.testing.assert_allclose(corners[0, [0, -1], 0], [-63.75, 63.75])


def test_alias():
    assert plot.plot_data_model_residual is plot.plot_data_models_residual


def test_list_of_pixels_is_put_on_its_grid(problem):
    data, model, params = problem
    some = masked(data)
    # Without a whole row the others keep their width.
    keep = some["pos"] != some["pos"][np.argmin(np.abs(some["pos"].value - 0.5))]
    some = {k: v[keep] for k, v in some.items()} | {"name": "[Mg/Fe]"}
    fig, axes = plot.plot_data_models_residual(some, model, params, params_init=params)
    assert axes.shape == (4,)
    assert axes[1].get_title() == "initial model"
    expected = np.where(np.isclose(data["pos"].value, 0.5), np.nan, data["label"])
    np.testing.assert_allclose(shown(axes[0]), expected)
    fit = model.get_label(data["pos"], data["vel"], params)
    np.testing.assert_allclose(shown(axes[3]), expected - fit)
    low, high = mesh(axes[3]).get_clim()
    assert low == -high
    assert bar_labels(fig, axes) == ["mean [Mg/Fe]", "data - model"]


def test_points_on_no_grid_are_squares(problem):
    _, model, params = problem
    rng = np.random.default_rng(0)
    data = {"pos": rng.normal(0, 0.3, 50) * u.kpc, "vel": rng.normal(0, 20, 50) * KMS}
    data["label"] = rng.normal(0, 1, 50)
    _, axes = plot.plot_data_models_residual(data, model, params)
    points = axes[0].collections[0]
    assert isinstance(points, PathCollection)
    np.testing.assert_allclose(points.get_array(), data["label"])
    np.testing.assert_allclose(points.get_offsets()[:, 0], data["vel"].value)
    with pytest.raises(ValueError, match="smooth_residual needs pixels on a grid"):
        plot.plot_data_models_residual(data, model, params, smooth_residual=1)


def test_smoothing_skips_empty_pixels(problem):
    data, model, params = problem
    fit = model.get_label(data["pos"], data["vel"], params)
    constant = data | {"label": np.where(np.isfinite(data["label"]), fit + 0.3, np.nan)}
    _, axes = plot.plot_data_models_residual(constant, model, params, smooth_residual=1.5)
    out = shown(axes[2])
    np.testing.assert_array_equal(np.isnan(out), np.isnan(data["label"]))
    np.testing.assert_allclose(out[np.isfinite(out)], 0.3)
    assert "smoothed" in axes[2].get_title()


def test_unit_system_of_the_axes(problem):
    data, model, params = problem
    _, axes = plot.plot_data_models_residual(data, model, params, usys=(u.pc, u.Myr, u.Msun))
    assert axes[0].get_ylabel() == "$z$ [pc]" and axes[0].get_xlabel() == "$v_z$ [pc/Myr]"
    np.testing.assert_allclose(mesh(axes[0]).get_coordinates()[-1, 0, 1], 1050)


@pytest.mark.parametrize(
    ("change", "options", "text"),
    [
        ({}, {"residual_normalization": np.ones(3)}, "residual_normalization must have the shape"),
        ({}, {"vlim_residual": 0}, "vlim_residual must be"),
        ({}, {"smooth_residual": -1}, "smooth_residual must be"),
        ({}, {"params_init": {"pos0": 0.0}}, "params_init must have"),
        ({}, {"usys": (u.kpc,)}, "units must be"),
        ({"label": np.ones(4)}, {}, "must have one shape"),
        ({"label": np.full((21, 17), np.nan)}, {}, "must have a finite value"),
        ({"pos": np.zeros((21, 17))}, {}, "has no unit"),
    ],
)
def test_bad_maps(problem, change, options, text):
    data, model, params = problem
    with pytest.raises(ValueError, match=text):
        plot.plot_data_models_residual(data | change, model, params, **options)
    assert not plt.get_fignums()


def test_missing_entries(problem):
    data, model, params = problem
    bare = {k: data[k] for k in ("pos", "vel")}
    with pytest.raises(ValueError, match="label is missing"):
        plot.plot_data_models_residual(bare, model, params)
    with pytest.raises(ValueError, match="counts, label is missing"):
        plot.plot_counts_label(bare)


def test_counts_label(problem):
    data = problem[0]
    fig, axes = plot.plot_counts_label(data)
    counts = data["counts"]
    np.testing.assert_allclose(shown(axes[0]), np.where(counts > 0, counts, np.nan))
    assert isinstance(mesh(axes[0]).norm, mpl.colors.LogNorm)
    np.testing.assert_allclose(shown(axes[1]), data["label"])
    assert bar_labels(fig, axes) == ["number of stars per pixel", "mean label"]


# -- functions and profiles ------------------------------------------------------------------


def test_spline_functions(problem):
    _, model, params = problem
    _, axes = plot.plot_spline_functions(model, params)
    curve, knots = axes[0].lines[:2]
    r = curve.get_xdata()
    np.testing.assert_allclose(curve.get_ydata(), model.get_es(r, params)[2])
    np.testing.assert_allclose(knots.get_xdata(), model.e_knots[2])
    r = axes[1].lines[0].get_xdata()
    np.testing.assert_allclose(axes[1].lines[0].get_ydata(), model.eval_label(r, params))
    np.testing.assert_allclose(axes[1].lines[1].get_xdata(), model.label_knots)
    assert "kpc Myr" in axes[0].get_xlabel()
    with pytest.raises(ValueError, match="e_params is missing"):
        plot.plot_spline_functions(model, {k: params[k] for k in params if k != "e_params"})


def test_acceleration_density(problem):
    _, model, params = problem
    samples = [params | {"ln_Omega0": params["ln_Omega0"] + s} for s in np.linspace(-0.1, 0.1, 30)]
    truth = mock.solar_potential()
    z = np.linspace(-0.8, 0.8, 41) * u.kpc
    _, axes = plot.plot_acceleration_density(
        model, params, samples=samples, pos=z, truth=truth, n_draws=10
    )
    lines = {line.get_label(): line for line in axes[0].lines}
    picks = np.linspace(0, 29, 10).round().astype(int)
    a = [model.get_acceleration(z, samples[i]).to_value(u.km / u.s / u.Myr) for i in picks]
    np.testing.assert_allclose(lines["median, 68 and 95 %"].get_ydata(), np.median(a, axis=0))
    lowest = min(v[1] for v in axes[0].collections[0].get_paths()[0].vertices)
    assert lowest == pytest.approx(np.percentile(a, 2.5, axis=0).min())
    lines = {line.get_label(): line for line in axes[1].lines}
    rho = truth.density(z.value - params["pos0"]) / 1e9
    np.testing.assert_allclose(lines["truth"].get_ydata(), rho)
    assert "Myr" in axes[0].get_ylabel() and "pc$^{-3}$" in axes[1].get_ylabel()
    names = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert names == ["median, 68 and 95 %", "truth"]
    # Draws of a prior no wider than the fit's own: all that has a sign is the prior's.
    _, axes = plot.plot_acceleration_density(model, params, samples, z, prior=samples)
    names = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert names == ["median, 68 and 95 %", "less than 90 % from the data"]
    assert any(c.get_hatch() for c in axes[1].collections)
    _, axes = plot.plot_acceleration_density(model, params, samples[:3], z[::-1])
    drawn = [line for line in axes[0].lines if line.get_label() == "draws"]
    assert len(drawn) == 3 and np.all(np.diff(drawn[0].get_xdata()) > 0)
    _, axes = plot.plot_acceleration_density(model, params, pos=z)
    assert [line.get_label() for line in axes[0].lines][1:] == ["best fit, no uncertainty"]


def test_truth_as_functions_and_default_heights(problem):
    _, model, params = problem
    pair = (lambda z: -2 * z * u.km / u.s / u.Myr, lambda z: 0.1 * u.Msun / u.pc**3)
    _, axes = plot.plot_acceleration_density(model, params, truth=pair)
    best, true = axes[0].lines[-2:]
    assert np.all(np.isfinite(best.get_ydata()))
    np.testing.assert_allclose(true.get_ydata(), -2 * (true.get_xdata() - params["pos0"]))
    np.testing.assert_allclose(axes[1].lines[-1].get_ydata(), 0.1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"truth": 3}, "truth must have"),
        ({"pos": 1 * u.kpc}, "pos must be one row"),
        ({"pos": np.array([50, 60]) * u.kpc}, "pos must reach into"),
        ({"samples": []}, "samples must hold"),
        ({"n_draws": 0}, "n_draws must be"),
        ({"pos": np.array([0.0, np.nan]) * u.kpc}, "pos must be finite heights"),
        ({"prior": []}, "no samples were given"),
    ],
)
def test_bad_profiles(problem, options, text):
    with pytest.raises(ValueError, match=text):
        plot.plot_acceleration_density(*problem[1:], **options)
    assert not plt.get_fignums()


# -- covariances -----------------------------------------------------------------------------


def test_ellipse_is_the_contour_of_the_normal():
    cov, mean = np.array([[1.0, 0.8], [0.8, 2.0]]), np.array([3.0, -1.0])
    _, ax = plot.plot_cov_ellipse(cov, mean, n_sigma=(1, 3), color="k")
    for patch, n in zip(ax.patches, (3, 1), strict=True):
        d = patch.get_patch_transform().transform([[1, 0], [0, 1], [0.6, 0.8]]) - mean
        np.testing.assert_allclose(np.einsum("ki,ij,kj->k", d, np.linalg.inv(cov), d), n**2)


def test_corner():
    cov = np.diag([1.0, 4.0, 1e-6])
    fig, axes = plot.plot_cov_corner(cov, [1, 2, 3], ["a [kpc]", "b [km/s]", "c"])
    assert axes.shape == (3, 3)
    assert not axes[0, 1].get_visible() and axes[2, 1].get_visible()
    assert axes[2, 1].get_xlabel() == "b [km/s]" and axes[1, 0].get_ylabel() == "b [km/s]"
    widths = [p.get_width() for p in axes[1, 0].patches] + [
        p.get_height() for p in axes[1, 0].patches
    ]
    np.testing.assert_allclose(sorted(widths), [2, 4, 4, 8])


@pytest.mark.parametrize(
    ("cov", "options", "text"),
    [
        (np.ones((2, 3)), {}, "cov must be square"),
        (np.array([[1, 2], [2, 1.0]]), {}, "no negative eigenvalue"),
        (np.array([[1, 0.5], [0, 1.0]]), {}, "symmetric"),
        (np.diag([1.0, 0.0]), {}, "variances > 0"),
        (np.diag([1.0, np.nan]), {}, "finite"),
        (np.eye(2), {"mean": [1, 2, 3]}, "mean must have shape"),
        (np.eye(2), {"labels": ["a"]}, "labels must be 2 names"),
    ],
)
def test_bad_covariances(cov, options, text):
    with pytest.raises(ValueError, match=text):
        plot.plot_cov_corner(cov, **options)


def test_ellipse_needs_two_parameters():
    with pytest.raises(ValueError, match="shape \\(2, 2\\)"):
        plot.plot_cov_ellipse(np.eye(3))
    with pytest.raises(ValueError, match="n_sigma"):
        plot.plot_cov_ellipse(np.eye(2), n_sigma=0)


# -- actions ---------------------------------------------------------------------------------


def stars(n):
    rng = np.random.default_rng(5)
    J = rng.exponential(0.01, n)
    return {
        "J": J * u.kpc**2 / u.Myr,
        "theta": rng.uniform(0, 2 * np.pi, n) * u.rad,
        "Omega": (0.08 - J / 2) * u.rad / u.Myr,
    }


def test_few_stars_are_points():
    ours, other = stars(100), stars(100)
    other["Omega"] = other["Omega"].value / u.Myr  # a frequency without "rad"
    ours["J"][7] = np.nan
    _, axes = plot.plot_actions(ours, other)
    xy = axes[0].collections[0].get_offsets()
    assert xy.shape == (99, 2)
    good = np.isfinite(ours["J"])
    np.testing.assert_allclose(xy[:, 0], other["J"][good].to_value(u.kpc * KMS))
    xy = axes[2].collections[0].get_offsets()
    np.testing.assert_allclose(xy[:, 0], xy[:, 1])
    np.testing.assert_allclose(xy[:, 1], ours["Omega"].to_value(u.rad / u.Gyr))
    labels = [ax.get_ylabel() for ax in axes]
    assert labels == ["OTI $J$ [kpc km/s]", r"OTI $\theta$ [rad]", r"OTI $\Omega$ [rad/Gyr]"]


def test_many_stars_are_a_density():
    ours = stars(6000)
    fig, axes = plot.plot_actions(ours, ours, names=("J",))
    hexagons = axes[0].collections[0]
    assert isinstance(hexagons, PolyCollection)
    # Axes end at the 99th percentile.
    assert 0.985 * 6000 <= hexagons.get_array().sum() <= 6000
    assert bar_labels(fig, axes) == ["number of stars"]


def test_bad_actions():
    ours = stars(10)
    with pytest.raises(ValueError, match="names must be"):
        plot.plot_actions(ours, ours, names=("E",))
    with pytest.raises(ValueError, match="reference must have J"):
        plot.plot_actions(ours, {"theta": ours["theta"]})
    with pytest.raises(ValueError, match="equal numbers"):
        plot.plot_actions(ours, stars(9))
    with pytest.raises(ValueError, match="none of 10 stars"):
        plot.plot_actions(ours | {"J": ours["J"] * np.nan}, ours)
    with pytest.raises(ValueError, match="has no unit"):
        plot.plot_actions(ours | {"J": np.ones(10)}, ours)
    assert not plt.get_fignums()
