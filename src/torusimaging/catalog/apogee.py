"""The two files of the published tutorial, joined as it does."""

import os

import numpy as np

from ..arguments import shown, texts
from .read import Request, read_stars
from .stars import Stars
from .surveys.apogee import APOGEE_DR17

FLAGS = (
    "ASPCAPFLAG",
    "STARFLAG",
    "APOGEE_TARGET1",
    "APOGEE_TARGET2",
    "APOGEE2_TARGET1",
    "APOGEE2_TARGET2",
    "APOGEE2_TARGET3",
    "MEMBERFLAG",
)


def read_apogee(
    allstar: str | os.PathLike,
    gaia: str | os.PathLike,
    label: str = "MG_FE",
    label_err: str | None = None,
    extra: tuple[str, ...] = (),
) -> Stars:
    """APOGEE DR17 stars with Gaia DR3 measurements, each star once, before any cut.

    Parameters
    ----------
    allstar : the spectroscopic file, ``allStarLite-dr17-synspec_rev1.fits``
    gaia : the file of Gaia's measurements, ``allStar-dr17-synspec-gaiadr3-gaiasourcelite.fits``
    label : the label's column
    label_err : that of its error; default: the label's name with ``_ERR``
    extra : further columns of either file

    The files are joined on ``APOGEE_ID`` and ``apogee_id``; of the rows of one ``source_id`` that
    of the highest ``SNR`` is kept, of equal ones the first.  `Stars.table` goes into
    ``pyia.GaiaData(..., radial_velocity_colname="VHELIO_AVG")``.

    Raises as `read_stars`.
    """
    error = f"{label}_ERR" if label_err is None else label_err
    for name, value in (("label", label), ("label_err", error)):
        if not isinstance(value, str):
            raise ValueError(f"{name} must be the name of a column, but {shown(value)} was given.")
    needed = (*FLAGS, *(texts(extra, "extra") if np.size(extra) else ()))
    return read_stars([allstar, gaia], Request(APOGEE_DR17, (label, error), needed, flags=FLAGS))
