"""A field as half-precision numbers, which is how frames travel to the page.

IEEE 754 binary16 keeps 11 significant bits between 2^-14 and 65504 and loses them below. Densities in e/angstrom^3 fit
as they are. A field that does not (all electrons of gold, the difference of two nearly equal densities) is divided by a
power of two, which changes no digit. Eight bits, as 3D textures often have, would be too coarse for isovalues.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["decode_half", "encode_half"]

#: Largest magnitudes that are sent as they are, [2^-5, 2^15): what is a 500th of the smallest is still a normal number.
_LOWEST, _HIGHEST = -5, 14


def encode_half(values: ArrayLike) -> tuple[NDArray[np.float16], float]:
    """Half-precision codes and the scale they are to be multiplied by.

    Parameters
    ----------
    values
        Any shape, finite.

    Returns
    -------
    codes : float16, C order, little-endian
    scale : float
        A power of two; ``values`` is ``scale * codes`` to within one part in 2048.
    """
    array = np.asarray(values, dtype=np.float32)
    largest = float(np.abs(array).max(initial=0.0))
    exponent = 0
    if largest > 0 and not _LOWEST <= (size := int(np.floor(np.log2(largest)))) <= _HIGHEST:
        exponent = size - _HIGHEST
    # ldexp is exact; in double precision, as the smallest float32 numbers have no float32 reciprocal.
    codes = np.ldexp(array.astype(np.float64), -exponent).astype("<f2")
    return np.ascontiguousarray(codes), float(2.0**exponent)


def decode_half(codes: Any, scale: float) -> NDArray[np.float64]:
    """What the page sees: the codes (float16, or their bytes) times the scale, float64."""
    if isinstance(codes, (bytes, bytearray, memoryview)):
        codes = np.frombuffer(codes, dtype="<f2")
    return np.asarray(codes, dtype=np.float64) * scale
