"""Movies hold every frame once, at the right rate and size, and are playable by what plays movies."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edviz
from edviz.errors import ArgumentError, FrameIndexError, MissingDependencyError
from edviz.plotting import movie
from edviz.plotting.isosurface import plot_isosurface

SIZE = (160, 121)


@pytest.fixture(scope="module")
def clip(lithium: edviz.DensityTrajectory) -> edviz.DensityTrajectory:
    return lithium[0:40:10]


def test_an_mp4_has_all_frames_in_a_format_that_browsers_play(clip: edviz.DensityTrajectory, tmp_path: Path) -> None:
    import imageio_ffmpeg

    path = clip.to_movie(tmp_path / "sub" / "clip.mp4", fps=5, window_size=SIZE, progress=False)
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert frames == 4 and seconds == pytest.approx(0.8, abs=0.05)
    told = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path)], capture_output=True, text=True).stderr
    assert re.search(r"h264.*yuv420p", told) and "160x120" in told
    reader = imageio_ffmpeg.read_frames(str(path))
    next(reader)
    first = np.frombuffer(next(reader), np.uint8).reshape(120, 160, 3).astype(float)
    level = edviz.plotting.isosurface.default_levels(edviz.plotting.frames.one_frame(clip, 0))
    still = plot_isosurface(clip, 0, level, window_size=SIZE)
    from io import BytesIO

    expected = np.asarray(Image.open(BytesIO(still.png)).convert("RGB"), dtype=float)[:120]
    assert np.abs(first - expected).mean() < 8


def test_a_gif_plays_in_the_order_given(clip: edviz.DensityTrajectory, tmp_path: Path) -> None:
    path = clip.to_movie(tmp_path / "clip.gif", frames=[3, 0, -1], fps=10, window_size=(120, 90), progress=False)
    with Image.open(path) as gif:
        assert gif.n_frames == 3 and gif.info["duration"] == 100 and gif.info["loop"] == 0
        shown = []
        for number in range(3):
            gif.seek(number)
            shown.append(np.asarray(gif.convert("RGB"), dtype=float))
    assert np.abs(shown[0] - shown[1]).mean() > 2
    np.testing.assert_array_equal(shown[0], shown[2])


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("x.avi", {}, ArgumentError),
        ("x.gif", {"fps": 0}, ArgumentError),
        ("x.gif", {"frames": []}, ArgumentError),
        ("x.gif", {"frames": [99]}, FrameIndexError),
        ("x.gif", {"level": 1e9}, ArgumentError),
    ],
)
def test_what_cannot_be_filmed_leaves_no_file(
    clip: edviz.DensityTrajectory, tmp_path: Path, name: str, options: dict, error: type[Exception]
) -> None:
    with pytest.raises(error):
        clip.to_movie(tmp_path / name, progress=False, **options)
    assert list(tmp_path.iterdir()) == []


def test_without_ffmpeg_the_cure_is_said(
    clip: edviz.DensityTrajectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingDependencyError, match="pip install imageio-ffmpeg"):
        movie.to_movie(clip, tmp_path / "x.mp4")
