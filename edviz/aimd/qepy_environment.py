"""The environment in which QEpy runs: a virtual environment of its own, made once, in the user's cache folder.

QEpy 7.2.0 needs numpy below 2 and f90wrap 0.2.16 (with 0.3.0 its forces fail), so it cannot live beside edviz.
Its wheel carries the reference BLAS, which makes it 2.7 times slower than OpenBLAS. SciPy's wheel of this version
carries an OpenBLAS with the plain symbol names; it is installed for that alone and preloaded.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from edviz.aimd.cache import cache_folder
from edviz.errors import EngineError

__all__ = ["PACKAGES", "VARIABLE", "environment_variables", "qepy_folder", "qepy_python"]

#: Environment variable that names a folder to use instead.
VARIABLE = "EDVIZ_QEPY_ENV"
PACKAGES = ("numpy==1.26.4", "qepy==7.2.0", "f90wrap==0.2.16", "scipy==1.11.4")
_PYTHONS = ((3, 11), (3, 12), (3, 10), (3, 9))  # for which these have wheels


def qepy_folder() -> Path:
    """Where the environment is, or will be."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen).expanduser() if chosen else cache_folder() / "qepy-7.2.0"


def qepy_python() -> Path:
    """The Python of the environment; makes it when it is not there (about 300 MB, a minute or two).

    Raises
    ------
    EngineError
        There is no Python from 3.9 to 3.12, or pip cannot install; with pip's words and the commands to type.
    """
    folder = qepy_folder()
    python = folder / "bin" / "python"
    if (folder / "ready").exists() and python.exists():
        return python
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two notebooks that start at once make it once
        if not (folder / "ready").exists():
            _make(folder)
    return python


def environment_variables(threads: int = 1) -> dict[str, str]:
    """The variables the child runs with: its own packages only, and OpenBLAS in front of the bundled BLAS."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "VIRTUAL_ENV"}
    n = str(threads)
    kept |= {"OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n}
    found = sorted(qepy_folder().glob("lib/python3*/site-packages/scipy.libs/libopenblasp-*.so"))
    if found:
        kept["LD_PRELOAD"] = str(found[0])
        kept["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [str(found[0].parent), kept.get("LD_LIBRARY_PATH")]))
    return kept


def _make(folder: Path) -> None:
    print(f"edviz: setting up Quantum ESPRESSO (QEpy) in {folder}, once; about 300 MB", file=sys.stderr, flush=True)
    python = _some_python()
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    for command in ([python, "-m", "venv", str(folder)], [*pip, "--only-binary=:all:", *PACKAGES]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            words = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
            raise EngineError(
                f"the QEpy environment could not be made. `{' '.join(command)}` said:\n{words}\n"
                f"Make one by hand (python3.11 -m venv DIR && DIR/bin/pip install {' '.join(PACKAGES)} && touch "
                f"DIR/ready) and set {VARIABLE}=DIR"
            )
    (folder / "ready").write_text(" ".join(PACKAGES) + "\n")


def _some_python() -> str:
    if sys.version_info[:2] in _PYTHONS:
        return sys.executable
    for major, minor in _PYTHONS:
        found = shutil.which(f"python{major}.{minor}")
        if found and subprocess.run([found, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0:
            return found
    raise EngineError(
        f"QEpy has wheels for Python 3.9 to 3.12; this is {sys.version_info.major}.{sys.version_info.minor} and no "
        f"python3.11 is on the PATH. Install one, or set {VARIABLE} to an environment that has {', '.join(PACKAGES)}"
    )
