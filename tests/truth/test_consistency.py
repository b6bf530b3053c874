"""The consistency diagnostic on contours whose faults are known."""

import astropy.units as u
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

import torusimaging as oti
from torusimaging.checks.consistency import check_consistency
from torusimaging.fitting import Fit
from torusimaging.plot.consistency import plot_consistency

OMEGA0 = 0.07


def label(r):
    return r


def line(r_e, a):
    return a * r_e


def ramp(r_e, a):
    """Rises within a narrow range of radii."""
    return a * jnp.tanh((r_e / 0.2) ** 4)


def params(a, order=2):
    return {
        "pos0": 0.02,
        "vel0": -0.001,
        "ln_Omega0": np.log(OMEGA0),
        "e_params": {order: {"a": a}},
        "label_params": {},
    }


def kpc(r_e):
    return r_e / np.sqrt(OMEGA0)


@pytest.mark.parametrize("convention", ["pv", "vp"])
def test_harmonic_oscillator_is_consistent(convention):
    model = oti.TorusImaging1D(label, {2: line}, convention=convention, r_e_max=0.4)
    result = check_consistency(model, params(0.0))
    # All integrands are constant here: rounding alone is left.
    assert result.largest < 1e-8
    np.testing.assert_allclose(result.omega_time.value, OMEGA0, rtol=1e-8)
    assert len(result.negative) == 0 and not result.crosses
    np.testing.assert_allclose(result.z_max[-1].value, kpc(0.4), rtol=1e-10)
    np.testing.assert_allclose(result.density.value, result.density[0].value, rtol=1e-8)
    assert "agree" in result.text and "nowhere negative" in str(result)


def test_negative_density_is_found():
    model, p = oti.TorusImaging1D(label, {2: ramp}, r_e_max=0.45), params(0.3)
    result = check_consistency(model, p)
    z = np.arange(0.0, kpc(0.45), 1e-4)
    density = model.get_density((z + 0.02) * u.kpc, p).to_value(u.Msun / u.pc**3)
    below = z[density < 0]
    assert density.min() < -0.01
    # One run of heights; its ends are good to the scan's step.
    assert len(below) == round((below[-1] - below[0]) / 1e-4) + 1
    np.testing.assert_allclose(result.negative.to_value(u.kpc), [below[[0, -1]]], atol=1.01e-4)
    np.testing.assert_allclose(result.density.value.min(), density.min(), rtol=1e-3)
    assert "negative at |z| from 0.476 to 0.744 kpc" in result.text


def test_frequencies_are_those_of_the_orbits():
    model, p = oti.TorusImaging1D(label, {2: ramp}, r_e_max=0.45), params(0.1)
    result = check_consistency(model, p)
    top = result.z_max[::40]
    orbits = model.compute_action_angle(
        top + 0.02 * u.kpc, 0 * top / u.Myr - 1e-3 * u.kpc / u.Myr, p
    )
    np.testing.assert_allclose(orbits["Omega"].value, result.omega_time[::40].value, rtol=1e-6)
    # dE/dJ by finite differences over orbits, with E = -int a dz by the trapezoid rule: their
    # errors are about 1e-4.
    z = np.linspace(0, 1.2, 20001)
    a = model.get_acceleration((z + 0.02) * u.kpc, p).value
    energy = np.concatenate([[0.0], -np.cumsum((a[1:] + a[:-1]) / 2 * np.diff(z))])
    z_max = np.arange(0.1, 1.2, 0.1)
    action = [
        model.compute_action_angle((z_max + d + 0.02) * u.kpc, -1e-3 * u.kpc / u.Myr, p)["J"].value
        for d in (1e-3, -1e-3)
    ]
    rise = np.interp(z_max + 1e-3, z, energy) - np.interp(z_max - 1e-3, z, energy)
    ours = np.interp(z_max, result.z_max.value, result.omega_energy.value)
    np.testing.assert_allclose(ours, rise / (action[0] - action[1]), rtol=2e-3)
    assert result.largest == pytest.approx(np.max(result.difference))


def test_crossing_contours_are_reported():
    # dr/dr_e = 1 + 2 a r_e cos(2 theta) first vanishes on the z axis at r_e = 1 / (2 a).
    model, a = oti.TorusImaging1D(label, {2: line}), 0.9
    result = check_consistency(model, params(a))
    assert result.crosses
    np.testing.assert_allclose(result.nested_to.value, 1 / (2 * a), atol=2 * 10 / 4096 / 64)
    np.testing.assert_allclose(result.nested_height.value, kpc(1 / (2 * a)), rtol=1e-3)
    assert (
        "Contours cross at r_e = 0.556" in result.text and "inside the model's end" in result.text
    )
    assert np.all(np.isfinite(result.difference))
    assert np.all(result.z <= result.nested_height)
    assert not check_consistency(
        oti.TorusImaging1D(label, {2: line}, r_e_max=0.55), params(a)
    ).crosses


def spline_model():
    knots = {2: [0.0, 0.1, 0.25, 0.45], 4: [0.0, 0.2, 0.45]}
    model = oti.TorusImaging1DSpline([0.0, 0.45], knots)
    p = params(0.0) | {
        "e_params": {2: {"vals": np.log([1.0, 0.5, 0.05])}, 4: {"vals": np.log([0.05, 0.02])}},
        "label_params": {"label_vals": np.array([0.0, 0.0])},
    }
    return model, p


def test_jumps_at_knots():
    model, p = spline_model()
    result = check_consistency(model, p)
    np.testing.assert_allclose(result.knots.value, kpc(np.array([0.1, 0.2, 0.25])))
    sides = [
        model.get_density((result.knots.value * (1 + s) + 0.02) * u.kpc, p) for s in (1e-7, -1e-7)
    ]
    # The density's slope times 2e-7 of the height is far below 1e-6 Msun/pc^3.
    np.testing.assert_allclose(
        result.density_jumps.value, (sides[0] - sides[1]).to_value(u.Msun / u.pc**3), atol=1e-6
    )
    assert np.abs(result.density_jumps.value).max() > 1e-4
    assert "at knots the density jumps" in result.text


def test_odd_orders():
    odd = check_consistency(oti.TorusImaging1D(label, {3: line}, r_e_max=0.3), params(0.2, 3))
    assert not odd.has_force and "undefined" in odd.text and np.isnan(odd.largest)
    assert len(odd.negative) == 0 and not odd.crosses
    model = oti.TorusImaging1D(label, {1: line}, convention="vp", r_e_max=0.4)
    one = check_consistency(model, params(0.5, 1))
    assert one.has_force and not one.symmetric and one.z[0] < 0
    np.testing.assert_allclose(one.z[-1].value, kpc(0.4), rtol=1e-10)
    below = one.density.value < 0
    inside = np.zeros(below.size, bool)
    for low, high in one.negative.value:
        inside |= (one.z.value >= low) & (one.z.value <= high)
    np.testing.assert_array_equal(inside, below)


def test_fit_is_taken_at_its_optimum():
    model, p = spline_model()
    fit = Fit(model, {}, {}, {}, p, None)
    assert check_consistency(fit).text == check_consistency(model, p).text


def test_bad_input():
    model, p = spline_model()
    with pytest.raises(ValueError, match="needs a model with its params, or a Fit"):
        check_consistency(model)
    with pytest.raises(ValueError, match="e_params is missing"):
        check_consistency(model, {"pos0": 0.0, "vel0": 0.0, "ln_Omega0": 0.0})
    steep = oti.TorusImaging1D(label, {2: lambda r_e, a: a * jnp.tanh(1e6 * r_e)}, r_e_max=0.3)
    with pytest.raises(ValueError, match="cross from the centre on"):
        check_consistency(steep, params(3.0))
    with pytest.raises(ValueError, match="result must be what check_consistency returned"):
        plot_consistency(p)


def test_figure():
    model, p = oti.TorusImaging1D(label, {2: ramp}, r_e_max=0.45), params(0.3)
    result = check_consistency(model, p)
    _, axes = plot_consistency(result)
    np.testing.assert_allclose(axes[1].lines[0].get_ydata(), 100 * result.difference)
    span = axes[2].patches[0].get_x(), axes[2].patches[0].get_width()
    np.testing.assert_allclose([span[0], span[0] + span[1]], result.negative[0].value)
    assert "Gyr" in axes[0].get_ylabel() and "pc" in axes[2].get_ylabel()
    plot_consistency(check_consistency(*spline_model()))
    plot_consistency(
        check_consistency(oti.TorusImaging1D(label, {3: line}, r_e_max=0.3), params(0.2, 3))
    )
    plt.close("all")
