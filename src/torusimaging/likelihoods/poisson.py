"""Counts of stars in pixels."""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from ..coordinates import Points
from ..data.pixels import Map, read_map
from .base import Likelihood


class PoissonPixels(Likelihood):
    r"""Counts of a Poisson process whose ln rate is the model's label.

    Its residuals are signed roots of the deviance, half of whose squares sum to -ln p up to a
    constant.  With t = ln(rate / k):  d = sign(t) sqrt(2 k (e^t - 1 - t)) for k > 0 and
    sqrt(2 rate) for k = 0 (McCullagh & Nelder 1989, section 2.4).
    """

    least_squares: ClassVar[bool] = True
    data: Map

    @classmethod
    def read(cls, data: Any) -> "PoissonPixels":
        """The counts of a map; raises as `read_map` does."""
        return cls(read_map(data, "poisson"))

    @property
    def points(self) -> Points:
        """The centres of the pixels."""
        return self.data.points

    def pointwise(self, prediction: Float[Array, " n"]) -> Float[Array, " n"]:
        """ln Poisson(counts | exp(prediction))."""
        counts = self.data.label
        return counts * prediction - jnp.exp(prediction) - gammaln(counts + 1.0)

    def residuals(self, prediction: Float[Array, " n"]) -> Float[Array, " n"]:
        """Signed roots of the deviance; a series replaces the difference of nearly equal terms."""
        counts = self.data.label
        k = jnp.where(counts > 0, counts, 1.0)
        t = prediction - jnp.log(k)
        near = jnp.abs(t) < 1e-2
        far = jnp.where(near, 1.0, t)
        series = jnp.where(near, t, 0.0)
        squared = 1 + series / 3 + series**2 / 12 + series**3 / 60 + series**4 / 360
        slope = jnp.where(near, squared, 2 * (jnp.expm1(far) - far) / far**2)
        rooted = jnp.sqrt(k) * t * jnp.sqrt(slope)
        return jnp.where(counts > 0, rooted, jnp.sqrt(2.0) * jnp.exp(0.5 * prediction))

    def simulate(self, prediction: Array | np.ndarray, rng: np.random.Generator) -> dict:
        """Counts of the rate."""
        return {"counts": rng.poisson(np.exp(np.asarray(prediction))).astype(float)}
