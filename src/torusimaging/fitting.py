"""Fits of maps: `fit_map` makes them, `load` reads them back, and `Fit` is what users hold."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
from equinox import tree_at

from .arguments import check_detrend, check_options, choice, truth, whole_number
from .coordinates import words_of_frame
from .data.gradient import check_gradient, check_pixels
from .data.pixels import (
    MEANS,
    VELOCITY,
    as_dictionary,
    read_parts,
    read_pixels,
    require_x64,
    without_gradient,
)
from .data.star_tables import stars_of
from .data.stars import Stars
from .inference.problem import Problem, solve
from .likelihoods import GaussianPixels, Likelihood, likelihood_kind
from .likelihoods.stars import SingleStars
from .models.base import OrbitModel
from .models.extras import RadialChange, with_extra
from .models.registry import model_kind
from .models.stars import (
    begin_again,
    check_crowd,
    check_filled,
    check_number,
    edges_of,
    inside,
    radius_of_field,
    star_map,
    start_of,
    with_angles,
)
from .models.verbs import MOST_STEPS
from .parameters import Layout
from .priors.named import Place, leaves_of
from .results import storage
from .results.fit import Fitted, derive
from .results.profiles import on_grid, profiles
from .results.rounding import RoundedTable
from .units import label_unit

if TYPE_CHECKING:
    from .checks.verdict import Verdict


class Fit(Fitted):
    """A fit of a binned map, with its verdict.

    Attributes: ``model``, ``data`` (the usable pixels, with units), ``bounds``, ``start`` and
    ``params`` (before and at the optimum), ``optimizer`` (its state), ``samples`` and ``state``
    (None before sampling), ``frame`` (the frame of pos and vel, in words), ``settings``,
    ``label_unit`` (of the data's plain labels and errors; None where they have none) and
    ``label_name`` (empty where the map has none).
    """

    @cached_property
    def verdict(self) -> "Verdict":
        """Every check that there is, and what to make of it: `torusimaging.judge` of this fit."""
        from .checks.verdict import judge

        return judge(self)

    @property
    def problems(self) -> tuple[str, ...]:
        """What to doubt in the fit and what to do next; empty where every check is good."""
        return tuple(map(str, self.verdict.findings))

    def map_of(self, name: str) -> "Fit":
        """A fit of single stars as one of the map of a label, without draws.

        Raises ``ValueError`` for a fit of a map and for a label that there is not.
        """
        if self.stars is None:
            raise ValueError("only a fit of single stars has maps of its labels.")
        choice(name, "name", self.stars.names)
        model: Any = self.model
        label, k = model.label, self.stars.names.index(name)

        def plain(tree: dict) -> dict:
            own = label.own(tree["label_params"], k)
            more = {x.name: x.own_of_label(tree[x.name], name) for x in model.extras}
            return tree | {"label_params": {"label_vals": own["label_vals"]}} | more

        params = plain(self.params)
        leaves = leaves_of(params)
        given = {n: x for n, x in model.given.items() if Place.of(n).leaf in leaves}
        model = model.with_label(label.means[k])
        model = model.with_extras(tuple(extra.of_label(name) for extra in model.extras))
        model = tree_at(lambda m: m.given, model, given, is_leaf=lambda x: x is model.given)
        return replace(
            self,
            model=model,
            data=self.data if k == 0 else star_map(self.model, self.params, self.stars, k),
            bounds=plain(self.bounds),
            start=plain(self.start),
            params=params,
            samples=None,
            state=None,
            label_name=name,
            label_unit=self.stars.units[name],
            likelihood=GaussianPixels,
            stars=None,
            approximate=True,
        )

    @property
    def begin(self) -> Callable[[dict, dict, int], dict] | None:
        """Where a fit of other labels of its single stars begins; None for a fit of a map.

        A function of the data's columns, parameters whose orbits it begins at, and the most steps,
        that can be sent to another process.
        """
        if self.stars is None:
            return None
        return partial(_begin, self.model, self.stars, self.bounds)

    def report(self, folder: str | os.PathLike | None = None) -> str:
        """The table, how the fit went, and the verdict, as `oti fit` prints them.

        With a `folder` also written there, with the figures and the result file (see
        `report.write_report`).  Raises as that does.
        """
        from .report.folder import write_report
        from .report.tables import text_report

        if folder is not None:
            write_report(self, folder, self.binned, self.start)
        return text_report(self)

    def profiles(self, z: u.Quantity | None = None) -> RoundedTable:
        """a_z, rho and Sigma at heights `z` with their intervals (see `torusimaging.profiles`)."""
        return profiles(self, z)

    def to_arviz(self, z: u.Quantity | None = None) -> Any:
        """The fit as an xarray DataTree that ArviZ reads, with all that follows from the draws.

        Beside the groups of the result file (posterior, sample_stats, observed_data and
        constant_data) the group ``derived`` holds the derived quantities of each draw, shape
        (chain, draw), and a_z, rho and Sigma at the heights `z` above the midplane (length,
        default: 61 to the end of the model), shape (chain, draw, z).  Raises ``ValueError`` before
        sampling and for heights as `profiles` does.
        """
        if self.samples is None or self.state is None:
            raise ValueError("the fit has no draws: call laplace() or sample() first.")
        return storage.tree_with_derived(self, derive(self), *on_grid(self, z))

    def save(self, path: str | os.PathLike) -> Path:
        """Write the fit to a netCDF file in the ArviZ layout; nothing half-written is left.

        Raises ``OSError`` where the folder cannot be written.
        """
        require_x64(self.model)
        return storage.write(self, path)


def fit_map(
    bdata: dict,
    frame: Any = None,
    model: str | type[OrbitModel] = "potential",
    *,
    max_steps: int = 256,
    detrend: str | None = None,
    angles: bool = False,
    likelihood: str | type[Likelihood] = "gaussian",
    **options,
) -> Fit:
    """Fit a model to a binned map: automatic start, then the optimum.

    `frame` is a `catalog.Frame` or the frame in words, by default the map's own.
    `model` is "potential", "spline" or a class of your own (`models.OrbitModel`), and `likelihood`
    "gaussian" or a class of your own (`likelihoods.Likelihood`).  `options` go to the model's
    ``auto_init``, `max_steps` to the optimiser.  ``detrend="R_g"`` brings the labels of a map that
    knows its stars' guiding radii to one of these (see `data.get_binned_label`).  With `angles` the
    label may also change along the orbit, as it does in a disc that was disturbed and is not yet
    mixed (see `models.extras.AngleTerms`).

    Raises ``ValueError`` for another name, bad options and data, and ``RuntimeError`` where the
    optimiser does not converge.
    """
    require_x64()
    maker = model_kind(model)
    bdata = as_dictionary(bdata)
    frame = bdata.get("frame", "not stated") if frame is None else frame
    frame = words_of_frame(frame)
    _check_options(options, model, maker, ("binned_data",))
    check_detrend(detrend)
    truth(angles, "angles")
    lost = 0
    if detrend is not None:
        lost = int(read_pixels(bdata).good.sum())
        bdata = without_gradient(bdata)
    found = read_pixels(bdata)
    lost = max(lost - int(found.good.sum()), 0)
    pixels = found.map
    data = {
        "pos": np.asarray(found.centres.pos) * u.kpc,
        "vel": np.asarray(found.centres.vel) * VELOCITY,
        "label": np.asarray(pixels.label),
        "label_err": np.asarray(pixels.label_err),
    }
    if any(name in bdata for name in MEANS):
        means = np.asarray(pixels.pos) * u.kpc, np.asarray(pixels.vel) * VELOCITY
        data |= dict(zip(MEANS, means, strict=True))
    data |= read_parts(bdata, found.good)
    kind = likelihood_kind(likelihood)
    if kind is not GaussianPixels and options.get("knots") is not None:
        raise ValueError('knots="auto" is for the likelihood "gaussian": give numbers of knots.')
    # The map is read: from here on it is passed as it was.
    made, bounds, start = maker.auto_init(pixels, **options)
    max_steps = whole_number(max_steps, "max_steps", 1, MOST_STEPS)
    if angles:
        made, bounds, start = with_angles(made, ("label",), bounds, start)
    # What an own model's start may not look at.
    check_pixels(pixels.pos.size, Layout.of(start).size)
    check_gradient(pixels)
    problem = Problem.of(made, kind.read(pixels), start, bounds)
    result = solve(problem, made.floats(start), max_steps, throw=True)
    return Fit(
        made,
        data,
        bounds,
        start,
        result.params,
        result.state,
        frame=frame,
        settings={} if detrend is None else {"detrend": detrend, "pixels without R_g": lost},
        label_unit=label_unit(bdata["label"]),
        label_name=str(bdata.get("name", "")),
        likelihood=kind,
    )


def fit_stars(
    stars: Any,
    frame: Any = None,
    model: str | type[OrbitModel] = "potential",
    *,
    labels: str | Sequence[str] | None = None,
    radial: bool | None = None,
    R0: u.Quantity | None = None,
    angles: bool = False,
    max_steps: int = 256,
    **options,
) -> Fit:
    """Fit a model to single stars: each label with its own error, no bins.

    Example: ``oti.fit_stars(oti.Stars(z, v_z, {"mg_fe": mg_fe}, {"mg_fe": mg_fe_err}))``.

    `stars` are `Stars`, what `catalog.load` returns, a table or its file (see `data.stars_of`),
    `labels` the names of those to be
    used, by default all.  Beside the label's mean on each orbit the intrinsic scatter of the stars
    about it, as a function of the orbit, the share and spread of outliers and, of several labels,
    the correlation of their scatter are fitted (see `labels.StarLabels`).  `frame`, `model` and
    `options` are as for `fit_map`.

    Where the stars have an R the field changes with it, as exp(-(R - R0) / h), and ``inv_h``, 1/h,
    is fitted along; ``radial=False`` takes them all to feel one field.  a_z, rho and Sigma are
    those at `R0` (length), by default the frame's, or 8.275 kpc.  Where the stars have an Lz each
    label may change with the guiding radius, by a ``gradient`` that is fitted along.

    With `angles` each label may also change along the orbit, as it does in a disc that was
    disturbed and is not yet mixed (see `models.extras.AngleTerms`).

    Where the stars have a covariance of pos and vel, each label is averaged over where its star may
    truly be, weighted by a density of stars in the plane that is fitted first (`data.mixture`).

    The fit begins at the optimum of a map of the stars, whose pixels hold 40 of them on average.
    Stars beyond its edges, one in a thousand along each axis, are left out.  ``fit.data`` is a map
    of the stars for figures and checks alone.

    Raises ``ValueError`` for bad options and stars, fewer labels than parameters, labels that are
    the same in all stars or say nothing of the orbits, and radii that are all one; ``RuntimeError``
    where the optimiser does not converge.
    """
    require_x64()
    maker = model_kind(model)
    given = stars_of(stars, labels)
    frame = given.frame if frame is None else words_of_frame(frame)
    _check_options(options, model, maker, ("binned_data", "label"))
    if options.get("knots") is not None:
        raise ValueError('knots="auto" is for maps: give numbers of knots.')
    max_steps = whole_number(max_steps, "max_steps", 1, MOST_STEPS)
    truth(angles, "angles")
    radius = radius_of_field(given, frame, R0, radial)
    check_crowd(given)
    edges = edges_of(given)
    used = given.where(inside(given, edges), "beyond the edges of the map").crowded()
    made, bounds, start = start_of(maker, used, edges, options, max_steps)
    if radius is not None:
        made, bounds, start = with_extra(made, RadialChange.about(radius), bounds, start)
    if angles:
        made, bounds, start = with_angles(made, used.names, bounds, start)
    check_number(used, start)
    problem = Problem.of(made, SingleStars.read(used.columns()), start, bounds)
    result = solve(problem, made.floats(start), max_steps, throw=True)
    binned = star_map(made, result.params, used, edges=edges, likelihood=problem.likelihood)
    check_filled(binned, used)
    return Fit(
        made,
        binned,
        bounds,
        start,
        result.params,
        result.state,
        frame=frame,
        settings={"stars left out": used.left_out},
        label_unit=used.units[used.names[0]],
        label_name=used.names[0],
        likelihood=SingleStars,
        stars=used,
    )


def _begin(model: Any, stars: Stars, bounds: dict, data: dict, params: dict, steps: int) -> dict:
    return begin_again(model, stars.with_label(data["label"]), params, bounds, steps)


def _check_options(options: dict, model: Any, maker: type[OrbitModel], taken: tuple) -> None:
    """Raise a ``ValueError`` for options that a model's start has not, or that are set here."""
    name = f"the {model} model" if isinstance(model, str) else maker.__name__
    check_options(options, (maker.auto_init, maker.__init__), name, taken)


def load(path: str | os.PathLike) -> Fit:
    """Read a fit that `Fit.save` wrote.

    Raises ``FileNotFoundError`` for a missing file and ``ValueError`` for a file that is corrupt
    or was not written by this package.
    """
    require_x64()
    return Fit(**storage.read(path))
