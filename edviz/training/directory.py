"""The run directory: the only thing that a training process and its watchers share.

    config.json       the TrainingConfig
    data.json         where the training data lie and what they are (times, grid, checksum)
    data.h5           the training block, where the run was started from a trajectory in memory
    status.json       state, stage, step, progress, heartbeat (replaced atomically)
    metrics.jsonl     one line a record, appended
    log.txt           what the process printed
    checkpoints/      one file a stage, replaced atomically; tensors only
    emulator/         the trained emulator

Every file but the appended ones is written whole beside its place and renamed, so that a kill at any moment leaves
the old or the new one.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch

from edviz.errors import TrainingError, WriteError

__all__ = ["RunDirectory"]


class RunDirectory:
    """Paths, atomic writes and reads of one run.

    Parameters
    ----------
    path : str or Path
        The folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __getitem__(self, name: str) -> Path:
        return self.path / name

    @property
    def exists(self) -> bool:
        """Whether a run was ever started here."""
        return self["config.json"].exists()

    def _replace(self, name: str, write: Any) -> None:
        target = self[name]
        # a name of its own, so that a watcher and the worker never write into one temporary file
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise WriteError(
                f"{target}: could not be written ({error.strerror}); what was there before is whole. "
                "Free some space or choose another folder, then resume."
            ) from error

    def write_json(self, name: str, values: dict[str, Any]) -> None:
        """Write a JSON file atomically."""
        text = json.dumps(values, indent=1, allow_nan=False).encode()
        self._replace(name, lambda file: file.write(text))

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file; an empty mapping where there is none."""
        try:
            return dict(json.loads(self[name].read_text()))
        except FileNotFoundError:
            return {}
        except (json.JSONDecodeError, TypeError, ValueError) as error:
            raise TrainingError(f"{self[name]}: damaged ({error}). Start the run anew in another folder.") from error

    def save_tensors(self, name: str, state: dict[str, Any]) -> None:
        """Write a checkpoint atomically."""
        self._replace(name, lambda file: torch.save(state, file))

    def load_tensors(self, name: str) -> dict[str, Any] | None:
        """Read a checkpoint (tensors and plain values only: no code is ever executed); None where there is none."""
        if not self[name].exists():
            return None
        try:
            return dict(torch.load(self[name], map_location="cpu", weights_only=True))
        except Exception as error:
            raise TrainingError(
                f"{self[name]}: not a readable checkpoint ({error}). Delete the file to redo its stage, then resume."
            ) from error

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Append one record to metrics.jsonl."""
        with open(self["metrics.jsonl"], "a") as file:
            file.write(json.dumps(record) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """One record a (stage, step), later figures over earlier ones: a resumed run repeats steps."""
        records: dict[tuple[str, int], dict[str, Any]] = {}
        if self["metrics.jsonl"].exists():
            for line in self["metrics.jsonl"].read_text().splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    continue  # a line being written, or torn by a kill
                key = (record["stage"], record["step"])
                records[key] = {**records.pop(key, {}), **record}
        return list(records.values())

    def write_status(self, **values: Any) -> None:
        """Update status.json, with a fresh heartbeat."""
        self.write_json("status.json", {**self.read_json("status.json"), **values, "heartbeat": time.time()})
