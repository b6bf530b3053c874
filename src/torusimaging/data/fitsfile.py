"""Tables of FITS files."""

import gzip
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from ..units import stated_unit
from .formats import BLOCK, Columns, TableError, TableFile, joined, native, unreadable

TABLES = (fits.BinTableHDU, fits.TableHDU)
# Rows of a table that are read at once: their pages are then used by all columns.
SLAB = 16_384


class FitsFile(TableFile):
    """A table of a FITS file; scaled columns are scaled, and nulls are NaN."""

    def __init__(self, path: Path, hdu: int | str | None = None):
        self.path, self.meta = path, {}
        self.compressed = path.suffix.lower() == ".gz"
        if self.compressed:
            _check_gzip(path)
        with self._open() as file:
            try:
                self.hdu = self._find(file, hdu)
                table = file[self.hdu]
                self._check_size(table)
                self.n_rows = int(table.header["NAXIS2"])
                self.names = [c.name for c in table.columns]
                self.units = {c.name: stated_unit(c.unit) for c in table.columns}
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

    def parts(self, rows: int) -> list[tuple[int, int]]:
        assert self.n_rows is not None
        # A compressed file can only be read from its beginning.
        step = max(1, self.n_rows) if self.compressed else rows
        return [(a, min(a + step, self.n_rows)) for a in range(0, self.n_rows, step)]

    def pieces(self, columns: Sequence[str], rows: int, part: tuple[int, int]) -> Iterator[Columns]:
        self.check(columns)
        first, last = part
        with self._open() as file:
            for start in range(first, last, rows):
                stop = min(start + rows, last)
                try:
                    table = file[self.hdu]
                    read = [
                        self._slab(table, columns, a, min(a + SLAB, stop))
                        for a in range(start, stop, SLAB)
                    ]
                except TableError:
                    raise
                except Exception as error:
                    raise unreadable(self.path, "a FITS table", error) from None
                yield joined(read)

    def _slab(self, table, columns: Sequence[str], first: int, last: int) -> Columns:
        slab = table.data[first:last]
        if len(slab) != last - first:
            raise TableError(f"{self.path} is truncated: it has fewer rows than it says.")
        return {name: self._column(slab, table.columns[name]) for name in columns}

    def _column(self, slab: fits.FITS_rec, column: fits.Column) -> NDArray:
        values = np.asarray(slab.field(column.name))
        if values.ndim != 1:
            raise TableError(
                f"column {column.name!r} of {self.path} must hold one value a row, but holds "
                f"{values.shape[1:]}."
            )
        values = native(values)
        if column.null in (None, "") or values.dtype.kind not in "iuf":
            return values
        null = column.null * (column.bscale or 1) + (column.bzero or 0)
        return np.where(values == null, np.nan, values.astype(float))


def _check_gzip(path: Path) -> None:
    """astropy takes the end of a damaged stream for the end of the file."""
    try:
        with gzip.open(path) as stream:
            while stream.read(BLOCK):
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, "a FITS file", error) from None
