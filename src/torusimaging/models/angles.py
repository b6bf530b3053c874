r"""Weak disequilibrium: a label that changes along the orbit, too.

In a steady state a label is a function of the orbit, f(r).  A disc that was kicked, and is still
winding up, has in addition

    sum over m = 1, 2 of A_m(r) cos m theta + B_m(r) sin m theta,

with theta the angle of the harmonic limit, tan theta = Omega0 (pos - pos0) / (vel - vel0), 0 at
pos0 moving up.  A_m and B_m are straight between radii, 0 at the centre and constant beyond the
last radius.  All of them for a label follow one multivariate Student's t about 0, whose scale the
data thereby choose: where the disc is in a steady state they shrink.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

NAME = "angle_params"
ORDERS = (1, 2)
# Number of radii, the scale of the terms in units of the label's range, and degrees of freedom.
NUMBER, SCALE, DOF = 6, 0.03, 3.0


class AngleTerms(eqx.Module):
    """Terms in the angle, with the parameters ``angle_params``, shape (2, 2, radii) for each label.

    By order m, then cosine and sine; in units of the label.

    Attributes
    ----------
    names : of the labels
    radii : kpc Myr^-1/2, increasing, the first above 0
    scales : the t distribution's, one for each label
    """

    names: tuple[str, ...] = eqx.field(static=True)
    radii: Float[Array, " k"]
    scales: Float[Array, " labels"]

    def values(self, radius: Array, phase: tuple[Array, Array], params: dict) -> Array:
        """The terms of each label at points of such radii and (cos, sin) of the angle."""
        cos, sin = phase
        waves = ((cos, sin), (cos**2 - sin**2, 2 * cos * sin))
        out = []
        for name in self.names:
            own, total = jnp.asarray(params[name]), jnp.zeros_like(radius)
            for pair, orders in zip(waves, own, strict=True):
                for wave, values in zip(pair, orders, strict=True):
                    total = total + wave * self._straight(values, radius)
            out.append(total)
        return jnp.stack(out)

    def _straight(self, values: Array, r: Array) -> Array:
        """A function that is straight between the radii."""
        ends = jnp.concatenate([jnp.zeros(1), self.radii])
        slopes = jnp.diff(values, prepend=0.0) / jnp.diff(ends)
        bends = jnp.diff(slopes, prepend=0.0, append=0.0)
        out = jnp.zeros_like(r)
        for k in range(ends.size):
            out = out + bends[k] * jnp.maximum(r - ends[k], 0.0)
        return out

    def template(self) -> dict:
        """The parameters at the centre of the prior."""
        return {name: jnp.zeros((len(ORDERS), 2, self.radii.size)) for name in self.names}

    def prior_factors(self, params: dict) -> dict[str, Array]:
        """The t distribution's residuals by label."""
        return {
            name: jnp.ravel(params[name]) / scale
            for name, scale in zip(self.names, self.scales, strict=True)
        }

    def of(self, name: str) -> "AngleTerms":
        """The terms of one label alone."""
        k = self.names.index(name)
        return AngleTerms((name,), self.radii, self.scales[k : k + 1])

    def settings(self) -> dict:
        """The arguments that make these terms."""
        return {
            "names": list(self.names),
            "radii": np.asarray(self.radii).tolist(),
            "scales": np.asarray(self.scales).tolist(),
        }

    @classmethod
    def from_settings(cls, settings: dict) -> "AngleTerms":
        """The terms of `settings`."""
        radii, scales = (jnp.asarray(settings[k], float) for k in ("radii", "scales"))
        return cls(tuple(settings["names"]), radii, scales)
