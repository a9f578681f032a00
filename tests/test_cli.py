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


def test_help_tells_what_a_trajectory_can_be():
    result = runner.invoke(app, ["evaluate", "--help"], env={"COLUMNS": "120"})
    assert result.exit_code == 0 and "sample:NAME" in result.output and "--html" in result.output


def test_errors_are_one_line_without_traceback(tmp_path):
    result = runner.invoke(app, ["info", str(tmp_path / "none.h5")])
    assert result.exit_code == 1
    assert "none.h5" in result.output and "Traceback" not in result.output
    result = runner.invoke(app, ["rollout", "helium", "sample:lithium-800K", str(tmp_path / "o.h5")])
    assert result.exit_code == 1 and "lithium-800K" in result.output
