"""Subtractive dither: rounding whose error is noise that does not depend on what was rounded.

Plain rounding puts values on a comb; where the comb is coarser than a histogram's bins (the holes of a density, in
log10 rho), every second bin stands empty, and a classifier tells rounded from unrounded data by that alone. So a
known uniform noise u, one value a grid point, is added before rounding and taken away again after reading:

    q = round(x / step + u),  x' = (q - u) step,  u in [-1/2, 1/2)

The error x' - x is then uniform in +-step/2 whatever x is, no larger than that of plain rounding, and x' lies on no
comb (L. G. Roberts, IRE Trans. Inf. Theory 8, 145 (1962); FITS calls it SUBTRACTIVE_DITHER). u comes from a counter
through the mixing function of splitmix64 (Steele, Lea and Flood, OOPSLA 2014), spelled out here because a file must
read the same for ever.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["uniform"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def uniform(seed: int, frames: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The noise of some frames.

    Parameters
    ----------
    seed
        Seed of the file.
    frames
        1-D indices of frames in the file.
    shape
        Shape of one frame; its points are numbered in C order.

    Returns
    -------
    [frame, *shape] float32, uniform in [-1/2, 1/2).
    """
    points = int(np.prod(shape))
    first = np.asarray(frames, dtype=np.uint64)[:, None] * np.uint64(points)
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64
        x: NDArray[Any] = (first + np.arange(points, dtype=np.uint64) + np.uint64(seed)) * _GOLDEN + _GOLDEN
        x = (x ^ (x >> np.uint64(30))) * _MIX_1
        x = (x ^ (x >> np.uint64(27))) * _MIX_2
        x = x ^ (x >> np.uint64(31))
    unit = (x >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)  # 24 bits: exact in float32
    return (unit - np.float32(0.5)).reshape(len(first), *shape)
