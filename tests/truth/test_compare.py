"""Leave-one-out and evidence against closed forms and refits, and the search for knots."""

from dataclasses import replace

import astropy.units as u
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import torusimaging as oti
from torusimaging.data.pixels import read_map
from torusimaging.inference import knots as search
from torusimaging.inference.evidence import quick_evidence, weighted_evidence
from torusimaging.inference.problem import Problem, ln_pointwise
from torusimaging.likelihoods import GaussianPixels
from torusimaging.parameters import Layout

START = {"pos0": 0.0, "vel0": 0.0, "ln_Omega0": np.log(0.07), "e_params": {}}
# The centre and the frequency are known so well that the label's parameters alone are free.
TIGHT = {name: dist.Normal(START[name], 1e-5) for name in ("pos0", "vel0", "ln_Omega0")}
A_SD, C_SD, B_RANGE = 0.5, 0.3, (-3.0, 4.0)


def line(r, a, b):
    return a + b * r


def wave(r, a, b, c):
    return line(r, a, b) + c * jnp.sin(20 * r)


def radius(model, data):
    pixels = read_map(data)
    return np.asarray(model.foliation(model.floats(START, label=False)).radius(pixels.points))


def fit_start(**label):
    return START | {"label_params": {"a": 0.1, "b": 0.5} | label}


def fit_of(model, data, start, bounds):
    result = model.optimize(start, bounds=bounds, **data)
    return oti.Fit(model, data, bounds, start, result.params, result.state)


def noisy(truth, seed):
    rng = np.random.default_rng(seed)
    err = rng.uniform(0.02, 0.08, truth.size)
    return truth + err * rng.normal(size=truth.size), err


@pytest.fixture(scope="module")
def lines():
    """A straight label with one pixel far off, fitted by a line and by a line with a wave."""
    grid = np.meshgrid(np.linspace(-0.8, 0.8, 15), np.linspace(-40, 40, 15))
    pos, vel = grid[0].ravel() * u.kpc, grid[1].ravel() * u.km / u.s
    priors = TIGHT | {"label_params.a": dist.Normal(0.1, A_SD)}
    straight = oti.TorusImaging1D(line, {}, priors=priors)
    wavy = oti.TorusImaging1D(wave, {}, priors=priors | {"label_params.c": dist.Normal(0.0, C_SD)})
    label, err = noisy(straight.get_label(pos, vel, fit_start()), 0)
    label[7] += 0.2
    data = {"pos": pos, "vel": vel, "label": label, "label_err": err}
    bounds = {"label_params": {"b": B_RANGE}}
    return {
        "line": fit_of(straight, data, fit_start(), bounds),
        "wave": fit_of(wavy, data, fit_start(c=0.0), bounds),
    }


@pytest.fixture(scope="module")
def compared(lines):
    return oti.compare_models(lines)


def closed_form(fit, with_wave):
    """(ln evidence, ln p(y_i | others)) of labels that are linear in a, c (normal) and b (flat).

    With C the covariance of the labels but for b, F = r^T C^-1 r and P = C^-1 - C^-1 r r^T C^-1
    / F:  ln Z = -1/2 [y^T P y + ln det(2 pi C) - ln(2 pi / F)] - ln(range of b), and y_i given the
    others is normal about y_i - (P y)_i / P_ii with variance 1 / P_ii.
    """
    r = radius(fit.model, fit.data)
    y, err = fit.data["label"] - 0.1, fit.data["label_err"]
    cov = np.diag(err**2) + A_SD**2
    if with_wave:
        cov += C_SD**2 * np.outer(np.sin(20 * r), np.sin(20 * r))
    inverse = np.linalg.inv(cov)
    flat = inverse @ r
    p = inverse - np.outer(flat, flat) / (r @ flat)
    ln_det = np.linalg.slogdet(2 * np.pi * cov)[1] - np.log(2 * np.pi / (r @ flat))
    ln_z = -0.5 * (y @ p @ y + ln_det) - np.log(B_RANGE[1] - B_RANGE[0])
    var = 1 / np.diag(p)
    return ln_z, -0.5 * ((p @ y) ** 2 * var + np.log(2 * np.pi * var))


@pytest.mark.parametrize("name", ["line", "wave"])
def test_against_closed_forms(lines, compared, name):
    """The sds of 1e-5 change ln Z by 1e-3; 2000 draws leave 0.02 in a pixel, by its weights."""
    ln_z, elpd = closed_form(lines[name], name == "wave")
    (row,) = compared.table[compared.table["model"] == name]
    # Weights that adapt to the draws they weigh are biased by a few 1e-2.
    assert row["ln_evidence"] == pytest.approx(ln_z, abs=0.05)
    assert row["ln_evidence_laplace"] == pytest.approx(ln_z, abs=3e-3)
    fit = lines[name]
    quick = quick_evidence(fit.model, fit.problem.likelihood, fit.start, fit.bounds)
    assert quick == pytest.approx(ln_z, abs=0.02)  # without the curvature of the bounds' map
    np.testing.assert_allclose(compared.elpd[name], elpd, atol=0.03)
    # Over seeds the sum of all pixels is 0.03 too high, with an sd of 0.05.
    assert row["elpd"] == pytest.approx(elpd.sum(), abs=0.2)
    assert row["elpd_se"] == pytest.approx(np.sqrt(elpd.size) * elpd.std(), rel=0.01)
    assert row["n_constrained"] == pytest.approx(row["n_params"] - 3, abs=0.02)


def test_an_irrelevant_parameter_does_not_win(compared):
    """It costs evidence, and in elpd no more than noise tells the two apart."""
    by_name = {row["model"]: row for row in compared.table}
    assert by_name["line"]["ln_evidence"] > by_name["wave"]["ln_evidence"] + 1
    assert by_name["wave"]["elpd"] - by_name["line"]["elpd"] < 1
    assert "too little to tell them apart" in compared.text
    assert "ln evidence is largest for 'line' and lower for 'wave' by 3." in str(compared)


def test_too_few_knots_lose(lines):
    """A straight line, which two knots are, against six knots, for a label that levels off."""
    line = lines["line"]
    r = radius(line.model, line.data)
    label, err = noisy(0.3 * np.tanh(r / 0.1), 1)
    data = line.data | {"label": label, "label_err": err}
    places = np.linspace(0, r.max(), 6)
    priors = TIGHT | {"label_params.vals": dist.Normal(0.1, 0.5)}
    knots = oti.TorusImaging1D(lambda x, vals: jnp.interp(x, places, vals), {}, priors=priors)
    six = fit_of(knots, data, START | {"label_params": {"vals": np.full(6, 0.1)}}, {})
    found = oti.compare_models([fit_of(line.model, data, line.start, line.bounds), six])
    assert found.best == "TorusImaging1D 2"
    last = found.table[-1]
    assert last["d_elpd"] < -2.5 * last["d_elpd_se"] and last["d_elpd"] < -20
    assert found.table["ln_evidence"][0] > last["ln_evidence"] + 20


def stretch(r_e, s):
    return s * r_e


def bent(r, a, b, c):
    return a + b * r + c * r**2


@pytest.fixture(scope="module")
def mock_map():
    stars = oti.mock.draw_stars(20_000, seed=0, selection="survey")
    bins = {"pos": np.linspace(-1.2, 1.2, 32) * u.kpc, "vel": np.linspace(-70, 70, 32) * u.km / u.s}
    data = oti.data.get_binned_label(
        stars.pos, stars.vel, stars.label, bins, label_err=stars.label_err
    )
    good = np.isfinite(data["label"]) & (data["label_err"] > 0)
    return {k: data[k][good] for k in ("pos", "vel", "label", "label_err")}


def test_against_refits_without_a_pixel(mock_map):
    """The five pixels that the fit bends to most, and five others, left out one at a time.

    Both numbers come from 2000 draws: sd below 0.02 each for most pixels, more where leaving the
    pixel out moves the posterior.
    """
    model = oti.TorusImaging1D(bent, {2: stretch})
    start = START | {
        "e_params": {2: {"s": 0.1}},
        "label_params": {"a": 0.0, "b": 0.5, "c": 0.0},
    }
    fit = fit_of(model, mock_map, start, {})
    found = oti.compare_models([fit])
    elpd = found.elpd["TorusImaging1D"]
    assert "no evidence" in found.text and np.isnan(found.table["ln_evidence"][0])
    assert found.table["n_bad"][0] == 0
    params, pixels = fit.model.floats(fit.params), GaussianPixels.read(mock_map)
    layout = Layout.of(params)
    at_best = ln_pointwise(model, pixels, layout, layout.flatten(params)[None])[0]
    influence = np.asarray(at_best) - elpd
    rng = np.random.default_rng(0)
    chosen = np.r_[np.argsort(influence)[-5:], rng.choice(elpd.size, 5, replace=False)]
    for i in chosen:
        others = {k: np.delete(v, i) for k, v in mock_map.items()}
        result = model.optimize(fit.params, **others)
        left = Problem.of(model, GaussianPixels.read(others), result.params, {})
        refit = weighted_evidence(left, result.params, seed=1)
        ln_like = np.asarray(ln_pointwise(model, pixels, layout, jnp.asarray(refit.draws)))
        direct = np.logaddexp.reduce(refit.ln_weights + ln_like[:, i])
        assert elpd[i] == pytest.approx(direct, abs=0.05 + 0.05 * influence[i])


def test_draws_of_nuts_give_the_same(lines, compared):
    fit = lines["line"].sample(num_chains=2, num_warmup=200, num_steps=1000)
    found = oti.compare_models({"line": fit})
    assert found.table["draws"][0] == "NUTS" and compared.table["draws"][0] == "Laplace"
    np.testing.assert_allclose(found.elpd["line"], compared.elpd["line"], atol=0.06)


def test_ascent(monkeypatch):
    """The best of a separable evidence is found; given knots are kept; sds scale from the given."""

    class Model:
        def __init__(self, label_knots, e_knots, factor=1.0):
            self.found = label_knots, e_knots[2], factor
            self.smoothed = lambda factor: Model(label_knots, e_knots, factor)

    def evidence(model, data, start, bounds):
        label, e, factor = model.found
        return -abs(label - 8.0) - abs(e - 6) - abs(np.log(factor / 2))

    monkeypatch.setattr(search, "quick_evidence", evidence)

    def make(**sizes):
        return Model(**sizes), {}, {}

    own = [0.0, 0.1]
    model, _, _ = search.choose_knots(
        make, {"label_knots": 5, "e_knots": {2: 8, 4: own}}, {}, "auto"
    )
    assert model.found == (8, 6, 2.0)
    assert search._numbers("label_knots", own) == search._numbers("e_knots", {2: own}) == []
    assert search._numbers("density_knots", own * u.kpc) == []
    assert search._numbers("e_knots", {2: 8, 4: 4}) == [{2: 6, 4: 3}, {2: 10, 4: 5}]
    monkeypatch.setattr(search, "quick_evidence", lambda *_: -np.inf)
    with pytest.raises(ValueError, match="no number of knots gives a fit"):
        search.choose_knots(make, {"label_knots": 5, "e_knots": {2: 8}}, {}, "auto")


def test_knots_of_a_map(mock_map, monkeypatch):
    """Two knots are too few for a label that bends; the start is that of the chosen model."""
    monkeypatch.setattr(search, "NUMBERS", {"label_knots": (5,)})
    fit = oti.fit_map(mock_map, model="spline", knots="auto", label_knots=2, e_knots={})
    assert fit.model.label_knots.size == 5 and fit.optimizer.success
    assert fit.start["label_params"]["label_vals"].shape == (5,)
    assert float(fit.model.label.sigmas[1]) in (0.25, 0.5, 1.0)
    for kind in (oti.TorusImaging1DSpline, oti.TorusImaging1DPotential):
        with pytest.raises(ValueError, match="knots must be None or \"auto\", but 'most'"):
            kind.auto_init(mock_map, knots="most")
    with pytest.raises(ValueError, match="published regularisation"):
        oti.fit_map(mock_map, model="spline", knots="auto", prior="price-whelan25")
    with pytest.raises(ValueError, match="priors that are normal or uniform"):
        oti.fit_map(mock_map, knots="auto", priors={"pos0": dist.StudentT(3.0, 0.0, 0.1)})


def test_bad_input(lines):
    fit = lines["line"]
    for fits, text in (
        ([], r"list or dictionary of Fits, but \[\] was given"),
        ({}, "list or dictionary of Fits"),
        (fit, "but a Fit alone was given"),
        ([fit, 1.0], r"fits\[1\] must be a Fit, but is a float"),
    ):
        with pytest.raises(ValueError, match=text):
            oti.compare_models(fits)
    for key, change, text in (
        ("label", 0.01, "labels"),
        ("label_err", 0.01, "errors"),
        ("pos", 0.01 * u.kpc, "pixels"),
    ):
        other = replace(fit, data=fit.data | {key: fit.data[key] + change})
        with pytest.raises(ValueError, match=f"same data, but 'b' has other {text} than 'a'"):
            oti.compare_models({"a": fit, "b": other})
    fewer = replace(fit, data={k: v[1:] for k, v in fit.data.items()})
    with pytest.raises(ValueError, match="other pixels"):
        oti.compare_models({"a": fit, "b": fewer})
