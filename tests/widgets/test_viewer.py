"""The viewer without a page: its traits, its messages through a comm that records, its fallback picture."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edviz
from edviz.errors import ArgumentError, EdvizError, FrameIndexError, GridMismatchError, MissingDataError
from edviz.plotting.surfaces import level_from_fraction
from edviz.widgets import TrajectoryViewer, link
from edviz.widgets.encoding import decode

Make = Callable[..., edviz.DensityTrajectory]


def talk(viewer: TrajectoryViewer) -> list[tuple[dict, list[bytes]]]:
    """Record what the viewer sends from now on."""
    sent: list[tuple[dict, list[bytes]]] = []
    viewer.send = lambda content, buffers=None: sent.append((content, buffers or []))  # type: ignore[method-assign]
    return sent


def ask(viewer: TrajectoryViewer, **content: object) -> None:
    """A message of the page, as ipywidgets hands it over."""
    viewer._handle_custom_msg(content, [])
    viewer._server.join(10)


def orbital(make_trajectory: Make) -> edviz.DensityTrajectory:
    random = np.random.default_rng(3)
    field = random.normal(size=(2, 6, 5, 8))
    return make_trajectory(2, density=field, density_kind="orbital", time=[0.0, 1.0], positions=None, numbers=None,
                           velocities=None, forces=None, energy=None, temperature=None)  # fmt: skip


def test_view_is_a_method_of_every_trajectory(trajectory: edviz.DensityTrajectory) -> None:
    viewer = trajectory.view(frame=2)
    assert isinstance(viewer, TrajectoryViewer)
    assert viewer.frame == 2 and viewer.time == 23.0


def test_the_page_is_told_what_it_shows(trajectory: edviz.DensityTrajectory) -> None:
    meta = trajectory.view().meta
    assert meta["n_frames"] == 5 and meta["n_samples"] == 1 and meta["shape"] == [6, 5, 8]
    np.testing.assert_allclose(meta["cell"], trajectory.grid.cell)
    assert meta["times"] == [3.0, 13.0, 23.0, 33.0, 43.0]
    assert meta["numbers"] == [3, 3, 3, 3] and meta["n_electrons"] == 4 and not meta["signed"]
    assert meta["range"][0] == pytest.approx(trajectory.density.isel(time=[0, 2, 4]).values.min())
    assert meta["units"] == "e/angstrom^3" and meta["name"] == "Li₄"


def test_the_first_surface_encloses_half_of_the_valence_electrons(lithium: edviz.DensityTrajectory) -> None:
    viewer = lithium.view(frame=7)
    assert viewer.level == pytest.approx(level_from_fraction(lithium.frame(7), 0.5))
    assert viewer.fraction == pytest.approx(0.5, abs=2e-3)
    total = edviz.load_sample("lithium-800K", density="total").view()
    assert total.fraction == pytest.approx(0.8, abs=2e-3) and not total.show_atoms


def test_hello_is_answered_and_wishes_are_served(trajectory: edviz.DensityTrajectory) -> None:
    viewer = trajectory.view()
    sent = talk(viewer)
    ask(viewer, type="hello")
    assert sent[0][0] == {"type": "hello"}
    ask(viewer, type="want", epoch=1, frames=[[0, 3], [0, 1]])
    assert [(m["type"], m.get("frame")) for m, _ in sent[1:]] == [("frame", 3), ("frame", 1)]
    values = decode(sent[1][1][0], sent[1][0]["code"])
    np.testing.assert_allclose(values, trajectory.frame(3).ravel(), rtol=2**-11)


@pytest.mark.parametrize("message", [None, "text", {}, {"type": "nonsense"}, {"type": "want"}])
def test_messages_of_another_kind_are_passed_over(trajectory: edviz.DensityTrajectory, message: object) -> None:
    viewer = trajectory.view()
    sent = talk(viewer)
    viewer._handle_custom_msg(message, [])
    viewer._server.join(10)
    assert not sent


def test_closing_says_goodbye(trajectory: edviz.DensityTrajectory) -> None:
    viewer = trajectory.view()
    sent = talk(viewer)
    viewer.close()
    assert sent[-1][0] == {"type": "bye"}


def test_frames_may_count_from_the_end(trajectory: edviz.DensityTrajectory) -> None:
    viewer = trajectory.view(frame=-1)
    assert viewer.frame == 4
    viewer.time = 21.0
    assert viewer.frame == 2


def test_level_and_fraction_choose_how_the_surface_is_given(trajectory: edviz.DensityTrajectory) -> None:
    viewer = trajectory.view()
    viewer.level = 0.03
    assert viewer.levels == [0.03] and viewer.level_mode == "value"
    viewer.fraction = 0.25
    assert viewer.fractions == [0.25] and viewer.level_mode == "electrons"
    several = trajectory.view(level=(0.02, 0.04))
    assert several.levels == [0.02, 0.04]
    assert trajectory.view(fraction=0.7).level_mode == "electrons"


@pytest.mark.parametrize(
    ("trait", "value", "error"),
    [
        ("frame", 5, FrameIndexError),
        ("frame", -6, FrameIndexError),
        ("sample", 1, FrameIndexError),
        ("levels", [float("nan")], ArgumentError),
        ("levels", ["high"], ArgumentError),
        ("fractions", [1.0], ArgumentError),
        ("level_mode", "percent", ArgumentError),
        ("color_by", "second", MissingDataError),
        ("color_by", "time", ArgumentError),
        ("colormap", "jet", ArgumentError),
        ("opacity", 0.0, ArgumentError),
        ("opacity", 1.5, ArgumentError),
        ("speed", -1.0, ArgumentError),
        ("cache_mb", 0, ArgumentError),
        ("repeat", [0, 1, 1], ArgumentError),
        ("repeat", [1, 1], ArgumentError),
        ("shift", [0.5, 0.5], ArgumentError),
        ("slices", [{"hkl": [0, 0, 0], "position": 0.5}], ArgumentError),
        ("slices", [{"position": 0.5}], ArgumentError),
        ("slices", [{"hkl": [0.5, 0, 0]}], ArgumentError),
        ("camera", {"position": [0, 0, 1]}, ArgumentError),
        ("camera", {"position": [0, 0, 1], "target": [0, 0, 1], "up": [0, 1, 0]}, ArgumentError),
    ],
)
def test_what_the_data_do_not_allow_is_refused(
    trajectory: edviz.DensityTrajectory, trait: str, value: object, error: type[EdvizError]
) -> None:
    viewer = trajectory.view()
    before = getattr(viewer, trait)
    with pytest.raises(error):
        setattr(viewer, trait, value)
    assert getattr(viewer, trait) == before


def test_an_unknown_option_names_those_there_are(trajectory: edviz.DensityTrajectory) -> None:
    with pytest.raises(ArgumentError, match=r"isovalue.*show_atoms"):
        trajectory.view(isovalue=0.1)
    with pytest.raises(ArgumentError, match="either"):
        trajectory.view(level=0.1, fraction=0.5)
    with pytest.raises(FrameIndexError):
        trajectory.view(frame=99)


def test_positions_and_shifts_are_folded_into_the_cell(trajectory: edviz.DensityTrajectory) -> None:
    viewer = trajectory.view(shift=(0.25, -0.25, 1.5), slices=[{"hkl": (1, 1, 0), "position": 1.25}])
    assert viewer.shift == [0.25, 0.75, 0.5]
    assert viewer.slices == [{"hkl": [1, 1, 0], "position": 0.25}]


def test_signed_fields_have_two_lobes_and_no_electrons(make_trajectory: Make) -> None:
    viewer = orbital(make_trajectory).view()
    assert viewer.meta["signed"] and viewer.meta["n_electrons"] is None
    assert len(viewer.levels) == 1 and viewer.level > 0
    assert viewer.picture().levels == (-viewer.level, viewer.level)
    viewer.levels = [0.5, -0.25]
    assert viewer.picture().levels == (-0.25, 0.5)
    with pytest.raises(MissingDataError, match="levels"):
        viewer.fraction = 0.5
    assert viewer.level_mode == "value"


def test_a_density_with_some_negative_values_is_still_one(make_trajectory: Make) -> None:
    density = make_trajectory().density.values - 0.25 * make_trajectory().density.values.min()
    density[:, 0, 0, 0] = -0.1 * density.max()
    spoilt = make_trajectory(density=density, n_electrons=None)
    assert not spoilt.view().meta["signed"] and spoilt.view(fraction=0.5).level_mode == "electrons"


def test_a_second_field_must_fit(make_trajectory: Make) -> None:
    traj = make_trajectory()
    viewer = traj.view(second=make_trajectory(seed=1), color_by="second")
    assert viewer.meta["has_second"] and viewer.meta["second_range"][0] > 0
    with pytest.raises(GridMismatchError, match="second"):
        traj.view(second=make_trajectory(n_frames=3))
    with pytest.raises(GridMismatchError, match="second"):
        traj.view(second=make_trajectory(shape=(6, 6, 8)))


def test_a_cell_that_changes_is_refused_with_the_cure(make_trajectory: Make) -> None:
    cell = make_trajectory().grid.cell
    changing = make_trajectory(2, cell=np.stack([cell, 1.001 * cell]), time=[0.0, 1.0], n_electrons=4)
    with pytest.raises(GridMismatchError, match="changes in time"):
        changing.view()
    assert changing[1].view().meta["n_frames"] == 1


def test_links_are_shared_names(trajectory: edviz.DensityTrajectory) -> None:
    left, right, other = (trajectory.view() for _ in range(3))
    assert link(left, right) == left.link_id == right.link_id
    assert link(left, other) == other.link_id != right.link_id
    with pytest.raises(ArgumentError):
        link(left)
    with pytest.raises(ArgumentError):
        link(left, left)


def test_where_there_is_no_page_a_picture_stands_in(lithium: edviz.DensityTrajectory) -> None:
    viewer = lithium.view(frame=3)
    data, _ = viewer._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == viewer.model_id
    assert data["text/plain"] == repr(viewer) and "frame 3" in data["text/plain"]
    png = base64.b64decode(data["image/png"])
    assert len(png) < 200_000
    pixels = np.asarray(Image.open(BytesIO(png)).convert("L"), dtype=float)
    assert pixels.std() > 20
    assert np.abs(np.diff(pixels, axis=1)).mean() < 0.15 * pixels.std()  # a picture, not noise


def test_the_state_that_a_notebook_saves_is_small(lithium: edviz.DensityTrajectory) -> None:
    state = lithium.view().get_state()
    state.pop("layout")
    assert len(json.dumps(state)) < 60_000


def test_the_page_gets_its_module_from_the_kernel(trajectory: edviz.DensityTrajectory) -> None:
    viewer = trajectory.view()
    sent = talk(viewer)
    ask(viewer, type="module")
    content, buffers = sent[0]
    assert content == {"type": "module"} and b"three.js" in buffers[0]
    assert viewer.build == hashlib.sha256(buffers[0]).hexdigest()[:16]


def test_png_agrees_with_the_isosurface_picture(lumps: edviz.DensityTrajectory, tmp_path: Path) -> None:
    viewer = lumps.view(level=0.3, frame=1)
    path = viewer.to_png(tmp_path / "frame.png", window_size=(200, 150))
    picture = viewer.picture(window_size=(200, 150))
    assert picture.levels == (0.3,)
    assert path.read_bytes() == picture.png
    assert viewer.picture(0, fraction=0.5, level=None).levels != (0.3,)


def test_a_snapshot_is_written_when_the_page_answers(trajectory: edviz.DensityTrajectory, tmp_path: Path) -> None:
    viewer = trajectory.view()
    sent = talk(viewer)
    viewer.snapshot(tmp_path / "page.png")
    request = sent[-1][0]
    assert request["type"] == "snapshot" and not (tmp_path / "page.png").exists()
    viewer._handle_custom_msg({"type": "snapshot", "id": "another"}, [memoryview(b"no")])
    viewer._handle_custom_msg({"type": "snapshot", "id": request["id"]}, [memoryview(b"picture")])
    assert (tmp_path / "page.png").read_bytes() == b"picture"
    with pytest.raises(ArgumentError, match="PNG"):
        viewer.snapshot("page.jpg")


def test_lobes_are_both_drawn(make_trajectory: Make, tmp_path: Path) -> None:
    picture = orbital(make_trajectory).view().picture(window_size=(200, 150))
    assert picture.levels[0] == -picture.levels[1]
    pixels = np.asarray(Image.open(BytesIO(picture.png)).convert("RGB"), dtype=int)
    red, blue = pixels[..., 0] - pixels[..., 2], pixels[..., 2] - pixels[..., 0]
    assert (red > 60).sum() > 50 and (blue > 60).sum() > 50
