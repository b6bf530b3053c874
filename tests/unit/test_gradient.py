"""What a map must say of the orbits, and the refusals of one that does not."""

import astropy.units as u
import numpy as np
import pytest

import torusimaging as oti
from torusimaging.data.gradient import changes, check_gradient, doubts

MODELS = [oti.TorusImaging1DPotential, oti.TorusImaging1DSpline]
V = 30.0  # km/s


def map_of(label, n=21, err=0.01, seed=0, wrong=1.0):
    """A map of ``label(z, v)`` (kpc, km/s) with noise, `wrong` times its errors."""
    grid = np.meshgrid(np.linspace(-0.8, 0.8, n), np.linspace(-50, 50, n))
    z, v = (g.ravel() for g in grid)
    keep = (z / 0.85) ** 2 + (v / 55) ** 2 < 1
    z, v = z[keep], v[keep]
    noise = wrong * err * np.random.default_rng(seed).standard_normal(z.size)
    values = label(z, v) + noise
    return {
        "pos": z * u.kpc,
        "vel": v * u.km / u.s,
        "label": values,
        "label_err": np.full(z.size, err),
    }


def radial(z, v, range=0.3):
    return range * np.tanh(np.hypot(z / 0.4, v / V))


LABELS = {
    "noise": (lambda z, v: 0.0 * z, "change over the map"),
    "z": (lambda z, v: 0.3 * np.tanh(np.abs(z) / 0.2), "change with vel"),
    "slope in z": (lambda z, v: 0.2 * z, "change with vel"),
    "waves in z": (lambda z, v: 0.1 * np.sin(z / 0.1), "change"),
    "v": (lambda z, v: 0.3 * np.tanh(np.abs(v) / V), "change with pos"),
    "plane": (lambda z, v: 0.2 * z + 0.1 * v / V, "as closed contours do"),
    "saddle": (lambda z, v: 0.3 * z**2 - 0.1 * (v / V) ** 2, "contours are open"),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", LABELS)
def test_labels_that_say_nothing_are_refused(model, name):
    label, text = LABELS[name]
    with pytest.raises(ValueError, match=f"label must .*{text}"):
        model.auto_init(map_of(label))
    if name != "saddle":
        with pytest.raises(ValueError, match="such data cannot constrain the orbits"):
            model.auto_init(map_of(label, wrong=5.0))


@pytest.mark.parametrize("model", MODELS)
def test_a_constant_is_refused(model):
    data = map_of(lambda z, v: 1.2 + 0 * z, wrong=0.0)
    with pytest.raises(ValueError, match="a constant describes it as well"):
        model.auto_init(data)


@pytest.mark.parametrize("model", ["potential", "spline"])
def test_few_pixels_are_refused_with_both_numbers(model):
    rng = np.random.default_rng(7)
    data = {
        "pos": rng.uniform(-0.5, 0.5, 8) * u.kpc,
        "vel": rng.uniform(-50, 50, 8) * u.km / u.s,
        "label": rng.normal(1.2, 0.6, 8),
        "label_err": np.full(8, 0.1),
    }
    number = {"potential": 23, "spline": 21}[model]
    with pytest.raises(ValueError, match=f"as many usable pixels .* parameters, {number}, .* 8:"):
        oti.fit_map(data, model=model)


def test_few_pixels_for_a_users_model():
    model = oti.TorusImaging1D(lambda r, a, b: a + b * r, {})
    params = {
        "pos0": 0.0,
        "vel0": 0.0,
        "ln_Omega0": -2.5,
        "e_params": {},
        "label_params": {"a": 0.0, "b": 1.0},
    }
    data = {name: x[:4] for name, x in map_of(radial).items()}
    with pytest.raises(ValueError, match="parameters, 5, but has 4"):
        model.optimize(params, **data)


def test_weak_gradients_are_seldom_refused():
    # A range of 5 to 9 times what one pixel tells, in 80 of them, as a few thousand stars give.
    refused = 0
    for seed in range(60):
        data = map_of(lambda z, v: radial(z, v, 0.06), n=11, err=0.012, seed=seed)
        try:
            check_gradient(data)
        except ValueError:
            refused += 1
    assert refused <= 1


def test_noise_is_seldom_passed():
    # Noise must pass each of several tests at 1 %; chances are those of the F test where the
    # errors are too small.
    for wrong in (1.0, 4.0):
        found = [
            changes(
                *(np.asarray(c) for c in map_of(LABELS["noise"][0], 11, 1.0, s, wrong).values())
            )[0][0].chance
            for s in range(300)
        ]
        assert 0.02 < np.mean(np.array(found) < 0.05) < 0.09


def test_a_gradient_that_may_be_noise_is_a_problem():
    found = []
    for seed in range(40):
        data = map_of(lambda z, v: radial(z, v, 0.03), n=9, err=0.012, seed=seed)
        try:
            check_gradient(data)
        except ValueError:
            continue
        found += doubts(data)
    assert found and all("may be noise" in sentence for sentence in found)
    assert doubts(map_of(radial)) == []


def bump(z, v):
    """A label that rises and falls again: at most z its quadratic in v is not that at others."""
    return 0.2 * np.exp(-(((np.hypot(z / 0.4, v / V) - 0.6) / 0.25) ** 2))


@pytest.mark.parametrize("label", [radial, bump])
@pytest.mark.parametrize("least", [-0.8, -0.1, 0.05, 0.2])
def test_labels_that_saturate_or_fall_again_pass_on_one_side(label, least):
    # Above the plane alone a label that saturates is curved downwards in z, and upwards in v.
    data = map_of(label, n=31)
    upper = data["pos"] > least * u.kpc
    check_gradient({name: x[upper] for name, x in data.items()})
    lower = data["pos"] < -least * u.kpc
    check_gradient({name: x[lower] for name, x in data.items()})


def test_a_saddle_is_one_on_one_side():
    data = map_of(lambda z, v: 0.3 * np.tanh(np.abs(z) / 0.3) - 0.1 * (v / V) ** 2)
    for half in (data["pos"] > 0.1 * u.kpc, data["pos"] < 0 * u.kpc, data["vel"] > 0 * u.km / u.s):
        with pytest.raises(ValueError, match="contours are open"):
            check_gradient({name: x[half] for name, x in data.items()})


@pytest.mark.parametrize(("name", "number"), [("z", 2), ("v", 1), ("plane", 3)])
@pytest.mark.parametrize("wrong", [1.0, 3.0])
def test_each_change_has_its_chance(name, number, wrong):
    """Under its own absence a change is found in 5 of 100 maps at a chance of 0.05."""
    label = {
        "z": lambda z, v: 0.2 * np.abs(z),
        "v": lambda z, v: 0.2 * np.abs(v) / V,
        "plane": LABELS["plane"][0],
    }[name]
    chances = np.array(
        [
            changes(*(np.asarray(c) for c in map_of(label, 11, 0.01, s, wrong).values()))[0][
                number
            ].chance
            for s in range(400)
        ]
    )
    # Four standard deviations of 400 maps; two tests that agree leave a little of their share.
    assert 0.02 < np.mean(chances < 0.05) < 0.05 + 4 * 0.011


def test_one_sided_maps_and_counts_pass():
    data = map_of(radial)
    for half in (data["pos"] > 0.1 * u.kpc, data["vel"] > 0 * u.km / u.s):
        check_gradient({name: x[half] for name, x in data.items()})
    z, v = data["pos"].value, data["vel"].value
    rate = 300 * np.exp(-0.5 * (z / 0.3) ** 2 - 0.5 * (v / 20) ** 2)
    counts = np.random.default_rng(0).poisson(rate)
    check_gradient({"pos": data["pos"], "vel": data["vel"], "counts": counts})
    flat = np.random.default_rng(0).poisson(50.0, z.size)
    with pytest.raises(ValueError, match="a constant describes it as well"):
        check_gradient({"pos": data["pos"], "vel": data["vel"], "counts": flat})
