"""The environment in which QEpy runs: a virtual environment of its own, made once, in the user's cache folder.

QEpy 7.2.0 needs numpy below 2 and f90wrap 0.2.16 (with 0.3.0 its forces fail), so it cannot live beside edviz.
Its wheel carries the reference BLAS, which makes it 2.7 times slower than OpenBLAS. SciPy's wheel of this version
carries an OpenBLAS with the plain symbol names; it is installed for that alone and preloaded.

``python -m edviz.aimd`` makes it ahead of the first run, where there is a network.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from edviz.aimd.cache import cache_folder, made
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
    WriteError
        The folder cannot be written.
    """
    folder = qepy_folder()
    python = folder / "bin" / "python"
    if (folder / "ready").exists() and python.exists():
        return python
    made(folder)
    with open(folder / "lock", "w") as lock:
        with suppress(OSError):  # some network file systems have no locks
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
    _say(f"setting up Quantum ESPRESSO (QEpy) in {folder}, once; about 300 MB, a minute or two")
    python = _some_python()
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    environment["PIP_USER"] = "0"  # a user's default that pip refuses in a virtual environment
    for command in (
        [python, "-m", "venv", str(folder)],
        [*install, "--progress-bar=off", "--only-binary=:all:", *PACKAGES],
    ):
        code, lines = _follow(command, environment)
        if code:
            words = "\n".join([line for line in lines if "Retrying (Retry(" not in line][-8:])
            raise EngineError(
                f"the QEpy environment could not be made. `{' '.join(command)}` said:\n{words}\n"
                "It comes from a Python package index (PyPI, or where pip is set to look): without a network here, run "
                f"`python -m edviz.aimd` where there is one and the same {folder.parent}. Or make it "
                f"by hand (python3.11 -m venv DIR && DIR/bin/pip install {' '.join(PACKAGES)} && touch DIR/ready) and "
                f"set {VARIABLE}=DIR"
            )
    (folder / "ready").write_text(" ".join(PACKAGES) + "\n")
    _say("Quantum ESPRESSO is ready")


def _follow(command: list[str], environment: dict[str, str]) -> tuple[int, list[str]]:
    """Run a command and tell of downloads and installation; its exit status and what it said."""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        lines = []
        try:
            for line in process.stdout:
                lines.append(line.strip())
                if lines[-1].startswith(("Downloading ", "Installing ")):
                    _say(lines[-1])
        except BaseException:  # an interrupt
            process.kill()
            raise
    return process.returncode, [line for line in lines if line]


def _say(message: str) -> None:
    from tqdm import tqdm

    tqdm.write(f"edviz: {message}", file=sys.stderr)  # above a bar that may be there


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
