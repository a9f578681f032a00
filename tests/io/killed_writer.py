"""Run many writers and kill each at a random moment; print one JSON line for each. Started by test_parts.py.

It forks, so that a writer costs milliseconds, and imports only what a writer needs.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

import h5netcdf  # noqa: F401 - imported once, before forking
import numpy as np
from tqdm.auto import tqdm  # noqa: F401 - as above

from edviz.io.parts import PartWriter

N_FRAMES = 9
FRAMES_PER_PART = 3
N_PARTS = N_FRAMES // FRAMES_PER_PART
ALL_PARTS = "p" * N_PARTS
SHAPE = (6, 6, 6)
CELL = 3.0 * np.eye(3)


def frame(i: int) -> np.ndarray:
    """Frame i: recognisable, and integrating to 27 electrons."""
    values = np.random.default_rng(i).uniform(0.5, 1.5, SHAPE)
    return (values / values.mean()).astype(np.float32)


def write(path: Path, report: int) -> None:
    """Write the whole run; report every finished part, and the start and end of the fold, by one byte each."""
    writer = PartWriter(
        path,
        cell=CELL,
        attrs={"density_kind": "valence", "n_electrons": 27},
        numbers=[3],
        frames_per_part=FRAMES_PER_PART,
    )
    done = 0
    for i in range(N_FRAMES):
        writer.append(frame(i), 2.0 * i, positions=[[i, 0, 0]])
        if writer.n_finished > done:
            done = writer.n_finished
            os.write(report, b"p")
    os.write(report, b"f")
    writer.close()
    os.write(report, b"e")


def run(path: Path, after: str | None, delay: float) -> tuple[str, float, float]:
    """Fork a writer and kill it `delay` seconds after it has reported `after`, such as "pp"; None: let it end.

    Returns what it reported, and how long it wrote and folded.
    """
    reader, report = os.pipe()
    marks = {"": time.perf_counter()}
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            write(path, report)
        finally:
            os._exit(0)
    os.close(report)
    heard = ""
    while True:
        wait = None
        if after in marks:
            wait = max(0.0, marks[after] + delay - time.perf_counter())
        if not select.select([reader], [], [], wait)[0]:
            os.kill(child, signal.SIGKILL)
            break
        got = os.read(reader, 1).decode()
        if not got:
            break
        heard += got
        marks[heard] = time.perf_counter()
    os.waitpid(child, 0)
    heard += os.read(reader, 100).decode()
    os.close(reader)
    fold = marks.get(ALL_PARTS + "f", 0.0)
    return heard, fold - marks[""], marks.get(ALL_PARTS + "fe", 0.0) - fold


def main(folder: Path, n_kills: int, seed: int) -> None:
    """Time whole runs, then kill half of the writers while they write and half while they fold."""
    whole = [run(folder / f"whole-{i}" / "run.h5", None, 0.0) for i in range(3)]
    one_part = min(writing for _, writing, _ in whole) / N_PARTS
    fold = min(folding for _, _, folding in whole)
    choose = random.Random(seed)
    for i in range(n_kills):
        if i % 2:
            after, delay = ALL_PARTS + "f", choose.uniform(0, fold)
        else:
            after, delay = "p" * choose.randrange(N_PARTS), choose.uniform(0, one_part)
        path = folder / f"kill-{i:03d}" / "run.h5"
        heard, _, _ = run(path, after, delay)
        print(json.dumps({"path": str(path), "heard": heard}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
