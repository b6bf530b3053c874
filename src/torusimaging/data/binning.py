"""Counts and label means of stars in pixels of the (pos, vel) plane."""

from collections.abc import Callable

import astropy.units as u
import boost_histogram as bh
import numpy as np

from ..arguments import check_detrend
from ..parallel import Threads, cores
from .guiding import guiding_radii
from .plane import Plane, check_scatter, labels_of
from .sums import Stars, fill, make_map, require_stars

PARALLEL = 200_000  # stars from which two halves are summed at once


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
    plane = Plane.of(bins, units)
    p, v = plane.places(pos, vel)
    counts = fill(bh.storage.Int64, plane.axes, p, v).view().astype(float)
    ranges = [(np.min(x, initial=np.inf), np.max(x, initial=-np.inf)) for x in map(_finite, (p, v))]
    require_stars(counts, plane.axes, *ranges)
    counted = {"counts": counts, "n_stars": p.size, "n_outside": int(p.size - counts.sum())}
    return plane.grid() | counted


def get_binned_label(
    pos: u.Quantity,
    vel: u.Quantity,
    label,
    bins: dict,
    moment: str = "mean",
    label_err=None,
    units=None,
    s: float | u.Quantity | str | None = None,
    s_N_thresh: int | None = None,
    R_g: u.Quantity | None = None,
    detrend: str | None = None,
) -> dict:
    r"""Mean label of the stars in pixels of the phase plane, and its error.

    With the intrinsic scatter s and the stars' errors sigma_i, a pixel has

        w_i = 1 / (s^2 + sigma_i^2),   label = sum w_i y_i / sum w_i,   label_err^2 = 1 / sum w_i,

    the minimum-variance mean.  Weights of 1/sigma_i^2, with s^2/N added afterwards, would leave an
    error that is too small wherever the sigma_i differ.

    Parameters
    ----------
    pos, vel : quantities (length, speed), shape (n_stars,)
    label, label_err : arrays of the same shape, or quantities; ``label_err=None`` means no
        measurement error
    bins : ``{"pos": edges, "vel": edges}``, increasing, with units; pixels hold their lower edge
    moment : "mean"
    units : unit system of the output, for example gala's ``galactic``; default: the bins' own
    s : the intrinsic scatter, a number in the label's unit or a quantity; None: estimated from all
        stars of the map by restricted maximum likelihood, one value; "local": the same around each
        pixel
    s_N_thresh : accepted for existing scripts, without effect: no star is left out of s
    R_g : guiding radii of the stars (length), |L_z| / v_c: the gradient of the label in R_g at a
        fixed vertical orbit is measured, and what it adds to each pixel's label is kept
    detrend : "R_g": that gradient is taken off the stars' labels first (see `data.guiding`)

    Stars with a NaN, masked or infinite pos, vel, label or error are left out and counted in
    ``n_not_finite``, and so are those whose label or error is a survey's mark of a missing value,
    such as -9999 or -9999.99, farther from the other labels (errors) than these are apart.  The
    error of a star without a label is not looked at; an error of zero means that only s scatters
    the label.  Labels with a unit, other than dex, give ``label``, ``label_err`` and ``s`` in it.

    Returns a dictionary: ``pos``, ``vel`` (pixel centres, shape (n_pos, n_vel)), ``counts``,
    ``label``, ``label_err``, ``pos_mean``, ``vel_mean`` (the stars' mean place with the same
    weights; NaN in empty pixels), ``s``, ``pos_edges``, ``vel_edges``, ``n_stars`` (given),
    ``n_not_finite``, ``n_outside`` (of the bins).  With `R_g` also ``R_g_mean`` (of each pixel's
    stars, kpc), ``R_g_gradient`` (a `guiding.Gradient`), and, without `detrend`, ``R_g_part`` and
    ``R_g_part_err``: what the gradient adds to the pixel's label, which `fit_map` can take off.
    Where too few stars share a pixel for a gradient there is only ``R_g_mean``.

    Where the number of stars n changes across a pixel of width d, their mean place differs from
    the centre by (d^2 / 12) d ln n / d pos: fits compare the label with the model there.

    Raises `UnitError` for missing or wrong units and ``ValueError`` for edges that do not
    increase, arrays of unequal length, negative errors or scatter, labels that are all NaN or of a
    size whose squares are no numbers, no star inside the bins, and a scatter that no pixel with two
    stars can tell.
    """
    if moment != "mean":
        raise ValueError(f"moment must be 'mean', but {moment!r} was given.")
    check_scatter(s)
    plane = Plane.of(bins, units)
    p, v = plane.places(pos, vel)
    labels = labels_of(label, label_err, p.size)
    check_detrend(detrend)
    if detrend is not None and R_g is None:
        raise ValueError('detrend="R_g" needs the guiding radii: give R_g, |L_z| / v_c.')
    radii = None if R_g is None else guiding_radii(R_g, p.size)
    stars = Stars.of(p, v, *labels, x=radii)
    parts = min(2, cores()) if p.size > PARALLEL else 1
    with Threads(parts) as pool:
        passes = _over_parts(stars, parts, pool)
        return plane.describe(make_map(passes, plane.axes, s, detrend is not None))


def _over_parts(stars: Stars, parts: int, pool: Threads) -> Callable:
    """Passes over equal parts of the stars, all at once, added in order."""
    cuts = np.linspace(0, stars.y.size, parts + 1).astype(int)
    chunks = []
    for k, (a, b) in enumerate(zip(cuts[:-1], cuts[1:], strict=True)):
        columns = {name: x[a:b] for name, x in stars.columns().items()}
        left = {} if k == 0 else {"n_not_finite": 0, "n_far": 0}
        chunks.append(stars._replace(**columns, **left))

    def passes(function):
        first, *rest = pool.map(function, chunks)
        return sum(rest, start=first)

    return passes


def _finite(x: np.ndarray) -> np.ndarray:
    return x[np.isfinite(x)]
