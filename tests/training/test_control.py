"""Requests are files; what cannot change is refused before it is written."""

import pytest

from edviz.errors import TrainingError
from edviz.training.config import TrainingConfig
from edviz.training.control import Requests, with_changes
from edviz.training.directory import RunDirectory


def test_only_budget_and_rate_change():
    assert with_changes(TrainingConfig(), {"diffusion_steps": 7}).diffusion_steps == 7
    with pytest.raises(TrainingError, match=r"coarse_channels cannot change.*start_from"):
        with_changes(TrainingConfig(), {"coarse_channels": 7})
    with pytest.raises(TrainingError, match="outside"):
        with_changes(TrainingConfig(), {"diffusion_learning_rate": 7.0})


def test_a_damaged_or_wrong_request_is_refused_and_noted_and_the_run_goes_on(tmp_path):
    run = RunDirectory(tmp_path)
    requests = Requests(run, TrainingConfig())
    for text in ('{"diffusion_steps"', '{"seed": 4}'):
        run["control.json"].write_text(text)
        requests._looked = -1e9
        assert requests.look() is False
        assert requests.config == TrainingConfig()
        assert not run["control.json"].exists()
    assert [event["kind"] for event in run.read_events()] == ["refused", "refused"]
