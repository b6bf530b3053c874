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
    # Whether there are so many data that slopes alone are asked for, in shares (see `cost_of`).
    many: ClassVar[bool] = False
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

    def cost_of(self, model: Any, params: dict, share: tuple[Any, int] = (0, 1)) -> Array:
        """`cost` of the prediction of a model, which need not be made as a whole.

        Of many data also of a share (k, n) of them, the k-th of n parts.
        """
        return self.cost(self.predict(model, params))

    @property
    def shares(self) -> int:
        """In how many parts data can be cut."""
        return 1

    def misfit(self, prediction: Array) -> Array:
        """How far the data lie from the prediction: chi^2 or deviance, else -2 `ln`."""
        if self.least_squares:
            return jnp.sum(self.residuals(prediction) ** 2)
        return -2 * self.ln(prediction)

    @property
    def misfit_name(self) -> str:
        """What `misfit` is, in words."""
        if self.cost_is_squares:
            return "chi^2"
        return "deviance" if self.least_squares else "-2 ln likelihood"

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
