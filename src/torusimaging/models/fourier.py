"""What the models of the Fourier family share."""

import abc

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..arguments import dictionary, positive
from ..foliation.fourier_orbits import orbits, tabulate
from ..foliation.tables import Orbits
from .base import OrbitModel


class FourierModel(OrbitModel):
    """A model whose orbits are distorted ellipses (abstract)."""

    @abc.abstractmethod
    def r_e_max(self, params: dict) -> Array:
        """The elliptical radius at which the model ends."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The entries that a set of parameters must have."""
        return ("pos0", "vel0", "ln_Omega0", "e_params")

    def reach(self, params: dict) -> Array:
        """The height (kpc) above the plane's centre up to which the model has values."""
        return self.r_e_max(params) / jnp.exp(0.5 * params["ln_Omega0"])

    def orbits(self, params: dict, pos: Array, vel: Array) -> Orbits:
        """Action-angle variables at plain positions and velocities, shape (n,)."""
        foliation = self.foliation(params)
        table = tabulate(foliation, self.r_e_max(params))
        return orbits(foliation, table, pos, vel)

    def check_e_funcs(self, params: dict, r_e_max: float | None = None) -> tuple[bool, np.ndarray]:
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
