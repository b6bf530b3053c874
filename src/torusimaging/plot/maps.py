"""Maps over the (vel, pos) plane: stars, label, model and what the model leaves."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..arguments import real_number, whole_number
from ..data.pixels import as_dictionary
from ..files.missing import stands_out
from ..models.base import OrbitModel
from ..units import label_unit
from .checks import check_params
from .pixels import Pixels
from .style import COUNT_MAP, LABEL_MAP, RESIDUAL_MAP, label_text, label_unit_text

PANEL = (3.5, 3.4)  # inches


def plot_data_models_residual(
    binned_data: dict,
    model: OrbitModel,
    params_fit: dict,
    params_init: dict | None = None,
    smooth_residual: float | None = None,
    vlim_residual: float | None = None,
    residual_normalization=None,
    usys: Any = None,
    contours: int = 7,
) -> tuple[Figure, NDArray]:
    """Draw a map, the model of it and the residual, data - model, side by side.

    Parameters
    ----------
    binned_data : map with pos, vel (quantities) and label, all of one shape: a grid, or a list of
        pixels, which is put back on its grid where it has one and drawn as points where not;
        ``name``, if there, names the label
    model, params_fit : the model and its parameters
    params_init : parameters of a further panel before the model's, for example the start of a fit
    smooth_residual : width (standard deviation, in pixels) of a Gaussian filter of the residual;
        pixels without a value take no part
    vlim_residual : the residual's colours span +-vlim_residual; default: 99 % of the pixels
    residual_normalization : array of the map's shape that divides the residual, as label_err
    usys : unit system (gala's, or a tuple of units with a length and a time or speed) of the axes;
        default: kpc and km/s
    contours : number of the model's contours over the data and the model, which are orbits; 0: none

    Pixels without a finite label are blank in the panels of data and residual; the model is drawn
    in every pixel given.  Returns the figure and its axes, shape (3,) or, with `params_init`, (4,).

    Raises ``ValueError`` for missing entries, unequal shapes, limits or widths that are not
    positive, and `UnitError` for coordinates without units.
    """
    if vlim_residual is not None:
        vlim_residual = real_number(vlim_residual, "vlim_residual", "a number > 0", lambda x: x > 0)
    binned_data = as_dictionary(binned_data)
    pixels = Pixels.of(binned_data, ("label",), usys)
    label = _label(binned_data, pixels)
    check_params(model, params_fit, "params_fit")
    sets = {"model": params_fit}
    if params_init is not None:
        check_params(model, params_init, "params_init")
        sets = {"initial model": params_init, "best-fit model": params_fit}
    pos, vel = binned_data["pos"], binned_data["vel"]
    models = {title: np.ravel(model.get_label(pos, vel, p)) for title, p in sets.items()}

    residual = label - list(models.values())[-1]
    text = f"data - model{label_unit_text(label_unit(binned_data['label']))}"
    if residual_normalization is not None:
        error = pixels.values(residual_normalization, "residual_normalization")
        residual = np.divide(residual, error, out=np.full_like(error, np.nan), where=error > 0)
        text = "(data - model) / error"
    title_residual = "residual"
    if smooth_residual is not None:
        residual = pixels.smooth(residual, smooth_residual)
        title_residual = rf"residual, smoothed ($\sigma$ = {smooth_residual:g} pixels)"

    contours = whole_number(contours, "contours", 0, 100)
    fig, axes = _panels(pixels, 2 + len(models))
    style = {"cmap": LABEL_MAP, "norm": _label_norm(label)}
    mesh = pixels.draw(axes[0], label, **style)
    axes[0].set_title("data")
    for ax, (title, values) in zip(axes[1:-1], models.items(), strict=True):
        pixels.draw(ax, values, **style)
        ax.set_title(title)
    if contours and pixels.cell is not None:
        # The contours are orbits: the method in one picture.
        last = list(models.values())[-1]
        for ax in (axes[0], axes[-2]):
            pixels.contour(ax, last, np.nanpercentile(last, np.linspace(4, 92, contours)))
    fig.colorbar(
        mesh, ax=list(axes[:-1]), label=_label_text(binned_data), extend="both", **_bar(axes.size)
    )
    limit = _symmetric(residual) if vlim_residual is None else float(vlim_residual)
    mesh = pixels.draw(axes[-1], residual, cmap=RESIDUAL_MAP, norm=Normalize(-limit, limit))
    axes[-1].set_title(title_residual)
    fig.colorbar(mesh, ax=axes[-1], label=text, extend="both", **_bar(2))
    return fig, axes


plot_data_model_residual = plot_data_models_residual


def plot_counts_label(binned_data: dict) -> tuple[Figure, NDArray]:
    """Draw the number of stars in each pixel (logarithmic greys) and their mean label.

    `binned_data` has pos, vel (quantities), counts and label, all of one shape, on a grid or as a
    list of pixels.  Pixels without stars are blank.  Returns the figure and its axes, shape (2,).

    Raises ``ValueError`` for missing entries and unequal shapes, `UnitError` for coordinates
    without units.
    """
    binned_data = as_dictionary(binned_data)
    pixels = Pixels.of(binned_data, ("counts", "label"))
    label = _label(binned_data, pixels)
    counts = pixels.values(binned_data["counts"], "counts")
    counts = np.where(counts > 0, counts, np.nan)
    fig, axes = _panels(pixels, 2)
    top = float(np.nanmax(counts, initial=2.0))
    panels = (
        (counts, {"cmap": COUNT_MAP, "norm": LogNorm(1.0, top)}, "number of stars per pixel", {}),
        (
            label,
            {"cmap": LABEL_MAP, "norm": _label_norm(label)},
            _label_text(binned_data),
            {"extend": "both"},
        ),
    )
    for ax, (values, style, text, bar) in zip(axes, panels, strict=True):
        fig.colorbar(pixels.draw(ax, values, **style), ax=ax, label=text, **bar, **_bar(2))
    return fig, axes


def _panels(pixels: Pixels, n: int) -> tuple[Figure, NDArray]:
    fig, axes = plt.subplots(
        1,
        n,
        figsize=(PANEL[0] * n + 1.0, PANEL[1]),
        sharex=True,
        sharey=True,
        layout="constrained",
    )
    across, up = pixels.axis_labels()
    for ax in axes:
        ax.set_xlabel(across)
    axes[0].set_ylabel(up)
    return fig, axes


def _bar(n: int) -> dict:
    # A bar shared by several panels takes its width from all of them.
    return {"fraction": 0.15 / max(n - 1, 1), "aspect": 25, "pad": 0.03 / max(n - 1, 1)}


def _label(data: dict, pixels: Pixels) -> NDArray[np.float64]:
    label = pixels.values(data["label"], "label")
    label = np.where(stands_out(label), np.nan, label)
    if not np.any(np.isfinite(label)):
        raise ValueError(
            f"label of binned_data must have a finite value, but none of {label.size} is."
        )
    return np.where(np.isfinite(label), label, np.nan)


def _label_norm(label: NDArray[np.float64]) -> Normalize:
    # Pixels with a star or two would stretch the colours far beyond the trend.
    low, high = np.nanpercentile(label, [1, 99])
    return Normalize(low, high if high > low else low + 1.0)


def _symmetric(residual: NDArray[np.float64]) -> float:
    size = np.abs(residual[np.isfinite(residual)])
    limit = float(np.percentile(size, 99)) if size.size else 0.0
    return limit if limit > 0 else 1.0


def _label_text(data: dict) -> str:
    return (
        f"mean {label_text(data.get('name', 'label'))}{label_unit_text(label_unit(data['label']))}"
    )
