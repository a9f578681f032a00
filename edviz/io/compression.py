"""Reading files packed with gzip, bzip2, xz or zstd as if they were not: recognised by content, never by name.

Packed files are unpacked as a stream, a few megabytes at a time, and never to disk. A stream has no random access: to
reach a later frame of a packed file everything before it is unpacked first.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zlib
from pathlib import Path
from typing import cast

from edviz.errors import FileFormatError, TruncatedFileError

__all__ = ["PACKED", "SUFFIXES", "head", "kind", "open_stream", "stream_errors"]

#: First bytes -> the program that unpacks.
PACKED: dict[bytes, str] = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
#: Endings that hide the ending of the file inside.
SUFFIXES = (".gz", ".bz2", ".xz", ".zst")


def kind(path: str | os.PathLike[str]) -> str:
    """The program that packed a file: "gzip", "bzip2", "xz", "zstd", or "" for none."""
    with open(path, "rb") as file:
        start = file.read(6)
    return next((name for magic, name in PACKED.items() if start.startswith(magic)), "")


def open_stream(path: str | os.PathLike[str]) -> io.BufferedIOBase:
    """Open a file for reading bytes, unpacked on the way.

    Raises
    ------
    OSError
        If the file cannot be opened. Damage shows while reading, as one of `stream_errors`.
    """
    packed = kind(path)
    if packed == "gzip":
        return cast(io.BufferedIOBase, gzip.open(path, "rb"))
    if packed == "bzip2":
        return cast(io.BufferedIOBase, bz2.open(path, "rb"))
    if packed == "xz":
        return cast(io.BufferedIOBase, lzma.open(path, "rb"))
    if packed == "zstd":
        import zstandard

        raw = open(path, "rb")
        # Several frames one after the other are what `cat a.zst b.zst` and parallel packers make.
        stream = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True, closefd=True)
        return io.BufferedReader(cast(io.RawIOBase, stream), 1 << 17)
    return open(path, "rb")


def stream_errors() -> tuple[type[Exception], ...]:
    """What unpacking a damaged stream raises."""
    import zstandard

    return (EOFError, OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError)


def head(path: Path, size: int) -> bytes:
    """The first bytes of a file, unpacked; what can be had of them if it is cut off.

    Raises
    ------
    TruncatedFileError
        If it is packed and nothing at all can be unpacked.
    FileFormatError
        If the system refuses to read it.
    """
    packed = kind(path)
    found = bytearray()
    try:
        with open_stream(path) as file:
            while len(found) < size and (piece := file.read(min(4096, size - len(found)))):
                found += piece
    except PermissionError:
        raise
    except stream_errors() as error:
        if not found and packed:
            raise TruncatedFileError(
                f"{path} is packed with {packed} and cannot be unpacked ({error}): it was cut off or "
                "damaged; copy it again"
            ) from error
        if not packed:
            raise FileFormatError(f"{path} cannot be read ({error})") from error
    return bytes(found)
