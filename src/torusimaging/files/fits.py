"""Tables of FITS files."""

import gzip
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from ..units import stated_unit
from .arrow import without
from .fits_text import TextField
from .formats import BLOCK, GZIP, Columns, TableError, TableFile, joined, native, unreadable

TABLES = (fits.BinTableHDU, fits.TableHDU)
# Rows of a table that are read at once.
SLAB = 32_768
# Bytes of one value by the letter of its format; P and Q point to arrays elsewhere.
BYTES = {"L": 1, "B": 1, "A": 1, "I": 2, "J": 4, "E": 4, "K": 8, "D": 8, "C": 8, "M": 16}
BYTES |= {"P": 8, "Q": 16}


class FitsFile(TableFile):
    """A table of a FITS file; scaled columns are scaled, and nulls are NaN."""

    def __init__(self, path: Path, hdu: int | str | None = None):
        self.path, self.meta = path, {}
        self.compressed = _is_gzip(path)
        if self.compressed:
            _check_gzip(path)
        with warnings.catch_warnings(), self._open() as file:
            warnings.simplefilter("ignore", AstropyWarning)
            try:
                self.hdu = self._find(file, hdu)
                table = file[self.hdu]
                self._check_size(table)
                self.n_rows = int(table.header["NAXIS2"])
                self.names = [c.name for c in table.columns]
                self.units = {c.name: stated_unit(c.unit) for c in table.columns}
                self.header = table.header.copy()
                self.start = table.fileinfo()["datLoc"]
                self.width = int(self.header["NAXIS1"])
                self.fields = self._fields() if isinstance(table, fits.BinTableHDU) else None
                self.words = [] if self.fields else self._text_fields()
                self.texts = frozenset(
                    n for k, n in enumerate(self.names, 1) if self._letter(k) == "A"
                )
            except TableError:
                raise
            except Exception as error:
                raise unreadable(path, "a FITS table", error) from None

    def _open(self) -> fits.HDUList:
        try:
            with warnings.catch_warnings():
                # Truncation is an error below; other remarks on the header change no column.
                warnings.simplefilter("ignore", AstropyWarning)
                return fits.open(self.path, memmap=not self.compressed, lazy_load_hdus=True)
        except Exception as error:
            raise unreadable(self.path, "a FITS file", error) from None

    def _find(self, file: fits.HDUList, hdu: int | str | None) -> int:
        if hdu is None:
            for i, found in enumerate(file):
                if isinstance(found, TABLES):
                    return i
            raise TableError(f"{self.path} holds no table.")
        try:
            found = file[hdu]
        except (KeyError, IndexError):
            raise TableError(
                f"{self.path} has no HDU {hdu!r} (it has {len(file)} of them)."
            ) from None
        if not isinstance(found, TABLES):
            raise TableError(f"HDU {hdu!r} of {self.path} is no table.")
        return file.index_of(hdu)

    def _check_size(self, table) -> None:
        """astropy only warns of a file that ends before its table does."""
        if self.compressed:
            return
        header = table.header
        end = table.fileinfo()["datLoc"] + header["NAXIS1"] * header["NAXIS2"]
        end += header.get("PCOUNT", 0)
        size = self.path.stat().st_size
        if size < end:
            raise TableError(
                f"{self.path} is truncated: its table ends at byte {end}, but the file has {size}."
            )

    def _fields(self) -> list[tuple[int, int]]:
        """The first byte of each column in a row, and that behind its last."""
        widths = []
        for k in range(1, len(self.names) + 1):
            form = re.match(r"\s*(\d*)([A-Z])", self.header[f"TFORM{k}"])
            if form is None or form[2] not in (*BYTES, "X"):
                raise ValueError(f"TFORM{k} is {self.header[f'TFORM{k}']!r}")
            n, letter = int(form[1] or 1), form[2]
            widths.append(-(-n // 8) if letter == "X" else n * BYTES[letter])
        ends = np.cumsum(widths)
        if not widths or ends[-1] != self.width:
            raise ValueError(f"its columns take {ends[-1:]} bytes, but a row has {self.width}")
        return [(int(end - width), int(end)) for width, end in zip(widths, ends, strict=True)]

    def _text_fields(self) -> list[TextField]:
        return [TextField.of(self.header, k) for k in range(1, len(self.names) + 1)]

    def _letter(self, k: int) -> str:
        """The letter of a column's format, that of its kind."""
        return self.header[f"TFORM{k}"].lstrip(" 0123456789")[:1]

    def parts(self, rows: int) -> list[tuple[int, int]]:
        assert self.n_rows is not None
        # A compressed file can only be read from its beginning.
        step = max(1, self.n_rows) if self.compressed else rows
        return [(a, min(a + step, self.n_rows)) for a in range(0, self.n_rows, step)]

    def pieces(self, columns: Sequence[str], rows: int, part: tuple[int, int]) -> Iterator[Columns]:
        self.check(columns)
        first, last = part
        with self._stream() as stream:
            stream.seek(self.start + first * self.width)
            for start in range(first, last, rows):
                stop = min(start + rows, last)
                try:
                    read = [
                        self._slab(stream, columns, a, min(SLAB, stop - a))
                        for a in range(start, stop, SLAB)
                    ]
                except TableError:
                    raise
                except Exception as error:
                    raise unreadable(self.path, "a FITS table", error) from None
                yield joined(read)

    def _stream(self) -> BinaryIO:
        """The file's bytes: mapped into memory they would all count as resident."""
        return gzip.open(self.path) if self.compressed else open(self.path, "rb")

    def _slab(self, stream: BinaryIO, columns: Sequence[str], first: int, n: int) -> Columns:
        """The `n` rows from `first` on."""
        data = stream.read(n * self.width)
        if len(data) != n * self.width:
            raise TableError(f"{self.path} is truncated: it has fewer rows than it says.")
        raw = np.frombuffer(data, np.uint8).reshape(n, self.width)
        if self.fields is None:
            return {
                name: self.words[self.names.index(name)].column(raw, name, self.path, first + 1)
                for name in columns
            }
        return self._binary(raw, columns)

    def _binary(self, raw: NDArray, columns: Sequence[str]) -> Columns:
        """A small table of the columns asked for, which astropy understands."""
        pieces, undefined = [], {}
        for name in columns:
            first, last = self._place(name)
            piece = raw[:, first:last]
            if self._letter(self.names.index(name) + 1) == "L":
                # A byte of zero is neither true nor false.
                undefined[name] = (piece == 0).all(axis=1)
                piece = np.where(piece == 0, np.uint8(ord("F")), piece)
            pieces.append(piece)
        packed = np.concatenate(pieces, axis=1)
        head = self._head(self._part_of_header(columns), packed.shape[1], len(raw))
        content = head + packed.tobytes() + bytes(-packed.size % 2880)
        small = fits.BinTableHDU.fromstring(content, uint=True)
        table = small.data
        # In a packed table columns have the names of `_part_of_header`.
        out = {name: self._column(name, table, small.columns[k]) for k, name in enumerate(columns)}
        return out | {name: without(out[name], mask) for name, mask in undefined.items()}

    def _place(self, name: str) -> tuple[int, int]:
        """The first byte of a column in a row, and that behind its last."""
        assert self.fields is not None
        k = self.names.index(name)
        if re.match(r"\s*\d*[PQ]", self.header[f"TFORM{k + 1}"]):
            raise TableError(
                f"column {name!r} of {self.path} must hold one value a row, but holds arrays."
            )
        return self.fields[k]

    @staticmethod
    def _head(header: fits.Header, width: int, n: int) -> bytes:
        header["NAXIS1"], header["NAXIS2"], header["PCOUNT"] = width, n, 0
        return header.tostring().encode()

    def _part_of_header(self, columns: Sequence[str]) -> fits.Header:
        header = fits.Header([("XTENSION", "BINTABLE"), ("BITPIX", 8), ("NAXIS", 2)])
        header.extend([("NAXIS1", 0), ("NAXIS2", 0), ("PCOUNT", 0), ("GCOUNT", 1)])
        header["TFIELDS"] = len(columns)
        for new, name in enumerate(columns, start=1):
            old = self.names.index(name) + 1
            # Names that FITS discourages, as [Fe/H], would raise a warning each time.
            header[f"TTYPE{new}"] = f"c{new}"
            for word in ("TFORM", "TNULL", "TSCAL", "TZERO", "TDIM"):
                if f"{word}{old}" in self.header:
                    header[f"{word}{new}"] = self.header[f"{word}{old}"]
        return header

    def _column(self, name: str, slab: fits.FITS_rec, column: fits.Column) -> NDArray:
        values = np.asarray(slab.field(column.name))
        if values.ndim != 1:
            raise TableError(
                f"column {name!r} of {self.path} must hold one value a row, but holds "
                f"{values.shape[1:]}."
            )
        try:
            values = native(values)
        except UnicodeDecodeError:
            raise TableError(
                f"column {name!r} of {self.path} holds bytes that are no text in ASCII."
            ) from None
        null = column.null
        if not isinstance(null, int) or values.dtype.kind not in "iuf":
            return values
        return without(values, values == null * (column.bscale or 1) + (column.bzero or 0))


def _is_gzip(path: Path) -> bool:
    """Whether a FITS file is compressed, whatever its name; `TableError` for other content."""
    with open(path, "rb") as file:
        start = file.read(6)
    if not start.startswith((b"SIMPLE", GZIP)):
        raise unreadable(path, "a FITS file", ValueError("it does not begin as one (or as gzip)"))
    return start.startswith(GZIP)


def check_whole(path: Path) -> None:
    """Raise a `TableError` for a FITS file that is not whole to its last HDU."""
    if _is_gzip(path):
        _check_gzip(path)
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(path) as file:
                info = [hdu.fileinfo() for hdu in file]
    except Exception as error:
        raise unreadable(path, "a FITS file", error) from None
    end, size = max(i["datLoc"] + i["datSpan"] for i in info), path.stat().st_size
    if size < end:
        raise TableError(f"{path} is truncated: it ends at byte {size}, not {end}.")


def _check_gzip(path: Path) -> None:
    """astropy takes the end of a damaged stream for the end of the file."""
    try:
        with gzip.open(path) as stream:
            while stream.read(BLOCK):
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, "a FITS file", error) from None
