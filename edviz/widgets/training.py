"""TrainingPanel: watch a training run and steer it, in a notebook.

A thread reads the run directory and sends the page what is new, so that the panel lives while other cells run; the run
itself is another process and needs neither. The page draws everything: nothing is rendered here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import traitlets as t

from edviz.errors import EdvizError
from edviz.widgets.answering import AnsweringWidget
from edviz.widgets.charts import STATIC, script, thinned

if TYPE_CHECKING:
    from edviz.training import TrainingRun

__all__ = ["TrainingPanel"]

STAGES = ("autoencoder", "diffusion", "decoder")
LOOK_SECONDS = 1.0
EVENTS = 6
_NOT_CURVES = ("stage", "step", "elapsed", "frames_per_second", "loader_share")


class _Metrics:
    """The records of metrics.jsonl, of which only what was appended since the last look is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._records: dict[tuple[str, int], dict[str, float]] = {}

    def read(self) -> None:
        """Take up whole lines that are new."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                new = file.read()
        except FileNotFoundError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                record = json.loads(line)
                key = (record["stage"], record["step"])
            except (ValueError, KeyError):
                continue  # torn by a kill
            self._records[key] = {**self._records.pop(key, {}), **record}

    def curves(self) -> dict[str, dict[str, list[list[float]]]]:
        """Steps and values of each figure of each stage, thinned."""
        found: dict[str, dict[str, list[list[float]]]] = {}
        for (stage, step), record in sorted(self._records.items(), key=lambda item: item[0][1]):
            for name, value in record.items():
                if name not in _NOT_CURVES and isinstance(value, (int, float)):
                    steps, values = found.setdefault(stage, {}).setdefault(name, [[], []])
                    steps.append(step)
                    values.append(float(f"{value:.4g}"))
        return {
            stage: {name: [thinned(column) for column in curve] for name, curve in figures.items()}
            for stage, figures in found.items()
        }


class TrainingPanel(AnsweringWidget):
    """Stage, progress, curves and pictures of a run, with buttons: ``run.panel()``.

    Parameters
    ----------
    run : TrainingRun
        Any run: working, ended, or started by another kernel.

    Attributes
    ----------
    state : dict
        What the page shows of status, curves and events. Read only.
    previews : dict
        The last preview of each stage, as edviz.training.previews describes them. Read only.
    notice : str
        What a button did, or why it could not.
    """

    _esm = script("training.js")
    _css = STATIC / "training.css"

    state = t.Dict().tag(sync=True)
    previews = t.Dict().tag(sync=True)
    notice = t.Unicode("").tag(sync=True)

    def __init__(self, run: TrainingRun) -> None:
        self.run = run
        self._metrics = _Metrics(run.directory["metrics.jsonl"])
        self._seen: tuple[Any, ...] = ()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        super().__init__()
        self.on_msg(self._receive)
        self.refresh()
        threading.Thread(target=self._follow, name="edviz-training-panel", daemon=True).start()

    def __repr__(self) -> str:
        return f"TrainingPanel({self.run!r})"

    def refresh(self) -> None:
        """Read the run directory and tell the page what is new."""
        with self._lock:
            directory = self.run.directory
            status = self.run.status
            files = ["status.json", "metrics.jsonl", "events.jsonl", "control.json"]
            files += [f"preview-{stage}.json" for stage in STAGES]
            seen = (status["state"], *(_stamp(directory[name]) for name in files))
            if seen == self._seen:
                return
            self._metrics.read()
            config = self.run.config.to_dict() | directory.read_json("control.json")
            settings = {
                stage: {what: config[f"{stage}_{what}"] for what in ("learning_rate", "steps", "minutes", "epochs")}
                for stage in STAGES
            }
            shown = {name: value for name, value in status.items() if name not in ("heartbeat", "pid", "host")}
            self.previews = {
                stage: preview for stage in STAGES if (preview := directory.read_json(f"preview-{stage}.json"))
            }
            self.state = {
                **shown,
                "path": str(directory.path),
                "curves": self._metrics.curves(),
                "events": directory.read_events()[-EVENTS:],
                "settings": settings,
            }
            self._seen = seen

    def _follow(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            try:
                self.refresh()
            except (EdvizError, OSError) as error:
                self.notice = str(error)

    def _receive(self, _: Any, content: Any, buffers: list[Any]) -> None:
        """A message of the page; whatever takes time is done in a thread."""
        kind = content.get("type") if isinstance(content, Mapping) else None
        if kind == "hello":
            self.send({"type": "hello"})
        elif kind in ("stop", "resume", "change"):
            fields = dict(content.get("fields") or {})
            threading.Thread(target=self._act, args=(kind, fields), name=f"edviz-{kind}", daemon=True).start()

    def _act(self, kind: str, fields: dict[str, Any]) -> None:
        done = {"stop": "stopped, with a checkpoint", "resume": "works on", "change": "the run takes that up"}
        try:
            if kind == "stop":
                self.notice = "stopping after the current step …"
            getattr(self.run, kind)(**fields)
            self.notice = done[kind]
        except (EdvizError, OSError) as error:
            self.notice = str(error)
        self.refresh()

    def close(self) -> None:
        """Stop watching; the run goes on."""
        if hasattr(self, "_closed"):
            self._closed.set()
        super().close()


def _stamp(path: Path) -> tuple[int, int]:
    """What changes with a file."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
