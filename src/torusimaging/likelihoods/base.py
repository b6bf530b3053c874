"""What every likelihood answers; a new one is one class that does."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..coordinates import Points


class Likelihood(eqx.Module):
    """Data, and how probable they are for a prediction (abstract).

    A prediction is what `predict` returns: by default the model's label at the data's points.
    Arrays are plain.  A likelihood that is a sum of squares says so and gives its `residuals`: it
    is then fitted by Levenberg-Marquardt; any other by BFGS on its `cost`.
    """

    least_squares: ClassVar[bool] = False
    # Whether `cost` is half the sum of the residuals' squares itself, and not up to a constant.
    cost_is_squares: ClassVar[bool] = False

    @classmethod
    @abc.abstractmethod
    def read(cls, data: Any) -> "Likelihood":
        """The likelihood of a map, or of one that was read (`data.pixels.Map`).

        Raises ``ValueError`` for what it cannot be of.
        """

    @property
    @abc.abstractmethod
    def points(self) -> Points:
        """Where the data lie, shape (n,)."""

    @abc.abstractmethod
    def pointwise(self, prediction: Array) -> Array:
        """ln probability of each datum, normalised, shape (n,)."""

    @abc.abstractmethod
    def simulate(self, prediction: Array | np.ndarray, rng: np.random.Generator) -> dict:
        """Columns of a map as they would be drawn of the prediction, by the names of the map."""

    def predict(self, model: Any, params: dict) -> Array:
        """What the data are compared with: the model's label at their points."""
        return model.label_at(self.points, params)

    def ln(self, prediction: Array) -> Array:
        """ln probability of all data, normalised."""
        return jnp.sum(self.pointwise(prediction))

    def cost(self, prediction: Array) -> Array:
        """Minus `ln` up to a constant, `ln_constant`."""
        return -self.ln(prediction)

    @property
    def ln_constant(self) -> float:
        """`ln` plus `cost`, which no prediction changes."""
        return 0.0

    def residuals(self, prediction: Array) -> Array:
        """Numbers whose squares, halved, sum to `cost` up to a constant, where there are such."""
        raise NotImplementedError(f"{type(self).__name__} is no sum of squares.")

    def slopes(self, prediction: Array) -> Array:
        """Minus the derivatives of the residuals in their predictions, shape (n,)."""
        return -jax.jvp(self.residuals, (prediction,), (jnp.ones_like(prediction),))[1]

    @property
    def weighty(self) -> np.ndarray:
        """Which data have any weight, shape (n,): those that `padded` adds have none."""
        return np.ones(np.size(self.points.pos), bool)

    def padded(self) -> "Likelihood":
        """The likelihood with data of no weight, so that sets of like size share a program."""
        return self
