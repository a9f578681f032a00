"""A plane through the density: a plotly heat map in true cartesian geometry."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from edviz.errors import ArgumentError, FrameIndexError
from edviz.plotting.frames import Frame, one_frame
from edviz.plotting.theme import INK, density_colorscale, field_label, pretty_units, template

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from edviz.analysis.frames import TrajectoryLike

__all__ = ["plot_slice"]

_AXES = {"a": 0, "b": 1, "c": 2}
_RASTER = 240  # pixels along the longer side of a plane that is not rectangular


def plot_slice(
    traj: TrajectoryLike,
    frame: int = 0,
    axis: int | str = "c",
    index: int | None = None,
    *,
    position: float | None = None,
    sample: int = 0,
    clim: tuple[float, float] | None = None,
    atoms: bool = True,
    atom_distance: float = 1.0,
    title: str | None = None,
) -> go.Figure:
    """Draw the field on a plane spanned by two lattice vectors.

    Rectangular planes show the grid points themselves; others are interpolated linearly onto a fine raster, because
    plotly's heat maps have right angles. Either way lengths and angles are true and the plane runs from one
    border of the cell to the opposite one, whose values it repeats.

    Parameters
    ----------
    traj : DensityTrajectory or its dataset
    frame : int
        Number of the frame; negative ones count from the end.
    axis : 0, 1, 2 or "a", "b", "c"
        Lattice vector that leaves the plane; the two others span it, the earlier one drawn horizontally.
    index : int, optional
        Number of the grid plane along `axis`; by default the middle one.
    position : float, optional
        Instead of an index: fractional coordinate along `axis`, of any size (periodic), interpolated linearly.
    sample : int
        Member of an ensemble.
    clim : (low, high), optional
        Range of the colours in the field's unit; by default that of the frame.
    atoms : bool
        Mark the atoms near the plane, where the trajectory has positions; nearer ones larger.
    atom_distance : float
        How near, angstrom.
    title : str, optional

    Returns
    -------
    plotly Figure

    Raises
    ------
    FrameIndexError
        No such frame, sample or plane.
    ArgumentError
        No such axis, or both index and position given.
    """
    import plotly.graph_objects as go

    shown = one_frame(traj, frame, sample)
    normal = _AXES.get(str(axis), axis) if isinstance(axis, str) else axis
    if normal not in (0, 1, 2):
        raise ArgumentError(f"axis is {axis!r}; choose 0, 1, 2 or 'a', 'b', 'c'")
    if index is not None and position is not None:
        raise ArgumentError("give either index or position, not both")
    count = shown.values.shape[normal]
    if index is not None and not -count <= index < count:
        raise FrameIndexError(f"there is no plane {index} along {'abc'[normal]}: it has planes 0 to {count - 1}")
    if position is None:
        position = (count // 2 if index is None else index % count) / count
    position %= 1.0

    plane = _plane_values(shown.values, normal, position)
    first, second = (i for i in range(3) if i != normal)
    flat = _flatten(shown.cell[first], shown.cell[second])
    x, y, z = _raster(plane, flat)
    low, high = (float(shown.values.min()), float(shown.values.max())) if clim is None else clim
    symbol = field_label(shown.density_kind, shown.units).split(" ")[0]
    unit = pretty_units(shown.units)
    signed = low < 0 < high
    figure = go.Figure(
        go.Heatmap(
            x=x,
            y=y,
            z=z,
            zmin=-max(-low, high) if signed else low,
            zmax=max(-low, high) if signed else high,
            colorscale="RdBu_r" if signed else density_colorscale(),
            zsmooth="best",
            colorbar={"title": {"text": field_label(shown.density_kind, shown.units)}, "len": 0.9, "thickness": 16},
            hovertemplate=f"x = %{{x:.2f}} Å<br>y = %{{y:.2f}} Å<br>{symbol} = %{{z:.4g}} {unit}<extra></extra>",
        )
    )
    outline = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) @ flat
    figure.add_scatter(
        x=outline[:, 0],
        y=outline[:, 1],
        mode="lines",
        line={"color": INK, "width": 1.2},
        hoverinfo="skip",
        showlegend=False,
    )
    if atoms and shown.fractional is not None:
        _mark_atoms(figure, shown, normal, position, flat, atom_distance)
    height = abs(np.linalg.det(shown.cell)) / np.linalg.norm(np.cross(shown.cell[first], shown.cell[second]))
    where = f"plane at {'abc'[normal]} = {position:.4g}, {position * height:.2f} Å above the cell's floor"
    heading = f"{shown.title}<br><sup>{where}</sup>"
    span = np.ptp(outline, axis=0)
    plot_width = 480
    figure.update_layout(
        template=template(),
        title={"text": heading if title is None else title},
        width=plot_width + 70 + 120,
        height=round(np.clip(plot_width * span[1] / span[0], 160, 900)) + 76 + 56,
        margin={"l": 70, "r": 120, "t": 76, "b": 56},
        showlegend=False,
    )
    names = ["abc"[first], "abc"[second]]
    right_angle = abs(flat[1, 0]) < 1e-6 * np.linalg.norm(flat[1])
    figure.update_xaxes(title=f"x along {names[0]} (Å)", range=_ends(outline[:, 0]), showgrid=False, constrain="domain")
    figure.update_yaxes(
        title=f"y {'along ' + names[1] if right_angle else 'normal to ' + names[0]} (Å)",
        range=_ends(outline[:, 1]),
        showgrid=False,
        scaleanchor="x",
        scaleratio=1,
        constrain="domain",
    )
    return figure


def _ends(values: NDArray[np.float64]) -> list[float]:
    return [float(values.min()), float(values.max())]


def _plane_values(values: NDArray[np.float64], normal: int, position: float) -> NDArray[np.float64]:
    """(n1, n2) values at a fractional position along an axis, linear between grid planes, periodic."""
    count = values.shape[normal]
    below = int(np.floor(position * count + 1e-9))
    weight = max(position * count - below, 0.0)
    lower, upper = (np.take(values, (below + i) % count, axis=normal) for i in (0, 1))
    return (1 - weight) * lower + weight * upper


def _flatten(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 2) the two lattice vectors in the plane's own coordinates, the first one along x."""
    along = first / np.linalg.norm(first)
    parallel = float(second @ along)
    return np.array([[np.linalg.norm(first), 0.0], [parallel, np.sqrt(max(float(second @ second) - parallel**2, 0.0))]])


def _raster(
    plane: NDArray[np.float64], flat: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """x, y in angstrom and z[y, x]: the points of a rectangular grid, or a raster that is NaN outside the plane."""
    n1, n2 = plane.shape
    if abs(flat[1, 0]) < 1e-6 * np.linalg.norm(flat[1]):
        closed = np.pad(plane, [(0, 1)] * 2, mode="wrap")
        return np.linspace(0, flat[0, 0], n1 + 1), np.linspace(0, flat[1, 1], n2 + 1), closed.T
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) @ flat
    low, span = corners.min(axis=0), np.ptp(corners, axis=0)
    nx, ny = (max(2, round(_RASTER * s / span.max())) for s in span)
    x, y = low[0] + span[0] * np.linspace(0, 1, nx), low[1] + span[1] * np.linspace(0, 1, ny)
    points = np.stack(np.meshgrid(x, y), axis=-1)
    fractional = points @ np.linalg.inv(flat)
    z = ndimage.map_coordinates(plane, np.moveaxis(fractional * [n1, n2], -1, 0), order=1, mode="grid-wrap")
    z[((fractional < -1e-9) | (fractional > 1 + 1e-9)).any(axis=-1)] = np.nan
    return x, y, z


def _mark_atoms(
    figure: go.Figure, frame: Frame, normal: int, position: float, flat: NDArray[np.float64], reach: float
) -> None:
    from ase.data import chemical_symbols, covalent_radii
    from ase.data.colors import jmol_colors

    assert frame.fractional is not None and frame.numbers is not None  # the schema asks for both
    first, second = (i for i in range(3) if i != normal)
    upright = np.cross(frame.cell[first], frame.cell[second])
    upright /= np.linalg.norm(upright)
    along = frame.cell[first] / np.linalg.norm(frame.cell[first])
    beside = np.cross(upright, along)
    # The periodic image of each atom that is nearest to the plane, then its foot on the plane, moved into the cell.
    fractional = frame.fractional.copy()
    offset = (fractional[:, normal] - position + 0.5) % 1.0 - 0.5
    fractional[:, normal] = offset
    cartesian = fractional @ frame.cell
    distance = cartesian @ upright
    feet = np.stack([cartesian @ along, cartesian @ beside], axis=1) @ np.linalg.inv(flat) % 1.0
    near = np.flatnonzero(np.abs(distance) <= reach)
    points, owners = [], []
    for shift in product((-1, 0, 1), repeat=2):
        moved = feet[near] + np.array(shift)
        inside = ((moved > -1e-3) & (moved < 1 + 1e-3)).all(axis=1)
        points.append(moved[inside] @ flat)
        owners.append(near[inside])
    where, atom = np.concatenate(points), np.concatenate(owners)
    numbers = frame.numbers[atom]
    figure.add_scatter(
        x=where[:, 0],
        y=where[:, 1],
        mode="markers",
        cliponaxis=False,
        marker={
            "color": [f"rgb({','.join(str(round(255 * c)) for c in jmol_colors[n])})" for n in numbers],
            "size": (8 + 10 * covalent_radii[numbers]) * (1 - 0.6 * np.abs(distance[atom]) / reach),
            "line": {"color": INK, "width": 1},
            "opacity": 0.95,
        },
        text=[f"{chemical_symbols[n]} (atom {i})" for n, i in zip(numbers, atom, strict=True)],
        customdata=distance[atom],
        hovertemplate="%{text}<br>%{customdata:+.2f} Å from the plane<extra></extra>",
        showlegend=False,
    )
