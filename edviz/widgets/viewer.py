"""TrajectoryViewer: a trajectory as it moves, in a notebook.

The page (widgets/js, built in widgets/static) extracts and draws the surfaces; the kernel only sends it its module,
once, and frames, as `edviz.widgets.serving` has them. The state of the view is kept in traits that both sides may
change: what is set in Python appears in the page, and where the user has got to can be read in Python.
"""

from __future__ import annotations

import base64
import hashlib
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets as t

from edviz.analysis.frames import TrajectoryLike, as_trajectory
from edviz.errors import ArgumentError, FrameIndexError, GridMismatchError, MissingDataError
from edviz.io.atomic import replacing
from edviz.plotting.frames import one_frame
from edviz.plotting.isosurface import IsosurfacePicture, default_levels, plot_isosurface
from edviz.plotting.raycast import raycast
from edviz.plotting.surfaces import level_from_fraction
from edviz.plotting.theme import AIMD, GENERATED, field_label, field_name
from edviz.schema import ELECTRON_KINDS
from edviz.widgets.answering import AnsweringWidget
from edviz.widgets.serving import FrameServer

if TYPE_CHECKING:
    from edviz.plotting.frames import Frame
    from edviz.trajectory import DensityTrajectory

__all__ = ["TrajectoryViewer", "link"]

STATIC = Path(__file__).parent / "static"
COLORMAPS = ("density", "viridis", "magma", "cividis", "inferno", "coolwarm", "RdBu_r")
#: Frames from which the range of the field is taken: all would have to be read for the exact one.
_RANGE_FRAMES = 3
#: What of the state a static page starts from.
_VIEW_STATE = (
    "frame sample playing speed loop levels level_mode fractions slices volume colormap colors opacity color_by "
    "show_atoms show_bonds show_cell show_histogram repeat shift camera cache_mb link_id"
).split()


class TrajectoryViewer(AnsweringWidget):
    """Look at a trajectory in a notebook: ``traj.view()``.

    Parameters
    ----------
    traj : DensityTrajectory or its dataset
        Single or ensemble, lazy or not; its cell must not change in time.
    second : DensityTrajectory, optional
        A field on the same grid with as many frames, to colour the surfaces by.
    level : float or several, optional
        Isovalues in the field's unit. By default a surface that encloses half of the valence electrons (80 % of all
        electrons) in the first frame shown; of signed fields a level stands for
        a positive and a negative lobe, unless one of the levels is negative.
    fraction : float or several, optional
        Instead of levels: fractions of the electrons that the surfaces enclose, in every frame anew.
    name : str, optional
        What the view is called in its title.
    **state
        Any trait below, such as ``frame=10`` or ``repeat=(2, 1, 1)``.

    Attributes
    ----------
    frame, sample : int
        Shown now. Negative numbers count from the end when set.
    playing, loop : bool
    speed : float
        Frames a second.
    levels, fractions : list of float
    level_mode : "value" or "electrons"
        Whether `levels` or `fractions` say where the surfaces are.
    slices : list of {"hkl": [h, k, l], "position": p}
        Lattice planes through the cell, p in [0, 1) along the normal.
    volume : bool
        Volume rendering.
    colormap : str
    colors : list of str
        CSS colours of the surfaces, in the order of the levels; empty for the colour map's.
    opacity : float
        Of the surfaces, above 0, at most 1.
    color_by : "level" or "second"
    show_atoms, show_bonds, show_cell, show_histogram : bool
    repeat : 3 int
        Cells drawn along a, b, c.
    shift : 3 float
        Shift of the origin, fractional.
    camera : {"position", "target", "up"} or None
    cache_mb : int
        Bound of the frames that the page keeps.
    link_id : str or None
        Viewers in one page with the same one share camera and time: see `link`.
    meta : dict
        What is shown, for the page. Read only.

    Raises
    ------
    ArgumentError
        A state the data do not allow.
    FrameIndexError
        No such frame or sample.
    GridMismatchError
        A cell that changes in time, or a second field on another grid.
    MissingDataError
        Fractions of a field that does not integrate to electrons.
    """

    _esm = STATIC / "loader.js"
    _css = STATIC / "viewer.css"

    build = t.Unicode().tag(sync=True)
    meta = t.Dict().tag(sync=True)
    frame = t.Int(0).tag(sync=True)
    sample = t.Int(0).tag(sync=True)
    playing = t.Bool(False).tag(sync=True)
    speed = t.Float(20.0).tag(sync=True)
    loop = t.Bool(True).tag(sync=True)
    levels: t.List[float] = t.List().tag(sync=True)
    level_mode = t.Unicode("value").tag(sync=True)
    fractions: t.List[float] = t.List().tag(sync=True)
    slices: t.List[dict[str, Any]] = t.List().tag(sync=True)
    volume = t.Bool(False).tag(sync=True)
    colormap = t.Unicode("density").tag(sync=True)
    colors: t.List[str] = t.List().tag(sync=True)
    opacity = t.Float(1.0).tag(sync=True)
    color_by = t.Unicode("level").tag(sync=True)
    show_atoms = t.Bool(True).tag(sync=True)
    show_bonds = t.Bool(False).tag(sync=True)
    show_cell = t.Bool(True).tag(sync=True)
    show_histogram = t.Bool(True).tag(sync=True)
    repeat = t.List([1, 1, 1]).tag(sync=True)
    shift = t.List([0.0, 0.0, 0.0]).tag(sync=True)
    camera = t.Dict(None, allow_none=True).tag(sync=True)
    cache_mb = t.Int(256).tag(sync=True)
    link_id = t.Unicode(None, allow_none=True).tag(sync=True)

    def __init__(
        self,
        traj: TrajectoryLike,
        *,
        second: TrajectoryLike | None = None,
        level: float | Sequence[float] | None = None,
        fraction: float | Sequence[float] | None = None,
        name: str = "",
        **state: Any,
    ) -> None:
        traj = as_trajectory(traj)
        other = None if second is None else as_trajectory(second)
        if other is not None:
            _check_second(traj, other)
        if level is not None and fraction is not None:
            raise ArgumentError("give either level or fraction, not both")
        self.traj = traj
        self.second = other
        _check_state_names(state)
        first = one_frame(traj, state.get("frame", 0), state.get("sample", 0))
        meta = _describe(traj, other, name)
        state = {"levels": _default_levels(first, meta["signed"]), "show_atoms": first.density_kind != "total"} | state
        if meta["signed"]:
            state = {"colors": [GENERATED[0], AIMD], "colormap": "coolwarm"} | state
        if level is not None:
            state |= {"levels": np.atleast_1d(level).tolist(), "level_mode": "value"}
        if fraction is not None:
            state |= {"fractions": np.atleast_1d(fraction).tolist(), "level_mode": "electrons"}
        elif "fractions" not in state and first.density_kind in ELECTRON_KINDS and not meta["signed"]:
            state["fractions"] = [_share_above(first, float(x)) for x in np.ravel(np.asarray(state["levels"]))]
        self._server = FrameServer(traj, self._send_frame, other)
        self._snapshots: dict[str, Path] = {}
        super().__init__(
            meta=meta, build=_module()[1], **({"camera": None} | state)
        )  # traitlets' own default would be an empty dict
        self.on_msg(self._receive)

    # What the user sets -----------------------------------------------------------------------------------

    @property
    def level(self) -> float | None:
        """The first isovalue; setting it draws one surface there."""
        return self.levels[0] if self.levels else None

    @level.setter
    def level(self, value: float | Sequence[float]) -> None:
        with self.hold_sync():
            self.level_mode = "value"
            self.levels = np.atleast_1d(value).tolist()

    @property
    def fraction(self) -> float | None:
        """The first fraction of the electrons; setting it draws one surface that encloses it in every frame."""
        return self.fractions[0] if self.fractions else None

    @fraction.setter
    def fraction(self, value: float | Sequence[float]) -> None:
        with self.hold_sync():
            self.fractions = np.atleast_1d(value).tolist()
            self.level_mode = "electrons"

    @property
    def time(self) -> float:
        """Time of the frame shown, fs; setting it goes to the nearest frame."""
        return float(self.traj.time[self.frame])

    @time.setter
    def time(self, value: float) -> None:
        self.frame = int(np.abs(self.traj.time - value).argmin())

    @t.validate("frame", "sample")
    def _valid_index(self, proposal: Mapping[str, Any]) -> int:
        what, index = proposal["trait"].name, proposal["value"]
        count = self.traj.n_frames if what == "frame" else self.traj.n_samples
        if not -count <= index < count:
            raise FrameIndexError(
                f"there is no {what} {index}: the trajectory has {what}s 0 to {count - 1}; negative numbers count from "
                "the end"
            )
        return index % count

    @t.validate("levels")
    def _valid_levels(self, proposal: Mapping[str, Any]) -> list[float]:
        return _finite_numbers("levels", proposal["value"])

    @t.validate("fractions")
    def _valid_fractions(self, proposal: Mapping[str, Any]) -> list[float]:
        values = _finite_numbers("fractions", proposal["value"])
        if values and self.meta["n_electrons"] is None:
            raise MissingDataError(self._no_electrons())
        for value in values:
            if not 0 < value < 1:
                raise ArgumentError(f"fractions lie between 0 and 1, both excluded; got {value:g}")
        return values

    @t.validate("level_mode")
    def _valid_level_mode(self, proposal: Mapping[str, Any]) -> str:
        mode = _one_of("level_mode", proposal["value"], ("value", "electrons"))
        if mode == "electrons" and self.meta["n_electrons"] is None:
            raise MissingDataError(self._no_electrons())
        return mode

    def _no_electrons(self) -> str:
        return (
            f"this field ('{self.meta['kind']}'{', signed' if self.meta['signed'] else ''}) does not integrate to "
            "electrons: set levels instead of fractions"
        )

    @t.validate("color_by")
    def _valid_color_by(self, proposal: Mapping[str, Any]) -> str:
        choice = _one_of("color_by", proposal["value"], ("level", "second"))
        if choice == "second" and self.second is None:
            raise MissingDataError("there is no second field to colour by: traj.view(second=other)")
        return choice

    @t.validate("colormap")
    def _valid_colormap(self, proposal: Mapping[str, Any]) -> str:
        return _one_of("colormap", proposal["value"], COLORMAPS)

    @t.validate("speed", "opacity", "cache_mb")
    def _valid_positive(self, proposal: Mapping[str, Any]) -> Any:
        what, value = proposal["trait"].name, proposal["value"]
        largest = {"speed": 240, "opacity": 1, "cache_mb": 65536}[what]
        if not 0 < value <= largest:
            raise ArgumentError(f"{what} must be above 0 and at most {largest}; got {value:g}")
        return value

    @t.validate("repeat")
    def _valid_repeat(self, proposal: Mapping[str, Any]) -> list[int]:
        value = list(proposal["value"])
        if len(value) != 3 or not all(isinstance(n, (int, np.integer)) and 1 <= n <= 8 for n in value):
            raise ArgumentError(f"repeat takes three whole numbers from 1 to 8; got {proposal['value']}")
        return [int(n) for n in value]

    @t.validate("shift")
    def _valid_shift(self, proposal: Mapping[str, Any]) -> list[float]:
        value = _finite_numbers("shift", proposal["value"])
        if len(value) != 3:
            raise ArgumentError(f"shift takes three fractions of the cell; got {proposal['value']}")
        return [x % 1.0 for x in value]

    @t.validate("slices")
    def _valid_slices(self, proposal: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [_valid_slice(each) for each in proposal["value"]]

    @t.validate("camera")
    def _valid_camera(self, proposal: Mapping[str, Any]) -> dict[str, list[float]] | None:
        camera = proposal["value"]
        if camera is None:
            return None
        names = ("position", "target", "up")
        if not set(names) <= set(camera):
            raise ArgumentError(f"camera is a dict of three vectors: {', '.join(names)}; got {sorted(camera)}")
        vectors = {name: _finite_numbers(f"camera {name}", camera[name]) for name in names}
        if any(len(vector) != 3 for vector in vectors.values()) or vectors["position"] == vectors["target"]:
            raise ArgumentError(f"camera is three vectors of three numbers, position and target apart; got {camera}")
        return vectors | {key: value for key, value in camera.items() if key not in names}

    # The page ---------------------------------------------------------------------------------------------

    def _receive(self, _: Any, content: Any, buffers: list[Any]) -> None:
        """A message of the page. Runs in any thread, so it neither reads frames nor renders."""
        kind = content.get("type") if isinstance(content, Mapping) else None
        if kind == "hello":
            self._server.restart()
            self.send({"type": "hello"})
        elif kind == "module":
            self.send({"type": "module"}, [_module()[0]])
        elif kind == "want":
            self._server.want(int(content.get("epoch", 0)), content.get("frames", []), content.get("page"))
        elif kind == "snapshot" and buffers:
            path = self._snapshots.pop(str(content.get("id")), None)
            if path is not None:
                with replacing(path) as temporary:
                    temporary.write_bytes(buffers[0])

    def _send_frame(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self.send(content, buffers)

    def close(self) -> None:
        """Stop serving frames and take the widget out of the page."""
        if hasattr(self, "_server"):  # not where the constructor has refused
            self._server.stop()
            self.send({"type": "bye"})
        super().close()

    # Pictures ---------------------------------------------------------------------------------------------

    def picture(self, frame: int | None = None, **options: Any) -> IsosurfacePicture:
        """The surfaces of one frame as `edviz.plotting.plot_isosurface` draws them; needs no page.

        Parameters
        ----------
        frame : int, optional
            By default the one that is shown.
        **options
            Of `plot_isosurface`, such as ``window_size=(1600, 1200)``.

        Raises
        ------
        ArgumentError
            A level outside the frame's range.
        RenderingError
            Outside the main thread.
        """
        frame = self.frame if frame is None else frame
        if self.level_mode == "electrons":
            options = {"fraction": self.fractions} | options
        else:
            levels = self._lobes()
            options = {"level": levels} | options
            if self.meta["signed"]:
                # Neither lobe encloses the other, so both are solid.
                colors = [GENERATED[0] if x > 0 else AIMD for x in sorted(levels)]
                options = {"color": colors, "opacity": [self.opacity] * len(levels), "capped": False} | options
                options = {"legend": False, "cmap": "coolwarm"} | options
        options = {"sample": self.sample, "atoms": self.show_atoms, "cell": self.show_cell} | options
        return plot_isosurface(self.traj, frame, **options)

    def to_png(self, path: str | os.PathLike[str], frame: int | None = None, **options: Any) -> Path:
        """Write one frame as a PNG, rendered in the kernel: arguments and errors as `picture`."""
        return self.picture(frame, **options).save(Path(path))

    def to_html(self, path: str | os.PathLike[str], frames: Any = None, **options: Any) -> Path:
        """Write one self-contained page: see `edviz.widgets.page.write_viewer_page`."""
        from edviz.widgets.page import write_viewer_page

        return write_viewer_page(self, path, frames, **options)

    def _lobes(self) -> list[float]:
        """The levels; of a signed field each stands for a positive and a negative lobe, unless one is negative."""
        mirrored = self.meta["signed"] and not any(level < 0 for level in self.levels)
        return [sign * level for level in self.levels for sign in ((1, -1) if mirrored else (1,))]

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Save what the page shows, with its camera, as a PNG: the file appears once the page has answered."""
        target = Path(path)
        if target.suffix.lower() != ".png":
            raise ArgumentError(f"{target}: snapshots are written as PNG; give the file a name that ends in .png")
        name = uuid.uuid4().hex
        self._snapshots[name] = target
        self.send({"type": "snapshot", "id": name})

    @property
    def state(self) -> dict[str, Any]:
        """The state of the view and what it shows, as the page gets it."""
        return {"meta": dict(self.meta)} | {name: getattr(self, name) for name in _VIEW_STATE}

    def thumbnail(self) -> bytes:
        """A small PNG of the frame shown, made without OpenGL, so in any thread; for where there is no page."""
        shown = one_frame(self.traj, self.frame, self.sample)
        levels = self._lobes()
        if self.level_mode == "electrons":
            levels = [level_from_fraction(shown.values, fraction) for fraction in self.fractions]
        return raycast(shown, levels)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, and a picture for where there are no widgets: GitHub, nbconvert, a plain terminal."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        data = dict(data)
        data["text/plain"] = repr(self)
        try:
            data["image/png"] = base64.b64encode(self.thumbnail()).decode("ascii")
        except Exception as error:  # a damaged frame must not hide the viewer
            data["text/plain"] += f" (no picture: {error})"
        return data, metadata

    def __repr__(self) -> str:
        what = " ".join(filter(None, [self.meta["name"], field_name(self.meta["kind"])]))
        return f"<TrajectoryViewer: {what}, frame {self.frame}, t = {self.time:g} fs>"


def link(*viewers: TrajectoryViewer) -> str:
    """Let viewers in one page share camera and time.

    Parameters
    ----------
    *viewers
        Two or more.

    Returns
    -------
    str
        The link's name. ``viewer.link_id = None`` takes one out again.

    Raises
    ------
    ArgumentError
        If there are fewer than two viewers.
    """
    if len(viewers) < 2 or len({id(viewer) for viewer in viewers}) < len(viewers):
        raise ArgumentError("linking takes two different viewers or more: link(left, right)")
    name = uuid.uuid4().hex[:12]
    for viewer in viewers:
        viewer.link_id = name
    return name


@cache
def _module() -> tuple[bytes, str]:
    """The front end's module, and a name that changes with it."""
    source = (STATIC / "viewer.js").read_bytes()
    return source, hashlib.sha256(source).hexdigest()[:16]


# Describing and checking ----------------------------------------------------------------------------------------------


def _describe(traj: DensityTrajectory, second: DensityTrajectory | None, name: str) -> dict[str, Any]:
    """The trait `meta`."""
    low, high = _range(traj)
    # A density that a model has made slightly negative is still a density; the difference of two is not.
    share = 0.3 if traj.density_kind in ELECTRON_KINDS else 0.05
    signed = low < -share * max(high, -low)
    electrons = traj.density_kind in ELECTRON_KINDS and not signed
    numbers = traj.ds["numbers"].values.tolist() if "numbers" in traj.ds and "positions" in traj.ds else []
    meta: dict[str, Any] = {
        "n_frames": traj.n_frames,
        "n_samples": traj.n_samples,
        "shape": list(traj.grid.shape),
        "cell": traj.grid.cell.tolist(),
        "origin": [float(x) for x in traj.ds.attrs["origin"]],
        "numbers": numbers,
        "times": [float(f"{time:.9g}") for time in traj.time],
        "kind": traj.density_kind,
        "units": str(traj.density.attrs["units"]),
        "name": name or one_frame(traj, 0).formula,
        "signed": bool(signed),
        "n_electrons": traj.n_electrons if electrons else None,
        "range": [low, high],
        "periodic": True,
        "has_second": second is not None,
    }
    if second is not None:
        units = str(second.density.attrs["units"])
        meta |= {"second_name": field_label(second.density_kind, units), "second_range": list(_range(second))}
    return meta


def _range(traj: DensityTrajectory) -> tuple[float, float]:
    """Smallest and largest value of a few frames spread over the trajectory."""
    low, high = np.inf, -np.inf
    for index in np.unique(np.linspace(0, traj.n_frames - 1, _RANGE_FRAMES).round().astype(int)):
        values = traj.sample(0).frame(int(index))
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low, high


def _default_levels(frame: Frame, signed: bool) -> list[float]:
    if signed:
        size = float(np.quantile(np.abs(frame.values), 0.97))
        return [size]
    if frame.values.min() == frame.values.max():
        return [float(frame.values.min())]
    return default_levels(frame)


def _share_above(frame: Frame, level: float) -> float:
    share = float(frame.values[frame.values > level].sum() / frame.values.sum())
    return min(max(round(share, 4), 0.0001), 0.9999)


def _check_second(traj: DensityTrajectory, second: DensityTrajectory) -> None:
    if second.n_frames != traj.n_frames or not second.grid.matches(traj.grid):
        raise GridMismatchError(
            f"the second field must have the same cell, grid and frames: it has {second.n_frames} frames of "
            f"{second.grid.shape} points, the first {traj.n_frames} of {traj.grid.shape}. resample_grid and isel help."
        )
    if second.n_samples not in (1, traj.n_samples):
        raise GridMismatchError(f"the second field has {second.n_samples} samples, the first {traj.n_samples}")


def _check_state_names(state: Mapping[str, Any]) -> None:
    unknown = sorted(set(state) - {*_VIEW_STATE, "layout"})
    if unknown:
        raise ArgumentError(f"a view has no {', '.join(unknown)}; it has {', '.join(_VIEW_STATE)}")


def _one_of(name: str, value: str, known: Iterable[str]) -> str:
    known = tuple(known)
    if value not in known:
        raise ArgumentError(f"{name} must be one of {', '.join(known)}; got {value!r}")
    return value


def _finite_numbers(name: str, values: Any) -> list[float]:
    try:
        numbers = [float(x) for x in values]
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name} takes a list of numbers; got {values!r}") from error
    if not np.isfinite(numbers).all():
        raise ArgumentError(f"{name} must be finite; got {values!r}")
    return numbers


def _valid_slice(given: Any) -> dict[str, Any]:
    hint = 'a slice is {"hkl": [h, k, l], "position": p} with whole numbers, not all zero, and p in [0, 1)'
    if not isinstance(given, Mapping) or "hkl" not in given:
        raise ArgumentError(f"{hint}; got {given!r}")
    hkl = _finite_numbers("hkl", given["hkl"])
    position = float(given.get("position", 0.5))
    if len(hkl) != 3 or not any(hkl) or any(x != round(x) for x in hkl) or not np.isfinite(position):
        raise ArgumentError(f"{hint}; got {given!r}")
    return dict(given) | {"hkl": [int(x) for x in hkl], "position": position % 1.0}
