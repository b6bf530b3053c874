"""Comparison of actions with exact, galpy's, gala's and Agama's potentials, and with values."""

import sys
import warnings
from types import ModuleType

import astropy.units as u
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

import torusimaging as oti
from torusimaging.checks.actions import _one_dimensional
from torusimaging.checks.packages import _galpy_age, stated_frame, vertical_line

STARS = np.random.default_rng(0).normal(0, [0.4, 0.025], (200, 2)).T


def make_fit():
    bins = {"pos": np.linspace(-1.2, 1.2, 41) * u.kpc, "vel": np.linspace(-70, 70, 41) * u.km / u.s}
    survey = oti.mock.draw_stars(100_000, seed=0, selection="survey")
    binned = oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, bins, label_err=survey.label_err
    )
    return survey, oti.fit_map(binned, frame="tutorial: R0 = 8.3 kpc, z_sun = 20.8 pc")


@pytest.fixture(scope="module")
def survey_fit():
    return make_fit()


def test_exact_potential():
    """A spline of 801 heights gives J to 1e-8 and angles to 1e-6 rad."""
    truth = oti.mock.solar_potential()
    found = _one_dimensional(truth.potential, *STARS, "the truth")
    np.testing.assert_allclose(found["J"], truth.action_of(*STARS), rtol=1e-8)
    off = (found["theta"] - truth.angle(*STARS) + np.pi) % (2 * np.pi) - np.pi
    assert np.max(np.abs(off)) < 1e-6


def by_quadrature(phi, q, p):
    zero = phi(np.zeros(1))[0]
    energy = p**2 / 2 + phi(np.array([q]))[0] - zero
    top = brentq(lambda z: phi(np.array([z]))[0] - zero - energy, 1e-6, 101)

    def rate(x):
        rise = energy - phi(np.array([top * np.sin(x)]))[0] + zero
        return np.sqrt(2 * max(rise, 0.0)) * top * np.cos(x)

    return 2 / np.pi * quad(rate, 0, np.pi / 2, epsabs=1e-13, epsrel=1e-10)[0]


def gala_potentials():
    """gala's composites under their names in old and new versions, and in other units."""
    gala = pytest.importorskip("gala.potential", reason="gala is not installed")
    from gala.units import UnitSystem

    with warnings.catch_warnings():
        # gala says of the old name that it will be deprecated, and its meaning of the bare one.
        warnings.simplefilter("ignore")
        old = gala.MilkyWayPotential2022()
        usual = gala.MilkyWayPotential()
        try:
            new = gala.MilkyWayPotential(version="v2")
        except TypeError:  # before 1.10 there was no such argument
            new = old
    odd = UnitSystem(u.pc, u.yr, u.Msun, u.rad)
    disc = gala.MiyamotoNagaiPotential(m=6e10 * u.Msun, a=3 * u.kpc, b=280 * u.pc, units=odd)
    potentials = {"2022": old, "v2": new, "usual": usual, "other units": disc}
    return potentials | {"list": [disc, usual], "Hamiltonian": gala.Hamiltonian(usual)}


def by_gala(potential, z):
    parts = (
        potential if isinstance(potential, list) else [getattr(potential, "potential", potential)]
    )
    xyz = np.stack([np.full(z.size, 8.21), np.zeros(z.size), z]) * u.kpc
    return sum(p.energy(xyz).to_value(u.kpc**2 / u.Myr**2) for p in parts)


@pytest.mark.parametrize("name", ["2022", "v2", "usual", "other units", "list", "Hamiltonian"])
def test_gala(survey_fit, name):
    """The public door against adaptive quadrature of the same potential."""
    fit = survey_fit[1]
    potential = gala_potentials()[name]
    q, p = STARS[:, :4]
    pos, vel = q + fit.params["pos0"], p + fit.params["vel0"]
    compared = oti.compare_actions(fit, potential, pos * u.kpc, vel * u.kpc / u.Myr, R=8210 * u.pc)
    assert "(gala) at R = 8.21 kpc" in compared.reference
    for i in range(q.size):
        expected = by_quadrature(lambda z: by_gala(potential, z), q[i], p[i])
        assert compared.table["J_ref"][i].value == pytest.approx(expected, rel=1e-6)


def galpy_potentials():
    galpy = pytest.importorskip("galpy.potential", reason="galpy is not installed")
    disc = {"amp": 6e10 * u.Msun, "a": 3 * u.kpc, "b": 0.28 * u.kpc}
    off = galpy.MiyamotoNagaiPotential(**disc, ro=8.3, vo=232.0)
    off.turn_physical_off()
    parts = [p for p in galpy.MWPotential2014]
    return {
        "composite": galpy.MWPotential2014,
        "list": parts,
        "nested": [parts[:1], parts[1:]],
        "vertical": galpy.toVerticalPotential(sum(parts[1:], parts[0]), 8.21 / 8),
        "default scales": galpy.MiyamotoNagaiPotential(**disc),
        "own scales": galpy.MiyamotoNagaiPotential(**disc, ro=8.3, vo=232.0),
        "physical off": off,
    }


def test_galpy(survey_fit):
    """Composites, lists and scales: all forms of one potential have the same actions."""
    fit = survey_fit[1]
    q, p = STARS[:, :4]
    place = (q + fit.params["pos0"]) * u.kpc, (p + fit.params["vel0"]) * u.kpc / u.Myr
    potentials = galpy_potentials()
    found = {k: oti.compare_actions(fit, x, *place, R=8.21 * u.kpc) for k, x in potentials.items()}
    J = {k: c.table["J_ref"].value for k, c in found.items()}
    phi = vertical_line(potentials["list"], 8.21 * u.kpc).potential
    expected = [by_quadrature(phi, *star) for star in zip(q, p, strict=True)]
    for name in ("composite", "list", "nested", "vertical"):
        np.testing.assert_allclose(J[name], expected, rtol=1e-6)
        assert "ro = 8 kpc (galpy's default)" in " ".join(found[name].notes)
    # A mass in Msun is one whatever the scales in which galpy keeps it.
    G = 4.498502151469554e-12

    def disc(z):
        deep = 3 + np.sqrt(z**2 + 0.28**2)
        return -G * 6e10 / np.sqrt(8.21**2 + deep**2)

    expected = [by_quadrature(disc, *star) for star in zip(q, p, strict=True)]
    for name in ("default scales", "own scales", "physical off"):
        # galpy's constant of gravity has its own digits.
        np.testing.assert_allclose(J[name], expected, rtol=1e-4)
    np.testing.assert_allclose(J["physical off"], J["own scales"], rtol=1e-12)
    assert "vo = 232 km/s (the potential's own)" in " ".join(found["own scales"].notes)


def test_galpys_age():
    (note,) = _galpy_age("1.12.0")
    assert "1e-4 to 5e-4" in note and "do not use them" in note
    assert _galpy_age("1.10.2.dev0") and not _galpy_age("1.12.1") and not _galpy_age("1.13")


def test_forces_are_slopes():
    """a_z is -dPhi/dz for gala and galpy, also where neither knows of the other's units."""
    z = np.array([-0.7, 0.1, 0.4, 1.1])
    lines = [vertical_line(p, 8.21 * u.kpc) for p in gala_potentials().values()]
    lines += [vertical_line(p, 8.21 * u.kpc) for p in galpy_potentials().values()]
    for line in lines:
        slope = (line.potential(z + 1e-4) - line.potential(z - 1e-4)) / 2e-4
        np.testing.assert_allclose(line.acceleration(z), -slope, rtol=1e-5)
        assert np.all(line.density(z) > 0)
        np.testing.assert_allclose(
            line.surface_density(z), np.abs(line.acceleration(z)) / (2 * np.pi * 4.4985e-12), 1e-4
        )


def test_frames(survey_fit):
    gala = gala_potentials()["v2"]
    survey, fit = survey_fit
    few = survey.pos[:20], survey.vel[:20]

    def said(R, fit=fit, **options):
        compared = oti.compare_actions(fit, gala, *few, R=R * u.kpc, **options)
        assert compared.summary().meta["notes"] == list(compared.notes)
        return compared.notes, repr(compared)

    assert said(8.3)[0] == ()
    (note,), text = said(8.0)
    assert note == "R = 8 kpc differs from R0 = 8.3 kpc, the Sun's distance in the fit's frame."
    assert note in text
    assert "does not say R0" in said(8.0, (fit.model, fit.params))[0][0]
    other = oti.catalog.Frame(8.122 * u.kpc, 5.5 * u.pc)
    assert said(8.3, frame=other)[0] == (
        "R0 is 8.122 kpc in the reference's frame, but 8.3 kpc in the fit's.",
        "z_sun is 5.5 pc in the reference's frame, but 20.8 pc in the fit's.",
    )
    assert said(8.3, frame="z_sun: 0.0208 kpc")[0] == (
        "The frame of the reference does not say R0.",
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (str(oti.catalog.FRAMES["horta24"]), {"R0": 8.275, "z_sun": 20.8}),
        ("R_0=8178 pc, zsun = -5 pc", {"R0": 8.178, "z_sun": -5.0}),
        ("galcen_distance: 8.122 kpc", {"R0": 8.122}),
        ("the simulated observer's; pos0 is the midplane's place in it", {}),
        ("not stated", {}),
    ],
)
def test_stated_frame(words, expected):
    assert stated_frame(words) == pytest.approx(expected)


class FakePotential:
    """Phi = (omega z)^2 / 2 + vc^2 ln R, in the units that were set when it is asked."""

    omega, vc = 0.07, 0.23  # rad/Myr and kpc/Myr

    def force(self, xyz):
        x, _, z = np.atleast_2d(xyz).T * self.agama.units["length"]
        pull = np.stack([-(self.vc**2) / x, 0 * x, -(self.omega**2) * z], axis=1)
        return pull / (self.agama.velocity() / self.agama.units["time"])

    def potential(self, xyz):
        x, _, z = np.atleast_2d(xyz).T * self.agama.units["length"]
        return (self.vc**2 * np.log(x) + self.omega**2 * z**2 / 2) / self.agama.velocity() ** 2


def fake_agama(units):
    """A module with the promises of Agama's that the comparison relies on: it is hard to build.

    Units are one setting for all potentials, read with getUnits, empty where they are not set.
    """
    agama = ModuleType("agama")
    agama.units, agama.set = dict(units), []
    agama.getUnits = lambda: dict(agama.units)

    def set_units(**given):
        agama.set.append(given)
        kinds = {"length": u.kpc, "velocity": u.km / u.s, "time": u.Myr, "mass": u.Msun}
        agama.units |= {k: u.Quantity(1 * v, kinds[k]).value for k, v in given.items()}

    agama.setUnits = set_units
    agama.velocity = lambda: agama.units["velocity"] * (u.km / u.s).to(u.kpc / u.Myr)
    agama.Potential = type("Potential", (FakePotential,), {"__module__": "agama", "agama": agama})

    class ActionFinder:
        def __init__(self, potential):
            self.potential = potential

        def __call__(self, stars, actions, angles, frequencies):
            length, velocity = agama.units["length"], agama.velocity()
            z, v = stars[:, 2] * length, stars[:, 5] * velocity
            np.testing.assert_allclose(stars[:, 4] * velocity, FakePotential.vc)
            omega = FakePotential.omega
            J = (v**2 + omega**2 * z**2) / (2 * omega)
            theta = np.arctan2(omega * z, v) % (2 * np.pi)
            rate = np.full(z.size, omega * agama.units["time"])
            return [
                np.stack([0 * row, row, 0 * row], 1)
                for row in (J / (length * velocity), theta, rate)
            ]

    agama.ActionFinder = ActionFinder
    return agama


KPC_MYR = {"length": 1.0, "velocity": 977.7922216807891, "time": 1.0, "mass": 1.0}
GALPYS = {"length": 8.0, "velocity": 220.0, "time": 8 / 220 * 977.7922216807891, "mass": 1.0}


@pytest.mark.parametrize("units", [KPC_MYR, GALPYS, {k: v * 2 for k, v in KPC_MYR.items()}])
def test_agamas_units_stay_as_they_are(survey_fit, monkeypatch, units):
    """Whatever units the user gave Agama, the numbers are those of the potential."""
    units = units | {"time": units["length"] / units["velocity"] * 977.7922216807891}
    agama = fake_agama(units)
    monkeypatch.setitem(sys.modules, "agama", agama)
    fit = survey_fit[1]
    q, p = STARS[:, :5]
    place = (q + fit.params["pos0"]) * u.kpc, (p + fit.params["vel0"]) * u.kpc / u.Myr
    compared = oti.compare_actions(fit, agama.Potential(), *place, R=8.3 * u.kpc)
    np.testing.assert_allclose(
        compared.table["J_ref"].value, (p**2 + (0.07 * q) ** 2) / 0.14, rtol=1e-9
    )
    np.testing.assert_allclose(compared.table["Omega_ref"].value, 0.07, rtol=1e-9)
    line = vertical_line(agama.Potential(), 8.3 * u.kpc)
    np.testing.assert_allclose(line.acceleration(q), -(0.07**2) * q, rtol=1e-9)
    np.testing.assert_allclose(
        line.potential(q) - line.potential(0 * q), 0.07**2 * q**2 / 2, rtol=1e-9
    )
    assert agama.set == [] and agama.units == units


def test_agamas_units_must_be_set(survey_fit, monkeypatch):
    survey, fit = survey_fit
    few = survey.pos[:3], survey.vel[:3]
    agama = fake_agama({})
    monkeypatch.setitem(sys.modules, "agama", agama)
    with pytest.raises(ValueError, match=r"units are not set.*call agama.setUnits"):
        oti.compare_actions(fit, agama.Potential(), *few, R=8 * u.kpc)
    # gala's converter would set units of its own: only where they are those in force is it asked.
    agama.units = GALPYS
    with pytest.raises(ValueError, match=r"call agama.setUnits\(length=1, time=1, mass=1\)"):
        oti.compare_actions(fit, gala_potentials()["v2"], *few, R=8 * u.kpc, method="agama")
    galpy = galpy_potentials()["composite"]
    with pytest.raises(ValueError, match=r"galpy\) was given: build it in Agama or use method="):
        oti.compare_actions(fit, galpy, *few, R=8 * u.kpc, method="agama")
    assert agama.set == []
    # With its own units in force gala is asked; it cannot build potentials of this module.
    agama.units = dict(KPC_MYR)
    with pytest.raises(ValueError, match="gala cannot hand MilkyWayPotential.*use method="):
        oti.compare_actions(fit, gala_potentials()["v2"], *few, R=8 * u.kpc, method="agama")
    assert agama.units == pytest.approx(KPC_MYR)


def test_a_fit_beside_the_truth(survey_fit):
    survey, fit = survey_fit
    few = slice(0, 3000)
    z, v = survey.pos[few], survey.vel[few]
    given = {"J": survey.J[few], "theta": survey.theta[few], "Omega": survey.Omega[few]}
    pair = (fit.model, fit.params)
    one = oti.compare_actions(fit, survey.potential, z, v)
    two = oti.compare_actions(pair, given, z, v).summary()
    rows = one.summary()
    assert np.all(np.abs(rows["median"] - [1, 1, 0]) < [0.03, 0.03, 0.03])
    np.testing.assert_allclose(rows["median"], two["median"], atol=0.02)
    assert rows.meta["n_compared"] + rows.meta["n_left_out"] == 3000
    figure, axes = oti.plot.plot_compared_actions(one)
    assert len(axes) == 3
    figure.clear()
    with pytest.raises(ValueError, match="must be what compare_actions returned, but 3"):
        oti.plot.plot_compared_actions(3)


def test_bad_input(survey_fit):
    survey, fit = survey_fit
    z, v = survey.pos[:3], survey.vel[:3]
    with pytest.raises(ValueError, match="z has no unit"):
        oti.compare_actions(fit, survey.potential, z.value, v)
    with pytest.raises(ValueError, match="rows of one length"):
        oti.compare_actions(fit, survey.potential, z, v[:2])
    with pytest.raises(ValueError, match="but str was given"):
        oti.compare_actions(fit, "MWPotential2014", z, v)
    with pytest.raises(ValueError, match="method must be"):
        oti.compare_actions(fit, survey.potential, z, v, method="staeckel")
    with pytest.raises(ValueError, match="lacks theta, Omega"):
        oti.compare_actions(fit, {"J": survey.J[:3]}, z, v)
    with pytest.raises(ValueError, match="three dimensions, not a Potential1D"):
        oti.compare_actions(fit, survey.potential, z, v, method="agama")
    far = oti.compare_actions(fit, survey.potential, [0.1, np.nan] * u.kpc, [0, 0] * u.km / u.s)
    assert list(far.table["flag"]) == [0, 2] and np.isnan(far.table["J_ref"][1])
    one = oti.compare_actions(fit, survey.potential, 0.1 * u.kpc, 0 * u.km / u.s)
    assert len(one.table) == 1


def odd_potentials():
    gala = pytest.importorskip("gala.potential", reason="gala is not installed")
    galpy = pytest.importorskip("galpy.potential", reason="galpy is not installed")
    from gala.units import galactic

    disc = {"m": 6e10 * u.Msun, "a": 3 * u.kpc, "b": 0.28 * u.kpc, "units": galactic}
    good = gala.MiyamotoNagaiPotential(**disc)
    shifted = gala.MiyamotoNagaiPotential(**disc, origin=[0, 0, 0.5] * u.kpc)
    own = type("Disc", (), {"__module__": "elsewhere.discs"})()
    return {
        "no units": (gala.MiyamotoNagaiPotential(m=1, a=3, b=0.28), {}, "has no units: build it"),
        "frame": (gala.StaticFrame(galactic), {}, "but gala's StaticFrame was given"),
        "empty": (gala.CompositePotential(), {}, "has no component"),
        "uneven": (shifted, {}, r"not symmetric about z = 0 \(by \d+ %\)"),
        "class": (gala.NFWPotential, {}, "the class NFWPotential itself was given"),
        "mixed": ([good, galpy.NFWPotential()], {}, "of one package, .* of gala and galpy"),
        "planar": (galpy.NFWPotential().toPlanar(), {}, "of three dimensions or all of one"),
        "another": (own, {}, "but Disc of elsewhere was given"),
        "no R": (good, {"R": None}, "R must be given"),
        "plain R": (good, {"R": 8.0}, "R has no unit"),
        "R of time": (good, {"R": 8 * u.s}, "R must have a unit like kpc"),
        "negative R": (good, {"R": -8 * u.kpc}, "R must be one positive length, but -8.0 kpc"),
        "NaN R": (good, {"R": np.nan * u.kpc}, "R must be one positive length"),
        "two R": (good, {"R": [8, 9] * u.kpc}, "R must be one positive length"),
        "far R": (good, {"R": 1e5 * u.kpc}, "holds no star within 100 kpc of the plane"),
        "method": (good, {"method": ["agama"]}, "method must be 'vertical' or 'agama'"),
    }


def test_odd_potentials(survey_fit):
    survey, fit = survey_fit
    for name, (potential, options, message) in odd_potentials().items():
        with pytest.raises(ValueError, match=message) as caught:
            oti.compare_actions(
                fit, potential, survey.pos[:5], survey.vel[:5], **({"R": 8 * u.kpc} | options)
            )
        assert "\n" not in str(caught.value), name


@pytest.mark.filterwarnings("ignore")
def test_no_silence_of_azimuth_or_of_stars_left_out(survey_fit):
    gala = pytest.importorskip("gala.potential", reason="gala is not installed")
    from gala.units import galactic

    survey, fit = survey_fit
    few = survey.pos[:300], survey.vel[:300]
    compared = oti.compare_actions(fit, gala.LM10Potential(), *few, R=8 * u.kpc)
    assert "azimuth 0 (x = R, y = 0) of a potential that is not axisy" in compared.reference
    light = gala.MiyamotoNagaiPotential(m=4e8 * u.Msun, a=3 * u.kpc, b=0.28 * u.kpc, units=galactic)
    compared = oti.compare_actions(fit, light, *few, R=8 * u.kpc)
    lost = int(np.isnan(compared.table["J_ref"]).sum())
    assert 0 < lost < 300 and compared.notes[-1].startswith(f"{lost} stars of the model")
    phi = vertical_line(light, 8 * u.kpc).potential
    found = compared.table["J_ref"].value
    q = few[0].to_value(u.kpc) - fit.params["pos0"]
    p = few[1].to_value(u.kpc / u.Myr) - fit.params["vel0"]
    some = np.flatnonzero(np.isfinite(found))[:5]
    for i in some:
        assert found[i] == pytest.approx(by_quadrature(phi, q[i], p[i]), rel=1e-5)
