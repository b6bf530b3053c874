"""What can be added to any model: one more entry of its parameters, with a prior of its own."""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arguments import positive
from ..coordinates import Points
from ..foliation.base import Foliation
from ..foliation.radial import RadialFoliation
from ..units import internal


class Extra(eqx.Module):
    """An entry `name` of a model's parameters, and what it does to orbits and labels (abstract)."""

    name: ClassVar[str]
    meaning: ClassVar[str]

    @abc.abstractmethod
    def template(self) -> Any:
        """The entry at the centre of its prior."""

    @abc.abstractmethod
    def limits(self) -> Any:
        """Its limits, nested like it: ``(lower, upper)`` each."""

    @abc.abstractmethod
    def prior_factors(self, own: Any) -> dict[str, Array]:
        """Factors of its prior by name, as `OrbitModel.prior_factors` has them."""

    @abc.abstractmethod
    def settings(self) -> dict:
        """The arguments that make it, as numbers and lists."""

    @property
    def dofs(self) -> dict[str, Array]:
        """Degrees of freedom of the factors that are a Student's t, if any."""
        return {}

    def around(self, orbits: Foliation, own: Any) -> Foliation:
        """The orbits that it makes of a model's."""
        return orbits

    def terms(
        self, orbits: Any, points: Points, radius: Array, own: Any, once: bool = False
    ) -> Array | float:
        """What it adds to the labels at points, shape (labels,) + that of the points."""
        return 0.0

    @abc.abstractmethod
    def words(self, draws: Any) -> str:
        """What was found, in a sentence; the entry of several draws along the first axis."""

    def of_label(self, name: str) -> "Extra":
        """What is left of it in a model of one label."""
        return self

    def own_of_label(self, own: Any, name: str) -> Any:
        """The entry that goes with `of_label`."""
        return own


class RadialChange(Extra):
    """A field exp(-(R - R0) / h) times that at R0 (kpc); the entry is 1/h (1/kpc).

    Its prior is normal about 0.3 with an sd of 0.3: discs have scale lengths of 2 to 4 kpc.
    """

    name = "inv_h"
    meaning = "1/h (1/kpc): the field at R is exp(-(R - R0) / h) times that at R0"
    R0: Float[Array, ""]

    @classmethod
    def about(cls, R0: Any) -> "RadialChange":
        """The change about a radius (a length, or kpc); a ``ValueError`` if it is not positive."""
        return cls(jnp.asarray(positive(internal(R0, u.kpc, "R0", allow_plain=True), "R0"), float))

    def template(self) -> Array:
        """The centre of the prior."""
        return jnp.asarray(0.3)

    def limits(self) -> tuple:
        """From -3 to 3 per kpc."""
        return np.float64(-3.0), np.float64(3.0)

    def prior_factors(self, own: Array) -> dict[str, Array]:
        """A normal distribution."""
        return {self.name: jnp.reshape((own - 0.3) / 0.3, 1)}

    def around(self, orbits: Foliation, own: Array) -> RadialFoliation:
        """The orbits at all radii, from those at R0."""
        return RadialFoliation.around(orbits, self.R0, jnp.asarray(own))

    def words(self, draws: Array) -> str:
        """h, or 1/h where it may be zero."""
        low, middle, high = np.percentile(draws, [16, 50, 84])
        error = f" +- {(high - low) / 2:.2f}" if len(draws) > 1 else ""
        text = f"1/h = {middle:.2f}{error} per kpc"
        if low > 0:
            text += f", h = {1 / middle:.2f} kpc"
            if len(draws) > 1:
                text += f" (68 % from {1 / high:.2f} to {1 / low:.2f})"
        return f"The field falls off with R as exp(-(R - {float(self.R0):.4g} kpc) / h): {text}."

    def settings(self) -> dict:
        """R0 in kpc."""
        return {"R0": float(self.R0)}

    @classmethod
    def from_settings(cls, settings: dict) -> "RadialChange":
        """The change of `settings`."""
        return cls.about(settings["R0"])


class AngleTerms(Extra):
    r"""Weak disequilibrium: labels that change along the orbit, too.

    In a steady state a label is a function of the orbit, f(r).  In a disc that was kicked and is
    still winding up it has in addition

        \sum_{m = 1, 2} A_m(r) cos m theta + B_m(r) sin m theta,

    with theta the angle of the harmonic limit, tan theta = Omega0 (pos - pos0) / (vel - vel0), 0 at
    pos0 moving up.  What winds up is a wave in r: A_m and B_m are sums of sin(pi k x) with
    x = 1.5 r / (r + R / 2), which is 1 at the radius R, and k from 1 to 14 for m = 1, from 4 to 17
    for m = 2.  Terms of m = 2 that change slowly with r are what another field does to the label:
    with them nothing could be told of it.  The coefficients are the entry, by label and then as
    ``m1`` and ``m2``, shape (28,): those of the cosine, and those of the sine.  Each 28 follow a
    multivariate Student's t of 3 degrees of freedom about 0, whose scale the data thereby choose:
    where the disc is in a steady state they shrink.

    Attributes
    ----------
    names : of the labels
    reach : R (kpc Myr^-1/2)
    scales : of the t distribution, one for each label
    """

    name = "angle_params"
    meaning = "how the label changes along the orbit"
    names: tuple[str, ...] = eqx.field(static=True)
    reach: Float[Array, ""]
    scales: Float[Array, " labels"]

    @classmethod
    def reaching(cls, radius: Any, ranges: Mapping[str, float]) -> "AngleTerms":
        """Terms up to a radius, for labels with such ranges over the orbits."""
        scales = ANGLE_SCALE * np.array(list(ranges.values()))
        return cls(tuple(ranges), jnp.asarray(radius, float), jnp.asarray(scales))

    def template(self) -> dict:
        """No terms."""
        return {name: {m: jnp.zeros(2 * len(k)) for m, k in WAVES.items()} for name in self.names}

    def limits(self) -> dict:
        """None."""
        far = {m: np.full(2 * len(k), np.inf) for m, k in WAVES.items()}
        return {name: {m: (-x, x) for m, x in far.items()} for name in self.names}

    def prior_factors(self, own: dict) -> dict[str, Array]:
        """The t distributions' residuals of each label and m."""
        return {
            f"{self.name}.{name}.{m}": own[name][m] / scale
            for name, scale in zip(self.names, self.scales, strict=True)
            for m in WAVES
        }

    @property
    def dofs(self) -> dict[str, Array]:
        """Three of each label and m."""
        places = (f"{name}.{m}" for name in self.names for m in WAVES)
        return {f"{self.name}.{place}": jnp.asarray(3.0) for place in places}

    def terms(
        self, orbits: Any, points: Points, radius: Array, own: dict, once: bool = False
    ) -> Array:
        """The terms of each label."""
        cos, sin = orbits.phase(points)
        turns = {"m1": (cos, sin), "m2": (cos**2 - sin**2, 2 * cos * sin)}
        waves = self.waves(radius)
        out = []
        for name in self.names:
            total = jnp.zeros_like(radius)
            for m, pair in turns.items():
                both = jnp.split(jnp.asarray(own[name][m]), 2)
                for turn, values in zip(pair, both, strict=True):
                    pairs = zip(values, WAVES[m], strict=True)
                    total = total + turn * sum(c * waves[n] for c, n in pairs)
            out.append(total)
        return jnp.stack(out)

    def waves(self, r: Array) -> list[Array]:
        """sin(k y), y = pi x, from k = 0: sin((k + 1) y) = 2 cos y sin(k y) - sin((k - 1) y)."""
        y = 1.5 * np.pi * r / (r + 0.5 * self.reach)
        twice, out = 2 * jnp.cos(y), [jnp.zeros_like(y), jnp.sin(y)]
        while len(out) <= max(map(max, WAVES.values())):
            out.append(twice * out[-1] - out[-2])
        return out

    def of_label(self, name: str) -> "AngleTerms":
        """The terms of one label alone."""
        k = self.names.index(name)
        return AngleTerms((name,), self.reach, self.scales[k : k + 1])

    def own_of_label(self, own: dict, name: str) -> dict:
        """Its coefficients."""
        return {name: own[name]}

    def words(self, draws: dict) -> str:
        """The rms of the terms over the orbits up to the reach, and over their angles."""
        waves = np.asarray(self.waves(jnp.linspace(0.0, self.reach, 201)))
        parts = []
        for name in self.names:
            texts = []
            for m, k in WAVES.items():
                both = np.stack(np.split(np.asarray(draws[name][m]), 2, axis=-1))
                squared = 0.5 * np.sum((both @ waves[list(k)]) ** 2, axis=0)
                rms = np.median(np.sqrt(np.mean(squared, axis=-1)))
                texts.append(f"{rms:.2g} for m = {m[1:]}")
            parts.append(f"{name} by {' and '.join(texts)}")
        return f"The label changes along the orbits (rms): {'; '.join(parts)}."

    def settings(self) -> dict:
        """Names, reach and scales."""
        return {
            "names": list(self.names),
            "reach": float(self.reach),
            "scales": np.asarray(self.scales).tolist(),
        }

    @classmethod
    def from_settings(cls, settings: dict) -> "AngleTerms":
        """The terms of `settings`."""
        reach, scales = (jnp.asarray(settings[k], float) for k in ("reach", "scales"))
        return cls(tuple(settings["names"]), reach, scales)


# The k of the waves in r of each m, and the scale of their prior in units of the label's range.
WAVES, ANGLE_SCALE = {"m1": range(1, 15), "m2": range(4, 18)}, 0.03
EXTRAS = {kind.name: kind for kind in (RadialChange, AngleTerms)}


def templates(extras: tuple[Extra, ...]) -> dict:
    """The entries of extras at the centres of their priors."""
    return {extra.name: extra.template() for extra in extras}


def prior_factors(extras: tuple[Extra, ...], params: dict) -> dict[str, Array]:
    """The factors of their priors."""
    out: dict[str, Array] = {}
    for extra in extras:
        out |= extra.prior_factors(params[extra.name])
    return out


def dofs(extras: tuple[Extra, ...]) -> dict[str, Array]:
    """Degrees of freedom of their factors."""
    out: dict[str, Array] = {}
    for extra in extras:
        out |= extra.dofs
    return out


def settings(extras: tuple[Extra, ...]) -> dict:
    """The entry of a model's settings that they add."""
    return {"extras": {x.name: x.settings() for x in extras}} if extras else {}


def from_settings(given: dict) -> tuple[Extra, ...]:
    """The extras of `settings`."""
    return tuple(EXTRAS[name].from_settings(own) for name, own in given.items())


def with_extra(model: Any, extra: Extra, bounds: dict, start: dict) -> tuple[Any, dict, dict]:
    """A model with an extra, and bounds and a start with its entry."""
    own = jax.tree.map(np.asarray, extra.template())
    model = model.with_extras((*model.extras, extra))
    return model, bounds | {extra.name: extra.limits()}, start | {extra.name: own}
