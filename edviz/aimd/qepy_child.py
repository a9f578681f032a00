"""The child process that holds Quantum ESPRESSO: reads requests from standard input, answers on standard output.

It runs in the QEpy environment, not in edviz's: it imports numpy, qepy and the file wire.py beside it, nothing
else. QE writes to standard output as it likes, so that goes to pw.out; QE's fatal errors end the process and
leave a file CRASH, which the parent quotes. QEpy's units are bohr and Rydberg; the parent converts.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer requests until the pipe closes. Then the parent was killed: else it ends us and removes this folder."""
    try:
        _serve()
    except (EOFError, BrokenPipeError):
        if Path.cwd().name.startswith("edviz-qe-"):  # made for us by QEpyEngine, and nothing else
            shutil.rmtree(Path.cwd(), ignore_errors=True)


def _serve() -> None:
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    log = os.open("pw.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    wire = _wire()

    try:
        from qepy.driver import Driver

        _plan_without_a_clock()
    except Exception as error:
        wire.send(
            answers, {"error": f"QEpy cannot be imported: {error}; delete its environment and edviz makes it anew"}
        )
        return
    driver: Any = None
    while True:
        message, arrays = wire.receive(requests)
        try:
            if message["do"] == "start":
                driver = Driver(message["input"])
                wire.send(answers, {})
            elif message["do"] == "compute":
                if "positions" in arrays:
                    driver.update_ions(positions=arrays["positions"])
                driver.scf()
                if not driver.qepy_modules.control_flags.get_conv_elec():
                    n = int(driver.get_scf_steps())
                    wire.send(answers, {"error": f"no self-consistency after {n} iterations"})
                    continue
                shape = tuple(int(n) for n in driver.get_number_of_grid_points())
                forces = driver.get_forces()
                wire.send(
                    answers,
                    {"energy": float(driver.get_energy()), "iterations": int(driver.get_scf_steps())},
                    forces=forces,
                    density=driver.get_density()[:, 0].reshape(shape, order="F"),
                    **({"stress": driver.get_stress()} if message["stress"] else {}),
                )
        except BrokenPipeError:
            raise
        except Exception as error:
            wire.send(answers, {"error": f"{type(error).__name__}: {error}"})


def _plan_without_a_clock() -> None:
    """Have FFTW estimate its plans. QE lets it choose the fastest by trial, which is not the same one each time: forces
    differ in their last digit then, and a resumed run is not the uninterrupted one.
    """
    import qepy

    for library in (Path(qepy.__file__).parents[1] / "qepy.libs").glob("libfftw3-*.so*"):  # what the wheel carries
        ctypes.CDLL(str(library)).fftw_set_timelimit(ctypes.c_double(0.0))  # documented as: estimate, whatever is asked


def _wire() -> Any:
    spec = importlib.util.spec_from_file_location("wire", Path(__file__).with_name("wire.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
