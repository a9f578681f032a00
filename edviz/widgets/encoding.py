"""A field as 16-bit codes, which is how frames travel to the page: two bytes a point, between the frame's own extremes.

Half-precision numbers take as many bytes and are not fine enough. They spend codes on all magnitudes up to 65504, and
between 2^-5 and 2^-4, where a valence density is nearly flat about its maxima, they lie 3e-5 apart: surfaces there
change what they enclose by more than a thousandth. Codes that divide the frame's range evenly lie 1e-6 apart.

Even codes suit a field that fills its range. One that has far higher peaks than it has values elsewhere (all electrons,
molecules in vacuum) gets codes that are even in asinh(value / knee): even up to about the knee, beyond it in
proportion to the value. That is how photometry stores magnitudes of either sign (Lupton, Gunn and Szalay, Astron. J.
118, 1406, 1999). docs/viewer.md has what was measured.
"""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Code", "decode", "encode"]

_LAST = 65535
#: Even codes for a range of up to so many times the typical magnitude: their step is then at most a 8000th of that.
_EVEN = 8.0


class Code(TypedDict):
    """What codes stand for: ``x = offset + step * code`` where `knee` is 0, else ``knee * sinh(x)``."""

    offset: float
    step: float
    knee: float


def encode(values: ArrayLike) -> tuple[NDArray[np.uint16], Code]:
    """16-bit codes of a field and what they stand for.

    Parameters
    ----------
    values
        Any shape, finite. Taken as float32, which is what the page calculates with.

    Returns
    -------
    codes : uint16, C order, little-endian
        Grow with the value. The extremes are exact, any other value lies within half a step.
    code : Code
        For `decode`. A field of one value has step 0.
    """
    array = np.asarray(values, dtype=np.float32).astype(np.float64)
    magnitude = float(np.sqrt(np.abs(array)).mean()) ** 2  # unlike the mean it is not set by a few high peaks
    knee = 0.0 if array.max() - array.min() <= _EVEN * magnitude else magnitude
    scaled = np.arcsinh(array / knee) if knee else array
    offset, step = float(scaled.min()), float(np.ptp(scaled)) / _LAST
    codes = np.rint((scaled - offset) / step) if step else np.zeros(array.shape)
    return codes.astype("<u2", order="C"), Code(offset=offset, step=step, knee=knee)


def decode(codes: Any, code: Code) -> NDArray[np.float32]:
    """What the page sees of codes (uint16, or their bytes), float32."""
    if isinstance(codes, (bytes, bytearray, memoryview)):
        codes = np.frombuffer(codes, dtype="<u2")
    scaled = code["offset"] + code["step"] * np.asarray(codes, dtype=np.float64)
    return (code["knee"] * np.sinh(scaled) if code["knee"] else scaled).astype(np.float32)
