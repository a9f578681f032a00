"""Faults to plant in a clean trajectory, to see which row of the scorecard finds them.

Each function takes frames (frame, a, b, c) and returns them with one thing wrong and as little else as possible: what
a generative model may get wrong while the rest looks right. The two that keep S(k) are surrogates by alternating
between Fourier amplitudes and ranks of values (T. Schreiber and A. Schmitz, Phys. Rev. Lett. 77, 635 (1996)), here in
three dimensions and with one set of random phases for all frames, so that the surrogate moves as smoothly as the data.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

from edviz.errors import ArgumentError
from edviz.grid import apply_symmetry

__all__ = [
    "charge_lost",
    "fading",
    "frozen_region",
    "gaussianised",
    "memorised",
    "scrambled_phases",
    "wrong_contrast",
]

Frames = NDArray[np.float32]

N_ITERATIONS = 12


def _frames(values: ArrayLike) -> Frames:
    frames = np.asarray(values, dtype=np.float32)
    if frames.ndim != 4 or not frames.size:
        raise ArgumentError(f"values must be (frame, a, b, c); got shape {frames.shape}")
    return frames


def _means(frames: Frames) -> Frames:
    return frames.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float64).astype(np.float32)


def wrong_contrast(values: ArrayLike, factor: float | ArrayLike) -> Frames:
    """Deviations from each frame's mean times a factor, one for all or (frame,)."""
    frames = _frames(values)
    mean = _means(frames)
    return mean + np.reshape(np.asarray(factor, dtype=np.float32), (-1, 1, 1, 1)) * (frames - mean)


def fading(values: ArrayLike, per_frame: float) -> Frames:
    """Contrast that is right in the first frame and smaller by this share of it with every frame."""
    frames = _frames(values)
    return wrong_contrast(frames, 1 - per_frame * np.arange(len(frames)))


def frozen_region(values: ArrayLike, share: float) -> Frames:
    """A slab across the first axis, this share of the cell, stays as in the first frame; the charge is kept."""
    frames = _frames(values)
    width = round(share * frames.shape[1])
    frozen = frames.copy()
    frozen[:, :width] = frames[0, :width]
    return frozen * (_means(frames) / _means(frozen))


def memorised(values: ArrayLike, operation: NDArray[np.int64], shift: tuple[int, int, int]) -> Frames:
    """The same frames turned by a symmetry of the grid and moved by grid steps: as if they were new."""
    turned = apply_symmetry(_frames(values), operation)
    return np.ascontiguousarray(np.roll(turned, shift, axis=(1, 2, 3)), dtype=np.float32)


def charge_lost(values: ArrayLike, share: float) -> Frames:
    """This share of the electrons missing, everywhere alike."""
    return _frames(values) * np.float32(1 - share)


def gaussianised(values: ArrayLike, n_iterations: int = N_ITERATIONS) -> Frames:
    """Values with a nearly Gaussian distribution and exactly the Fourier amplitudes of each frame, hence its S(k)."""
    frames = _frames(values)
    rng = np.random.default_rng(0)
    normal = np.sort(rng.standard_normal(frames[0].size))
    normal = (normal - normal.mean()) / normal.std()
    result = np.empty_like(frames)
    for number, frame in enumerate(frames):
        amplitudes = np.abs(scipy.fft.rfftn(frame))
        wanted = float(frame.mean()) + float(frame.std()) * normal
        field = frame.astype(np.float64)
        for _ in range(n_iterations):
            field = _with_amplitudes(_with_values(field, wanted), amplitudes)
        result[number] = field
    return result


def scrambled_phases(values: ArrayLike, n_iterations: int = N_ITERATIONS, seed: int = 0) -> Frames:
    """Random phases with exactly the values of each frame and very nearly its S(k): no atoms, the right statistics."""
    frames = _frames(values)
    noise = np.random.default_rng(seed).standard_normal(frames.shape[1:])
    waves = scipy.fft.rfftn(noise)
    turn = waves / np.maximum(np.abs(waves), 1e-300)  # the phases of a real field, the same for all frames
    turn[0, 0, 0] = 1
    result = np.empty_like(frames)
    for number, frame in enumerate(frames):
        transformed = scipy.fft.rfftn(frame.astype(np.float64))
        amplitudes, wanted = np.abs(transformed), np.sort(frame.ravel()).astype(np.float64)
        field = scipy.fft.irfftn(transformed * turn, s=frame.shape)
        for _ in range(n_iterations):
            field = _with_amplitudes(_with_values(field, wanted), amplitudes)
        result[number] = _with_values(field, wanted)
    return result


def _with_values(field: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sorted values `wanted`, in the order of the field's ranks."""
    result = np.empty(field.size)
    result[np.argsort(field, axis=None)] = wanted
    return result.reshape(field.shape)


def _with_amplitudes(field: NDArray[np.float64], amplitudes: NDArray[np.floating]) -> NDArray[np.float64]:
    """The field's phases with other Fourier amplitudes."""
    waves = scipy.fft.rfftn(field)
    size = np.abs(waves)
    with np.errstate(invalid="ignore", divide="ignore"):
        waves = np.where(size > 0, waves / size, 1) * amplitudes
    result: NDArray[np.float64] = scipy.fft.irfftn(waves, s=field.shape)
    return result
