"""A fit goes to a file and comes back the same."""

import astropy.units as u
import jax
import numpy as np
import pytest

import torusimaging as oti


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


def test_tables(fit):
    summary = fit.summary()
    assert len(summary) == fit.samples.draws.shape[1]
    derived = fit.derived()
    assert list(derived["quantity"]) == ["pos0", "vel0", "Omega0", "rho(0)", "Sigma(1.1 kpc)"]
    assert np.all(derived["p16"] < derived["p84"])


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
