"""Writing files so that a reader, or a kill at any moment, sees the old file or the new one, never half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edviz.errors import WriteError

__all__ = ["flush_to_disk", "replacing", "write_errors"]


def flush_to_disk(path: Path) -> None:
    """Force a closed file, or the entries of a folder, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a WriteError that names the file and the cure."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(
            f"{path} could not be written ({error}). Free space in {path.parent} or choose another place, and check "
            "that you may write there; what was there before is untouched."
        ) from error


@contextmanager
def replacing(path: Path, temporary: Path | None = None) -> Iterator[Path]:
    """Give a temporary path to write to; then fsync it and move it onto `path` in one step.

    Parameters
    ----------
    path
        Where the finished file goes.
    temporary
        Where it grows, on the same file system; by default a hidden file beside `path`.

    Raises
    ------
    WriteError
        If the file cannot be written; `path` is then as it was and the temporary file gone.
    """
    path = Path(path)
    if temporary is None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(3).hex()}.tmp")
    with write_errors(path):
        try:
            yield temporary
            flush_to_disk(temporary)
            os.replace(temporary, path)
            flush_to_disk(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
