"""The one netCDF file that holds a fit: an xarray DataTree in the ArviZ layout."""

import json
import os
import platform
import tempfile
from importlib import metadata
from pathlib import Path

import astropy.units as u
import jax
import numpy as np
import xarray as xr

from .inference.optimize import OptimizeState
from .models import TorusImaging1DSpline
from .models.pixels import VELOCITY
from .models.samples import Samples, SampleState
from .priors import Layout, unpack_bounds

FORMAT = "torusimaging fit 1"
PACKAGES = ("orbital-torus-imaging", "jax", "blackjax", "optimistix", "numpy", "xarray")


def write(fit, path: str | os.PathLike) -> Path:
    """Write the attributes of a fit; the file appears under its name only when complete."""
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(suffix=".part", dir=path.parent)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}.") from None
    os.close(handle)
    try:
        _to_tree(fit).to_netcdf(name, engine="h5netcdf")
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def read(path: str | os.PathLike) -> dict:
    """The attributes of a fit that `write` wrote, by name.

    Raises ``FileNotFoundError`` and ``ValueError`` as `torusimaging.load` says.
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
        | {m: np.asarray(v).tolist() for m, v in model.e_references.items()},
    }


def _to_tree(fit) -> xr.DataTree:
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
                for k, v in (
                    ("value", optimum),
                    ("start", np.asarray(layout.flatten(fit.start))),
                    ("lower", lower),
                    ("upper", upper),
                )
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


def _integers(tree: dict) -> dict:
    """JSON keys that are whole numbers back to the orders they were."""
    return {
        int(k) if k.isdigit() else k: _integers(v) if isinstance(v, dict) else v
        for k, v in tree.items()
    }


def _from_tree(tree: xr.DataTree) -> dict:
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
    return dict(
        model=model,
        data=data,
        bounds=jax.tree.map(lambda a, b: (a, b), lower, upper),
        start=layout.unflatten(optimum["start"].values),
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
