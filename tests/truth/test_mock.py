"""The exact one-dimensional galaxies against closed forms, quadrature and their own statistics."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table
from scipy import stats
from scipy.integrate import quad

from torusimaging.mock import (
    Potential1D,
    draw_stars,
    solar_potential,
    survey_selection,
    tanh_label,
    write_apogee,
)
from torusimaging.mock.potential1d import DIRECT, G
from torusimaging.mock.survey import streams
from torusimaging.units import UnitError

KMS = u.km / u.s
ENERGIES = np.array([1e-12, 1e-8, 1e-5, 1e-3, 1e-2, 0.06, 0.3])
POTENTIALS = {
    "solar": solar_potential(),
    "sheet": Potential1D([(5e7, 0.3)]),
    "harmonic": Potential1D(rho_dm=8e7),
}


@pytest.fixture(params=POTENTIALS)
def potential(request):
    return POTENTIALS[request.param]


def slope(f, z, step=2e-3):
    # Eighth-order central difference: truncation and rounding both below 1e-9 here.
    weights = np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280])
    return sum(w * f(z + k * step) for k, w in zip(range(-4, 5), weights, strict=True)) / step


def stars(n, seed=3):
    # Ordinary stars, and the hard ones: at rest, in the plane, tiny and very large orbits.
    rng = np.random.default_rng(seed)
    z, vz = rng.normal(0, 0.5, n), rng.normal(0, 0.04, n)
    z[:50] *= 8
    z[50:100] *= 1e-4
    vz[50:100] *= 1e-4
    vz[100:120], z[120:140] = 0, 0
    return z, vz


def test_solar_values():
    sun = solar_potential()
    assert 0.09 <= sun.density(0.0) / 1e9 <= 0.1
    assert sun.surface_density(1.1) / 1e6 == pytest.approx(70, abs=1)
    assert sun.rho_dm / 1e9 == pytest.approx(0.01)


def test_derivatives(potential):
    z = np.linspace(-4, 4, 401)
    top = potential.density(0.0)
    poisson = -slope(potential.acceleration, z) / (4 * np.pi * G)
    np.testing.assert_allclose(poisson, potential.density(z), rtol=1e-8, atol=1e-8 * top)
    force = np.abs(potential.acceleration(4.0))
    np.testing.assert_allclose(
        slope(potential.potential, z), -potential.acceleration(z), rtol=1e-8, atol=1e-9 * force
    )


def test_surface_density_is_integral(potential):
    mass = 2 * quad(potential.density, 0, 0.9, epsabs=0, epsrel=1e-12)[0]
    assert potential.surface_density(0.9) == pytest.approx(mass, rel=1e-11)


def test_potential_far_and_near():
    sheet = POTENTIALS["sheet"]
    x = np.array([1e-9, 1e4, 1e6])
    closed = np.array([x[0] ** 2 / 2, x[1] - np.log(2), x[2] - np.log(2)])
    np.testing.assert_allclose(
        sheet.potential(0.3 * x), 4 * np.pi * G * 5e7 * 0.3**2 * closed, rtol=1e-14
    )
    assert np.all(np.isfinite(sheet.action(np.array([1e-30, 1e3]))))


def test_z_max(potential):
    z = potential.z_max(ENERGIES)
    np.testing.assert_allclose(potential.potential(z), ENERGIES, rtol=1e-14)
    assert potential.z_max(0.0) == 0


def test_action_and_frequency_against_adaptive_quadrature(potential):
    for energy in ENERGIES:
        top = float(potential.z_max(energy))
        limits = {"epsabs": 0, "epsrel": 1e-12, "limit": 500, "points": [0.01, 0.1, 1.0]}

        def flux(x, energy=energy, top=top):
            lack = max(energy - float(potential.potential(top * np.sin(x))), 0.0)
            return np.sqrt(2 * lack) * top * np.cos(x)

        action = 2 / np.pi * quad(flux, 0, np.pi / 2, **limits)[0]
        time = (
            4
            * quad(
                lambda x, top=top: 1 / float(potential.kappa(top * np.sin(x), top)),
                0,
                np.pi / 2,
                **limits,
            )[0]
        )
        assert potential.action(energy) == pytest.approx(action, rel=1e-10)
        assert potential.frequency(energy) == pytest.approx(2 * np.pi / time, rel=1e-10)


def test_frequency_is_energy_slope():
    # dJ/dE = 1/Omega; the difference in ln E is good to about 1e-9.
    sun = solar_potential()
    ln_e = np.linspace(np.log(1e-6), np.log(1e-2), 30)
    slopes = slope(lambda x: sun.action(np.exp(x)), ln_e, step=0.02)
    np.testing.assert_allclose(slopes / np.exp(ln_e), 1 / sun.frequency(np.exp(ln_e)), rtol=1e-8)


@pytest.mark.parametrize("n", [500, DIRECT + 1], ids=["quadrature", "table"])
def test_harmonic_closed_form(n):
    well = POTENTIALS["harmonic"]
    omega = np.sqrt(4 * np.pi * G * 8e7)
    z, vz = stars(n)
    energy = vz**2 / 2 + omega**2 * z**2 / 2
    assert well.omega0 == pytest.approx(omega, rel=1e-14)
    np.testing.assert_allclose(well.action_of(z, vz), energy / omega, rtol=1e-10)
    np.testing.assert_allclose(well.frequency(energy), omega, rtol=1e-10)
    miss = well.angle(z, vz) - np.arctan2(omega * z, vz)
    assert np.max(np.abs(np.sin(miss / 2))) < 1e-10


def test_isothermal_sheet_frequency_at_height():
    # Far above a sheet the force is constant, g: T = 8 z_max / v_max up to ln 2 / (z_max / h).
    sheet = POTENTIALS["sheet"]
    energy = sheet.potential(3e5)
    g = 4 * np.pi * G * 5e7 * 0.3
    fall = 4 * np.sqrt(2 * energy) / g
    assert sheet.frequency(energy) == pytest.approx(2 * np.pi / fall, rel=1e-5)


def test_table_agrees_with_quadrature(potential):
    z, vz = stars(1000)
    pad = np.zeros(DIRECT)
    many = np.append(z, pad), np.append(vz, pad)
    np.testing.assert_allclose(
        potential.action_of(*many)[:1000], potential.action_of(z, vz), rtol=1e-8
    )
    energy = potential.energy(z, vz)
    np.testing.assert_allclose(
        potential.frequency(potential.energy(*many))[:1000], potential.frequency(energy), rtol=1e-8
    )
    miss = potential.angle(*many)[:1000] - potential.angle(z, vz)
    assert np.max(np.abs(np.sin(miss / 2))) < 1e-8


def test_angle_convention_and_range(potential):
    z = np.array([0.0, 0.3, 0.0, -0.3, 0.0])
    vz = np.array([0.02, 0.0, -0.02, 0.0, 0.0])
    quarter_turns = np.array([0, 0.5, 1, 1.5, 0]) * np.pi
    np.testing.assert_allclose(potential.angle(z, vz), quarter_turns, atol=1e-13)
    theta = potential.angle(*stars(2 * DIRECT))
    assert theta.min() >= 0 and theta.max() < 2 * np.pi


def test_angle_advances_uniformly():
    # Leapfrog along an orbit: the angle must grow as Omega t. Its error is (Omega dt)^2 ~ 1e-6.
    sun = solar_potential()
    z, vz, dt = np.float64(0.2), np.float64(0.05), 0.02
    omega = sun.frequency(sun.energy(z, vz))
    start = sun.angle(z, vz)
    for _ in range(2000):
        vz = vz + sun.acceleration(z) * dt / 2
        z = z + vz * dt
        vz = vz + sun.acceleration(z) * dt / 2
    miss = sun.angle(z, vz) - start - omega * 2000 * dt
    assert abs(np.sin(miss / 2)) < 1e-5


def test_table_round_trip(potential):
    table = potential.tabulate(10.0)
    rng = np.random.default_rng(5)
    height, theta = 10 * rng.random(2000) ** 3, 2 * np.pi * rng.random(2000)
    orbit = table.orbits.index(height)
    x = table.phase(orbit, theta)
    assert np.max(np.abs(table.angle(orbit, x) - theta)) < 1e-8
    z = height * np.sin(x)
    vz = height * np.cos(x) * potential.kappa(z, height)
    miss = potential.angle(z, vz) - theta
    assert np.max(np.abs(np.sin(miss / 2))) < 1e-8
    np.testing.assert_allclose(potential.action_of(z, vz), table.action(orbit), rtol=1e-8)


@pytest.mark.parametrize("n", [3, DIRECT + 1])
def test_nan_stays_nan(n):
    z = np.full(n, 0.2)
    z[1] = np.nan
    sun = solar_potential()
    for result in (sun.action_of(z, 0.01), sun.angle(z, 0.01)):
        assert np.isnan(result[1]) and np.all(np.isfinite(np.delete(result, 1)))


def test_drawn_truth_is_exact():
    survey = draw_stars(DIRECT, seed=1, selection="survey")
    z, vz = survey.pos.to_value(u.kpc), survey.vel.to_value(u.kpc / u.Myr)
    true = survey.potential
    np.testing.assert_allclose(true.action_of(z, vz), survey.J.value, rtol=1e-8)
    np.testing.assert_allclose(
        true.frequency(true.energy(z, vz)), survey.Omega.to_value(u.rad / u.Myr), rtol=1e-8
    )
    miss = true.angle(z, vz) - survey.theta.to_value(u.rad)
    assert np.max(np.abs(np.sin(miss / 2))) < 1e-8


def test_steady_state():
    # One population is isothermal: Gaussian in v_z, exp(-Phi / sigma^2) in z, uniform in theta.
    sigma = 20 * KMS
    survey = draw_stars(100_000, seed=2, populations=[(1.0, sigma)])
    s = sigma.to_value(u.kpc / u.Myr)
    grid = np.linspace(-6, 6, 20_001)
    density = np.exp(-survey.potential.potential(grid) / s**2)
    cdf = np.cumsum(density) / density.sum()
    vz, z = survey.vel.to_value(u.kpc / u.Myr), survey.pos.to_value(u.kpc)
    assert stats.kstest(vz / s, "norm").pvalue > 1e-3
    assert stats.kstest(z, lambda x: np.interp(x, grid, cdf)).pvalue > 1e-3
    assert stats.kstest(survey.theta.value / (2 * np.pi), "uniform").pvalue > 1e-3
    assert np.corrcoef(survey.theta.value, survey.J.value)[0, 1] == pytest.approx(0, abs=0.015)


def test_default_populations():
    speed = draw_stars(200_000, seed=4).vel.to_value(KMS)
    expected = np.sqrt(0.75 * 18**2 + 0.25 * 35**2)
    assert speed.std() == pytest.approx(expected, rel=0.01)  # 6 sigma


def test_labels():
    survey = draw_stars(100_000, seed=6)
    spread = np.hypot(0.06, survey.label_err)
    pull = (survey.label - tanh_label(survey.J.value)) / spread
    assert stats.kstest(pull, "norm").pvalue > 1e-3
    assert survey.label_err.min() >= 0.01 and survey.label_err.max() <= 0.03
    exact = draw_stars(100, label=np.sqrt, label_scatter=0, label_err=(0, 0))
    np.testing.assert_array_equal(exact.label, np.sqrt(exact.J.value))


def test_selection_keeps_its_share():
    # Counts in height, selected over unselected, follow the selection within Poisson errors.
    sigma = [(1.0, 25 * KMS)]
    everyone = draw_stars(300_000, seed=7, populations=sigma).pos.value
    chosen = draw_stars(100_000, seed=8, selection="survey", populations=sigma).pos.value
    edges = np.linspace(-1.2, 1.2, 49)
    expected, _ = np.histogram(everyone, edges, weights=survey_selection(everyone))
    squares, _ = np.histogram(everyone, edges, weights=survey_selection(everyone) ** 2)
    factor = chosen.size / survey_selection(everyone).sum()
    got, _ = np.histogram(chosen, edges)
    pull = (got - factor * expected) / np.sqrt(factor * expected + factor**2 * squares)
    assert np.sum(pull**2) < stats.chi2.ppf(0.999, pull.size)


def test_selection_by_function():
    survey = draw_stars(2000, seed=1, selection=lambda z: np.where(z > 0.1, 0.5, 0.0))
    assert len(survey) == 2000 and survey.pos.value.min() > 0.1
    z = np.linspace(-5, 5, 1001)
    assert np.all((survey_selection(z) >= 0) & (survey_selection(z) <= 1))


def test_sun_offsets_shift_the_frame():
    here = draw_stars(500, seed=9)
    there = draw_stars(500, seed=9, midplane=(-20 * u.pc, 7 * KMS))
    np.testing.assert_allclose((there.pos - here.pos).to_value(u.pc), -20, rtol=1e-9)
    np.testing.assert_allclose((there.vel - here.vel).to_value(KMS), 7, rtol=1e-9)
    np.testing.assert_array_equal(there.J, here.J)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: draw_stars("10"), "n must be a whole number of stars"),
        (lambda: draw_stars(10**400), "n must be a whole number of stars"),
        (lambda: draw_stars(10, "solar"), "potential must be a Potential1D"),
        (lambda: draw_stars(10, sun=0.02 * u.kpc), "midplane must be a pair"),
        (
            lambda: draw_stars(10, midplane=(0 * u.kpc, 0 * KMS), sun=(0 * u.kpc, 0 * KMS)),
            "midplane must be given once",
        ),
        (
            lambda: draw_stars(10, midplane=(np.nan * u.kpc, 1 * KMS)),
            "pos0 must be one finite value",
        ),
        (
            lambda: draw_stars(10, midplane=(0 * u.kpc, [1, 2] * KMS)),
            "vel0 must be one finite value",
        ),
        (lambda: draw_stars(10, label="mg"), "label must be a function of J, not 'mg'"),
        (lambda: draw_stars(10, label=lambda J: J * np.nan), "label must return finite values"),
        (lambda: draw_stars(10, label_scatter="a"), "label_scatter must be a number >= 0, but 'a'"),
        (lambda: draw_stars(10, label_err=0.1), "label_err must be a range .*, not 0.1"),
        (lambda: draw_stars(10, label_err=(1, 2, 3)), "label_err must be a range"),
        (lambda: draw_stars(10, populations=(1, 18 * KMS)), "populations must be pairs"),
        (lambda: draw_stars(10, populations=[(1, 1e10 * KMS)]), "the dispersion of a population"),
        (lambda: Potential1D((5e7, 0.3)), "a layer must be a pair .density, height., but 50000000"),
        (lambda: Potential1D("ab"), "layers must be pairs"),
        (lambda: Potential1D(rho_dm="a"), "rho_dm must be one number, not 'a'"),
        (lambda: Potential1D([(np.ones(2), 1)]), "density of a layer must be one number"),
        (lambda: solar_potential().tabulate("a"), "z_top must be one number"),
        (lambda: solar_potential().tabulate(1e200), "z_top must be a positive height in kpc, bel"),
        (lambda: draw_stars(10, label_scatter=10**400), "label_scatter must be a number >= 0, but"),
        (lambda: solar_potential().density("0.1"), "z must be numbers, but '0.1' was given"),
        (lambda: solar_potential().acceleration({}), "z must be numbers"),
        (lambda: solar_potential().potential(10**400), "z must be numbers"),
        (lambda: solar_potential().action(1j), "energy must be numbers"),
        (lambda: solar_potential().angle([], [1, 2]), "z and vz must be of one shape, or one of"),
        (lambda: solar_potential().action_of([1, 2, 3], [1, 2]), "z and vz must be of one shape"),
        (lambda: survey_selection("a"), "z must be numbers, but 'a'"),
        (lambda: survey_selection(1 * KMS), "z must have a unit like kpc"),
        (lambda: tanh_label("a"), "J must be numbers, but 'a'"),
        (lambda: write_apogee(".", "a"), "n must be a whole number of stars"),
        (lambda: write_apogee(".", 100, contamination="a"), "contamination must lie between"),
        (lambda: write_apogee(3, 100), "folder must be a path, but 3"),
    ],
)
def test_wrong_kinds_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_quantities_give_quantities():
    """In any unit the value is that of plain numbers in kpc, Myr and Msun; units do not mix."""
    sun = solar_potential()
    z, vz = np.array([0.1, -0.4]), np.array([0.02, 0.01])
    pc, kms = (z * u.kpc).to(u.pc), (vz * u.kpc / u.Myr).to(KMS)
    energy = sun.energy(pc, kms)
    for found, plain, unit in (
        (sun.acceleration(pc), sun.acceleration(z), u.kpc / u.Myr**2),
        (sun.density(z=pc), sun.density(z), u.Msun / u.kpc**3),
        (sun.surface_density(pc), sun.surface_density(z), u.Msun / u.kpc**2),
        (sun.potential(pc), sun.potential(z), u.kpc**2 / u.Myr**2),
        (sun.kappa(pc, 1000 * u.pc), sun.kappa(z, 1.0), u.rad / u.Myr),
        (energy, sun.energy(z, vz), u.kpc**2 / u.Myr**2),
        (sun.z_max(energy), sun.z_max(energy.value), u.kpc),
        (sun.action(energy), sun.action(energy.value), u.kpc**2 / u.Myr),
        (sun.frequency(energy), sun.frequency(energy.value), u.rad / u.Myr),
        (sun.action_of(pc, vz=kms), sun.action_of(z, vz), u.kpc**2 / u.Myr),
        (sun.angle(pc, kms), sun.angle(z, vz), u.rad),
    ):
        assert found.unit == unit and type(plain) is np.ndarray
        np.testing.assert_allclose(found.value, plain, rtol=1e-13)
    assert sun.acceleration(300 * u.pc).to(u.km / u.s / u.Myr).isscalar
    with pytest.raises(UnitError, match="vz has no unit"):
        sun.action_of(pc, vz)
    with pytest.raises(UnitError, match="z must have a unit like kpc"):
        sun.acceleration(kms)


def test_streams_of_one_seed_are_independent(tmp_path):
    """No two random streams of a seed begin alike: stars', the files', and NumPy's own."""
    stars = [np.random.default_rng([5, chunk]) for chunk in range(10)]
    others = [np.random.default_rng(s) for k in ("a", "apogee") for s in streams(5, k).spawn(8)]
    starts = [rng.integers(2**63) for rng in [*stars, *others]]
    assert len(set(starts)) == len(starts)
    survey, drawn = write_apogee(tmp_path, 500, seed=5, contamination=0), draw_stars(500, seed=5)
    assert not np.isin(survey.label, drawn.label.astype("f4")).any()
    table = Table.read(survey.allstar, hdu=1, unit_parse_strict="silent")
    columns = [table[k].astype(float) for k in ("FE_H", "TEFF", "LOGG", "SNR", "O_FE", "H", "C_FE")]
    # 500 stars and 16 more observations: an accidental correlation of 0.2 has odds of 1e-5.
    rho = np.corrcoef([np.nan_to_num(c) for c in columns])
    assert np.abs(rho - np.eye(len(columns))).max() < 0.2
    with pytest.raises(ValueError, match="seed must be a whole number of at least 0, but -1"):
        draw_stars(10, seed=-1)
    with pytest.raises(ValueError, match="seed must be a whole number of at least 0, but 1.5"):
        write_apogee(tmp_path, 500, seed=1.5)
    with pytest.raises(ValueError, match="n must be a whole number of stars >= 0, not nan"):
        draw_stars(np.nan)


def test_seed_and_prefix():
    first, more = draw_stars(100, seed=10), draw_stars(200_000, seed=10)
    np.testing.assert_array_equal(first.label, more.label[:100])
    assert not np.array_equal(first.label, draw_stars(100, seed=11).label)
    assert len(draw_stars(0)) == 0


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Potential1D([(1e7, 0.0)]), "scale height h of a layer must be > 0"),
        (lambda: Potential1D([(-1e7, 0.3)]), "density of a layer must be a density >= 0"),
        (lambda: Potential1D(rho_dm=-1.0), "rho_dm must be a density >= 0"),
        (lambda: Potential1D(), "hold no mass"),
        (lambda: solar_potential().action(-1.0), "must be >= 0"),
        (lambda: solar_potential().tabulate(0.0), "z_top must be a positive height"),
        (lambda: draw_stars(-1), "n must be a whole number"),
        (lambda: draw_stars(2.5), "n must be a whole number"),
        (lambda: draw_stars(5, selection="all"), "selection must be None"),
        (lambda: draw_stars(5, selection=lambda z: 2 + 0 * z), "between 0 and 1"),
        (lambda: draw_stars(5, selection=lambda z: np.nan * z), "between 0 and 1"),
        (lambda: draw_stars(5, selection=lambda z: 0 * z), "selection kept none"),
        (lambda: draw_stars(5, label=lambda J: J[:3]), "label must return one value a star"),
        (lambda: draw_stars(5, label_scatter=-0.1), "label_scatter must be"),
        (lambda: draw_stars(5, label_err=(0.03, 0.01)), "label_err must be"),
        (lambda: draw_stars(5, populations=[(1, -3 * KMS)]), "dispersion of a population must"),
        (lambda: draw_stars(5, populations=[(-1, 3 * KMS)]), "weights of populations must"),
    ],
)
def test_bad_input(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: draw_stars(5, midplane=(0.02, 7 * KMS)),
        lambda: draw_stars(5, midplane=(0.02 * u.kpc, 7 * u.kpc)),
        lambda: draw_stars(5, populations=[(1, 18.0)]),
        lambda: Potential1D([(1e7 * u.kpc, 0.3)]),
    ],
)
def test_wrong_units(call):
    with pytest.raises(UnitError, match="unit"):
        call()
