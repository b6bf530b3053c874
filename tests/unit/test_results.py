"""A fit goes to a file and comes back the same."""

from dataclasses import replace

import astropy.units as u
import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import torusimaging as oti
from torusimaging.files.writing import in_use
from torusimaging.inference.draws import Samples, of_draws
from torusimaging.inference.identity import data_digest
from torusimaging.inference.nuts import diagnostics, energy_fraction
from torusimaging.results.fit import _interval


@pytest.fixture(scope="module")
def fit():
    grid = np.meshgrid(np.linspace(-1.2, 1.2, 15), np.linspace(-0.06, 0.06, 15), indexing="ij")
    pos, vel = (g.ravel() for g in grid)
    r = np.hypot(pos * np.sqrt(0.075), vel / np.sqrt(0.075))
    label = 0.25 * np.tanh(3 * r) + np.random.default_rng(4).normal(0, 0.01, pos.size)
    data = {
        "pos": pos * u.kpc,
        "vel": vel * u.kpc / u.Myr,
        "label": label,
        "label_err": np.full(pos.size, 0.01),
    }
    fit = oti.fit_map(data, frame="test frame", model="spline", label_knots=3, e_knots={2: 3})
    return fit.sample(seed=1, num_warmup=100, num_steps=50, num_chains=2)


def test_round_trip(fit, tmp_path):
    back = oti.load(fit.save(tmp_path / "fit.nc"))
    same = np.testing.assert_array_equal
    jax.tree.map(same, back.params, jax.tree.map(np.asarray, fit.params))
    jax.tree.map(same, back.bounds, jax.tree.map(np.asarray, fit.bounds))
    same(back.samples.draws, fit.samples.draws)
    same(back.state.logdensity, fit.state.logdensity)
    assert back.frame == "test frame" and back.state.verdict == fit.state.verdict
    z = np.linspace(-1, 1, 11) * u.kpc
    same(back.model.get_acceleration(z, back.params), fit.model.get_acceleration(z, fit.params))
    assert back.chi2_per_pixel == fit.chi2_per_pixel
    # Only the file itself is left in the folder.
    assert [p.name for p in tmp_path.iterdir()] == ["fit.nc"]


def test_a_labels_unit_stays_with_the_fit(fit, tmp_path):
    """Models see plain numbers; the fit, its file and its figures know what of."""
    ages = fit.data | {k: fit.data[k] * 1e3 * u.Myr for k in ("label", "label_err")}
    ages["label"] = ages["label"].to(u.Gyr)
    made = oti.fit_map(ages, model="spline", label_knots=3, e_knots={2: 3})
    assert made.label_unit == u.Gyr and fit.label_unit is None
    for name in ("label", "label_err"):
        np.testing.assert_allclose(made.data[name], fit.data[name], rtol=1e-12)
        assert made.binned[name].unit == u.Gyr
    assert fit.binned.keys() == fit.data.keys()
    np.testing.assert_array_equal(fit.binned["label"], fit.data["label"])
    back = oti.load(made.save(tmp_path / "fit.nc"))
    assert back.label_unit == u.Gyr and oti.load(fit.save(tmp_path / "b.nc")).label_unit is None
    np.testing.assert_array_equal(back.data["label"], made.data["label"])
    figure, _ = oti.plot.plot_data_models_residual(back.binned, back.model, back.params)
    assert [ax.get_ylabel() for ax in figure.axes[3:]] == ["mean label [Gyr]", "data - model [Gyr]"]
    with_draws = replace(fit, label_unit=u.Gyr)
    assert (
        oti.plot.plot_posterior_predictive(with_draws, 5)[1][0].get_ylabel() == "mean label [Gyr]"
    )
    assert oti.plot.plot_posterior_predictive(fit, 5)[1][0].get_ylabel() == "mean label"
    plt.close("all")


def test_draws_of_one_parameter(fit):
    names = fit.samples.names
    np.testing.assert_array_equal(fit.samples["pos0"], fit.samples.draws[:, names.index("pos0")])
    knots = fit.samples["label_params.label_vals"]
    assert knots.shape == (len(fit.samples), sum("label_vals[" in name for name in names))
    with pytest.raises(ValueError, match="samples have no parameter 'label_vals'"):
        fit.samples["label_vals"]


def test_tables(fit):
    summary = fit.summary()
    assert len(summary) == fit.samples.draws.shape[1]
    derived = fit.derived()
    assert list(derived["quantity"]) == ["pos0", "vel0", "Omega0", "rho(0)", "Sigma(1.1 kpc)"]
    assert np.all(derived["p16"] < derived["p84"])
    for table in (summary, derived, fit.profiles()):
        assert max(map(len, table.pformat(max_width=80))) <= 80


@pytest.mark.parametrize("chains", [1, 2])
def test_chains_that_never_moved(chains):
    """They have no R-hat, and nothing remarks on that on standard error."""
    assert np.isnan(diagnostics(np.full((chains, 20, 3), 0.1))["rhat"]).all()
    assert not np.all(energy_fraction(np.ones((chains, 20))) > 0.3)


def test_no_spread_is_no_error_of_zero(fit):
    """Before sampling, and of a parameter that is the same in all draws, the error is unknown."""
    optimum = replace(fit, samples=None, state=None)
    table = optimum.derived()
    assert np.all(np.isfinite(table["median"])) and np.all(np.isnan(table["p16"]))
    row = oti.report.text_table(optimum).splitlines()[1].split()
    assert row[2:4] == ["nan", "nan"]
    draws = fit.samples.draws.copy()
    draws[:, 0] = 0.1
    row = replace(fit, samples=Samples(draws, fit.samples.layout)).summary()[0]
    assert row["mean"] == pytest.approx(0.1) and row["median"] == 0.1
    assert all(np.isnan(row[name]) for name in ("sd", "p16", "p84"))


def test_every_draw_counts(fit):
    """A number printed twice is the same twice: the percentiles of all draws, not of some."""
    many = fit.laplace(num_draws=1200)
    percentiles = np.percentile(many.samples["pos0"], [50, 16, 84])
    row = many.derived()[0]
    found = [row[name] for name in ("median", "p16", "p84")]
    np.testing.assert_allclose(found, 1e3 * percentiles, rtol=1e-12)
    summary = many.summary()
    median = summary["median"][list(summary["parameter"]).index("pos0")]
    np.testing.assert_allclose(median, percentiles[0], rtol=1e-12)


def frequency_and_centre(model, params, factor):
    return factor * model.foliation(params).omega0, params["vel0"]


@pytest.mark.parametrize("n", [1, 3, 256, 300])
def test_blocks_of_draws(fit, n):
    """Every draw has its own value, whatever the number of them."""
    draws = (
        np.resize(fit.samples.draws, (n, fit.samples.draws.shape[1]))
        * (1 + np.arange(n) / 1e6)[:, None]
    )
    samples = Samples(draws, fit.samples.layout)
    omegas, centres = of_draws(frequency_and_centre, fit.model, samples.stacked, 2.0)
    assert omegas.shape == centres.shape == (n,)
    for i in {0, n // 2, n - 1}:
        omega, centre = frequency_and_centre(fit.model, samples[i], 2.0)
        np.testing.assert_allclose(omegas[i], omega, rtol=1e-9)
        assert centres[i] == centre


def test_profiles_and_prior(fit):
    z = np.linspace(0.1, 0.9, 5) * u.kpc
    own, asked = fit.profiles(z), oti.profiles(fit, z)
    np.testing.assert_array_equal(own["a_z_median"], asked["a_z_median"])
    assert len(oti.plot.plot_profiles(fit.profiles())[1]) == 3
    # The band of the prior holds that of the posterior nearly everywhere: it is wider.
    _, axes = oti.plot.plot_prior_predictive(fit, draws=200)
    names = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert names == ["prior", "posterior"]
    widths = [np.ptp(c.get_paths()[0].vertices[:, 1]) for c in axes[0].collections]
    assert widths[0] > widths[2]
    with pytest.raises(ValueError, match="draws must be a whole number of at least 1"):
        oti.plot.plot_prior_predictive(fit, draws=0)


def test_what_the_file_says_of_itself(fit, tmp_path):
    """Groups of the ArviZ layout, and attributes that tell data, frame and versions."""
    with xr.open_datatree(fit.save(tmp_path / "fit.nc"), engine="h5netcdf") as tree:
        groups = {"posterior", "sample_stats", "observed_data", "constant_data", "optimum"}
        assert set(tree.children) == groups
        assert tree["posterior"]["pos0"].dims == ("chain", "draw")
        assert tree.attrs["data_digest"] == data_digest(fit.data)
        assert tree.attrs["frame"] == "test frame" and "jax" in tree.attrs["versions"]
    other = fit.data | {"label": fit.data["label"] + 1e-12}
    assert data_digest(other) != data_digest(fit.data)


def test_two_writers(fit, tmp_path):
    path = fit.save(tmp_path / "fit.nc")
    before = path.read_bytes()
    with in_use(path):
        with pytest.raises(OSError, match="is being written by another process"):
            fit.save(path)
    assert path.read_bytes() == before
    fit.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["fit.nc"]


def test_units_that_no_galaxy_has_are_a_problem(fit):
    """Velocities in m/s taken for km/s are fitted as well, and named."""
    assert not any("units" in text for text in fit.problems)
    fast = fit.data | {"vel": 1000 * fit.data["vel"]}
    wrong = oti.fit_map(fast, model="spline", label_knots=3, e_knots={2: 3})
    assert any("check the units" in text for text in wrong.problems)


def test_bad_files(fit, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no result file"):
        oti.load(tmp_path / "none.nc")
    text = tmp_path / "text.nc"
    text.write_text("not netCDF")
    with pytest.raises(ValueError, match="no readable netCDF"):
        oti.load(text)
    whole = fit.save(tmp_path / "fit.nc").read_bytes()
    (tmp_path / "half.nc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="no readable netCDF"):
        oti.load(tmp_path / "half.nc")


def test_draws_that_do_not_reach_a_quantity_are_left_out_of_its_interval():
    draws = np.linspace(0.0, 1.0, 101)[:, None] * np.ones(2)
    draws[0, 0], draws[:60, 1] = np.nan, np.nan
    low, middle, high = _interval(draws)
    assert (low[0], middle[0], high[0]) == pytest.approx((0.1684, 0.505, 0.8416), abs=1e-3)
    assert np.isnan([low[1], middle[1], high[1]]).all()
