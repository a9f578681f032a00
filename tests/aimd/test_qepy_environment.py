"""What is said where the environment cannot be made; that it can be, every test of QE shows."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import edviz
from edviz.aimd import qepy_environment
from edviz.aimd.qepy_environment import VARIABLE, qepy_python
from edviz.errors import EngineError, WriteError


@pytest.fixture
def nothing_there(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path / "edviz" / "qepy-7.2.0"


def test_without_a_network_the_cure_is_said_and_nothing_passes_for_ready(nothing_there, monkeypatch, capsys):
    offline = {"INDEX_URL": "http://127.0.0.1:9/simple", "RETRIES": "0", "CONFIG_FILE": os.devnull}
    for name, value in {**offline, "EXTRA_INDEX_URL": "", "FIND_LINKS": ""}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(EngineError, match=r"(?s)No matching distribution .*python -m edviz\.aimd` where") as e:
        qepy_python()
    assert "Retrying" not in str(e.value) and f"{VARIABLE}=DIR" in str(e.value)
    assert not (nothing_there / "ready").exists()
    said = capsys.readouterr().err
    assert "setting up Quantum ESPRESSO" in said and "is ready" not in said


def test_a_cache_that_cannot_be_written_is_named_with_the_variable_to_set(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(WriteError, match=r"file/edviz/qepy.* Set XDG_CACHE_HOME"):
        qepy_python()
    with pytest.raises(WriteError, match=r"file/edviz/pseudopotentials.* Set XDG_CACHE_HOME"):
        edviz.aimd.pseudopotential("Li")


def test_a_python_that_has_no_wheels_is_said(nothing_there, monkeypatch):
    monkeypatch.setattr(qepy_environment, "_PYTHONS", ((3, 2),))
    with pytest.raises(EngineError, match=rf"Python 3\.9 to 3\.12.*set {VARIABLE}"):
        qepy_python()


def test_it_can_be_made_ahead_from_the_command_line(qepy):
    done = subprocess.run([sys.executable, "-m", "edviz.aimd"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and done.stdout.strip() == str(qepy_python())
