"""Tutorial 06 needs Quantum ESPRESSO: where its environment cannot be made, it is skipped with the reason.

With EDVIZ_REQUIRE_QEPY set, as in .ci/run, it fails instead.
"""

from __future__ import annotations

import os

import pytest

from edviz.aimd.qepy_environment import qepy_python
from edviz.errors import EngineError, WriteError


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip with a reason, or leave alone."""
    wanting = [item for item in items if item.path.name.startswith("06_")]
    if not wanting or os.environ.get("EDVIZ_REQUIRE_QEPY"):
        return
    try:
        qepy_python()
    except (EngineError, WriteError) as error:
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason=f"no QEpy environment: {error}"))
