"""Noise floors and intervals: what a number means when the frames behind it are few and correlated.

Frames of a liquid are far from independent, so nothing here counts frames. A trajectory is cut into blocks much
longer than the memory of the density, and blocks are what is compared, resampled and counted (H. Flyvbjerg and H. G.
Petersen, J. Chem. Phys. 91, 461 (1989); H. R. Künsch, Ann. Statist. 17, 1217 (1989) for the moving-block bootstrap).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Estimate",
    "autocorrelation_time",
    "cut_blocks",
    "mean_with_interval",
    "median_with_interval",
    "noise_floor",
]

Block = TypeVar("Block")

CONFIDENCE = 0.95
N_RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; the interval is not a number where the data are too few to tell.

    Attributes
    ----------
    value, low, high
        The number and the ends of its interval.
    values
        What it was estimated from: one number a block, pair or window.
    """

    value: float
    low: float
    high: float
    values: NDArray[np.float64]


def cut_blocks(n_frames: int, n_block: int) -> list[slice]:
    """As many disjoint blocks of `n_block` frames as fit, spread evenly so that the first and last frames are used.

    A remainder thus leaves gaps between blocks (which makes them less dependent) instead of dropping the end, where a
    rollout that goes wrong is at its worst. A single block is the last `n_block` frames.
    """
    n = n_frames // n_block if n_block > 0 else 0
    if n == 0:
        return []
    starts = np.linspace(n_frames - n_block if n == 1 else 0, n_frames - n_block, n).round().astype(int)
    return [slice(int(start), int(start) + n_block) for start in starts]


def median_with_interval(values: ArrayLike, seed: int = 0) -> Estimate:
    """Median over blocks; interval by resampling the blocks. One block has no interval."""
    values = np.asarray(values, dtype=np.float64)
    if not values.size:
        return Estimate(np.nan, np.nan, np.nan, values)
    low = high = np.nan
    if values.size > 1 and np.isfinite(values).all():
        rng = np.random.default_rng(seed)
        medians = np.median(values[rng.integers(values.size, size=(N_RESAMPLES, values.size))], axis=1)
        low, high = np.quantile(medians, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(float(np.median(values)), float(low), float(high), values)


def mean_with_interval(series: ArrayLike, n_block: int, seed: int = 0) -> Estimate:
    """Mean of a correlated series; interval by the moving-block bootstrap with blocks of `n_block` entries.

    With fewer than three blocks' length there is no interval.
    """
    series = np.asarray(series, dtype=np.float64)
    n = len(series)
    if not n:
        return Estimate(np.nan, np.nan, np.nan, series)
    low = high = np.nan
    if n >= 3 * n_block:
        rng = np.random.default_rng(seed)
        sums = np.cumsum(np.concatenate([[0.0], series]))
        means = (sums[n_block:] - sums[:-n_block]) / n_block  # of every stretch of n_block entries
        draws = means[rng.integers(len(means), size=(N_RESAMPLES, round(n / n_block)))].mean(axis=1)
        low, high = np.quantile(draws - draws.mean(), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) + series.mean()
    return Estimate(float(series.mean()), float(low), float(high), series)


def noise_floor(
    metric: Callable[[Block, Block], float], reference: Block, training: list[Block], seed: int = 0
) -> Estimate:
    """What a perfect generator would score: the metric between the reference and blocks of real data as long as it.

    Parameters
    ----------
    metric
        Called with (training block, reference block).
    reference
        The test block.
    training
        Disjoint blocks of the training data, each of the test block's duration.
    seed
        Of the bootstrap over pairs.

    Returns
    -------
    Median over the pairs with its interval; not a number without pairs.
    """
    return median_with_interval([metric(block, reference) for block in training], seed)


def autocorrelation_time(series: ArrayLike) -> float:
    """Integrated autocorrelation time of a series, in entries: 1/2 + the sum of its autocorrelation function.

    Summed up to five times the result itself (A. Sokal's window). 1/2 for independent entries.
    """
    series = np.asarray(series, dtype=np.float64)
    centred = series - series.mean()
    n = len(centred)
    power = np.abs(np.fft.rfft(centred, 2 * n)) ** 2
    correlation = np.fft.irfft(power)[:n]
    if not correlation[0] > 0:
        return float("inf")  # it never moves
    tau = 0.5 + np.cumsum(correlation[1:] / correlation[0])
    lags = np.arange(1, n)
    enough = lags >= 5 * tau
    return float(max(0.5, tau[np.argmax(enough)] if enough.any() else tau[-1]))
