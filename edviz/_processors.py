"""How many threads a computation may use."""

from __future__ import annotations

import os

__all__ = ["available_processors"]


def available_processors() -> int:
    """Processors this process may use, or what OMP_NUM_THREADS allows."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    if allowed.isdigit() and int(allowed) > 0:
        return int(allowed)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
