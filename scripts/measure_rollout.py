"""Core-seconds that the bundled emulator takes for a frame, decoded or not, on one thread; see docs/emulator.md.

Atoms are not counted: that decodes the last frame of every block of 20, and makes one block more than is given out.
"""

from __future__ import annotations

import argparse
import time

import torch

import edviz


def main() -> None:
    """Roll out without decoding, with a tenth of the frames looked at, and with every frame kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200, help="a multiple of 10")
    n = parser.parse_args().frames
    torch.set_num_threads(1)
    emulator = edviz.load_emulator("lithium-800K")
    context = edviz.load_sample("lithium-800K").split("test")
    emulator.rollout(context, 5, progress=False)
    for save_every, stat_every in ((n, n), (n, 10), (1, 10)):
        began = time.process_time()
        emulator.rollout(context, n, save_every=save_every, stat_every=stat_every, conserve_atoms=False, progress=False)
        each = (time.process_time() - began) / n
        print(f"save_every={save_every}, stat_every={stat_every}: {each:.4f} core-seconds a frame", flush=True)


if __name__ == "__main__":
    main()
