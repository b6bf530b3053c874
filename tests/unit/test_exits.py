"""Ways out of a fit: other tools, errors of single stars, reports and their options."""

from dataclasses import replace

import astropy.units as u
import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

import torusimaging as oti
from torusimaging.cli.cache import keep_programs
from torusimaging.plot.style import label_text, own_style
from torusimaging.report.captions import CAPTIONS
from torusimaging.report.folder import check_formats
from torusimaging.results.literature import OORT, RadialTerm

BINS = {"pos": np.linspace(-1, 1, 31) * u.kpc, "vel": np.linspace(-60, 60, 31) * u.km / u.s}


@pytest.fixture(scope="module")
def survey():
    return oti.mock.draw_stars(40_000, seed=8)


@pytest.fixture(scope="module")
def fit(survey):
    binned = oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, BINS, label_err=survey.label_err
    )
    return oti.fit_map(binned | {"name": "mg_fe"}).laplace(num_draws=300)


def test_a_data_frame(fit):
    frame = fit.to_dataframe()
    assert len(frame) == 300 and list(frame)[: len(fit.samples.names)] == fit.samples.names
    derived = fit.derived()
    np.testing.assert_allclose(np.median(frame["pos0 [pc]"]), derived["median"][0])
    np.testing.assert_allclose(frame["pos0 [pc]"], 1e3 * frame["pos0"])


def test_a_tree_for_arviz(fit, tmp_path):
    tree = fit.to_arviz()
    tree.to_netcdf(tmp_path / "tree.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "tree.nc", engine="h5netcdf") as back:
        found = back["derived"].to_dataset()
    assert found["a_z"].shape == (1, 300, 61) and found["rho(0)"].shape == (1, 300)
    table = oti.profiles(fit, found["z"].values * u.kpc)
    np.testing.assert_allclose(
        np.median(found["Sigma"].values[0], axis=0), table["Sigma_median"].value, rtol=1e-6
    )
    few = fit.to_arviz([0.2, 0.5] * u.kpc)["derived"]
    assert few["rho"].shape == (1, 300, 2) and few["rho"].attrs["units"] == "solMass / pc3"


def test_errors_of_stars(fit, survey):
    """The spread over draws; with errors of z and v_z that of places, to first order, as well."""
    some = slice(0, 300)
    pos, vel = survey.pos[some], survey.vel[some]
    alone = fit.actions(pos, vel)
    good = alone["flag"] == 0
    J = np.stack(
        [fit.model.compute_action_angle(pos, vel, fit.samples[i])["J"].value for i in range(300)]
    )
    ratio = alone["J_err"].value[good] / J.std(axis=0)[good]
    assert abs(np.median(ratio) - 1) < 0.1
    both = fit.actions(pos, vel, 20 * u.pc, 1 * u.km / u.s, draws=200)
    a = fit.model.get_acceleration(pos, fit.params).to_value(u.kpc / u.Myr**2)
    moved = vel - fit.params["vel0"] * u.kpc / u.Myr
    dJ = np.hypot(
        a * 0.02, moved.to_value(u.kpc / u.Myr) * (1 * u.km / u.s).to_value(u.kpc / u.Myr)
    )
    expected = np.hypot(alone["J_err"].value, dJ / alone["Omega"].value)
    # Near the plane's centre J is not linear in its errors.
    far = good & (alone["J"].value > np.nanpercentile(alone["J"].value, 40))
    assert abs(np.median(both["J_err"].value[far] / expected[far]) - 1) < 0.1
    assert np.all(both["theta_err"][far] > 0) and np.all(both["Omega_err"][far] > 0)


def test_flags_of_stars(fit):
    """At rest: within the data, beyond them but on the model's orbits, beyond these, and NaN."""
    height = float(fit.model.height)
    top = float(fit.model.grid.top)
    z = np.array([0.5 * height, 0.5 * (height + top), 1.5 * top, np.nan]) * u.kpc
    table = fit.model.compute_action_angle(z, np.zeros(4) * u.km / u.s, fit.params)
    assert list(table["flag"]) == [0, 3, 1, 2]
    assert list(np.isfinite(table["J"].value)) == [True, True, False, False]
    assert [table.meta[f"n_{k}"] for k in ("outside", "not_finite", "outward")] == [1, 1, 1]
    _, axes = np.atleast_1d(0), oti.plot.plot_actions(table, table)[1]
    assert "turns beyond the data" in axes[0].get_legend_handles_labels()[1]


def test_the_radial_term(fit):
    """delta rho = (v_c / R) (dv_c / dR) / (2 pi G), here of a curve, by Oort's constants."""
    term = RadialTerm.of_curve(8.2 * u.kpc, 230 * u.km / u.s, -2 * OORT, 0.5 * OORT)
    G = 4.30091e-6
    np.testing.assert_allclose(
        term.density.to_value(u.Msun / u.kpc**3), 230 / 8.2 * -2 / (2 * np.pi * G), rtol=1e-5
    )
    draws = term.draws(100_000)
    np.testing.assert_allclose(draws.mean(), term.density.value, atol=4e-6)
    # The slope's error alone, which A and B share: d rho = Omega d slope / (2 pi G).
    np.testing.assert_allclose(draws.std(), 230 / 8.2 * 0.5 / (2 * np.pi * G) * 1e-9, rtol=0.01)
    # Independent errors of the usual constants: those of 2 A dA and 2 B dB in quadrature.
    expected = 2 * 0.4 * np.hypot(15.3, 11.9) / (2 * np.pi * G) * 1e-9
    np.testing.assert_allclose(RadialTerm().draws(100_000).std(), expected, rtol=0.01)
    usual = RadialTerm()
    assert usual.density.value == pytest.approx(-0.00342, abs=2e-5)
    rows = {r["quantity"]: r for r in fit.derived(radial=usual)}
    plain, with_term = rows["Sigma(1.1 kpc)"], rows["Sigma(1.1 kpc) + radial"]
    if np.isfinite(plain["median"]):
        assert with_term["median"] - plain["median"] == pytest.approx(-7.5, abs=0.5)
    table = oti.profiles(fit, [0.5] * u.kpc, radial=usual)
    one = oti.profiles(fit, [0.5] * u.kpc)
    assert (table["Sigma_median"] - one["Sigma_median"])[0].value == pytest.approx(-3.42, abs=0.2)
    # The fit's own error grows, the radial term's does not.
    scattered = replace(fit)
    scattered.__dict__["verdict"] = replace(
        fit.verdict, factors=dict.fromkeys(fit.verdict.factors, 2.0)
    )
    table_of = {r["quantity"]: r for r in scattered.derived(True, usual)}
    own, both = (
        float(table_of[k]["p84_wide"] - table_of[k]["median"])
        for k in ("rho(0)", "rho(0) + radial")
    )
    term = np.std(usual.draws(4000))
    assert both == pytest.approx(np.hypot(own, term), rel=0.05)
    assert "Oort" in table.meta["radial"] and one.meta["radial"] == "left out"
    assert "with the radial term" in oti.report.text_table(fit, radial=usual)


def test_a_report(fit, tmp_path):
    files = oti.report.write_report(
        fit, tmp_path / "out", fit.binned, fit.start, formats=("pdf", "png"), dpi=50
    )
    names = {f.name for f in files}
    assert {"arviz.nc", "captions.txt", "model.pdf", "model.png"} <= names
    assert not {"splines.png", "initial.png"} & names
    captions = (tmp_path / "out" / "captions.txt").read_text()
    for name in names:
        stem, _, ending = name.partition(".")
        assert ending != "pdf" or f"{stem}: " in captions
    assert all(len(text) > 40 for text in CAPTIONS.values())


def test_the_style_gives_way():
    with own_style():
        assert mpl.rcParams["xtick.direction"] == "in" and mpl.rcParams["font.size"] == 10
    with mpl.rc_context({"font.size": 17.0}), own_style():
        assert mpl.rcParams["font.size"] == 17 and mpl.rcParams["xtick.direction"] == "in"
    assert mpl.rcParams["xtick.direction"] == "out"


@pytest.mark.parametrize(
    ("name", "text"),
    [("mgfe", "[Mg/Fe]"), ("MG_FE", "[Mg/Fe]"), ("fe_h", "[Fe/H]"), ("age", "age"), ("C_N", "C_N")],
)
def test_names_of_labels(name, text):
    assert label_text(name) == text


def test_the_cache(tmp_path, monkeypatch):
    """In the user's folder, unless it cannot be written; the oldest beyond the limit go."""
    import jax

    before = jax.config.jax_compilation_cache_dir
    try:
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        folder = tmp_path / "torusimaging" / "compiled"
        folder.mkdir(parents=True)
        for k in range(3):
            (folder / f"{k}").write_bytes(b"x" * 100)
        monkeypatch.setattr("torusimaging.cli.cache.MOST_BYTES", 150)
        keep_programs()
        assert jax.config.jax_compilation_cache_dir == str(folder)
        assert len(list(folder.iterdir())) == 1
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        jax.config.update("jax_compilation_cache_dir", before)
        keep_programs()
        assert jax.config.jax_compilation_cache_dir == before
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_bad_input(fit, survey):
    unsampled = oti.Fit(fit.model, fit.data, fit.bounds, fit.start, fit.params, fit.optimizer)
    pos, vel = survey.pos[:5], survey.vel[:5]
    for text, call in (
        ("call laplace\\(\\) or sample", unsampled.to_dataframe),
        ("call laplace\\(\\) or sample", unsampled.to_arviz),
        ("call laplace\\(\\) or sample", lambda: unsampled.actions(pos, vel)),
        ("pos_err must have the stars' shape", lambda: fit.actions(pos, vel, [1, 2] * u.pc)),
        ("pos_err must be finite", lambda: fit.actions(pos, vel, np.inf * u.pc)),
        (
            "vel_err must be finite and at least 0",
            lambda: fit.actions(pos, vel, None, -1 * u.km / u.s),
        ),
        ("draws must be", lambda: fit.actions(pos, vel, draws=1)),
        ("format must be some of", lambda: check_formats(["gif"])),
        ("format must be some of", lambda: check_formats([])),
        ("radial must be", lambda: fit.derived(radial=True)),
        ("n must be a whole number", lambda: oti.literature.RadialTerm().draws(0)),
        ("seed must be a whole number", lambda: oti.literature.RadialTerm().draws(3, seed=-1)),
        ("radial must be", lambda: oti.profiles(fit, radial=-0.003)),
        ("A must be one finite", lambda: RadialTerm(A=[1, 2] * OORT)),
        ("B_err must be one finite", lambda: RadialTerm(B_err=-1 * OORT)),
        ("unit", lambda: RadialTerm(A=15.3)),
        (
            "v_c must be one positive",
            lambda: RadialTerm.of_curve(8 * u.kpc, -230 * u.km / u.s, 0 * OORT, 1 * OORT),
        ),
        ("widened must be True or False", lambda: fit.derived(widened="no")),
        ("one row of stars", lambda: fit.actions(pos.reshape(1, 5), vel.reshape(1, 5))),
        (
            "R must be one positive",
            lambda: RadialTerm.of_curve(0 * u.kpc, 230 * u.km / u.s, 0 * OORT, 1 * OORT),
        ),
        (
            "contours must be",
            lambda: oti.plot.plot_data_models_residual(
                fit.binned, fit.model, fit.params, contours=-1
            ),
        ),
    ):
        with pytest.raises(ValueError, match=text):
            call()
