"""A training process whose second rank has memory for one row at a time: ``python narrow_worker.py RUN cpu 2``.

In the autoencoder it runs out before it meets the other process, in the diffusion in the middle of the backward pass.
"""

import sys

import torch

from edviz.training.stages import AutoencoderStage, DiffusionStage
from edviz.training.worker import main

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB."


def narrow_forward(self, step, batch, rows, losses=AutoencoderStage.losses):
    if rows.rank == 1 and rows.size > 1 and step == 3:
        raise torch.OutOfMemoryError(FULL)
    return losses(self, step, batch, rows)


def narrow_backward(self, step, batch, rows, losses=DiffusionStage.losses):
    found = losses(self, step, batch, rows)

    def out_of_memory(gradient):
        raise torch.OutOfMemoryError(FULL)

    if rows.rank == 1 and rows.size > 1:
        found["loss"].register_hook(out_of_memory)
    return found


if __name__ == "__main__":
    AutoencoderStage.losses, DiffusionStage.losses = narrow_forward, narrow_backward
    sys.exit(main())
