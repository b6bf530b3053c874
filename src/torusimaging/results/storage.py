"""The one netCDF file that holds a fit: an xarray DataTree in the ArviZ layout."""

import hashlib
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import astropy.units as u
import h5py
import jax
import numpy as np
import xarray as xr

from ..arguments import dictionary, shown
from ..data.pixels import MEANS, PARTS, VELOCITY
from ..data.stars import Stars
from ..files.paths import as_path, existing_file
from ..files.writing import in_use, write_complete
from ..inference.draws import LaplaceState, Samples, SampleState
from ..inference.identity import data_digest
from ..inference.optimize import OptimizeState
from ..likelihoods import LIKELIHOODS, Likelihood
from ..models.registry import MODELS
from ..parameters import Layout, unpack_bounds
from ..units import stated_unit, unit_words

FORMAT = "torusimaging fit 2"
PACKAGES = ("orbital-torus-imaging", "jax", "blackjax", "optimistix", "numpy", "xarray")


def write(fit, path: str | os.PathLike) -> Path:
    """Write the attributes of a fit; the file appears under its name only when complete."""
    path = as_path(path)
    tree = _to_tree(fit)
    tree.attrs["digest"] = _digest(tree)
    with in_use(path):
        return write_complete(path, lambda name: tree.to_netcdf(name, engine="h5netcdf"))


def read(path: str | os.PathLike) -> dict:
    """The attributes of a fit that `write` wrote, by name.

    Raises ``FileNotFoundError`` and ``ValueError`` as `torusimaging.load` says.
    """
    path = existing_file(path, "result file")
    try:
        # h5netcdf leaves half an object, and a traceback at its end, of what this refuses.
        h5py.File(path, "r").close()
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            tree = tree.load()
    except Exception as error:
        raise ValueError(f"{path} is no readable netCDF file ({type(error).__name__}).") from error
    if tree.attrs.get("format") != FORMAT:
        raise ValueError(f"{path} is no result file of this package (format {FORMAT!r}).")
    if tree.attrs.get("digest") != _digest(tree):
        raise ValueError(f"{path} is damaged or was edited: its contents differ from its digest.")
    try:
        return _from_tree(tree)
    except _Unknown as error:
        raise ValueError(f"{path} cannot be read here: {error}.") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} cannot be understood: {error}.") from error


def _digest(tree: xr.DataTree) -> str:
    """SHA-256 of all attributes and values, so that no damage goes unseen."""
    digest = hashlib.sha256()
    for node in sorted(tree.subtree, key=lambda n: n.path):
        own = {k: v for k, v in node.attrs.items() if k != "digest"}
        digest.update(repr((node.path, sorted(own.items()))).encode())
        data = node.to_dataset(inherit=False)
        for name in sorted(map(str, data.variables)):
            values = np.asarray(data[name].values)
            digest.update(repr((name, data[name].dims, values.shape)).encode())
            text = values.dtype.kind not in "iufb"
            digest.update(repr(values.tolist()).encode() if text else values.tobytes())
    return digest.hexdigest()


def _on_file(path: tuple) -> str:
    """The name of a leaf on file: a name such as [Fe/H] may not hold a slash there."""
    return "_".join(str(key.key) for key in path).replace("/", "|")


def _variables(layout: Layout, draws: np.ndarray) -> dict:
    """xarray variables of draws with shape (chain, draw, parameter), named by their leaves."""
    tree = layout.unflatten(draws)
    out = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = _on_file(path)
        extra = (f"{name}_dim",) * (leaf.ndim - 2)
        out[name] = (("chain", "draw", *extra), np.asarray(leaf))
    return out


def _model_text(model) -> str:
    """The model as JSON: its kind and the arguments that make it."""
    for kind, cls in MODELS.items():
        if type(model) is cls:
            return json.dumps({"kind": kind} | model.settings())
    # A model that is code says so itself.
    model.settings()
    raise ValueError(
        f"a {type(model).__name__} cannot be saved: it has no name in "
        "torusimaging.models.registry.MODELS."
    )


def _likelihood_name(kind: type[Likelihood]) -> str:
    """The name of a likelihood; a ``ValueError`` for one that has none."""
    for name, known in LIKELIHOODS.items():
        if kind is known:
            return name
    raise ValueError(f"the likelihood {kind.__name__} cannot be saved: it is code, not numbers.")


def _settings_text(settings: Any) -> str:
    """The settings as JSON; a ``ValueError`` for what that cannot hold."""
    try:
        return json.dumps(dictionary(settings, "settings of the fit"))
    except (TypeError, ValueError):
        raise ValueError(
            "settings of the fit must be a dictionary of numbers, texts and lists, but "
            f"{shown(settings)} was given."
        ) from None


def _to_tree(fit) -> xr.DataTree:
    layout = Layout.of(fit.params)
    lower, upper = (np.asarray(layout.flatten(b)) for b in unpack_bounds(fit.bounds))
    optimum = np.asarray(layout.flatten(fit.params))
    attributes = {
        "format": FORMAT,
        "model": _model_text(fit.model),
        "params": json.dumps(jax.tree.map(lambda x: list(np.shape(x)), fit.params)),
        "optimizer": json.dumps(fit.optimizer._asdict()),
        "settings": _settings_text(fit.settings),
        "frame": fit.frame,
        "label_unit": unit_words(fit.label_unit),
        "label_name": fit.label_name,
        "likelihood": _likelihood_name(fit.likelihood),
        "data_digest": data_digest(fit.data),
        "versions": json.dumps(
            {"python": platform.python_version()} | {p: metadata.version(p) for p in PACKAGES}
        ),
    }
    units = {} if fit.label_unit is None else {"units": unit_words(fit.label_unit)}
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
            {k: (("pixel",), fit.data[k], units) for k in ("label", "label_err")}
        ),
        "/constant_data": xr.Dataset(
            {
                "pos": (("pixel",), fit.data["pos"].to_value(u.kpc), {"units": "kpc"}),
                "vel": (("pixel",), fit.data["vel"].to_value(VELOCITY), {"units": "kpc / Myr"}),
            }
            | {
                name: (("pixel",), fit.data[name].to_value(unit), {"units": str(unit)})
                for name, unit in zip(MEANS, (u.kpc, VELOCITY), strict=True)
                if name in fit.data
            }
            | {name: (("pixel",), fit.data[name], units) for name in PARTS if name in fit.data}
        ),
    }
    if fit.stars is not None:
        columns, facts = fit.stars.state()
        groups["/stars"] = xr.Dataset(
            {k: (("star", "name")[: x.ndim], x) for k, x in columns.items()},
            coords={"name": facts["names"]},
            attrs={"facts": json.dumps(facts)},
        )
    if fit.samples is not None and fit.state is not None:
        chains = fit.state.num_chains
        draws = fit.samples.draws.reshape(chains, -1, layout.size)
        state = fit.state._asdict()
        lp = state.pop("logdensity").reshape(chains, -1)
        state |= {"kind": "NUTS" if isinstance(fit.state, SampleState) else "Laplace"}
        if "e_bfmi" in state:
            state["e_bfmi"] = np.asarray(state["e_bfmi"]).tolist()
        groups["/posterior"] = xr.Dataset(_variables(layout, draws))
        groups["/sample_stats"] = xr.Dataset(
            {"lp": (("chain", "draw"), lp)}, attrs={"state": json.dumps(state)}
        )
    return xr.DataTree.from_dict(groups)


def tree_with_derived(fit, derived: dict, z: np.ndarray, values: dict, units: dict) -> xr.DataTree:
    """The tree of a sampled fit with a group of what follows from its draws."""
    tree = _to_tree(fit)
    chains = fit.state.num_chains
    columns = {
        name: (("chain", "draw"), np.reshape(x, (chains, -1))) for name, x in derived.items()
    }
    for name, x in values.items():
        shape = (chains, -1, z.size)
        columns[name] = (("chain", "draw", "z"), np.reshape(x, shape), {"units": units[name]})
    found = xr.Dataset(columns, coords={"z": ("z", z, {"units": "kpc"})})
    tree["derived"] = xr.DataTree(found)
    return tree


def _integers(tree: dict) -> dict:
    """JSON keys that are whole numbers back to the orders they were."""
    return {
        int(k) if k.isdigit() else k: _integers(v) if isinstance(v, dict) else v
        for k, v in tree.items()
    }


class _Unknown(Exception):
    """A file asks for a class of the user's own that is not registered here."""


def _known(registry: dict, name: str, room: str) -> Any:
    if name not in registry:
        raise _Unknown(
            f"its kind {name!r} is not among those of {room} ({', '.join(registry)}): import the "
            f"module that adds it to torusimaging.{room}.registry.{room.upper()} first"
        )
    return registry[name]


def _from_tree(tree: xr.DataTree) -> dict:
    settings = _integers(json.loads(tree.attrs["model"]))
    model = _known(MODELS, settings.pop("kind"), "models").from_settings(settings)
    constant = tree["constant_data"]
    shapes = _integers(json.loads(tree.attrs["params"]))
    layout = Layout.of(jax.tree.map(np.zeros, shapes, is_leaf=lambda x: isinstance(x, list)))
    optimum = tree["optimum"]
    lower, upper = (layout.unflatten(optimum[k].values) for k in ("lower", "upper"))
    data = {
        "pos": constant["pos"].values * u.kpc,
        "vel": constant["vel"].values * VELOCITY,
        "label": tree["observed_data"]["label"].values,
        "label_err": tree["observed_data"]["label_err"].values,
    }
    for name, unit in zip(MEANS, (u.kpc, VELOCITY), strict=True):
        if name in constant:
            data[name] = constant[name].values * unit
    data |= {name: constant[name].values for name in PARTS if name in constant}
    samples = state = stars = None
    if "stars" in tree.children:
        own = tree["stars"]
        columns = {str(k): own[k].values for k in own.data_vars}
        stars = Stars.from_state(columns, json.loads(own.attrs["facts"]))
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
        label_unit=stated_unit(tree.attrs.get("label_unit", "")),
        label_name=tree.attrs.get("label_name", ""),
        stars=stars,
        likelihood=_known(LIKELIHOODS, tree.attrs.get("likelihood", "gaussian"), "likelihoods"),
    )


def _read_samples(tree: xr.DataTree, layout: Layout) -> tuple[Samples, SampleState | LaplaceState]:
    posterior = tree["posterior"]
    shapes = jax.tree_util.tree_unflatten(layout.treedef, list(layout.shapes))
    paths = jax.tree_util.tree_flatten_with_path(shapes, is_leaf=lambda s: isinstance(s, tuple))[0]
    columns = []
    for path, _ in paths:
        values = posterior[_on_file(path)].values
        columns.append(values.reshape(values.shape[0] * values.shape[1], -1))
    stats = tree["sample_stats"]
    state = json.loads(stats.attrs["state"])
    cls = SampleState if state.pop("kind") == "NUTS" else LaplaceState
    if "e_bfmi" in state:
        state["e_bfmi"] = np.asarray(state["e_bfmi"])
    return (
        Samples(np.concatenate(columns, axis=1), layout),
        cls(logdensity=stats["lp"].values.ravel(), **state),
    )
