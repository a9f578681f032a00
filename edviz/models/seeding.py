"""Random sources that depend on nothing but what they are for, so that a resumed run draws the same numbers."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["torch_generator"]


def torch_generator(*entropy: int) -> torch.Generator:
    """A torch generator seeded by integers, such as (seed, frame): other integers, independent numbers."""
    state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))  # torch takes signed 64 bits
