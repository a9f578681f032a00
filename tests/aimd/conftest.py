"""The Quantum ESPRESSO environment: made on first use; where it cannot be made, tests that need it are skipped.

With EDVIZ_REQUIRE_QEPY set, as in .ci/run, they fail instead.
"""

from __future__ import annotations

import os

import pytest
from ase import Atoms

import edviz
from edviz.aimd.qepy_environment import qepy_python
from edviz.errors import EngineError, WriteError


@pytest.fixture(scope="session")
def qepy() -> None:
    """Ask for this where QE is needed."""
    try:
        qepy_python()
    except (EngineError, WriteError) as error:
        if os.environ.get("EDVIZ_REQUIRE_QEPY"):
            raise
        pytest.skip(f"no QEpy environment: {error}")


@pytest.fixture
def pair() -> Atoms:
    """Two Li atoms at the liquid's density, off any symmetric place: a step takes a twentieth of a second."""
    return edviz.aimd.liquid("Li", 2, 0.483, seed=3)
