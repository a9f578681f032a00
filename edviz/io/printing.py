"""Numbers as Fortran writes them, a hundred thousand at a time: 0.12345678901E+03.

The mantissa is rounded as one integer in double precision and its digits taken off one by one, all numbers together.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["fortran_lines"]

_CHUNK = 1 << 17


def _fields(values: NDArray[np.float64], width: int, digits: int) -> NDArray[np.uint8]:
    """(n,) numbers to (n, width) bytes."""
    size = np.abs(values)
    with np.errstate(divide="ignore"):
        power = np.where(size > 0, np.floor(np.log10(size)) + 1, 0)
    # In two steps: the power of ten alone may overflow.
    half = np.floor((digits - power) / 2)
    mantissa = np.rint(size * 10.0**half * 10.0 ** (digits - power - half))
    over = mantissa >= 10.0**digits
    under = (mantissa < 10.0 ** (digits - 1)) & (size > 0)
    power += over
    power -= under
    half = np.floor((digits - power) / 2)
    again = np.rint(size * 10.0**half * 10.0 ** (digits - power - half))
    number = np.where(over | under, again, mantissa).astype(np.int64)
    exponent = power.astype(np.int64)
    out = np.full((len(values), width), ord(" "), dtype=np.uint8)
    for i in range(2):
        exponent_digit = np.abs(exponent) // 10**i % 10
        out[:, width - 1 - i] = exponent_digit + ord("0")
    out[:, width - 3] = np.where(exponent < 0, ord("-"), ord("+"))
    out[:, width - 4] = ord("E")
    for i in range(digits):
        number, digit = np.divmod(number, 10)
        out[:, width - 5 - i] = digit + ord("0")
    point = width - 5 - digits
    out[:, point] = ord(".")
    negative = np.signbit(values)
    if point >= 2 and width - digits - 6 >= 2:
        out[:, point - 1] = ord("0")
        out[negative, point - 2] = ord("-")
    else:
        out[:, point - 1] = np.where(negative, ord("-"), ord("0"))
    return out


def fortran_lines(
    values: NDArray[np.floating], *, per_line: int, digits: int, width: int, scale: float = 1.0, run: int | None = None
) -> Iterator[bytes]:
    """Lines of numbers in Ew.d, in pieces.

    Parameters
    ----------
    values
        (n,), each of magnitude 1e-99 to 1e99 after scaling, or zero.
    per_line
        Numbers a line; the last line may be shorter.
    digits, width
        Digits after the point and characters a number; at least ``digits + 7``, so that blank, sign and zero fit.
    scale
        Multiply by this.
    run
        Lines start anew after every so many numbers.

    Yields
    ------
    Whole lines; each number is right to half a unit of its last digit.
    """
    if run is not None:
        step = max(1, _CHUNK // run) * run
    else:
        step = _CHUNK // per_line * per_line
    for start in range(0, len(values), step):
        fields = _fields(values[start : start + step].astype(np.float64) * scale, width, digits)
        rows = fields.reshape(len(fields) // run if run else 1, -1)
        full = rows.shape[1] // (per_line * width) * per_line * width
        lines = rows[:, :full].reshape(len(rows), -1, per_line * width)
        ends = np.full((*lines.shape[:2], 1), 10, dtype=np.uint8)
        parts = [np.concatenate([lines, ends], axis=2).reshape(len(rows), -1)]
        if full < rows.shape[1]:
            parts += [rows[:, full:], np.full((len(rows), 1), 10, dtype=np.uint8)]
        yield np.concatenate(parts, axis=1).tobytes()
