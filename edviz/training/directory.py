"""The run directory: the only thing that a training process and its watchers share.

    config.json       the TrainingConfig
    data.json         where the training data lie and what they are (times, grid, checksum)
    data.h5           the training block, where the run was started from a trajectory in memory
    start/            the emulator whose weights the run starts from, where there is one
    environment.json  versions, machine and device of the last start
    status.json       state, stage, step, progress (replaced atomically)
    heartbeat         touched every few seconds by the process that works on the run
    metrics.jsonl     one line a record, appended
    events.jsonl      one line for whatever the run did on its own account or was told to do, appended
    control.json      changes of learning rate and budget that a watcher asked for
    log.txt           what the process printed
    checkpoints/      one file a stage, replaced atomically; tensors only
    preview-*.json    pictures for the panel, replaced atomically
    emulator/         the trained emulator

Every file but the appended ones is written whole beside its place and renamed, so that a kill at any moment leaves
the old or the new one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

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

    def create(self) -> None:
        """Make the folder and see that files can be written in it.

        Raises
        ------
        edviz.errors.WriteError
            If they cannot.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._replace("heartbeat", lambda file: None)

    def _replace(self, name: str, write: Callable[[BinaryIO], Any]) -> None:
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
        except (OSError, RuntimeError) as error:  # torch.save turns a full disk into a RuntimeError
            try:
                temporary.unlink(missing_ok=True)
            except OSError:
                pass
            raise _unwritable(target, error) from error

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

    def _append(self, name: str, record: dict[str, Any]) -> None:
        try:
            with open(self[name], "ab") as file:
                # a line that a kill or a full disk has torn must not swallow this one
                torn = file.tell() > 0 and _last_byte(self[name]) != b"\n"
                file.write((b"\n" if torn else b"") + json.dumps(record).encode() + b"\n")
        except OSError as error:
            raise _unwritable(self[name], error) from error

    def _lines(self, name: str) -> list[dict[str, Any]]:
        records = []
        if self[name].exists():
            for line in self[name].read_text(errors="replace").splitlines():
                try:
                    records.append(json.loads(line))
                except json.JSONDecodeError:
                    continue  # a line being written, or torn by a kill
        return records

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Append one record to metrics.jsonl."""
        self._append("metrics.jsonl", record)

    def read_metrics(self) -> list[dict[str, Any]]:
        """One record a (stage, step), later figures over earlier ones: a resumed run repeats steps."""
        records: dict[tuple[str, int], dict[str, Any]] = {}
        for record in self._lines("metrics.jsonl"):
            key = (record["stage"], record["step"])
            records[key] = {**records.pop(key, {}), **record}
        return list(records.values())

    def append_event(self, kind: str, message: str, **place: Any) -> None:
        """Note something that the run did on its own account, in events.jsonl and in the log."""
        print(f"edviz: {message}", flush=True)
        self._append("events.jsonl", {"time": time.time(), "kind": kind, **place, "message": message})

    def read_events(self) -> list[dict[str, Any]]:
        """What `append_event` noted: time (s since 1970), kind, stage, step, message."""
        return self._lines("events.jsonl")

    def write_status(self, **values: Any) -> None:
        """Update status.json, with a fresh heartbeat."""
        self.write_json("status.json", {**self.read_json("status.json"), **values, "heartbeat": time.time()})

    def beat(self) -> None:
        """Say that somebody works on the run."""
        self["heartbeat"].touch()

    def last_beat(self) -> float:
        """When the process last gave a sign of life, s since 1970; 0 for never."""
        told = float(self.read_json("status.json").get("heartbeat", 0.0))
        try:
            return max(told, self["heartbeat"].stat().st_mtime)
        except OSError:
            return told


def _last_byte(path: Path) -> bytes:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def _unwritable(path: Path, error: Exception) -> WriteError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
    return WriteError(
        f"{path}: could not be written ({reason}); what was there before is whole. "
        "Free some space or choose another folder, then resume."
    )
