"""Reading damaged HDF5 files in a process of their own.

libhdf5 is C: damage inside its own structures can make it read where it must not. A crash there cannot be caught in
Python, so the fuzz tests of HDF5 formats read in a child process, and say what happened to it.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
from mutations import N_MUTATIONS, check_reader


def check_in_child(
    content: bytes,
    read: Callable[[Path], Any],
    agrees: Callable[[Any, bytes], bool],
    path: Path,
    *,
    mutations: tuple[Callable[..., bytes], ...],
    seed: int,
    batch: int = 50,
) -> dict[str, int]:
    """`mutations.check_reader`, a batch a child; a child that dies is a failure that names seed and batch."""
    counts = {"read": 0, "refused": 0}
    context = multiprocessing.get_context("fork")
    for number, first in enumerate(range(0, N_MUTATIONS, batch)):
        receiver, sender = context.Pipe(duplex=False)
        n = min(batch, N_MUTATIONS - first)
        arguments = (sender, content, read, agrees, path, mutations, n, seed + 1000 * number)
        child = context.Process(target=_check, args=arguments)
        child.start()
        sender.close()
        try:
            found = receiver.recv() if receiver.poll(300) else f"no answer from {n} files in 300 s"
        except EOFError:
            found = None
        child.kill() if isinstance(found, str) and found.startswith("no answer") else None
        child.join()
        if found is None:
            raise AssertionError(f"the child died with code {child.exitcode}: seed {seed + 1000 * number}, {path.name}")
        if isinstance(found, str):
            raise AssertionError(found)
        for key in counts:
            counts[key] += found[key]
    return counts


def _check(
    sender: Any,
    content: bytes,
    read: Callable[[Path], Any],
    agrees: Callable[[Any, bytes], bool],
    path: Path,
    mutations: tuple[Callable[..., bytes], ...],
    n: int,
    seed: int,
) -> None:
    # dask's threads do not live on in a forked process, but its pool believes they do.
    dask.config.set(scheduler="synchronous")
    try:
        sender.send(check_reader(content, read, agrees, path, mutations=mutations, n=n, seed=seed))
    except BaseException as error:
        sender.send(f"{type(error).__name__}: {error}")
    sender.close()
    os._exit(0)


def same_arrays(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    """Whether the fields named in `expected` were found with these values."""
    return all(
        found[name].shape == values.shape
        and np.allclose(found[name], values, rtol=2e-5, atol=1e-6 * max(1e-3, np.abs(values).max()))
        for name, values in expected.items()
    )
