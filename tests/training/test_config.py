"""TrainingConfig: validation, presets, JSON."""

import dataclasses
import json

import pytest

from edviz.errors import TrainingError
from edviz.training.config import PRESETS, TrainingConfig


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(TrainingError, match="diffusion_steps"):
        TrainingConfig.from_dict({"difusion_steps": 3})
    with pytest.raises(TrainingError, match="Presets: tiny"):
        TrainingConfig.preset("huge")


@pytest.mark.parametrize(
    "change",
    [
        {"autoencoder_batch": 0},
        {"autoencoder_batch": 2.5},
        {"n_context": True},
        {"autoencoder_learning_rate": float("nan")},
        {"frame_interval": -1.0},
        {"precision": "fp8"},
        {"logarithmic": 1},
        {"context_noise": 0.6, "max_context_noise": 0.5},
        {"least_context": 3},
    ],
)
def test_wrong_values_name_the_field(change):
    with pytest.raises(TrainingError, match=next(iter(change))):
        TrainingConfig(**change)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name, tmp_path):
    config = TrainingConfig.preset(name, seed=7)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_dict()))
    assert TrainingConfig.read(path) == config
    path.write_text("{")
    with pytest.raises(TrainingError, match=r"config\.json"):
        TrainingConfig.read(path)


def test_every_field_is_described():
    text = TrainingConfig.describe()
    for spec in dataclasses.fields(TrainingConfig):
        assert f"{spec.name} = " in text
        assert spec.metadata["meaning"]
