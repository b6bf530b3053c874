"""Double precision is asked for first, at every door; nothing passes in float32."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import torusimaging as oti

LINE = 'jax.config.update("jax_enable_x64", True)'

# A child begins as a user's script does, without double precision.  Then it switches it on, makes
# models and a fit, switches it off again and knocks at every door.
SCRIPT = """
import json, sys
import astropy.units as u, jax, numpy as np
import numpyro.distributions as dist
import torusimaging as oti
from torusimaging.inference.optimize import OptimizeState
from torusimaging.models import FreeDensity, LayeredDensity, UserDensity
from torusimaging.models.densities import reference_density

x = np.linspace(-1, 1, 9)
pos, vel = (a.ravel() for a in np.meshgrid(0.5 * x, 0.05 * x))
data = {"pos": pos * u.kpc, "vel": vel * u.kpc / u.Myr, "label": 3 * pos**2 + 300 * vel**2,
        "label_err": np.full(pos.size, 0.01)}
counts = {"pos": data["pos"], "vel": data["vel"], "counts": np.full(pos.size, 7)}
knots, heights = np.linspace(0, 0.3, 4), np.linspace(0, 0.6, 4)
said = {}

def knock(name, door):
    try:
        door()
    except Exception as error:
        said[name] = f"{type(error).__name__}: {error}"
    else:
        said[name] = "nothing"

def free():
    return FreeDensity(heights, np.full(4, 18.0))

makers = {
    "free density": free,
    "user density": lambda: UserDensity(lambda z, rho: rho + 0 * z, {"rho": (1e8, 1e7)}, 0.6),
    "layers": lambda: LayeredDensity(oti.solar_layers()),
    "user model": lambda: oti.TorusImaging1D(lambda r, a: a * r, {}),
    "spline model": lambda: oti.TorusImaging1DSpline(knots, {2: knots}),
    "spline auto_init": lambda: oti.TorusImaging1DSpline.auto_init(data),
    "potential auto_init": lambda: oti.TorusImaging1DPotential.auto_init(data),
    "potential auto_init of counts": lambda: oti.TorusImaging1DPotential.auto_init(counts),
    "knots": lambda: oti.TorusImaging1DSpline.auto_init(data, knots="auto"),
    "fit_map": lambda: oti.fit_map(data),
    "fit_map of a spline": lambda: oti.fit_map(data, model="spline"),
    "nonsense": lambda: oti.fit_map(data, model="no such model"),
    "load": lambda: oti.load("no-such-file.nc"),
}
for name, make in makers.items():
    knock(f"bare {name}", make)

jax.config.update("jax_enable_x64", True)
form = free()
models = {
    "potential": oti.TorusImaging1DPotential(knots, form, 0.5, 0.6),
    "spline": oti.TorusImaging1DSpline(knots, {2: knots}),
}
params = {k: jax.tree.map(np.asarray, m.template()) for k, m in models.items()}
path = sys.argv[1]

def around(tree):
    return jax.tree.map(lambda x: (x - 9.0, x + 9.0), tree)

fits = {
    k: oti.Fit(m, data, around(params[k]), params[k], params[k], OptimizeState(True, 0, "", 1, 0.0))
    for k, m in models.items()
}
fits["potential"].save(path)
jax.config.update("jax_enable_x64", False)

knock("potential model", lambda: oti.TorusImaging1DPotential(knots, form, 0.5, 0.6))
knock("load a fit", lambda: oti.load(path))
for kind, m in models.items():
    p, fit = params[kind], fits[kind]
    z, v = data["pos"], data["vel"]
    doors = {
        "optimize": lambda: m.optimize(p, **data),
        "optimize counts": lambda: m.optimize(p, "poisson", **counts),
        "mcmc_run_label": lambda: m.mcmc_run_label(data, p),
        "laplace_run_label": lambda: m.laplace_run_label(data, p),
        "objective_gaussian": lambda: m.objective_gaussian(p, **data),
        "objective_poisson": lambda: m.objective_poisson(p, **counts),
        "ln_gaussian_likelihood": lambda: m.ln_gaussian_likelihood(p, **data),
        "ln_poisson_likelihood": lambda: m.ln_poisson_likelihood(p, **counts),
        "get_label": lambda: m.get_label(z, v, p),
        "get_acceleration": lambda: m.get_acceleration(z, p),
        "get_acceleration_deriv": lambda: m.get_acceleration_deriv(z, p),
        "get_density": lambda: m.get_density(z, p),
        "get_surface_density": lambda: m.get_surface_density(z, p),
        "compute_elliptical": lambda: m.compute_elliptical(z, v, p),
        "compute_action_angle": lambda: m.compute_action_angle(z, v, p),
        "eval_label": lambda: m.eval_label(knots, p),
        "get_crlb": lambda: m.get_crlb(p, data),
        "get_crlb_uncertainties": lambda: m.get_crlb_uncertainties(p, data),
        "get_crlb_error_samples": lambda: m.get_crlb_error_samples(p, data),
        "draw_prior": lambda: m.draw_prior(p, {}, 3),
        "priors": lambda: m.priors,
        "with_priors": lambda: m.with_priors({"pos0": dist.Normal(0.0, 1.0)}),
        "profiles": lambda: oti.profiles(fit),
        "save": lambda: fit.save(path),
        "derived": lambda: fit.derived(),
        "problems": lambda: fit.problems,
        "chi2_per_pixel": lambda: fit.chi2_per_pixel,
        "laplace": lambda: fit.laplace(),
        "sample": lambda: fit.sample(),
        "calibrate": lambda: oti.calibrate(fit),
        "compare_models": lambda: oti.compare_models([fit]),
        "compare_actions": lambda: oti.compare_actions(fit, oti.mock.solar_potential(), z, v),
        "check_goodness": lambda: oti.check_goodness(fit),
        "check_consistency": lambda: oti.check_consistency(fit),
        "plot_spline_functions": lambda: oti.plot.plot_spline_functions(m, p),
    }
    if kind == "spline":
        doors["get_es"] = lambda: m.get_es(knots, p)
        doors["check_e_funcs"] = lambda: m.check_e_funcs(p)
    for name, door in doors.items():
        knock(f"{kind} {name}", door)
print(json.dumps(said))
"""


def test_every_door_asks_for_double_precision_first(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "fit.nc")],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert len(said) > 80
    wrong = {k: v for k, v in said.items() if not (v.startswith("RuntimeError: ") and LINE in v)}
    assert not wrong


def single(model):
    """The model as float32 arrays, which one made by other means than its class may hold."""
    return jax.tree.map(lambda x: x.astype("float32") if jnp.size(x) else x, model)


@pytest.mark.parametrize("door", ["get_label", "profiles", "check_consistency", "priors"])
def test_a_model_of_float32_arrays_is_refused(door):
    import astropy.units as u

    knots = np.linspace(0, 0.3, 4)
    model = single(oti.TorusImaging1DSpline(knots, {2: knots}))
    params = {
        "pos0": 0.0,
        "vel0": 0.0,
        "ln_Omega0": -2.5,
        "e_params": {2: {"vals": np.full(3, -1.0)}},
        "label_params": {"label_vals": np.zeros(4)},
    }
    doors = {
        "get_label": lambda: model.get_label(0.1 * u.kpc, 0.01 * u.kpc / u.Myr, params),
        "profiles": lambda: oti.profiles((model, params)),
        "check_consistency": lambda: oti.check_consistency(model, params),
        "priors": lambda: model.priors,
    }
    with pytest.raises(RuntimeError, match="float32 numbers.*make the model anew"):
        doors[door]()
