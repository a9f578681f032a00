"""An emulator from the checkpoints of a run, finished or not, and the weights that another run starts from."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edviz.analysis.sites import count_holes, hole_level
from edviz.emulator import DensityEmulator, load_emulator
from edviz.errors import GridMismatchError, MissingDataError, SchemaError, TrainingError
from edviz.io import open as open_trajectory
from edviz.models.autoencoder import Autoencoder
from edviz.models.diffusion import LatentDynamics
from edviz.models.frozen_cores import FrozenCores
from edviz.models.value_map import ValueMap
from edviz.training.config import TrainingConfig
from edviz.training.data import stored_frames_per_step
from edviz.training.directory import RunDirectory

if TYPE_CHECKING:
    from edviz.trajectory import DensityTrajectory

__all__ = [
    "assemble_emulator",
    "fingerprint",
    "fitting_config",
    "open_data",
    "start_emulator",
    "training_part",
    "wanted_density",
]

_SHAPES = {
    "latent_channels": "autoencoder",
    "fine_channels": "autoencoder",
    "coarse_channels": "autoencoder",
    "logarithmic": "autoencoder",
    "n_context": "dynamics",
    "diffusion_channels": "dynamics",
    "diffusion_blocks": "dynamics",
    "max_context_noise": "dynamics",
    "context_dropout": "dynamics",
    "least_context": "dynamics",
}
"""Fields of the configuration that the weights fix, and whose arguments say so."""
_EXTENDS = ("n_context", "context_dropout", "least_context")
"""Those that may grow where the diffusion is trained on."""
_LOOKED_AT = 400
"""Frames that say at which level holes are atoms, at most."""
_DECODED = 64
"""Frames that are compared with what the autoencoder makes of them, at most."""
_COST = 1.01
"""Factor by which known cores, or a map of the decoder's values, may raise its error."""


def training_part(trajectory: DensityTrajectory) -> DensityTrajectory:
    """The training block; all of it where there are no split times."""
    return trajectory.split("train") if "train_end_fs" in trajectory.ds.attrs else trajectory


def fingerprint(trajectory: DensityTrajectory) -> str:
    """SHA-256 of the first and the last frame as they are stored: enough to tell other data from these."""
    ends = (trajectory.frame(0), trajectory.frame(len(trajectory) - 1))
    return hashlib.sha256(b"".join(np.ascontiguousarray(x, dtype=np.float32).tobytes() for x in ends)).hexdigest()


def open_data(run: RunDirectory) -> DensityTrajectory:
    """The trajectory that a run is trained on.

    Raises
    ------
    edviz.errors.TrainingError
        If the file does not hold what it held when the run was started.
    """
    data = run.read_json("data.json")
    path = Path(run.path, data["path"])
    trajectory = open_trajectory(path)
    stored = training_part(trajectory)
    if len(stored) != data["frames"] or data.get("sha256") not in (None, fingerprint(stored)):
        raise TrainingError(
            f"{path}: these are not the data that the run was started with ({len(stored)} training frames, then "
            f"{data['frames']}; or other first or last frames). Put the old file back, or start a new run with "
            f'start_from={str(run.path)!r}. If you know them to be the same, take "sha256" out of {run["data.json"]}.'
        )
    return training_part(wanted_density(trajectory, data.get("density"), path))


def wanted_density(trajectory: DensityTrajectory, density: str | None, name: str | Path) -> DensityTrajectory:
    """The trajectory with the density to train on: as it is, or with the frozen cores added, lazily.

    Parameters
    ----------
    trajectory : DensityTrajectory
        The data.
    density : {None, "valence", "total"}
        None takes what there is; "valence" makes sure of it; "total" adds the cores (`DensityTrajectory.with_core`).
    name : str or Path
        What errors call the data.

    Raises
    ------
    edviz.errors.TrainingError
        If there is no such choice, or the data hold another kind of density.
    edviz.errors.MissingDataError, edviz.errors.SchemaError
        If the cores cannot be added: no positions, an element without a tabulated core, 1s electrons already there.
    """
    if density is None:
        return trajectory
    if density not in ("valence", "total"):
        raise TrainingError(f'density = {density!r}: choose "valence" or "total".')
    kind = trajectory.density_kind
    if kind == density == "total":
        raise TrainingError(f"density = 'total': {name} holds a total density already. Leave the choice out.")
    if kind != "valence":
        raise TrainingError(f"density = {density!r}: {name} holds a {kind} density; this needs a valence density.")
    if density == "valence":
        return trajectory
    try:
        return trajectory.with_core()
    except (MissingDataError, SchemaError) as error:
        raise type(error)(f"{name}: {error}") from error


def assemble_emulator(run: RunDirectory, which: str = "last") -> DensityEmulator:
    """Build the emulator from a run's checkpoints.

    Parameters
    ----------
    run : RunDirectory
        The run.
    which : {"best", "last"}
        Weights of the diffusion with the lowest validation loss, or those of the last checkpoint.

    Raises
    ------
    edviz.errors.TrainingError
        If the diffusion stage has no checkpoint yet.
    """
    autoencoder = run.load_tensors("checkpoints/autoencoder.pt")
    dynamics = run.load_tensors(f"checkpoints/diffusion{'-best' if which == 'best' else ''}.pt")
    if autoencoder is None or not autoencoder["finished"] or dynamics is None:
        raise TrainingError(
            f"{run.path}: no emulator yet: the diffusion stage has no {'validated ' if which == 'best' else ''}"
            "checkpoint. Wait for it."
        )
    if autoencoder["early"]:
        autoencoder |= run.load_tensors("checkpoints/autoencoder-best.pt") or {}
    decoder = run.load_tensors("checkpoints/decoder.pt")
    if decoder is not None and decoder["finished"]:
        if decoder["early"]:
            decoder |= run.load_tensors("checkpoints/decoder-best.pt") or {}
        autoencoder = decoder  # the same encoder, a better decoder
    models = Autoencoder(**autoencoder["arguments"]), LatentDynamics(**dynamics["arguments"])
    for model, state in zip(models, (autoencoder, dynamics), strict=True):
        model.load_state_dict(state["average"])
    trajectory, config = open_data(run), TrainingConfig.read(run["config.json"])
    emulator = DensityEmulator.from_training(
        *models, trajectory,
        frame_interval=stored_frames_per_step(trajectory, config.frame_interval) * trajectory.frame_interval,
        sampling_steps=config.sampling_steps, context_noise=config.context_noise,
        noise_gain=config.noise_gain, variance_relaxation=config.variance_relaxation,
        provenance={
            "config": config.to_dict(), "data": run.read_json("data.json"), "metrics": _figures(run, dynamics["step"]),
            "weights": which, **_origin(run),
        },
    )  # fmt: skip
    _calibrate(emulator, training_part(trajectory))
    return emulator


def _origin(run: RunDirectory) -> dict[str, Any]:
    """How the weights that the run started from were made, if it started from any."""
    start = run.read_json("start/emulator.json")
    return {"start": start["provenance"]} if start else {}


def _calibrate(emulator: DensityEmulator, training: DensityTrajectory) -> None:
    """Set what depends on how the autoencoder decodes: known cores, the map of its values, the level of the holes."""
    emulator.frozen_cores = emulator.value_map = None
    frames = training[:: -(-len(training) // _DECODED)]
    decoded, true = emulator.reconstruct(frames).density.values, frames.density.values
    ours, theirs = (x / x.mean((1, 2, 3), keepdims=True, dtype=np.float64) for x in (decoded, true))
    cores = FrozenCores.fit(ours, theirs, training.grid)
    if cores is not None and _no_worse(written := cores(ours), ours, theirs):
        emulator.frozen_cores, ours = cores, written
    values = ValueMap.fit(ours, theirs)
    if _no_worse(values(ours), ours, theirs):
        emulator.value_map = values
    emulator.hole_level = _hole_level(training, decoded, true)
    if emulator.finds_atoms:
        counts = emulator.count_atoms(true)
        emulator.n_sites = int(counts[0]) if (counts == counts[0]).all() else None


def _no_worse(changed: NDArray[np.float64], decoded: NDArray[np.float64], true: NDArray[np.float64]) -> bool:
    """Whether a change of decoded densities raises their error by less than `_COST`."""
    return bool(np.abs(changed - true).mean() <= _COST * np.abs(decoded - true).mean())


def _hole_level(training: DensityTrajectory, decoded: NDArray[np.floating], true: NDArray[np.floating]) -> float | None:
    """Level that tells holes at atoms from others; None for a total density, or if the autoencoder does not keep it."""
    if training.density_kind == "total":
        return None
    level = hole_level(training.frame(i) for i in range(0, len(training), -(-len(training) // _LOOKED_AT)))
    if level is None or (count_holes(decoded, level) != count_holes(true, level)).any():
        return None
    return level


def _figures(run: RunDirectory, last_step: int) -> dict[str, float]:
    """The last validation figure of each kind up to the weights' step, and what each stage took."""
    figures: dict[str, float] = {}
    for record in run.read_metrics():
        if record["stage"] == "diffusion" and record["step"] > last_step:
            continue
        figures |= {key: value for key, value in record.items() if key.startswith("validation_")}
        figures[f"{record['stage']}_steps"] = record["step"]
        figures[f"{record['stage']}_seconds"] = record["elapsed"]
    return figures


def start_emulator(name: str | Path) -> DensityEmulator:
    """The emulator to start from: a bundled one by name, a saved one or a run by its folder.

    Raises
    ------
    edviz.errors.TrainingError
        If the run has no weights yet.
    edviz.errors.UnknownSampleError
        If there is neither such a name nor such a folder.
    """
    run = RunDirectory(Path(name))
    if run.exists:
        return assemble_emulator(run)
    return load_emulator(name)


def fitting_config(config: TrainingConfig, emulator: DensityEmulator, trajectory: DensityTrajectory) -> TrainingConfig:
    """The configuration with the sizes that the weights to start from have.

    A diffusion that is trained on may learn to see more past frames, or cut contexts, than it did.

    Raises
    ------
    edviz.errors.TrainingError
        If it asks for other sizes.
    edviz.errors.GridMismatchError
        If the data are another kind of density.
    """
    if trajectory.density_kind != emulator.density_kind:
        raise GridMismatchError(
            f"start_from: those weights are for a {emulator.density_kind} density, the data hold a "
            f"{trajectory.density_kind} one. Start from an emulator of that kind."
        )
    arguments: dict[str, dict[str, Any]] = {
        "autoencoder": emulator.autoencoder.arguments,
        "dynamics": emulator.dynamics.arguments,
    }
    sizes: dict[str, Any] = {}
    learns = config.stage_steps("diffusion", 1) > 0
    defaults = {spec.name: spec.default for spec in dataclasses.fields(TrainingConfig)}
    for name, part in _SHAPES.items():
        sizes[name] = arguments[part][name.removeprefix("diffusion_")]
        asked = getattr(config, name)
        if name in _EXTENDS and sizes[name] < asked != defaults[name] and learns:
            sizes[name] = asked
        elif asked not in (defaults[name], sizes[name]):
            raise TrainingError(
                f"TrainingConfig.{name} = {asked}, but the weights that start_from names have {sizes[name]}: "
                "leave that field out, or start from random weights."
            )
    return dataclasses.replace(config, **sizes)
