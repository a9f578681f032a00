"""Out of core and in parallel: a trajectory cut into segments, each a task of its own with bounded memory.

A segment is a run of consecutive frames of one sample. A task walks over its frames a few megabytes at a time and
returns small arrays. Tasks run under the dask scheduler that is active: threads by default, the workers of a
`dask.distributed.Client` if there is one. How a trajectory is cut depends on it alone, never on who does the work,
and results come back in order, so both give the same numbers bit for bit. Tasks are handed out through a sliding
window: neither the graph of a long trajectory nor its results pile up.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, TypeVar

import dask
import dask.threaded
import numpy as np
from dask.base import get_scheduler
from dask.system import CPU_COUNT
from numpy.typing import NDArray

from edviz.analysis import frames as frames_module
from edviz.analysis.frames import with_sample_axis
from edviz.schema import check_finite
from edviz.trajectory import DensityTrajectory

__all__ = ["Segment", "SegmentFrames", "cut_segments", "map_segments"]

Result = TypeVar("Result")

SEGMENT_BYTES = 32 << 20  # of frames: seconds of work, so that a progress bar moves and the last worker is soon done
MIN_FRAMES = 16  # each segment reads one frame twice, its predecessor's last
MEMORY_BYTES = 2 << 30  # for all threads together
TEMPORARIES = 16  # times a batch: what a task needs at its peak, generously


@dataclass(frozen=True)
class Segment:
    """Consecutive frames of one sample.

    Attributes
    ----------
    sample
        Number of the sample.
    start, stop
        Numbers of the first frame and of the one after the last.
    block
        Number of the block that the frames are a part of, or None between blocks.
    """

    sample: int
    start: int
    stop: int
    block: int | None = None

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def frames(self) -> slice:
        """The frames' numbers."""
        return slice(self.start, self.stop)


def cut_segments(traj: DensityTrajectory, blocks: Iterable[slice] = (), whole_blocks: bool = False) -> list[Segment]:
    """Cut every sample at the borders of the blocks, and what is long into several pieces.

    Parameters
    ----------
    traj
        Single or ensemble.
    blocks
        Disjoint, in order.
    whole_blocks
        Never cut a block: for statistics that relate frames far apart. Only what lies between is cut then.

    Returns
    -------
    In order of samples, then of frames; every frame in exactly one.
    """
    n_frames = len(traj)
    longest = max(MIN_FRAMES, SEGMENT_BYTES // (4 * int(np.prod(traj.density.shape[-3:]))))
    runs: list[tuple[int, int, int | None]] = []
    end = 0
    for number, block in enumerate(blocks):
        runs.append((end, block.start, None))
        runs.append((block.start, block.stop, number))
        end = block.stop
    runs.append((end, n_frames, None))
    pieces: list[tuple[int, int, int | None]] = []
    for start, stop, of_block in runs:
        n = 1 if whole_blocks and of_block is not None else -(-(stop - start) // longest)
        borders = [start + round(i * (stop - start) / n) for i in range(n + 1)] if n else []
        pieces += [(a, b, of_block) for a, b in pairwise(borders)]
    return [Segment(sample, *piece) for sample in range(traj.n_samples) for piece in pieces]


class SegmentFrames:
    """The frames of one segment, read when they are asked for.

    Parameters
    ----------
    segment
        Which frames.
    values
        (frame, a, b, c) numpy or dask, beginning with the frames before the segment that it was asked for.
    where
        Name of the trajectory, for messages.
    """

    # No dataclass: dask would look into it and compute the lazy frames before the task begins.
    def __init__(self, segment: Segment, values: Any, where: str = "") -> None:
        self.segment = segment
        self.values = values
        self.where = where
        self._n_before = values.shape[0] - len(segment)

    @property
    def previous(self) -> NDArray[np.float32] | None:
        """(a, b, c) the frame before the segment; None at the beginning of a trajectory."""
        return self.history[-1] if self._n_before else None

    @property
    def history(self) -> NDArray[np.float32]:
        """(frame, a, b, c) the frames before the segment, as many as were asked for and the trajectory has."""
        return self._read(0, self._n_before, self.segment.start - self._n_before)

    def batches(self) -> Iterator[NDArray[np.float32]]:
        """Walk over the segment's frames, (frame, a, b, c), about four megabytes at a time.

        Raises
        ------
        NonFiniteError
            At the first NaN or infinity, naming trajectory, sample and frame.
        """
        size = max(1, frames_module.BATCH_BYTES // (4 * int(np.prod(self.values.shape[1:]))))
        for start in range(0, len(self.segment), size):
            stop = min(start + size, len(self.segment))
            yield self._read(self._n_before + start, self._n_before + stop, self.segment.start + start)

    def _read(self, start: int, stop: int, first_frame: int) -> NDArray[np.float32]:
        part = self.values[start:stop]
        # One worker, one thread: the segments are what is parallel.
        values = np.asarray(part.compute(scheduler="synchronous") if hasattr(part, "dask") else part)
        check_finite(values, "density", self.where, first_frame=first_frame)
        return values


def map_segments(
    function: Callable[..., Result],
    traj: DensityTrajectory,
    segments: Iterable[Segment],
    *shared: Any,
    before: int = 1,
    progress: Any = None,
    where: str = "",
) -> Iterator[tuple[Segment, Result]]:
    """Call ``function(SegmentFrames, *shared)`` for every segment, in parallel, and yield what it returns, in order.

    Parameters
    ----------
    function
        Pure, at the top level of a module (workers of a cluster import it). What it returns should be small.
    traj
        Single or ensemble, lazy or in memory.
    segments
        From `cut_segments`.
    shared
        Further arguments, the same for all.
    before
        How many frames before its own each segment gets to see (fewer at the beginning of a trajectory).
    progress
        A tqdm bar that counts frames, or None.
    where
        Name of the trajectory, for messages.

    Raises
    ------
    NonFiniteError
        At a NaN or an infinity: of the first such frame, naming trajectory, sample and frame.
    """
    tasks = ((segment, _frames_of(traj, segment, where, before)) for segment in segments)
    for segment, result in _run(function, tasks, shared, _batch_bytes(traj)):
        if progress is not None:
            progress.update(len(segment))
        yield segment, result


def _frames_of(traj: DensityTrajectory, segment: Segment, where: str, before: int) -> SegmentFrames:
    before = min(before, segment.start)
    density = with_sample_axis(traj.density).isel(
        sample=segment.sample, time=slice(segment.start - before, segment.stop)
    )
    values = density.data
    if hasattr(values, "dask"):
        (values,) = dask.optimize(values)  # leaves out the graph of all other frames
    if traj.is_ensemble:
        where = f"{where}, sample {segment.sample}" if where else f"sample {segment.sample}"
    return SegmentFrames(segment, values, where)


def _batch_bytes(traj: DensityTrajectory) -> int:
    return max(frames_module.BATCH_BYTES, 4 * int(np.prod(traj.density.shape[-3:])))


_Tasks = Iterable[tuple[Segment, SegmentFrames]]


def _run(
    function: Callable[..., Result], tasks: _Tasks, shared: tuple[Any, ...], batch_bytes: int
) -> Iterator[tuple[Segment, Result]]:
    """Run the tasks under dask's active scheduler."""
    chosen = dask.config.get("scheduler", None)
    # Without a choice dask looks for a Client, and imports distributed for that; whoever has one has imported it.
    scheduler = get_scheduler() if chosen or "distributed" in sys.modules else None
    client = getattr(scheduler, "__self__", None)
    n_threads = int(dask.config.get("num_workers", None) or CPU_COUNT)
    n_threads = min(n_threads, max(1, MEMORY_BYTES // (TEMPORARIES * batch_bytes)))
    pool = chosen if isinstance(chosen, Executor) else dask.config.get("pool", None)
    if hasattr(client, "scatter"):
        yield from _on_cluster(client, function, tasks, shared)
    elif scheduler is dask.local.get_sync or n_threads == 1:
        for segment, frames in tasks:
            yield segment, function(frames, *shared)
    elif isinstance(pool, Executor):
        yield from _window(((s, pool.submit(function, frames, *shared)) for s, frames in tasks), 2 * n_threads)
    elif scheduler is None or scheduler is dask.threaded.get:
        with ThreadPoolExecutor(n_threads, thread_name_prefix="edviz") as threads:
            yield from _window(((s, threads.submit(function, frames, *shared)) for s, frames in tasks), 2 * n_threads)
    else:  # processes, or somebody's own
        delayed = ((segment, dask.delayed(function, pure=False)(frames, *shared)) for segment, frames in tasks)
        with _kept_pool(scheduler, n_threads) as options:
            while some := list(islice(delayed, 2 * n_threads)):
                yield from zip((s for s, _ in some), dask.compute(*(d for _, d in some), **options), strict=True)


@contextmanager
def _kept_pool(scheduler: Any, n_workers: int) -> Iterator[dict[str, Any]]:
    """One pool for all calls: dask starts processes anew for each, which takes longer than most tasks."""
    multiprocessing = sys.modules.get("dask.multiprocessing")
    if multiprocessing is None or scheduler is not multiprocessing.get:
        yield {}
        return
    with ProcessPoolExecutor(n_workers, multiprocessing.get_context()) as pool:
        yield {"pool": pool}


def _on_cluster(
    client: Any, function: Callable[..., Result], tasks: _Tasks, shared: tuple[Any, ...]
) -> Iterator[tuple[Segment, Result]]:
    """Run the tasks on the workers of a `dask.distributed.Client`. Files are read by the workers."""
    everywhere = [client.scatter(value, broadcast=True, hash=False) for value in shared]
    n_threads = max(1, sum(client.nthreads().values()))

    def submit(frames: SegmentFrames) -> Any:
        # Frames that are in memory here are sent ahead as data: a task should be small.
        sent = frames if hasattr(frames.values, "dask") else client.scatter(frames, hash=False)
        return client.submit(function, sent, *everywhere, pure=False)

    yield from _window(((segment, submit(frames)) for segment, frames in tasks), 2 * n_threads)


def _window(submitted: Iterable[tuple[Segment, Any]], n: int) -> Iterator[tuple[Segment, Any]]:
    """Results in order, with at most `n` tasks handed out at a time; on an error the others are taken back."""
    waiting: deque[tuple[Segment, Any]] = deque()
    try:
        for segment, future in submitted:
            waiting.append((segment, future))
            if len(waiting) >= n:
                first, done = waiting.popleft()
                yield first, done.result()
        while waiting:
            first, done = waiting.popleft()
            yield first, done.result()
    finally:
        for _, future in waiting:
            future.cancel()
