"""Evaluate a trajectory that is larger than memory, and say how much memory that took.

Frames are computed when they are read: real frames of the bundled lithium, tiled to a supercell and shifted by a
different amount each, so nothing is stored. The default is 50 GB, 47,684 frames of 64^3 points.

    python scripts/evaluate_50gb.py                      # threads, as many as there are processors
    python scripts/evaluate_50gb.py --gigabytes 2        # a quick look
    python scripts/evaluate_50gb.py --workers 4          # a dask.distributed cluster of four processes
"""

from __future__ import annotations

import argparse
import resource
import time
from contextlib import ExitStack
from functools import partial
from typing import Any

import dask.array as da
import numpy as np

import edviz

SHAPE = (64, 64, 64)


def frame(source: np.ndarray, block_info: Any = None) -> np.ndarray:
    """Frame n: a real frame, shifted by an amount of its own, twice along every axis."""
    number = block_info[None]["chunk-location"][0]
    moved = np.roll(source[number % len(source)], (number // 7, number // 3, number), axis=(0, 1, 2))
    return np.tile(moved, (2, 2, 2))[None]


def generated(n_frames: int) -> edviz.DensityTrajectory:
    """A lazy trajectory of the bundled liquid, eight cells of it."""
    real = edviz.load_sample("lithium-800K")
    source = real.split("test").density.values
    density = da.map_blocks(
        partial(frame, source),
        chunks=((1,) * n_frames, *((size,) for size in SHAPE)),
        dtype=np.float32,
        meta=np.empty((0,) * 4, np.float32),
    )
    return edviz.DensityTrajectory.from_arrays(
        density, 2 * real.grid.cell, time=10.0 * np.arange(n_frames), n_electrons=8 * real.n_electrons
    )


def main() -> None:
    """Evaluate, and print the table, the time and the largest resident memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=50.0, help="size of the trajectory (default: 50)")
    parser.add_argument("--workers", type=int, default=0, help="processes of a LocalCluster; 0 for threads")
    arguments = parser.parse_args()
    n_frames = round(arguments.gigabytes * 1e9 / (4 * np.prod(SHAPE)))
    with ExitStack() as stack:
        if arguments.workers:
            from distributed import Client, LocalCluster

            cluster = stack.enter_context(LocalCluster(n_workers=arguments.workers, dashboard_address=None))
            stack.enter_context(Client(cluster))
        start = time.perf_counter()
        card = edviz.evaluate(generated(n_frames), generated(127))
        seconds = time.perf_counter() - start
        print(card)
        print(f"{n_frames} frames, {arguments.gigabytes:g} GB: {seconds:.0f} s, {n_frames / seconds:.0f} frames/s")
    who = {"this process": resource.RUSAGE_SELF, "largest worker": resource.RUSAGE_CHILDREN}
    for name, which in who.items():
        print(f"{name}: at most {resource.getrusage(which).ru_maxrss / 2**20:.2f} GiB in memory")


if __name__ == "__main__":
    main()
