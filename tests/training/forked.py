"""Training processes that need not import torch anew: forked from one that has imported all and does nothing else.

Each is a process of its own all the same, with its own session, log, signals and end, and runs what ``python -m
edviz.training.worker`` runs. That saves three seconds of processor time a start. For one device only: companions of
several are started by lightning, from the command line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


class Forked:
    """What `TrainingRun` needs of subprocess.Popen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """None while the process is there; its exit code is not known."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None


class Forks:
    """The process that forks; in the place of the module subprocess in edviz.training.run."""

    DEVNULL = subprocess.DEVNULL

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def Popen(self, command: list[str], *, stdout: Any, **_: Any) -> Forked:
        """Start a training process: the command without ``python -m edviz.training.worker``."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps({"arguments": command[3:], "log": stdout.name}), file=self._process.stdin, flush=True)
        return Forked(int(self._process.stdout.readline()))

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def serve() -> None:
    """Fork for every line of the standard input."""
    from edviz.training.worker import main

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever ends is gone at once
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND)
            for old, new in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
                os.dup2(old, new)
            code = main(asked["arguments"])
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        print(pid, flush=True)


if __name__ == "__main__":
    serve()
