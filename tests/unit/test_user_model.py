"""Models of a user's own functions."""

import astropy.units as u
import jax.numpy as jnp
import numpy as np
import pytest

import torusimaging as oti

PARAMS = {
    "pos0": 0.01,
    "vel0": 0.001,
    "ln_Omega0": np.log(0.07),
    "e_params": {2: {"a": 0.4}},
    "label_params": {"x0": 0.05, "slope": 0.6},
}


def label(r, x0, slope):
    return x0 + slope * r


def stretch(r_e, a):
    return a * r_e


@pytest.fixture
def data():
    grid = np.meshgrid(np.linspace(-0.8, 0.8, 21), np.linspace(-40, 40, 21))
    pos, vel = grid[0].ravel() * u.kpc, grid[1].ravel() * u.km / u.s
    truth = oti.TorusImaging1D(label, {2: stretch}).get_label(pos, vel, PARAMS)
    rng = np.random.default_rng(1)
    err = np.full(truth.size, 0.005)
    return {"pos": pos, "vel": vel, "label": truth + rng.normal(0, err), "label_err": err}


def start():
    return PARAMS | {
        "pos0": 0.0,
        "vel0": 0.0,
        "ln_Omega0": np.log(0.09),
        "e_params": {2: {"a": 0.1}},
    }


@pytest.mark.parametrize("convention", ["pv", "vp"])
def test_fit_and_orbits(data, convention):
    e = stretch if convention == "pv" else (lambda r_e, a: -a * r_e)
    model = oti.TorusImaging1D(label, {2: e}, convention=convention)
    result = model.optimize(start(), **data)
    sd = model.get_crlb_uncertainties(result.params, data)
    assert abs(result.params["e_params"][2]["a"] - 0.4) < 4 * sd["e_params"][2]["a"]
    table = model.compute_action_angle(0.3 * u.kpc, 10 * u.km / u.s, result.params)
    assert table["flag"][0] == 0 and 0 < table["J"][0].value < 1


def test_regularisation_moves_the_optimum(data):
    free = oti.TorusImaging1D(label, {2: stretch})
    held = oti.TorusImaging1D(
        label,
        {2: stretch},
        lambda model, p: 0.5 * jnp.sum(((p["e_params"][2]["a"] - 0.1) / 1e-3) ** 2),
    )
    a = [m.optimize(start(), **data).params["e_params"][2]["a"] for m in (free, held)]
    assert abs(a[1] - 0.1) < abs(a[0] - 0.1) / 3


def test_odd_orders_in_pv_have_no_force():
    model = oti.TorusImaging1D(label, {3: stretch}, r_e_max=0.5)
    params = PARAMS | {"e_params": {3: {"a": 0.2}}}
    table = model.compute_action_angle(0.2 * u.kpc, 15 * u.km / u.s, params)
    assert np.isfinite(table["J"][0]) and np.isfinite(table["theta"][0]) and np.isnan(table["T"][0])


def test_bad_input(data):
    with pytest.raises(ValueError, match="orders m of e_m must be integers"):
        oti.TorusImaging1D(label, {2.5: stretch})
    with pytest.raises(ValueError, match="convention must be"):
        oti.TorusImaging1D(label, {2: stretch}, convention="qp")


def test_the_curvature_itself_whatever_the_parameters_scales(data):
    # In units of 1e-9 the slope's sd is 1e9 times that of the others.
    def scaled(r, x0, slope):
        return x0 + 1e-9 * slope * r

    model = oti.TorusImaging1D(scaled, {2: stretch})
    params = PARAMS | {"label_params": {"x0": 0.05, "slope": 0.6e9}}
    own = oti.TorusImaging1D(label, {2: stretch})
    data["label"] = own.get_label(data["pos"], data["vel"], PARAMS)
    curvature = model.get_crlb(params, data, inv=True)
    np.testing.assert_array_equal(curvature, curvature.T)
    # Without residuals it is J^T J, whose entries of the label's parameters have closed forms.
    r = (data["label"] - 0.05) / 0.6
    weight = data["label_err"] ** -2
    slopes = np.stack([1e-9 * r, np.ones_like(r)])  # with the slope and x0, in the order of names
    np.testing.assert_allclose(curvature[1:3, 1:3], slopes * weight @ slopes.T, rtol=1e-10)
    plain = own.get_crlb_uncertainties(PARAMS, data)
    sd = model.get_crlb_uncertainties(params, data)
    np.testing.assert_allclose(sd["pos0"], plain["pos0"], rtol=1e-6)
    np.testing.assert_allclose(
        sd["label_params"]["slope"], 1e9 * plain["label_params"]["slope"], rtol=1e-6
    )
