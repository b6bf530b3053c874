"""Counts and label means of stars in pixels of the (pos, vel) plane."""

import os
from concurrent.futures import ThreadPoolExecutor

import astropy.units as u
import boost_histogram as bh
import numpy as np

from ..units import internal, plane_units
from .moments import Groups, global_scatter, local_scatter

SPEED = u.km / u.s
# Classes of equal width in the error, so that the scatter, which sees only the classes' mean
# variance, is right to far better than its own noise.
ERROR_CLASSES = 32


def get_binned_counts(pos: u.Quantity, vel: u.Quantity, bins: dict, units=None) -> dict:
    """Number of stars in pixels of the phase plane.

    Parameters
    ----------
    pos, vel : quantities (length, speed), shape (n_stars,); stars that are not finite are left
        out
    bins : ``{"pos": edges, "vel": edges}``, increasing, with units; pixels hold their lower edge
    units : unit system of the output, for example gala's ``galactic``; default: the bins' own

    Returns a dictionary: ``pos``, ``vel`` (pixel centres, shape (n_pos, n_vel)), ``counts`` (same
    shape), ``pos_edges``, ``vel_edges``, ``n_stars`` (given), ``n_outside`` (of the bins, or not
    finite).

    Raises `UnitError` for missing or wrong units and ``ValueError`` for edges that do not
    increase, arrays of unequal length, or no star inside the bins.
    """
    p, v, axes, out = _plane(pos, vel, bins, units)
    counts = _fill(bh.storage.Int64, axes, p, v).view().astype(float)
    _require_stars(counts, p, v, axes)
    return out | {"counts": counts, "n_stars": p.size, "n_outside": int(p.size - counts.sum())}


def get_binned_label(
    pos: u.Quantity,
    vel: u.Quantity,
    label,
    bins: dict,
    moment: str = "mean",
    label_err=None,
    units=None,
    s: float | str | None = None,
    s_N_thresh: int | None = None,
) -> dict:
    r"""Mean label of the stars in pixels of the phase plane, and its error.

    With the intrinsic scatter s and the stars' errors sigma_i, a pixel has

        w_i = 1 / (s^2 + sigma_i^2),   label = sum w_i y_i / sum w_i,   label_err^2 = 1 / sum w_i,

    the minimum-variance mean.  Weights of 1/sigma_i^2, with s^2/N added afterwards, would leave an
    error that is too small wherever the sigma_i differ.

    Parameters
    ----------
    pos, vel : quantities (length, speed), shape (n_stars,)
    label, label_err : arrays of the same shape; ``label_err=None`` means no measurement error
    bins : ``{"pos": edges, "vel": edges}``, increasing, with units; pixels hold their lower edge
    moment : "mean"
    units : unit system of the output, for example gala's ``galactic``; default: the bins' own
    s : the intrinsic scatter in the label's unit; None: estimated from all stars of the map by
        restricted maximum likelihood, one value; "local": the same around each pixel
    s_N_thresh : accepted for existing scripts, without effect: no star is left out of s

    Stars with a NaN or infinite pos, vel, label or error are left out and counted in
    ``n_not_finite``; an error of zero means that only s scatters the label.

    Returns a dictionary: ``pos``, ``vel`` (pixel centres, shape (n_pos, n_vel)), ``counts``,
    ``label``, ``label_err``, ``pos_mean``, ``vel_mean`` (the stars' mean place with the same
    weights; NaN in empty pixels), ``s``, ``pos_edges``, ``vel_edges``, ``n_stars`` (given),
    ``n_not_finite``, ``n_outside`` (of the bins).

    Where the number of stars n changes across a pixel of width d, their mean place differs from
    the centre by (d^2 / 12) d ln n / d pos: fits compare the label with the model there.

    Raises `UnitError` for missing or wrong units and ``ValueError`` for edges that do not
    increase, arrays of unequal length, negative errors or scatter, labels that are all NaN, no
    star inside the bins, and a scatter that no pixel with two stars can tell.
    """
    if moment != "mean":
        raise ValueError(f"moment must be 'mean', but {moment!r} was given.")
    p, v, axes, out = _plane(pos, vel, bins, units)
    y, sigma = _labels(label, label_err, p.size)
    n_stars = p.size
    good = np.isfinite(y) & np.isfinite(p) & np.isfinite(v)
    if sigma is not None:
        good &= np.isfinite(sigma)
    n_bad = int(good.size - np.count_nonzero(good))
    if n_bad == good.size:
        raise ValueError(f"label must have finite values, but none of {n_stars} stars has one.")
    if n_bad:
        p, v, y = p[good], v[good], y[good]
        sigma = None if sigma is None else sigma[good]
    if isinstance(s, str) and s != "local":
        raise ValueError(f"s must be a number, None or 'local', but {s!r} was given.")
    if s is None or isinstance(s, str):
        groups = _groups(axes, p, v, y, sigma)
        counts = groups.count.sum(axis=-1)
        _require_stars(counts, p, v, axes)
        scatter = global_scatter(groups)
        if s == "local":
            scatter = local_scatter(groups, scatter)
    else:
        scatter = float(s)
        if not (np.isfinite(scatter) and scatter >= 0):
            raise ValueError(f"s must be a number of at least 0, but {s!r} was given.")
        counts = _fill(bh.storage.Int64, axes, p, v).view().astype(float)
        _require_stars(counts, p, v, axes)
    mean, error, places = _weighted_mean(axes, p, v, y, sigma, scatter, counts)
    own, shown = (bins["pos"].unit, bins["vel"].unit), (out["pos"].unit, out["vel"].unit)
    means = [(x * unit).to(to) for x, unit, to in zip(places, own, shown, strict=True)]
    return out | {
        "counts": counts,
        "label": mean,
        "label_err": error,
        "pos_mean": means[0],
        "vel_mean": means[1],
        "s": scatter,
        "n_stars": n_stars,
        "n_not_finite": n_bad,
        "n_outside": int(p.size - counts.sum()),
    }


# -- the door --------------------------------------------------------------------------------


def _plane(pos, vel, bins, units):
    """Plain coordinates in the bins' units, axes, and the map's coordinates in `units`."""
    if not isinstance(bins, dict) or not {"pos", "vel"} <= set(bins):
        raise ValueError("bins must be a dictionary with the edges 'pos' and 'vel'.")
    edges, axes, values = {}, [], []
    for name, kind, x in (("pos", u.kpc, pos), ("vel", SPEED, vel)):
        internal(bins[name], kind, f"bins['{name}']")
        unit = bins[name].unit
        # In the bins' unit a catalogue in that same unit is not copied.
        internal(x[:0] if np.ndim(x) else x, kind, name)
        value = np.ravel(np.asarray(x.to_value(unit), dtype=float))
        edges[name] = _edges(bins[name].value, name)
        axes.append(_axis(edges[name]))
        values.append(np.ascontiguousarray(value))
    if values[0].size != values[1].size:
        raise ValueError(
            "pos and vel must have equal length, but have "
            f"{values[0].size} and {values[1].size} stars."
        )
    own = (bins["pos"].unit, bins["vel"].unit)
    wanted = own if units is None else plane_units(units)
    quantities = {
        name: (edges[name] * unit).to(target)
        for name, unit, target in zip(edges, own, wanted, strict=True)
    }
    centres = [0.5 * (q[1:] + q[:-1]) for q in quantities.values()]
    grid = np.meshgrid(*centres, indexing="ij")
    out = {
        "pos": grid[0],
        "vel": grid[1],
        "pos_edges": quantities["pos"],
        "vel_edges": quantities["vel"],
    }
    return *values, axes, out


def _edges(values, name: str) -> np.ndarray:
    edges = np.asarray(values, dtype=float)
    if edges.ndim != 1 or edges.size < 2:
        raise ValueError(
            f"bins['{name}'] must be at least two edges in one row, but has shape {edges.shape}."
        )
    if not np.all(np.isfinite(edges)) or not np.all(np.diff(edges) > 0):
        raise ValueError(f"bins['{name}'] must be finite and increasing.")
    return edges


def _axis(edges: np.ndarray) -> bh.axis.Axis:
    """Even edges need no search."""
    steps = np.diff(edges)
    if np.allclose(steps, steps.mean(), rtol=1e-9, atol=1e-12 * np.abs(edges).max()):
        return bh.axis.Regular(edges.size - 1, edges[0], edges[-1])
    return bh.axis.Variable(edges)


def _labels(label, label_err, n: int) -> tuple[np.ndarray, np.ndarray | None]:
    y = np.ravel(np.ma.filled(np.ma.asarray(label, dtype=float), np.nan))
    if y.size != n:
        raise ValueError(f"label must have one value a star, but has {y.size} for {n} stars.")
    if label_err is None:
        return y, None
    sigma = np.ma.filled(np.ma.asarray(label_err, dtype=float), np.nan)
    sigma = np.ravel(np.broadcast_to(sigma, (n,)) if sigma.ndim == 0 else sigma)
    if sigma.size != n:
        raise ValueError(
            f"label_err must have one value a star, but has {sigma.size} for {n} stars."
        )
    smallest = np.nanmin(sigma) if n and not np.all(np.isnan(sigma)) else 0.0
    if smallest < 0:
        raise ValueError(
            f"label_err must not be negative, but is for {np.sum(sigma < 0)} of {n} stars (the "
            f"smallest: {smallest:g}): leave those stars out."
        )
    return y, sigma


def _require_stars(counts, p, v, axes) -> None:
    if counts.sum() > 0:
        return
    text = []
    for name, x, axis in (("pos", p, axes[0]), ("vel", v, axes[1])):
        x = x[np.isfinite(x)]
        span = f"{x.min():.4g} to {x.max():.4g}" if x.size else "nothing finite"
        text.append(
            f"{name} covers {span} and its bins {axis.edges[0]:.4g} to {axis.edges[-1]:.4g}"
        )
    raise ValueError(f"no star lies inside the bins: {' ; '.join(text)} (in the bins' units).")


# -- the sums --------------------------------------------------------------------------------


def _fill(storage: type[bh.storage.Storage], axes, *columns, **options) -> bh.Histogram:
    """A filled histogram; large samples in two halves at once, added in order."""
    size = columns[0].size
    parts = min(2, os.cpu_count() or 1) if size > 200_000 else 1
    cuts = np.linspace(0, size, parts + 1).astype(int)

    def one(k: int) -> bh.Histogram:
        part = slice(cuts[k], cuts[k + 1])
        histogram = bh.Histogram(*axes, storage=storage())
        return histogram.fill(
            *(c[part] for c in columns), **{n: c[part] for n, c in options.items()}
        )

    with ThreadPoolExecutor(parts) as pool:
        return sum(pool.map(one, range(1, parts)), start=one(0))


def _groups(axes, p, v, y, sigma) -> Groups:
    """Moments of the stars in (pixel, class of error)."""
    if sigma is None:
        view = _fill(bh.storage.Mean, axes, p, v, sample=y).view()[..., None]
        return Groups(view["count"], view["value"], view["_sum_of_deltas_squared"], np.zeros(1))
    low, high = float(sigma.min()), float(sigma.max())
    if low == high:
        view = _fill(bh.storage.Mean, axes, p, v, sample=y).view()[..., None]
        return Groups(
            view["count"], view["value"], view["_sum_of_deltas_squared"], np.array([low**2])
        )
    axis = bh.axis.Regular(ERROR_CLASSES, low, np.nextafter(high, np.inf))
    view = _fill(bh.storage.Mean, [*axes, axis], p, v, sigma, sample=y).view()
    # The classes' mean sigma^2, so that a class stands for its stars on average.
    one = _fill(bh.storage.Mean, [axis], sigma, sample=sigma).view()
    variance = one["value"] ** 2 + one["_sum_of_deltas_squared"] / np.maximum(one["count"], 1)
    return Groups(view["count"], view["value"], view["_sum_of_deltas_squared"], variance)


def _weighted_mean(axes, p, v, y, sigma, scatter, counts):
    """sum w y / sum w, 1 / sqrt(sum w) and (sum w p, sum w v) / sum w of pixels, NaN if empty."""
    filled = counts > 0
    nan = np.full(counts.shape, np.nan)
    if np.ndim(scatter):
        s2 = _per_star(axes, p, v, np.asarray(scatter) ** 2)
    else:
        s2 = scatter**2
    variance = s2 if sigma is None else s2 + sigma * sigma
    if np.any(np.asarray(variance) <= 0):
        raise ValueError(
            "label_err must be positive where the intrinsic scatter s is 0: a star without any "
            "error would have an infinite weight."
        )
    if np.ndim(variance) == 0:
        view = _fill(bh.storage.Mean, axes, p, v, sample=y).view()
        mean, total = view["value"], counts / variance
        weighted = [x / variance for x in (p, v)]
    else:
        weight = 1.0 / variance
        view = _fill(bh.storage.WeightedMean, axes, p, v, sample=y, weight=weight).view()
        mean, total = view["value"], view["sum_of_weights"]
        weighted = [x * weight for x in (p, v)]
    total = np.where(filled, total, 1.0)
    sums = [_fill(bh.storage.Double, axes, p, v, weight=x).view() for x in weighted]
    return (
        np.where(filled, mean, nan),
        np.where(filled, 1.0 / np.sqrt(total), nan),
        [np.where(filled, x / total, nan) for x in sums],
    )


def _per_star(axes, p, v, values: np.ndarray) -> np.ndarray:
    """The value of each star's pixel; stars outside take that of the nearest one."""
    i, j = (np.clip(axis.index(x), 0, axis.size - 1) for axis, x in zip(axes, (p, v), strict=True))
    return values[i, j]
