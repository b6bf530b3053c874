"""A folder with a fit's result file, its table and its figures."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np

from .. import plot
from ..arguments import real_number, shown
from ..coordinates import sun_of
from ..data.pixels import as_dictionary
from ..files.paths import as_path
from ..files.writing import begun, folder_beside
from ..inference.draws import SampleState
from ..mock import MockSurvey
from ..plot.style import own_style
from ..results.fit import Fit
from ..results.literature import RadialTerm
from ..results.profiles import profiles
from .captions import captions_of
from .tables import text_report

DPI = 110
STARS_SHOWN = 50_000
FORMATS = ("png", "pdf", "svg")


def write_report(
    fit: Fit,
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
    if not isinstance(fit, Fit):
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


@contextmanager
def filled_folder(folder: str | os.PathLike) -> Iterator[tuple[Path, list[Path]]]:
    """A folder to write to and a list of files, which at the end are those moved to `folder`.

    After an exception nothing is left.  Raises ``OSError`` as `prepare_folder` does.
    """
    folder = prepare_folder(folder)
    work = folder_beside(folder)
    files: list[Path] = []
    try:
        with begun(work):
            yield work, files
        if not folder.exists():
            # One step: a kill leaves the folder complete or not there.
            work.rename(folder)
            files += sorted(folder.iterdir())
            return
        names = sorted(p.name for p in work.iterdir())
        for name in names:
            if (folder / name).is_dir():
                raise OSError(f"{folder / name} cannot be written: it is a folder.")
        for name in names:
            os.replace(work / name, folder / name)
            files.append(folder / name)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(f"{folder} cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def prepare_folder(folder: str | os.PathLike) -> Path:
    """Check that `folder` can be made or written, without making it; its absolute path.

    Raises ``ValueError`` for what is no path and ``OSError`` with the reason.
    """
    folder = as_path(folder, "the output folder", "be a path").absolute()
    if folder.exists() and not folder.is_dir():
        raise OSError(f"the output folder {folder} is a file.")
    if not folder.parent.is_dir():
        raise OSError(f"the output folder {folder} cannot be made: {folder.parent} is no folder.")
    for place in {folder.parent, folder if folder.exists() else folder.parent}:
        try:
            tempfile.TemporaryFile(dir=place).close()
        except OSError as error:
            raise OSError(
                f"the output folder {folder} cannot be written: {error.strerror}."
            ) from None
    return folder


def _figures(
    fit: Fit,
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
        out["counts-label"] = lambda: plot.plot_counts_label(binned)[0]
    if start is not None:
        out["initial"] = lambda: _titled(
            plot.plot_data_models_residual(binned, fit.model, start, **residual), "initial model"
        )
    out["model"] = lambda: _titled(
        plot.plot_data_models_residual(binned, fit.model, fit.params, **residual), "best fit"
    )
    if everything:
        out["splines"] = lambda: plot.plot_spline_functions(fit.model, fit.params)[0]
    out["acceleration-density"] = lambda: plot.plot_acceleration_density(
        fit.model,
        fit.params,
        samples=fit.samples,
        truth=truth,
        prior=fit.prior_draws if fit.samples is not None else None,
    )[0]
    if fit.samples is not None:
        out["corner"] = lambda: fit.plot_corner()[0]
        out["posterior-predictive"] = lambda: fit.plot_posterior_predictive()[0]
        # Values of the real Galaxy stand beside a map of which the Sun's place is known.
        real = truth is None and sun_of(fit.frame or "").z is not None
        name = "this fit" if radial is None else "this fit, with the radial term"
        out["profiles"] = lambda: plot.plot_profiles(
            profiles(fit, radial=radial), literature=real, truth=truth, name=name
        )[0]
    if isinstance(fit.state, SampleState):
        out["trace"] = lambda: fit.plot_trace()[0]
    if truth is not None:
        out["actions"] = lambda: _actions(fit, truth)
    return out


def _titled(figure_axes, title: str):
    figure, axes = figure_axes
    np.ravel(axes)[1].set_title(title)
    return figure


def _actions(fit: Fit, truth: MockSurvey):
    """The model's actions, angles and frequencies against the mock's own."""
    few = slice(0, STARS_SHOWN)
    table = fit.model.compute_action_angle(truth.pos[few], truth.vel[few], fit.params)
    reference = {"J": truth.J[few], "theta": truth.theta[few], "Omega": truth.Omega[few]}
    return plot.plot_actions(table, {k: u.Quantity(v) for k, v in reference.items()})[0]
