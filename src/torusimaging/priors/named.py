"""Prior distributions of parameters by name: checks, residuals, limits, and their form on file."""

import inspect
import itertools
import re
from typing import Any, NamedTuple

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float
from numpyro.distributions import constraints, truncated

from ..arguments import nearest, shown
from ..units import UnitError

Distribution = dist.Distribution
NORMAL = (dist.Normal, dist.MultivariateNormal)
NO_DENSITY = (dist.ImproperUniform, dist.Unit, dist.Delta)
TRUNCATED = (
    truncated.LeftTruncatedDistribution,
    truncated.RightTruncatedDistribution,
    truncated.TwoSidedTruncatedDistribution,
)


# A leaf, leaf[i] or leaf[i:]
NAME = re.compile(r"([^\[\]]+)(?:\[(0|[1-9][0-9]*)(:)?\])?")


class Place(NamedTuple):
    """Where a name such as ``label_params.label_vals[1:]`` points: a leaf, and what of it."""

    leaf: str
    start: int | None = None
    stop: int | None = None

    @classmethod
    def of(cls, name: str) -> "Place":
        """The place of `name`: a leaf, ``leaf[i]``, or ``leaf[i:]`` (all but the first i)."""
        found = NAME.fullmatch(name)
        if found is None:
            raise ValueError(f"{name!r} is no name of a parameter.")
        leaf, first, colon = found.groups()
        if first is None:
            return cls(leaf)
        return cls(leaf, int(first), None if colon else int(first) + 1)

    def of_leaf(self, x: Array | np.ndarray) -> Array | np.ndarray | np.number:
        """The part of a leaf: a scalar for ``leaf[i]``."""
        if self.start is None:
            return x
        return x[self.start] if self.stop is not None else x[self.start :]

    def covers(self, other: "Place") -> bool:
        """Whether all of `other` lies within this place."""
        if self.leaf != other.leaf:
            return False
        first, last = self.start or 0, np.inf if self.stop is None else self.stop
        return first <= (other.start or 0) and last >= (
            np.inf if other.stop is None else other.stop
        )


def leaves_of(params: dict, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested parameters by dotted name."""
    out = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        out |= leaves_of(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return out


def entry(params: dict, name: str) -> Any:
    """The parameters that `name` points to."""
    place = Place.of(name)
    return place.of_leaf(jnp.asarray(leaves_of(params)[place.leaf]))


def _plain(given: Distribution) -> Distribution:
    """The distribution without its limits and without its reading as one of vectors."""
    if isinstance(given, dist.Independent):
        return _plain(given.base_dist)
    if isinstance(given, TRUNCATED):
        return given.base_dist
    return dist.Normal(0.0, given.scale) if isinstance(given, dist.HalfNormal) else given


def is_normal(given: Distribution) -> bool:
    """Whether minus the ln density is a sum of squares between limits."""
    return isinstance(_plain(given), NORMAL)


def is_flat(given: Distribution) -> bool:
    """Whether the density is constant between limits."""
    return isinstance(_plain(given), dist.Uniform)


def is_square(given: Distribution) -> bool:
    """Whether minus the ln density is a sum of squares, or none, between limits."""
    return is_normal(given) or is_flat(given)


def normal_residuals(given: Distribution, x: Array) -> Float[Array, " n"]:
    """Residuals whose squares, halved, are minus the ln density of a normal up to a constant."""
    given = _plain(given)
    if isinstance(given, dist.Normal):
        return jnp.ravel((x - given.loc) / given.scale)
    assert isinstance(given, dist.MultivariateNormal)
    return jax.scipy.linalg.solve_triangular(given.scale_tril, x - given.loc, lower=True)


def ln_density(given: Distribution, x: Array | np.ndarray | np.number) -> Float[Array, ""]:
    """The normalised ln density of all of x."""
    return jnp.sum(given.log_prob(x))


def limits(given: Distribution) -> tuple[Any, Any]:
    """Lower and upper end of the values that a distribution allows."""
    support = given.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    return -np.inf if low is None else low, np.inf if high is None else high


def pulls(priors: dict[str, Distribution], params: dict) -> dict[str, float]:
    """The largest distance of the parameters of each prior from its mean, in its sds.

    Distributions whose moments numpyro does not know are left out; without a finite variance the
    distance is NaN or zero.
    """
    out = {}
    for name, given in priors.items():
        try:
            mean, variance = np.asarray(given.mean), np.asarray(given.variance)
        except NotImplementedError:
            continue
        off = np.abs(np.asarray(entry(params, name)) - mean)
        out[name] = float(np.max(off / np.sqrt(variance)))
    return out


def mean_and_sd(given: Distribution) -> tuple[float, float] | None:
    """Mean and sd of a distribution of one number, None where it has none that are known."""
    try:
        moments = np.asarray(given.mean), np.sqrt(np.asarray(given.variance))
    except NotImplementedError:
        return None
    if any(x.size != 1 or not np.isfinite(x).all() for x in moments):
        return None
    return float(moments[0].ravel()[0]), float(moments[1].ravel()[0])


def as_arrays(priors: Any) -> dict[str, Distribution]:
    """The distributions with arrays as numbers, so that equal kinds share a compiled program.

    Raises ``ValueError`` for what is no distribution, and `UnitError` for one with units.
    """
    if priors is not None and not isinstance(priors, dict):
        raise ValueError(
            f"priors must be a dictionary by parameter, but {shown(priors)} was given."
        )
    for name, given in (priors or {}).items():
        if not isinstance(name, str) or not isinstance(given, Distribution):
            raise ValueError(
                f"priors[{shown(name)}] must be a numpyro distribution, but {shown(given)} was "
                "given."
            )
        if any(isinstance(x, u.Quantity) for x in vars(given).values()):
            raise UnitError(
                f"priors[{name!r}] must be of plain numbers in the parameter's unit, but has one "
                "of its own."
            )
        _check_arguments(given, f"priors[{name!r}]")
    return jax.tree.map(lambda x: jnp.asarray(x, float), dict(priors or {}))


def _check_arguments(given: Distribution, text: str) -> None:
    """Raise a ``ValueError`` for a distribution with a scale of 0, and the like."""
    for name in ("base_dist", "base_distribution"):
        if isinstance(inner := getattr(given, name, None), Distribution):
            _check_arguments(inner, text)
    for name, constraint in given.arg_constraints.items():
        value = vars(given).get(name)
        if value is None or isinstance(value, Distribution) or constraints.is_dependent(constraint):
            continue
        try:
            good = np.all(np.asarray(constraint(jnp.asarray(value, float))))
        except (TypeError, ValueError):
            good = False
        if not good:
            raise ValueError(
                f"{text} must have parameters that a {type(given).__name__} allows, but its {name} "
                f"is {shown(np.asarray(value).tolist())}."
            )


def check_priors(priors: dict[str, Distribution], params: dict) -> None:
    """Raise a ``ValueError`` for a prior that does not fit the parameters.

    That is a name that is none of theirs (with the nearest one), a shape that differs, a
    distribution that is improper, discrete or not on an interval, and one that gives `params`,
    the start, no probability.
    """
    check_names(priors, params)
    leaves = leaves_of(params)
    for name, given in priors.items():
        place = Place.of(name)
        x = np.asarray(place.of_leaf(jnp.asarray(leaves[place.leaf])))
        text = f"priors[{name!r}]"
        support = given.support
        while isinstance(support, constraints.independent):
            support = support.base_constraint
        if isinstance(given, NO_DENSITY) or given.is_discrete:
            raise ValueError(
                f"{text} must be a proper distribution of real numbers with a density, but is a "
                f"{type(given).__name__}."
            )
        known = (constraints.real, constraints.real_vector)
        bounded = hasattr(support, "lower_bound") or hasattr(support, "upper_bound")
        if not (bounded or any(support is k or type(support) is type(k) for k in known)):
            raise ValueError(
                f"{text} must allow all numbers or those of an interval, but a "
                f"{type(given).__name__} allows others."
            )
        shape = given.batch_shape + given.event_shape
        try:
            fits = np.broadcast_shapes(shape, x.shape) == x.shape
        except ValueError:
            fits = False
        if not fits or (given.event_shape and given.event_shape != x.shape):
            raise ValueError(f"{text} must have shape {x.shape}, but has {shape}.")
        if not np.all(np.isfinite(np.concatenate([np.ravel(v) for v in jax.tree.leaves(given)]))):
            raise ValueError(f"{text} must have finite parameters.")
        low, high = limits(given)
        if not np.all(low < high):
            raise ValueError(f"{text} must have low < high, but allows {_interval(low, high)}.")
        if not (np.all(low < x) and np.all(x < high) and np.isfinite(ln_density(given, x))):
            raise ValueError(
                f"the start {np.array2string(x, precision=4)} of {name} has no probability in "
                f"{text}, which allows {_interval(low, high)}."
            )


def check_names(priors: dict[str, Distribution], params: dict) -> None:
    """Raise a ``ValueError`` for a prior of a parameter that there is not, with the nearest one."""
    leaves = leaves_of(params)
    places = {name: _known(name, leaves) for name in priors}
    for a, b in itertools.permutations(places, 2):
        if places[a].covers(places[b]):
            raise ValueError(f"priors of {a!r} and {b!r} must not overlap, but both were given.")


def _known(name: str, leaves: dict) -> Place:
    try:
        place = Place.of(name)
    except ValueError:
        place = Place(name)
    if place.leaf not in leaves:
        raise ValueError(f"priors name no parameter {name!r}{nearest(place.leaf, leaves, 0.0)}")
    size = np.size(leaves[place.leaf])
    if place.start is not None and not (np.ndim(leaves[place.leaf]) and 0 <= place.start < size):
        raise ValueError(
            f"priors name no parameter {name!r}: {place.leaf} has {size} value{'s' * (size != 1)}."
        )
    return place


def _interval(low, high) -> str:
    return f"{np.min(low):.4g} to {np.max(high):.4g}"


# -- on file ---------------------------------------------------------------------------------


def to_numbers(given: Distribution) -> dict:
    """A distribution as its name and arguments.  Raises ``ValueError`` for one that cannot be."""
    kind = type(given)
    if isinstance(given, dist.MultivariateNormal):
        names = ["loc", "scale_tril"]
    elif isinstance(given, dist.Independent):
        return {
            "distribution": "Independent",
            "base_dist": to_numbers(given.base_dist),
            "reinterpreted_batch_ndims": given.reinterpreted_batch_ndims,
        }
    else:
        names = [n for n in inspect.signature(kind.__init__).parameters if n != "self"]
        names = [n for n in names if n != "validate_args"]
    out: dict[str, Any] = {"distribution": kind.__name__}
    for name in names:
        value = getattr(given, name, None)
        if isinstance(value, Distribution):
            out[name] = to_numbers(value)
        elif value is not None:
            out[name] = np.asarray(value).tolist()
    try:
        again = as_arrays({"": from_numbers(out)})[""]
        same = jax.tree.structure(again) == jax.tree.structure(given)
    except Exception:
        same = False
    if not same:
        raise ValueError(f"a prior of kind {kind.__name__} cannot be saved as numbers.")
    return out


def from_numbers(numbers: dict) -> Distribution:
    """The distribution of `to_numbers`."""
    arguments = {k: v for k, v in numbers.items() if k != "distribution"}
    for key, value in arguments.items():
        if isinstance(value, dict):
            arguments[key] = from_numbers(value)
        elif isinstance(value, list):
            arguments[key] = jnp.asarray(value)
    kind = getattr(dist, numbers["distribution"], None)
    if kind is None:
        kind = getattr(truncated, numbers["distribution"])
    return kind(**arguments)
