"""What became of runs, as text: the tables of ``edviz runs``."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from edviz.errors import EdvizError, TrainingError
from edviz.training.run import TrainingRun

__all__ = ["find_runs", "summary", "table"]

DEEPEST = 3


def find_runs(folder: str | Path) -> list[TrainingRun]:
    """The runs in a folder and up to three levels below it, by path.

    Raises
    ------
    edviz.errors.TrainingError
        If there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise TrainingError(f"{folder}: no such folder.")
    found = []
    for path, folders, files in os.walk(root):
        if "config.json" in files and "data.json" in files:
            found.append(TrainingRun(path))
            folders.clear()
        elif len(Path(path).relative_to(root).parts) >= DEEPEST:
            folders.clear()
    return sorted(found, key=lambda run: run.directory.path)


def _row(run: TrainingRun, root: Path) -> list[str]:
    name = os.path.relpath(run.directory.path, root)
    try:
        status, figures = run.status, last_validation(run)
    except EdvizError as error:
        return [name, "unreadable", "-", "-", "-", str(error)]
    progress = f"{100 * status['progress']:.0f} %" if "progress" in status else "-"
    left = duration(status["seconds_left"]) if status["state"] == "running" and "seconds_left" in status else "-"
    shown = ", ".join(f"{name.removeprefix('validation_')} {value:.3g}" for name, value in figures.items())
    return [name, status["state"], status.get("stage", "-"), progress, left, shown or "-"]


def table(runs: list[TrainingRun]) -> str:
    """One line a run: path, state, stage, progress of the stage, time left, last validation figures."""
    head = ["run", "state", "stage", "progress", "left", "validation"]
    rows = [head, *(_row(run, Path.cwd()) for run in runs)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def summary(run: TrainingRun) -> str:
    """State, data, budget, speed, validation figures, events and the end of a failed run's log."""
    status, data, config = run.status, run.directory.read_json("data.json"), run.config
    lines = [repr(run), f"data: {data.get('frames')} frames, {data.get('grid')} points, {data.get('path')}"]
    if config.start_from:
        lines.append(f"started from: {config.start_from}")
    lines += [f"{key}: {value}" for key, value in _speed(status).items()]
    lines += [f"{name}: {value:.4g}" for name, value in last_validation(run).items()]
    lines += [f"{_clock(event['time'])} {event['message']}" for event in run.directory.read_events()]
    if status.get("error"):
        lines += [f"error: {status['error']}", "the end of its log:", *run.logs().splitlines()[-15:]]
    return "\n".join(lines)


def _speed(status: dict[str, Any]) -> dict[str, str]:
    told = {}
    if "device" in status:
        told["device"] = status["device"]
    if "frames_per_second" in status:
        told["speed"] = (
            f"{status['frames_per_second']:.3g} frames/s, {100 * status['loader_share']:.1f} % spent loading"
        )
        told["memory"] = f"{status['memory_bytes'] / 1e9:.2f} GB"
    if status["state"] == "running" and "seconds_left" in status:
        told["left in this stage"] = duration(status["seconds_left"])
    return told


def last_validation(run: TrainingRun) -> dict[str, float]:
    """The last validation figure of each kind."""
    figures: dict[str, float] = {}
    for record in run.directory.read_metrics():
        figures |= {name: value for name, value in record.items() if name.startswith("validation_")}
    return figures


def duration(seconds: float) -> str:
    """``1:02:03``, or ``2:03`` under an hour."""
    hours, rest = divmod(int(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def _clock(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
