"""Frames on request: right values and axes, newest wish first, nothing stale, errors as messages."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

import edviz
from edviz.widgets.encoding import decode
from edviz.widgets.serving import FrameServer, encode_frame

Make = Callable[..., edviz.DensityTrajectory]


class Page:
    """Collects what a server sends."""

    def __init__(self) -> None:
        self.messages: list[tuple[dict, list[bytes]]] = []

    def __call__(self, content: dict, buffers: list[bytes]) -> None:
        self.messages.append((content, buffers))

    @property
    def frames(self) -> list[tuple[int, int]]:
        return [(m["sample"], m["frame"]) for m, _ in self.messages if m["type"] == "frame"]


def test_a_frame_holds_values_positions_and_electrons(trajectory: edviz.DensityTrajectory) -> None:
    encoded = encode_frame(trajectory, 0, 3)
    content = encoded.content
    assert content["shape"] == [6, 5, 8] and content["stride"] == 1
    values = decode(encoded.buffers[0], content["code"]).reshape(6, 5, 8)
    np.testing.assert_allclose(values, trajectory.frame(3), rtol=2**-11)
    assert content["min"] == trajectory.frame(3).min() and content["max"] == trajectory.frame(3).max()
    assert content["electrons"] == pytest.approx(4, rel=1e-6)
    positions = np.frombuffer(encoded.buffers[1], "<f4").reshape(-1, 3)
    fractional = trajectory.grid.to_fractional(positions)
    assert fractional.min() >= -1e-6 and fractional.max() <= 1 + 1e-6
    off = fractional - trajectory.grid.to_fractional(trajectory.ds["positions"].values[3])
    np.testing.assert_allclose(off, np.round(off), atol=1e-5)


def test_positions_count_from_the_first_grid_point(make_trajectory: Make) -> None:
    plain, moved = make_trajectory(), make_trajectory(origin=(0.5, 0.25, -0.75))
    at = [np.frombuffer(encode_frame(t, 0, 0).buffers[1], "<f4").reshape(-1, 3) for t in (plain, moved)]
    off = plain.grid.to_fractional(at[0] - at[1] - [0.5, 0.25, -0.75])
    np.testing.assert_allclose(off, np.round(off), atol=1e-5)


def test_without_atoms_the_second_buffer_is_empty(make_trajectory: Make) -> None:
    bare = make_trajectory(positions=None, numbers=None, velocities=None, forces=None)
    assert encode_frame(bare, 0, 0).buffers[1] == b""


def test_a_second_field_comes_along(make_trajectory: Make) -> None:
    first, second = make_trajectory(seed=0), make_trajectory(seed=1)
    encoded = encode_frame(first, 0, 2, second)
    assert len(encoded.buffers) == 3
    values = decode(encoded.buffers[2], encoded.content["code2"])
    np.testing.assert_allclose(values, second.frame(2).ravel(), rtol=2**-11)


def test_samples_of_an_ensemble_are_told_apart(make_trajectory: Make) -> None:
    ensemble = make_trajectory(n_samples=3)
    encoded = encode_frame(ensemble, 2, 1)
    values = decode(encoded.buffers[0], encoded.content["code"])
    np.testing.assert_allclose(values, ensemble.frame(1)[2].ravel(), rtol=2**-11)


def test_wishes_are_answered_in_their_order(trajectory: edviz.DensityTrajectory) -> None:
    page = Page()
    server = FrameServer(trajectory, page)
    server.want(1, [[0, 4], [0, 0], [0, 2]])
    server.join(10)
    assert page.frames == [(0, 4), (0, 0), (0, 2)]


def test_a_new_wish_replaces_the_old_ones_and_an_old_one_is_ignored(trajectory: edviz.DensityTrajectory) -> None:
    page, gate, started = Page(), threading.Event(), threading.Event()

    def slow(content: dict, buffers: list[bytes]) -> None:
        started.set()
        gate.wait(10)
        page(content, buffers)

    server = FrameServer(trajectory, slow)
    server.want(5, [[0, 0], [0, 1], [0, 2]])
    assert started.wait(10)
    server.want(6, [[0, 4]])
    server.want(5, [[0, 3]])
    gate.set()
    server.join(10)
    assert page.frames == [(0, 0), (0, 4)]


def test_a_page_that_comes_back_counts_from_the_start(trajectory: edviz.DensityTrajectory) -> None:
    page = Page()
    server = FrameServer(trajectory, page)
    server.want(7, [[0, 0]])
    server.join(10)
    server.restart()
    server.want(0, [[0, 1]])
    server.join(10)
    assert page.frames == [(0, 0), (0, 1)]


def test_a_frame_that_cannot_be_read_is_said_and_the_others_still_come(make_trajectory: Make) -> None:
    density = make_trajectory().ds["density"].chunk({"time": 1})
    broken = density.data.map_blocks(_break_frame_1, dtype=density.dtype)
    traj = edviz.DensityTrajectory._from_valid(make_trajectory().ds.assign(density=density.copy(data=broken)))
    page = Page()
    server = FrameServer(traj, page)
    server.want(0, [[0, 1], [0, 2], [0, 99], [0, 0]])
    server.join(10)
    assert page.frames == [(0, 2), (0, 0)]
    errors = [m for m, _ in page.messages if m["type"] == "error"]
    assert [(e["frame"], e["text"]) for e in errors] == [(1, "damaged"), (99, "there is no sample 0, frame 99")]


def _break_frame_1(values: np.ndarray, block_info: dict | None = None) -> np.ndarray:
    if block_info and block_info[0]["chunk-location"][0] == 1:
        raise OSError("damaged")
    return values


def test_the_cache_stays_within_its_bound_and_keeps_what_was_used_last(trajectory: edviz.DensityTrajectory) -> None:
    one = encode_frame(trajectory, 0, 0).nbytes
    server = FrameServer(trajectory, Page(), cache_bytes=2 * one)
    first = server.get(0, 0)
    server.get(0, 1)
    assert server.get(0, 0) is first
    server.get(0, 2)
    assert server.cached_bytes == 2 * one
    assert server.get(0, 0) is first


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_page_that_cannot_be_reached_does_not_end_the_service(trajectory: edviz.DensityTrajectory) -> None:
    page, reachable = Page(), threading.Event()

    def send(content: dict, buffers: list[bytes]) -> None:
        if not reachable.is_set():
            raise ConnectionError("gone")
        page(content, buffers)

    server = FrameServer(trajectory, send)
    server.want(1, [[0, 0], [0, 1]])
    server.join(10)
    reachable.set()
    server.want(2, [[0, 3]])
    server.join(10)
    assert page.frames == [(0, 3)]
