"""Roll out to files, kill each rollout at random moments until it is through, compare; one JSON line for each.

Started by test_rollouts.py. It forks, so that a rollout costs little more than its frames; one thread, since threads do
not survive a fork.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import dask
import h5netcdf  # noqa: F401 - imported once, before forking
import numpy as np
import torch

import edviz
from edviz import rollouts

N_FRAMES = 14
SETTINGS = {"n_frames": N_FRAMES, "n_samples": 2, "seed": 5, "save_every": 2, "stat_every": 3, "progress": False}


def main(emulator: Path, context: Path, folder: Path, n_rollouts: int, seed: int) -> None:
    """Kill and compare."""
    torch.set_num_threads(1)
    dask.config.set(scheduler="synchronous")
    rollouts.PART_SECONDS = 0.0  # a part a frame kept
    model, start = edviz.load_emulator(emulator), edviz.open(context)
    began = time.perf_counter()
    whole = model.rollout(start, **SETTINGS).ds
    duration = time.perf_counter() - began
    choose = random.Random(seed)
    for i in range(n_rollouts):
        path = folder / f"rollout-{i}.h5"
        kills, left = 0, set()
        for attempt in range(8):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    model.rollout(start, out=path, **SETTINGS)
                    status = 0
                finally:
                    os._exit(status)
            if attempt < 7:
                time.sleep(choose.uniform(0, 1.5 * duration))
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            if not os.WIFSIGNALED(status):
                break
            kills += 1
            left.add(len(list(path.parent.glob(f"{path.name}.parts/part-*.h5"))))
        found = edviz.open(path).ds.compute()
        same = found.identical(whole.drop_encoding()) if status == 0 else False
        bits = all(np.array_equal(found[name].values, whole[name].values) for name in whole.variables)
        print(json.dumps({"kills": kills, "parts": sorted(left), "same": same, "bits": bits}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
