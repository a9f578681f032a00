"""Evaluate a trajectory that is larger than memory, and say how much memory that took.

Frames are computed when they are read: real frames of the bundled lithium, eight of them side by side, each
shifted by its own amount, so nothing is stored. The default is 50 GB, 47,684 frames of 64^3 points.

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
from itertools import product
from typing import Any

import dask.array as da
import numpy as np

import edviz

SHAPE = (64, 64, 64)
N_SOURCE = 12  # real frames that everything is made from


def frame(source: np.ndarray, block_info: Any = None) -> np.ndarray:
    """Frame n: each octant runs forth and back through the real frames, shifted anew at every turn."""
    number = block_info[None]["chunk-location"][0]
    values = np.empty((1, *SHAPE), np.float32)
    for octant, corner in enumerate(product((0, 32), repeat=3)):
        turn, place = divmod(number + 3 * octant, N_SOURCE)
        place = N_SOURCE - 1 - place if turn % 2 else place
        moved = np.roll(source[place], (turn + octant, 5 * turn, 7 * octant), axis=(0, 1, 2))
        values[0][tuple(slice(start, start + 32) for start in corner)] = moved
    return values


def generated(n_frames: int) -> edviz.DensityTrajectory:
    """A lazy trajectory of the bundled liquid, eight cells of it."""
    real = edviz.load_sample("lithium-800K")
    source = real.split("test")[:N_SOURCE].density.values
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
