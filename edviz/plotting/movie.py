"""A trajectory as a movie: isosurface pictures one after another, as MP4 or GIF.

MP4 is H.264 in 4:2:0 through the ffmpeg that the wheel imageio-ffmpeg brings along, which every browser and every
slide program plays; GIF is written by Pillow.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from edviz.analysis.frames import as_trajectory
from edviz.errors import ArgumentError, FrameIndexError, MissingDependencyError
from edviz.io.atomic import replacing
from edviz.plotting.frames import one_frame
from edviz.plotting.isosurface import default_levels, plot_isosurface

if TYPE_CHECKING:
    from edviz.analysis.frames import TrajectoryLike

__all__ = ["to_movie"]


def to_movie(
    traj: TrajectoryLike,
    path: str | os.PathLike[str],
    *,
    frames: slice | Sequence[int] | None = None,
    fps: float = 15,
    level: float | Sequence[float] | None = None,
    fraction: float | Sequence[float] | None = None,
    progress: bool = True,
    **options: Any,
) -> Path:
    """Write a movie of isosurfaces.

    Parameters
    ----------
    traj : DensityTrajectory or its dataset
    path : str or path
        Ends in ``.mp4`` or ``.gif``.
    frames : slice or several int, optional
        Which ones, in the order given; all by default.
    fps : float
        Frames a second. A GIF's frames last whole hundredths of a second, two at least.
    level, fraction : float or several, optional
        As in `plot_isosurface`. By default the level of the first frame's default surface, the same in all frames, so
        that what moves is the density. One range of colours serves all frames, too.
    progress : bool
        Show a progress bar.
    **options
        Of `plot_isosurface`, such as ``window_size``, ``atoms``, ``sample``.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ArgumentError
        Another ending, no frame, or a rate that is not positive; levels outside a frame's range.
    FrameIndexError
        No such frame.
    MissingDependencyError
        MP4 without imageio-ffmpeg.
    RenderingError
        Outside the main thread.
    WriteError
        If the file cannot be written.
    """
    traj = as_trajectory(traj)
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in (".mp4", ".gif"):
        raise ArgumentError(f"{target}: movies are written as .mp4 or .gif")
    if not 0 < fps <= 120:
        raise ArgumentError(f"fps must be above 0 and at most 120; got {fps:g}")
    chosen = _choose(traj.n_frames, frames)
    write = _write_mp4 if ending == ".mp4" else _write_gif
    if ending == ".mp4":
        _ffmpeg()
    sample = options.get("sample", 0)
    first = one_frame(traj, int(chosen[0]), sample)
    if level is None and fraction is None:
        level = default_levels(first)
    if "clim" not in options and level is not None:
        low = float(np.min(level))
        options["clim"] = (low, max(float(np.quantile(first.values, 0.999)), low + 1e-12))

    def pictures() -> Iterator[NDArray[np.uint8]]:
        from PIL import Image

        bar = tqdm(chosen, desc=target.name, unit="frame", disable=not progress)
        for index in bar:
            picture = plot_isosurface(traj, int(index), level, fraction=fraction, **options)
            yield np.asarray(Image.open(BytesIO(picture.png)).convert("RGB"))

    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        write(temporary, pictures(), fps)
    return target


def _choose(n_frames: int, frames: slice | Sequence[int] | None) -> NDArray[np.intp]:
    if frames is None or isinstance(frames, slice):
        chosen = np.arange(n_frames)[slice(None) if frames is None else frames]
    else:
        chosen = np.atleast_1d(np.asarray(frames))
        if chosen.dtype.kind not in "iu":
            raise ArgumentError(f"frames takes whole numbers or a slice; got {frames!r}")
        if ((chosen < -n_frames) | (chosen >= n_frames)).any():
            raise FrameIndexError(f"there are frames 0 to {n_frames - 1}; got {frames!r}")
        chosen = chosen % n_frames
    if not len(chosen):
        raise ArgumentError("a movie needs at least one frame")
    return chosen


def _ffmpeg() -> Any:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise MissingDependencyError("MP4 movies need imageio-ffmpeg: pip install imageio-ffmpeg") from error
    return imageio_ffmpeg


def _write_mp4(path: Path, pictures: Iterable[NDArray[np.uint8]], fps: float) -> None:
    writer = None
    try:
        for pixels in pictures:
            # 4:2:0 halves the colour planes, so both sides must be even.
            pixels = np.ascontiguousarray(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2])
            if writer is None:
                writer = _ffmpeg().write_frames(
                    str(path),
                    (pixels.shape[1], pixels.shape[0]),
                    fps=fps,
                    codec="libx264",
                    quality=8,
                    macro_block_size=2,
                    ffmpeg_log_level="error",
                    output_params=["-movflags", "+faststart", "-f", "mp4"],
                )
                writer.send(None)
            writer.send(pixels)
    finally:
        if writer is not None:
            writer.close()


def _write_gif(path: Path, pictures: Iterable[NDArray[np.uint8]], fps: float) -> None:
    from PIL import Image

    images = [Image.fromarray(pixels).quantize(256, dither=Image.Dither.NONE) for pixels in pictures]
    duration = 10 * max(2, round(100 / fps))
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:], duration=duration, loop=0)
