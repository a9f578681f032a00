"""What a watcher may ask of a run that works: to stop, or to change learning rate and budget.

Requests are files in the run directory, so that they reach the run from another kernel or another machine, and so that
a change holds after a resume.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

from edviz.errors import EdvizError, TrainingError
from edviz.training.config import TrainingConfig
from edviz.training.directory import RunDirectory

__all__ = ["CHANGEABLE", "Requests", "end_with_parent", "start_heartbeat", "with_changes"]

CHANGEABLE = tuple(
    f"{stage}_{what}"
    for stage in ("autoencoder", "diffusion", "decoder")
    for what in ("steps", "epochs", "minutes", "learning_rate")
)
"""Fields of the configuration that a run takes up while it works."""

LOOK_SECONDS = 0.5
BEAT_SECONDS = 5.0


def with_changes(config: TrainingConfig, changes: dict[str, Any]) -> TrainingConfig:
    """The configuration with changes a run takes up.

    Raises
    ------
    edviz.errors.TrainingError
        For a field that cannot change any more, or a value out of range.
    """
    for name in changes:
        if name not in CHANGEABLE:
            raise TrainingError(
                f"{name} cannot change in a run that has started. These can: {', '.join(CHANGEABLE)}. "
                "For another value start a new run; start_from=... gives it these weights."
            )
    return TrainingConfig.from_dict({**config.to_dict(), **changes})


class Requests:
    """The requests made to one run, as its process sees them.

    Parameters
    ----------
    run : RunDirectory
        The run.
    config : TrainingConfig
        What it was started with.
    """

    def __init__(self, run: RunDirectory, config: TrainingConfig) -> None:
        self.config = config
        self._run, self._original = run, config
        self._stop = False
        self._looked = -1e9
        self._seen: dict[str, Any] = {}
        self._read_changes(note=False)

    def listen(self) -> None:
        """Take SIGTERM as a request to stop."""
        signal.signal(signal.SIGTERM, self._signalled)

    def _signalled(self, *_: object) -> None:
        self._stop = True

    def look(self) -> bool:
        """Look for new requests, at most twice a second; True where a stop was asked for."""
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._stop = self._stop or self._run["stop.request"].exists()
            self._read_changes(note=True)
        return self._stop

    def _read_changes(self, note: bool) -> None:
        try:
            changes = self._run.read_json("control.json")
            if changes == self._seen:
                return
            self.config = with_changes(self._original, changes)
        except EdvizError as error:
            if note and not self._stop:
                self._run.append_event("refused", f"a change was not taken up: {error}")
            self._run["control.json"].unlink(missing_ok=True)
            return
        if note:
            new = {name: value for name, value in changes.items() if self._seen.get(name) != value}
            self._run.append_event("change", "; ".join(f"{name} is now {value}" for name, value in new.items()))
        self._seen = changes


def start_heartbeat(run: RunDirectory) -> None:
    """Give signs of life from a thread, also while the process reads data or writes a large checkpoint."""

    def beat() -> None:
        while True:
            try:
                run.beat()
            except OSError:
                pass  # a full disk: the writer that matters will say so
            time.sleep(BEAT_SECONDS)

    threading.Thread(target=beat, name="edviz-heartbeat", daemon=True).start()


def end_with_parent() -> None:
    """Let a companion process end when the one that started it is gone: a kill leaves nobody behind on a GPU."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, name="edviz-parent", daemon=True).start()
