"""Draws are functions of (seed, stage, step)."""

import numpy as np
import pytest
import torch

import edviz
from edviz.errors import MissingDataError, TrainingError
from edviz.grid import PeriodicGrid
from edviz.models.augmentation import Augmentation
from edviz.training.data import (
    draw_frames,
    draw_triples,
    draw_windows,
    load_block,
    step_generators,
    stored_frames_per_step,
)


def run(n=20, interval=10.0, **attrs):
    density = np.random.default_rng(0).uniform(0.5, 1.5, (n, 6, 6, 8))
    density /= density.mean((1, 2, 3), keepdims=True)  # one electron per cubic angstrom
    return edviz.DensityTrajectory.from_arrays(
        density, np.diag([3.0, 3.0, 4.0]), time=interval * np.arange(n), n_electrons=36.0, attrs=attrs
    )


def test_blocks_follow_the_absolute_split_and_never_touch_the_test_block():
    split = {"train_end_fs": 120.0, "validation_start_fs": 90.0, "test_start_fs": 150.0}
    traj = run(**split)
    fit, validation = load_block(traj, "fit"), load_block(traj, "validation")
    assert len(fit) == 9 and len(validation) == 4
    np.testing.assert_allclose(fit[3], traj.frame(3) / traj.frame(3).mean(), rtol=1e-5)
    np.testing.assert_allclose(validation[0], traj.frame(9) / traj.frame(9).mean(), rtol=1e-5)
    # a slice keeps the absolute times
    assert len(load_block(traj[5:], "fit")) == 4
    with pytest.raises(MissingDataError, match="fit part"):
        load_block(traj[9:], "fit")


def test_without_split_times_the_last_tenth_validates():
    assert len(load_block(run(), "fit")) == 18
    assert len(load_block(run(), "validation")) == 2


def test_draws_repeat_for_the_same_step_only():
    a, noise_a = step_generators(1, 0, 5)
    b, noise_b = step_generators(1, 0, 5)
    c, noise_c = step_generators(1, 0, 6)
    numbers = [g.integers(1 << 40) for g in (a, b, c)]
    assert numbers[0] == numbers[1] != numbers[2]
    draws = [torch.randn(4, generator=g) for g in (noise_a, noise_b, noise_c)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_a_batch_of_frames_is_augmented_and_its_rows_do_not_depend_on_which_are_made():
    block, augment = torch.rand(4, 6, 6, 8), Augmentation(PeriodicGrid(np.diag([3.0, 3.0, 4.0]), (6, 6, 8)))
    whole = draw_frames(block, augment, 3, np.random.default_rng(0))
    assert whole.shape == (3, 6, 6, 8)
    assert torch.equal(draw_frames(block, augment, 3, np.random.default_rng(0), (1, 3)), whole[1:])


def test_three_frames_in_a_row_have_one_operation_and_the_time_between_them():
    traj = run()
    block, augment = load_block(traj, "fit"), Augmentation(traj.grid)
    whole = draw_triples(block, 3, augment, 5, np.random.default_rng(0))
    assert whole.shape == (5, 3, 6, 6, 8)
    assert torch.equal(draw_triples(block, 3, augment, 5, np.random.default_rng(0), (1, 3)), whole[1:3])
    # every operation permutes voxels: sorted, frames can be told
    known = [tuple(np.sort(frame.numpy(), axis=None)) for frame in block.take(range(len(block)))]
    for row in whole:
        first, second, third = (known.index(tuple(np.sort(frame.numpy(), axis=None))) for frame in row)
        assert (second - first, third - second) == (3, 3)
        moved = row.flatten(1)  # one permutation takes all three from where they were to where they are
        before = block.take([first, second, third]).flatten(1)
        assert {tuple(column) for column in moved.T.tolist()} == {tuple(column) for column in before.T.tolist()}
    with pytest.raises(MissingDataError, match="needs 19 frames; the training block has 18"):
        draw_triples(block, 9, augment, 1, np.random.default_rng(0))


def test_windows_hold_consecutive_frames_forward_or_backward():
    frames = torch.arange(40.0).reshape(1, 40, 1, 1, 1, 1).expand(1, 40, 2, 3, 3, 3)
    windows = draw_windows(frames, stride=5, length=4, size=50, random=np.random.default_rng(0))
    steps = windows[:, 1:, 0, 0, 0, 0] - windows[:, :-1, 0, 0, 0, 0]
    assert set(steps.flatten().tolist()) == {5.0, -5.0}
    assert (steps == steps[:, :1]).all()
    with pytest.raises(MissingDataError, match="needs 46 frames"):
        draw_windows(frames, stride=15, length=4, size=1, random=np.random.default_rng(0))


def test_frame_interval_must_divide():
    assert stored_frames_per_step(run(interval=2.0), 10.0) == 5
    assert stored_frames_per_step(run(), None) == 1
    with pytest.raises(TrainingError, match="whole multiple"):
        stored_frames_per_step(run(), 15.0)
    with pytest.raises(TrainingError, match="evenly"):
        stored_frames_per_step(run().isel(time=[0, 1, 3, 9, 19]), None)
