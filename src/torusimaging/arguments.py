"""Checks of arguments that many doors share: one plain sentence for each kind of fault."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

LONGEST = 80  # characters of a value that a sentence shows


def shown(value: Any) -> str:
    """A value as a sentence shows it: on one line, and not longer than a few words."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        # A message about a bad value must not fail for what the value does.
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def hint(name: object, known: Iterable[object], cutoff: float = 0.5) -> str:
    """A question about a name that is unknown: the nearest one, whatever its case, or nothing."""
    folded = {str(k).lower(): str(k) for k in known}
    close = difflib.get_close_matches(str(name).lower(), list(folded), 1, cutoff)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


def nearest(name: object, known: Iterable[object], cutoff: float = 0.5) -> str:
    """The end of a sentence about a name that is unknown: the nearest one, or all there are."""
    names = [str(k) for k in known if k]
    if question := hint(name, names, cutoff):
        return question
    return f" (there are {', '.join(names)})." if names else "."


def is_whole_number(value: Any) -> bool:
    """Whether a value is of a kind of whole numbers, which truth values are not."""
    return isinstance(value, Integral) and not isinstance(value, bool | np.bool_)


def whole_number(value: Any, name: str, least: int, most: int | None = None) -> int:
    """The value as an ``int``; a ``ValueError`` for what is none, truth values included."""
    if not is_whole_number(value) or value < least or (most is not None and value > most):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be a whole number {span}, but {shown(value)} was given.")
    return int(value)


def real_number(value: Any, name: str, allowed: str, fits: Callable[[float], bool]) -> float:
    """The value as a ``float``; a ``ValueError`` unless it is finite and `fits`.

    `allowed` is what it must be, in words.  Arrays of one number are taken.
    """
    try:
        plain = np.asarray(value)
        # A unit would be dropped here: what has one is no plain number.
        good = plain.dtype.kind in "iuf" and getattr(value, "unit", None) is None
        # A masked number would be the one that is hidden, or 0.
        good = good and not np.ma.is_masked(value)
        number = float(plain.reshape(())) if good else np.nan
    except (TypeError, ValueError, OverflowError):
        number = np.nan
    if not np.isfinite(number) or not fits(number):
        raise ValueError(f"{name} must be {allowed}, but {shown(value)} was given.")
    return number


def positive(value: Any, name: str) -> float:
    """The value as a ``float``; a ``ValueError`` unless it is a finite number above 0."""
    return real_number(value, name, "positive", lambda x: x > 0)


def sign(value: Any, name: str) -> int:
    """+1 or -1; a ``ValueError`` for anything else."""
    return int(real_number(value, name, "+1 or -1", lambda x: abs(x) == 1))


def truth(value: Any, name: str) -> bool:
    """The value as a ``bool``; a ``ValueError`` for anything but True and False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, but {shown(value)} was given.")
    return bool(value)


def choice(value: Any, name: str, known: Iterable[str]) -> str:
    """The value; a ``ValueError`` unless it is one of the words `known`."""
    known = list(known)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, but {shown(value)} was given.")
    return value


def texts(value: Any, name: str) -> list[str]:
    """The words of a sequence; a ``ValueError`` for anything else, and where it is empty."""
    good = isinstance(value, Iterable) and not isinstance(value, str | bytes | dict)
    if not good or np.ndim(value) != 1 or not all(isinstance(x, str) for x in value):
        raise ValueError(f"{name} must be a list of names, but {shown(value)} was given.")
    if not len(value):
        raise ValueError(f"{name} must hold at least one name, but is empty.")
    return list(value)


def mapping(value: Any, name: str) -> Mapping:
    """The value; a ``ValueError`` unless it holds things by name, as a dictionary does."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{name} must be a dictionary by name, but {shown(value)} was given.")
    return value


def dictionary(value: Any, name: str) -> dict:
    """The value, an empty one for None; a ``ValueError`` unless it is a dictionary."""
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{name} must be a dictionary, but {shown(value)} was given.")
    return value or {}


def check_options(
    given: Any, makers: Sequence[Callable], name: str, taken: Iterable[str] = ()
) -> None:
    """Raise a ``ValueError`` for an option that no maker takes, or that is set elsewhere.

    `taken` are the arguments of the makers that have a value already.
    """
    taken = tuple(taken)
    allowed = [k for maker in makers for k in _names(maker) if k not in taken]
    for key in dictionary(given, name):
        if key in taken:
            raise ValueError(f"{name} must not hold {key!r}, which has a value already.")
        if key not in allowed:
            raise ValueError(f"{name} has no {shown(key)}{nearest(key, dict.fromkeys(allowed))}")


def _names(function: Callable) -> list[str]:
    """Names of a function's arguments but the one that it is a method of."""
    parameters = inspect.signature(function).parameters.values()
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [p.name for p in parameters if p.kind not in variadic and p.name != "self"]


def check_detrend(detrend) -> None:
    """Raise a ``ValueError`` for anything else than None and "R_g"."""
    if not (detrend is None or (isinstance(detrend, str) and detrend == "R_g")):
        raise ValueError(f'detrend must be "R_g" or None, but {shown(detrend)} was given.')
