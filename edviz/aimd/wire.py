"""Messages between edviz and an engine's child process: JSON with arrays as raw bytes, length first; no pickles.

One message: 8 bytes little-endian, the length of the JSON text; the text; then the bytes of each array that the
text announces under "arrays" (name, dtype, shape), C order. The child runs this file in an environment of its
own: it imports nothing but numpy and the standard library.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

import numpy as np

__all__ = ["receive", "send"]

_LONGEST_TEXT = 64 << 20


def send(stream: BinaryIO, message: dict[str, Any], **arrays: Any) -> None:
    """Write one message and flush."""
    plain = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    announced = [[name, values.dtype.str, list(values.shape)] for name, values in plain.items()]
    text = json.dumps({**message, "arrays": announced}).encode()
    stream.write(struct.pack("<Q", len(text)) + text)
    for values in plain.values():
        stream.write(values.tobytes())
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read one message and its arrays.

    Raises
    ------
    EOFError
        The other side is gone.
    ValueError
        What came is no message: something else wrote to the pipe.
    """
    (length,) = struct.unpack("<Q", _exactly(stream, 8))
    if length > _LONGEST_TEXT:
        raise ValueError(f"no message: a length of {length} bytes")
    message = json.loads(_exactly(stream, length))
    arrays = {}
    for name, dtype, shape in message.pop("arrays"):
        kind = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(_exactly(stream, count * kind.itemsize), kind).reshape(shape)
    return message, arrays


def _exactly(stream: BinaryIO, n: int) -> bytes:
    data = b""
    while len(data) < n:
        piece = stream.read(n - len(data))
        if not piece:
            raise EOFError("the other side closed the pipe")
        data += piece
    return data
