"""Small runs on real frames."""

from __future__ import annotations

from pathlib import Path

import pytest

import edviz
from edviz.training.config import TrainingConfig

QUICK = TrainingConfig(
    fine_channels=8,
    coarse_channels=16,
    autoencoder_steps=12,
    autoencoder_batch=2,
    diffusion_steps=12,
    diffusion_batch=2,
    diffusion_channels=16,
    diffusion_blocks=1,
    diffusion_jsd_every=4,
    decoder_steps=12,
    decoder_batch=2,
    augmented_copies=2,
    checkpoint_seconds=0.05,
    validate_every=5,
)


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames of the bundled training block, 20 of them for validation, on a coarser grid, as a file."""
    path = tmp_path_factory.mktemp("data") / "li.h5"
    edviz.load_sample("lithium-800K")[400:460].resample_grid((16, 16, 16)).to_file(path)
    return path
