"""Thumbnails without OpenGL: the same outline as VTK's picture of the same surface, any thread, any cell."""

from __future__ import annotations

import threading
from io import BytesIO

import numpy as np
from PIL import Image

import edviz
from edviz.plotting.frames import one_frame
from edviz.plotting.raycast import _axes, raycast


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGBA"), dtype=float)


def test_a_ball_is_where_and_as_large_as_it_is(gaussian) -> None:
    cell = np.array([[9.0, 0, 0], [2.0, 8.0, 0], [-1.0, 1.5, 10.0]])
    centre, radius, width = np.array([0.4, 0.6, 0.55]), 1.7, 1.5
    values = gaussian(cell, (48, 48, 56), tuple(centre), width)
    traj = edviz.DensityTrajectory.from_arrays(values, cell, density_kind="elf")
    level = float(np.exp(-(radius**2) / (2 * width**2)))
    size = (300, 260)
    opaque = pixels(raycast(one_frame(traj, 0), [level], size))[..., 3] > 200
    _, right, up = _axes(cell)
    corners = (np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) - 0.5) @ cell
    scale = max(np.ptp(corners @ right) / size[0], np.ptp(corners @ up) / size[1]) * 1.04
    rows, columns = np.nonzero(opaque)
    place = (centre - 0.5) @ cell
    assert abs(columns.mean() + 0.5 - size[0] / 2 - place @ right / scale) < 1
    assert abs(size[1] / 2 - rows.mean() - 0.5 - place @ up / scale) < 1
    assert abs(opaque.sum() * scale**2 / (np.pi * radius**2) - 1) < 0.02


def test_lobes_have_two_colours(gaussian) -> None:
    cell = 8.0 * np.eye(3)
    field = gaussian(cell, (24,) * 3, (0.3, 0.5, 0.5), 1.0) - gaussian(cell, (24,) * 3, (0.7, 0.5, 0.5), 1.0)
    traj = edviz.DensityTrajectory.from_arrays(field, cell, density_kind="orbital")
    seen = pixels(raycast(one_frame(traj, 0), [0.3, -0.3]))
    solid = seen[seen[..., 3] > 200]
    red, blue = (solid[:, 0] > solid[:, 2] + 60).sum(), (solid[:, 2] > solid[:, 0] + 60).sum()
    assert red > 1000 and 0.8 < red / blue < 1.25


def test_it_works_in_any_thread_and_without_a_surface(lithium: edviz.DensityTrajectory) -> None:
    frame = one_frame(lithium, 0)
    made: list[bytes] = []
    thread = threading.Thread(target=lambda: made.append(raycast(frame, [0.044])))
    thread.start()
    thread.join()
    assert made == [raycast(frame, [0.044])]
    assert pixels(raycast(frame, []))[..., 3].max() < 30
