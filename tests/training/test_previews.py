"""Previews: the right numbers, and looking changes nothing."""

import json

import numpy as np
import pytest
import torch

from edviz.models.autoencoder import Autoencoder
from edviz.models.diffusion import LatentDynamics
from edviz.training.config import TrainingConfig
from edviz.training.previews import ROLLOUT_FRAMES, reconstruction_preview, rollout_preview


@pytest.fixture
def truth():
    values = torch.rand(4, 12, 16, 20, generator=torch.Generator().manual_seed(0)) + 0.5
    return values / values.mean((1, 2, 3), keepdim=True)


def test_the_plane_is_that_of_the_frame_in_its_cell(truth):
    autoencoder = Autoencoder(fine_channels=4, coarse_channels=8)
    cell = np.array([[3.0, 0, 0], [-2.0, 3.0, 0], [0, 0, 5.0]])
    preview = reconstruction_preview(autoencoder, truth[0], cell)
    np.testing.assert_allclose(preview["truth"], truth[0, :, :, 0], atol=1e-4)
    np.testing.assert_allclose(preview["vectors"], cell[:2, :2])
    made = autoencoder(truth[:1])[0]
    assert preview["nmae"] == pytest.approx(100 * (made - truth[0]).abs().mean().item(), rel=1e-5)
    json.dumps(preview)


def test_histograms_are_densities_and_the_global_random_state_is_left_alone(truth):
    autoencoder = Autoencoder(fine_channels=4, coarse_channels=8)
    dynamics = LatentDynamics(channels=8, blocks=1)
    held = autoencoder.encode(truth).detach().half().numpy()[None]
    before = torch.random.get_rng_state()
    preview = rollout_preview(autoencoder, dynamics, held, truth, TrainingConfig(), stride=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    width = preview["centres"][1] - preview["centres"][0]
    assert sum(preview["aimd"]) * width == pytest.approx(1, abs=0.02)
    assert len(preview["rollout"]) == len(preview["centres"]) and preview["frames"] == ROLLOUT_FRAMES
    assert preview == rollout_preview(autoencoder, dynamics, held, truth, TrainingConfig(), stride=1)
