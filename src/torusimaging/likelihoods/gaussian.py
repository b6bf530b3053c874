"""Mean labels of pixels with normal errors."""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..coordinates import Points
from ..data.pixels import Map, pad, read_map
from .base import Likelihood

LN_2PI = float(np.log(2 * np.pi))


class GaussianPixels(Likelihood):
    """Labels that scatter normally about the model's, by their errors."""

    least_squares: ClassVar[bool] = True
    cost_is_squares: ClassVar[bool] = True
    data: Map

    @classmethod
    def read(cls, data: Any) -> "GaussianPixels":
        """The labels of a map at the stars' mean places; raises as `read_map` does."""
        return cls(read_map(data))

    @property
    def points(self) -> Points:
        """Where the pixels lie."""
        return self.data.points

    def residuals(self, prediction: Float[Array, " n"]) -> Float[Array, " n"]:
        """(label - prediction) / label_err."""
        return (self.data.label - prediction) / self.data.label_err

    def pointwise(self, prediction: Float[Array, " n"]) -> Float[Array, " n"]:
        """ln N(label | prediction, label_err)."""
        chi = self.residuals(prediction)
        return -0.5 * chi**2 - (jnp.log(self.data.label_err) + 0.5 * LN_2PI)

    def cost(self, prediction: Float[Array, " n"]) -> Float[Array, ""]:
        """Half of chi^2."""
        return 0.5 * jnp.sum(self.residuals(prediction) ** 2)

    @property
    def ln_constant(self) -> float:
        """-sum ln(err sqrt(2 pi)) over pixels of any weight."""
        err = np.asarray(self.data.label_err)[self.weighty]
        return float(-np.sum(np.log(err)) - 0.5 * err.size * LN_2PI)

    @property
    def weighty(self) -> np.ndarray:
        """The pixels of finite error."""
        return np.isfinite(np.asarray(self.data.label_err))

    def simulate(self, prediction: Array | np.ndarray, rng: np.random.Generator) -> dict:
        """Labels with noise of their errors."""
        prediction = np.asarray(prediction)
        noise = rng.standard_normal(prediction.size)
        return {"label": prediction + np.asarray(self.data.label_err) * noise}

    def padded(self) -> "GaussianPixels":
        """With pixels of infinite error."""
        return type(self)(pad(self.data))
