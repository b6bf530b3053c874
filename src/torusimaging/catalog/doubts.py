"""Sentences about stars that no cut removed, though their values are hardly measurements."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np

from ..coordinates import doubt_of_label
from ..files.formats import as_floats
from .frames import KMS, Galactocentric

if TYPE_CHECKING:
    from .stars import Stars

FASTEST = 3_000  # km/s: far above the escape speed, far below the marks of a missing value
NEAREST = 1e-3  # kpc: nearer than the nearest star
# Abundances, ages in Gyr and their marks of a missing value, -99.9 among them, lie on either side.
LARGEST = 99
# Columns of distances that were made with spectra or colours.
MODELLED = re.compile(r"(?i)spec|phot|nn_|_nn|starhorse|isochrone")
MARK = "if that stands for a missing value, name it in missing = [...]"


def doubts(
    stars: "Stars", places: Galactocentric, label: tuple[str, str | None], unique: str | None
) -> Iterator[str]:
    """What is worth a word about the selected stars: speeds, distances, labels, repetitions.

    Parameters
    ----------
    stars, places : the stars and their coordinates
    label : the columns of the label and its error, or None
    unique : the column by which each star is there once, or None
    """
    name = stars.roles.get("radial_velocity", "radial_velocity")
    velocity = np.abs(stars.quantity("radial_velocity").to_value(KMS))
    yield from _beyond(velocity > FASTEST, stars.values("radial_velocity"), name, "3,000 km/s")
    speed = np.sqrt(sum(q.to_value(KMS) ** 2 for q in (places.v_x, places.v_y, places.v_z)))
    fast = (speed > FASTEST) & (velocity <= FASTEST)
    if fast.any():
        yield (
            f"{_stars(fast)} faster than 3,000 km/s by distance and proper motion, the fastest "
            f"{speed[fast].max():,.0f} km/s: distances may be badly measured (selection."
            f"parallax_over_error = 5 leaves such stars out), or {MARK[3:]}."
        )
    near = _distance(stars) < NEAREST
    if near.any():
        yield (
            f"{_stars(near)} nearer than 1 pc, such as one with '{_column(stars)}' "
            f"{stars.values(stars.distance)[near][0]:.10g}: {MARK}."
        )
    for column in label:
        if column is not None:
            values = as_floats(stars.columns, column)
            yield from _beyond(np.abs(values) >= LARGEST, values, column, f"+-{LARGEST}")
    if doubt := doubt_of_label(label[0]):
        yield doubt
    if stars.distance != "parallax" and MODELLED.search(_column(stars)):
        yield (
            f"the distances '{_column(stars)}' seem to come from spectra or colours: their errors "
            "go with the abundances, so that the label changes over the plane for no reason of the "
            "orbits; parallaxes do not do this."
        )
    if unique is None:
        again = _repeated(*(stars.values(k) for k in ("ra", "dec", "pmra", "pmdec")))
        if again:
            yield (
                f"{again:,} stars have exactly the place and motion of another one: if a star may "
                "have several rows, name the column of its id in [join] unique = ..."
            )


def _beyond(far: np.ndarray, values: np.ndarray, name: str, limit: str) -> Iterator[str]:
    if far.any():
        n = np.count_nonzero(far)
        yield (
            f"'{name}' of {n:,} of {far.size:,} stars is beyond {limit}, such as "
            f"{values[far][0]:.10g}: {MARK}."
        )


def _stars(which: np.ndarray) -> str:
    n = np.count_nonzero(which)
    return f"{n:,} star{'s are' if n > 1 else ' is'}"


def _column(stars: "Stars") -> str:
    return stars.roles.get(stars.distance, stars.distance)


def _distance(stars: "Stars") -> np.ndarray:
    return stars.quantity(stars.distance).to_value(u.kpc, u.parallax())


def _repeated(*columns: np.ndarray) -> int:
    """How many rows are equal in all columns to an earlier one."""
    # Most stars differ from all others in the first column already.
    _, group, counts = np.unique(columns[0], return_inverse=True, return_counts=True)
    some = np.flatnonzero(counts[group] > 1)
    if some.size == 0:
        return 0
    rows = np.unique(np.column_stack([column[some] for column in columns]), axis=0)
    return some.size - rows.shape[0]
