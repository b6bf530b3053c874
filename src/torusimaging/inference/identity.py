"""Digests of a run's inputs (data, model and bounds), by which checkpoints know it."""

import hashlib
import json
from importlib import metadata

import jax
import numpy as np

from ..likelihoods import GaussianPixels, Likelihood

PACKAGES = ("orbital-torus-imaging", "jax", "blackjax")


def digest(tree) -> str:
    """Twelve hexadecimal digits of the leaves, shapes and structure of a tree of arrays."""
    out = hashlib.sha256(repr(jax.tree.structure(tree)).encode())
    for leaf in jax.tree.leaves(tree):
        array = np.asarray(leaf)
        out.update(repr((array.shape, array.dtype.str)).encode())
        out.update(np.ascontiguousarray(array).tobytes())
    return out.hexdigest()[:12]


def data_digest(data: dict) -> str:
    """The digest of a map's columns, in their units."""
    return digest({name: getattr(x, "value", x) for name, x in data.items()})


def model_digest(model) -> str:
    """The digest of a model's arrays and, where it has them, of its settings."""
    try:
        settings = json.dumps(model.settings())
    except (AttributeError, TypeError, ValueError):
        settings = ""  # Models of a user's own functions have no settings on file.
    return digest((jax.tree.leaves(model), settings))


def likelihood_note(kind: type[Likelihood]) -> dict[str, str]:
    """What is written of a likelihood; nothing of the usual one, as before there were others."""
    return {} if kind is GaussianPixels else {"likelihood": kind.__name__}


def identity_of(model, likelihood, bounds, settings: dict) -> dict:
    """Settings, digests of data, model and bounds, and the versions that decide the draws."""
    return (
        settings
        | likelihood_note(type(likelihood))
        | {
            "data": digest(tuple(jax.tree.leaves(likelihood))),
            "model": f"{type(model).__name__} {model_digest(model)}",
            "bounds": digest(bounds),
            "versions": {name: metadata.version(name) for name in PACKAGES},
        }
    )
