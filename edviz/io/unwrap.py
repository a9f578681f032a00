"""Positions followed through the boundaries: each step the shortest one among periodic images.

Codes write positions wrapped into the cell, so an atom that leaves on one side comes back on the other. Between two
frames each fractional coordinate along a periodic direction moves by less than half a lattice vector (minimum image);
adding these moves up gives the path (Allen and Tildesley, Computer Simulation of Liquids, section 1.6).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["unwrap", "unwrapped_dataset"]


def unwrap(positions: ArrayLike, cell: ArrayLike, periodic: ArrayLike = (1, 1, 1)) -> tuple[NDArray[np.float64], float]:
    """Unwrap positions by minimum image.

    Parameters
    ----------
    positions
        (time, atom, 3) in angstrom.
    cell
        (3, 3) or (time, 3, 3) in angstrom.
    periodic
        Flags along a, b, c; coordinates along other directions are left alone.

    Returns
    -------
    (time, atom, 3) in angstrom, the first frame unchanged, and the largest move of a fractional coordinate between two
    frames. Near 0.5 the choice of the image is a guess.
    """
    positions = np.asarray(positions, dtype=np.float64)
    cells = np.broadcast_to(np.asarray(cell, dtype=np.float64), (len(positions), 3, 3))
    fractional = np.einsum("tai,tij->taj", positions, np.linalg.inv(cells))
    steps = np.diff(fractional, axis=0)
    images = np.where(np.asarray(periodic, dtype=bool), np.rint(steps), 0.0)
    largest = float(np.abs(steps - images).max(initial=0.0, where=np.asarray(periodic, dtype=bool)))
    shift = np.concatenate([np.zeros((1, *positions.shape[1:])), np.cumsum(images, axis=0)])
    return positions - np.einsum("tai,tij->taj", shift, cells), largest


def unwrapped_dataset(ds: xr.Dataset) -> xr.Dataset:
    """The dataset with its positions unwrapped and the attribute `unwrapped` set, if it has several frames of them.

    Warns
    -----
    UserWarning
        If an atom moves by more than 0.4 of a lattice vector between two frames: its image is then uncertain.
    """
    if "positions" not in ds or "sample" in ds["positions"].dims or ds.sizes["time"] < 2:
        return ds
    values: Any = ds["positions"].values
    found, largest = unwrap(values, ds["cell"].values, ds.attrs["periodic"])
    if largest > 0.4:
        warnings.warn(
            f"an atom moves by {largest:.2f} of a lattice vector between two frames: unwrapping by minimum image is a "
            "guess there. Frames closer in time, or positions= with an unwrapped trajectory, settle it.",
            UserWarning,
            stacklevel=3,
        )
    ds = ds.assign(positions=(ds["positions"].dims, found, ds["positions"].attrs))
    ds.attrs["unwrapped"] = "minimum image"
    return ds
