"""What a run tells of itself while it goes, and who listens: a panel in a notebook, a bar, or a function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edviz.errors import ArgumentError

__all__ = ["Listener", "Progress", "Report", "Stopped", "listening"]


@dataclass(frozen=True)
class Report:
    """A run after one step.

    Attributes
    ----------
    stage
        "melt", "equilibrate" or "produce".
    target
        The thermostat's temperature, K; None without one.
    step, n_steps
        Steps done and in all, those of all stages.
    time
        fs, 0 at the start of production.
    temperature
        K, of the atoms.
    energy
        Potential energy, eV.
    conserved
        Potential and kinetic energy less the heat from the thermostat, eV: constant but for the errors of integrator
        and engine (G. Bussi, M. Parrinello, Phys. Rev. E 75, 056707 (2007), "effective energy").
    n_iterations
        The engine's, to self-consistency.
    n_frames
        Frames made so far.
    steps_per_second, seconds_left
        Since this call began.
    density
        e/angstrom^3 on the engine's grid.
    cell
        (3, 3) angstrom.
    pressure
        GPa, at the barostat's last move; None without one.
    """

    stage: str
    target: float | None
    step: int
    n_steps: int
    time: float
    temperature: float
    energy: float
    conserved: float
    n_iterations: int
    n_frames: int
    steps_per_second: float
    seconds_left: float
    density: NDArray[np.float64]
    cell: NDArray[np.float64]
    pressure: float | None = None


Progress = bool | str | Callable[[Report], object]


class Stopped(Exception):
    """A listener has asked the run to stop."""


class Listener(Protocol):
    """Whoever is told how a run goes."""

    def start(self, title: str, path: Path, n_steps: int, n_atoms: int) -> None:
        """A run begins, or goes on; the engine is not there yet."""
        ...

    def step(self, report: Report) -> object:
        """One step more; True asks the run to stop here."""
        ...

    def end(self, state: str, message: str) -> None:
        """The run is "finished", "stopped" or "failed"; says why."""
        ...


@contextmanager
def listening(progress: Progress, title: str, path: Path, n_steps: int, n_atoms: int) -> Iterator[Listener]:
    """Tell a listener of the run in this block. A `Stopped` from inside ends here; every other exception goes on."""
    listener = _listener(progress)
    listener.start(title, path, n_steps, n_atoms)
    try:
        yield listener
    except Stopped:
        listener.end("stopped", "Stopped. The same call goes on from the last checkpoint.")
    except KeyboardInterrupt:
        listener.end("stopped", "Interrupted. The same call goes on from the last checkpoint.")
        raise
    except BaseException as error:
        listener.end("failed", f"{error}. The same call goes on from the last checkpoint.")
        raise
    else:
        listener.end("finished", "")


def check_progress(progress: Any) -> None:
    """Raise ArgumentError if `progress` is nothing that `edviz.aimd.run` takes."""
    if not (isinstance(progress, bool) or callable(progress) or progress in ("bar", "panel")):
        raise ArgumentError(f"progress is True, False, 'bar', 'panel' or a function; got {progress!r}")


def _listener(progress: Progress) -> Listener:
    if progress == "panel" or (progress is True and _in_notebook()):
        from edviz.widgets.aimd import AIMDPanel

        panel: Listener = AIMDPanel()
        return panel
    if callable(progress):
        return _Function(progress)
    return _Bar(shown=bool(progress))


def _in_notebook() -> bool:
    """Whether this code runs in a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


class _Function:
    """A function that is called with each report."""

    def __init__(self, function: Callable[[Report], object]) -> None:
        self.step = function

    def start(self, title: str, path: Path, n_steps: int, n_atoms: int) -> None:
        """Nothing to say."""

    def end(self, state: str, message: str) -> None:
        """Nothing to say."""


class _Bar:
    """A bar on standard error."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown

    def start(self, title: str, path: Path, n_steps: int, n_atoms: int) -> None:
        """An empty bar."""
        from tqdm import tqdm

        self._bar = tqdm(total=n_steps, unit="step", desc="AIMD", disable=not self._shown)

    def step(self, report: Report) -> None:
        """Move it."""
        if self._bar.n == 0 and report.step > 1:
            self._bar.initial = self._bar.n = report.step - 1  # a run that goes on
        self._bar.set_description(report.stage, refresh=False)
        self._bar.set_postfix(
            {
                "T": f"{report.temperature:.0f} K",
                "E": f"{report.energy:.4f} eV",
                "scf": report.n_iterations,
            },
            refresh=False,
        )
        self._bar.update()

    def end(self, state: str, message: str) -> None:
        """Leave it as it is."""
        self._bar.close()
