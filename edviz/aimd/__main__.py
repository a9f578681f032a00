"""``python -m edviz.aimd``: set up Quantum ESPRESSO ahead of the first run, where there is a network."""

from __future__ import annotations

import sys

from edviz.aimd.qepy_environment import qepy_python
from edviz.errors import EdvizError

if __name__ == "__main__":
    try:
        print(qepy_python())
    except EdvizError as error:
        sys.exit(f"edviz: {error}")
