"""Every public door: a bad argument is refused in one sentence that names it."""

import dataclasses
import os
from types import SimpleNamespace

import astropy.units as u
import hypothesis.strategies as st
import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist
import pytest
from astropy.table import QTable, Table
from hypothesis import given, settings

import torusimaging as oti
from torusimaging import arguments
from torusimaging.data import pixels
from torusimaging.inference.nuts import energy_fraction
from torusimaging.models import FreeDensity, Layer, LayeredDensity, UserDensity, solar_layers
from torusimaging.parameters import Layout, make_bounds

KPC_MYR = u.kpc / u.Myr
SPLINE, POTENTIAL = oti.TorusImaging1DSpline, oti.TorusImaging1DPotential
RHO = 0.1 * u.Msun / u.pc**3
KNOTS = {"label_knots": 4, "e_knots": {2: 4}}


def make_map():
    grid = np.meshgrid(np.linspace(-1, 1, 15), np.linspace(-0.06, 0.06, 15), indexing="ij")
    pos, vel = (g.ravel() for g in grid)
    r = np.hypot((pos - 0.03) * np.sqrt(0.075), (vel + 0.001) / np.sqrt(0.075))
    err = np.full(pos.size, 0.01)
    label = 0.25 * np.tanh(3 * r) + np.random.default_rng(3).normal(0, err)
    return {"pos": pos * u.kpc, "vel": vel * KPC_MYR, "label": label, "label_err": err}


def line(r, a):
    return a * r


def even(z, a):
    return a + 0 * z


MAP = make_map()
LABELS = MAP["label"], MAP["label_err"]
USER = {"pos0": 0.0, "vel0": 0.0, "ln_Omega0": -2.6, "e_params": {}, "label_params": {"a": 1.0}}


@pytest.fixture(scope="module")
def t(tmp_path_factory):
    """A map, models, a fit with draws, and a folder with a file and a pipe."""
    model, bounds, start = SPLINE.auto_init(MAP, **KNOTS)
    fit = oti.fit_map(MAP, model="spline", **KNOTS)
    folder = tmp_path_factory.mktemp("doors")
    (folder / "file").write_text("x")
    os.mkfifo(folder / "pipe")
    return SimpleNamespace(
        model=model,
        bounds=bounds,
        start=start,
        fit=fit,
        drawn=fit.laplace(num_draws=40),
        user=oti.TorusImaging1D(line, {}),
        layered=LayeredDensity(solar_layers()),
        folder=folder,
    )


def marked(mark):
    """The map with a mark of a missing value in every tenth label."""
    return np.where(np.arange(MAP["label"].size) % 10 == 0, mark, MAP["label"])


def potential(**change):
    return POTENTIAL.auto_init(MAP, **change)


def spline(**change):
    return SPLINE.auto_init(MAP, **(KNOTS | change))


def optimize(t, **change):
    return t.model.optimize(t.start, **({"bounds": t.bounds} | MAP | change))


def label_of(t, **change):
    return t.model.get_label(0 * u.kpc, 0 * KPC_MYR, t.start | change)


# What is called, and words of the sentence that comes back.
DOORS = [
    # maps
    (lambda t: oti.fit_map(3), "the binned map must be a dictionary or a table, but int"),
    (lambda t: oti.fit_map(MAP, model="sline"), "model must be one of potential, spline"),
    (lambda t: oti.fit_map(MAP, model=[1]), r"model must be one of .* but \[1\] was given"),
    (lambda t: oti.fit_map(MAP, frame=3), "frame must be a Frame or the frame in words, but 3"),
    (lambda t: oti.fit_map(MAP, density_knot=3), "no 'density_knot'; did you mean 'density_knots'"),
    (lambda t: oti.fit_map(MAP, height=3.0), "must not hold 'height'"),
    (lambda t: oti.fit_map(MAP | {"pos_mean": MAP["pos"]}), "vel_mean is missing"),
    (lambda t: oti.fit_map(MAP | {"vel_mean": MAP["vel"]}), "pos_mean is missing"),
    (lambda t: spline_of(pos=MAP["pos"] + 100 * u.kpc), "pos of the map must hold or come near 0"),
    (lambda t: spline_of(vel=MAP["vel"] + 1 * KPC_MYR), "vel of the map must hold or come near 0"),
    (lambda t: spline_of(pos=MAP["pos"] * 1e200), "pos of the map reaches 1e.200"),
    (lambda t: spline_of(vel=MAP["vel"] * 1e200), "the speed of light: check its unit"),
    (lambda t: spline_of(pos=MAP["pos"] * 1e-200), "more than one pos and more than one vel"),
    (lambda t: spline_of(label=MAP["label"] * 1e200), "label of the map reaches"),
    (lambda t: spline_of(label_err=MAP["label_err"] * 1e200), "label_err of the map reaches"),
    (lambda t: spline_of(label_err=MAP["label_err"] * 1e-200), "label_err must be above 1e-100"),
    (lambda t: spline_of(label="abc"), "label of the map must be numbers, but 'abc'"),
    (lambda t: spline_of(label=MAP["label"] * 1j), "label of the map must be numbers"),
    (lambda t: spline_of(label=None), "must have equal length"),
    (lambda t: spline_of(label=np.full(225, -9999.0)), "at least two usable pixels"),
    (lambda t: poisson(t, np.full(225, 2.5)), "whole numbers of stars, but pixel 0 has 2.5"),
    (
        lambda t: spline_of(**in_two_orders()),
        r"must have one shape, but have: pos \(14, 15\), .*label \(15, 14\)",
    ),
    (lambda t: spline_of(**means_off(0.3 * u.kpc)), "pos_mean must lie inside the pixels .* frame"),
    (lambda t: spline_of(**means_off(1, slice(None, None, -1))), "pos_mean must lie inside the pi"),
    (lambda t: spline_of(label_err=MAP["label_err"] * u.mag), "label_err must have no unit, but m"),
    (
        lambda t: spline_of(label=MAP["label"] * u.Gyr),
        "label_err must have a unit like Gyr, but no",
    ),
    # models
    (lambda t: potential(units=42), "units must be a unit system .* but 42"),
    (lambda t: spline(units="kpc"), "units must be a unit system"),
    (lambda t: oti.TorusImaging1D(line, {}, units=u.kpc), "units must be a unit system"),
    (lambda t: spline(label_knots=None), "label_knots must be at least 2 knots"),
    (lambda t: spline(label_knots=True), "label_knots must be at least 2 knots"),
    (lambda t: spline(label_knots=1e200), "label_knots must be .* at most 100"),
    (lambda t: spline(label_knots=[1, [2, 3]]), "label_knots must be numbers"),
    (lambda t: spline(label_knots=[]), "label_knots must be a finite, strictly increasing"),
    (lambda t: spline(label_knots=[0.0, 0.3] * u.deg), "label_knots must have a unit like"),
    (lambda t: spline(e_knots=[8, 4]), r"e_knots must be a dictionary by order m, but \[8, 4\]"),
    (lambda t: spline(e_knots={True: 3}), "orders m of e_m must be integers .* True"),
    (lambda t: spline(e_knots={2: "8"}), r"e_knots\[2\] must be at least 2 knots"),
    (lambda t: spline(e_signs=1), "e_signs must be a dictionary by order m, but 1"),
    (lambda t: spline(e_signs={2: "+"}), r"e_signs\[2\] must be \+1 or -1, but '\+'"),
    (lambda t: spline(e_signs={4: 1}), "e_signs must be for the orders 2 of e_knots, but has 4"),
    (lambda t: spline(e_l2_sigmas=1.0), "e_l2_sigmas must be a dictionary by order m"),
    (lambda t: spline(e_smooth_sigmas={2: [1, 2]}), r"e_smooth_sigmas\[2\] must be positive"),
    (lambda t: spline(label_l2_sigma="1"), "label_l2_sigma must be positive, but '1'"),
    (lambda t: spline(label_l2_sigma=1 * u.dex), "label_l2_sigma must be positive, but <Quantity"),
    (lambda t: spline(dacc_strength=np.nan), "dacc_strength must be a number of at least 0"),
    (lambda t: spline(amplitude_sigma="1"), "amplitude_sigma must be positive or None, but '1'"),
    (lambda t: spline(prior=["default"]), "prior must be one of default"),
    (lambda t: spline(convention=None), "convention must be one of pv, vp"),
    (lambda t: spline(references={"lable": 1.0}), "no 'lable'; did you mean 'label'"),
    (
        lambda t: spline(references={2: [1.0, 2.0]}),
        r"references\[2\] must be a finite number",
    ),
    (lambda t: spline(e_knots_spacing_power=0), "spacing power of .* must be a number from 0.05"),
    (lambda t: spline(re_max_factor=np.inf), "re_max_factor must be a number from 0.01"),
    (lambda t: spline(knots="all"), 'knots must be None or "auto"'),
    (lambda t: SPLINE([0.0, 1.0], 3), "e_knots must be a dictionary by order m"),
    (lambda t: SPLINE("ab", {}), "label_knots must be numbers, but 'ab'"),
    (lambda t: potential(density_options=3), "density_options must be a dictionary, but 3"),
    (lambda t: potential(density_options={"asymmetric": True}), "must not hold 'asymmetric'"),
    (lambda t: potential(density_options={"knots": [0, 1]}), "must not hold 'knots'"),
    (lambda t: potential(density="solar", density_options={"layers": ()}), "not hold 'layers'"),
    (lambda t: potential(density_options={1: 2}), "density_options has no 1"),
    (lambda t: potential(density=even, density_options={"smooth_sigma": 1}), "but density is a fu"),
    (lambda t: potential(density_params={"a": (1.0, 1.0)}), "density_params are of a density"),
    (lambda t: potential(density=even, density_params=3), "density_params must be a dictionary"),
    (lambda t: potential(density=even, density_params={"a": "ab"}), r"\['a'\] must be a pair"),
    (lambda t: potential(asymmetric="no"), "asymmetric must be True or False, but 'no'"),
    (lambda t: potential(label_sign="up"), r"label_sign must be \+1 or -1, but 'up'"),
    (lambda t: potential(label_reference=1e200), "label_reference must be finite"),
    (lambda t: potential(label_monotone=2), "label_monotone must be True or False"),
    (lambda t: POTENTIAL([0, 1], "free", 1.0, 2.0), "density must be a SmoothDensity"),
    (lambda t: POTENTIAL([0, 1], t.layered, 1 * u.s, 2.0), "height must have a unit like kpc"),
    (lambda t: POTENTIAL([0, 1], t.layered, 1.0, None), "top must be at least height"),
    (lambda t: FreeDensity([0, 1], "a"), "reference must be numbers"),
    (lambda t: FreeDensity([0, 1], [1, 2, 3]), "reference must be one number or one for each of 2"),
    (lambda t: FreeDensity([0, 1], 18.0, step_sigma=None), "step_sigma must be positive"),
    (lambda t: UserDensity(even, None, 1.0), "must name the arguments of the density"),
    (lambda t: UserDensity(even, {"a": (1.0, 1.0)}, "1"), "height must be positive, but '1'"),
    (lambda t: Layer("a", ["sech2"], RHO, 0.1), "the kind of layer 'a' must be one of sech2"),
    (lambda t: Layer(3, "sech2", RHO, 0.1), "the name of a layer must be letters"),
    (lambda t: Layer("a", "sech2", RHO, [0.1, 0.2]), "rho_sigma of layer 'a' must be positive"),
    (lambda t: Layer("a", "sech2", RHO, 0.1, dark=1), "dark of layer 'a' must be True or False"),
    (lambda t: LayeredDensity(3), "a sequence of Layer .* but 3 was given"),
    (lambda t: LayeredDensity(solar_layers(), asymmetry_sigma=0), "asymmetry_sigma must be positi"),
    (lambda t: oti.TorusImaging1D(3, {}), "label_func must be a function, but 3"),
    (lambda t: oti.TorusImaging1D(line, {2: 3}), r"e_funcs\[2\] must be a function, but 3"),
    (lambda t: oti.TorusImaging1D(line, [line]), "e_funcs must be a dictionary by order m"),
    (lambda t: oti.TorusImaging1D(line, {}, 3), "regularization_func must be a function"),
    (lambda t: oti.TorusImaging1D(line, {}, r_e_max=None), "r_e_max must be positive"),
    # priors
    (lambda t: spline(priors=[1]), "priors must be a dictionary by parameter"),
    (lambda t: spline(priors={"pos0": 3}), "must be a numpyro distribution, but 3"),
    (lambda t: t.model.with_priors({"pos0": weak(dist.Normal, 0.0, 0.0)}), "its scale is 0.0"),
    (lambda t: t.model.with_priors({"pos0": weak(dist.Normal, 0.0, np.nan)}), "its scale is nan"),
    (lambda t: t.model.with_priors({"pos0": weak(dist.Normal, np.nan, 1.0)}), "its loc is nan"),
    (lambda t: spline(priors={"pos0": weak(dist.Uniform, 1.0, 0.0)}), "must have low < high"),
    (lambda t: at_priors(vel0=dist.Normal(7.0, 2.0)), r"\['vel0'\] is in kpc/Myr and has its mean"),
    (lambda t: at_priors(pos0=dist.Normal(20.0, 5.0)), r"\['pos0'\] is in kpc and has its mean"),
    # parameters and verbs
    (lambda t: label_of(t, pos0="0.1"), "pos0 must be numbers, but '0.1'"),
    (lambda t: label_of(t, pos0=None), "pos0 is nan"),
    (lambda t: label_of(t, e_params=3), "e_params of params must be a dictionary, but 3"),
    (lambda t: t.model.get_label(0 * u.kpc, 0 * KPC_MYR, 3), "params must be a dictionary"),
    (
        lambda t: label_of(t, e_params={"2": t.start["e_params"][2]}),
        "e_params of params must be by order m, an integer, but has '2'",
    ),
    (lambda t: user_label(t, pos0=[1.0, 2.0]), r"pos0 in params must be one number, but has shape"),
    (lambda t: user_label(t, ln_Omega0={}), "ln_Omega0 in params must be one number"),
    (lambda t: own_label(lambda r: np.tanh(np.asarray(r))), "radii, but calling it failed: Tracer"),
    (lambda t: own_label(lambda r: "x"), "label_func must return one real number for each of 5"),
    (lambda t: own_label(lambda r: r[:2]), r"each of 5 radii, but returned .* of shape \(2,\)"),
    (
        lambda t: own_label(lambda r: r, {2: lambda r: 0.1 + r}),
        r"e_funcs\[2\] must be 0 at r_e = 0",
    ),
    (lambda t: user_label(t, label_params={}), "label_params must hold the arguments .* 'a'"),
    (lambda t: user_label(t, e_params={2: {}}), "e_params must be of the orders .* but has 2"),
    (lambda t: t.model.get_acceleration(1.0, t.start), "pos has no unit"),
    (lambda t: t.model.get_density(1 * u.s, t.start), "pos must have a unit like kpc"),
    (lambda t: t.model.get_surface_density(-1 * u.kpc, t.start), "height must not be negative"),
    (
        lambda t: t.model.compute_elliptical([1, 2] * u.kpc, [1, 2, 3] * KPC_MYR, t.start),
        "equal",
    ),
    (lambda t: t.model.compute_action_angle(1 * u.kpc, 3, t.start), "vel has no unit"),
    (lambda t: t.model.eval_label(-1.0, t.start), "r must not be negative, but -1"),
    (lambda t: t.model.get_es("a", t.start), "r_e must be numbers, but 'a'"),
    (lambda t: t.model.check_e_funcs(t.start, r_e_max=0), "r_e_max must be positive"),
    (lambda t: t.model.check_e_funcs(3), "params must be a dictionary"),
    (lambda t: t.model.smoothed("a"), "factor must be positive"),
    (lambda t: optimize(t, max_steps=0), "max_steps must be a whole number from 1"),
    (lambda t: optimize(t, max_steps=2.0), "max_steps must be a whole number from 1"),
    (lambda t: optimize(t, max_steps=True), "max_steps must be a whole number from 1"),
    (lambda t: optimize(t, label_er=MAP["label_err"]), "'label_er'; did you mean 'label_err'"),
    (lambda t: optimize(t, max_step=3), "'max_step'; did you mean 'max_steps'"),
    (lambda t: optimize(t, objective=["gaussian"]), "objective must be one of gaussian, poisson"),
    (lambda t: optimize(t, bounds=3), "bounds must be a dictionary of pairs"),
    (lambda t: optimize(t, bounds=({},)), "bounds must be two dictionaries or one"),
    (lambda t: optimize(t, bounds={"pos0": ("a", "b")}), "pos0 must be numbers"),
    (lambda t: optimize(t, bounds={"posi": (0, 1)}), "'posi'; did you mean 'pos0'"),
    (lambda t: t.model.ln_gaussian_likelihood(t.start, **MAP, posmean=1), "mean 'pos_mean'"),
    (lambda t: t.model.objective_gaussian(t.start, **MAP, velmean=1), "mean 'vel_mean'"),
    (lambda t: t.model.get_crlb(t.start, MAP, objective="l2"), "objective must be one of"),
    (lambda t: t.model.get_crlb(t.start, MAP, inv="no"), "inv must be True or False, but 'no'"),
    (
        lambda t: t.model.get_crlb_error_samples(t.start, MAP, list_of_samples=1),
        "list_of_samples must be True or False",
    ),
    (lambda t: optimize(t, throw="no"), "throw must be True or False, but 'no'"),
    (lambda t: t.model.get_crlb(t.start, 3), "the binned map must be a dictionary"),
    (lambda t: t.model.get_crlb_error_samples(t.start, MAP, size=0), "size must be a whole number"),
    (lambda t: t.model.draw_prior(t.start, t.bounds, 1e3), "size must be a whole number"),
    (
        lambda t: t.model.draw_prior(t.start, t.bounds, 3, seed=-1),
        "the seed must be a whole number",
    ),
    (lambda t: t.model.mcmc_run_label(MAP, t.start, num_steps=True), "num_steps must be a whole"),
    (lambda t: t.model.laplace_run_label(MAP, t.start, num_draws=3), "num_draws must be a whole"),
    # fits
    (lambda t: t.fit.sample(num_step=3), "sample has no 'num_step'; did you mean 'num_steps'"),
    (lambda t: t.fit.sample(bdata=MAP), "must not hold 'bdata'"),
    (lambda t: t.fit.sample(num_chains=1e200), "num_chains must be a whole number from 1 to 1000"),
    (lambda t: t.fit.sample(progress="yes"), "progress must be True or False, but 'yes'"),
    (lambda t: t.fit.sample(resume="yes"), "resume must be True or False"),
    (lambda t: t.fit.sample(checkpoint=3), "checkpoint must be the name of a file, but 3"),
    (
        lambda t: t.fit.sample(checkpoint=t.folder / "file"),
        "must be a folder, but .*file",
    ),
    (lambda t: t.fit.sample(checkpoint="/proc/none"), "checkpoint /proc/none cannot be written"),
    (lambda t: t.fit.sample(checkpoint=t.folder / "file" / "run"), "cannot be written: Not a dir"),
    (lambda t: t.fit.laplace(num_draws="9"), "num_draws must be a whole number"),
    (lambda t: t.fit.save(None), "path must be the name of a file, but None"),
    (lambda t: t.fit.save(t.folder), "it is a folder"),
    (lambda t: oti.load(b"fit.nc"), "path must be the name of a file"),
    (lambda t: oti.load(t.folder), "is a folder, not a result file"),
    (lambda t: oti.load(t.folder / "pipe"), "is not a regular file"),
    (lambda t: t.fit.draws(0), "most must be a whole number of at least 1"),
    (
        lambda t: oti.plot.plot_prior_predictive(t.fit, None),
        "draws must be a whole number of at least 1",
    ),
    (lambda t: t.drawn.samples[1.5], "indexed by a number, a slice or a name, but 1.5"),
    (lambda t: t.drawn.samples["posi"], "samples have no parameter 'posi'"),
    (lambda t: oti.profiles(3), "fit must be a Fit or a pair"),
    (lambda t: oti.profiles((t.model, 3)), "samples must be a sequence of parameter dictionaries"),
    (lambda t: oti.profiles((t.model, [3])), "params must be a dictionary"),
    (lambda t: oti.profiles(t.fit, [0.1]), "z has no unit"),
    (lambda t: oti.profiles(t.fit, literature="no"), "literature must be True or False"),
    (lambda t: oti.compare_models([3]), r"fits\[0\] must be a Fit, but is a int"),
    (lambda t: oti.compare_models({1: t.fit, "1": t.fit}), "fits must have names of their own"),
    (
        lambda t: oti.profiles(t.fit, [[0.1, 0.2]] * u.kpc),
        r"one row of finite heights, but \[\[0.1",
    ),
    (lambda t: save_settings(t, {"a": object()}), "settings of the fit must be a dictionary of"),
    (lambda t: oti.report.write_report(3, t.folder / "r", MAP), "fit must be a Fit, but 3"),
    (lambda t: oti.report.write_report(t.fit, 3, MAP), "folder must be the name of a file, but 3"),
    (lambda t: oti.report.write_report(t.fit, t.folder / "r", {}), "the binned map must have pos"),
    (lambda t: oti.compare_models([t.fit], seed="a"), "the seed must be a whole number"),
    (lambda t: oti.check_goodness(3), "fit must be a Fit, but int"),
    (lambda t: oti.check_goodness(t.fit, shape=[1]), "shape must be one of constant, radius"),
    (lambda t: oti.check_consistency(3), "needs a model with its params, or a Fit"),
    (lambda t: oti.check_consistency(t.model, 3), "params must be a dictionary"),
    (lambda t: oti.calibrate(3), "fit must be a Fit, as fit_map returns, but 3"),
    (lambda t: oti.calibrate(t.fit, 10.0), "simulations must be a whole number from 10"),
    (lambda t: oti.calibrate(t.fit, sampler=["nuts"]), "sampler must be one of nuts"),
    (lambda t: oti.calibrate(t.fit, progress=3), "progress must be True or False, but 3"),
    (lambda t: oti.calibrate(t.fit, checkpoint=3), "checkpoint must be the name of a file"),
    (lambda t: oti.Calibration.load(t.folder), "is a folder, not a calibration"),
    # figures
    (lambda t: oti.plot.plot_data_models_residual(3, t.model, t.start), "the binned map must be"),
    (lambda t: oti.plot.plot_data_models_residual(MAP, 3, t.start), "model must be a model of orb"),
    (lambda t: oti.plot.plot_data_models_residual(MAP, t.model, 3), "params_fit must be a dictio"),
    (lambda t: residual_map(t, vlim_residual="5"), "vlim_residual must be a number > 0, but '5'"),
    (lambda t: residual_map(t, smooth_residual="1"), "smooth_residual must be a number of pixels"),
    (lambda t: residual_map(t, residual_normalization="a"), "residual_normalization must be numbe"),
    (lambda t: acceleration(t, samples=3), "samples must be a sequence of parameter dictionaries"),
    (lambda t: acceleration(t, samples=[3]), "params must be a dictionary"),
    (lambda t: acceleration(t, truth=(seconds, even)), "what truth returns must have a unit like"),
    (lambda t: oti.plot.plot_profiles(t.fit.profiles(), others=[3]), "others must be a dictionary"),
    (lambda t: oti.plot.plot_counts_label(3), "the binned map must be a dictionary"),
    (lambda t: oti.plot.plot_spline_functions(t.model, 3), "params must be a dictionary"),
    (lambda t: oti.plot.plot_spline_functions(3, t.start), "model must be a model of orbits"),
    (lambda t: oti.plot.plot_acceleration_density(t.model, 3), "params must be a dictionary"),
    (
        lambda t: oti.plot.plot_acceleration_density(t.model, t.start, n_draws="a"),
        "n_draws must be",
    ),
    (lambda t: oti.plot.plot_actions(3, {}), "table must be a dictionary or a table"),
    (lambda t: oti.plot.plot_actions({}, {}, names=3), "names must be a list of names, but 3"),
    (lambda t: oti.plot.plot_places(3), "places must be Galactocentric coordinates, not 3"),
    (lambda t: oti.plot.plot_cov_corner("a"), "cov must be numbers, but 'a'"),
    (lambda t: oti.plot.plot_cov_corner(np.eye(2), labels="ab"), "labels must be a list of names"),
    (lambda t: oti.plot.plot_cov_ellipse(np.eye(2), mean=["a", 1]), "mean must be numbers"),
    (lambda t: oti.plot.plot_cov_ellipse(np.eye(2), n_sigma=None), "n_sigma must be numbers"),
    (lambda t: oti.plot.plot_corner(t.fit), "the fit has no draws to show"),
    (lambda t: oti.plot.plot_corner(t.drawn, 3), "parameters must be a list of names, but 3"),
    (lambda t: oti.plot.plot_trace(3), "fit must be a Fit, but int"),
    (lambda t: oti.plot.plot_posterior_predictive(t.drawn, "9"), "draws must be a whole number"),
    (lambda t: oti.plot.plot_profiles(3), "must be one that profiles"),
    (lambda t: oti.plot.plot_goodness(3), "must be what check_goodness returned"),
    (lambda t: oti.plot.plot_consistency(3), "must be what check_consistency returned"),
    (lambda t: oti.plot.plot_calibration(3), "must be"),
]


def in_two_orders():
    """The map as a grid whose labels are of one row more and one column less."""
    grid = {name: x[:210].reshape(14, 15) for name, x in MAP.items()}
    return grid | {"label": grid["label"].reshape(15, 14)}


def means_off(by, order=slice(None)):
    """Mean places of other pixels, or in another frame."""
    off = by if isinstance(by, u.Quantity) else 0 * u.kpc
    return {"pos_mean": MAP["pos"][order] + off, "vel_mean": MAP["vel"][order]}


def save_settings(t, settings):
    dataclasses.replace(t.fit, settings=settings).save(t.folder / "fit.nc")


def acceleration(t, **change):
    return oti.plot.plot_acceleration_density(t.model, t.start, **change)


def seconds(z):
    return z * u.s


def spline_of(**change):
    return SPLINE.auto_init(MAP | change, **KNOTS)


def poisson(t, counts):
    return t.model.objective_poisson(t.start, MAP["pos"], MAP["vel"], counts)


def at_priors(**priors):
    return oti.fit_map(MAP, model="spline", priors=priors, **KNOTS)


def weak(kind, *args):
    """A distribution that numpyro has not looked at."""
    return kind(*args, validate_args=False)


def own_label(label, e_funcs=None):
    """The label of a user's own functions without arguments."""
    params = USER | {"label_params": {}, "e_params": {m: {} for m in e_funcs or {}}}
    model = oti.TorusImaging1D(label, e_funcs or {})
    return model.get_label([0.1, 0.2] * u.kpc, [0, 0] * KPC_MYR, params)


def user_label(t, **change):
    return t.user.get_label(0 * u.kpc, 0 * KPC_MYR, USER | change)


def residual_map(t, **options):
    figure, _ = oti.plot.plot_data_models_residual(MAP, t.model, t.start, **options)
    plt.close(figure)


@pytest.mark.parametrize(("door", "words"), DOORS, ids=[words for _, words in DOORS])
def test_a_bad_argument_is_named(t, door, words):
    with pytest.raises((ValueError, OSError, RuntimeError), match=words) as caught:
        door(t)
    assert is_a_sentence(caught.value)


def is_a_sentence(error):
    """One line, of the documented kinds, that ends as a sentence does."""
    text = str(error)
    kinds = isinstance(error, ValueError | OSError | RuntimeError)
    return kinds and "\n" not in text and text[-1] in ".?" and len(text) < 600


MARKS = [-9999.0, -9999.99, -999.0, np.float32(-9999.99).item(), 999999.0]


@pytest.mark.parametrize("mark", MARKS)
def test_marks_of_a_missing_label_are_no_labels(mark):
    label = marked(mark)
    # What has no label may have a mark for its error, too.
    error = np.where(np.abs(label) > 9, -abs(mark), MAP["label_err"])
    read = pixels.read_map(MAP | {"label": label, "label_err": error})
    assert read.label.size == np.sum(np.abs(label) < 9)
    assert np.array_equal(read.label, MAP["label"][np.abs(label) < 9])


def test_marks_of_a_missing_place_are_no_places():
    far = np.arange(MAP["pos"].size) == 7
    for unit in (u.kpc, u.pc):
        pos = np.where(far, -9999.0, MAP["pos"].to_value(unit)) * unit
        assert pixels.read_map(MAP | {"pos": pos}).pos.size == far.size - 1


def test_a_label_that_takes_the_values_of_marks_keeps_them():
    """Angular momenta of -999 among others like it are measurements."""
    label = np.linspace(-2000.0, 100.0, 225)
    label[100], label[7] = -999.0, -9999.0
    read = np.asarray(pixels.read_map(MAP | {"label": label}).label)
    assert -999.0 in read and -9999.0 not in read and read.size == 224


def test_pixels_without_a_mean_place_are_left_out_everywhere():
    known = np.arange(MAP["label"].size) % 9 > 0
    means = {
        "pos_mean": np.where(known, MAP["pos"].value, np.nan) * u.kpc,
        "vel_mean": MAP["vel"],
    }
    fit = oti.fit_map(MAP | means, model="spline", **KNOTS)
    assert {x.size for x in fit.data.values()} == {known.sum()}
    assert np.array_equal(fit.data["pos"], fit.data["pos_mean"])


@pytest.mark.parametrize(
    ("label", "error", "factors"),
    [
        (u.dex, None, (1, 1)),
        (None, u.dex, (1, 1)),
        (None, u.percent, (1, 0.01)),
        (u.percent, None, (1, 100)),
        (u.km / u.s, u.m / u.s, (1, 0.001)),
    ],
)
def test_errors_are_in_the_unit_of_their_labels(label, error, factors):
    """1 % beside a label without a unit is 0.01."""
    given = [
        x if unit is None else x * unit for x, unit in zip(LABELS, (label, error), strict=True)
    ]
    read = pixels.read_map(MAP | dict(zip(("label", "label_err"), given, strict=True)))
    for x, plain, factor in zip((read.label, read.label_err), LABELS, factors, strict=True):
        assert np.allclose(x, factor * plain, rtol=1e-14)


def test_grids_and_lists_of_one_order_are_one_map():
    columns = {"pos": MAP["pos"].reshape(15, 15), "vel": MAP["vel"][:, None]}
    read, plain = pixels.read_map(MAP | columns), pixels.read_map(MAP)
    assert np.array_equal(read.pos, plain.pos) and np.array_equal(read.vel, plain.vel)


def test_mean_places_inside_their_pixels_are_taken():
    """Also in pixels of no grid, and where a part of the map is missing."""
    rng = np.random.default_rng(0)
    pos, vel = rng.uniform(-1, 1, 225) * u.kpc, rng.uniform(-0.06, 0.06, 225) * KPC_MYR
    places = {"pos": pos, "vel": vel, "pos_mean": pos + 0.03 * u.kpc, "vel_mean": vel}
    assert np.array_equal(pixels.read_map(MAP | places).pos, places["pos_mean"].value)
    part = {name: x[np.abs(pos.value) > 0.6] for name, x in (MAP | places).items()}
    assert pixels.read_map(part).pos.size > 50


def test_pixels_that_are_there_twice_are_a_problem(t):
    twice = {name: np.concatenate([x, x[:100]]) for name, x in MAP.items()}
    fit = dataclasses.replace(t.fit, data=twice)
    assert "100 pixels are copies of others" in " ".join(fit.problems)
    assert "copies" not in " ".join(t.fit.problems)


def test_more_steps_may_be_asked_for_where_a_fit_wants_them():
    with pytest.raises(RuntimeError, match="allow more of them .max_steps."):
        oti.fit_map(MAP, model="spline", max_steps=1, **KNOTS)


def test_a_label_of_one_number_is_that_of_every_point():
    assert np.array_equal(own_label(lambda r: 3.0), [3.0, 3.0])


def test_one_draw_tells_nothing_of_a_chain():
    assert np.isnan(energy_fraction(np.ones((3, 1)))).tolist() == [True] * 3


def test_figures_take_tables_and_leave_out_marks(t):
    table = QTable(MAP | {"label": marked(-9999.0), "counts": np.full(225, 7)})
    for figure, axes in (
        oti.plot.plot_counts_label(table),
        oti.plot.plot_data_models_residual(table, t.model, t.start),
    ):
        low = min(mesh.norm.vmin for ax in axes for mesh in ax.collections)
        assert low > -1000
        plt.close(figure)
    plain = Table(t.fit.profiles())
    plt.close(oti.plot.plot_profiles(plain, others={"same": plain})[0])


def test_one_side_of_a_disc_is_a_map():
    above = MAP["pos"].value > 0.2
    model, _, _ = spline_of(**{name: x[above] for name, x in MAP.items()})
    assert model.label_knots.size == 4


def test_units_have_no_effect_and_say_so():
    model = spline(units=[u.kpc, u.Myr])[0]
    with pytest.warns(UserWarning, match="a model's parameters are in kpc and Myr"):
        other = spline(units=[u.pc, u.yr])[0]
    assert np.array_equal(model.label_knots, other.label_knots)


def test_whole_numbers_and_orders_may_be_numpy_ones(t):
    model = SPLINE([0.0, 0.3], {np.int64(2): [0.0, 0.3]}, {np.int64(2): -1})
    assert model.orders == (2,) and type(model.orders[0]) is int and model.e_signs == (-1,)
    assert arguments.whole_number(np.int32(4), "n", 1) == 4
    assert len(t.drawn.draws(np.int64(10))) == 10


def test_lengths_of_the_potential_model_may_have_units(t):
    model = POTENTIAL([0.0, 1.0], t.layered, 1100 * u.pc, 2 * u.kpc)
    assert float(model.height) == pytest.approx(1.1)
    assert float(model.grid.top) == pytest.approx(2.0)


def test_a_prior_as_wide_as_none_is_a_problem():
    fit = at_priors(vel0=dist.Normal(0.0, 20.0))
    assert any("vel0 is 167 times as wide as the map" in text for text in fit.problems)


def test_reprs_are_short_and_do_not_run_the_model(t, monkeypatch):
    def run(*args, **kwargs):
        raise AssertionError("the model ran")

    for name in ("get_label", "foliation", "floats"):
        monkeypatch.setattr(SPLINE, name, run)
    empty = oti.Fit(t.model, {}, {}, {}, {}, None)
    assert repr(empty) == "Fit(TorusImaging1DSpline, 0 pixels, no draws)"
    assert repr(t.drawn) == "Fit(TorusImaging1DSpline, 225 pixels, 40 draws)"
    assert repr(t.model) == "TorusImaging1DSpline(default priors)"
    assert repr(t.drawn.samples) == "Samples(40 draws of 11 parameters)"
    assert repr(t.drawn.state).startswith("LaplaceState(40 draws: Normal approximation")
    text = t.drawn._repr_html_()
    assert "<td>pos0</td>" in text and "<td>kpc</td>" in text
    assert "225 pixels" in empty_frame(t)._repr_html_()


def empty_frame(t):
    fit = oti.Fit(t.model, MAP, {}, {}, {}, None, frame="<b>R0 & z</b>")
    assert "&lt;b&gt;R0 &amp; z&lt;/b&gt;" in fit._repr_html_()
    return fit


def test_numbers_of_steps_have_names():
    """Warm-up and steps stood in three orders."""
    fit = oti.Fit(None, MAP, {}, {}, {}, None)
    for call in (
        lambda: fit.sample(0, 100, 200),
        lambda: fit.laplace(0, 100),
        lambda: oti.calibrate(fit, 10, "laplace"),
    ):
        with pytest.raises(TypeError, match="positional argument"):
            call()


# -- anything at all ---------------------------------------------------------------------------

NUMBERS = [np.nan, np.inf, -np.inf, 1e200, -1e200, -1, 0, 1.5, 10**400, 1j, True]
OBJECTS = [None, "", "abc", "1", b"x", "\0", [], {}, (), [None], [1, [2, 3]], {"a": 1}, {1: {}}]
OBJECTS += [object(), len, np.zeros((2, 2, 2)), np.array(["a"]), QTable(), np.ma.masked]
QUANTITIES = [3 * u.deg, [1, np.nan] * u.kpc, 1e200 * u.kpc, [] * u.km / u.s, -1 * u.dex]
RUBBISH = st.one_of(
    st.sampled_from([*NUMBERS, *OBJECTS, *QUANTITIES]),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.floats(),
    st.integers(),
    st.lists(st.floats(), max_size=4),
    st.dictionaries(st.text(max_size=3), st.floats(), max_size=2),
)
FEW = settings(max_examples=60, derandomize=True, deadline=None, database=None)


def answers(call):
    """Whether a door works, or refuses in a sentence.  Any other error is the door's own fault."""
    try:
        call()
    except (ValueError, OSError, RuntimeError) as error:
        assert is_a_sentence(error), str(error)


def with_one(call, names, fixed=None):
    """Doors of a function, each of which takes rubbish for one argument."""
    return [
        pytest.param(lambda t, x, n=n: call(t, **((fixed or {}) | {n: x})), id=f"{n}-{i}")
        for i, n in enumerate(names)
    ]


LAYER = {"name": "a", "kind": "sech2", "rho": RHO, "rho_sigma": 0.1}
CHEAP = [
    *with_one(lambda t, **k: pixels.read_map(MAP | k), [*MAP, "pos_mean"]),
    *with_one(lambda t, x: pixels.read_map(x), ["x"]),
    *with_one(lambda t, counts: pixels.read_map(MAP | {"counts": counts}, "poisson"), ["counts"]),
    *with_one(lambda t, **k: Layer(**k), ["name", "kind", "rho", "height", "height_sigma"], LAYER),
    *with_one(
        lambda t, **k: FreeDensity(**k),
        ["knots", "reference", "asymmetric", "level_sigma", "step_sigma"],
        {"knots": [0.0, 1.0], "reference": 18.0},
    ),
    *with_one(
        lambda t, **k: UserDensity(**k),
        ["function", "params", "height", "asymmetric"],
        {"function": even, "params": {"a": (1e7, 1.0)}, "height": 1.0},
    ),
    *with_one(lambda t, layers: LayeredDensity(layers), ["layers"]),
    *with_one(
        lambda t, **k: SPLINE(**k),
        ["label_knots", "e_knots", "e_signs", "units", "label_sign", "convention", "prior"]
        + [
            "label_l2_sigma",
            "amplitude_sigma",
            "e_l2_sigmas",
            "dacc_strength",
            "references",
            "priors",
        ],
        {"label_knots": [0.0, 0.3], "e_knots": {2: [0.0, 0.3]}},
    ),
    *with_one(
        lambda t, **k: oti.TorusImaging1D(**k),
        ["label_func", "e_funcs", "regularization_func", "units", "r_e_max", "priors"],
        {"label_func": line, "e_funcs": {}},
    ),
    *with_one(
        lambda t, **k: POTENTIAL(**k),
        ["label_knots", "density", "height", "top", "label_sign", "label_reference"],
        {"label_knots": [0.0, 1.0], "density": None, "height": 1.0, "top": 2.0},
    ),
    *with_one(lambda t, **k: t.model.floats(t.start | k), ["pos0", "e_params", "label_params"]),
    *with_one(lambda t, **k: t.user.floats(USER | k), ["pos0", "e_params", "label_params"]),
    *with_one(lambda t, x: t.model.floats(x), ["x"]),
    *with_one(
        # Refused in the end for its bounds, so that nothing is fitted.
        lambda t, **k: optimize(t, **({"bounds": {"pos0": (2.0, 1.0)}} | k)),
        ["max_steps", "objective", "label", "pos"],
    ),
    *with_one(lambda t, x: make_bounds(Layout.of(t.start), t.start, x), ["x"]),
    *with_one(lambda t, x: t.fit.sample(num_steps=x, num_chains=0), ["x"]),
    *with_one(lambda t, **k: t.fit.sample(num_steps=0, **k), ["checkpoint", "progress", "seed"]),
    *with_one(lambda t, x: oti.profiles(x), ["x"]),
    *with_one(lambda t, x: oti.load(x), ["x"]),
    *with_one(lambda t, **k: oti.calibrate(t.fit, processes=0, **k), ["simulations", "sampler"]),
    *with_one(lambda t, x: oti.compare_models(x), ["x"]),
    *with_one(lambda t, x: oti.check_goodness(x), ["x"]),
    *with_one(lambda t, x: oti.check_consistency(t.model, x), ["x"]),
]


@pytest.mark.filterwarnings("ignore:units has no effect:UserWarning")
@pytest.mark.parametrize("door", CHEAP)
def test_a_door_works_or_says_why_not(t, door):
    FEW(given(RUBBISH)(lambda x: answers(lambda: door(t, x))))()
