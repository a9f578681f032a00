"""Blocks of numbers in text files, fast: the one parser under CHGCAR, cube and XSF.

Codes write densities with one Fortran or C format throughout, so every line of a block has its digits in the same
columns. The layout is learnt from the first line. Then eight digits at a time are taken as one 64-bit integer and
turned into their value by three multiplications (D. Lemire, "Number parsing at a gigabyte per second", Software:
Practice and Experience 51, 1700 (2021), for one number at a time), here with numpy for tens of thousands of numbers at
once. Every byte is checked on the way: a digit where a digit must be, the same sign, point, letter and line end
elsewhere. Lines that fail the check (an exponent of three digits, stars, NaN), and blocks without such a layout, go
through Python's own float, word by word.

Nothing is allocated that the size of the file does not justify.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edviz.errors import NonFiniteError
from edviz.io.text import Text, number, shown

__all__ = ["check_count", "jump_block", "read_block", "read_pieces", "skip_block"]

_CHUNK = 5 << 17
_BATCH_LINES = 4096
_FLOAT32_MAX = float(np.finfo(np.float32).max)


# The layout of a line -----------------------------------------------------------------------------------------

_TOKEN = re.compile(rb"([+-]?\d?)\.(\d+)([eEdD])[+-]\d\d(?!\d)")
_HEAD = 5  # digits after the point that the load with sign and point holds
_ZEROS = 0x3030303030303030
_ALL_SLACK = 0x7676767676767676
_ALL_HIGH = 0x8080808080808080


@dataclass(frozen=True)
class _Layout:
    """Columns of the numbers of a line: `fields` of `width` bytes, each ``[ ]sd.ddd...dE+dd``.

    `start` is the column of the first number's sign (the byte before the digit before the point); `digits` is how many
    follow the point; `length` is that of the line with its end.
    """

    length: int
    fields: int
    start: int
    width: int
    digits: int
    letter: int
    tail: bytes

    def short(self, fields: int) -> _Layout:
        """The layout of a line with fewer fields."""
        return _Layout(
            self.length - (self.fields - fields) * self.width,
            fields,
            self.start,
            self.width,
            self.digits,
            self.letter,
            self.tail,
        )


def _layout_of(line: bytes) -> _Layout | None:
    """The layout of a line with its end; None if it has none."""
    found = list(_TOKEN.finditer(line))
    if not found or len(found) != len(line.split()) or not line.endswith(b"\n"):
        return None
    digits = len(found[0][2])
    points = [match.end(1) for match in found]
    width = points[1] - points[0] if len(points) > 1 else points[0] + digits + 5
    start = points[0] - 2
    same = all(
        len(match[2]) == digits and match[3] == found[0][3] and match.end(1) == points[0] + i * width
        for i, match in enumerate(found)
    )
    end = points[-1] + digits + 5
    # Every load of 8 bytes must lie inside its field.
    if not same or start < 0 or not 3 <= digits <= 21 or width < digits + 7 or end > len(line):
        return None
    tail = line[end:]
    if tail.strip(b" \t\r\n"):
        return None
    # Between two numbers there may be more than the sign's column: blanks.
    return _Layout(len(line), len(found), start, width, digits, found[0][3][0], tail)


# Decoding -----------------------------------------------------------------------------------------------------


def _bytes_mask(values: dict[int, int]) -> np.uint64:
    """A 64-bit word with these values in these bytes."""
    return np.uint64(sum(value << (8 * at) for at, value in values.items()))


def _eight_digits(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Bytes 0 to 9, the first one (lowest address) most significant, to the integer they spell; in place."""
    x *= np.uint64(2561)
    x >>= np.uint64(8)
    x &= np.uint64(0x00FF00FF00FF00FF)
    x *= np.uint64(6553601)
    x >>= np.uint64(16)
    x &= np.uint64(0x0000FFFF0000FFFF)
    x *= np.uint64(42949672960001)
    x >>= np.uint64(32)
    return x


def _sign_table() -> NDArray[np.int8]:
    """(65536,) two bytes before the point, as a little-endian word, to their digit; minus 100 + digit for a negative
    number (so that -0 is one too); 127 if they are no sign and digit."""
    table = np.full(65536, 127, dtype=np.int8)

    def put(first: bytes, second: bytes, value: int) -> None:
        table[first[0] | second[0] << 8] = value

    for first in (b" ", b"+", b"-"):
        for digit in range(10):
            put(first, b"%d" % digit, -100 - digit if first == b"-" else digit)
    for second in (b" ", b"+", b"-"):
        put(b" ", second, -100 if second == b"-" else 0)
    return table


_SIGNS = _sign_table()


@lru_cache(maxsize=64)
def _tens(digits: int, scale: float) -> NDArray[np.float64]:
    """(256,) scale times the power of ten by 17 s + exponent, s = 0 for plus and 6 for minus, less the digits."""
    table = np.zeros(256)
    for exponent in range(100):
        table[exponent] = float(f"1e{exponent - digits}") * scale
        table[102 + exponent] = float(f"1e{-exponent - digits}") * scale
    return table


@lru_cache(maxsize=32)
def _decoder(layout: _Layout, scale: float) -> _Decoder:
    return _Decoder(layout, scale)


class _Decoder:
    """Turns lines of one layout into numbers times `scale`."""

    def __init__(self, layout: _Layout, scale: float) -> None:
        self.layout = layout
        # The load that starts at the sign holds the first digits; the others come in groups of up to eight.
        self.head = min(_HEAD, layout.digits)
        rest = layout.digits - self.head
        self.groups = [8] * (rest // 8) if rest % 8 == 0 else [rest % 8] + [8] * (rest // 8)
        self.tens = _tens(layout.digits, scale)
        digits_at = range(3, 3 + self.head)
        expected = {0: 0x20, 1: 0x30, 2: 0x2E} | dict.fromkeys(digits_at, 0x30)
        self.expect = _bytes_mask(expected)
        slack = {0: 0x7F, 1: 0x76, 2: 0x7F} | dict.fromkeys(digits_at, 0x76)
        self.slack = _bytes_mask(slack)
        self.high = _bytes_mask(dict.fromkeys(expected, 0x80))
        signed = {at: value for at, value in slack.items() if at > 1}
        self.signed_slack = _bytes_mask(signed)
        self.signed_high = _bytes_mask(dict.fromkeys(signed, 0x80))
        self.lead_mask = _bytes_mask({1: 0xFF})
        self.digit_mask = _bytes_mask(dict.fromkeys(digits_at, 0xFF))
        self.exponent_expect = np.uint32(layout.letter | 0x2B << 8 | 0x30 << 16 | 0x30 << 24)
        self.exponent_slack = np.uint32(0x7F | 0x76 << 8 | 0x76 << 16 | 0x76 << 24)

    def decode(
        self, buffer: bytearray, at: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Decode the numbers of lines that lie `strides` apart.

        Parameters
        ----------
        buffer, at
            The bytes and where the first line starts.
        shape, strides
            How many lines, and the bytes from one to the next, along any number of axes.

        Returns
        -------
        (*shape, fields) values, and (*shape,) which lines are not of this layout; None if all are.
        """
        layout = self.layout
        full, step = (*shape, layout.fields), (*strides, layout.width)
        sign = at + layout.start
        wrong: list[NDArray[Any]] = []

        # Exclusive or with what must stand there leaves 0 for a fixed byte and 0 to 9 for a digit; adding the slack
        # lifts anything else over 127.
        head = np.ndarray(full, "<u8", buffer, sign, step) ^ self.expect
        check = head + self.slack
        check |= head
        negative: NDArray[np.bool_] | None = None
        lead: NDArray[np.int64] | None = None
        if np.bitwise_or.reduce(check, axis=None) & self.high:
            codes = _SIGNS[np.ndarray(full, "<u2", buffer, sign, step)]
            check = (head & ~np.uint64(0xFFFF)) + self.signed_slack
            check |= head
            check &= self.signed_high
            wrong += [check, codes == 127]
            negative = codes < 0
            lead = np.where(negative, -100 - codes.astype(np.int64), codes)
            mantissa = (head & self.digit_mask) << np.uint64(8 * (5 - self.head))
        elif self.head == _HEAD and not np.bitwise_or.reduce(head, axis=None) & self.lead_mask:
            mantissa = head  # 0.ddddd: nothing but the digits is left
        else:
            # The digit before the point moves over it, next to those behind.
            mantissa = (head & self.digit_mask) << np.uint64(8 * (5 - self.head))
            mantissa |= (head & self.lead_mask) << np.uint64(8 * (6 - self.head))
        mantissa = _eight_digits(mantissa)
        if lead is not None:
            mantissa += (lead * 10**self.head).astype(np.uint64)
        at_digit = 3 + self.head
        number: NDArray[np.float64] | None = None
        n_digits = 1 + self.head
        for size in self.groups:
            at_digit += size
            digits = np.ndarray(full, "<u8", buffer, sign + at_digit - 8, step) ^ np.uint64(_ZEROS)
            if size < 8:
                digits &= ~np.uint64((1 << 8 * (8 - size)) - 1)
            check = digits + np.uint64(_ALL_SLACK)
            check |= digits
            if np.bitwise_or.reduce(check, axis=None) & np.uint64(_ALL_HIGH):
                wrong.append(check & np.uint64(_ALL_HIGH))
                digits &= np.uint64(0x0F0F0F0F0F0F0F0F)
            digits = _eight_digits(digits)
            n_digits += size
            if n_digits < 19:
                mantissa *= np.uint64(10**size)
                mantissa += digits
            else:
                number = (mantissa.astype(np.float64) if number is None else number) * 10.0**size + digits
        if number is None:
            number = mantissa.astype(np.float64)
        number *= self.tens.take(self._exponents(buffer, sign + 3 + layout.digits, full, step, wrong))
        if negative is not None:
            np.negative(number, out=number, where=negative)
        bad: NDArray[np.bool_] | None = None
        for one in wrong:
            lines = (one != 0).any(axis=-1)
            bad = lines if bad is None else bad | lines
        rest = self._off_column(buffer, at, shape, strides)
        if rest is not None:
            bad = rest if bad is None else bad | rest
        return number, bad if bad is not None and bad.any() else None

    def _exponents(
        self,
        buffer: bytearray,
        at: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        wrong: list[NDArray[Any]],
    ) -> NDArray[np.uint32]:
        """Places in the table of powers, 17 s + exponent; appends to `wrong` where there is no exponent."""
        exponent = np.ndarray(shape, "<u4", buffer, at, strides) ^ self.exponent_expect
        check = exponent + self.exponent_slack
        check |= exponent
        if np.bitwise_or.reduce(check, axis=None) & np.uint32(0x80808080):
            wrong.append(check & np.uint32(0x80808080))
            exponent &= np.uint32(0x0F0FFF00)
        signs = np.bitwise_or.reduce(exponent, axis=None) & np.uint32(0xFF00)
        if signs:
            # A plus has left 0, a minus 6: the second bit and the third one are equal, and there are no others.
            np.right_shift(exponent, np.uint32(1), out=check)
            check ^= exponent
            check &= np.uint32(0x0200)
            if signs & np.uint32(0xF900):
                check |= exponent & np.uint32(0xF900)
            if np.bitwise_or.reduce(check, axis=None):
                wrong.append(check)
        # The highest byte of the product: 17 s + 10 d + d'; the lower ones cannot carry into it.
        exponent *= np.uint32(17 << 16 | 10 << 8 | 1)
        exponent >>= np.uint32(24)
        return exponent

    def _off_column(
        self, buffer: bytearray, at: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> NDArray[np.bool_] | None:
        """Which lines have anything but blanks between their numbers, or another end; None if none has."""
        layout = self.layout
        bad: NDArray[np.bool_] | None = None
        gaps = [(column, 0x20) for column in range(layout.start)]
        after = layout.start + 7 + layout.digits
        between = layout.width - 7 - layout.digits
        for field in range(1, layout.fields):
            first = after + (field - 1) * layout.width
            gaps += [(column, 0x20) for column in range(first, first + between)]
        last = after + (layout.fields - 1) * layout.width
        gaps += [(last + i, byte) for i, byte in enumerate(layout.tail)]
        for column, byte in gaps:
            off = np.ndarray(shape, np.uint8, buffer, at + column, strides) != byte
            if off.any():
                bad = off if bad is None else bad | off
        return bad


# Reading a block ----------------------------------------------------------------------------------------------


def check_count(text: Text, count: int, what: str = "grid points") -> None:
    """Refuse a number of values that the rest of the file cannot hold, before anything is allocated.

    Raises
    ------
    TruncatedFileError
        Naming file and line.
    """
    left = text.left
    if left is not None and 2 * count - 1 > left:
        text.truncated(f"{count} {what} need at least {2 * count - 1} bytes, but only {max(left, 0)} follow")


def read_block(
    text: Text, count: int, *, run: int | None = None, strict: bool = False, scale: float = 1.0
) -> NDArray[np.float32]:
    """Read `count` numbers from the next line on, through the end of the line of the last one.

    Parameters
    ----------
    text
        Standing at the start of a line.
    count
        How many.
    run
        Lines may start anew after every so many numbers (cube: the points along the last axis).
    strict
        Every line has as many numbers as the first one, but the last of the block: what VASP writes. A line lost on the
        way is then noticed where it is missing.
    scale
        Multiply by this (in double precision).

    Returns
    -------
    (count,) float32.

    Raises
    ------
    TruncatedFileError
        The file ends before.
    FileFormatError
        A word that is no number, or a line with too many or too few; naming file and line.
    NonFiniteError
        NaN, Infinity, or a number beyond single precision; naming file and line.
    """
    check_count(text, count)
    if text.left is not None:
        out = np.empty(count, dtype=np.float32)
        _read_into(text, out, count, run, strict, scale)
        return out
    # A packed file may be of any size: grow with what there is.
    pieces: list[NDArray[np.float32]] = []
    state = _Block(text, count, run, strict, scale)
    unit = max(1, (1 << 22) // (run or 1)) * (run or 1)
    while state.done < count:
        piece = np.empty(min(unit, count - state.done), dtype=np.float32)
        state.read(piece)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def read_pieces(
    text: Text, count: int, size: int, *, strict: bool = False, scale: float = 1.0
) -> Iterator[NDArray[np.float32]]:
    """As `read_block`, in pieces of `size` numbers (the last one shorter); each is overwritten by the next.

    Raises
    ------
    As `read_block`.
    """
    check_count(text, count)
    block = _Block(text, count, None, strict, scale)
    scratch = np.empty(min(size, count), dtype=np.float32)
    while block.done < count:
        piece = scratch[: min(size, count - block.done)]
        block.read(piece)
        yield piece


def _read_into(text: Text, out: NDArray[np.float32], count: int, run: int | None, strict: bool, scale: float) -> None:
    _Block(text, count, run, strict, scale).read(out)


class _Block:
    """A block being read: how far it is, and what its lines look like."""

    def __init__(self, text: Text, count: int, run: int | None, strict: bool, scale: float) -> None:
        self.text = text
        self.count = count
        self.strict = strict
        self.scale = scale
        self.done = 0
        self.left_over: list[float] = []
        line = text.peek_line()
        #: Numbers in the first line.
        self.row = len(line.split())
        self.first = line.split()[:1]
        # Where lines restart after every run, the first line is at most one run long.
        self.run = run if run is not None and 0 < self.row <= run else None
        self.patience = 0
        #: Of the lines, as long as they keep to it.
        self.layout: _Layout | None = None

    def read(self, out: NDArray[np.float32]) -> None:
        """Fill `out` with the next numbers."""
        filled = 0
        while filled < len(out):
            if self.left_over:
                taken = self.left_over[: len(out) - filled]
                self.left_over = self.left_over[len(taken) :]
                out[filled : filled + len(taken)] = taken
                filled += len(taken)
                self.done += len(taken)
                continue
            if self.patience == 0 and len(out) - filled >= min(self.row, self.count - self.done):
                quick = self._fast(out[filled:])
                if quick:
                    filled += quick
                    continue
                self.patience = 8
                self.layout = None
            self.patience = max(0, self.patience - 1)
            self.left_over = self._slow(min(len(out) - filled, self.count - self.done))
        # A last line may hold more than the block: of two columns, or because a line is missing before.
        if self.done == self.count and self.left_over:
            self.text.fail(
                f"{len(self.left_over)} numbers more than the {self.count} of the grid in the last line: lines are "
                "missing or doubled"
            )

    # Quick ------------------------------------------------------------------------------------------------

    def _fast(self, out: NDArray[np.float32]) -> int:
        """Decode one chunk of full lines (or of runs of lines) into `out`; how many numbers, 0 if it cannot."""
        if self.layout is None:
            self.layout = _layout_of(self.text.peek_line())
        layout = self.layout
        if layout is None or layout.fields != self.row:
            self.layout = None
            return 0
        if self.run is not None and self.run % self.row:
            return self._fast_runs(out, layout)
        lines = min(len(out) // self.row, max(1, _CHUNK // layout.length))
        lines = min(lines, self.text.need(lines * layout.length) // layout.length)
        if not lines:
            return 0
        buffer, at = self.text.window()
        values, bad = _decoder(layout, self.scale).decode(buffer, at, (lines,), (layout.length,))
        if bad is not None and not self._mend(values, bad, buffer, at, layout, lines):
            return 0
        if not self._store(out[: values.size], values):
            return 0
        self.text.advance(lines * layout.length, lines)
        self.done += values.size
        return values.size

    def _fast_runs(self, out: NDArray[np.float32], layout: _Layout) -> int:
        """As `_fast`, where every run ends with a short line."""
        run = self.run or 0
        if self.done % run:
            return 0
        full, fields = divmod(run, self.row)
        short = layout.short(fields)
        length = full * layout.length + short.length
        runs = min(len(out) // run, max(1, _CHUNK // length))
        runs = min(runs, self.text.need(runs * length) // length)
        if not runs:
            return 0
        buffer, at = self.text.window()
        target = out[: runs * run].reshape(runs, run)
        parts = ((layout, full, 0, slice(0, full * self.row)), (short, 1, full, slice(full * self.row, run)))
        found = []
        for one, lines, before, where in parts:
            start = at + before * layout.length
            values, bad = _decoder(one, self.scale).decode(buffer, start, (runs, lines), (length, layout.length))
            if bad is not None:
                return 0
            found.append((values.reshape(runs, -1), where))
        if not all([self._store(target[:, where], values) for values, where in found]):
            return 0
        self.text.advance(runs * length, runs * (full + 1))
        self.done += runs * run
        return runs * run

    def _mend(
        self,
        values: NDArray[np.float64],
        bad: NDArray[np.bool_],
        buffer: bytearray,
        at: int,
        layout: _Layout,
        lines: int,
    ) -> bool:
        """Read the lines that are not of the layout word by word; False if it is not worth it or they are not lines."""
        rows = np.flatnonzero(bad)
        if 4 * len(rows) > lines:
            return False
        for row in rows:
            start = at + int(row) * layout.length
            line = bytes(buffer[start : start + layout.length])
            tokens = line.split()
            if line.find(b"\n") != layout.length - 1 or len(tokens) != self.row:
                return False
            words = [number(self.text, t, "", self.text.line_number + int(row) + 1) for t in tokens]
            values[row] = np.array(words) * self.scale
        return True

    def _store(self, out: NDArray[np.float32], values: NDArray[np.float64]) -> bool:
        """Round to single precision; False if a number is beyond it (`_slow` then names the line)."""
        with np.errstate(over="ignore"):
            out[...] = values.reshape(out.shape)
        return bool(np.isfinite(out.max()) and np.isfinite(out.min()))

    # Word by word -----------------------------------------------------------------------------------------

    def _slow(self, wanted: int) -> list[float]:
        """Read lines until there are `wanted` numbers or enough for one batch; the numbers."""
        text = self.text
        words: list[list[bytes]] = []
        numbers_of: list[int] = []
        n_words = 0
        while n_words < wanted and len(words) < _BATCH_LINES:
            raw = text.raw_line()
            if not raw:
                text.truncated(f"the file ends after {self.done + n_words} of {self.count} numbers")
            tokens = raw.split()
            if not tokens:
                continue
            self._check_row(len(tokens), self.done + n_words)
            if not raw.endswith(b"\n"):
                self._check_last(tokens[-1], self.done + n_words + len(tokens))
            words.append(tokens)
            numbers_of.append(text.line_number)
            n_words += len(tokens)
        flat = list(chain.from_iterable(words))
        joined = b"".join(flat)
        plain = not joined.translate(None, b"0123456789+-.eE")
        values: list[float] = []
        if plain:
            try:
                values = list(map(float, flat))
            except ValueError:
                plain = False
        if not plain:
            values = [
                number(text, token, "", line)
                for line, tokens in zip(numbers_of, words, strict=True)
                for token in tokens
            ]
        if self.scale != 1.0:
            values = [value * self.scale for value in values]
        if max(values) > _FLOAT32_MAX or min(values) < -_FLOAT32_MAX:
            at = next(i for i, value in enumerate(values) if not abs(value) <= _FLOAT32_MAX)
            line = next(n for n, end in zip(numbers_of, np.cumsum([len(t) for t in words]), strict=True) if at < end)
            raise NonFiniteError(
                f"{text.path}, line {line}: {shown(flat[at])} is beyond single precision (larger than "
                f"{_FLOAT32_MAX:.3g})"
            )
        return values

    def _check_row(self, found: int, done: int) -> None:
        """Refuse a line that is longer or shorter than it can be."""
        left = self.count - done
        if found > left:
            self.text.fail(
                f"{found} numbers in a line where only {left} of the {self.count} are left: lines are missing or "
                "doubled"
            )
        if self.strict:
            expected = min(self.row, left)
            if found != expected:
                if not self.text.need(1):
                    self.text.truncated(f"a line of {found} numbers, the others have {self.row}")
                self.text.fail(f"{found} numbers in a line, the others have {self.row}")

    def _check_last(self, token: bytes, done: int) -> None:
        """A file may end without a line end, but not inside a number: its last one must look like its first."""
        if done < self.count:
            self.text.truncated(f"the file ends after {done} of {self.count} numbers")
        if not self.first or _shape(token) != _shape(self.first[0]):
            self.text.truncated(f"the file ends inside the number '{shown(token)}'")


def _shape(token: bytes) -> bytes:
    """What a number looks like: its point and what follows, with every digit a 0; without its sign."""
    shape = re.sub(rb"\d", b"0", token).lstrip(b"+-0")
    return re.sub(rb"[+-]", b"+", shape)


# Skipping a block ---------------------------------------------------------------------------------------------


def jump_block(text: Text, count: int, run: int | None = None) -> bool:
    """Go over a block in one step, by the length that its first line and even columns give it.

    In a plain file the jump costs nothing; in a packed one it is unpacked and thrown away.

    Parameters
    ----------
    text, count, run
        As for `read_block`.

    Returns
    -------
    Whether the jump ended right after a line end. If not, the place is lost: go back and use `skip_block`. What lies
    behind the block then tells whether the layout held; the numbers are checked when they are read.

    Raises
    ------
    TruncatedFileError
        If the rest of the file cannot hold the block.
    """
    check_count(text, count)
    line = text.peek_line()
    row = len(line.split())
    layout = _layout_of(line)
    length, width = _even_columns(line) if layout is None else (len(line), layout.width)
    if not row or not length:
        return False
    if run is None or row > run:
        run = count
    full, rest = divmod(run, row)
    runs = count // run
    ahead = runs * (full * length + (length - (row - rest) * width if rest else 0))
    if text.size is not None and text.offset + ahead > text.size:
        return False
    text.skip_to(text.offset + ahead - 1, text.line_number + runs * (full + bool(rest)))
    return text.take(1) == b"\n"


def skip_block(text: Text, count: int, *, strict: bool = False) -> None:
    """Go over a block number by number, as `read_block` does.

    Raises
    ------
    As `read_block`.
    """
    check_count(text, count)
    block = _Block(text, count, None, strict, 1.0)
    scratch = np.empty(min(count, 1 << 16), dtype=np.float32)
    while block.done < count:
        block.read(scratch[: min(len(scratch), count - block.done)])


def _even_columns(line: bytes) -> tuple[int, int]:
    """Length of a line and width of its columns if they are even; (0, 0) if not."""
    row = len(line.split())
    body = len(line.rstrip(b"\r\n"))
    if not row or body % row:
        return 0, 0
    return len(line), body // row
