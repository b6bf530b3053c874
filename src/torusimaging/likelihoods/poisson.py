"""Counts of stars in pixels."""

from typing import Any, ClassVar

import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from ..coordinates import Points
from ..data.pixels import Map, as_dictionary, read_pixels
from ..units import internal
from .base import Likelihood


class PoissonPixels(Likelihood):
    r"""Counts of a Poisson process whose ln rate is the model's label.

    Where a survey misses stars, a map's ``selection`` is the share of them that it holds in each
    pixel, up to a common factor, and multiplies the rate.

    Its residuals are signed roots of the deviance, half of whose squares sum to -ln p up to a
    constant.  With t = ln(rate / k):  d = sign(t) sqrt(2 k (e^t - 1 - t)) for k > 0 and
    sqrt(2 rate) for k = 0 (McCullagh & Nelder 1989, section 2.4).
    """

    least_squares: ClassVar[bool] = True
    data: Map
    ln_selection: Float[Array, "..."] = eqx.field(default_factory=lambda: jnp.zeros(()))

    @classmethod
    def read(cls, data: Any) -> "PoissonPixels":
        """The counts of a map, without pixels of which the survey holds nothing.

        Raises as `read_map` does, and for a selection that is negative, not finite, of another
        length than the map, or zero where there are stars.
        """
        found = read_pixels(data, "poisson")
        given = as_dictionary(data).get("selection")
        if given is None:
            return cls(found.map)
        unit = u.dimensionless_unscaled
        share = np.ravel(internal(given, unit, "selection", allow_plain=True))
        if share.size != found.good.size:
            raise ValueError(
                f"selection must have the map's {found.good.size} pixels, but has {share.size}."
            )
        share = share[found.good]
        if bad := int(np.sum(~((share >= 0) & np.isfinite(share)))):
            raise ValueError(
                f"selection must be finite and not negative, but is not for {bad} of {share.size} "
                "pixels."
            )
        seen = np.asarray(found.map.label)[share == 0] > 0
        if seen.any():
            raise ValueError(
                f"selection is zero in {seen.sum()} pixels that have stars: a survey cannot hold "
                "what it never sees."
            )
        held = jax.tree.map(lambda x: x[share > 0], found.map)
        return cls(held, jnp.log(jnp.asarray(share[share > 0])))

    @property
    def points(self) -> Points:
        """The centres of the pixels."""
        return self.data.points

    def pointwise(self, prediction: Float[Array, " n"]) -> Float[Array, " n"]:
        """ln Poisson(counts | exp(prediction))."""
        counts, ln_rate = self.data.label, prediction + self.ln_selection
        return counts * ln_rate - jnp.exp(ln_rate) - gammaln(counts + 1.0)

    def residuals(self, prediction: Float[Array, " n"]) -> Float[Array, " n"]:
        """Signed roots of the deviance; a series replaces the difference of nearly equal terms."""
        counts, ln_rate = self.data.label, prediction + self.ln_selection
        k = jnp.where(counts > 0, counts, 1.0)
        t = ln_rate - jnp.log(k)
        near = jnp.abs(t) < 1e-2
        far = jnp.where(near, 1.0, t)
        series = jnp.where(near, t, 0.0)
        squared = 1 + series / 3 + series**2 / 12 + series**3 / 60 + series**4 / 360
        slope = jnp.where(near, squared, 2 * (jnp.expm1(far) - far) / far**2)
        rooted = jnp.sqrt(k) * t * jnp.sqrt(slope)
        return jnp.where(counts > 0, rooted, jnp.sqrt(2.0) * jnp.exp(0.5 * ln_rate))

    def simulate(self, prediction: Array | np.ndarray, rng: np.random.Generator) -> dict:
        """Counts of the rate."""
        rate = np.exp(np.asarray(prediction) + np.asarray(self.ln_selection))
        return {"counts": rng.poisson(rate).astype(float)}
