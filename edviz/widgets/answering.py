"""Widgets that answer while a cell runs, whatever shell has last spoken to their page.

JupyterLab sends a widget's messages to a subshell, a thread of the kernel beside the one that runs cells. ipykernel
7.4, however, hands them to the shell that has last sent the page something (so that a cell can wait for a reply): after
``viewer.frame = 7`` in a cell that is the main shell, and every later message of the page waits for the running cell to
end. Nothing here waits for a reply, so the page's own choice of shell is kept.
"""

from __future__ import annotations

import anywidget
import ipywidgets

__all__ = ["AnsweringWidget", "answer_in_subshell"]

_ROUTE = "_reply_subshell_for"
"""The hook by which ipykernel asks a comm for the shell of a message; no hook, the shell that the page names."""


def answer_in_subshell(widget: ipywidgets.Widget) -> None:
    """Let a widget's messages go to the shell that the page names; nothing happens under other kernels."""
    if widget.comm is not None and hasattr(widget.comm, _ROUTE):
        setattr(widget.comm, _ROUTE, None)


class AnsweringWidget(anywidget.AnyWidget):
    """An anywidget whose messages go to the shell that the page names."""

    def open(self) -> None:
        """Open the connection to the page; ipywidgets calls it."""
        super().open()
        answer_in_subshell(self)
