"""HDF5 files of other codes, opened with care: what damage can do here is an exception, not a wild allocation.

libhdf5 itself compares the end of the file with what the superblock says, so truncated files are refused on opening.
Before an array is read its size is compared with the bytes stored for it. Damage inside HDF5's own structures shows as
one of many exceptions of h5py; all become TruncatedFileError.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from edviz.errors import EdvizError, FileFormatError, TruncatedFileError
from edviz.io.lazy import identity

__all__ = ["HDF5_SIGNATURE", "hdf5_file", "names_in", "read_dataset", "read_texts"]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: Deflate packs at most 1032 to 1; small arrays may be stored compactly.
_MAX_PACKING = 1100
_SMALL = 1 << 20


def names_in(head: bytes, path: Path) -> frozenset[str]:
    """Names at the root of an HDF5 file and of its attributes: what its format is recognised by.

    Empty if the file is not HDF5 or cannot be opened.
    """
    if not head.startswith(HDF5_SIGNATURE):
        return frozenset()
    return _names_in(str(path), identity(path))


@lru_cache(maxsize=64)
def _names_in(path: str, known: tuple[int, int, int]) -> frozenset[str]:
    try:
        with h5py.File(path, "r") as file:
            return frozenset(file) | frozenset(file.attrs)
    except Exception:  # h5py reports damage by almost any exception; the reader that gets the file will say so
        return frozenset()


@contextmanager
def hdf5_file(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open a file for reading; whatever h5py raises inside the `with` block becomes a TruncatedFileError."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (EdvizError, PermissionError, BlockingIOError, FileNotFoundError):
        raise
    except Exception as error:  # h5py reports damage by almost any exception
        raise TruncatedFileError(
            f"{path} cannot be read ({error}). It was cut off or damaged while it was written or copied: copy it again."
        ) from error


def read_dataset(stored: Any, path: str | os.PathLike[str]) -> NDArray[Any]:
    """All values of a data set of numbers, once its size has been found possible.

    Raises
    ------
    FileFormatError
        If it is no data set of numbers, or says to be far larger than what is stored of it.
    """
    if not isinstance(stored, h5py.Dataset) or stored.dtype.kind not in "iuf":
        raise FileFormatError(f"{path}: {getattr(stored, 'name', stored)} holds no numbers where numbers are expected")
    room = stored.id.get_storage_size()
    if stored.nbytes > _SMALL and stored.nbytes > (_MAX_PACKING if stored.chunks else 1) * room:
        raise TruncatedFileError(
            f"{path}: {stored.name} of shape {stored.shape} says {stored.nbytes} bytes, {room} are stored: the file "
            "was cut off while it was written, or is damaged"
        )
    return np.asarray(stored[()])


def read_texts(stored: Any, path: str | os.PathLike[str]) -> list[str]:
    """The texts of a small data set of strings, without the blanks around them."""
    if not isinstance(stored, h5py.Dataset) or stored.size > 1 << 16 or stored.dtype.kind not in "OS":
        raise FileFormatError(f"{path}: {getattr(stored, 'name', stored)} holds no texts where texts are expected")
    values = np.ravel(stored[()])
    return [(v.decode("ascii", "replace") if isinstance(v, bytes) else str(v)).strip() for v in values]
