"""Turning a series of files into one native file or a series of another format: parallel, resumable, in little memory.

Worker processes read frames, since parsing text keeps a processor busy; this process writes them in order, through
`edviz.io.parts.PartWriter` where the target is a native file. A kill loses at most the part being written; the same
command goes on after the last frame that is safe. No more frames are in flight than twice the workers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edviz.errors import ArgumentError, GridMismatchError
from edviz.io.formats import for_writing
from edviz.io.parts import PartWriter, parts_folder

if TYPE_CHECKING:
    from edviz.trajectory import DensityTrajectory

__all__ = ["convert", "left_behind"]

_PATTERN = re.compile(r"%0?\d*d")
#: Variables that a PartWriter takes frame by frame; others (PAW occupancies) stay behind, and `convert` says so.
_STREAMED = ("positions", "velocities", "forces", "energy", "temperature", "magnetization")


def _frame(traj: DensityTrajectory, i: int) -> dict[str, Any]:
    """Everything of one frame, in memory."""
    ds = traj.ds.isel(time=i)
    names = [
        name for name in ("density", *_STREAMED) if name in ds and (name == "density" or "time" in traj.ds[name].dims)
    ]
    frame = {name: ds[name].values for name in names}
    if "time" in traj.ds["cell"].dims:
        frame["cell"] = ds["cell"].values
    return frame


_worker_traj: DensityTrajectory | None = None


def _start(traj: DensityTrajectory) -> None:
    global _worker_traj
    _worker_traj = traj


def _read(i: int) -> dict[str, Any]:
    assert _worker_traj is not None
    import dask

    with dask.config.set(scheduler="synchronous"):
        return _frame(_worker_traj, i)


def _write_one(i: int, path: Path) -> None:
    """Write a frame to a file of its own, in a worker."""
    assert _worker_traj is not None
    import dask

    with dask.config.set(scheduler="synchronous"):
        _worker_traj[i].to_file(path)


def _in_order(
    traj: DensityTrajectory, job: Callable[..., Any], calls: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[Any]:
    """Results of a job for each call, in order; at most twice `workers` are in flight."""
    if workers == 1 or len(calls) < 2:
        _start(traj)
        try:
            for call in calls:
                yield job(*call)
        finally:
            globals()["_worker_traj"] = None
        return
    # Fresh interpreters: forking a process with threads and open HDF5 files is not safe.
    with ProcessPoolExecutor(workers, get_context("spawn"), _start, (traj,)) as pool:
        flying: list[Future[Any]] = []
        try:
            for call in calls:
                flying.append(pool.submit(job, *call))
                if len(flying) >= 2 * workers:
                    yield flying.pop(0).result()
            while flying:
                yield flying.pop(0).result()
        finally:
            for future in flying:
                future.cancel()


def convert(
    traj: DensityTrajectory, out: str | os.PathLike[str], *, workers: int | None = None, overwrite: bool = False
) -> int:
    """Write a trajectory file, going on with what an earlier, stopped call left.

    Parameters
    ----------
    traj
        What to write, lazily opened.
    out
        ``run.h5``: one native file. A name with a number in it, ``CHGCAR_%04d`` or ``rho-%d.cube``: a file a frame.
        Other names: one file, through `edviz.io.save`.
    workers
        Processes that read (or write, for a series); by default one for each processor, four at most.
    overwrite
        Start anew instead of going on.

    Returns
    -------
    Frames written by this call.

    Raises
    ------
    GridMismatchError
        If the unfinished file is of other frames.
    WriteError
        If the disk refuses; what is finished stays and the same call goes on with it.
    """
    from tqdm.auto import tqdm

    out = Path(out).expanduser()
    if workers is None:
        workers = min(4, os.cpu_count() or 1)
    if workers < 1:
        raise ArgumentError(f"workers is 1 or more; got {workers}")
    known = for_writing(_numbered(out, 0))
    if _PATTERN.search(out.name):
        if known.clock:
            raise ArgumentError(f"{out}: {known.name} files hold whole trajectories; leave the number out of the name")
        return _series(traj, out, workers, overwrite)
    if known.module != "edviz.io.native":
        traj.to_file(out)
        return len(traj)
    if traj.is_ensemble:
        raise ArgumentError("an ensemble is written by traj.to_file(); convert takes one trajectory")
    ds = traj.ds
    moving = "time" in ds["cell"].dims
    there = not overwrite and (out.exists() or parts_folder(out).is_dir())
    with PartWriter(
        out,
        cell=None if moving else ds["cell"].values,
        attrs={str(key): value for key, value in ds.attrs.items()},
        numbers=ds["numbers"].values if "numbers" in ds else None,
        resume=there,
        overwrite=overwrite,
    ) as writer:
        done = writer.n_frames
        if done > len(traj) or (done and abs((writer.last_time or 0.0) - traj.time[done - 1]) > 1e-6):
            raise GridMismatchError(
                f"{out} holds {done} frames up to {writer.last_time} fs, which are not the first of these "
                f"{len(traj)} frames. Choose another name, or overwrite=True (--overwrite)"
            )
        calls = [(i,) for i in range(done, len(traj))]
        with tqdm(total=len(traj), initial=done, desc="converting", unit="frame") as bar:
            for call, frame in zip(calls, _in_order(traj, _read, calls, workers), strict=True):
                density = frame.pop("density")
                writer.append(density, float(traj.time[call[0]]), **frame)
                bar.update()
    return len(calls)


def _numbered(out: Path, i: int) -> Path:
    """``rho-%04d.cube`` -> ``rho-0007.cube``."""
    match = _PATTERN.search(out.name)
    return out if match is None else out.with_name(out.name[: match.start()] + match[0] % i + out.name[match.end() :])


def _series(traj: DensityTrajectory, out: Path, workers: int, overwrite: bool) -> int:
    from tqdm.auto import tqdm

    out.parent.mkdir(parents=True, exist_ok=True)
    # A file appears whole or not at all, so one that is there is finished.
    paths = [_numbered(out, i) for i in range(len(traj))]
    calls = [(i, path) for i, path in enumerate(paths) if overwrite or not path.exists()]
    with tqdm(total=len(traj), initial=len(traj) - len(calls), desc="converting", unit="frame") as bar:
        for _ in _in_order(traj, _write_one, calls, workers):
            bar.update()
    return len(calls)


def left_behind(traj: DensityTrajectory) -> list[str]:
    """Variables that a native file written by `convert` does not hold."""
    kept = {"density", "cell", "time", "numbers", *_STREAMED}
    return sorted(str(name) for name in traj.ds.variables if name not in kept)
