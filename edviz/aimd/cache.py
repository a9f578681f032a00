"""Where edviz keeps what it makes once for a user: pseudopotential files and the engine's environment."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/edviz``, by default ``~/.cache/edviz``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "edviz"
