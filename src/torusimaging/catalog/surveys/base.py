"""What is known of a survey: files, columns, flags, downloads and published selections."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..selection import Selection


OBSERVABLES = ("ra", "dec", "parallax", "pmra", "pmdec", "radial_velocity")


def correlation_names() -> list[str]:
    """The names of the catalogue's correlation columns, as Gaia calls them."""
    five = OBSERVABLES[:5]
    return [f"{a}_{b}_corr" for i, a in enumerate(five) for b in five[i + 1 :]]


# What a star needs; the errors and correlations below are used where the files have them.
NEEDED = OBSERVABLES
ERRORS = ("parallax_error", "pmra_error", "pmdec_error", "radial_velocity_error")
OPTIONAL = ("ra_error", "dec_error", *correlation_names())
CORRELATIONS = dict(zip(correlation_names(), combinations(OBSERVABLES[:5], 2), strict=True))
UNITS: Mapping[str, str] = MappingProxyType(
    {
        "ra": "deg",
        "dec": "deg",
        "parallax": "mas",
        "distance": "kpc",
        "pmra": "mas / yr",
        "pmdec": "mas / yr",
        "radial_velocity": "km / s",
        "ra_error": "mas",
        "dec_error": "mas",
        "parallax_error": "mas",
        "distance_error": "kpc",
        "pmra_error": "mas / yr",
        "pmdec_error": "mas / yr",
        "radial_velocity_error": "km / s",
    }
)


def observables_of(role: str) -> tuple[str, ...]:
    """The observables that an error or a correlation is of; none for other roles."""
    if role.endswith("_error"):
        return (role.removesuffix("_error"),)
    return CORRELATIONS.get(role, ())


@dataclass(frozen=True)
class Preset:
    """A survey's files and columns.

    Attributes
    ----------
    name, title : its name here and in words
    files : the names of its files, in the order in which they are given
    hdus : the HDU of the table in each, a number or a name, None for the first table
    keys : the column of each file by which they are joined; empty for one file
    unique : the column that names a star once in the sample
    best : of a star's rows that with the highest value here is kept
    columns : column by role, where it is not the role's name; "" where there is none
    label : the default label and its error, columns
    missing : values that stand for a missing one
    flags : the flags cut by default, as in `Survey.flags`
    frame, selection : names of the defaults
    extra : further columns kept where the files have them
    source : where the names come from
    units : whether columns without a unit in the file have the documented one, `UNITS`
    where : where its files are, in words
    """

    name: str
    title: str
    files: tuple[str, ...] = ()
    hdus: tuple[int | str | None, ...] = ()
    keys: tuple[str, ...] = ()
    unique: str | None = None
    best: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    label: tuple[str, str] | None = None
    missing: tuple[float, ...] = ()
    flags: Mapping[str, object] = field(default_factory=dict)
    flag_preset: str | None = None
    frame: str = "tutorial"
    selection: str = "none"
    extra: tuple[str, ...] = ()
    source: str = ""
    units: bool = True
    where: str = ""

    def column(self, role: str) -> str:
        """The column of a role, "" for none.

        An error or a correlation is that of the columns called as their roles are: where the
        observable is another column, it has an error only where `columns` names one.
        """
        moved = any(self.columns.get(name, name) != name for name in observables_of(role))
        return self.columns.get(role, "" if moved else role)

    @property
    def roles(self) -> dict[str, str]:
        """The columns of all roles that are not called as their roles are, "" for none."""
        none = {role: "" for role in (*UNITS, *OPTIONAL) if not self.column(role)}
        return dict(self.columns) | none


@dataclass(frozen=True)
class Download:
    """A file: its name, its address, or in words where a person finds it."""

    name: str
    url: str | None
    where: str


@dataclass(frozen=True)
class Survey:
    """Everything of one survey, in one place.

    Attributes
    ----------
    presets : its releases and how they are read
    bits : ``{flag: {name: bit}}`` of flags whose bits have names
    flags : by a name, the bits that are cut of each flag
    downloads : the files of a preset that are public, by the preset's name
    selections : published selections of its stars by name
    """

    presets: tuple[Preset, ...] = ()
    bits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    flags: Mapping[str, Mapping[str, tuple[str, ...] | str]] = field(default_factory=dict)
    downloads: Mapping[str, tuple[Download, ...]] = field(default_factory=dict)
    selections: Mapping[str, "Selection"] = field(default_factory=dict)


SDSS = "https://data.sdss.org/sas"
ANY = "any"  # every bit of a flag
