"""Which of the kernel's threads hears what the page of a widget says."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

__all__ = ["hear_while_busy"]


def hear_while_busy(widget: Any) -> None:
    """Have the page's messages handled while a cell runs, also one that sends to this widget.

    The page addresses them to the widgets' own thread (subshell), all but its first. ipykernel 7.4 overrides that: it
    takes them to the thread that last sent to the page, and so lets them wait for the cell that is sending
    (`ipykernel.comm.comm.BaseComm._reply_subshell_for`). Here this is undone. Kernels without it are as they were.
    """
    comm = widget.comm
    if getattr(comm, "_reply_subshell_for", None) is not None:
        with suppress(AttributeError):
            comm._reply_subshell_for = None
