"""Small runs on real frames."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import edviz
from edviz.training import run as training_run
from edviz.training.config import TrainingConfig
from tests.training.forked import Forks

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
    thermostat_frames=4,
    checkpoint_seconds=0.05,
    validate_every=5,
)


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames of the bundled training block, 20 of them for validation, on a coarser grid, as a file."""
    path = tmp_path_factory.mktemp("data") / "li.h5"
    edviz.load_sample("lithium-800K")[400:460].resample_grid((16, 16, 16)).to_file(path)
    return path


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Where training processes come from that need not import torch anew."""
    process = Forks()
    yield process
    process.close()


@pytest.fixture
def forked(forks: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this test start at once; not where EDVIZ_KILLS asks for the figure in docs/training.md."""
    if "EDVIZ_KILLS" not in os.environ:
        monkeypatch.setattr(training_run, "subprocess", forks)
