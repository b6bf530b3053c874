"""Goodness of fit on maps whose label is known: the model's own, with noise or a term in theta."""

from dataclasses import replace

import astropy.units as u
import equinox as eqx
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

import torusimaging as oti
from torusimaging.checks.goodness import _angle_terms
from torusimaging.fitting import Fit
from torusimaging.inference.linear import linearise
from torusimaging.parameters import Layout, make_bounds

ERR = 0.004
DRAWS = 12


@pytest.fixture(scope="module", params=["potential", "spline"])
def steady(request):
    """A fit whose data are its own model without noise, so that a refit stays where it is."""
    z, v = np.meshgrid(np.linspace(-1, 1, 22), np.linspace(-50, 50, 22), indexing="ij")
    height = 0.3
    energy = (v / 977.8) ** 2 / 2 + 0.09**2 * height * (np.hypot(z, height) - height)
    label = oti.mock.tanh_label(energy / 0.07)
    # Without the corners, whose orbits the spline model does not reach.
    z, v, label = (x[energy < energy.max() / 1.6] for x in (z, v, label))
    data = {"pos": z * u.kpc, "vel": v * u.km / u.s, "label": label, "label_err": 0 * z + ERR}
    # The spline model's last knot lies beyond every pixel.
    options = {"re_max_factor": 1.4} if request.param == "spline" else {}
    fit = oti.fit_map(data, model=request.param, **options)
    for _ in range(2):  # the prior pulls less each time
        label = fit.model.get_label(fit.data["pos"], fit.data["vel"], fit.params)
        fit = refit(fit, label)
    return fit


def refit(fit, label):
    data = fit.data | {"label": label}
    found = fit.model.optimize(fit.params, bounds=fit.bounds, **data)
    return replace(fit, data=data, params=found.params, optimizer=found.state)


def theta_of(fit):
    orbits = fit.model.compute_action_angle(fit.data["pos"], fit.data["vel"], fit.params)
    return np.nan_to_num(orbits["theta"].value), np.isfinite(orbits["J"].value)


def naive(g):
    """Amplitudes and sds of the terms by least squares of the residuals alone."""
    theta = g.pixels["theta"].value
    T = np.stack([np.cos(theta), np.sin(theta), np.cos(2 * theta), np.sin(2 * theta)], axis=1) / ERR
    cov = np.linalg.inv(T.T @ T)
    return cov @ T.T @ (g.pixels["residual"] / ERR), np.sqrt(np.diag(cov))


@pytest.fixture(scope="module")
def noisy(steady):
    """Noise in units of the errors, and what the check says after a fit of each draw."""
    noise = np.random.default_rng(3).standard_normal((DRAWS, steady.data["label"].size))
    fits = [refit(steady, steady.data["label"] + ERR * e) for e in noise]
    return noise, [oti.check_goodness(fit) for fit in fits]


def test_noise_gives_significances_of_unit_sd(noisy):
    found = noisy[1]
    pulls = np.array([g.terms["significance"] for g in found])
    pixels = np.concatenate([g.pixels["significance"] for g in found])
    means = [g.by_ring["significance"] for g in found] + [g.by_angle["significance"] for g in found]
    # 4 standard errors of an sd and of a mean, as if all values were independent.
    for values in (pulls, pixels, np.concatenate(means)):
        assert abs(values.std() - 1) < 4 / np.sqrt(2 * values.size)
        assert abs(values.mean()) < 4 / np.sqrt(values.size)
    # Read off the residuals, the terms that parameters imitate hardly vary at all.
    plain = np.array([np.divide(*naive(g)) for g in found])
    assert np.all(plain[:, :3].std(axis=0) < 0.7)
    for row, dof in enumerate((2, 2, 4)):
        assert found[0].joint["dof"][row] == dof
        chi2 = np.mean([g.joint["chi2"][row] for g in found])
        assert abs(chi2 - dof) < 4 * np.sqrt(2 * dof / DRAWS)


def test_chi2_falls_by_the_effective_number_of_parameters(steady, noisy):
    noise, found = noisy
    g = oti.check_goodness(steady)
    W = linearise(steady.problem, steady.params).W
    H = W @ W.T
    assert g.n_effective == pytest.approx(np.trace(H)) and g.n_outside == 0
    assert g.dof == H.shape[0] - g.n_effective
    # About one truth, noise alone takes up tr(2 H - H^2), which is little more than tr H.
    expected = np.trace(2 * H - H @ H)
    falls = np.sum(noise**2, axis=1) - [g.chi2 for g in found]
    assert abs(np.mean(falls) - expected) < 4 * np.sqrt(2 * expected / DRAWS)
    assert g.n_effective <= expected < g.n_effective + 3
    chi2, dof = np.mean([g.chi2 for g in found]), np.mean([g.dof for g in found])
    assert abs(chi2 - dof) < 4 * np.sqrt(2 * dof / DRAWS)
    assert found[0].p == pytest.approx(stats.chi2.sf(found[0].chi2, found[0].dof))


def test_pixels_outside_are_left_out_and_counted(steady):
    data = {k: v.copy() for k, v in steady.data.items()}
    data["pos"][0], data["label_err"][0] = 9 * u.kpc, 1e3
    more = oti.check_goodness(replace(steady, data=data))
    data["pos"][0] = steady.data["pos"][0]
    g = oti.check_goodness(replace(steady, data=data))
    assert more.n_outside == 1 and "1 more lie outside the model" in more.text
    assert len(more.pixels) == len(g.pixels) - 1
    assert more.chi2 == pytest.approx(g.chi2, abs=1e-6)
    np.testing.assert_allclose(more.terms["sd"], g.terms["sd"], rtol=1e-6)


@pytest.mark.parametrize(("row", "size"), [(1, 0.0008), (2, 0.0008), (3, 0.0016)])
def test_injected_amplitude_is_recovered(steady, row, size):
    theta, inside = theta_of(steady)
    wave = (np.cos, np.sin)[row % 2]((1 + row // 2) * theta)
    g = oti.check_goodness(refit(steady, steady.data["label"] + size * wave * inside))
    a, sd, ratio = (g.terms[name][row] for name in ("amplitude", "sd", "ratio"))
    # Without noise: what is left is the curvature of the label in the parameters.
    assert abs(a - size) < 0.5 * sd
    wrong, sd_wrong = (x[row] for x in naive(g))
    np.testing.assert_allclose(g.terms["sd_fixed"][row], sd_wrong, rtol=1e-9)
    if row == 3:
        assert ratio < 1.1 and a > 3 * sd and "sin(2 theta)" in g.text
        assert "not a steady state" in str(g)
    else:
        assert ratio > 1.5 and abs(wrong - size) > 2 * sd_wrong


def test_jacobian_and_amplitudes_by_another_route(steady):
    """J by finite differences of public labels; a, cov(a) by one least-squares problem."""
    rng = np.random.default_rng(1)
    noisy = steady.data["label"] + ERR * rng.standard_normal(steady.data["label"].size)
    fit = refit(steady, noisy)
    layout = Layout.of(fit.params)
    limits = make_bounds(layout, fit.params, fit.bounds)
    centre = np.asarray(limits.free(layout.flatten(fit.params)))

    def at(function, i, h):
        free = jnp.asarray(centre + h * np.eye(centre.size)[i])
        return np.asarray(function(layout.unflatten(limits.constrain(free))))

    def slope(function, i, h=1e-5):
        return (at(function, i, h) - at(function, i, -h)) / (2 * h)

    def label(params):
        return fit.model.get_label(fit.data["pos"], fit.data["vel"], params)

    J = linearise(fit.problem, fit.params).J
    columns = range(centre.size)
    some = [0, 5, centre.size - 2, centre.size - 1]
    entries = np.stack([slope(label, i) for i in some], axis=1) / ERR
    # The labels' second differences over 1e-5 and round-off over it are both below 1e-6 of J.
    np.testing.assert_allclose(J[:, some], entries, atol=1e-5 * np.abs(J).max())
    penalties = eqx.filter_jit(fit.model.prior_residuals)
    prior = np.stack([slope(penalties, i) for i in columns], axis=1)
    theta, inside = theta_of(fit)
    T = np.stack([np.cos(theta), np.sin(theta), np.cos(2 * theta), np.sin(2 * theta)], axis=1)
    whole = np.block([[J, T * inside[:, None] / ERR], [prior, np.zeros((len(prior), 4))]])
    start = np.asarray(fit.model.prior_residuals(fit.model.floats(fit.params)))
    target = np.r_[(noisy - label(fit.params)) / ERR, -start]
    cov = np.linalg.inv(whole.T @ whole)[-4:, -4:]
    terms = oti.check_goodness(fit).terms
    np.testing.assert_allclose(terms["sd"], np.sqrt(np.diag(cov)), rtol=1e-4)
    best = np.linalg.lstsq(whole, target, rcond=None)[0][-4:]
    np.testing.assert_allclose(terms["amplitude"] / terms["sd"], best / terms["sd"], atol=1e-3)
    # Taking the terms out lowers the full objective by half their chi^2, but for the curvature of
    # the label in the parameters, which is of order one sd here.
    found = oti.check_goodness(fit)
    lower = refit(fit, noisy - T @ best * inside).optimizer.value
    chi2 = found.joint["chi2"][2]
    assert 2 * (fit.optimizer.value - lower) == pytest.approx(chi2, rel=0.25)


def test_term_that_the_parameters_take_up_is_undetermined():
    rng = np.random.default_rng(0)
    T = rng.standard_normal((50, 4))
    response = T[:, [1]] / np.linalg.norm(T[:, 1])
    terms, joint = _angle_terms(rng.standard_normal(50), response, T)
    np.testing.assert_array_equal(np.isnan(terms["amplitude"]), [False, True, False, False])
    assert np.isinf(terms["sd"][1]) and np.all(np.isfinite(joint["chi2"]))
    np.testing.assert_array_equal(joint["dof"], [1, 2, 3])


def test_one_bad_pixel_and_shape(steady):
    label = steady.data["label"].copy()
    k = int(np.flatnonzero(theta_of(steady)[1])[100])
    label[k] += 6 * ERR
    g = oti.check_goodness(refit(steady, label), n_rings=4, n_angles=6, shape="radius")
    assert g.pixels["z"][g.largest] == steady.data["pos"][k]
    single = 2 * stats.norm.sf(g.pixels["significance"][g.largest])
    assert g.largest_p == pytest.approx(1 - (1 - single) ** len(g.pixels), rel=1e-5)
    assert "is unlikely among so many" in g.text and g.shape == "radius"
    assert len(g.by_ring) == 4 and len(g.by_angle) == 6
    for table in (g.by_ring, g.by_angle):
        assert table["n"].sum() == len(g.pixels)
        assert table["chi2"].sum() == pytest.approx(g.chi2)
        assert table["dof"].sum() == pytest.approx(g.dof)
    assert np.ptp(g.by_ring["n"]) <= 1
    assert g.by_ring["J_high"].unit == u.kpc**2 / u.Myr
    # An outlying pixel weighs more where its template does.
    assert not np.allclose(g.terms["sd"], oti.check_goodness(steady).terms["sd"], rtol=0.01)
    fig, axes = oti.plot.plot_goodness(g)
    assert axes.shape == (5,) and "label" in axes[4].get_ylabel()
    shown = axes[4].containers[-1].lines[0].get_ydata()
    np.testing.assert_allclose(shown, g.terms["amplitude"])
    assert axes[0].collections[0].get_clim()[0] == -axes[0].collections[0].get_clim()[1]
    fig.draw_without_rendering()
    plt.close("all")


def test_bad_input(steady):
    with pytest.raises(ValueError, match="fit must be a Fit, but dict was given"):
        oti.check_goodness(steady.params)
    with pytest.raises(ValueError, match="hold its data, but pos, vel, label, label_err is"):
        oti.check_goodness(Fit(steady.model, {}, {}, {}, steady.params, None))
    with pytest.raises(ValueError, match="n_rings must be a whole number from 1 .* but 0 was"):
        oti.check_goodness(steady, n_rings=0)
    with pytest.raises(ValueError, match="n_angles must be .* but 2.5 was given"):
        oti.check_goodness(steady, n_angles=2.5)
    with pytest.raises(ValueError, match="shape must be one of constant, radius, but 'cubic'"):
        oti.check_goodness(steady, shape="cubic")
    moved = replace(steady, params=steady.params | {"pos0": steady.params["pos0"] + 0.05})
    with pytest.raises(ValueError, match="fit must be at its optimum, but a step would lower"):
        oti.check_goodness(moved)
    with pytest.raises(ValueError, match="goodness must be what check_goodness returned, but dict"):
        oti.plot.plot_goodness({})
