"""A text file read from front to back, plain or packed, that always knows its line: what the text formats share.

Every complaint names file and line. Lines are bytes without their end; both line ends (LF, CR LF) are understood.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from edviz.errors import FileFormatError, NonFiniteError, TruncatedFileError
from edviz.io import compression

__all__ = ["NUMBER", "Text", "number"]

_READ = 1 << 20
_LONGEST_LINE = 1 << 24

#: A number as Fortran and C write it; Fortran drops the letter of an exponent of three digits: 0.123-104.
NUMBER = re.compile(rb"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eEdDqQ]([+-]?\d+)|([+-]\d{3}))?")


class Text:
    """A file open for reading lines and blocks of numbers (`edviz.io.numbers.read_block`).

    Parameters
    ----------
    path
        The file; packed files are unpacked on the way.
    offset, line
        Start here: a byte offset into the unpacked content and the number of lines before it. In a packed file
        everything before is unpacked and thrown away.
    """

    def __init__(self, path: str | os.PathLike[str], offset: int = 0, line: int = 0) -> None:
        self.path = os.fspath(path)
        self.packed = compression.kind(path)
        self._file = compression.open_stream(path)
        #: Size of the unpacked content; None for packed files.
        self.size = None if self.packed else os.path.getsize(path)
        # What was read and not yet used is _buffer[_at:_stop]. The buffer is used again and again: memory that the
        # system hands out anew for every piece costs more than reading into it.
        self._buffer = bytearray()
        self._at = self._stop = 0
        self._offset = 0  # of the buffer's first byte
        self._end = False
        self._ahead = 1 << 14
        #: Number of the line read last, counted from 1.
        self.line_number = 0
        if offset:
            self.skip_to(offset, line)

    def __enter__(self) -> Text:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    # Place ------------------------------------------------------------------------------------------------

    @property
    def offset(self) -> int:
        """Offset of the next byte in the unpacked content."""
        return self._offset + self._at

    @property
    def left(self) -> int | None:
        """Bytes that are left; None for packed files."""
        return None if self.size is None else self.size - self.offset

    def skip_to(self, offset: int, line_number: int) -> None:
        """Go forward to a byte offset, with the number of lines before it."""
        ahead = offset - self.offset
        if ahead < 0:
            raise ValueError("a Text is read forward only")
        if ahead > self._stop - self._at and not self.packed:
            self._file.seek(offset)
            self._at, self._stop, self._offset, self._end = 0, 0, offset, False
        else:
            while ahead > 0:
                have = self.need(min(ahead, _READ))
                if not have:
                    break
                step = min(ahead, have)
                self._at += step
                ahead -= step
        self.line_number = line_number

    def fail(self, message: str, line_number: int | None = None) -> NoReturn:
        """Raise FileFormatError naming file and line."""
        raise FileFormatError(f"{self.path}, line {line_number or self.line_number}: {message}")

    def truncated(self, message: str) -> NoReturn:
        """Raise TruncatedFileError naming file and line."""
        raise TruncatedFileError(
            f"{self.path}, line {self.line_number}: {message}. The file was cut off or is still being written: copy it "
            "again, or wait"
        )

    # Bytes ------------------------------------------------------------------------------------------------

    def need(self, size: int) -> int:
        """Have at least this many bytes at hand if the file has them; how many there are."""
        have = self._stop - self._at
        while have < size and not self._end:
            ask = max(size, self._ahead) - have
            if self._stop + ask > len(self._buffer):
                fresh = self._buffer if have + ask <= len(self._buffer) else bytearray(have + ask)
                fresh[:have] = self._buffer[self._at : self._stop]
                self._offset += self._at
                self._buffer, self._at, self._stop = fresh, 0, have
            try:
                found = self._file.readinto(memoryview(self._buffer)[self._stop : self._stop + ask])
            except compression.stream_errors() as error:
                raise TruncatedFileError(
                    f"{self.path}, after line {self.line_number}: unpacking ({self.packed or 'reading'}) fails "
                    f"({error}). It was cut off or damaged: copy it again"
                ) from error
            if not found:
                self._end = True
                break
            self._ahead = min(2 * self._ahead, _READ)  # a header needs little, a block much
            self._stop += found
            have += found
        return have

    def window(self) -> tuple[bytearray, int]:
        """The buffer and where in it the next byte is; the next `need` overwrites it."""
        return self._buffer, self._at

    def advance(self, size: int, lines: int) -> None:
        """Go over bytes that were used through `window`."""
        self._at += size
        self.line_number += lines

    def take(self, size: int) -> bytes:
        """The next bytes, fewer at the end of the file; lines are not counted."""
        size = min(size, self.need(size))
        self._at += size
        return bytes(self._buffer[self._at - size : self._at])

    def raw_line(self) -> bytes:
        """The next line with its end; empty at the end of the file."""
        size = 4096
        while True:
            have = self.need(size)
            found = self._buffer.find(b"\n", self._at, self._stop)
            if found >= 0:
                line = bytes(self._buffer[self._at : found + 1])
                break
            if self._end:
                line = bytes(self._buffer[self._at : self._stop])
                break
            if have > _LONGEST_LINE:
                self.line_number += 1
                self.fail(f"a line of more than {_LONGEST_LINE >> 20} MB: this is no text file of this format")
            size = 2 * have
        self._at += len(line)
        if line:
            self.line_number += 1
        return line

    def peek_line(self) -> bytes:
        """The next line with its end, without going over it."""
        line = self.raw_line()
        self.push_back(line)
        return line

    def push_back(self, line: bytes) -> None:
        """Undo the last `raw_line`."""
        if line:
            self._at -= len(line)
            self.line_number -= 1

    # Lines ------------------------------------------------------------------------------------------------

    def line(self, what: str) -> bytes:
        """The next line without its end.

        Raises
        ------
        TruncatedFileError
            At the end of the file, saying that `what` is missing.
        """
        line = self.raw_line()
        if not line:
            self.truncated(f"the file ends where {what} should be")
        return line.rstrip(b"\r\n")

    def floats(self, what: str, least: int, most: int | None = None) -> list[float]:
        """The numbers at the start of the next line.

        Parameters
        ----------
        what
            Name for messages.
        least, most
            How many there must be; `most` None: exactly `least`, and whatever follows is ignored.

        Raises
        ------
        FileFormatError, TruncatedFileError, NonFiniteError
            Naming file and line.
        """
        tokens = self.line(what).split()
        if most is not None and len(tokens) > most:
            self.fail(f"{what}: {len(tokens)} words where {most} numbers at most should be")
        if len(tokens) < least:
            if not self.need(1):
                self.truncated(f"{what}: {len(tokens)} numbers, not {least}")
            self.fail(f"{what}: {len(tokens)} numbers, not {least}")
        return [number(self, token, what) for token in tokens[: least if most is None else None]]

    def numbers_of(self, tokens: list[bytes], what: str) -> list[float]:
        """Words of the line read last as numbers."""
        return [number(self, token, what) for token in tokens]

    def integer(self, token: bytes, what: str, low: int, high: int) -> int:
        """A token as an integer within bounds."""
        try:
            value = int(token) if len(token) < 40 else None
        except ValueError:
            value = None
        if value is None or b"_" in token:
            self.fail(f"{what}: '{shown(token)}' is not an integer")
        if not low <= value <= high:
            self.fail(f"{what}: {value} is not between {low} and {high}")
        return value


def shown(token: bytes) -> str:
    """A piece of the file for a message."""
    text = token.decode("ascii", "replace")
    return text if len(text) <= 40 else text[:40] + "..."


def number(text: Text, token: bytes, what: str = "", line_number: int | None = None) -> float:
    """A token as a number, with Fortran's D exponents and dropped exponent letters.

    Raises
    ------
    NonFiniteError
        NaN, Infinity, or too large for a float.
    FileFormatError
        Stars (a Fortran overflow) or anything else that is no number.
    """
    prefix = f"{what}: " if what else ""
    match = NUMBER.fullmatch(token) if len(token) < 400 else None
    if match:
        exponent = match[2] or match[3]
        value = float(match[1] + b"e" + exponent) if exponent else float(match[1])
        if value in (float("inf"), float("-inf")):
            raise NonFiniteError(
                f"{text.path}, line {line_number or text.line_number}: {prefix}{shown(token)} is too large for a number"
            )
        return value
    if b"*" in token:
        text.fail(f"{prefix}'{shown(token)}': the number did not fit its field when it was written", line_number)
    if re.fullmatch(rb"[+-]?(nan|inf|infinity)(\(.*\))?", token.lower()):
        raise NonFiniteError(
            f"{text.path}, line {line_number or text.line_number}: {prefix}{shown(token)} where a number must be; the "
            "calculation that wrote it went wrong"
        )
    text.fail(f"{prefix}'{shown(token)}' is not a number", line_number)


def where(path: str | Path, line_number: int) -> str:
    """File and line for a message."""
    return f"{path}, line {line_number}"
