"""The run directory: atomic, code-free, forgiving of torn lines only."""

import os

import pytest
import torch

from edviz.errors import TrainingError, WriteError
from edviz.training.directory import RunDirectory


def test_json_and_tensors_round_trip_and_leave_no_temporary_files(tmp_path):
    run = RunDirectory(tmp_path)
    run.write_json("a.json", {"x": 1.5, "y": None})
    run.save_tensors("checkpoints/c.pt", {"w": torch.arange(3.0), "step": 4})
    assert run.read_json("a.json") == {"x": 1.5, "y": None}
    state = run.load_tensors("checkpoints/c.pt")
    assert state is not None and state["step"] == 4 and torch.equal(state["w"], torch.arange(3.0))
    assert run.load_tensors("checkpoints/none.pt") is None
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["a.json", "c.pt"]


def test_metrics_keep_the_last_record_of_a_step_and_skip_a_torn_line(tmp_path):
    run = RunDirectory(tmp_path)
    for step, loss in ((1, 3.0), (2, 2.0), (2, 1.0)):
        run.append_metrics({"stage": "autoencoder", "step": step, "loss": loss})
    with open(run["metrics.jsonl"], "a") as file:
        file.write('{"stage": "autoenc')
    assert [(r["step"], r["loss"]) for r in run.read_metrics()] == [(1, 3.0), (2, 1.0)]


def test_loading_a_checkpoint_never_executes_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    torch.save({"state": Trap()}, tmp_path / "bad.pt")
    with pytest.raises(TrainingError, match=r"bad\.pt"):
        RunDirectory(tmp_path).load_tensors("bad.pt")
    assert not (tmp_path / "executed").exists()


def test_damaged_files_name_themselves(tmp_path):
    run = RunDirectory(tmp_path)
    (tmp_path / "status.json").write_text('{"state": "runn')
    with pytest.raises(TrainingError, match=r"status\.json"):
        run.read_json("status.json")
    run.save_tensors("c.pt", {"w": torch.zeros(1000)})
    whole = (tmp_path / "c.pt").read_bytes()
    (tmp_path / "c.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match=r"c\.pt"):
        run.load_tensors("c.pt")


def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch):
    run = RunDirectory(tmp_path)
    run.save_tensors("c.pt", {"step": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left"):
        run.save_tensors("c.pt", {"step": 2})
    monkeypatch.undo()
    state = run.load_tensors("c.pt")
    assert state is not None and state["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def test_a_line_torn_by_a_kill_does_not_swallow_the_next(tmp_path):
    run = RunDirectory(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"stage": "autoencoder", "step": 1}\n{"stage": "autoenc')
    run.append_metrics({"stage": "autoencoder", "step": 2, "loss": 1.0})
    run.append_metrics({"stage": "autoencoder", "step": 3, "loss": 1.0})
    assert [r["step"] for r in run.read_metrics()] == [1, 2, 3]


def test_a_full_disk_is_named_where_lines_are_appended(tmp_path):
    os.symlink("/dev/full", tmp_path / "metrics.jsonl")
    with pytest.raises(WriteError, match=r"metrics\.jsonl.*No space left"):
        RunDirectory(tmp_path).append_metrics({"stage": "autoencoder", "step": 1})


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"file/run: could not be written \(Not a directory\)"):
        RunDirectory(tmp_path / "file" / "run").create()
    with pytest.raises(WriteError, match="could not be written"):
        RunDirectory("/proc/edviz-run").create()
