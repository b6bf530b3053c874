"""How the field changes with Galactocentric radius: one more parameter of any model."""

from typing import Any

import astropy.units as u
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arguments import positive
from ..foliation.base import Foliation
from ..foliation.radial import RadialFoliation
from ..units import internal

NAME = "inv_h"
MEANING = "1/h (1/kpc): the field at R is exp(-(R - R0) / h) times that at R0"
# Centre and sd of the prior of 1/h (1/kpc): discs have scale lengths of 2 to 4 kpc.
CENTRE, SIGMA = 0.3, 0.3
LIMIT = 3.0  # 1/kpc, of either sign


class RadialChange(eqx.Module):
    """A field exp(-(R - R0) / h) times that at R0, with the parameter ``inv_h``, 1/h (1/kpc)."""

    R0: Float[Array, ""]

    def around(self, here: Foliation, params: dict) -> RadialFoliation:
        """The orbits at all radii, from those at R0."""
        return RadialFoliation.around(here, self.R0, jnp.asarray(params[NAME]))


def change_at(R0: Any) -> RadialChange | None:
    """The change about an R0 (kpc, or a length); none without one.

    Raises ``ValueError`` for an R0 that is not positive.
    """
    if R0 is None:
        return None
    return RadialChange(
        jnp.asarray(positive(internal(R0, u.kpc, "R0", allow_plain=True), "R0"), float)
    )


def parts(change: RadialChange | None) -> tuple[str, ...]:
    """The entries that it adds to a set of parameters."""
    return () if change is None else (NAME,)


def template(change: RadialChange | None) -> dict:
    """Its parameters at the centre of the prior."""
    return {} if change is None else {NAME: jnp.asarray(CENTRE)}


def prior_factors(change: RadialChange | None, params: dict) -> dict[str, Array]:
    """A normal distribution of 1/h."""
    return {} if change is None else {NAME: jnp.reshape((params[NAME] - CENTRE) / SIGMA, 1)}


def settings(change: RadialChange | None) -> dict[str, float]:
    """The entry of a model's settings that it adds."""
    return {} if change is None else {"R0": float(change.R0)}


def with_radial(model: Any, R0: float, bounds: dict, start: dict) -> tuple[Any, dict, dict]:
    """A model whose field changes with radius, and bounds and a start with 1/h."""
    model = eqx.tree_at(lambda m: m.radial, model, change_at(R0), is_leaf=lambda x: x is None)
    limits = np.float64(-LIMIT), np.float64(LIMIT)
    return model, bounds | {NAME: limits}, start | {NAME: np.float64(CENTRE)}
