"""Score what an emulator must beat: every baseline through `edviz.evaluate`, one table.

    python scripts/baselines.py --samples 4                            # all of them, then the table
    python scripts/baselines.py --samples 4 --only md dmd              # some of them
    python scripts/baselines.py --only                                 # the table alone, from what is there
    python scripts/baselines.py --only recipe --measure lead           # lead times alone
    python scripts/baselines.py --only recipe --measure lead --density total

Everything is made from the bundled lithium (10 fs): fitted on the training block, started from the first three frames
of the test block, scored on the test block. Core-seconds are `time.process_time` of the rollout, one thread. Lead
times are those of ensembles begun all over the test block.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.constraints import FixCom
from ase.md.langevin import Langevin

import edviz
from edviz.aimd.fitted_potential import FittedPotential, fit_potential
from edviz.analysis.forecast import (
    BASELINES,
    beats_climatology_until,
    extrapolate,
    forecast_skill,
    forecast_skill_over_starts,
    nmae,
)
from edviz.analysis.pseudo_atoms import PseudoAtoms, fit_pseudo_atoms
from edviz.grid import apply_symmetry
from edviz.models.linear_dynamics import LinearLatentDynamics
from edviz.models.regression import LatentRegression
from edviz.training.worker import computes_in_bf16

N_CONTEXT = 3
TEMPERATURE, FRICTION, MD_STEP = 800.0, 0.002, 2.0  # K, 1/fs, fs: those of the AIMD
LEAD_STARTS, LEAD_EVERY, LEAD_FRAMES, LEAD_SAMPLES = 10, 10, 30, 8  # ensembles begun 100 fs apart, 300 fs long
COPIES = 3  # of the training latents under random symmetries and shifts, for the deterministic model
ROWS = (
    "nmae",
    "jsd",
    "structure_factor",
    "intermediate_scattering",
    "lognormal_mean",
    "lognormal_std",
    "lognormal_skewness",
    "step",
    "c2st_logistic",
    "c2st_trees",
    "memory",
)


@dataclass
class Setting:
    """What every baseline gets."""

    training: edviz.DensityTrajectory
    test: edviz.DensityTrajectory
    minutes: float
    out: Path

    @property
    def density(self) -> str:
        """Which of the bundled emulators belongs to it."""
        return self.test.density_kind

    def times(self, first: int, n_frames: int) -> np.ndarray:
        """Clock of a rollout whose first frame is the test block's `first`, fs."""
        return self.test.time[first] + self.test.frame_interval * np.arange(n_frames)

    def trajectory(self, density: np.ndarray, first: int, source: str) -> edviz.DensityTrajectory:
        """(sample, time, a, b, c) as a rollout of the test block's frames before `first`."""
        return edviz.DensityTrajectory.from_arrays(
            density,
            self.test.grid.cell,
            time=self.times(first, density.shape[1]),
            numbers=self.test.ds["numbers"].values,
            density_kind=self.test.density_kind,
            n_electrons=self.test.n_electrons,
            source=source,
        )


Roll = Callable[[int, int, int, int], edviz.DensityTrajectory]


@dataclass
class Baseline:
    """How it rolls out, what forecasts one step (an emulator or the like), and what to say of it.

    `roll(first, n_frames, n_samples, seed)` begins with the test block's frame `first`, from the frames before it.
    """

    roll: Roll
    forecaster: Any = None
    note: str = ""
    draws: bool = True  # whether samples differ; if not there is one


def extrapolation(setting: Setting, degree: int) -> Baseline:
    """Polynomial through the last frames, to the rollout's end: it soon leaves everything physical."""

    def roll(first: int, n_frames: int, n_samples: int, seed: int) -> edviz.DensityTrajectory:
        frames = np.stack([setting.test.frame(i) for i in range(first - N_CONTEXT, first)])
        density = np.stack([extrapolate(frames, degree, lead) for lead in range(1, n_frames + 1)])[None]
        return setting.trajectory(density.astype(np.float32), first, "extrapolation")

    return Baseline(roll, draws=False)


def climatology(setting: Setting) -> Baseline:
    """Frames drawn from the training block, each on its own."""

    def roll(first: int, n_frames: int, n_samples: int, seed: int) -> edviz.DensityTrajectory:
        every = np.stack([setting.training.frame(i) for i in range(len(setting.training))])
        density = every[np.random.default_rng(seed).integers(len(every), size=(n_samples, n_frames))]
        return setting.trajectory(density, first, "training frames at random")

    return Baseline(roll)


class AtomsForecaster:
    """Potential + pseudo-atoms in the place of an emulator; it is shown true positions and velocities."""

    def __init__(self, potential: FittedPotential, pseudo: PseudoAtoms) -> None:
        self.potential, self.pseudo = potential, pseudo

    def run(
        self, positions: np.ndarray, velocities: np.ndarray, like: edviz.DensityTrajectory, n_frames: int, seed: int
    ) -> np.ndarray:
        """Langevin dynamics at the AIMD's temperature; (frame, atom, 3) angstrom, one every frame interval."""
        atoms = Atoms(like.ds["numbers"].values, positions=positions, cell=like.grid.cell, pbc=True)
        atoms.set_velocities(velocities / units.fs)
        atoms.set_constraint(FixCom())
        atoms.calc = self.potential
        dynamics = Langevin(
            atoms,
            MD_STEP * units.fs,
            temperature_K=TEMPERATURE,
            friction=FRICTION / units.fs,
            fixcm=False,
            rng=np.random.default_rng(seed),
        )
        kept = np.empty((n_frames, *positions.shape))
        for frame in range(n_frames):
            dynamics.run(round(like.frame_interval / MD_STEP))
            kept[frame] = atoms.positions
        return kept

    def predict_next(
        self, trajectory: edviz.DensityTrajectory, n_samples: int = 1, seed: int = 0
    ) -> edviz.DensityTrajectory:
        """One frame ahead of each frame's true atoms."""
        at, v = (trajectory.ds[name].values.astype(float) for name in ("positions", "velocities"))
        ahead = np.stack(
            [
                [self.run(at[i], v[i], trajectory, 1, seed + 1000 * s + i)[0] for i in range(len(at) - 1)]
                for s in range(n_samples)
            ]
        )
        return self.pseudo.dress(trajectory, ahead, trajectory.time[1:])

    def reconstruct(self, trajectory: edviz.DensityTrajectory) -> edviz.DensityTrajectory:
        """The superposition at the true positions: what the autoencoder's error is to be compared with."""
        return self.pseudo.dress(trajectory, trajectory.ds["positions"].values, trajectory.time)


def superposition(setting: Setting) -> Baseline:
    """Pseudo-atoms at the test block's true positions: no dynamics, only the shape of the density."""
    start = time.process_time()
    pseudo = fit_pseudo_atoms(setting.training[::4])
    fitting = time.process_time() - start

    def roll(*_: int) -> edviz.DensityTrajectory:
        return pseudo.dress(setting.test, setting.test.ds["positions"].values, setting.test.time)

    made = roll()
    error = float(nmae(made, setting.test).mean())
    note = f"nmae at the true positions {error:.2f} %; fitted in {fitting:.1f} core-seconds; {made.ds.attrs['history']}"
    return Baseline(roll, note=note, draws=False)


def molecular_dynamics(setting: Setting) -> Baseline:
    """Langevin dynamics of a potential fitted to the training block's forces, dressed with pseudo-atoms."""
    start = time.process_time()
    potential, error = fit_potential(setting.training)
    pseudo = fit_pseudo_atoms(setting.training[::4])
    fitting = time.process_time() - start
    forecaster = AtomsForecaster(potential, pseudo)

    def roll(first: int, n_frames: int, n_samples: int, seed: int) -> edviz.DensityTrajectory:
        at, v = (setting.test.ds[name].values[first - 1].astype(float) for name in ("positions", "velocities"))
        moved = [forecaster.run(at, v, setting.test, n_frames, 1000 * seed + s) for s in range(n_samples)]
        return pseudo.dress(setting.test, np.stack(moved), setting.times(first, n_frames))

    note = f"residual force {100 * error:.1f} % on the training block, fitted in {fitting:.1f} core-seconds"
    return Baseline(roll, forecaster, note)


def latents(emulator: edviz.DensityEmulator, setting: Setting, copies: int) -> list[torch.Tensor]:
    """The training block through the bundled autoencoder, and copies of it turned and shifted; cached."""
    path = setting.out / "latents.pt"
    kept: list[torch.Tensor] = torch.load(path) if path.exists() else []
    generator = np.random.default_rng(0)
    symmetries = setting.training.grid.symmetries()
    for copy in range(copies + 1):
        turn, shift = symmetries[generator.integers(len(symmetries))], generator.integers(32, size=3)
        if copy < len(kept):
            continue
        frames = np.stack([setting.training.frame(i) for i in range(len(setting.training))])
        if copy:
            frames = np.roll(apply_symmetry(frames, turn), tuple(shift), (1, 2, 3))
        values = torch.from_numpy(np.ascontiguousarray(frames, dtype=np.float32))
        with torch.no_grad():
            kept.append(torch.cat([emulator.autoencoder.encode(part) for part in values.split(8)]))
        torch.save(kept, path)
    return kept


def learned(
    emulator: edviz.DensityEmulator, setting: Setting, note: str, draws: bool = True, conserve_atoms: bool = False
) -> Baseline:
    """A baseline that is an emulator."""

    def roll(first: int, n_frames: int, n_samples: int, seed: int) -> edviz.DensityTrajectory:
        context = setting.test[max(0, first - emulator.n_context) : first]
        return emulator.rollout(context, n_frames, n_samples, seed=seed, conserve_atoms=conserve_atoms, progress=False)

    return Baseline(roll, emulator, note, draws)


def bundled(setting: Setting) -> Baseline:
    """The bundled emulator: what all the others are here for."""
    return learned(edviz.load_emulator("lithium-800K", setting.density), setting, "its defaults", conserve_atoms=True)


def linear(setting: Setting) -> Baseline:
    """Linear autoregression of the bundled autoencoder's latents, one matrix a wave vector, with its noise."""
    emulator = edviz.load_emulator("lithium-800K", setting.density)
    sequence = latents(emulator, setting, 0)[0]
    start = time.process_time()
    dynamics = LinearLatentDynamics(N_CONTEXT)
    radius = dynamics.fit(sequence)
    fitting = time.process_time() - start
    emulator.dynamics = dynamics  # type: ignore[assignment]
    note = f"largest eigenvalue {radius:.4f} before it is held; fitted in {fitting:.1f} core-seconds"
    return learned(emulator, setting, note)


def deterministic(setting: Setting) -> Baseline:
    """The diffusion's network as a regression, on the bundled autoencoder's latents."""
    emulator = edviz.load_emulator("lithium-800K", setting.density)
    torch.manual_seed(0)
    sequences = latents(emulator, setting, COPIES)
    path = setting.out / "regression.pt"
    arguments = {**emulator.dynamics.arguments, "n_context": N_CONTEXT, "context_dropout": 0.0}
    model = LatentRegression(**arguments)  # type: ignore[arg-type]
    if path.exists():
        state = torch.load(path)
        model.load_state_dict(state["model"])
        steps, used = state["steps"], state["seconds"]
    else:
        steps, used = train(model, sequences, 60 * setting.minutes)
        torch.save({"model": model.state_dict(), "steps": steps, "seconds": used}, path)
    emulator.dynamics = model.float().eval().requires_grad_(False)
    emulator.variance_relaxation = 0.0
    note = f"{steps} steps of batch 16 in {used / 60:.1f} core-minutes; no thermostat"
    return learned(emulator, setting, note, draws=False)


# Autoencoder, latent diffusion and scaled Jensen-Shannon term, as the source's abstract names them, and nothing that
# this package adds to make rollouts last. Sizes and weights are ours: the source's are not known to us.
SOURCE_RECIPE = edviz.TrainingConfig(
    autoencoder_steps=1700,
    spectral_weight=0.0,
    diffusion_steps=1400,
    max_context_noise=0.0,
    context_dropout=0.0,
    augmented_copies=4,
    decoder_steps=0,
    sampling_steps=8,
    context_noise=0.0,
    noise_gain=1.0,
    variance_relaxation=0.0,
)


def source_recipe(setting: Setting) -> Baseline:
    """The source's recipe as far as it is known, trained by `edviz.train` in about ten core-minutes."""
    folder, cost = setting.out / "recipe", setting.out / "recipe-seconds.json"
    if (folder / "config.json").exists():
        run = edviz.TrainingRun(folder).resume()
    else:
        run = edviz.train(edviz.load_sample("lithium-800K", density=setting.density), SOURCE_RECIPE, out=folder)
    run.wait(progress=False)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = json.loads(cost.read_text()) if cost.exists() else used.ru_utime + used.ru_stime
    cost.write_text(json.dumps(seconds))
    emulator = run.emulator()
    error = float(nmae(emulator.reconstruct(setting.test), setting.test).mean())
    config = run.config
    note = (
        f"{config.autoencoder_steps} + {config.diffusion_steps} steps in {seconds / 60:.1f} core-minutes; "
        f"autoencoder's nmae {error:.2f} %"
    )
    return learned(emulator, setting, note)


def train(model: LatentRegression, sequences: list[torch.Tensor], seconds: float) -> tuple[int, float]:
    """Adam with a one-cycle rate over the process time given; returns steps and core-seconds."""
    model.fit_scales(sequences[0])
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-3)
    windows = [(c, t) for c, z in enumerate(sequences) for t in range(N_CONTEXT, len(z))]
    start, steps = time.process_time(), 0
    while (used := time.process_time() - start) < seconds:
        share = used / seconds
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * min(1.0, 20 * share + 0.02) * (1 - share)
        chosen = [windows[i] for i in torch.randint(len(windows), (16,), generator=generator)]
        context = torch.stack([sequences[c][t - N_CONTEXT : t] for c, t in chosen])
        target = torch.stack([sequences[c][t] for c, t in chosen])
        with torch.autocast("cpu", torch.bfloat16, enabled=computes_in_bf16()):
            loss = model(context, target, generator).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        steps += 1
        if steps % 100 == 0:
            print(f"step {steps}, {used:.0f} core-seconds, loss {float(loss.detach()):.4f}", flush=True)
    return steps, time.process_time() - start


MAKERS: dict[str, tuple[str, Callable[[Setting], Baseline]]] = {
    **{name: (name, partial(extrapolation, degree=degree)) for name, degree in BASELINES.items()},
    "climatology": ("training frames at random", climatology),
    "superposition": ("pseudo-atoms, true positions", superposition),
    "deterministic": ("deterministic latent model", deterministic),
    "dmd": ("linear latent autoregression", linear),
    "md": ("fitted potential + pseudo-atoms", molecular_dynamics),
    "recipe": ("AE + latent diffusion + JSD, plain", source_recipe),
    "bundled": ("bundled emulator", bundled),
}
NO_LEAD = ("climatology", "superposition")  # they do not forecast


def score(name: str, baseline: Baseline, setting: Setting, n_frames: int, n_samples: int) -> None:
    """Roll out from the test block's start, evaluate, write out/NAME.json."""
    n_samples = n_samples if baseline.draws else 1
    start = time.process_time()
    rollout = baseline.roll(N_CONTEXT, n_frames, n_samples, 0)
    cost = (time.process_time() - start) / (len(rollout) * n_samples)
    print(f"{name}: made, {cost:.3g} core-seconds a frame; {baseline.note}", flush=True)
    card = edviz.evaluate(rollout, setting.test, setting.training, baseline.forecaster, progress=False)
    table = card.to_dataframe()
    found = {row: {c: table.loc[row, c] for c in ("value", "floor", "verdict")} for row in ROWS}
    if name in BASELINES:  # over the whole test block, not only the rollout's first frame
        one = card.baselines.sel(lead_time=setting.test.frame_interval).mean()
        found["nmae"] = {"value": float(one[name]), "floor": float(one["quadratic"]), "verdict": ""}
    entry = {
        "rows": found,
        "core_seconds": cost,
        "note": baseline.note,
        "frames": len(rollout),
        "samples": n_samples,
    }
    (setting.out / f"{name}.json").write_text(json.dumps(entry, indent=1, default=float))
    print(f"{name}: scored", flush=True)


def measure_lead(name: str, baseline: Baseline, setting: Setting) -> None:
    """Lead times up to which ensembles begun all over the test block beat climatology; out/NAME-lead.json."""
    n_samples = LEAD_SAMPLES if baseline.draws else 1
    firsts = N_CONTEXT + LEAD_EVERY * np.arange(LEAD_STARTS)
    ensembles = [baseline.roll(int(first), LEAD_FRAMES, n_samples, int(first)) for first in firsts]
    together = forecast_skill_over_starts(ensembles, setting.test, setting.training)
    each = [beats_climatology_until(forecast_skill(one, setting.test, setting.training)) for one in ensembles]
    errors = {
        kind: together["nmae"].sel(forecast=kind).values.tolist() for kind in ("rollout", "member", "climatology")
    }
    entry = {"lead_fs": beats_climatology_until(together), "each_fs": each, "samples": n_samples, "nmae": errors}
    (setting.out / f"{name}-lead.json").write_text(json.dumps(entry, indent=1))
    print(f"{name}: beats climatology until {entry['lead_fs']:g} fs; each start: {each}", flush=True)


def markdown(out: Path) -> str:
    """All entries that are there, as one table; pass and fail as the scorecard says."""
    entries = {
        name: json.loads((out / f"{name}.json").read_text()) for name in MAKERS if (out / f"{name}.json").exists()
    }
    lines = [
        "| baseline | lead, fs | core-s a frame | frames x samples | " + " | ".join(f"`{row}`" for row in ROWS) + " |",
        "|---|---|---|---|" + "---|" * len(ROWS),
    ]
    floors: list[str] = []
    for name, entry in entries.items():
        cells = []
        for row in ROWS:
            value, verdict = entry["rows"][row]["value"], entry["rows"][row]["verdict"]
            known = (
                value is not None
                and np.isfinite(value)
                and not (row == "nmae" and name in ("superposition", "climatology"))
            )
            cells.append(f"{value:.3g}{' ✓' if verdict == 'pass' else ''}" if known else "-")
        lead = "-"
        if (out / f"{name}-lead.json").exists():
            found = json.loads((out / f"{name}-lead.json").read_text())
            lead = f"{found['lead_fs']:.0f} ({min(found['each_fs']):.0f} to {max(found['each_fs']):.0f})"
        size = f"{entry['frames']} x {entry['samples']}"
        lines.append(f"| {MAKERS[name][0]} | {lead} | {entry['core_seconds']:.2g} | {size} | {' | '.join(cells)} |")
    for row in ROWS:  # the last entry that has one: a row without data has no floor either
        known_floors = [e["rows"][row]["floor"] for e in entries.values() if np.isfinite(e["rows"][row]["floor"])]
        floors.append(f"{known_floors[-1]:.3g}" if known_floors else "-")
    lines.append(f"| *floor* | | | | {' | '.join(floors)} |")
    notes = [f"- {MAKERS[name][0]}: {entry['note']}" for name, entry in entries.items() if entry["note"]]
    return "\n".join([*lines, "", *notes, ""])


def main() -> None:
    """Parse the command line; make, score, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/baselines"), help="total density: its subfolder total")
    parser.add_argument("--only", nargs="*", choices=tuple(MAKERS), default=list(MAKERS))
    parser.add_argument("--density", choices=("valence", "total"), default="valence")
    parser.add_argument("--measure", nargs="+", choices=("score", "lead"), default=["score", "lead"])
    parser.add_argument("--frames", type=int, default=1000, help="of the rollouts that are scored")
    parser.add_argument("--samples", type=int, default=1, help="of the rollouts that are scored")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="core-minutes of the deterministic model's training"
    )
    given = parser.parse_args()
    out = given.out if given.density == "valence" else given.out / given.density
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    traj = edviz.load_sample("lithium-800K", density=given.density)
    training, test = (edviz.DensityTrajectory(traj.split(part).ds.compute()) for part in ("train", "test"))
    setting = Setting(training, test, given.minutes, out)
    for name in given.only:
        baseline = MAKERS[name][1](setting)
        if "score" in given.measure:
            score(name, baseline, setting, given.frames, given.samples)
        if "lead" in given.measure and name not in NO_LEAD:
            measure_lead(name, baseline, setting)
    table = markdown(out)
    (out / "table.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
