"""Job files: everything of a run in one file, unknown keys refused."""

import json

import pytest

from edviz.errors import TrainingError
from edviz.training.job import read_job


def write(path, **values):
    path.write_text(json.dumps(values))
    return path


def test_a_job_file_is_a_preset_with_changes(tmp_path):
    job = read_job(write(tmp_path / "job.json", data="run.h5", out="runs/li", preset="tiny", devices=2, seed=5))
    assert job.config.seed == 5 and job.config.diffusion_minutes == 2.5
    assert (job.data, str(job.out), job.device, job.devices, job.density) == ("run.h5", "runs/li", "auto", 2, None)
    assert read_job(write(tmp_path / "total.json", data="run.h5", out="li", density="total")).density == "total"


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"data": "a.h5"}, '"data" and "out"'),
        ({"data": "a.h5", "out": "b", "devises": 2}, "Did you mean 'devices'"),
        ({"data": "a.h5", "out": "b", "difusion_steps": 2}, "Did you mean 'diffusion_steps'"),
        ({"data": "a.h5", "out": "b", "devices": 0}, "devices"),
        ({"data": "a.h5", "out": "b", "preset": "huge"}, "Presets"),
        ({"data": "a.h5", "out": "b", "density": "core"}, 'density = .core.: choose "valence" or "total"'),
    ],
)
def test_wrong_job_files_say_what_is_wrong(tmp_path, values, match):
    with pytest.raises(TrainingError, match=match):
        read_job(write(tmp_path / "job.json", **values))


def test_what_is_no_job_file_is_named(tmp_path):
    (tmp_path / "data.h5").write_bytes(b"\x89HDF\r\n")
    for name in ("data.h5", "none.json"):
        with pytest.raises(TrainingError, match=name):
            read_job(tmp_path / name)
