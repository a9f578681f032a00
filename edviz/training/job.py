"""A job file: a whole training run in one JSON file, for batch systems.

{"data": "sample:lithium-800K", "out": "runs/li", "preset": "small", "devices": 4, "diffusion_steps": 20000}
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from pathlib import Path
from typing import Any, NamedTuple

from edviz.errors import TrainingError
from edviz.training.config import TrainingConfig

__all__ = ["Job", "read_job"]

_OWN = ("data", "out", "preset", "device", "devices", "density")


class Job(NamedTuple):
    """What a job file says."""

    data: str
    out: Path
    config: TrainingConfig
    device: str
    devices: int
    density: str | None


def read_job(path: str | Path) -> Job:
    """Read a job file.

    Parameters
    ----------
    path : str or Path
        JSON: "data" and "out"; where wanted "preset" ("small"), "device" ("auto"), "devices" (1), "density"
        ("total": with the frozen cores) and any field of TrainingConfig.

    Raises
    ------
    edviz.errors.TrainingError
        If it is not such a file; an unknown key is an error that suggests the nearest known one.
    """
    try:
        values: dict[str, Any] = json.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TrainingError(
            f"{path}: not a readable job file ({error}). Give DATA and OUT, or a JSON file with both."
        ) from error
    if not isinstance(values, dict) or not all(isinstance(values.get(key), str) for key in ("data", "out")):
        raise TrainingError(f'{path}: a job file holds one JSON object with "data" and "out".')
    fields = [spec.name for spec in dataclasses.fields(TrainingConfig)]
    for key in values:
        if key not in (*_OWN, *fields):
            near = difflib.get_close_matches(key, [*_OWN, *fields], n=1)
            raise TrainingError(f"{path}: unknown key {key!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
    devices = values.get("devices", 1)
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise TrainingError(f"{path}: devices = {devices!r} must be a whole number from 1.")
    density = values.get("density")
    if density not in (None, "valence", "total"):
        raise TrainingError(f'{path}: density = {density!r}: choose "valence" or "total".')
    config = TrainingConfig.preset(
        str(values.get("preset", "small")), **{key: value for key, value in values.items() if key in fields}
    )
    return Job(values["data"], Path(values["out"]), config, str(values.get("device", "auto")), devices, density)
