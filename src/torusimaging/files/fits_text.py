"""Columns of FITS tables in ASCII (XTENSION = TABLE)."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from .arrow import without
from .csv_text import NUMBER, no_number
from .formats import TableError

FORMAT = re.compile(r"\s*([AIFED])\s*(\d+)?(?:\.(\d+))?\s*")

# Fortran writes exponents with D.
EXPONENTS = str.maketrans("Dd", "Ee")


class TextField(NamedTuple):
    """One column of an ASCII table: bytes `first` to `last` of a row, and how they are written."""

    first: int
    last: int
    letter: str
    decimals: int
    null: str | None
    scale: float
    zero: float

    @classmethod
    def of(cls, header: fits.Header, k: int) -> "TextField":
        """Field `k` of a header, from 1.  Raises ``ValueError`` for a format that is none."""
        form, first = FORMAT.fullmatch(str(header[f"TFORM{k}"])), header.get(f"TBCOL{k}", 0)
        if form is None:
            raise ValueError(f"TFORM{k} is {header[f'TFORM{k}']!r}")
        last = first - 1 + int(form[2] or 1)
        if not (isinstance(first, int) and 1 <= first and last <= header["NAXIS1"]):
            raise ValueError(f"column {k} lies outside the {header['NAXIS1']} bytes of a row")
        null = header.get(f"TNULL{k}")
        scale, zero = header.get(f"TSCAL{k}", 1), header.get(f"TZERO{k}", 0)
        null = None if null is None else str(null).strip()
        return cls(first - 1, last, form[1], int(form[3] or 0), null, scale, zero)

    def column(self, raw: NDArray, name: str, path: Path, row: int) -> NDArray:
        """The values of rows of bytes, the first of which is data row `row`, from 1.

        Blank fields and those equal to TNULL are missing.  Raises `TableError` for a field that is
        no number, and for one without its decimal point, which readers take for different numbers.
        """
        cells = np.ascontiguousarray(raw[:, self.first : self.last])
        texts = np.char.strip(np.char.replace(cells.view(f"S{cells.shape[1]}").ravel(), b"\0", b""))
        missing = texts == b""
        if self.null:
            missing |= texts == self.null.encode()
        if self.letter == "A":
            try:
                return np.where(missing, "", np.char.decode(texts, "utf-8"))
            except UnicodeDecodeError:
                raise TableError(
                    f"column {name!r} of {path} holds bytes that are no text in UTF-8."
                ) from None
        texts = np.where(missing, b"0.", texts)
        self._check(texts, name, path, row)
        texts = np.char.replace(np.char.upper(texts), b"D", b"E")
        return without(self._scaled(texts, name, path), missing)

    def _check(self, texts: NDArray, name: str, path: Path, row: int) -> None:
        for k, text in enumerate(texts.tolist()):
            shown = text.decode("latin-1")
            if NUMBER.fullmatch(shown.translate(EXPONENTS)) is None:
                raise no_number(path, name, row + k, shown)
            if self.decimals and b"." not in text and text.strip(b"+-0") and text[-1:].isdigit():
                raise TableError(
                    f"column {name!r} of {path} holds '{shown}' in row {row + k} without the "
                    f"decimal point of its format, {self.letter}{self.last - self.first}."
                    f"{self.decimals}, which readers take for different numbers: write the point."
                )

    def _scaled(self, texts: NDArray, name: str, path: Path) -> NDArray:
        if self.letter != "I":
            return texts.astype(float) * self.scale + self.zero
        try:
            values = np.char.rstrip(texts, b".").astype(np.int64)
        except (ValueError, OverflowError):
            raise TableError(
                f"column {name!r} of {path} must hold whole numbers of 64 bits, but does not."
            ) from None
        return values if (self.scale, self.zero) == (1, 0) else values * self.scale + self.zero
