"""The same integers give the same numbers, for ever: rollouts and runs are reproduced from their seeds."""

import numpy as np
import pytest
import torch

from edviz.models.seeding import torch_generator


def draw(*entropy):
    return torch.randn(1000, generator=torch_generator(*entropy))


def test_the_same_integers_give_the_same_numbers():
    assert torch.equal(draw(0, 3), draw(0, 3))
    assert draw(0, 3)[:2].tolist() == pytest.approx([-0.19446, 0.55294], abs=1e-5)


def test_other_integers_give_independent_numbers():
    others = [(0, 3), (3, 0), (0, 4), (0, 3, 1)]
    correlation = np.corrcoef(np.stack([draw(*entropy).numpy() for entropy in others]))
    assert np.abs(correlation - np.eye(4)).max() < 4 / np.sqrt(1000)
