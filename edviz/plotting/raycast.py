"""A small picture of isosurfaces without OpenGL: rays through the periodic field, in any thread, quickly.

For the places where `edviz.plotting.isosurface` cannot be used (a thread of a widget) or starts too slowly (VTK takes
seconds to load): a thumbnail. Parallel rays enter the cell, march until the field crosses the level, and the crossing
is refined by interpolation; shading is Lambert's law with the field's gradient as normal. Where the ray enters a dense
region at the border of the cell, the cut shows the density by colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from edviz.plotting.frames import Frame
from edviz.plotting.theme import AIMD, DENSITY_COLORS, GENERATED

__all__ = ["raycast"]

#: From the cell to the eye, along a, along the normal to a in the ab plane, along the normal to ab.
_VIEW = (0.48, -1.0, 0.46)
_STEPS_PER_POINT = 1.5
#: Finer grids are thinned to about so many points a side (if all sides allow): more is not seen in a thumbnail.
_MAX_POINTS = 80

FloatArray = NDArray[np.float64]


def raycast(frame: Frame, levels: Sequence[float], size: tuple[int, int] = (480, 400)) -> bytes:
    """Draw the surfaces of one frame.

    Parameters
    ----------
    frame : Frame
        From `edviz.plotting.frames.one_frame`.
    levels : sequence of float
        Values of the field on the surfaces. Values above a positive level are inside; with a negative one, below it. Of
        several levels of one sign only the lowest is seen.
    size : (width, height)
        Pixels.

    Returns
    -------
    bytes
        A PNG with transparent background.
    """
    from PIL import Image

    pixels = np.zeros((size[1], size[0], 4))
    eye, right, up = _axes(frame.cell)
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float64)
    relative = (corners - 0.5) @ frame.cell
    scale = max(np.ptp(relative @ right) / size[0], np.ptp(relative @ up) / size[1]) * 1.04
    x = (np.arange(size[0]) + 0.5 - size[0] / 2) * scale
    y = (size[1] / 2 - np.arange(size[1]) - 0.5) * scale
    # Where each ray enters and leaves the cell, in fractional coordinates: the slab method for boxes.
    to_fraction = np.linalg.inv(frame.cell)
    start = (x[None, :, None] * right + y[:, None, None] * up) @ to_fraction + 0.5
    way = -eye @ to_fraction
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.sort(np.stack([(0.0 - start) / way, (1.0 - start) / way]), axis=0)
    enter, leave = ends[0].max(axis=-1), ends[1].min(axis=-1)
    seen = enter < leave
    origin, enter, leave = start[seen], enter[seen], leave[seen]

    stride = -(-max(frame.values.shape) // _MAX_POINTS)
    if any(n % stride for n in frame.values.shape):
        stride = 1  # the thinned grid would not be periodic
    values = frame.values[::stride, ::stride, ::stride]
    step = 1.0 / (_STEPS_PER_POINT * float(np.abs(way * values.shape).max()))
    depth = np.full(len(origin), np.inf)
    color = np.zeros((len(origin), 3))
    for level in levels:
        sign = -1.0 if level < 0 else 1.0
        field, threshold = sign * values, sign * level
        own = _first_crossing(field, threshold, origin, way, enter, leave, step)
        nearer = own < depth
        if nearer.any():
            points = origin[nearer] + own[nearer, None] * way
            cut = own[nearer] <= enter[nearer]
            depth[nearer] = own[nearer]
            color[nearer] = _shade(field, threshold, points, cut, frame.cell, eye, min(levels) < 0, sign)
    hit = np.isfinite(depth)
    image = np.zeros((len(origin), 4))
    image[:] = (0.5, 0.53, 0.57, 0.06)  # the cell itself, barely
    image[hit, :3], image[hit, 3] = color[hit], 1.0
    pixels[seen] = image
    png = BytesIO()
    # Not optimised: 4 % less for six times the time, and a viewer waits for this picture.
    Image.fromarray((255 * pixels.clip(0, 1)).round().astype(np.uint8)).save(png, format="PNG")
    return png.getvalue()


def _axes(cell: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Unit vectors to the eye, to the right and up in the picture."""
    along = cell[0] / np.linalg.norm(cell[0])
    normal = np.cross(cell[0], cell[1])
    normal /= np.linalg.norm(normal)
    eye = np.array(_VIEW) @ np.stack([along, np.cross(normal, along), normal])
    eye /= np.linalg.norm(eye)
    right = np.cross(normal, eye)
    right /= np.linalg.norm(right)
    return eye, right, np.cross(eye, right)


def _sample(field: FloatArray, fractional: FloatArray) -> FloatArray:
    points = fractional.T * np.array(field.shape, dtype=np.float64)[:, None]
    return ndimage.map_coordinates(field, points, order=1, mode="grid-wrap", output=np.float64)


def _first_crossing(
    field: FloatArray,
    level: float,
    origin: FloatArray,
    way: FloatArray,
    enter: FloatArray,
    leave: FloatArray,
    step: float,
) -> FloatArray:
    """Along each ray, where the field first exceeds the level; infinite where it does not."""
    found = np.full(len(origin), np.inf)
    alive = np.arange(len(origin))
    here = enter.copy()
    before = _sample(field, origin + here[:, None] * way)
    inside = before > level
    found[inside] = enter[inside]
    alive, before = alive[~inside], before[~inside]
    while alive.size:
        ahead = np.minimum(here[alive] + step, leave[alive])
        value = _sample(field, origin[alive] + ahead[:, None] * way)
        crossed = value > level
        share = (level - before[crossed]) / (value[crossed] - before[crossed])
        rays = alive[crossed]
        found[rays] = here[rays] + share * (ahead[crossed] - here[rays])
        here[alive] = ahead
        going = ~crossed & (ahead < leave[alive])
        alive, before = alive[going], value[going]
    return found


def _shade(
    field: FloatArray,
    level: float,
    points: FloatArray,
    cut: NDArray[np.bool_],
    cell: FloatArray,
    eye: FloatArray,
    signed: bool,
    sign: float,
) -> FloatArray:
    stops = np.array([[int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)] for color in DENSITY_COLORS])
    places = np.linspace(0, 1, len(stops))
    if signed:
        code = GENERATED[0] if sign > 0 else AIMD
        tint = np.array([int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        base = np.broadcast_to(tint, (len(points), 3)).copy()
    else:
        highest = float(np.quantile(field, 0.999))
        depth = (_sample(field, points[cut]) - level) / max(highest - level, 1e-300)
        base = np.broadcast_to(stops[1], (len(points), 3)).copy()
        base[cut] = np.stack([np.interp(depth, places, stops[:, i]) for i in range(3)], axis=1)
    # Central differences half a grid spacing to each side; chain rule to cartesian coordinates.
    gradient = np.empty((len(points), 3))
    for axis in range(3):
        offset = np.zeros(3)
        offset[axis] = 1.0 / field.shape[axis]
        gradient[:, axis] = (_sample(field, points + offset) - _sample(field, points - offset)) * field.shape[axis]
    normal = -gradient @ np.linalg.inv(cell).T
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    light = eye + np.array([0.1, 0.1, 0.6])
    light /= np.linalg.norm(light)
    brightness = 0.42 + 0.62 * np.clip(normal @ light, 0, 1)
    brightness[cut] = 1.0
    return base * brightness[:, None]
