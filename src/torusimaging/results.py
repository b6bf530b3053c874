"""A fit of a map: parameters, draws, derived quantities, and the one file that holds them."""

import json
import os
import platform
import tempfile
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import astropy.units as u
import jax
import numpy as np
import xarray as xr
from astropy.table import QTable

from .inference.optimize import OptimizeResult, OptimizeState
from .models import TorusImaging1DSpline
from .models.base import VELOCITY, read_map
from .models.samples import Samples, SampleState
from .priors import Layout, unpack_bounds

FORMAT = "torusimaging fit 1"
PACKAGES = ("orbital-torus-imaging", "jax", "blackjax", "optimistix", "numpy", "xarray")
UNITS = {"pos0": "kpc", "vel0": "kpc / Myr", "ln_Omega0": "ln(rad / Myr)"}


@dataclass(frozen=True)
class Fit:
    """What a fit of a binned map gave, and everything needed to go on from it.

    Attributes: ``model``, ``data`` (the usable pixels, with units), ``bounds``, ``params`` (the
    optimum), ``optimizer`` (its state), ``samples`` and ``state`` (None before sampling),
    ``frame`` (the frame of pos and vel, in words) and ``settings``.
    """

    model: TorusImaging1DSpline
    data: dict
    bounds: dict
    params: dict
    optimizer: OptimizeState
    samples: Samples | None = None
    state: SampleState | None = None
    frame: str = "not stated"
    settings: dict | None = None

    def sample(self, seed: int = 0, num_warmup: int = 500, num_steps: int = 1000, **options):
        """The same fit with posterior draws (see `TorusImaging1DSpline.mcmc_run_label`)."""
        state, samples = self.model.mcmc_run_label(
            self.data, self.params, self.bounds, seed, num_steps, num_warmup, **options
        )
        settings = {"seed": seed, "num_warmup": num_warmup, "num_steps": num_steps}
        return replace(
            self, samples=samples, state=state, settings=(self.settings or {}) | settings
        )

    @property
    def chi2_per_pixel(self) -> float:
        """Mean squared residual of the optimum in units of the pixels' errors."""
        fit = self.model.get_label(self.data["pos"], self.data["vel"], self.params)
        return float(np.mean(((self.data["label"] - fit) / self.data["label_err"]) ** 2))

    def draws(self, most: int = 500) -> list[dict]:
        """At most `most` posterior draws, evenly thinned; the optimum alone before sampling."""
        if self.samples is None:
            return [self.params]
        step = max(1, -(-len(self.samples) // most))
        return list(self.samples[::step])

    def summary(self) -> QTable:
        """Mean, sd and percentiles of every parameter with R-hat and effective sample sizes.

        Raises ``ValueError`` before sampling.
        """
        if self.samples is None or self.state is None:
            raise ValueError("the fit has no draws to summarise: call sample() first.")
        names = self.samples.names
        low, middle, high = np.percentile(self.samples.draws, [16, 50, 84], axis=0)
        return QTable(
            {
                "parameter": names,
                "unit": [UNITS.get(n, "") for n in names],
                "mean": self.samples.draws.mean(axis=0),
                "sd": self.samples.draws.std(axis=0, ddof=1),
                "p16": low,
                "median": middle,
                "p84": high,
                "rhat": [self.state.rhat[n] for n in names],
                "ess_bulk": [self.state.ess_bulk[n] for n in names],
                "ess_tail": [self.state.ess_tail[n] for n in names],
            }
        )

    def derived(self) -> QTable:
        """Centre, frequency, rho(0) and Sigma(1.1 kpc) with units: median, 16 and 84 percentile.

        rho(0) is the mean density within 50 pc of the plane's centre, from a_z at 50 pc: the
        density of a spline model at the centre itself is the slope of one segment.  Quantities
        that the knots do not reach are NaN.
        """
        rows = {name: [] for name in DERIVED}
        for params in self.draws():
            for name, (function, unit) in DERIVED.items():
                rows[name].append(function(self.model, params).to_value(unit))
        columns = [np.percentile(v, [50, 16, 84]) for v in rows.values()]
        return QTable(
            {
                "quantity": list(rows),
                "unit": [str(unit) for _, unit in DERIVED.values()],
                "median": [c[0] for c in columns],
                "p16": [c[1] for c in columns],
                "p84": [c[2] for c in columns],
            },
            meta={"frame": self.frame},
        )

    def save(self, path: str | os.PathLike) -> Path:
        """Write the fit to a netCDF file in the ArviZ layout; nothing half-written is left.

        Raises ``OSError`` where the folder cannot be written.
        """
        path = Path(path)
        handle, name = tempfile.mkstemp(suffix=".part", dir=path.parent)
        os.close(handle)
        try:
            _to_tree(self).to_netcdf(name, engine="h5netcdf")
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return path


def _density_of(model, params):
    return model.get_surface_density(0.05 * u.kpc, params) / (0.1 * u.kpc)


DERIVED = {
    "pos0": (lambda m, p: u.Quantity(float(p["pos0"]), u.kpc), u.pc),
    "vel0": (lambda m, p: u.Quantity(float(p["vel0"]), VELOCITY), u.km / u.s),
    "Omega0": (
        lambda m, p: u.Quantity(float(np.exp(p["ln_Omega0"])), u.rad / u.Myr),
        u.rad / u.Myr,
    ),
    "rho(0)": (_density_of, u.Msun / u.pc**3),
    "Sigma(1.1 kpc)": (
        lambda m, p: m.get_surface_density(1.1 * u.kpc, p),
        u.Msun / u.pc**2,
    ),
}


def fit_map(bdata: dict, frame: str = "not stated", **options) -> Fit:
    """Fit the spline model to a binned map: automatic start, then the optimum.

    `options` go to `TorusImaging1DSpline.auto_init`.  Raises as that and `optimize` do.
    """
    pixels = read_map(bdata)
    data = {
        "pos": np.asarray(pixels.pos) * u.kpc,
        "vel": np.asarray(pixels.vel) * VELOCITY,
        "label": np.asarray(pixels.label),
        "label_err": np.asarray(pixels.label_err),
    }
    model, bounds, start = TorusImaging1DSpline.auto_init(data, **options)
    result: OptimizeResult = model.optimize(start, bounds=bounds, **data)
    return Fit(model, data, bounds, result.params, result.state, frame=frame, settings={})


# -- the file --------------------------------------------------------------------------------


def _variables(layout: Layout, draws: np.ndarray) -> dict:
    """xarray variables of draws with shape (chain, draw, parameter), named by their leaves."""
    tree = layout.unflatten(draws)
    out = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = "_".join(str(key.key) for key in path)
        extra = (f"{name}_dim",) * (leaf.ndim - 2)
        out[name] = (("chain", "draw", *extra), np.asarray(leaf))
    return out


def _model_arrays(model: TorusImaging1DSpline) -> dict:
    arrays = {"label_knots": model.label_knots}
    arrays |= {f"e_knots_{m}": model.e_knots[m] for m in model.orders}
    return {k: ((f"{k}_dim",), np.asarray(v)) for k, v in arrays.items()}


def _model_settings(model: TorusImaging1DSpline) -> dict:
    return {
        "e_signs": dict(zip(model.orders, model.e_signs, strict=True)),
        "label_sign": model.label_sign,
        "convention": model.convention,
        "prior": model.prior,
        "label_l2_sigma": float(model.label_sigmas[0]),
        "label_smooth_sigma": float(model.label_sigmas[1]),
        "e_l2_sigmas": {m: float(s[0]) for m, s in model.e_sigmas.items()},
        "e_smooth_sigmas": {m: float(s[1]) for m, s in model.e_sigmas.items()},
        "dacc_strength": float(model.dacc_strength),
        "references": {"label": float(model.label_reference)}
        | {m: float(v) for m, v in model.e_references.items()},
    }


def _to_tree(fit: Fit) -> xr.DataTree:
    layout = Layout.of(fit.params)
    lower, upper = (np.asarray(layout.flatten(b)) for b in unpack_bounds(fit.bounds))
    optimum = np.asarray(layout.flatten(fit.params))
    attributes = {
        "format": FORMAT,
        "model": json.dumps(_model_settings(fit.model)),
        "optimizer": json.dumps(fit.optimizer._asdict()),
        "settings": json.dumps(fit.settings or {}),
        "frame": fit.frame,
        "versions": json.dumps(
            {"python": platform.python_version()} | {p: metadata.version(p) for p in PACKAGES}
        ),
    }
    groups = {
        "/": xr.Dataset(attrs=attributes),
        "/optimum": xr.Dataset(
            {
                k: (("parameter",), v)
                for k, v in (("value", optimum), ("lower", lower), ("upper", upper))
            },
            coords={"parameter": layout.names()},
        ),
        "/observed_data": xr.Dataset(
            {k: (("pixel",), fit.data[k]) for k in ("label", "label_err")}
        ),
        "/constant_data": xr.Dataset(
            {
                "pos": (("pixel",), fit.data["pos"].to_value(u.kpc), {"units": "kpc"}),
                "vel": (("pixel",), fit.data["vel"].to_value(VELOCITY), {"units": "kpc / Myr"}),
            }
            | _model_arrays(fit.model)
        ),
    }
    if fit.samples is not None and fit.state is not None:
        chains = fit.state.num_chains
        draws = fit.samples.draws.reshape(chains, -1, layout.size)
        state = fit.state._asdict()
        lp = state.pop("logdensity").reshape(chains, -1)
        state["e_bfmi"] = np.asarray(state["e_bfmi"]).tolist()
        groups["/posterior"] = xr.Dataset(_variables(layout, draws))
        groups["/sample_stats"] = xr.Dataset(
            {"lp": (("chain", "draw"), lp)}, attrs={"state": json.dumps(state)}
        )
    return xr.DataTree.from_dict(groups)


def load(path: str | os.PathLike) -> Fit:
    """Read a fit that `Fit.save` wrote.

    Raises ``FileNotFoundError`` for a missing file and ``ValueError`` for a file that is corrupt
    or was not written by this package.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no result file {path}.")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            tree = tree.load()
    except Exception as error:
        raise ValueError(f"{path} is no readable netCDF file ({type(error).__name__}).") from error
    if tree.attrs.get("format") != FORMAT:
        raise ValueError(f"{path} is no result file of this package (format {FORMAT!r}).")
    try:
        return _from_tree(tree)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is a damaged result file: {error} is missing.") from error


def _integers(tree: dict) -> dict:
    """JSON keys that are whole numbers back to the orders they were."""
    return {
        int(k) if k.isdigit() else k: _integers(v) if isinstance(v, dict) else v
        for k, v in tree.items()
    }


def _from_tree(tree: xr.DataTree) -> Fit:
    settings = _integers(json.loads(tree.attrs["model"]))
    constant = tree["constant_data"]
    orders = list(settings["e_signs"])
    label_knots = constant["label_knots"].values
    e_knots = {m: constant[f"e_knots_{m}"].values for m in orders}
    model = TorusImaging1DSpline(label_knots, e_knots, **settings)
    layout = Layout.of(
        {
            "pos0": 0.0,
            "vel0": 0.0,
            "ln_Omega0": 0.0,
            "e_params": {m: {"vals": np.zeros(len(e_knots[m]) - 1)} for m in orders},
            "label_params": {"label_vals": np.zeros(len(label_knots))},
        }
    )
    optimum = tree["optimum"]
    lower, upper = (layout.unflatten(optimum[k].values) for k in ("lower", "upper"))
    data = {
        "pos": constant["pos"].values * u.kpc,
        "vel": constant["vel"].values * VELOCITY,
        "label": tree["observed_data"]["label"].values,
        "label_err": tree["observed_data"]["label_err"].values,
    }
    samples = state = None
    if "posterior" in tree.children:
        samples, state = _read_samples(tree, layout)
    return Fit(
        model=model,
        data=data,
        bounds=jax.tree.map(lambda a, b: (a, b), lower, upper),
        params=layout.unflatten(optimum["value"].values),
        optimizer=OptimizeState(**json.loads(tree.attrs["optimizer"])),
        samples=samples,
        state=state,
        frame=tree.attrs["frame"],
        settings=json.loads(tree.attrs["settings"]),
    )


def _read_samples(tree: xr.DataTree, layout: Layout) -> tuple[Samples, SampleState]:
    posterior = tree["posterior"]
    shapes = jax.tree_util.tree_unflatten(layout.treedef, list(layout.shapes))
    paths = jax.tree_util.tree_flatten_with_path(shapes, is_leaf=lambda s: isinstance(s, tuple))[0]
    columns = []
    for path, _ in paths:
        values = posterior["_".join(str(key.key) for key in path)].values
        columns.append(values.reshape(values.shape[0] * values.shape[1], -1))
    stats = tree["sample_stats"]
    state = json.loads(stats.attrs["state"])
    state["e_bfmi"] = np.asarray(state["e_bfmi"])
    return (
        Samples(np.concatenate(columns, axis=1), layout),
        SampleState(logdensity=stats["lp"].values.ravel(), **state),
    )
