"""Runs as text."""

import os

import pytest

import edviz
from edviz.errors import TrainingError
from edviz.training.config import TrainingConfig
from edviz.training.directory import RunDirectory
from edviz.training.overview import duration, find_runs, summary, table


def make(path, **status):
    run = RunDirectory(path)
    run.write_json("data.json", {"frames": 60, "grid": [16, 16, 16], "path": "li.h5"})
    run.write_json("config.json", TrainingConfig().to_dict())
    run.write_status(**status)
    return run


def test_runs_are_found_below_a_folder_and_told_one_a_line(tmp_path, monkeypatch):
    make(tmp_path / "b", state="stopped", stage="diffusion", progress=0.25)
    run = make(tmp_path / "deep" / "a", state="finished", stage="done", progress=1.0)
    run.append_metrics({"stage": "autoencoder", "step": 9, "validation_nmae": 1.234})
    make(tmp_path / "torn", state="stopped")["status.json"].write_text("{")
    monkeypatch.chdir(tmp_path)
    lines = table(find_runs(".")).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["b", "stopped"], [os.path.join("deep", "a"), "finished"], ["torn", "unreadable"],
    ]  # fmt: skip
    assert "25 %" in lines[1] and "nmae 1.23" in lines[2] and "status.json" in lines[3]
    with pytest.raises(TrainingError, match="none"):
        find_runs("none")


def test_a_failed_run_is_told_with_its_events_and_the_end_of_its_log(tmp_path):
    run = make(tmp_path, state="failed", error="the disk is full")
    run.append_event("step back", "went back to step 7")
    run["log.txt"].write_text("first\nlast words\n")
    text = summary(edviz.TrainingRun(tmp_path))
    assert all(part in text for part in ("the disk is full", "went back to step 7", "last words", "60 frames"))


def test_durations_are_clocks():
    assert [duration(s) for s in (5, 65, 3725)] == ["0:05", "1:05", "1:02:05"]
