"""Profiles with uncertainties: against the model's public verbs, closed forms and bad input."""

from dataclasses import replace
from types import SimpleNamespace

import astropy.units as u
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.table import QTable

import torusimaging as oti
from torusimaging.fitting import Fit
from torusimaging.foliation.density import G
from torusimaging.inference.draws import Samples
from torusimaging.parameters import Layout
from torusimaging.plot.profiles import plot_profiles
from torusimaging.results import literature
from torusimaging.results.profiles import profiles

LEVELS = {"median": 50, "p2_5": 2.5, "p16": 16, "p84": 84, "p97_5": 97.5}


def label(r, slope):
    return slope * r


def stretch(r_e, a):
    return a * r_e


def params(omega=0.07, a=0.4, pos0=0.02, order=2):
    return {
        "pos0": pos0,
        "vel0": 0.0,
        "ln_Omega0": np.log(omega),
        "e_params": {order: {"a": a}},
        "label_params": {"slope": 1.0},
    }


def some(n=40, **kw):
    steps = np.random.default_rng(2).normal(size=(n, 3)) * [0.002, 0.02, 0.005]
    return [params(0.07 + w, 0.4 + a, 0.02 + p, **kw) for w, a, p in steps]


class WithDark(oti.TorusImaging1D):
    """A model that knows a constant density of dark matter."""

    has_dark_matter = True

    def dark_density_at(self, pos, params):
        return jnp.full(pos.shape, 1e7) * jnp.exp(params["ln_Omega0"]) / 0.07

    def dark_surface_density_at(self, height, params):
        return 2 * height * self.dark_density_at(height, params)


@pytest.fixture
def model():
    return oti.TorusImaging1D(label, {2: stretch}, r_e_max=0.3)


def test_percentiles_of_the_public_verbs(model):
    draws, z = some(), np.array([-0.7, -0.2, 0.0, 0.4, 0.9]) * u.kpc
    table = profiles((model, draws), z)
    at = [z + p["pos0"] * u.kpc for p in draws]
    expected = {
        "a_z": [model.get_acceleration(x, p) for x, p in zip(at, draws, strict=True)],
        "rho": [model.get_density(x, p) for x, p in zip(at, draws, strict=True)],
        "Sigma": [model.get_surface_density(np.abs(z), p) for p in draws],
    }
    for name, values in expected.items():
        for level, percent in LEVELS.items():
            column = table[f"{name}_{level}"]
            want = np.percentile(u.Quantity(values).to_value(column.unit), percent, axis=0)
            np.testing.assert_allclose(column.value, want, rtol=1e-10, atol=1e-12)
    assert table["a_z_median"].unit == u.km / u.s / u.Myr
    assert table["rho_median"].unit == u.Msun / u.pc**3
    assert table.meta["draws"] == 40 and table.meta["kind"] == "posterior draws"


def test_harmonic_oscillator_is_exact(model):
    omegas = np.linspace(0.06, 0.08, 41)
    table = profiles((model, [params(w, 0.0) for w in omegas]), [0.1, 0.5] * u.kpc)
    for level, percent in LEVELS.items():
        rho = np.percentile(omegas**2, percent) / (4 * np.pi * G) * 1e-9
        np.testing.assert_allclose(table[f"rho_{level}"].value, rho, rtol=1e-10)
        np.testing.assert_allclose(
            table[f"Sigma_{level}"].value, rho * np.array([200, 1000]), rtol=1e-10
        )


def test_mean_of_the_two_sides():
    model = oti.TorusImaging1D(label, {1: stretch}, convention="vp", r_e_max=0.3)
    p, z = params(a=0.3, order=1), np.array([0.3, -0.3]) * u.kpc
    up, down = model.get_acceleration(z + p["pos0"] * u.kpc, p)
    assert abs(up + down) > 0.01 * abs(up)
    sigma = profiles((model, p), z)["Sigma_median"]
    expected = (down - up) / (4 * np.pi * G) * u.Msun / u.kpc**2 / (u.kpc / u.Myr**2)
    np.testing.assert_allclose(sigma, expected.to(u.Msun / u.pc**2), rtol=1e-10)


def test_samples_of_a_sampler(model):
    draws = some()
    layout = Layout.of(draws[0])
    rows = np.stack([layout.flatten(jax.tree.map(jnp.asarray, p)) for p in draws])
    samples = Samples(rows, layout)
    z = np.linspace(0, 0.8, 5) * u.kpc
    ours, other = profiles((model, samples), z), profiles((model, draws), z)
    for name in ours.colnames:
        np.testing.assert_allclose(ours[name], other[name], rtol=1e-12)


def test_optimum_alone(model):
    table = profiles((model, params()))
    assert table.meta["kind"] == "optimum only" and table.meta["draws"] == 1
    assert len(table) == 61 and table["z"][0] == 0
    reach = 0.3 / np.sqrt(0.07)
    np.testing.assert_allclose(table["z"][-1].value, reach, rtol=1e-8)
    for level in LEVELS:
        np.testing.assert_array_equal(table[f"rho_{level}"], table["rho_median"])
    assert all(np.all(np.isfinite(table[c])) for c in table.colnames)


def test_no_value_beyond_the_reach(model):
    draws = [params(w) for w in np.linspace(0.05, 0.09, 11)]
    reaches = 0.3 / np.sqrt(np.linspace(0.05, 0.09, 11))
    z = np.array([reaches[-1] * 0.99, reaches[7], reaches[3], 9.0]) * u.kpc
    table = profiles((model, draws), z)
    np.testing.assert_array_equal(np.isnan(table["rho_p16"]), [False, False, True, True])
    np.testing.assert_allclose(table.meta["reach"], reaches[-1])
    # At the second height eight draws still have a value.
    a = [model.get_acceleration(z[1] + 0.02 * u.kpc, p).value for p in draws[:7]]
    assert np.min(a) * 977.8 < table["a_z_median"][1].value < np.max(a) * 977.8


def test_dark_matter():
    draws = some()
    z = np.linspace(-0.5, 0.5, 5) * u.kpc
    table = profiles((WithDark(label, {2: stretch}, r_e_max=0.3), draws), z)
    omega = np.exp(np.median([p["ln_Omega0"] for p in draws]))
    np.testing.assert_allclose(table["rho_dm_median"].value, 0.01 * omega / 0.07, rtol=1e-3)
    expected = 2 * np.abs(z).to_value(u.pc) * table["rho_dm_p84"].value
    np.testing.assert_allclose(table["Sigma_dm_p84"].value, expected, rtol=1e-12)


def test_literature(model, tmp_path):
    table = profiles((model, some()), [0.2] * u.kpc)
    found = table.meta["literature"]
    assert len(found) == len(literature.MARKS) == len(literature.table())
    # a = -Omega0^2 q (1 - ...) with e_2 = a r_e: the mean within 50 pc, by the public verb.
    sigma = [model.get_surface_density(50 * u.pc, p).to_value(u.Msun / u.pc**2) for p in some()]
    np.testing.assert_allclose(found[0]["model_median"], np.median(sigma) / 100, rtol=1e-10)
    assert found[2]["value"] == 72 and np.isfinite(found[2]["model_p16"])
    assert "literature" not in profiles((model, some()), [0.2] * u.kpc, literature=False).meta
    table.write(tmp_path / "profiles.ecsv")
    back = QTable.read(tmp_path / "profiles.ecsv")
    assert back.meta["literature"][3]["source"] == "Bovy & Rix 13 (arXiv:1309.0809)"
    assert back["rho_p16"].unit == u.Msun / u.pc**3


@pytest.mark.parametrize(
    ("samples", "z", "message"),
    [
        (some(3), np.linspace(0, 1, 3), "z has no unit"),
        (some(3), 1 * u.s, "z must have a unit like kpc"),
        (some(3), [[0.1, 0.2]] * u.kpc, "z must be one row of finite heights"),
        (some(3), np.nan * u.kpc, "z must be one row of finite heights"),
        (some(3), [] * u.kpc, "z must be one row of finite heights"),
        (some(3), [np.nan, 1.0] * u.kpc, "z must be one row of finite heights"),
        (some(3), [-4.0, 3.0] * u.kpc, r"which ends 1.\d+ kpc from its midplane"),
        ([], None, "at least one set of parameters"),
        ([{"pos0": 0.0, "ln_Omega0": 0.0}], None, "e_params is missing"),
        ([params(), {"pos0": 0.0}], None, "but number 1 has not"),
    ],
)
def test_bad_input(model, samples, z, message):
    with pytest.raises(ValueError, match=message):
        profiles((model, samples), z)


def test_fit(model):
    fit = Fit(model, {}, {}, {}, params(), None, frame="test frame")
    table = profiles(fit)
    assert table.meta["frame"] == "test frame" and table.meta["kind"] == "optimum only"
    layout = Layout.of(params())
    rows = np.stack([layout.flatten(jax.tree.map(jnp.asarray, p)) for p in some(1100)])
    sampled = replace(fit, samples=Samples(rows, layout))
    table = profiles(sampled, [0.0, 0.3, 1.0] * u.kpc)
    assert table.meta["kind"] == "posterior draws" and table.meta["draws"] == 1100
    # Every draw counts once, those of the last, filled block, too.
    a_z = [model.get_acceleration((0.3 + p["pos0"]) * u.kpc, p) for p in some(1100)]
    expected = np.percentile(u.Quantity(a_z).to_value(u.km / u.s / u.Myr), [2.5, 16, 50])
    got = [table[f"a_z_{level}"][1].value for level in ("p2_5", "p16", "median")]
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_a_scalar_height_is_one_row(model):
    table = profiles((model, some(5)), 0.5 * u.kpc)
    assert len(table) == 1 and table["z"][0] == 0.5 * u.kpc
    row = profiles((model, some(5)), [0.5] * u.kpc)
    assert table["a_z_p84"][0] == row["a_z_p84"][0]


def test_bad_fits():
    with pytest.raises(ValueError, match="fit must be a Fit or a pair"):
        profiles(params())
    odd = oti.TorusImaging1D(label, {3: stretch}, r_e_max=0.3)
    with pytest.raises(ValueError, match='odd orders m with the convention "pv"'):
        profiles((odd, params(order=3)))


def test_figure(model):
    table = profiles((model, some()), np.linspace(-1.0, 1.12, 21) * u.kpc)
    truth = oti.mock.solar_potential()
    other = profiles((WithDark(label, {2: stretch}, r_e_max=0.3), some()))
    _, axes = plot_profiles(table, literature=True, truth=truth, others={"with dark": other})
    assert axes.shape == (5,)
    assert axes[1].get_ylabel() == r"$\rho$ [M$_\odot$ pc$^{-3}$]"
    np.testing.assert_allclose(axes[0].lines[1].get_ydata(), table["a_z_median"].value)
    texts = [t.get_text() for t in axes[0].get_legend().get_texts()]
    assert texts == ["this fit", "with dark", "truth"]
    marks = [t.get_text() for t in axes[2].get_legend().get_texts()]
    assert marks == ["Horta+24, with a radial term", "Bovy & Rix 13, with a radial term"]
    dashed = [line for line in axes[2].lines if line.get_linestyle() == "--"]
    z = dashed[0].get_xdata()
    expected = truth.surface_density(np.abs(z)) * 1e-6
    np.testing.assert_allclose(dashed[0].get_ydata(), expected)
    assert plot_profiles(other)[1].shape == (5,)
    _, axes = plot_profiles(table, others={"this fit": table, "this fit (2)": table})
    texts = [t.get_text() for t in axes[0].get_legend().get_texts()]
    assert texts == ["this fit", "this fit (3)", "this fit (2)"]
    survey = SimpleNamespace(pos0=0 * u.kpc, potential=truth)
    assert plot_profiles(table, truth=survey)[1].shape == (3,)
    with pytest.raises(ValueError, match="must be one that profiles"):
        plot_profiles(QTable({"z": [1] * u.kpc}))
    without = table.copy()
    del without["Sigma_p97_5"]
    for text, call in (
        ("has no Sigma_p97_5", lambda: plot_profiles(without)),
        ("name must be text", lambda: plot_profiles(table, name=["a"])),
        ("literature must be True", lambda: plot_profiles(table, literature="no")),
        ("others must be a dictionary by name", lambda: plot_profiles(table, others=[table])),
    ):
        with pytest.raises(ValueError, match=text):
            call()
    plt.close("all")


def dashed(axes):
    """(label, heights, values) of each panel's dashed line, None where it has none."""
    lines = [[x for x in ax.lines if x.get_linestyle() == "--"] for ax in axes]
    return [(x[0].get_label(), *x[0].get_data()) if x else None for x in lines]


def full_potentials():
    gala = pytest.importorskip("gala.potential", reason="gala is not installed")
    galpy = pytest.importorskip("galpy.potential", reason="galpy is not installed")
    from gala.units import galactic

    disc = {"a": 3 * u.kpc, "b": 0.28 * u.kpc}
    first = gala.MiyamotoNagaiPotential(m=6e10 * u.Msun, **disc, units=galactic)
    second = galpy.MiyamotoNagaiPotential(amp=6e10 * u.Msun, **disc, ro=8.1, vo=225.0)
    return {"gala": first, "gala list": [first], "galpy": second, "galpy list": [second]}


@pytest.mark.parametrize("name", ["gala", "gala list", "galpy", "galpy list"])
def test_truth_of_another_package(model, name):
    """a_z of a Miyamoto-Nagai disc in closed form, and rho and Sigma in the table's own sense."""
    potential = full_potentials()[name]
    table = profiles((model, some(5)), np.linspace(-0.9, 0.9, 11) * u.kpc)
    found = dashed(plot_profiles(table, truth=potential, R=8000 * u.pc)[1])
    assert found[0][0] == "MiyamotoNagaiPotential at R = 8 kpc"

    def pull(z, R=8.0):
        root = np.sqrt(z**2 + 0.28**2)
        return -G * 6e10 * z * (3 + root) / root / (R**2 + (3 + root) ** 2) ** 1.5

    z = found[0][1]
    # galpy's constant of gravity has its own digits.
    np.testing.assert_allclose(found[0][2], 977.7922 * pull(z), rtol=1e-4, atol=1e-12)
    slope = (pull(z + 1e-5) - pull(z - 1e-5)) / 2e-5
    np.testing.assert_allclose(found[1][2], -slope / (4 * np.pi * G) * 1e-9, rtol=2e-4)
    np.testing.assert_allclose(
        found[2][2], np.abs(pull(z)) / (2 * np.pi * G) * 1e-6, rtol=2e-4, atol=1e-9
    )
    # Without R that of the frame, and else the Sun's.
    assert dashed(plot_profiles(table, truth=potential)[1])[0][0].endswith("R = 8.275 kpc")
    table.meta["frame"] = "tutorial: R0 = 8.3 kpc, z_sun = 20.8 pc"
    assert dashed(plot_profiles(table, truth=potential)[1])[0][0].endswith("R = 8.3 kpc")
    _, axes = oti.plot.plot_acceleration_density(model, params(), truth=potential, R=8 * u.kpc)
    label, z, a_z = dashed(axes)[0]
    assert label == "MiyamotoNagaiPotential at R = 8 kpc"
    np.testing.assert_allclose(a_z, 977.7922 * pull(z - 0.02), rtol=1e-4, atol=1e-12)
    plt.close("all")


def test_truth_of_functions_and_tables(model):
    table = profiles((model, some(5)), np.linspace(0, 0.9, 11) * u.kpc)
    pull = u.km / u.s / u.Myr

    def by_quantity(z):
        return (-2.0 * z / u.kpc) * pull

    def by_plain(z):
        return 70 * np.tanh(z / 0.4) * u.Msun / u.pc**2

    a_z, rho, sigma = dashed(plot_profiles(table, truth=[by_quantity, by_plain])[1])
    assert rho is None
    np.testing.assert_allclose(a_z[2], -2.0 * a_z[1])
    np.testing.assert_allclose(sigma[2], 70 * np.tanh(sigma[1] / 0.4))
    alone = dashed(plot_profiles(table, truth=by_quantity)[1])
    assert alone[1] is None and alone[2] is None
    given = QTable({"z": [300, 100] * u.pc, "a_z": [-1.5, -0.5] * pull})
    a_z, rho, sigma = dashed(plot_profiles(table, truth=given)[1])
    np.testing.assert_allclose(a_z[1:], [[0.1, 0.3], [-0.5, -1.5]])
    assert rho is None and sigma is None
    own = dashed(plot_profiles(table, truth=table)[1])
    np.testing.assert_array_equal(own[2][2], table["Sigma_median"].value)
    plt.close("all")


@pytest.mark.parametrize(
    ("truth", "R", "message"),
    [
        (lambda z: z, None, "must return a quantity .* but returned kpc"),
        (lambda z: 3.0, None, "must return a quantity .* but returned no unit"),
        ("MWPotential2014", None, "truth must have the methods .* but str was given"),
        ([], None, "truth must have the methods .* but an empty list was given"),
        (QTable({"z": [1] * u.kpc}), None, "must have z and one of a_z, .* has only z"),
        (QTable({"z": [1.0], "a_z": [1.0]}), None, "has no unit"),
        ("gala", 8.0, "R has no unit"),
        ("gala", 8 * u.s, "R must have a unit like kpc"),
        ("galpy", [8, 9] * u.kpc, "R must be one positive length"),
        ("galpy", 0 * u.kpc, "R must be one positive length"),
    ],
)
def test_bad_truth(model, truth, R, message):
    named = isinstance(truth, str) and truth in ("gala", "galpy")
    truth = full_potentials()[truth] if named else truth
    table = profiles((model, some(2)), [0.1, 0.2] * u.kpc)
    with pytest.raises(ValueError, match=message) as caught:
        plot_profiles(table, truth=truth, R=R)
    assert "\n" not in str(caught.value)
