"""A trajectory as one HTML file that opens anywhere, offline: the viewer's own front end with the frames inside."""

from __future__ import annotations

import base64
import json
import os
import warnings
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from edviz.errors import ArgumentError, FrameIndexError
from edviz.plotting.page import write_page
from edviz.plotting.theme import field_name
from edviz.widgets.serving import EncodedFrame, encode_frame

if TYPE_CHECKING:
    from edviz.widgets.viewer import TrajectoryViewer

__all__ = ["embed", "front_end", "viewer_page", "write_viewer_page"]

#: Size of the frames in a page that nobody has asked to be larger, in millions of characters.
DEFAULT_MEGABYTES = 24

Frames = int | slice | Sequence[int] | None


def write_viewer_page(
    viewer: TrajectoryViewer, path: str | os.PathLike[str], frames: Frames = None, *, title: str = ""
) -> Path:
    """Write the page.

    Parameters
    ----------
    viewer : TrajectoryViewer
        Its sample and its view are what the page starts with.
    path : str or path
        The HTML file; its folder is made if missing.
    frames : int, slice or several int, optional
        Which ones go into the page; negative numbers count from the end. By default all, or so many, evenly spread,
        as 24 MB hold.
    title : str, optional

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    FrameIndexError
        No such frame.
    WriteError
        If the file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(f"{target}: give the page a name that ends in .html")
    return write_page(target, viewer_page(viewer, frames, title))


def viewer_page(viewer: TrajectoryViewer, frames: Frames = None, title: str = "") -> str:
    """The page as text: see `write_viewer_page`."""
    heading = title or " ".join(filter(None, [viewer.meta["name"], field_name(viewer.meta["kind"])]))
    data = embed(viewer, frames)
    script, style = front_end()
    return _PAGE.format(
        title=escape(heading),
        style=style,
        script=json_for_html(script),
        data=json_for_html(data),
    )


def front_end() -> tuple[str, str]:
    """Source of the built module and its style sheet."""
    from edviz.widgets.viewer import STATIC

    return (STATIC / "viewer.js").read_text(encoding="utf-8"), (STATIC / "viewer.css").read_text(encoding="utf-8")


def json_for_html(data: Any) -> str:
    """JSON that may stand inside a ``<script>`` element: nothing in it ends the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def embed(viewer: TrajectoryViewer, frames: Frames = None) -> dict[str, Any]:
    """What the front end's ``mount(element, data)`` takes: the view's state and the frames of its sample."""
    traj = viewer.traj.sample(viewer.sample)
    second = viewer.second
    if second is not None and second.is_ensemble:
        second = second.sample(viewer.sample)
    chosen = _choose(traj.n_frames, frames, _frame_megabytes(viewer))
    shown = int(np.abs(chosen - viewer.frame).argmin())
    state = viewer.state | {"frame": shown, "sample": 0, "link_id": None}
    meta = dict(state["meta"])
    meta |= {"n_frames": len(chosen), "n_samples": 1, "times": [meta["times"][i] for i in chosen]}
    encoded = [
        _embedded(encode_frame(traj, 0, int(frame), second), number)
        for number, frame in enumerate(tqdm(chosen, desc="frames", unit="frame", delay=2, leave=False))
    ]
    return {"state": state | {"meta": meta}, "frames": encoded}


def _embedded(encoded: EncodedFrame, number: int) -> dict[str, Any]:
    content = {name: value for name, value in encoded.content.items() if name != "type"} | {"frame": number}
    names = ("volume", "positions", "second")
    return content | {
        name: base64.b64encode(buffer).decode("ascii") for name, buffer in zip(names, encoded.buffers, strict=False)
    }


def _frame_megabytes(viewer: TrajectoryViewer) -> float:
    fields = 1 if viewer.second is None else 2
    return 2e-6 * 4 / 3 * fields * float(np.prod(viewer.meta["shape"]))


def _choose(n_frames: int, frames: Frames, megabytes: float) -> np.ndarray:
    """Numbers of the frames of the page, in order."""
    if frames is None:
        most = max(1, int(DEFAULT_MEGABYTES / megabytes))
        if most >= n_frames:
            return np.arange(n_frames)
        warnings.warn(
            f"{n_frames} frames would make a page of {n_frames * megabytes:.0f} MB: it gets {most} of them, evenly "
            "spread. frames=slice(None) takes all.",
            UserWarning,
            stacklevel=5,
        )
        return np.linspace(0, n_frames - 1, most).round().astype(int)
    if isinstance(frames, slice):
        chosen = np.arange(n_frames)[frames]
    else:
        chosen = np.atleast_1d(np.asarray(frames))
        if chosen.dtype.kind not in "iu" or chosen.ndim != 1:
            raise ArgumentError(f"frames takes whole numbers or a slice; got {frames!r}")
        if ((chosen < -n_frames) | (chosen >= n_frames)).any():
            raise FrameIndexError(f"there are frames 0 to {n_frames - 1}; got {frames!r}")
        chosen = chosen % n_frames
    if not len(chosen) or (np.diff(chosen) <= 0).any():
        raise ArgumentError(f"frames must name at least one frame, in the order of time; got {frames!r}")
    return chosen


# The module is loaded from a blob: pages from file:// must not import files beside them.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="edviz">
<title>{title}</title>
<style>
html, body {{ margin: 0; height: 100%; }}
body {{ font-family: sans-serif; background: white; }}
#viewer {{ box-sizing: border-box; width: 100%; min-height: 100%; padding: 8px; }}
{style}
</style>
</head>
<body>
<div id="viewer"></div>
<noscript>This page needs JavaScript.</noscript>
<script type="application/json" id="edviz-data">{data}</script>
<script type="application/json" id="edviz-module">{script}</script>
<script type="module">
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const source = new Blob([read("edviz-module")], {{ type: "text/javascript" }});
const {{ mount }} = await import(URL.createObjectURL(source));
mount(document.getElementById("viewer"), read("edviz-data"));
</script>
</body>
</html>
"""
