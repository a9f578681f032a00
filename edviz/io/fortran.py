"""Records of Fortran's unformatted sequential files, read without trusting a single count in them.

A record is its length, its bytes and its length again. gfortran and ifort write the length in 4 bytes and split a
record of 2 GiB or more into subrecords; a negative length in front says that another one follows (gfortran manual,
"File format of unformatted sequential files"). Both byte orders are read.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edviz.errors import FileFormatError, TruncatedFileError

__all__ = ["Piece", "RecordReader", "byte_order", "read_pieces"]

#: Where a record, or a part of a long one, lies in its file: offset and length in bytes.
Piece = tuple[int, int]


def byte_order(head: bytes, lengths: tuple[int, ...]) -> str:
    """'<' or '>' if the bytes start with a whole record of one of these lengths, else ''."""
    for order in "<>":
        for length in lengths:
            marker = struct.pack(order + "i", length)
            if head.startswith(marker) and head[4 + length : 8 + length] == marker:
                return order
    return ""


class RecordReader:
    """Goes through the records of one file from the start; use it in a `with` statement.

    Parameters
    ----------
    path
        The file.
    order
        '<' or '>', as `byte_order` finds it.
    what
        What messages call the format.
    """

    def __init__(self, path: str | os.PathLike[str], order: str, what: str) -> None:
        self.path = str(path)
        self.order = order
        self.what = what
        self.size = os.path.getsize(path)
        self.index = 0
        self._position = 0
        self._file = Path(path).open("rb")

    def __enter__(self) -> RecordReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def at_end(self) -> bool:
        """Whether no further record follows."""
        return self._position >= self.size

    def skip(self, name: str, size: int | None = None) -> list[Piece]:
        """Go over the next record without reading it.

        Parameters
        ----------
        name
            What it holds, for messages.
        size
            How long it must be, bytes.

        Returns
        -------
        Its pieces.

        Raises
        ------
        TruncatedFileError
            If the file ends before the record does.
        FileFormatError
            If its two lengths disagree or it is not as long as it must be.
        """
        self.index += 1
        pieces: list[Piece] = []
        goes_on = True
        while goes_on:
            length = self._marker(name)
            goes_on = length < 0
            length = abs(length)
            if self._position + length + 4 > self.size:
                raise TruncatedFileError(
                    f"{self._at(name)}: the record should have {length} bytes, but the file ends at byte {self.size}. "
                    "It was cut off or damaged: copy it again."
                )
            pieces.append((self._position, length))
            self._position += length
            if abs(self._marker(name)) != length:
                raise FileFormatError(
                    f"{self._at(name)}: the lengths in front of the record and behind it differ, so the file is "
                    f"damaged or no {self.what}"
                )
        found = sum(length for _, length in pieces)
        if size is not None and found != size:
            raise FileFormatError(f"{self._at(name)}: the record has {found} bytes where {size} are expected")
        return pieces

    def read(self, name: str, size: int | None = None) -> bytes:
        """The bytes of the next record; arguments and errors as in `skip`."""
        data = b""
        for offset, length in self.skip(name, size):
            self._file.seek(offset)
            data += self._file.read(length)
        return data

    def _marker(self, name: str) -> int:
        self._file.seek(self._position)
        data = self._file.read(4)
        if len(data) < 4:
            raise TruncatedFileError(
                f"{self._at(name)}: the file ends at byte {self.size}, before this record. It was cut off while it was "
                "written or copied: copy it again."
            )
        self._position += 4
        return int(struct.unpack(self.order + "i", data)[0])

    def _at(self, name: str) -> str:
        return f"{self.path}, record {self.index} ({name})"


def read_pieces(path: str | os.PathLike[str], pieces: list[Piece], dtype: DTypeLike, order: str) -> NDArray[Any]:
    """The numbers of one record, from the pieces that `RecordReader.skip` gave.

    Raises
    ------
    TruncatedFileError
        If the file has become shorter since.
    """
    kind = np.dtype(dtype).newbyteorder(order)  # type: ignore[arg-type]
    values = np.empty(sum(length for _, length in pieces) // kind.itemsize, dtype=kind)
    view = memoryview(values.view(np.uint8))  # type: ignore[arg-type]
    done = 0
    with Path(path).open("rb") as file:
        for offset, length in pieces:
            file.seek(offset)
            if file.readinto(view[done : done + length]) != length:
                raise TruncatedFileError(f"{path} became shorter since it was opened: open it again")
            done += length
    return values.astype(kind.newbyteorder("="), copy=False)
