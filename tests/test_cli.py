"""The command line calls the functions and shows errors as one line."""

import json

import pytest
from typer.testing import CliRunner

import edviz
from edviz.cli import app

runner = CliRunner()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "li.h5"
    edviz.load_sample("lithium-800K").split("test")[:12].to_file(path)
    return path


def test_info_names_what_is_in_a_file(small):
    result = runner.invoke(app, ["info", str(small)])
    assert result.exit_code == 0
    assert "12 frames" in result.output and "density_kind" in result.output


def test_rollout_then_evaluate(small, tmp_path):
    out, card = tmp_path / "g.h5", tmp_path / "card.json"
    made = runner.invoke(app, ["rollout", "lithium-800K", str(small), str(out), "--frames", "13", "--seed", "1"])
    assert made.exit_code == 0, made.output
    assert len(edviz.open(out)) == 13
    page = tmp_path / "new" / "card.html"
    training = ("--training", "sample:lithium-800K:validation")
    scored = runner.invoke(app, ["evaluate", str(out), str(small), *training, "--json", str(card), "--html", str(page)])
    assert scored.exit_code == 0, scored.output
    assert "structure_factor" in scored.output
    assert json.loads(card.read_text())["rows"]["jsd"]["value"] > 0
    assert "how it was judged" in page.read_text(encoding="utf-8")


def test_a_rollout_goes_on_when_the_command_is_repeated(small, tmp_path, monkeypatch):
    from edviz.emulator import DensityEmulator

    out = str(tmp_path / "long.h5")
    command = ["rollout", "lithium-800K", str(small), out, "--frames", "46", "--save-every", "5", "--stat-every", "15"]
    original = DensityEmulator._next

    def stop(self, state, seed, frame, *more):
        if frame == 43:
            raise KeyboardInterrupt
        return original(self, state, seed, frame, *more)

    monkeypatch.setattr(DensityEmulator, "_next", stop)
    stopped = runner.invoke(app, command)
    assert stopped.exit_code == 130 and "same command goes on" in stopped.output
    assert len(edviz.open(out)) == 4
    monkeypatch.setattr(DensityEmulator, "_next", original)
    done = runner.invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "every 50 fs" in done.output and "stat_every" in done.output  # too few frames for tenths, it says
    assert len(edviz.open(out)) == 9
    other = runner.invoke(app, [*command, "--seed", "1"])
    assert other.exit_code == 1 and "seed (0 there, 1 here)" in other.output and "Traceback" not in other.output


def test_bundled_names_may_say_the_density(tmp_path):
    out = tmp_path / "total.h5"
    command = ["rollout", "lithium-800K:total", "sample:lithium-800K:total:test", str(out), "--frames", "1"]
    made = runner.invoke(app, command)
    assert made.exit_code == 0, made.output
    assert edviz.open(out).density_kind == "total" and edviz.open(out).n_electrons == 162
    for name in ("lithium-800K:valence", "lithium-800K"):
        mixed = runner.invoke(app, [command[0], name, *command[2:], "--overwrite"])
        assert mixed.exit_code == 1 and "total" in mixed.output
    unknown = runner.invoke(app, ["rollout", "lithium-800K:core", *command[2:], "--overwrite"])
    assert unknown.exit_code == 1 and "lithium-800K:core" in unknown.output
    info = runner.invoke(app, ["info", "sample:lithium-800K:valence:test"])
    assert info.exit_code == 0 and "127" in info.output


def test_help_tells_what_a_trajectory_can_be():
    result = runner.invoke(app, ["evaluate", "--help"], env={"COLUMNS": "120"})
    assert result.exit_code == 0 and "sample:NAME" in result.output and "--html" in result.output


def test_errors_are_one_line_without_traceback(tmp_path):
    result = runner.invoke(app, ["info", str(tmp_path / "none.h5")])
    assert result.exit_code == 1
    assert "none.h5" in result.output and "Traceback" not in result.output
    result = runner.invoke(app, ["rollout", "helium", "sample:lithium-800K", str(tmp_path / "o.h5")])
    assert result.exit_code == 1 and "lithium-800K" in result.output


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A short run, prepared by a job file."""
    folder = tmp_path_factory.mktemp("runs")
    edviz.load_sample("lithium-800K")[400:460].resample_grid((16, 16, 16)).to_file(folder / "li.h5")
    steps = {"autoencoder_steps": 4, "diffusion_steps": 4, "augmented_copies": 1, "autoencoder_batch": 2}
    sizes = {"fine_channels": 8, "coarse_channels": 16, "diffusion_channels": 16, "diffusion_blocks": 1}
    job = {"data": str(folder / "li.h5"), "out": str(folder / "li"), "device": "cpu", **steps, **sizes}
    (folder / "job.json").write_text(json.dumps(job))
    result = runner.invoke(app, ["train", str(folder / "job.json"), "--prepare"])
    assert result.exit_code == 0, result.output
    return folder


def test_runs_are_listed_resumed_shown_and_stopped(run_folder):
    listed = runner.invoke(app, ["runs", "list", str(run_folder)])
    assert listed.exit_code == 0 and "prepared" in listed.output and "li" in listed.output
    resumed = runner.invoke(app, ["runs", "resume", str(run_folder / "li")])
    assert resumed.exit_code == 0 and "process" in resumed.output
    assert edviz.TrainingRun(run_folder / "li").pid is not None
    stopped = runner.invoke(app, ["runs", "stop", str(run_folder / "li")])
    assert stopped.exit_code == 0 and ("stopped" in stopped.output or "finished" in stopped.output)
    done = runner.invoke(app, ["train", str(run_folder / "job.json")])  # the same job goes on
    assert done.exit_code == 0 and "emulator:" in done.output
    shown = runner.invoke(app, ["runs", "show", str(run_folder / "li")])
    assert shown.exit_code == 0 and "finished" in shown.output and "validation_nmae" in shown.output
    listed = runner.invoke(app, ["runs", "list", str(run_folder)])
    assert "finished" in listed.output and "nmae" in listed.output


def test_a_run_on_the_total_density_of_valence_data_is_prepared(run_folder):
    data, out = str(run_folder / "li.h5"), run_folder / "total"
    made = runner.invoke(app, ["train", data, str(out), "--preset", "tiny", "--density", "total", "--prepare"])
    assert made.exit_code == 0, made.output
    assert edviz.TrainingRun(out).directory.read_json("data.json")["density_kind"] == "total"
    again = runner.invoke(app, ["train", data, str(out), "--density", "total", "--prepare"])
    assert again.exit_code == 0 and "going on with it" in again.output
    sample = ["train", "sample:lithium-800K", str(run_folder / "no"), "--density", "all"]
    assert "choose" in runner.invoke(app, sample).output and not (run_folder / "no").exists()


def test_options_that_a_job_file_would_hide_are_refused(run_folder):
    for option, value in (("--density", "total"), ("--preset", "tiny"), ("--config", "c.json"), ("--device", "cpu")):
        result = runner.invoke(app, ["train", str(run_folder / "job.json"), option, value])
        assert result.exit_code == 1 and f"{option} has no effect beside a job file" in result.output


def test_runs_say_in_one_line_what_is_wrong(tmp_path):
    for command in (["runs", "show", str(tmp_path)], ["runs", "list", str(tmp_path / "none")]):
        result = runner.invoke(app, command)
        assert result.exit_code == 1 and "Traceback" not in result.output and str(tmp_path) in result.output
    assert "no runs" in runner.invoke(app, ["runs", "list", str(tmp_path)]).output
