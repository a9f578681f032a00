"""Frames for a page that asks for them: what it wants most first, what it no longer wants never.

Widget messages arrive while the kernel is busy with a cell, in another thread or between two cells. They only leave
the list of wishes here; a thread reads, encodes and sends. A new list replaces the old one, so at most one stale frame
is made after the user has moved on. Nothing here renders: OpenGL belongs to the main thread.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edviz.schema import ELECTRON_KINDS
from edviz.trajectory import DensityTrajectory
from edviz.widgets.encoding import encode

__all__ = ["EncodedFrame", "FrameServer", "encode_frame"]

#: Encoded frames kept, in bytes: several viewers and pages may ask for the same ones.
CACHE_BYTES = 64 << 20

Send = Callable[[dict[str, Any], list[bytes]], None]


@dataclass(frozen=True, eq=False)
class EncodedFrame:
    """One message to the page: its content and its binary buffers."""

    content: dict[str, Any]
    buffers: list[bytes]

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers."""
        return sum(map(len, self.buffers))


def encode_frame(
    traj: DensityTrajectory, sample: int, frame: int, second: DensityTrajectory | None = None
) -> EncodedFrame:
    """Read one frame and encode it.

    Parameters
    ----------
    traj
        With a cell that does not change in time.
    sample, frame
        Not negative.
    second
        A field on the same grid, with as many frames, to colour surfaces by.

    Returns
    -------
    EncodedFrame
        Content: "type", "sample", "frame", "shape", "stride", "code", "min", "max", "electrons" (None for fields that
        do not integrate to electrons) and, with a second field, "code2". Buffers: the field (16-bit codes, a, b, c in C
        order; "code" says what they stand for: `edviz.widgets.encoding`), the positions (float32, atom x 3, angstrom
        from the first grid point; empty without) and the second field.
    """
    values = traj.sample(sample).frame(frame)
    codes, code = encode(values)
    electrons = None
    if traj.density_kind in ELECTRON_KINDS:
        electrons = float(values.mean(dtype=np.float64) * traj.grid.volume)
    content: dict[str, Any] = {
        "type": "frame",
        "sample": sample,
        "frame": frame,
        "shape": list(values.shape),
        "stride": 1,
        "code": code,
        "min": float(values.min()),
        "max": float(values.max()),
        "electrons": electrons,
    }
    buffers = [codes.tobytes(), _positions(traj, sample, frame)]
    if second is not None:
        others = second.sample(sample if second.is_ensemble else 0).frame(frame)
        codes, content["code2"] = encode(others)
        buffers.append(codes.tobytes())
    return EncodedFrame(content, buffers)


def _positions(traj: DensityTrajectory, sample: int, frame: int) -> bytes:
    """Positions relative to the first grid point as float32, each atom moved into the cell; empty without atoms."""
    ds = traj.sample(sample).ds
    if "positions" not in ds or "numbers" not in ds:
        return b""
    origin = np.asarray(ds.attrs["origin"], dtype=np.float64)
    positions = np.asarray(ds["positions"].isel(time=frame).values, dtype=np.float64)
    return traj.grid.wrap(positions - origin).astype("<f4").tobytes()


class FrameServer:
    """Serves the frames of one trajectory.

    Parameters
    ----------
    traj, second
        As in `encode_frame`.
    send
        Called with content and buffers, from a thread of its own.
    cache_bytes
        Bound of the encoded frames that are kept.
    """

    def __init__(
        self,
        traj: DensityTrajectory,
        send: Send,
        second: DensityTrajectory | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._traj = traj
        self._second = second
        self._send = send
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[tuple[int, int], EncodedFrame] = OrderedDict()
        self._lock = threading.Lock()
        self._wishes: deque[tuple[int, int]] = deque()
        self._epoch = -1
        self._page: object = None
        self._thread: threading.Thread | None = None

    def restart(self) -> None:
        """A page has (re)appeared: it counts its wishes from the start again."""
        with self._lock:
            self._epoch = -1

    def want(self, epoch: int, frames: Iterable[Iterable[int]], page: object = None) -> None:
        """Replace the wishes by (sample, frame) pairs, the most urgent first.

        An older epoch of the same page is ignored: its message was held up behind a cell.
        """
        wishes = [(int(sample), int(frame)) for sample, frame in frames]
        with self._lock:
            if epoch < self._epoch and page == self._page:
                return
            self._epoch, self._page = epoch, page
            self._wishes = deque(wishes)
            if self._thread is None and wishes:
                self._thread = threading.Thread(target=self._serve, name="edviz-frames", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Forget all wishes and all frames."""
        with self._lock:
            self._wishes.clear()
            self._cache.clear()

    def join(self, timeout: float | None = None) -> None:
        """Wait until there is nothing left to send."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def get(self, sample: int, frame: int) -> EncodedFrame:
        """One encoded frame, from the cache or freshly read."""
        key = (sample, frame)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        encoded = encode_frame(self._traj, sample, frame, self._second)
        with self._lock:
            self._cache[key] = encoded
            held = sum(each.nbytes for each in self._cache.values())
            while held > self._cache_bytes and len(self._cache) > 1:
                held -= self._cache.popitem(last=False)[1].nbytes
        return encoded

    @property
    def cached_bytes(self) -> int:
        """Bytes of the encoded frames that are kept."""
        with self._lock:
            return sum(each.nbytes for each in self._cache.values())

    def _serve(self) -> None:
        try:
            self._serve_all()
        except BaseException:  # the page could not be reached: the next wish starts another thread
            with self._lock:
                self._thread = None
            raise

    def _serve_all(self) -> None:
        while True:
            with self._lock:
                if not self._wishes:
                    self._thread = None
                    return
                sample, frame = self._wishes.popleft()
            try:
                if not (0 <= sample < self._traj.n_samples and 0 <= frame < self._traj.n_frames):
                    raise IndexError(f"there is no sample {sample}, frame {frame}")
                encoded = self.get(sample, frame)
            except Exception as error:  # a damaged frame must not end the thread: the page says what is wrong with it
                self._send({"type": "error", "sample": sample, "frame": frame, "text": str(error)}, [])
                continue
            self._send(encoded.content, encoded.buffers)
