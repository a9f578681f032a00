from __future__ import annotations

import os
import subprocess
import sys
import threading
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import edviz
from edviz.errors import ArgumentError, EdvizError, FrameIndexError, MissingDataError, RenderingError, WriteError
from edviz.plotting.isosurface import plot_isosurface
from edviz.plotting.surfaces import level_from_fraction

SMALL = (320, 240)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int)


def test_picture_is_a_picture(lumps, tmp_path):
    picture = lumps.plot_isosurface(window_size=SMALL, filename=tmp_path / "a.png")
    image = pixels(picture.png)
    assert image.shape == (240, 320, 3)
    assert (image[:5, -5:] == 255).all()  # white paper
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 1000
    ink = (image < 250).any(axis=-1)
    assert 0.1 < ink.mean() < 0.8
    assert (tmp_path / "a.png").read_bytes() == picture.png == picture._repr_png_()


def test_nothing_touches_the_edge_of_the_picture(lumps):
    """Camera, title and colour bar leave a margin, whatever the shape of cell and window."""
    for size in [(480, 360), (360, 480)]:
        image = pixels(lumps.plot_isosurface(window_size=size).png)
        border = np.concatenate([*image[[0, 1, -2, -1]], *image.swapaxes(0, 1)[[0, 1, -2, -1]]])
        assert (border > 250).all()


def test_default_level_encloses_half_of_a_valence_density_and_more_of_a_total_one(lumps):
    picture = lumps.plot_isosurface(1, window_size=SMALL)
    assert picture.levels[0] == level_from_fraction(lumps.frame(1).astype(float), 0.5)
    assert "50 % of the electrons" in repr(picture)
    assert "t = 10 fs" in repr(picture)
    total = edviz.DensityTrajectory(lumps.ds.assign_attrs(density_kind="total"))
    assert total.plot_isosurface(window_size=SMALL).levels[0] == level_from_fraction(lumps.frame(0).astype(float), 0.8)


def test_several_levels_are_nested_and_sorted(lumps):
    picture = lumps.plot_isosurface(level=[0.3, 0.1], window_size=SMALL)
    assert picture.levels == (0.1, 0.3)
    assert picture.surfaces[0].area > picture.surfaces[1].area
    assert not any(surface.capped for surface in picture.surfaces)
    assert len(np.unique(pixels(picture.png).reshape(-1, 3), axis=0)) > 1000


def test_colour_atoms_and_cell_change_what_is_drawn(lumps):
    plain = {"window_size": SMALL, "title": "", "legend": False, "colorbar": False}
    bare = pixels(lumps.plot_isosurface(atoms=False, cell=False, color="#ff0000", **plain).png)
    red = (bare[..., 0] > bare[..., 2] + 40).sum()
    assert red > 1000
    for change in ({"cell": True}, {"atoms": True}):
        other = lumps.plot_isosurface(**({"atoms": False, "cell": False, "color": "#ff0000"} | change), **plain)
        assert np.abs(pixels(other.png) - bare).max() > 50


def test_holes_are_drawn_below_a_level(lumps):
    picture = lumps.plot_isosurface(level=0.03, inside="below", window_size=SMALL)
    volume = abs(np.linalg.det(lumps.grid.cell))
    below = (lumps.frame(0) < 0.03).mean()
    assert picture.surfaces[0].volume / volume == pytest.approx(below, abs=0.02)


def test_axis_order_and_sides_are_right():
    """A lump near the far end of a is drawn to the right; near the top of c, high up; far along b, behind (smaller)."""
    cell = np.diag([8.0, 8.0, 8.0])
    axes = np.stack(np.meshgrid(*[np.arange(16) / 16] * 3, indexing="ij"), axis=-1)
    found = {}
    for name, centre in {
        "a": (0.8, 0.5, 0.5),
        "b": (0.5, 0.8, 0.5),
        "c": (0.5, 0.5, 0.8),
        "o": (0.5, 0.5, 0.5),
    }.items():
        density = np.exp(-(((axes - centre) @ cell) ** 2).sum(-1)) + 1e-6
        traj = edviz.DensityTrajectory.from_arrays(density, cell)
        picture = traj.plot_isosurface(
            fraction=0.9, window_size=SMALL, cell=False, color="red", title="", legend=False, view=(0, -1, 0.2)
        )
        image = pixels(picture.png)
        rows, columns = np.nonzero(image[..., 0] > image[..., 2] + 40)
        found[name] = (columns.mean(), rows.mean(), len(rows))
    assert found["a"][0] > found["o"][0] + 20
    assert found["c"][1] < found["o"][1] - 20
    assert found["b"][2] < 0.98 * found["o"][2]


def test_samples_of_an_ensemble_are_told_apart(make_trajectory):
    ensemble = make_trajectory(n_samples=2, positions=None, velocities=None, forces=None)
    first, second = (plot_isosurface(ensemble, 0, sample=i, window_size=SMALL) for i in (0, 1))
    assert first.levels != second.levels
    assert first.levels == plot_isosurface(ensemble.sample(0), window_size=SMALL).levels
    with pytest.raises(FrameIndexError, match="samples 0 to 1"):
        plot_isosurface(ensemble, 0, sample=2)


def test_a_dataset_is_as_good_as_a_trajectory(lumps):
    assert plot_isosurface(lumps.ds, window_size=SMALL).levels == lumps.plot_isosurface(window_size=SMALL).levels


@pytest.mark.parametrize("frame", [2, -3])
def test_a_frame_that_is_not_there_names_those_that_are(lumps, frame):
    with pytest.raises(IndexError, match=r"frames 0 to 1 \(0 to 10 fs\)") as caught:
        lumps.plot_isosurface(frame)
    assert isinstance(caught.value, EdvizError)


def test_wrong_arguments_are_refused_before_anything_is_drawn(lumps, tmp_path):
    with pytest.raises(ArgumentError, match=r"frame 1 lies between 0\.\d+ and 0\.\d+ e/angstrom\^3"):
        lumps.plot_isosurface(1, level=5.0)
    with pytest.raises(ArgumentError, match="not both"):
        lumps.plot_isosurface(level=0.1, fraction=0.5)
    with pytest.raises(ArgumentError, match="1 or 2 colours"):
        lumps.plot_isosurface(level=[0.1, 0.2], color=["red", "blue", "green"])
    with pytest.raises(ArgumentError, match=r"\.png"):
        lumps.plot_isosurface(filename=tmp_path / "a.jpg")
    elf = edviz.DensityTrajectory.from_arrays(np.random.default_rng(0).random((4, 4, 4)), np.eye(3), density_kind="elf")
    with pytest.raises(MissingDataError, match="give a level"):
        elf.plot_isosurface(fraction=0.5)
    assert elf.plot_isosurface(window_size=SMALL).levels[0] == pytest.approx(
        (elf.frame(0).min() + elf.frame(0).max()) / 2
    )


def test_a_picture_that_cannot_be_written_says_where(lumps, tmp_path):
    with pytest.raises(WriteError, match="nowhere"):
        lumps.plot_isosurface(window_size=SMALL).save(tmp_path / "nowhere" / "a.png")


def test_other_threads_are_refused_because_opengl_would_corrupt_the_picture(lumps):
    caught: list[BaseException] = []

    def callback() -> None:
        try:
            lumps.plot_isosurface(window_size=SMALL)
        except RenderingError as error:
            caught.append(error)

    thread = threading.Thread(target=callback)
    thread.start()
    thread.join()
    assert len(caught) == 1
    assert "main thread" in str(caught[0])


def test_plotter_can_be_changed_and_rendered_again(lumps):
    picture = lumps.plot_isosurface(window_size=SMALL)
    plotter = picture.plotter()
    plotter.set_background("black")
    image = plotter.screenshot(return_img=True)
    plotter.close()
    assert image.shape == (240, 320, 3)
    assert image[0, -1].max() == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays are set by variables on Linux only")
def test_plain_script_without_display_is_silent_and_leaves_the_environment_alone(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, numpy as np, edviz\n"
        "x = np.cos(2 * np.pi * np.arange(12) / 12)\n"
        "density = 2 + x[:, None, None] + x[None, :, None] + 0 * x\n"
        "traj = edviz.DensityTrajectory.from_arrays(density, 4 * np.eye(3))\n"
        "before = dict(os.environ)\n"
        f"picture = traj.plot_isosurface(window_size=(160, 120), filename={str(tmp_path / 'a.png')!r})\n"
        "assert dict(os.environ) == before\n"
        "try:\n    picture.show()\nexcept edviz.errors.RenderingError as error:\n    print(error)\n"
    )
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "VTK_DEFAULT_OPENGL_WINDOW")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run([sys.executable, "-W", "error", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "no display" in done.stdout
    assert pixels((tmp_path / "a.png").read_bytes()).std() > 5


def test_notebook_shows_a_static_png_without_warnings(tmp_path):
    """In a real kernel: the value of a cell is an image/png, and nothing is written to stderr."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                "import numpy as np, edviz\n"
                "x = np.cos(2 * np.pi * np.arange(12) / 12)\n"
                "density = 2 + x[:, None, None] + x[None, :, None] + 0 * x\n"
                "edviz.DensityTrajectory.from_arrays(density, 4 * np.eye(3)).plot_isosurface(window_size=(160, 120))"
            )
        ]
    )
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = notebook.cells[0].outputs
    assert [output.output_type for output in outputs] == ["execute_result"], outputs
    assert set(outputs[0].data) == {"image/png", "text/plain"}
