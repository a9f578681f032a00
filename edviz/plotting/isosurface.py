"""The density of one frame in three dimensions: isosurfaces, atoms and cell as a PNG.

Rendering needs no display (VTK draws off screen through EGL) and no notebook extension: what comes back carries its
PNG and shows it in any notebook, in nbconvert's HTML too. It runs in the main thread only. Widget callbacks
run in other threads, where OpenGL corrupts the picture; widgets take the surfaces from `edviz.plotting.surfaces`.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from edviz.errors import ArgumentError, MissingDataError, RenderingError
from edviz.io.atomic import write_errors
from edviz.plotting.frames import Frame, one_frame, periodic_images
from edviz.plotting.surfaces import Surface, extract_surface, level_from_fraction, subdivide
from edviz.plotting.theme import INK, MUTED, density_colormap, field_label, pretty_units
from edviz.schema import ELECTRON_KINDS

if TYPE_CHECKING:
    import pyvista
    from matplotlib.colors import Colormap

    from edviz.analysis.frames import TrajectoryLike

__all__ = ["IsosurfacePicture", "default_levels", "plot_isosurface"]

#: Share of the electrons that the surface encloses unless told otherwise. Half of the valence electrons show where they
#: pile up between the ions; of the total density the cores alone hold that much, so more is taken.
DEFAULT_FRACTION = {"valence": 0.5, "pseudo": 0.5, "total": 0.8}

#: Points along the longest axis up to which a frame is interpolated for a smooth surface.
SMOOTH_POINTS = 64

#: Camera: how far from the front towards a, and above, it stands (in units of a x b's frame), and its opening angle.
VIEW = (0.48, -1.0, 0.46)
VIEW_ANGLE = 20.0


@dataclass(frozen=True, eq=False)
class IsosurfacePicture:
    """A picture of isosurfaces: shows itself in a notebook, saves itself, opens a window on request.

    Attributes
    ----------
    surfaces : tuple of Surface
        What is drawn, one for each level; their ``level`` is in the field's unit, their ``area`` in angstrom^2.
    """

    surfaces: tuple[Surface, ...]
    _scene: Callable[..., Any]
    _window_size: tuple[int, int]
    _description: str

    @cached_property
    def png(self) -> bytes:
        """The picture as a PNG file, rendered when first asked for.

        Raises
        ------
        RenderingError
            In any thread but the main one.
        """
        _require_main_thread()
        return _render(self._scene, self._window_size)

    @property
    def levels(self) -> tuple[float, ...]:
        """The isosurface levels, in the field's unit."""
        return tuple(surface.level for surface in self.surfaces)

    def save(self, filename: str | Path) -> Path:
        """Write the PNG file and return its path."""
        path = _png_path(filename)
        png = self.png
        with write_errors(path):
            path.write_bytes(png)
        return path

    def plotter(self, off_screen: bool = True) -> pyvista.Plotter:
        """The same scene as a new `pyvista.Plotter`, to change it or to look at it in a window."""
        _require_main_thread()
        return self._scene(off_screen)

    def show(self) -> None:
        """Open an interactive window. In a notebook the picture shows itself; this is for scripts with a display."""
        if sys.platform.startswith("linux") and not _has_display():
            raise RenderingError("there is no display to open a window on: save the picture, .save('density.png')")
        self.plotter(off_screen=False).show()

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return f"<IsosurfacePicture: {self._description}; .save('density.png') writes it>"


def plot_isosurface(
    traj: TrajectoryLike,
    frame: int = 0,
    level: float | Sequence[float] | None = None,
    *,
    fraction: float | Sequence[float] | None = None,
    sample: int = 0,
    inside: Literal["above", "below"] = "above",
    capped: bool | None = None,
    opacity: float | Sequence[float] | None = None,
    color: str | Sequence[str] | None = None,
    cmap: str | Colormap | None = None,
    clim: tuple[float, float] | None = None,
    atoms: bool | None = None,
    cell: bool = True,
    colorbar: bool = True,
    legend: bool = True,
    title: str | None = None,
    view: Sequence[float] = VIEW,
    smooth: bool = True,
    window_size: tuple[int, int] = (1000, 750),
    filename: str | Path | None = None,
) -> IsosurfacePicture:
    """Draw one or several isosurfaces of a frame.

    One surface is solid: where the enclosed region meets the cell border it is cut open, and the cut shows the density
    inside by colour. Several surfaces are nested, translucent from the outside in.

    Parameters
    ----------
    traj : DensityTrajectory or its dataset
    frame : int
        Number of the frame; negative ones count from the end.
    level : float or several, optional
        Value of the field on the surface, in its own unit (e/angstrom^3 for densities).
    fraction : float or several, optional
        Instead of a level: the share of the electrons that the surface encloses. Without either it encloses half of a
        valence density and 80 % of a total density; of other fields the surface is drawn half-way through their range.
    sample : int
        Member of an ensemble.
    inside : "above" or "below"
        Side of the surface that counts as enclosed; "below" draws holes.
    capped : bool, optional
        Close the enclosed region at the cell border and colour the cut by density. By default for a single
        opaque surface.
    opacity : float or one a level, optional
    color : colour or one a level, optional
        Colour of the surfaces, in place of the colour map's.
    cmap : str or matplotlib colour map, optional
        Colours of the density; by default `edviz.plotting.theme.DENSITY_COLORS`.
    clim : (low, high), optional
        Range of the colour map in the field's unit. By default it starts at the lowest level (somewhat below, with
        several) and ends at the 99.9th percentile. Pictures to be compared want the same level and clim.
    atoms : bool, optional
        Whether to draw the atoms where the trajectory has positions; coloured by element, with 0.3 of the covalent
        radius. By default for all but total densities, whose maxima are the atoms.
    cell, colorbar, legend : bool
        Whether to draw the edges of the cell, the colour bar (there is none with `color`), and in words the level of
        each surface, what it encloses, and the lengths of the edges.
    title : str, optional
        Text on top; by default formula, field and time. Empty for none.
    view : 3 numbers
        Direction from the cell to the camera: along a, along the normal to a within the ab plane (negative: in
        front), along the normal to the ab plane.
    smooth : bool
        Interpolate coarse grids (below 64 points) by cubics, see `edviz.plotting.surfaces.subdivide`.
    window_size : (width, height)
        In pixels.
    filename : str or Path, optional
        Also write the picture to this PNG file.

    Returns
    -------
    IsosurfacePicture
        As the last expression of a notebook cell it shows itself.

    Raises
    ------
    FrameIndexError
        No such frame or sample.
    ArgumentError
        A level outside the frame's range, or a fraction that is not between 0 and 1.
    MissingDataError
        A fraction of a field that does not integrate to electrons.
    RenderingError
        Called outside the main thread.
    """
    _require_main_thread()
    if filename is not None:
        _png_path(filename)
    shown = one_frame(traj, frame, sample)
    levels = _choose_levels(shown, level, fraction)
    opacities = _spread(opacity, len(levels), np.linspace(0.28, 1.0, len(levels)) if len(levels) > 1 else [1.0])
    if capped is None:
        capped = len(levels) == 1 and opacities[0] == 1.0
    coarse = SMOOTH_POINTS / max(shown.values.shape)
    field = subdivide(shown.values, times=max(0, int(np.ceil(np.log2(coarse))))) if smooth else shown.values
    surfaces = tuple(extract_surface(field, shown.cell, x, inside=inside, capped=capped) for x in levels)
    if clim is None:
        low, high = (float(x) for x in np.quantile(shown.values, [0.001, 0.999]))
        # Nested surfaces start inside the map: its first colour is nearly white.
        start = levels[0] - 0.5 * (levels[-1] - levels[0])
        clim = (max(start, low), max(high, levels[-1])) if inside == "above" else (min(low, levels[0]), levels[-1])
    texts = [_legend(shown, surface, inside) for surface in surfaces]
    look = _Look(
        opacities=opacities,
        colors=_spread(color, len(levels), [None] * len(levels)),
        cmap=density_colormap() if cmap is None else cmap,
        clim=clim,
        atoms=shown.density_kind != "total" if atoms is None else atoms,
        cell=cell,
        colorbar=colorbar and color is None,
        title=shown.title if title is None else title,
        legend=texts if legend else [],
        view=tuple(view),
        window_size=window_size,
    )
    shown = replace(shown, values=field)

    def scene(off_screen: bool, zoom: float = 1.0) -> Any:
        return _build(shown, surfaces, look, off_screen, zoom)

    picture = IsosurfacePicture(
        surfaces=surfaces,
        _scene=scene,
        _window_size=window_size,
        _description=f"{shown.title}; {'; '.join(look.legend)}",
    )
    if filename is not None:
        picture.save(filename)
    return picture


# Choosing what to draw ------------------------------------------------------------------------------------------------


def default_levels(frame: Frame) -> list[float]:
    """The level drawn when none is asked for: by `DEFAULT_FRACTION`; of other fields half-way through their range."""
    if frame.density_kind in ELECTRON_KINDS:
        return [level_from_fraction(frame.values, DEFAULT_FRACTION.get(frame.density_kind, 0.5))]
    return [0.5 * float(frame.values.min() + frame.values.max())]


def _choose_levels(
    frame: Frame, level: float | Sequence[float] | None, fraction: float | Sequence[float] | None
) -> list[float]:
    """Levels in ascending order, from levels, fractions or the default for the kind of field."""
    if level is not None and fraction is not None:
        raise ArgumentError("give either level or fraction, not both")
    if level is not None:
        levels = [float(x) for x in np.atleast_1d(level)]
    elif fraction is None:
        levels = default_levels(frame)
    elif frame.density_kind not in ELECTRON_KINDS:
        raise MissingDataError(
            f"a field of kind '{frame.density_kind}' does not integrate to electrons: "
            "give a level instead of a fraction"
        )
    else:
        levels = [level_from_fraction(frame.values, float(x)) for x in np.atleast_1d(fraction)]
    low, high = float(frame.values.min()), float(frame.values.max())
    for value in levels:
        if not low < value < high:
            raise ArgumentError(
                f"no isosurface at level {value:.6g}: frame {frame.index} lies between {low:.6g} and {high:.6g} "
                f"{frame.units}; choose a level between them"
            )
    return sorted(levels)


def _spread(given: Any, count: int, default: Any) -> list[Any]:
    """One value a level from one value, a list of them, or the default."""
    if given is None:
        return list(default)
    values = [given] if isinstance(given, str) or np.isscalar(given) else list(given)
    if len(values) not in (1, count):
        raise ArgumentError(f"{count} levels take 1 or {count} colours or opacities; got {len(values)}")
    return values * count if len(values) == 1 else values


def _legend(frame: Frame, surface: Surface, inside: str) -> str:
    text = f"surface at {surface.level:.4g} {pretty_units(frame.units)}".rstrip()
    if frame.density_kind in ELECTRON_KINDS:
        enclosed = frame.values > surface.level if inside == "above" else frame.values < surface.level
        share = 100 * frame.values[enclosed].sum() / frame.values.sum()
        text += f", encloses {f'{share:.0f}' if share >= 1 else f'{share:.2g}'} % of the electrons"
    return text


# Drawing --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Look:
    opacities: list[float]
    colors: list[str | None]
    cmap: str | Colormap
    clim: tuple[float, float]
    atoms: bool
    cell: bool
    colorbar: bool
    title: str
    legend: list[str]
    view: tuple[float, ...]
    window_size: tuple[int, int]


def _build(frame: Frame, surfaces: Sequence[Surface], look: _Look, off_screen: bool, zoom: float) -> Any:
    """The scene as a pyvista plotter, `zoom` times as large as asked for, texts and lines included."""
    import pyvista as pv

    if importlib.util.find_spec("trame") is None and pv.global_theme.jupyter_backend == "trame":
        pv.set_jupyter_backend("static")
    with _headless_window():
        plotter: Any = pv.Plotter(
            off_screen=off_screen, window_size=[round(zoom * n) for n in look.window_size], lighting="light kit"
        )
    plotter.set_background("white")
    colormap: Any = pv.LookupTable(cmap=cast(Any, look.cmap), scalar_range=look.clim)
    shading = {"smooth_shading": True, "specular": 0.3, "specular_power": 30, "ambient": 0.45, "diffuse": 0.8}
    for surface, opacity, color in zip(surfaces, look.opacities, look.colors, strict=True):
        mesh = surface.to_polydata()
        tint = color or colormap.map_value(surface.level, opacity=False)
        sides = _part(mesh, ~surface.caps) if surface.capped else mesh
        plotter.add_mesh(sides, color=tint, opacity=opacity, **shading)
        if surface.caps.any():
            cut = _part(mesh, surface.caps)
            if color:
                plotter.add_mesh(cut, color=color, opacity=opacity, lighting=False)
            else:
                cut["field"] = _values_at(frame, np.asarray(cut.points, dtype=np.float64))
                # Unlit, so that the colours are those of the colour bar.
                plotter.add_mesh(
                    cut,
                    scalars="field",
                    cmap=look.cmap,
                    clim=look.clim,
                    lighting=False,
                    opacity=opacity,
                    show_scalar_bar=False,
                )
    if look.atoms and frame.fractional is not None and frame.numbers is not None:
        _add_atoms(plotter, frame.fractional, frame.numbers, frame.cell)
    if look.cell:
        _add_cell(plotter, frame.cell, zoom, look)
    _aim(plotter, frame, look)
    _add_text(plotter, frame, look, zoom)
    if max(look.opacities) > min(look.opacities) or look.opacities[0] < 1:
        plotter.disable_anti_aliasing()  # depth peeling and multi-sampling exclude each other
        plotter.enable_depth_peeling(8)
    else:  # crevices are darker, which shows depth
        edge = abs(np.linalg.det(frame.cell)) ** (1 / 3)
        plotter.enable_ssao(radius=0.18 * edge, bias=0.005 * edge, kernel_size=64, blur=True)
    return plotter


def _part(mesh: Any, cells: NDArray[np.bool_]) -> Any:
    return mesh.extract_cells(cells).extract_surface(algorithm="dataset_surface")


def _values_at(frame: Frame, points: NDArray[np.float64]) -> NDArray[np.float64]:
    grid_points = points @ np.linalg.inv(frame.cell) * np.array(frame.values.shape)
    return ndimage.map_coordinates(frame.values, grid_points.T, order=1, mode="grid-wrap")


def _add_atoms(plotter: Any, fractional: NDArray[Any], numbers: NDArray[Any], cell: NDArray[Any]) -> None:
    import pyvista as pv
    from ase.data.colors import jmol_colors

    images, owners = periodic_images(fractional)
    radii = _atom_radii(numbers)
    for number in np.unique(numbers):
        centres = pv.PolyData((images @ cell)[numbers[owners] == number])
        ball = pv.Sphere(radius=radii[numbers == number][0], theta_resolution=32, phi_resolution=32)
        balls = centres.glyph(scale=False, orient=False, geom=ball)
        plotter.add_mesh(
            balls, color=jmol_colors[number], smooth_shading=True, specular=0.4, specular_power=20, ambient=0.2
        )


def _atom_radii(numbers: NDArray[Any]) -> NDArray[np.float64]:
    from ase.data import covalent_radii

    return 0.3 * covalent_radii[numbers]


def _corners() -> NDArray[np.float64]:
    return np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float64)


def _add_cell(plotter: Any, cell: NDArray[Any], zoom: float, look: _Look) -> None:
    """The twelve edges, and on one edge each the name and length of a, b and c."""
    import pyvista as pv

    corners = _corners()
    edges = [(p, q) for p in range(8) for q in range(p + 1, 8) if np.abs(corners[p] - corners[q]).sum() == 1]
    frame = pv.PolyData(corners @ cell, lines=np.array([[2, p, q] for p, q in edges]).ravel())
    plotter.add_mesh(frame, color=MUTED, line_width=1.2 * zoom, lighting=False)
    if not look.legend:
        return
    # Middles of three edges that are on the outline as seen from the default view, and where their text starts.
    for axis, (name, place, horizontal, vertical) in enumerate(
        [
            ("a", (0.5, 0.0, -0.02), "right", "top"),
            ("b", (1.02, 0.5, -0.02), "left", "top"),
            ("c", (-0.03, 0.0, 0.5), "right", "center"),
        ]
    ):
        plotter.add_point_labels(
            (np.array(place) @ cell)[None],
            [f"{name} = {np.linalg.norm(cell[axis]):.4g} Å"],
            font_file=_font_file(),
            font_size=round(1.5 * _text_size(look, zoom)),
            text_color=MUTED,
            shape=None,
            show_points=False,
            always_visible=True,
            justification_horizontal=horizontal,
            justification_vertical=vertical,
        )


def _aim(plotter: Any, frame: Frame, look: _Look) -> None:
    """Point the camera so that cell and atoms fill the part of the window that text and colour bar leave."""
    cell = frame.cell
    right = cell[0] / np.linalg.norm(cell[0])
    up = np.cross(cell[0], cell[1])
    up /= np.linalg.norm(up)
    behind = np.cross(up, right)
    towards = np.array(look.view, dtype=np.float64) @ np.stack([right, behind, up])
    towards /= np.linalg.norm(towards)
    vertical = up if np.linalg.norm(np.cross(up, towards)) > 1e-3 else behind
    side = np.cross(vertical, towards)
    side /= np.linalg.norm(side)
    vertical = np.cross(towards, side)

    width, height = look.window_size
    # The free part of the window in its own coordinates, both axes from -1 to 1.
    x_range = (-0.90 if look.cell and look.legend else -0.96, 0.60 if look.colorbar else 0.96)
    y_range = (-0.90 + 0.06 * len(look.legend) if look.legend else -0.96, 0.85 if look.title else 0.95)
    centre = cell.sum(axis=0) / 2
    points = [_corners() @ cell]
    if look.atoms and frame.fractional is not None and frame.numbers is not None:
        images, owners = periodic_images(frame.fractional)
        radii = _atom_radii(frame.numbers)[owners, None]
        points += [images @ cell + sign * radii * way for way in (side, vertical) for sign in (-1, 1)]
    relative = np.concatenate(points) - centre
    x, y, depth = relative @ side, relative @ vertical, relative @ towards
    tangent = np.tan(np.radians(VIEW_ANGLE / 2))

    def projected(distance: float) -> tuple[NDArray[Any], NDArray[Any]]:
        scale = 1 / ((distance - depth) * tangent)
        return x * scale * height / width, y * scale

    near = float(depth.max())
    far = near + 100 * float(np.linalg.norm(cell, axis=1).sum())
    for _ in range(60):
        distance = 0.5 * (near + far)
        px, py = projected(distance)
        if np.ptp(px) > x_range[1] - x_range[0] or np.ptp(py) > y_range[1] - y_range[0]:
            near = distance
        else:
            far = distance
    px, py = projected(far)
    camera = plotter.camera
    camera.focal_point = centre
    camera.position = centre + far * towards
    camera.up = vertical
    camera.view_angle = VIEW_ANGLE
    # The window's centre in units of the projection: shifts the picture without turning it.
    camera.SetWindowCenter((px.max() + px.min()) / 2 - sum(x_range) / 2, (py.max() + py.min()) / 2 - sum(y_range) / 2)
    plotter.reset_camera_clipping_range()


def _text_size(look: _Look, zoom: float) -> float:
    width, height = look.window_size
    return zoom * max(4.0, 0.0145 * min(height, 0.75 * width))


def _add_text(plotter: Any, frame: Frame, look: _Look, zoom: float) -> None:
    size = _text_size(look, zoom)
    font = _font_file()
    text = {"viewport": True, "font_file": font}
    if look.title:
        plotter.add_text(look.title, position=(0.03, 0.945), font_size=round(size), color=INK, **text)
    if look.legend:
        legend = "\n".join(look.legend)
        footer = plotter.add_text(legend, position=(0.03, 0.02), font_size=round(0.8 * size), color=MUTED, **text)
        footer.prop.SetLineSpacing(1.25)
    if not look.colorbar:
        return
    import pyvista as pv

    mapper = pv.DataSetMapper()
    mapper.lookup_table = pv.LookupTable(cmap=cast(Any, look.cmap), scalar_range=look.clim)
    bar = plotter.add_scalar_bar(
        field_label(frame.density_kind, frame.units),
        mapper=mapper,
        vertical=True,
        position_x=0.84,
        position_y=0.2,
        width=0.06,
        height=0.55,
        n_labels=5,
        fmt="  %#.3g",
        color=INK,
        unconstrained_font_size=True,
        title_font_size=round(1.75 * size),
        label_font_size=round(1.6 * size),
    )
    for properties in (bar.GetTitleTextProperty(), bar.GetLabelTextProperty()):
        properties.SetFontFamily(4)  # VTK_FONT_FILE
        properties.SetFontFile(font)
        properties.SetBold(False)
        properties.SetItalic(False)
        properties.SetShadow(False)
    bar.SetVerticalTitleSeparation(round(0.8 * size))


def _font_file() -> str:
    """DejaVu Sans, which comes with matplotlib (pyvista needs it): VTK's own fonts lack Greek letters."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


# Rendering ------------------------------------------------------------------------------------------------------------


#: Pictures are rendered this much larger and scaled down, which smooths edges (anti-aliasing at half VTK's cost).
SUPERSAMPLING = 1.5


def _render(scene: Callable[..., Any], window_size: tuple[int, int]) -> bytes:
    from PIL import Image

    plotter = scene(True, SUPERSAMPLING)
    try:
        pixels = plotter.screenshot(return_img=True)
    finally:
        plotter.close()
    png = BytesIO()
    Image.fromarray(pixels).resize(window_size, Image.Resampling.LANCZOS).save(png, format="PNG")
    return png.getvalue()


@contextmanager
def _headless_window() -> Iterator[None]:
    """Let VTK make an EGL window where there is no display, without leaving a trace in the environment.

    VTK tries X first and complains on stderr before it falls back; naming EGL silences that. With a display, without
    EGL, or where the user has chosen a window class, nothing is changed.
    """
    name = "VTK_DEFAULT_OPENGL_WINDOW"
    wanted = sys.platform.startswith("linux") and not _has_display() and name not in os.environ
    if not (wanted and ctypes.util.find_library("EGL")):
        yield
        return
    os.environ[name] = "vtkEGLRenderWindow"
    try:
        yield
    finally:
        del os.environ[name]


def _has_display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _require_main_thread() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise RenderingError(
            "isosurface pictures can only be rendered in the main thread, and widget callbacks run in another one: "
            "call plot_isosurface in a notebook cell or script"
        )


def _png_path(filename: str | Path) -> Path:
    path = Path(filename)
    if path.suffix.lower() != ".png":
        raise ArgumentError(f"{path}: pictures are written as PNG; give the file a name that ends in .png")
    return path
