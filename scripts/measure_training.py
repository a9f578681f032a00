"""How fast a training step is: single precision, bf16 and torch.compile beside each other, both stages.

    python scripts/measure_training.py                           # rows for docs/performance.md
    python scripts/measure_training.py --variants 32 bf16        # without torch.compile, which takes a while to start
    python scripts/measure_training.py --preset paper --end-to-end
    python scripts/measure_training.py --variants --accuracy 200 # what bf16 costs in the validation figures

A step is forward, backward, clipping and optimiser on a batch that is at hand; the loader is measured by
measure_loader.py. Variants take turns, and the fastest of all rounds counts, so that other work on the machine
disturbs them alike. On a CPU one thread works and its processor time counts, which other work disturbs least; on a
GPU it is the time until the GPU is done. The share of the peak is that of the fastest matrix product measured here in
the same precision; floating point operations are those of convolutions and matrix products (torch's own counter).
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import resource
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.utils.flop_counter import FlopCounterMode

import edviz
from edviz.models.augmentation import Augmentation
from edviz.models.autoencoder import Autoencoder
from edviz.training.control import Requests
from edviz.training.data import load_block
from edviz.training.directory import RunDirectory
from edviz.training.loop import train_stage
from edviz.training.processes import Rows
from edviz.training.stages import AutoencoderStage, DiffusionStage, Stage, encode_copies

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "32-compiled": "32-true", "bf16-compiled": "bf16-mixed"}


def first_stage(config: edviz.TrainingConfig, traj: edviz.DensityTrajectory) -> AutoencoderStage:
    """The autoencoder's stage on a trajectory."""
    return AutoencoderStage(config, traj.grid, load_block(traj, "fit"), load_block(traj, "validation"))


def second_stage(
    config: edviz.TrainingConfig, traj: edviz.DensityTrajectory, autoencoder: Autoencoder
) -> DiffusionStage:
    """The diffusion's stage on the latents of an autoencoder."""
    autoencoder = copy.deepcopy(autoencoder).cpu().eval()
    banks = []
    for part in ("fit", "validation"):
        block = load_block(traj, part)
        with torch.no_grad():
            shape = autoencoder.encode(block[0][None]).shape[1:]
        banks.append(np.zeros((1, len(block), *shape), np.float16))
        encode_copies(autoencoder, block, Augmentation(traj.grid), 0, banks[-1], lambda done: None)
    return DiffusionStage(config, traj.grid, autoencoder, *banks, load_block(traj, "fit"), 1)


def stepper(stage: Stage, config: edviz.TrainingConfig, fabric: Fabric, compiled: bool) -> Callable[[int], None]:
    """A function that trains a copy of the stage's model by the batch of step 0 or 1."""
    stage = copy.copy(stage)
    model: torch.nn.Module = copy.deepcopy(stage.model)
    optimizer: Any = torch.optim.AdamW(model.parameters(), lr=1e-4)
    stage.model, optimizer = fabric.setup(torch.compile(model) if compiled else model, optimizer)
    rows = Rows(stage.batch)
    batches = [{name: x.to(fabric.device) for name, x in stage.draw(step, rows).items()} for step in range(2)]

    def train(step: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(stage.losses(step, batches[step], rows)["loss"])
        fabric.clip_gradients(stage.model, optimizer, max_norm=config.gradient_clip)
        optimizer.step()

    return train


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """What some work takes."""
    if device.type == "cpu":
        begun = time.process_time()
        work()
        return time.process_time() - begun
    torch.cuda.synchronize(device)
    begun = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of the fastest product of two square matrices."""
    best = 0.0
    for n in (512, 1024) if device.type == "cpu" else (4096, 8192, 16384):
        a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
        best = max(best, 2.0 * n**3 / min(seconds(lambda a=a, b=b: a @ b, device) for _ in range(5)))
    return best


def measure_steps(config: edviz.TrainingConfig, variants: list[str], device: str, rounds: int) -> None:
    """Print a row a stage and variant."""
    fabrics = {name: Fabric(accelerator=device, devices=1, precision=PRECISIONS[name]) for name in variants}
    where = next(iter(fabrics.values())).device
    types = {name: torch.bfloat16 if "bf16" in name else torch.float32 for name in variants}
    peaks = dict.fromkeys(types.values(), 0.0)
    print("| stage | variant | ms a step | speed | frames/s | TFLOP/s | share of peak | memory |\n" + "|---" * 8 + "|")
    traj = edviz.load_sample("lithium-800K").split("train")
    first = first_stage(config, traj)
    stages: list[Stage] = [first, second_stage(config, traj, first.model)]
    for stage in stages:
        # of so many steps of the diffusion, one also has the Jensen-Shannon term: step 0
        kinds = {1: 1.0} if stage.name == "autoencoder" else {0: 1.0, 1: config.diffusion_jsd_every - 1.0}
        best = {(name, step): float("inf") for name in variants for step in kinds}
        memory: dict[str, float] = {}
        steps: dict[str, Callable[[int], None]] = {}
        flops = 0.0
        for name in variants:
            if where.type == "cuda":
                torch.cuda.reset_peak_memory_stats(where)
                before = torch.cuda.memory_allocated(where)
            steps[name] = stepper(stage, config, fabrics[name], "compiled" in name)
            begun = time.perf_counter()
            for step in kinds:
                steps[name](step)
            if where.type == "cuda":
                memory[name] = float(torch.cuda.max_memory_allocated(where) - before)
            if "compiled" in name:
                print(f"  ({name}: {time.perf_counter() - begun:.0f} s to compile)")
            elif not flops:
                for step, share in kinds.items():
                    with FlopCounterMode(display=False) as counter:
                        steps[name](step)
                    flops += share * counter.get_total_flops() / sum(kinds.values())
        for _ in range(rounds):
            peaks |= {dtype: max(peak, matrix_peak(where, dtype)) for dtype, peak in peaks.items()}
            for (name, step), least in best.items():
                best[name, step] = min(least, seconds(lambda f=steps[name], s=step: f(s), where))
        for name in variants:
            mean = sum(share * best[name, step] for step, share in kinds.items()) / sum(kinds.values())
            first = sum(share * best[variants[0], step] for step, share in kinds.items()) / sum(kinds.values())
            print(
                f"| {stage.name} | {name} | {1e3 * mean:.3g} | {first / mean:.2f} | {stage.batch / mean:.3g} | "
                f"{flops / mean / 1e12:.3g} | {100 * flops / mean / peaks[types[name]]:.0f} % | "
                f"{f'{memory[name] / 2**30:.2f} GiB' if name in memory else '-'} |",
                flush=True,
            )
    print("measured peak: " + ", ".join(f"{dtype} {peak / 1e12:.3g} TFLOP/s" for dtype, peak in peaks.items()))
    if where.type == "cpu":
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"CPU, one thread, least processor time of {rounds} rounds; the process took {largest:.2f} GiB at most")
    else:
        print(f"{torch.cuda.get_device_name(where)}, least time of {rounds} rounds")


def measure_accuracy(device: str, steps: int, seeds: int, points: int) -> None:
    """Print validation figures after as many steps in single precision and in bf16, for several seeds."""
    traj = edviz.load_sample("lithium-800K").split("train").resample_grid((points,) * 3)
    figures: dict[tuple[str, str], list[float]] = {}

    def train(stage: Stage, config: edviz.TrainingConfig, name: str) -> Any:
        fabric = Fabric(accelerator=device, devices=1, precision=PRECISIONS[name])
        with tempfile.TemporaryDirectory() as folder:
            run = RunDirectory(folder)
            model = train_stage(stage, config, run, fabric, Requests(run, config))
        figures.setdefault((stage.name, name), []).append(stage.validate(model)[stage.figure])
        return model

    for seed in range(seeds):
        config = edviz.TrainingConfig(
            seed=seed, autoencoder_steps=steps, diffusion_steps=steps, fine_channels=16, coarse_channels=48,
            diffusion_channels=32, diffusion_blocks=2, average_decay=0.98, checkpoint_seconds=1e4,
            validate_every=10**6,
        )  # fmt: skip
        trained = [train(first_stage(config, traj), config, name) for name in ("32", "bf16")]
        for name in ("32", "bf16"):  # on the same latents
            train(second_stage(config, traj, trained[0]), config, name)
    for (stage_name, name), values in figures.items():
        shown = ", ".join(f"{value:.4g}" for value in values)
        print(f"{stage_name}, {name}: {shown} (seeds 0 to {seeds - 1}; mean {np.mean(values):.4g})")


def measure_whole_run(config: edviz.TrainingConfig, device: str) -> None:
    """Train to the end in a process of its own and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        run = edviz.train(edviz.load_sample("lithium-800K"), config, out=f"{folder}/run", device=device).wait()
        took = time.perf_counter() - begun
        metrics, memory = run.metrics(), run.status.get("memory_bytes", 0.0)
        print(f"whole run: {took / 60:.1f} min on {run.status['device']}, memory {memory / 2**30:.2f} GiB")
        for stage, rows in metrics.groupby("stage", sort=False):
            speed, waiting = rows["frames_per_second"].median(), 100 * rows["loader_share"].mean()
            figures = rows.filter(like="validation_").dropna(axis=1, how="all").ffill().iloc[-1].to_dict()
            print(
                f"  {stage}: {rows['step'].max()} steps in {rows['elapsed'].max() / 60:.1f} min, {speed:.3g} frames/s, "
                f"{waiting:.2f} % waiting for batches, " + ", ".join(f"{k} {v:.4g}" for k, v in figures.items())
            )


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="small", help="sizes of networks and batches")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--variants", nargs="*", default=list(PRECISIONS), choices=list(PRECISIONS))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--end-to-end", action="store_true", help="also train the preset to its end")
    parser.add_argument("--accuracy", type=int, default=0, metavar="STEPS", help="also compare validation figures")
    parser.add_argument("--seeds", type=int, default=3, help="of that comparison")
    parser.add_argument("--points", type=int, default=16, help="grid points an edge of that comparison")
    arguments = parser.parse_args()
    device = arguments.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    config = dataclasses.replace(edviz.TrainingConfig.preset(arguments.preset), augmented_copies=1)
    if device == "cpu":
        torch.set_num_threads(1)
    if arguments.variants:
        measure_steps(config, arguments.variants, device, arguments.rounds)
    if arguments.accuracy:
        measure_accuracy(device, arguments.accuracy, arguments.seeds, arguments.points)
    if arguments.end_to_end:
        measure_whole_run(edviz.TrainingConfig.preset(arguments.preset), device)


if __name__ == "__main__":
    main()
