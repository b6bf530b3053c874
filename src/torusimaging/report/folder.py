"""A folder with a fit's result file, its table and its figures."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np

from ..arguments import real_number, shown
from ..coordinates import sun_of
from ..data.pixels import as_dictionary
from ..files.folders import filled_folder
from ..files.paths import as_path
from ..inference.draws import SampleState
from ..mock import MockSurvey
from ..plot.acceleration import plot_acceleration_density
from ..plot.actions import plot_actions
from ..plot.chains import plot_corner, plot_trace
from ..plot.maps import plot_counts_label, plot_data_models_residual
from ..plot.predictive import plot_posterior_predictive
from ..plot.profiles import plot_profiles
from ..plot.splines import plot_spline_functions
from ..plot.style import DPI, own_style
from ..results.fit import Fitted
from ..results.literature import RadialTerm
from ..results.profiles import profiles
from .captions import captions_of
from .tables import text_report

STARS_SHOWN = 50_000
FORMATS = ("png", "pdf", "svg")


def write_report(
    fit: Fitted,
    folder: str | os.PathLike,
    binned: dict,
    start: dict | None = None,
    truth: MockSurvey | None = None,
    progress: Callable[[str], None] = lambda name: None,
    *,
    formats: Sequence[str] = ("png",),
    dpi: float = DPI,
    all_figures: bool = False,
    radial: RadialTerm | None = None,
) -> list[Path]:
    """Write ``fit.nc``, ``table.txt``, ``table.ecsv`` and the figures of a fit to `folder`.

    A fit with draws has an ``arviz.nc`` as well (see `Fit.to_arviz`).  `binned` is the map (a grid,
    or one row a pixel), `start` the parameters before the fit, `truth` the mock the map was made
    of, `formats` some of "png", "pdf" and "svg", `dpi` the resolution.  With `all_figures` the
    model's functions and its start are drawn, too; with `radial` (`literature.RadialTerm`)
    densities are given with the radial term of Poisson's equation as well.  ``captions.txt`` says
    what each figure shows.

    Figures have a style of their own where Matplotlib's settings are not changed.  Everything is
    written beside the folder first and moved in when complete, so that a failure leaves nothing
    half-written.  Returns the files.

    Raises ``ValueError`` for what is no fit, map or folder, and ``OSError`` where the folder
    cannot be made or written.
    """
    if not isinstance(fit, Fitted):
        raise ValueError(f"fit must be a Fit, but {shown(fit)} was given.")
    folder, binned = as_path(folder, "folder"), as_dictionary(binned)
    if missing := [n for n in ("pos", "vel", "label", "label_err") if n not in binned]:
        raise ValueError(
            f"the binned map must have {', '.join(missing)} (given: {', '.join(map(str, binned))})."
        )
    formats = check_formats(formats)
    dpi = real_number(dpi, "dpi", "a number from 20 to 2000", lambda x: 20 <= x <= 2000)
    with filled_folder(folder) as (work, files), own_style():
        fit.save(work / "fit.nc")
        text = text_report(fit, truth, everything=True, radial=radial)
        (work / "table.txt").write_text(text + "\n")
        fit.derived(widened=fit.samples is not None, radial=radial).write(work / "table.ecsv")
        if fit.samples is not None:
            fit.to_arviz().to_netcdf(work / "arviz.nc", engine="h5netcdf")
        figures = _figures(fit, binned, start if all_figures else None, truth, radial, all_figures)
        for name, draw in figures.items():
            progress(name)
            figure = draw()
            for ending in formats:
                figure.savefig(work / f"{name}.{ending}", dpi=dpi)
            plt.close(figure)
        (work / "captions.txt").write_text(captions_of(list(figures)))
    return files


def check_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """The endings of figures' files; a ``ValueError`` for others."""
    given = (formats,) if isinstance(formats, str) else tuple(formats)
    unknown = [x for x in given if x not in FORMATS]
    if not given or unknown:
        text = shown(unknown[0]) if unknown else "none"
        raise ValueError(f"format must be some of {', '.join(FORMATS)}, but {text} was given.")
    return tuple(dict.fromkeys(given))


def _figures(
    fit: Fitted,
    binned: dict,
    start: dict | None,
    truth: MockSurvey | None,
    radial: RadialTerm | None,
    everything: bool,
) -> dict:
    """Functions that draw each figure, by file name."""
    residual = {"vlim_residual": 5, "residual_normalization": binned["label_err"]}
    out = {}
    if "counts" in binned:
        out["counts-label"] = lambda: plot_counts_label(binned)[0]
    if start is not None:
        out["initial"] = lambda: _titled(
            plot_data_models_residual(binned, fit.model, start, **residual), "initial model"
        )
    out["model"] = lambda: _titled(
        plot_data_models_residual(binned, fit.model, fit.params, **residual), "best fit"
    )
    if everything:
        out["splines"] = lambda: plot_spline_functions(fit.model, fit.params)[0]
    out["acceleration-density"] = lambda: plot_acceleration_density(
        fit.model,
        fit.params,
        samples=fit.samples,
        truth=truth,
        prior=fit.prior_draws if fit.samples is not None else None,
    )[0]
    if fit.samples is not None:
        out["corner"] = lambda: plot_corner(fit)[0]
        out["posterior-predictive"] = lambda: plot_posterior_predictive(fit)[0]
        # Values of the real Galaxy stand beside a map of which the Sun's place is known.
        real = truth is None and sun_of(fit.frame or "").z is not None
        name = "this fit" if radial is None else "this fit, with the radial term"
        out["profiles"] = lambda: plot_profiles(
            profiles(fit, radial=radial), literature=real, truth=truth, name=name
        )[0]
    if isinstance(fit.state, SampleState):
        out["trace"] = lambda: plot_trace(fit)[0]
    if truth is not None:
        out["actions"] = lambda: _actions(fit, truth)
    return out


def _titled(figure_axes, title: str):
    figure, axes = figure_axes
    np.ravel(axes)[1].set_title(title)
    return figure


def _actions(fit: Fitted, truth: MockSurvey):
    """The model's actions, angles and frequencies against the mock's own."""
    few = slice(0, STARS_SHOWN)
    table = fit.model.compute_action_angle(truth.pos[few], truth.vel[few], fit.params)
    reference = {"J": truth.J[few], "theta": truth.theta[few], "Omega": truth.Omega[few]}
    return plot_actions(table, {k: u.Quantity(v) for k, v in reference.items()})[0]
