"""Where a fit of single stars starts: a map of them, and the label's parts that maps have not."""

from typing import Any

import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..arguments import positive, truth
from ..coordinates import Points, radius_of
from ..data.binning import get_binned_label
from ..data.gradient import check_gradient
from ..data.pixels import VELOCITY
from ..data.stars import Stars
from ..inference.problem import Problem, evaluate_label, solve
from ..labels import LOGIT_OUTLIERS, SplineLabel, StarLabels
from ..likelihoods import GaussianPixels
from ..likelihoods.stars import SingleStars, evaluate_stars
from ..parameters import Layout
from ..units import internal
from .base import OrbitModel
from .extras import AngleTerms, with_extra

# Stars of a pixel on average, and the fewest and most pixels along an axis.
CROWD, FEWEST, MOST = 40, 10, 60
# The share of stars that may lie beyond the map on either side; they are left out.
FAR = 5e-4
# Robust sds from the median beyond which a label does not pull the first map.
EXTREME = 5.0
SCATTER_KNOTS = 3
LEAST = 5  # stars of a pixel
FEWEST_STARS = 50
# The sd of radii (kpc) below which they are one, and the Sun's radius where no frame tells it.
ONE_RADIUS, DEFAULT_R0 = 0.02, 8.275
NORMAL = 1.4826  # sd of a normal distribution in units of its median absolute deviation


def edges_of(stars: Stars) -> dict[str, u.Quantity]:
    """Edges of a map that holds nearly all stars."""
    out = {}
    for name, x, unit in (("pos", stars.points.pos, u.kpc), ("vel", stars.points.vel, VELOCITY)):
        # Of a few stars each one counts.
        far = FAR if x.size > 1 / FAR else 0.0
        low, high = (float(np.quantile(x, q)) for q in (far, 1 - far))
        number = int(np.clip(np.sqrt(x.size / CROWD), FEWEST, MOST))
        # The outermost stars lie inside their pixel.
        wide = 1e-6 * max(high - low, 1e-12)
        out[name] = np.linspace(low - wide, high + wide, number + 1) * unit
    return out


def inside(stars: Stars, edges: dict[str, u.Quantity]) -> NDArray[np.bool_]:
    """The stars within the edges of a map."""
    good = np.ones(len(stars), bool)
    for name, x, unit in (("pos", stars.points.pos, u.kpc), ("vel", stars.points.vel, VELOCITY)):
        ends = np.asarray(edges[name].to_value(unit))
        good &= (x >= ends[0]) & (x < ends[-1])
    return good


def first_map(stars: Stars, k: int, edges: dict[str, u.Quantity], checked: bool = True) -> dict:
    """The map of label number `k`, in which single labels far from all others count for less.

    Raises ``ValueError`` for a label that is the same in all stars or, where that is `checked`,
    says nothing of the orbits.
    """
    name, label = stars.names[k], stars.label[:, k]
    known = np.isfinite(label)
    middle = np.median(label[known])
    spread = NORMAL * np.median(np.abs(label[known] - middle))
    if np.ptp(label[known]) == 0:
        raise ValueError(
            f"the label {name!r} is {label[known][0]:.4g} in all {known.sum()} stars: it says "
            "nothing of their orbits."
        )
    if spread > 0:
        label = np.clip(label, middle - EXTREME * spread, middle + EXTREME * spread)
    try:
        binned = get_binned_label(
            stars.pos, stars.vel, label, edges, label_err=stars.label_err[:, k]
        )
        if checked:
            check_gradient(binned)
    except ValueError as error:
        raise ValueError(f"the label {name!r} cannot be used: {error}") from None
    return binned


def start_of(
    maker: type[OrbitModel], stars: Stars, edges: dict, options: dict, max_steps: int
) -> tuple[OrbitModel, dict, dict]:
    """A model with the labels of single stars, bounds and a start at the optimum of their maps.

    Raises ``ValueError`` as `first_map` and the model's ``auto_init`` do, and for a model that
    takes no such label.
    """
    if not hasattr(maker, "with_label"):
        raise ValueError(
            f"a {maker.__name__} has no labels of single stars: its class needs `with_label`."
        )
    means, values, centres, made, bounds, params = [], [], [], None, {}, {}
    for k in range(len(stars.names)):
        binned = first_map(stars, k, edges)
        if k:
            knots = np.asarray(means[0].knots)
            options = options | {"label_knots": knots}
        own, limits, begin = maker.auto_init(binned, **options)
        if not isinstance(own.label, SplineLabel):
            raise ValueError(f"a {maker.__name__} has no spline for the mean of single stars.")
        problem = Problem.of(own, GaussianPixels.read(binned), begin, limits)
        best = solve(problem, own.floats(begin), max_steps, throw=False).params
        # Where the map alone has no optimum, the stars may have one.
        finite = all(np.all(np.isfinite(x)) for x in jax.tree.leaves(best))
        best = best if finite else begin
        means.append(own.label)
        values.append((best["label_params"]["label_vals"], limits["label_params"]["label_vals"]))
        centres.append(_centres(stars, k, binned))
        if made is None:
            made, bounds, params = own, limits, best
    knots = jnp.linspace(0.0, means[0].knots[-1], SCATTER_KNOTS)
    guide = None
    if stars.points.Lz is not None:
        guide = jnp.asarray(np.median(stars.points.guiding_radius))
    label = StarLabels(stars.names, tuple(means), knots, jnp.asarray(centres), guide)
    begin = label.start([value for value, _ in values])
    limits = _limits(label, begin, [limit for _, limit in values])
    assert made is not None
    return (
        made.with_label(label),
        bounds | {"label_params": limits},
        params | {"label_params": begin},
    )


def begin_again(model: Any, stars: Stars, params: dict, bounds: dict, max_steps: int) -> dict:
    """Parameters near the optimum of other labels of the stars of a fit, from maps of them.

    `model` has labels of single stars; `params` are where its orbits begin.  Raises ``ValueError``
    as `first_map` does.
    """
    label, edges = model.label, edges_of(stars)
    plain = eqx.tree_at(lambda m: m.given, model, {}, is_leaf=lambda x: x is model.given)
    orbits, values, centres = params, [], []
    for k, mean in enumerate(label.means):
        binned = first_map(stars, k, edges, checked=False)
        vals = np.array(label.own(params["label_params"], k)["label_vals"], float)
        known = np.isfinite(np.asarray(binned["label"]))
        low, high = np.quantile(np.asarray(binned["label"])[known], [0.05, 0.95])
        vals[0] = low if mean.sign > 0 else high
        begin = params | {"label_params": {"label_vals": vals}}
        limits = label.own(bounds["label_params"], k)["label_vals"]
        own = plain.with_label(mean)
        limits = bounds | {"label_params": {"label_vals": limits}}
        problem = Problem.of(own, GaussianPixels.read(binned), begin, limits)
        best = solve(problem, own.floats(begin), max_steps, throw=False).params
        finite = all(np.all(np.isfinite(x)) for x in jax.tree.leaves(best))
        best = best if finite else begin
        orbits = orbits if k else best
        values.append(best["label_params"]["label_vals"])
        centres.append(_centres(stars, k, binned))
    here = eqx.tree_at(lambda x: x.centres, label, jnp.asarray(centres))
    new = here.start(values)
    # A start lies inside the limits, which are those of the other labels.
    held = jax.tree.map(
        lambda x, limit: np.clip(x, np.asarray(limit[0]) + 1e-3, np.asarray(limit[1]) - 1e-3),
        new,
        bounds["label_params"],
    )
    return orbits | {"label_params": held}


def _centres(stars: Stars, k: int, binned: dict) -> tuple[float, float, float, float]:
    """Centres of the prior: ln scatter, place of outliers, its sd, ln of their sd."""
    label, err = stars.label[:, k], stars.label_err[:, k]
    known = np.isfinite(label)
    middle = float(np.median(label[known]))
    spread = float(NORMAL * np.median(np.abs(label[known] - middle))) or float(np.std(label[known]))
    s = float(getattr(binned["s"], "value", binned["s"]))
    # A scatter that drowns in the errors is of unknown size, not zero.
    least = max(0.1 * float(np.median(err[known])), 1e-3 * spread)
    return np.log(max(s, least)), middle, 2 * spread, np.log(4 * spread)


def _limits(label: StarLabels, begin: dict, values: list) -> dict:
    """Wide limits of the label's parameters, nested like them: ``(lower, upper)`` each."""

    def about(x, half):
        return np.asarray(x) - half, np.asarray(x) + half

    out = {}
    for k, name in enumerate(label.names):
        own, (_, _, spread, _) = label.own(begin, k), map(float, label.centres[k])
        out[name] = {
            "label_vals": values[k],
            "ln_scatter": about(own["ln_scatter"], 6.0),
            "outlier_mean": about(own["outlier_mean"], 5 * spread),
            "ln_outlier_sd": about(own["ln_outlier_sd"], 3.0),
        }
        if label.guide is not None:
            out[name]["gradient"] = about(own["gradient"], 10 * spread)
    if len(label.names) == 1:
        out = out[label.names[0]]
    else:
        out["correlation"] = about(begin["correlation"], 4.0)
    # Outliers are the smaller part: else the two parts could change their roles.
    out["logit_outliers"] = (np.float64(LOGIT_OUTLIERS[0] - 9.0), np.float64(0.0))
    return out


def check_crowd(stars: Stars) -> None:
    """Raise a ``ValueError`` for so few stars that no map of them has two pixels."""
    if len(stars) < FEWEST_STARS:
        raise ValueError(
            f"fit_stars needs at least {FEWEST_STARS} stars, but {len(stars)} were given."
        )


def check_filled(binned: dict, stars: Stars) -> None:
    """Raise a ``ValueError`` for a map with too few pixels to check a fit in."""
    if binned["label"].size < FEWEST:
        raise ValueError(
            f"{len(stars)} stars fill {binned['label'].size} pixels with {LEAST} stars or more, "
            f"and a fit can only be checked in {FEWEST}: take more stars."
        )


def radius_of_field(stars: Stars, frame: str, R0: Any, wanted: bool | None) -> float | None:
    """R0 (kpc) of a field that changes with the stars' radii; None for one that does not.

    It does where the stars have an R, unless that is not wanted.  R0 is the given one, the frame's,
    or 8.275 kpc.  Raises ``ValueError`` where it is wanted of stars without an R, for stars whose
    radii are one, and for an R0 beyond them.
    """
    R = stars.points.R
    if wanted is not None:
        truth(wanted, "radial")
    if R is None or wanted is False:
        if wanted or R0 is not None:
            raise ValueError(
                "the field cannot change with radius: the stars have no R"
                + (", or radial is False." if wanted is False else ".")
            )
        return None
    spread = float(np.std(R))
    if spread < ONE_RADIUS:
        raise ValueError(
            f"the radii R of the stars are all {np.mean(R):.4g} kpc (sd {1000 * spread:.2g} pc): "
            "how the field changes with R cannot be told; leave R out, or say radial=False."
        )
    if R0 is not None:
        R0 = positive(internal(R0, u.kpc, "R0"), "R0")
    else:
        R0 = radius_of(frame) or DEFAULT_R0
    low, high = float(R.min()), float(R.max())
    if not low <= R0 <= high:
        raise ValueError(
            f"R0 is {R0:.4g} kpc, but the stars' R are from {low:.4g} to {high:.4g} kpc: give an "
            "R0 among them, at which a_z and rho are wanted."
        )
    return R0


def with_angles(model: Any, names: tuple, bounds: dict, start: dict) -> tuple[Any, dict, dict]:
    """A model whose labels may change along the orbit, and bounds and a start with that.

    The labels' ranges, and the last radius, are those of their means at the start.  Raises
    ``ValueError`` for a model of another kind than the package's own.
    """
    if not hasattr(model, "with_extras"):
        raise ValueError(
            f"a {type(model).__name__} has no terms in the angle: its class needs `with_extras`."
        )
    end = model.label.places[-1]
    radii, own = jnp.linspace(0.0, end, 64), jax.tree.map(jnp.asarray, start["label_params"])
    values = jnp.atleast_2d(model.label.value(radii, own))
    if isinstance(model.label, StarLabels):
        values = model.label.values(radii, own)
    ranges = dict(zip(names, np.ptp(np.asarray(values), axis=1).tolist(), strict=True))
    return with_extra(model, AngleTerms.reaching(end, ranges), bounds, start)


def check_number(stars: Stars, params: dict) -> None:
    """Raise a ``ValueError`` for fewer labels of stars than parameters."""
    labels, size = int(np.isfinite(stars.label).sum()), Layout.of(params).size
    if labels <= size:
        raise ValueError(
            f"stars must have more labels than the model has parameters, {size}, but have {labels}."
        )


def star_map(
    model: OrbitModel,
    params: dict,
    stars: Stars,
    k: int = 0,
    edges: dict | None = None,
    likelihood: SingleStars | None = None,
) -> dict:
    """A map of label number `k` of the stars that is compared with the model star by star.

    A pixel's label is the model's at its stars' mean place plus the mean of their residuals, so
    that no change of the label within a pixel makes one.  Weights are the chance to be no outlier
    over scatter^2 + error^2.  Pixels of fewer than five stars are left out.
    """
    params, edges = model.floats(params), edges_of(stars) if edges is None else edges
    if likelihood is None:
        likelihood = SingleStars.read(stars.columns()).padded()
    ends = [edges[name].to_value(unit) for name, unit in (("pos", u.kpc), ("vel", VELOCITY))]
    shape = tuple(e.size - 1 for e in ends)
    # Stars, weights, and weighted sums of pos, of vel and of residuals.
    sums = np.zeros((5, np.prod(shape)))
    for here, (mean, scatter, chance) in evaluate_stars(model, likelihood, params, k):
        label, err = stars.label[here, k], stars.label_err[here, k]
        places = [x[here] for x in stars.points[:2]]
        good = np.isfinite(label)
        weight = np.where(good, chance / (scatter**2 + np.where(good, err, 0.0) ** 2), 0.0)
        rows = [
            np.clip(np.searchsorted(e, x, side="right") - 1, 0, e.size - 2)
            for e, x in zip(ends, places, strict=True)
        ]
        cell = np.ravel_multi_index(rows, shape)
        off = np.where(good, label - mean, 0.0)
        values = (good.astype(float), weight, *(weight * x for x in (*places, off)))
        sums += [np.bincount(cell, x, sums.shape[1]) for x in values]
    filled = (sums[0] >= LEAST) & (sums[1] > 0)
    total = sums[1, filled]
    *places, off = sums[2:, filled] / total
    centres = np.meshgrid(*((e[1:] + e[:-1]) / 2 for e in ends), indexing="ij")
    pos, vel = (c.ravel()[filled] for c in centres)
    plain = model.with_label(model.label.means[k])
    own = params | {"label_params": model.label.own(params["label_params"], k)}
    at = evaluate_label(plain, own, Points(*map(jnp.asarray, places)))
    return {
        "pos": pos * u.kpc,
        "vel": vel * VELOCITY,
        "label": np.asarray(at) + off,
        "label_err": total**-0.5,
        "pos_mean": places[0] * u.kpc,
        "vel_mean": places[1] * VELOCITY,
    }
