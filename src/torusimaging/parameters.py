"""Parameter vectors, the smooth transforms that bounds become, and prior residuals."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num
from numpyro.distributions import biject_to, constraints

from .arguments import nearest, shown
from .priors.named import Place, check_names, check_priors, leaves_of, limits
from .units import plain_parameter


class Layout(eqx.Module):
    """How a nested dictionary of parameters is laid out as one flat vector.

    Hashable, so that a compiled function is reused for every dictionary of the same shape.
    """

    treedef: Any = eqx.field(static=True)
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    @classmethod
    def of(cls, params: dict) -> "Layout":
        """The layout of `params`."""
        leaves, treedef = jax.tree_util.tree_flatten(params)
        return cls(treedef, tuple(np.shape(leaf) for leaf in leaves))

    @property
    def size(self) -> int:
        """Number of scalar parameters."""
        return sum(int(np.prod(s)) for s in self.shapes)

    def flatten(self, params: dict) -> Float[Array, " d"]:
        """The flat vector of `params`; a ``ValueError`` where the shape differs."""
        leaves, treedef = jax.tree_util.tree_flatten(params)
        shapes = tuple(np.shape(leaf) for leaf in leaves)
        if treedef != self.treedef or shapes != self.shapes:
            raise ValueError(
                f"params must have the structure {self.names()}, but {Layout.of(params).names()} "
                "was given."
            )
        return jnp.concatenate([jnp.ravel(jnp.asarray(leaf, float)) for leaf in leaves])

    def unflatten(self, x: Num[Array | np.ndarray, "... d"]) -> dict:
        """The dictionary of a vector (leading axes are kept)."""
        leaves, start = [], 0
        for shape in self.shapes:
            size = int(np.prod(shape))
            leaves.append(x[..., start : start + size].reshape(x.shape[:-1] + shape))
            start += size
        return jax.tree_util.tree_unflatten(self.treedef, leaves)

    def names(self) -> list[str]:
        """One name for each scalar, such as ``e_params[2].vals[0]``."""
        tree = jax.tree_util.tree_unflatten(self.treedef, list(self.shapes))
        paths = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda s: isinstance(s, tuple))
        out = []
        for path, shape in paths[0]:
            name = ".".join(str(key.key) for key in path)
            out += [name] if shape == () else [f"{name}[{i}]" for i in range(int(np.prod(shape)))]
        return out


def indices(layout: Layout, name: str) -> np.ndarray:
    """The flat vector's entries that `name` points to, such as ``label_params.label_vals[1:]``."""
    numbered = layout.unflatten(np.arange(layout.size))
    place = Place.of(name)
    return np.ravel(place.of_leaf(np.asarray(leaves_of(numbered)[place.leaf])))


class Bounds(eqx.Module):
    """Lower and upper limits, either of which may be absent, as a smooth map from all numbers.

    x = low + exp(z) above a lower limit alone, x = high - exp(z) below an upper one alone, and the
    logistic function between two.
    """

    lower: Float[Array, " d"]
    upper: Float[Array, " d"]

    def _parts(self):
        below, above = jnp.isfinite(self.lower), jnp.isfinite(self.upper)
        both = below & above
        lower, upper = jnp.where(both, self.lower, 0.0), jnp.where(both, self.upper, 1.0)
        return both, below & ~above, above & ~below, biject_to(constraints.interval(lower, upper))

    def constrain(self, z: Float[Array, " d"]) -> Float[Array, " d"]:
        """Parameters of the free vector z."""
        both, floor, ceiling, bijection = self._parts()
        x = jnp.where(both, bijection(jnp.where(both, z, 0.0)), z)
        step = jnp.exp(jnp.where(floor | ceiling, z, 0.0))
        x = jnp.where(floor, jnp.where(floor, self.lower, 0.0) + step, x)
        return jnp.where(ceiling, jnp.where(ceiling, self.upper, 0.0) - step, x)

    def free(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """Free vector of the parameters x, strictly inside the limits."""
        both, floor, ceiling, bijection = self._parts()
        middle = 0.5 * (jnp.where(both, self.lower, 0.0) + jnp.where(both, self.upper, 1.0))
        z = jnp.where(both, bijection.inv(jnp.where(both, x, middle)), x)
        above = jnp.log(jnp.where(floor, x - self.lower, 1.0))
        under = jnp.log(jnp.where(ceiling, self.upper - x, 1.0))
        return jnp.where(floor, above, jnp.where(ceiling, under, z))

    def inside(self, z: Array, most: float = 20.0) -> tuple[Array, list[bool]]:
        r"""z with entries no nearer to a limit than `most` allows, and which were nearer.

        Between two limits that is \|z\| <= most; with one, at minus infinity, z >= -most.
        """
        below, above = np.isfinite(self.lower), np.isfinite(self.upper)
        at = np.asarray(z)
        far = ((below | above) & (at < -most)) | (below & above & (at > most))
        return jnp.where(far, jnp.clip(z, -most, most), z), far.tolist()

    def ln_jacobian(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """ln |dx/dz| of `constrain`."""
        both, floor, ceiling, bijection = self._parts()
        safe = jnp.where(both, z, 0.0)
        terms = bijection.log_abs_det_jacobian(safe, bijection(safe))
        return jnp.sum(jnp.where(both, terms, jnp.where(floor | ceiling, z, 0.0)))


def unpack_bounds(bounds: Any) -> tuple[dict, dict]:
    """Split ``{name: (lower, upper)}``, nested like the parameters, into two dictionaries.

    Raises ``ValueError`` where an entry is not a pair.
    """

    def walk(tree, name):
        if isinstance(tree, dict):
            pairs = {k: walk(v, f"{name}[{k!r}]") for k, v in tree.items()}
            return {k: v[0] for k, v in pairs.items()}, {k: v[1] for k, v in pairs.items()}
        if not isinstance(tree, (tuple, list)) or len(tree) != 2:
            raise ValueError(f"{name} must be a pair (lower, upper), but {shown(tree)} was given.")
        return tree[0], tree[1]

    if not isinstance(bounds, dict):
        raise ValueError(
            f"bounds must be a dictionary of pairs (lower, upper), but {shown(bounds)} was given."
        )
    return walk(bounds, "bounds")


def make_bounds(layout: Layout, params: dict, bounds: Any, priors: dict | None = None) -> Bounds:
    """Flat limits for the parameters, those of the bounds and of `priors`, checked on the start.

    `bounds` is a nested dictionary of pairs, or the pair of dictionaries that `unpack_bounds`
    returns; a parameter that it leaves out is unlimited.  Raises ``ValueError`` for an unknown
    name, a lower limit above the upper one, a start that is not strictly inside, and as
    `check_priors` does.
    """
    check_priors(priors or {}, params)
    if isinstance(bounds, tuple) and len(bounds) != 2:
        raise ValueError(f"bounds must be two dictionaries or one, but {shown(bounds)} was given.")
    given = {} if bounds is None else bounds
    lower, upper = given if isinstance(given, tuple) else unpack_bounds(given)
    low = np.array(layout.flatten(_fill(params, lower, -np.inf, "bounds")))
    high = np.array(layout.flatten(_fill(params, upper, np.inf, "bounds")))
    start = np.asarray(layout.flatten(params))
    for name, given in (priors or {}).items():
        index = indices(layout, name)
        least, most = limits(given)
        low[index], high[index] = np.maximum(low[index], least), np.minimum(high[index], most)
    for name, a, b, x in zip(layout.names(), low, high, start, strict=True):
        if not a < b:
            raise ValueError(f"bounds of {name} must have lower < upper, but ({a}, {b}) was given.")
        if not a < x < b:
            raise ValueError(
                f"the start of {name} must lie strictly inside its bounds ({a}, {b}), "
                f"but {x} was given."
            )
    return Bounds(jnp.asarray(low), jnp.asarray(high))


def start_inside(priors: dict, bounds: dict, start: dict) -> tuple[dict, dict]:
    """Bounds and start that go with a user's priors: `priors` decide where they say anything.

    A parameter with a prior is limited by its support alone, and starts at its mean where the
    usual start has no probability.  Raises ``ValueError`` as `check_priors` does.
    """
    if not priors:
        return bounds, start
    check_names(priors, start)
    layout = Layout.of(start)
    x = np.array(layout.flatten(start))
    low, high = (np.array(layout.flatten(b)) for b in unpack_bounds(bounds))
    for name, given in priors.items():
        index = indices(layout, name)
        low[index], high[index] = limits(given)
        if not np.all((low[index] < x[index]) & (x[index] < high[index])):
            x[index] = np.broadcast_to(np.asarray(given.mean), index.shape)
    start = jax.tree.map(np.asarray, layout.unflatten(x))
    check_priors(priors, start)
    lower, upper = layout.unflatten(low), layout.unflatten(high)
    return jax.tree.map(lambda a, b: (a, b), lower, upper), start


def check_structure(params: dict, template: dict | None, parts: tuple[str, ...]) -> None:
    """Raise a ``ValueError`` for parameters that `template` does not have, or of another shape."""
    if template is None:
        return
    wanted, given = leaves_of(template), leaves_of(params)
    for name, x in given.items():
        if name not in wanted:
            raise ValueError(f"params have no {name!r} in this model{nearest(name, wanted, 0.0)}")
        if np.shape(x) != np.shape(wanted[name]):
            raise ValueError(
                f"{name} in params must have shape {np.shape(wanted[name])}, but has {np.shape(x)}."
            )
    for name in wanted:
        if name.split(".")[0] in parts and name not in given:
            raise ValueError(f"params must have {name!r}, which is missing.")


def _fill(params: dict, limits: Any, default: float, name: str) -> dict:
    """`limits` completed to the structure of `params`."""
    if not isinstance(limits, dict):
        raise ValueError(f"{name} must be a dictionary, but {shown(limits)} was given.")
    for key in limits:
        if key not in params:
            raise ValueError(f"{name} names no parameter {key!r}{nearest(key, params)}")
    out = {}
    for key, value in params.items():
        given = limits.get(key)
        if isinstance(value, dict):
            out[key] = _fill(value, given or {}, default, f"{name}[{key!r}]")
        else:
            own = default if given is None else plain_parameter(given, str(key))
            try:
                out[key] = np.broadcast_to(own, np.shape(value))
            except ValueError:
                raise ValueError(
                    f"{name}[{key!r}] must have the shape {np.shape(value)} of the parameter, but "
                    f"has {np.shape(own)}."
                ) from None
    return out
