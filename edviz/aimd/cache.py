"""Where edviz keeps what it makes once for a user: pseudopotential files and the engine's environment."""

from __future__ import annotations

import os
from pathlib import Path

from edviz.errors import WriteError

__all__ = ["cache_folder", "made"]


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/edviz``, by default ``~/.cache/edviz``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "edviz"


def made(folder: Path) -> Path:
    """The folder, made if it is not there.

    Raises
    ------
    WriteError
        It cannot be made, or nothing can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"no permission to write in {folder}")
    except OSError as error:
        raise WriteError(
            f"{folder} cannot be used ({error}): edviz keeps pseudopotentials and Quantum ESPRESSO's environment "
            "there. Set XDG_CACHE_HOME to a folder where you may write"
        ) from error
    return folder
