"""From catalogue files to a sample of stars in the phase plane, and its binned map."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata

import astropy.units as u
import numpy as np
from astropy.table import Table

from ..data.binning import get_binned_label
from ..files.formats import as_floats
from ..units import UnitError, label_unit
from .config import Config, read_config
from .doubts import doubts
from .errors import VerticalErrors, vertical_errors
from .frames import KMS, Frame, Galactocentric, to_galactocentric
from .read import Request, read_stars
from .stars import Stars
from .surveys.base import correlation_names

CORRELATIONS = correlation_names()


@dataclass(frozen=True)
class Sample:
    """The selected stars of a catalogue, and their map.

    Attributes
    ----------
    stars : the catalogue's columns of the selected stars, and the cut flow
    places : their Galactocentric coordinates
    errors : errors of z and v_z, or None where the catalogue lacks the observables' errors
    label, label_err : the label and its error, shape (n_stars,); the error may be None
    binned : the map, as `get_binned_label` returns it
    config : the configuration
    """

    stars: Stars
    places: Galactocentric
    errors: VerticalErrors | None
    label: np.ndarray
    label_err: np.ndarray | None
    binned: dict
    config: Config

    def __len__(self) -> int:
        return len(self.stars)

    @property
    def flow(self):
        """The steps from the files' rows to the sample."""
        return self.stars.flow

    @property
    def frame(self) -> Frame:
        """The frame of all places and velocities."""
        return self.places.frame

    @property
    def derived(self) -> dict[str, u.Quantity | np.ndarray]:
        """The columns that were computed: places, velocities and the errors of z and v_z."""
        out = {name: getattr(self.places, name) for name in ("x", "y", "z", "R", "phi")}
        out |= {name: getattr(self.places, name) for name in ("v_R", "v_phi", "v_z")}
        if self.errors is not None:
            out |= {"z_err": self.errors.z, "v_z_err": self.errors.v_z}
            out["z_v_z_corr"] = self.errors.correlation
        return out

    @property
    def table(self) -> Table:
        """The stars with their own and the computed columns, as an Astropy table."""
        return Table(self.columns, meta=self.meta, copy=False)

    @property
    def columns(self) -> dict[str, u.Quantity | np.ndarray]:
        """The catalogue's columns, those named as a computed one as NAME_catalog, and these."""
        derived, units = self.derived, self.stars.units
        own = {
            f"{name}_catalog" if name in derived else name: values * units[name]
            if name in units
            else values
            for name, values in self.stars.columns.items()
        }
        return own | derived

    def describe(self) -> str:
        """The sample in a few lines: stars, pixels, scatter, errors and frame."""
        counts = self.binned["counts"]
        lines = [
            f"{len(self):,} stars, {int(counts.sum()):,} of them in {int((counts > 0).sum()):,} "
            f"pixels; scatter of {self.config.label[0]}: {np.mean(self.binned['s']):.4f}"
        ]
        if self.errors is None:
            lacking = [name for name in _measured(self.stars) if not _has_error(self.stars, name)]
            lines.append(_without_errors(self.stars, lacking, "no errors of z and v_z"))
        else:
            z, v_z = np.nanmedian(self.errors.z), np.nanmedian(self.errors.v_z)
            lines.append(f"median errors: z {z.to(u.pc):.1f}, v_z {v_z:.2f}")
        if (gradient := self.binned.get("R_g_gradient")) is not None:
            taken = ", taken off" if self.config.detrend else ""
            lines.append(f"gradient of {self.config.label[0]}: {gradient}{taken}")
        if n := len(self.flow.remarks):
            lines.append(f"worth a look: the note{'s' * (n > 1)} below the cuts")
        return "\n".join([*lines, f"frame {self.frame}"])

    @property
    def meta(self) -> dict:
        """What made the sample, as JSON can hold it: frame, configuration, cuts and version."""
        return {
            "frame": self.frame.as_dict(),
            "config": dict(self.config.tree),
            "cut_flow": [[s.name, s.removed, s.left] for s in self.flow],
            "remarks": list(self.flow.remarks),
            "label": list(self.config.label),
            "version": metadata.version("orbital-torus-imaging"),
        }


def load(
    config: str | os.PathLike | Mapping | Config,
    progress: Callable[[str], None] = lambda stage: None,
) -> Sample:
    """Read, clean, transform, select and bin a catalogue.

    Parameters
    ----------
    config : a TOML file, a mapping with its sections, or what `read_config` made of one;
        `template` shows a file
    progress : is called with a word at each stage

    The steps, each counted in the cut flow, are: rows, join and duplicates (`read_stars`); flags;
    parallax (or distance) positive, and above the asked multiple of its error; proper motions and
    radial velocity measured; cuts on columns, volume and orbits; a finite label; and a label
    error that is finite and not negative.

    Values that no star has, such as speeds beyond 3,000 km/s, are no reason to leave a star out,
    but remarks of the cut flow.

    Raises ``FileNotFoundError``, ``ValueError`` and `UnitError` as `read_config` and `read_stars`
    do, and ``ValueError`` where no star is left, naming the cut, and where the stars that are left
    make no map.
    """
    config = config if isinstance(config, Config) else read_config(config)
    progress("reading")
    stars = read_stars(config.files, _request(config))
    progress("cutting")
    stars.apply(stars.flag_cuts(config.flags))
    stars.apply(measured(stars, config.selection.parallax_over_error))
    stars.apply(config.selection.column_cuts(stars.columns))
    progress("transforming")
    places = to_galactocentric(config.frame, *_observables(stars))
    places = places.take(stars.apply(config.selection.space_cuts(places)))
    if config.label[1] is not None:
        stars.columns[config.label[1]] = _label_error(stars, *config.label)
    places = places.take(stars.apply(_label_cuts(stars, config.label)))
    errors = _errors(stars, config.frame)
    progress("binning")
    label, label_err = (None if c is None else as_floats(stars.columns, c) for c in config.label)
    stars.flow.remarks += doubts(stars, places, config.label, config.preset.unique)
    unit = label_unit(stars.units.get(config.label[0]))
    measured_labels = (x if x is None or unit is None else x * unit for x in (label, label_err))
    binned = _binned(config, stars.flow, places, *measured_labels)
    return Sample(stars, places, errors, label, label_err, binned, config)


def _binned(config: Config, flow, places: Galactocentric, label, label_err) -> dict:
    """The map; where there is none, the reason in the words of the configuration."""
    bins, first = dict(config.bins), flow.steps[0]
    try:
        # Every catalogue knows L_z: what its gradient in R_g does to the label goes with the map.
        R_g = config.selection.rotation.guiding_radius(places.L_z, places.R)
        return get_binned_label(
            places.z,
            places.v_z,
            label,
            bins,
            label_err=label_err,
            s=config.scatter,
            R_g=R_g,
            detrend=config.detrend,
        )
    except ValueError as error:
        edges = (bins["pos"].to(u.kpc), bins["vel"].to(KMS))
        values = (places.z.to_value(u.kpc), places.v_z.to_value(KMS))
        counts = np.histogram2d(*values, [edge.value for edge in edges])[0]
        left = f"of {first.left:,} {first.name} the cuts left {flow.steps[-1].left:,} stars"
        if not counts.any():
            reach = " and ".join(f"{edge[-1]:g}" for edge in edges)
            raise ValueError(
                f"no star is inside the bins: {left}, none of them within bins.z_max and "
                f"bins.vz_max, {reach}."
            ) from None
        if not counts.max() > 1 and not isinstance(config.scatter, float | int):
            raise ValueError(
                f"label.scatter cannot be estimated: {left}, {int(counts.sum()):,} of them inside "
                "the bins, no two in one pixel; give label.scatter a number, or make the pixels "
                "larger, bins.n_z and bins.n_vz."
            ) from None
        raise ValueError(f"the stars cannot be binned ({left}): {error}") from None


def measured(
    stars: Stars, parallax_over_error: float | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """The cuts of stars whose place or velocity is not known, for `Stars.apply`.

    Positions must be finite, a parallax positive, and with `parallax_over_error` at least that
    multiple of its error; a distance must be positive; proper motions and the radial velocity must
    be finite.
    """
    # Beyond a full turn, and beyond the poles, are marks and other units, not places.
    turn, pole = (stars.units.get(stars.roles.get(x, x), u.deg) for x in ("ra", "dec"))
    on_sky = np.abs(stars.values("ra")) <= (360 * u.deg).to_value(turn) * (1 + 1e-9)
    near = np.abs(stars.values("dec")) <= (90 * u.deg).to_value(pole) * (1 + 1e-9)
    yield "ra and dec measured", on_sky & near
    yield f"{stars.distance} > 0", stars.values(stars.distance) > 0
    if parallax_over_error is not None:
        if not stars.has("parallax_error"):
            what = "selection.parallax_over_error needs the parallaxes' errors"
            raise ValueError(f"{_without_errors(stars, ['parallax'], what)}.")
        ratio = stars.values("parallax") / stars.values("parallax_error")
        yield f"parallax / error >= {parallax_over_error:g}", ratio >= parallax_over_error
    for name in ("pmra", "pmdec"):
        yield f"{name} measured", np.isfinite(stars.values(name))
    yield "radial velocity measured", np.isfinite(stars.values("radial_velocity"))


def _label_cuts(stars: Stars, label: tuple[str, str | None]) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{label[0]} measured", np.isfinite(as_floats(stars.columns, label[0]))
    if label[1] is not None:
        error = stars.columns[label[1]]
        yield f"{label[1]} measured", np.isfinite(error) & (error >= 0)


def _label_error(stars: Stars, label: str, error: str) -> np.ndarray:
    """The label's error in the label's unit, which becomes the column's."""
    values, unit = as_floats(stars.columns, error), stars.units.get(label)
    own = stars.units.get(error)
    if own is None or unit is None or own == unit:
        return values
    try:
        values = own.to(unit, values)
    except u.UnitConversionError:
        raise UnitError(
            f"column '{error}' must have a unit like that of '{label}', {unit}, but has {own}."
        ) from None
    stars.units[error] = unit
    return values


def _request(config: Config) -> Request:
    needed = [*config.flags, *config.selection.columns]
    if config.selection.parallax_over_error is not None:
        roles = [config.preset.column(role) for role in ("parallax", "parallax_error")]
        needed += [name for name in roles if name]
    return Request(
        config.preset,
        config.label,
        tuple(dict.fromkeys(needed)),
        config.units,
        tuple(config.flags),
    )


def _observables(stars: Stars) -> list[u.Quantity]:
    names = ("ra", "dec", stars.distance, "pmra", "pmdec", "radial_velocity")
    return [stars.quantity(name) for name in names]


def _measured(stars: Stars) -> tuple[str, ...]:
    """The observables whose errors make those of z and v_z."""
    return stars.distance, "pmra", "pmdec", "radial_velocity"


def _has_error(stars: Stars, name: str) -> bool:
    return stars.has(f"{name}_error")


def _without_errors(stars: Stars, lacking: list[str], what: str) -> str:
    """A sentence about errors that the catalogue does not have."""
    columns = ", ".join(f"'{stars.roles.get(name, name)}'" for name in lacking)
    keys = ", ".join(f'{name}_error = "..."' for name in lacking)
    return f"{what}: those of {columns} are not known; [columns] names them, {keys}"


def _errors(stars: Stars, frame: Frame) -> VerticalErrors | None:
    """Errors of z and v_z where the catalogue has those of the observables."""
    distance, needed = stars.distance, _measured(stars)
    if not all(_has_error(stars, name) for name in needed):
        return None
    names = [*(name for name in ("ra", "dec") if stars.has(f"{name}_error")), *needed]
    errors = {name: stars.quantity(f"{name}_error") for name in names}
    used = [
        name
        for name in CORRELATIONS
        if stars.has(name) and (distance == "parallax" or "parallax" not in name)
    ]
    correlations = {name: stars.values(name) for name in used}
    return vertical_errors(frame, *_observables(stars), errors, correlations)
