"""What the figures of a posterior show, from their artists."""

from dataclasses import replace

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
import pytest
from arviz_stats.base import array_stats
from matplotlib.container import ErrorbarContainer
from matplotlib.contour import ContourSet
from matplotlib.patches import StepPatch
from matplotlib.path import Path

import torusimaging as oti
from torusimaging.inference.draws import Samples
from torusimaging.results.fit import DERIVED

ERR = 0.01


@pytest.fixture(scope="module")
def problem():
    """A small noisy map of tilted ellipses about a known centre, fitted but not sampled."""
    grid = np.meshgrid(np.linspace(-1.2, 1.2, 15), np.linspace(-0.06, 0.06, 15), indexing="ij")
    pos, vel = (g.ravel() for g in grid)
    r = np.hypot((pos - 0.03) * np.sqrt(0.075), vel / np.sqrt(0.075))
    label = 0.25 * np.tanh(3 * r) + np.random.default_rng(4).normal(0, ERR, pos.size)
    data = {"pos": pos * u.kpc, "vel": vel * u.kpc / u.Myr, "label": label}
    data["label_err"] = np.full(pos.size, ERR)
    return oti.fit_map(data, model="spline", label_knots=3, e_knots={2: 3})


@pytest.fixture(scope="module")
def fit(problem):
    return problem.sample(seed=1, num_warmup=100, num_steps=110, num_chains=3)


@pytest.fixture(scope="module")
def laplace(problem):
    return problem.laplace(num_draws=400)


@pytest.fixture(autouse=True)
def clean_figures():
    yield
    plt.close("all")


def titles(axes):
    return [ax.get_title() for ax in axes]


# -- traces ----------------------------------------------------------------------------------


def test_trace(fit):
    _, axes = oti.plot.plot_trace(fit)
    assert axes.shape == (5, 2)
    expected = {
        "pos0": 1e3 * fit.samples.draws[:, fit.samples.names.index("pos0")],
        "Sigma(1.1 kpc)": [
            fit.model.get_surface_density(1.1 * u.kpc, p).to_value(u.Msun / u.pc**2)
            for p in fit.samples
        ],
    }
    for row, name in zip(axes, DERIVED, strict=True):
        counts = np.array([p.get_data().values for p in row[0].patches if isinstance(p, StepPatch)])
        # Each chain's draws are all there, and each bin holds a twentieth of all.
        np.testing.assert_array_equal(counts.sum(axis=1), 110)
        # A step that was refused repeats its draw, and the two share a bin.
        assert counts.shape[0] == 3 and np.abs(counts.sum(axis=0) - 330 / 20).max() <= 2
        assert len({tuple(p.get_edgecolor()) for p in row[0].patches[1:]}) == 3
        chains = np.array([line.get_ydata() for line in row[1].lines])
        if name in expected:
            np.testing.assert_allclose(chains.ravel(), expected[name], rtol=1e-9)
        rhat = float(array_stats.rhat(chains))
        ess = float(array_stats.ess(chains, method="bulk"))
        assert row[1].get_title() == rf"$\hat{{R}}$ = {rhat:.3f}, bulk ESS {ess:.0f}"
    assert axes[0, 1].get_ylabel() == "$z_0$ [pc]"
    assert axes[-1, 1].get_xlabel() == "draw"


def test_ranks_tell_a_chain_that_is_off(fit):
    """A chain far above the others has only the highest ranks, and R-hat says so."""
    draws = fit.samples.draws.copy()
    draws[220:, fit.samples.names.index("pos0")] += 1.0
    off = replace(fit, samples=Samples(draws, fit.samples.layout))
    _, axes = oti.plot.plot_trace(off, "pos0")
    steps = [p.get_data() for p in axes[0, 0].patches if isinstance(p, StepPatch)]
    highest = steps[2].edges[:-1] > 220
    np.testing.assert_array_equal(steps[2].values[~highest][:-1], 0)
    assert steps[0].values[highest].sum() == 0
    assert float(axes[0, 1].get_title().split("= ")[1].split(",")[0]) > 1.5


def test_trace_of_sampled_parameters(fit):
    names = [fit.samples.names[0], "ln_Omega0"]
    _, axes = oti.plot.plot_trace(fit, names)
    assert [ax.get_ylabel() for ax in axes[:, 1]] == [names[0], "ln_Omega0 [ln(rad / Myr)]"]
    column = np.concatenate([line.get_ydata() for line in axes[0, 1].lines])
    np.testing.assert_array_equal(column, fit.samples.draws[:, 0])


# -- corners ---------------------------------------------------------------------------------


def inside(contour: Path, points: np.ndarray) -> np.ndarray:
    """Whether points lie within the closed lines of a contour."""
    loops = contour.to_polygons(closed_only=False)
    return np.sum([Path(loop).contains_points(points) for loop in loops], axis=0) % 2 == 1


@pytest.mark.parametrize("kind", ["fit", "laplace"])
def test_corner(kind, request):
    one = request.getfixturevalue(kind)
    _, axes = oti.plot.plot_corner(one)
    assert axes.shape == (5, 5)
    assert [[ax.get_visible() for ax in row] for row in axes] == np.tri(5, dtype=bool).tolist()
    assert axes[4, 1].get_xlabel() == "$v_{z,0}$ [km/s]"
    table = one.derived()
    for i, row in enumerate(table):
        (line,) = axes[i, i].lines
        (band,) = [p for p in axes[i, i].patches if not isinstance(p, StepPatch)][:1]
        np.testing.assert_allclose(line.get_xdata(), row["median"], rtol=1e-9)
        ends = [band.get_x(), band.get_x() + band.get_width()]
        np.testing.assert_allclose(ends, [row["p16"], row["p84"]], rtol=1e-6)
    for i in range(5):
        for j in range(i):
            points = np.stack(axes[i, j].lines[0].get_data(), axis=1)
            assert len(points) == len(one.samples)
            (contours,) = [c for c in axes[i, j].collections if isinstance(c, ContourSet)]
            fractions = [inside(path, points).mean() for path in contours.get_paths()]
            # Lines between the nodes of a grid, and open where they leave it.
            np.testing.assert_allclose(fractions, [0.865, 0.393], atol=0.03)


def test_corner_title_and_names(fit):
    draws = fit.samples.draws.copy()
    draws[:, 0] = np.linspace(0, 1, len(draws))
    made = replace(fit, samples=Samples(draws, fit.samples.layout))
    name = fit.samples.names[0]
    _, axes = oti.plot.plot_corner(made, [name])
    assert axes.shape == (1, 1) and axes[0, 0].get_xlabel().startswith(name)
    assert titles(axes[0]) == ["$0.50^{+0.34}_{-0.34}$"]


def test_corner_of_many_draws(fit):
    """All draws are there, and the numbers are those of the table."""
    draws = np.random.default_rng(0).normal(0.02, 0.0071, (4000, fit.samples.draws.shape[1]))
    made = replace(fit, samples=Samples(draws, fit.samples.layout))
    _, axes = oti.plot.plot_corner(made, ["pos0", fit.samples.names[0]])
    assert len(axes[1, 0].lines[0].get_xdata()) == 4000
    row = oti.report.text_table(made).splitlines()[1].split()
    assert titles(axes[0])[0] == f"${row[1]}^{{+{row[3]}}}_{{-{row[2]}}}$"


def test_corner_of_dependent_and_constant_parameters(fit):
    """ln Omega0 and Omega0 say the same; a constant has no spread: panels all the same."""
    draws = fit.samples.draws.copy()
    draws[:, 0] = 0.5
    made = replace(fit, samples=Samples(draws, fit.samples.layout))
    fig, axes = oti.plot.plot_corner(made, ["Omega0", "ln_Omega0", fit.samples.names[0]])
    fig.canvas.draw()
    low, high = axes[2, 2].get_xlim()
    assert low < 0.5 < high


# -- replicated data -------------------------------------------------------------------------


def test_predictive_p_value(fit):
    """The panel's p is the fraction of replicated data with a larger chi^2, drawn anew."""
    _, axes = oti.plot.plot_posterior_predictive(fit, draws=1000)
    pos, vel, label = (fit.data[k] for k in ("pos", "vel", "label"))
    models = np.array([fit.model.get_label(pos, vel, p) for p in fit.samples])
    noise = np.random.default_rng(9).normal(size=(40, *models.shape))
    observed = np.sum(((label - models) / ERR) ** 2, axis=1)
    p = np.mean(np.sum(noise**2, axis=-1) > observed)
    (text,) = axes[4].texts
    pixels, value = text.get_text().split("\n")
    assert pixels == "225 pixels"
    # 13,000 replicated data sets leave 0.004; two digits are shown.
    assert float(value.removeprefix("p = ")) == pytest.approx(p, abs=0.02)
    np.testing.assert_allclose(axes[4].lines[0].get_xdata(), np.median(observed))
    assert sum(bar.get_height() for bar in axes[4].containers[0]) == len(fit.samples)


def test_predictive_p_of_wrong_errors(fit):
    wrong = replace(fit, data=fit.data | {"label_err": np.full(225, 0.5 * ERR)})
    _, axes = oti.plot.plot_posterior_predictive(wrong, draws=20)
    assert float(axes[4].texts[0].get_text().split("= ")[1]) < 1e-6


@pytest.mark.parametrize("kind", ["fit", "laplace"])
def test_predictive_bands(kind, request):
    one = request.getfixturevalue(kind)
    _, axes = oti.plot.plot_posterior_predictive(one)
    assert axes.shape == (5,)
    pos, vel = one.data["pos"].value, one.data["vel"].value
    # 15 % of 15 rows end within the third.
    kms = one.data["vel"].to_value(u.km / u.s)
    strips = ((pos, np.abs(vel) < 0.009, 8.4, "km/s"), (kms, np.abs(pos) < 0.18, 0.17, "kpc"))
    for k, (x, near, edge, unit) in enumerate(strips):
        *_, width, shown = titles(axes)[k].split()
        assert shown == unit and edge < float(width) < 1.3 * edge
        (bars,) = [c for c in axes[k].containers if isinstance(c, ErrorbarContainer)]
        at, mean = bars.lines[0].get_data()
        rows = np.unique(x)
        expected = [one.data["label"][near & (x == row)].mean() for row in rows]
        np.testing.assert_allclose(at, rows, atol=1e-9)
        np.testing.assert_allclose(mean, expected, atol=1e-12)
        length = np.ptp(np.array(bars.lines[2][0].get_segments())[:, :, 1], axis=1)
        n = np.sum(near & (x == rows[0]))
        np.testing.assert_allclose(length, 2 * ERR / np.sqrt(n), rtol=1e-9)
        noisy95, noisy68, model95, model68 = (band(c, at) for c in axes[k].collections[:4])
        # 95 % bands hold the 68 % ones, and replicated data scatter more than their model.
        for outer, inner in ((noisy95, noisy68), (model95, model68), (noisy95, model95)):
            assert np.all(outer[0] <= inner[0]) and np.all(outer[1] >= inner[1])
        held = np.mean((mean >= noisy95[0]) & (mean <= noisy95[1]))
        assert held >= 0.8
        middle = axes[k].lines[0].get_ydata()
        assert np.all((middle >= model68[0]) & (middle <= model68[1]))
        # The panel below is the same less the median.
        np.testing.assert_allclose(axes[k + 2].lines[1].get_ydata(), mean - middle, atol=1e-12)
        width = np.mean(noisy68[1] - noisy68[0])
        spread = np.hypot(ERR / np.sqrt(n), np.mean(model68[1] - model68[0]) / 2)
        # 100 draws a bin, 15 bins.
        assert width == pytest.approx(2 * spread, rel=0.1)


def band(collection, at):
    """Lower and upper edge of a filled band at its abscissae."""
    points = collection.get_paths()[0].vertices
    rows = [points[np.isclose(points[:, 0], x), 1] for x in at]
    return np.array([[r.min(), r.max()] for r in rows]).T


def test_predictive_depends_on_the_seed_alone(fit):
    def bars(seed):
        return [
            p.get_height() for p in oti.plot.plot_posterior_predictive(fit, 50, seed)[1][4].patches
        ]

    assert bars(3) == bars(3) and bars(3) != bars(4)


# -- bad input -------------------------------------------------------------------------------


def test_bad_input(problem, fit, laplace):
    with pytest.raises(ValueError, match=r"needs chains.*Laplace.*call sample\(\)"):
        oti.plot.plot_trace(laplace)
    for draw in (oti.plot.plot_trace, oti.plot.plot_corner, oti.plot.plot_posterior_predictive):
        with pytest.raises(ValueError, match="no draws to show: call sample"):
            draw(problem)
    for draw in (oti.plot.plot_trace, oti.plot.plot_corner):
        with pytest.raises(ValueError, match="no name 'Omega'; the nearest is 'Omega0'"):
            draw(fit, ["pos0", "Omega"])
        with pytest.raises(ValueError, match="at least one name"):
            draw(fit, [])
    for plot in (oti.plot.plot_trace, oti.plot.plot_corner, oti.plot.plot_posterior_predictive):
        with pytest.raises(ValueError, match="must be a Fit, but dict"):
            plot({})
    for n in (1, 0, 2.5, "many"):
        with pytest.raises(ValueError, match="draws must be a whole number of at least 2"):
            oti.plot.plot_posterior_predictive(fit, draws=n)


def test_quantities_beyond_the_model(fit, monkeypatch):
    """They are left out, and refused when named."""
    real = DERIVED["rho(0)"]
    monkeypatch.setitem(DERIVED, "Sigma(1.1 kpc)", (lambda m, p: np.nan * p["pos0"], *real[1:]))
    assert oti.plot.plot_corner(fit)[1].shape == (4, 4)
    with pytest.raises(ValueError, match=r"does not reach Sigma\(1.1 kpc\)"):
        oti.plot.plot_corner(fit, ["pos0", "Sigma(1.1 kpc)"])
