"""Core-seconds (user + system, child processes too) of a molecular-dynamics step with each engine that runs here.

    python scripts/measure_engines.py --atoms 8 dftpy qepy espresso gpaw

Liquid lithium at 800 K, steps of 2 fs. Left out of the mean are the first steps: a cold start, and until the
engine has something to extrapolate from.
"""

from __future__ import annotations

import argparse
import os

import numpy as np
from ase import units
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

import edviz
from edviz.aimd.engine import EngineCalculator
from edviz.aimd.engines import engine_of
from edviz.errors import EdvizError


def core_seconds(engine: object) -> float:
    """User + system time of this process, its ended children, and the engine's living one."""
    used = os.times()
    total = used.user + used.system + used.children_user + used.children_system
    pid = getattr(engine, "pid", None)
    if pid is not None:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def main() -> None:
    """Measure and print a line an engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="+")
    parser.add_argument("--atoms", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=4)
    parser.add_argument("--timestep", type=float, default=2.0)
    options = parser.parse_args()
    for name in options.engines:
        atoms = edviz.aimd.liquid("Li", options.atoms, 0.483, seed=1)
        thermalize_momenta(atoms, temperature_K=800, rng=np.random.default_rng(1))
        engine = engine_of(name, 800.0, None)
        try:
            began = core_seconds(engine)
            engine.prepare(atoms)
            engine.start(atoms)
            atoms.calc = EngineCalculator(engine)
            mover = VelocityVerlet(atoms, options.timestep * units.fs)
            atoms.get_forces()
            cold = core_seconds(engine) - began
            mover.run(options.warm_up)
            began = core_seconds(engine)
            mover.run(options.steps)
            step = (core_seconds(engine) - began) / options.steps
        except EdvizError as error:
            print(f"{name}: {error}", flush=True)
            continue
        finally:
            engine.close()
        costs = f"cold start {cold:.2f}, a step {step:.3f}, an fs {step / options.timestep:.3f} core-seconds"
        print(f"{name}, {options.atoms} atoms: {costs}", flush=True)


if __name__ == "__main__":
    main()
