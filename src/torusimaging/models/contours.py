"""What the models of the Fourier family share: their parameters, and whether contours cross."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ..arguments import dictionary, is_whole_number, positive, shown

CONVENTIONS = ("pv", "vp")
MOST = 64  # the highest order m
PARTS = ("pos0", "vel0", "ln_Omega0", "e_params")


def by_order(entries: Any, name: str) -> dict:
    """The entries of a dictionary by order m; a ``ValueError`` for an m that is no order."""
    if not isinstance(entries, dict):
        raise ValueError(f"{name} must be a dictionary by order m, but {shown(entries)} was given.")
    for m in entries:
        if not is_whole_number(m) or not 1 <= m <= MOST:
            raise ValueError(
                f"the orders m of e_m must be integers of at least 1 and at most {MOST}, but "
                f"{shown(m)} was given in {name}."
            )
    return {int(m): entry for m, entry in entries.items()}


def check_e_funcs(self: Any, params: dict, r_e_max: float | None = None) -> tuple[bool, np.ndarray]:
    """Whether no contours cross inside `r_e_max` (internal units; default: the last knot).

    `params` is a full set of parameters or its ``e_params``.  Returns the verdict and dr/dr_e
    on a grid of (r_e, theta_e), shape (128, 65).
    """
    if "e_params" not in dictionary(params, "params"):
        params = {"pos0": 0.0, "vel0": 0.0, "ln_Omega0": 0.0, "e_params": params}
    params = self.floats(params, label=False)
    limit = self.r_e_max(params) if r_e_max is None else positive(r_e_max, "r_e_max")
    r_e = jnp.linspace(0.0, 1.0, 128)[:, None] * limit
    slope = self.foliation(params).distort_slope(r_e, jnp.linspace(0.0, jnp.pi, 65))
    return bool(jnp.all(slope > 0)), np.asarray(slope)
