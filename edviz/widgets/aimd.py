"""AIMDPanel: a molecular dynamics run as it goes, in the notebook whose cell it runs in.

The run tells the panel of each step (`edviz.aimd.progress`); twice a second the panel tells the page. The page draws
everything. The button works while the cell is busy where the kernel hears widgets on a thread of their own (seen with
ipykernel 7.4 and JupyterLab 4.6); elsewhere the page says so and names the interrupt button.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets as t
from numpy.typing import NDArray

from edviz.widgets.answering import AnsweringWidget
from edviz.widgets.charts import STATIC, script, thinned

if TYPE_CHECKING:
    from edviz.aimd.progress import Report

__all__ = ["AIMDPanel"]

UPDATE_SECONDS = 0.5
WIDEST = 48
"""Points along an edge of the slice, at most."""


class AIMDPanel(AnsweringWidget):
    """Progress, curves and a slice of a running simulation, with a button to stop it.

    `edviz.aimd.run` shows it by itself in a notebook.

    Attributes
    ----------
    state : dict
        What the page shows. Read only.
    plane : dict
        The slice c = 0 of the last density: "values" (e/angstrom^3, rows along a), "vectors" (a and b in the plane,
        angstrom). Read only.
    """

    _esm = script("aimd.js")
    _css = (STATIC / "training.css").read_text(encoding="utf-8") + (STATIC / "aimd.css").read_text(encoding="utf-8")

    state = t.Dict().tag(sync=True)
    plane = t.Dict().tag(sync=True)

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._sent = -math.inf
        self._curves: dict[str, list[float]] = {}
        self._last: Report | None = None
        self._facts: dict[str, Any] = {}
        super().__init__()
        self.on_msg(self._receive)

    # What edviz.aimd.progress.Listener asks for --------------------------------------------------------------

    def start(self, title: str, path: Path, n_steps: int, n_atoms: int) -> None:
        """Show the panel."""
        from IPython.display import display

        self._facts = {"title": title, "path": str(path), "n_steps": n_steps, "n_atoms": n_atoms}
        self.state = {**self._facts, "state": "starting"}
        display(self)

    def step(self, report: Report) -> bool:
        """Take a step up; True if the button was pressed."""
        self._last = report
        for name in ("time", "temperature", "target", "energy", "conserved"):
            value = getattr(report, name)
            self._curves.setdefault(name, []).append(math.nan if value is None else float(value))
        if time.monotonic() - self._sent > UPDATE_SECONDS:
            self._tell("running", "")
        return self._wanted.is_set()

    def end(self, state: str, message: str) -> None:
        """Show how it ended."""
        self._tell(state, message)

    # Inside --------------------------------------------------------------------------------------------------

    def _tell(self, state: str, message: str) -> None:
        now = {**self._facts, "state": state, "message": message, "stopping": self._wanted.is_set()}
        report = self._last
        if report is not None:
            now |= {"pressure": report.pressure, "volume": float(abs(np.linalg.det(report.cell)))}
            names = ("stage", "step", "n_steps", "time", "n_iterations", "n_frames", "steps_per_second", "seconds_left")
            now |= {name: getattr(report, name) for name in names}
            now["curves"] = {name: [_plain(x) for x in thinned(values)] for name, values in self._curves.items()}
            self.plane = _slice(report.density, report.cell)
        self.state = now
        self._sent = time.monotonic()

    def _receive(self, _: Any, content: Any, buffers: list[Any]) -> None:
        kind = content.get("type") if isinstance(content, Mapping) else None
        if kind == "stop":
            self._wanted.set()
        if kind in ("hello", "stop"):
            self.send({"type": kind})


def _plain(value: float) -> float | None:
    """As JSON has it: nine digits, which leave a meV of any total energy; None where there is none."""
    return float(f"{value:.9g}") if math.isfinite(value) else None


def _slice(density: NDArray[np.float64], cell: NDArray[np.float64]) -> dict[str, Any]:
    """The plane c = 0, thinned where it is large, and a and b in it."""
    a, b = (math.ceil(n / WIDEST) for n in density.shape[:2])
    along = cell[0] / np.linalg.norm(cell[0])
    across = cell[1] - (cell[1] @ along) * along
    return {
        "values": [[float(f"{x:.3g}") for x in row] for row in density[::a, ::b, 0]],
        "vectors": [[float(np.linalg.norm(cell[0])), 0.0], [float(cell[1] @ along), float(np.linalg.norm(across))]],
    }
