"""pw.x is needed for most of these; where it is missing they are skipped. What needs no program is tested always."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from edviz.aimd.espresso_engine import EspressoEngine
from edviz.aimd.qepy_engine import QEpyEngine
from edviz.errors import ArgumentError, EngineError, MissingDependencyError

pw = pytest.mark.skipif(shutil.which("pw.x") is None, reason="no pw.x on the PATH (apt install quantum-espresso)")
CUTOFF = 8.0


@pw
@pytest.mark.parametrize("kpoints", ["mean", "gamma", (2, 1, 1)])
def test_pw_gives_what_qepy_gives(qepy, pair, kpoints):
    """The same theory by another route: other version, file for the density, output for energy and forces."""
    results = []
    for kind in (QEpyEngine, EspressoEngine):
        engine = kind(cutoff=CUTOFF, tolerance=1e-11, kpoints=kpoints)
        engine.with_stress = True
        engine.start(pair)
        engine.compute(pair.positions)
        results.append(engine.compute(pair.positions + np.array([[0.05, 0, -0.05], [0, 0, 0]])))
        engine.close()
    one, other = results
    assert other.energy == pytest.approx(one.energy, abs=1e-5)
    assert other.forces == pytest.approx(one.forces, abs=1e-4)
    assert other.density == pytest.approx(one.density, abs=1e-5)
    assert other.stress == pytest.approx(one.stress, abs=1e-5)
    assert np.abs(one.forces).max() > 0.1


@pw
def test_errors_of_pw_are_quoted(pair):
    engine = EspressoEngine(cutoff=CUTOFF)
    engine.start(pair)
    (engine._folder / "0.UPF").write_text("nothing")
    with pytest.raises(EngineError, match=r"0\.UPF not readable|Error in routine"):
        engine.compute(pair.positions)
    engine.close()


def test_input_holds_the_settings(pair, tmp_path):
    program = tmp_path / "pw.x"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    engine = EspressoEngine(cutoff=9.5, electron_temperature=1000, command=str(program))
    engine.start(pair)
    with pytest.raises(EngineError, match=r"pw\.x failed"):
        engine.compute(pair.positions)
    text = (engine._folder / "espresso.pwi").read_text()
    folder = engine._folder
    engine.close()
    assert not folder.exists()
    lines = {line.split("=")[0].strip(): line.split("=")[1].strip() for line in text.splitlines() if "=" in line}
    assert float(lines["ecutwfc"]) == 9.5
    assert float(lines["degauss"]) == pytest.approx(1000 * 8.617333262e-5 / 13.605693122994)
    assert lines["smearing"] == "'fd'"
    assert "0.25" in text.split("K_POINTS crystal")[1]


def test_what_is_missing_is_said(pair):
    with pytest.raises(MissingDependencyError, match="apt install quantum-espresso"):
        EspressoEngine(command="no-such-pw.x").prepare(pair)
    with pytest.raises(ArgumentError, match=r"command starts pw\.x"):
        EspressoEngine(threads=2)
    with pytest.raises(EngineError, match="call start"):
        EspressoEngine().compute(pair.positions)
