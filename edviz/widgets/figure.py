"""A plotly figure in a notebook that stores the figure, not plotly.

plotly's own FigureWidget puts its library, five megabytes, into every notebook. Here the page asks the kernel for it,
once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import traitlets as t

from edviz.widgets.answering import AnsweringWidget

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["FigureView"]


class FigureView(AnsweringWidget):
    """Shows a plotly figure.

    Attributes
    ----------
    figure : dict
        ``{"data": [...], "layout": {...}}`` as JSON has it. Set it with `show`.
    """

    _esm = Path(__file__).parent / "static" / "figure.js"

    figure = t.Dict().tag(sync=True)

    def __init__(self, figure: go.Figure | None = None) -> None:
        super().__init__()
        self.on_msg(self._receive)
        self.show(figure)

    def show(self, figure: go.Figure | None) -> None:
        """Draw another figure; None for none."""
        if figure is None:
            self.figure = {}
            return
        content = json.loads(figure.to_json())
        layout = {name: value for name, value in content["layout"].items() if name != "width"}
        self.figure = {"data": content["data"], "layout": layout}

    def _receive(self, _: Any, content: Any, buffers: list[Any]) -> None:
        if isinstance(content, Mapping) and content.get("type") == "library":
            from plotly.offline import get_plotlyjs

            self.send({"type": "library"}, [get_plotlyjs().encode()])
