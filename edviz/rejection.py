"""Frames in blocks that hold something, here the number of atoms: what does not is thrown away and drawn anew.

Rejection sampling: what comes out is the model's distribution on the condition that the number holds. Two atoms that
have come too close may be past saving where a block begins, so a block counts only once the next one has held as well;
where the next one fails too often, the block before it is drawn anew. What is given out never changes afterwards, and
depends on the start and the seed alone, not on how many frames were asked for or where a rollout was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edviz.errors import GenerationError

__all__ = ["TRIES", "Draw", "Made", "held_blocks"]

TRIES = 16
"""How often a sample's block is drawn, from one start, before that counts as a failure."""

Made = list[tuple[Tensor, NDArray[np.float32] | None]]
"""Frame after frame: the latents to go on from, and the density where the frame was decoded."""
Draw = Callable[[Tensor, int, int, NDArray[np.intp]], tuple[Made, NDArray[np.bool_]]]
"""(latents, first frame, end, attempt of each sample) -> frames, which may end where no sample holds, and which do."""


@dataclass
class _Block:
    """Frames [first, end) from a start, as drawn at these attempts."""

    start: Tensor
    first: int
    end: int
    attempts: NDArray[np.intp]
    made: Made

    def settle(self, draw: Draw) -> NDArray[np.bool_]:
        """Draw until every sample holds or has had its tries; return which hold."""
        while True:
            self.made, whole = draw(self.start, self.first, self.end, self.attempts)
            again = ~whole & (self.attempts < TRIES - 1)
            if not again.any():
                return whole
            self.attempts[again] += 1


def held_blocks(
    draw: Draw, start: Tensor, frame: int, attempts: NDArray[np.intp], size: int
) -> Iterator[tuple[Made, NDArray[np.intp]]]:
    """Blocks of frames that hold, one after the other without end: their frames and the attempts at which they came.

    Parameters
    ----------
    draw
        Makes frames; the numbers of a sample must depend on its own start and attempt alone.
    start, frame, attempts
        The latents, (sample, ...), the number of the first frame, which may lie within a block, and the attempts that
        the block had come to.
    size
        Frames a block; blocks begin at its multiples.

    Raises
    ------
    GenerationError
        If a sample fails TRIES times in a row, and so again from TRIES blocks before.
    """
    block = _Block(start, frame, (frame // size + 1) * size, attempts.copy(), [])
    if not (whole := block.settle(draw)).all():
        raise _lost(block, whole)
    while True:
        following = _Block(block.made[-1][0], block.end, block.end + size, np.zeros_like(attempts), [])
        while not (whole := following.settle(draw)).all():
            block.attempts[~whole] += 1
            if (block.attempts >= TRIES).any() or not block.settle(draw).all():
                raise _lost(following, whole)
            following.start = block.made[-1][0]
            following.attempts[~whole] = 0
        yield block.made, block.attempts
        block = following


def _lost(block: _Block, whole: NDArray[np.bool_]) -> GenerationError:
    return GenerationError(
        f"between frames {block.first} and {block.end} of the rollout atoms were lost or gained in {TRIES} attempts "
        f"(sample {int(np.argmin(whole))}), whatever came before. Frames that were given out are kept. Try another "
        "seed, or conserve_atoms=False to go on without them."
    )
