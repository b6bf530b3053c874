"""A user's own functions, tried out at the door."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray


def values_of(function: Callable, x: Array, arguments: dict, name: str, points: str) -> NDArray:
    """The values of ``function(x, **arguments)``, called `name`, at `points` x, of their shape.

    Raises ``ValueError`` for a function that JAX cannot follow, and for one that does not return
    a real number, or one for each point.
    """
    try:
        values = function(x, **arguments)
        real = jnp.issubdtype(getattr(values, "dtype", type(values)), jnp.floating)
        if real:
            jax.eval_shape(lambda x: function(x, **arguments), x)
    except Exception as error:
        text = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise ValueError(
            f"{name} must be a JAX function of an array of {points}, but calling it failed: "
            f"{type(error).__name__}: {text}."
        ) from None
    if not real or np.shape(values) not in ((), x.shape):
        raise ValueError(
            f"{name} must return one real number for each of {x.size} {points}, but returned "
            f"{type(values).__name__} of shape {np.shape(values)}."
        )
    return np.broadcast_to(np.asarray(values), x.shape)
