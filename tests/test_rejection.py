"""Blocks that hold: drawn anew where they fail, the block before as well where nothing else helps."""

import numpy as np
import pytest
import torch

from edviz.errors import GenerationError
from edviz.rejection import TRIES, held_blocks

SIZE = 4


class Walk:
    """Each sample adds its noise to a number; `holds(state, frame)` says what must hold."""

    def __init__(self, holds):
        self.holds, self.calls = holds, []

    def __call__(self, state, first, end, attempts):
        self.calls.append((first, tuple(attempts)))
        made, whole = [], np.ones(len(state), bool)
        for frame in range(first, end):
            noise = [np.random.default_rng([frame, row, a]).normal() for row, a in enumerate(attempts)]
            state = state + torch.tensor(noise)
            whole &= [self.holds(float(x), frame) for x in state]
            made.append((state, None))
            if not whole.any():
                break
        return made, whole


def run(holds, n_blocks, samples=2, frame=0, start=None, attempts=None):
    walk = Walk(holds)
    start = torch.zeros(samples, dtype=torch.float64) if start is None else start
    attempts = np.zeros(samples, np.intp) if attempts is None else attempts
    blocks = held_blocks(walk, start, frame, attempts, SIZE)
    found = [next(blocks) for _ in range(n_blocks)]
    states = torch.stack([state for made, _ in found for state, _ in made])
    return states.numpy(), [tuple(a) for _, a in found], walk.calls


def test_nothing_is_drawn_anew_where_all_holds():
    _, attempts, calls = run(lambda x, frame: True, 3)
    assert attempts == [(0, 0)] * 3
    assert calls == [(0, (0, 0)), (4, (0, 0)), (8, (0, 0)), (12, (0, 0))]  # one block ahead


def test_all_given_frames_hold_and_samples_do_not_depend_on_each_other():
    def holds(x, frame):
        return abs(x) < 2.0

    together, attempts, _ = run(holds, 30)
    assert together.shape == (120, 2) and np.abs(together).max() < 2
    assert max(max(a) for a in attempts) > 0
    alone, _, _ = run(holds, 30, samples=1)
    np.testing.assert_array_equal(alone[:, 0], together[:, 0])


def test_a_block_past_saving_is_mended_in_the_one_before():
    def holds(x, frame):
        return frame != 8 or x > 4.0  # few states at the end of a block reach this in one step

    states, _, calls = run(holds, 4)
    assert (states[8] > 4.0).all()
    assert any(first == 4 and max(a) > 0 for first, a in calls)
    again = [run(holds, n)[0] for n in (1, 2)]
    for shorter in again:
        np.testing.assert_array_equal(shorter, states[: len(shorter)])  # what was given out never changes


def test_resumed_within_a_block_it_goes_on_as_it_would_have():
    def holds(x, frame):
        return abs(x) < 2.0

    whole, attempts, _ = run(holds, 8)
    at = 3 * SIZE + 2
    rest, _, _ = run(holds, 5, frame=at, start=torch.from_numpy(whole[at - 1]), attempts=np.array(attempts[3], np.intp))
    np.testing.assert_array_equal(rest, whole[at:])


def second_lost(state, first, end, attempts):
    made, _ = Walk(lambda x, frame: True)(state, first, end, attempts)
    return made, np.array([True, first < 4])


def test_what_can_not_hold_is_an_error_with_the_frames_and_the_sample():
    with pytest.raises(GenerationError, match=rf"frames 4 and 8 .* {TRIES} attempts \(sample 1\)"):
        next(held_blocks(second_lost, torch.zeros(2), 0, np.zeros(2, np.intp), SIZE))
