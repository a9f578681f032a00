"""The training loop of one stage, from top to bottom.

Lightning Fabric brings device, precision and (several processes) strategy; the loop is ours because every draw,
the learning rate and the averaged weights must be exactly what they were after a kill and a resume, which
`lightning.Trainer` does not restore in mid-epoch (measured). Fabric is also the part of lightning that does not
import torchvision, whose PyPI build fails to load beside a CPU build of torch.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric

from edviz.errors import TrainingError
from edviz.training.config import TrainingConfig
from edviz.training.control import Requests
from edviz.training.data import Prefetcher
from edviz.training.directory import RunDirectory
from edviz.training.processes import (
    OutOfMemoryElsewhere,
    Rows,
    agree,
    average_gradients,
    average_over_processes,
    exchange_faults,
    smaller_part,
)
from edviz.training.stages import Stage

__all__ = ["StopRequested", "train_stage"]

WARM_UP_STEPS = 50
REPORT_SECONDS = 1.0
PREVIEW_SECONDS = 5.0
"""Least time between previews, where checkpoints come faster."""
SMALLEST_FACTOR = 1e-3
"""A learning rate that was halved below this share of what was asked for will not be halved again."""


class StopRequested(Exception):
    """The user asked the run to stop; the checkpoint is written."""


def _learning_rate(step: int, progress: float) -> float:
    """Linear warm-up, then half a cosine down to 0.3 % of the peak."""
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (0.5 * (1 + math.cos(math.pi * min(1.0, progress))) + 0.003)


def _out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device or the machine has no memory left."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def memory_in_use(device: torch.device) -> float:
    """Bytes: of the GPU's memory, or resident on the CPU."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    try:
        with open("/proc/self/statm") as file:
            return float(file.read().split()[1]) * 4096
    except OSError:
        import resource

        return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def train_stage(
    stage: Stage,
    config: TrainingConfig,
    run: RunDirectory,
    fabric: Fabric,
    requests: Requests,
    preview: Callable[[torch.nn.Module, int], None] | None = None,
) -> torch.nn.Module:
    """Train a stage to the end of its budget, from its last checkpoint if there is one.

    Parameters
    ----------
    stage : Stage
        Model, batches and losses.
    config : TrainingConfig
        Optimiser settings.
    run : RunDirectory
        Where checkpoints, metrics, events and status go.
    fabric : Fabric
        Device, precision, strategy.
    requests : Requests
        Asked before every step: stop, changes of learning rate and budget.
    preview : callable, optional
        Called with the averaged model and the step after a checkpoint was written.

    Returns
    -------
    torch.nn.Module
        The averaged model; its best state where the stage ended early.

    Raises
    ------
    StopRequested
        After writing a checkpoint.
    edviz.errors.TrainingError
        If the loss stops being a number however small the learning rate, or a single row does not fit in memory.
    """
    model = stage.model.to(fabric.device)
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=stage.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay
    )
    wrapped, optimizer = fabric.setup(model, optimizer)
    stage.model = wrapped
    chief = fabric.is_global_zero
    checkpoint = f"checkpoints/{stage.name}.pt"
    step, elapsed, finished, early = 0, 0.0, False, False
    factor, parts = 1.0, 1  # of the learning rate; in which a batch is computed
    best, looks = math.inf, 0
    validated = -1

    def restore(state: dict[str, Any]) -> None:
        nonlocal step, elapsed, finished, early, factor, parts, best, looks, validated
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, elapsed = int(state["step"]), float(state["elapsed"])
        finished, early = bool(state["finished"]), bool(state["early"])
        factor, parts = float(state["factor"]), max(parts, int(state["parts"]))
        best, looks, validated = float(state["best"]), int(state["looks"]), int(state["validated"])

    def save() -> None:
        if chief:
            state: dict[str, Any] = {"model": model.state_dict(), "average": average.state_dict()}
            state |= {
                "optimizer": optimizer.state_dict(), "arguments": model.arguments,
                "step": step, "elapsed": elapsed, "finished": finished, "early": early,
                "factor": factor, "parts": parts, "best": best, "looks": looks, "validated": validated,
            }  # fmt: skip
            run.save_tensors(checkpoint, state)

    def validate() -> None:
        nonlocal best, looks, early, validated
        if not chief or validated == step:
            return
        validated = step
        figures = stage.validate(average)
        if figures[stage.figure] < best:
            best, looks = figures[stage.figure], 0
            run.save_tensors(
                f"checkpoints/{stage.name}-best.pt",
                {"average": average.state_dict(), "arguments": model.arguments, "step": step, stage.figure: best},
            )
        else:
            looks += 1
            early = 0 < config.patience <= looks
        run.append_metrics({"stage": stage.name, "step": step, "elapsed": elapsed, **figures})

    def report(losses: dict[str, torch.Tensor], rate: float, progress: float, pace: float, waiting: float) -> None:
        figures = {name: value.item() for name, value in losses.items()}
        left = elapsed * (1 / max(progress, 1e-9) - 1) if progress > 0 else 0.0
        place: dict[str, Any] = {"stage": stage.name, "step": step, "elapsed": elapsed}
        speed = {"frames_per_second": pace * stage.batch, "loader_share": waiting}
        run.append_metrics({**place, **figures, "learning_rate": rate, **speed})
        run.write_status(
            state="running", stage=stage.name, step=step, steps=stage.steps, seconds_left=left, progress=progress,
            steps_per_second=pace, loss=figures["loss"], learning_rate=rate, elapsed=elapsed,
            memory_bytes=memory_in_use(fabric.device), parts=parts, **speed,
        )  # fmt: skip

    def compute(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Gradients of one batch, part by part."""
        optimizer.zero_grad(set_to_none=True)
        total: dict[str, torch.Tensor] = {}
        for part in range(parts):
            rows = Rows(stage.batch, fabric.world_size, fabric.global_rank, parts, part)
            own = {name: x[rows.local] if name != "frames" else x for name, x in batch.items()}
            # never summed within the backward pass: a process without memory would leave the others waiting there
            with fabric.no_backward_sync(wrapped):
                losses = stage.losses(step, own, rows)
                fabric.backward(losses["loss"] / parts)
            for name, value in losses.items():
                total[name] = total.get(name, 0.0) + value.detach() / parts
        average_gradients(model.parameters())
        return average_over_processes(total)

    if (state := run.load_tensors(checkpoint)) is not None:
        restore(state)
        if finished and not early and stage.extendable:  # a larger budget was asked for after the end
            finished = _progress(step, elapsed, stage, requests) >= 1
    else:
        save()
    whole = Rows(stage.batch, fabric.world_size, fabric.global_rank)
    loader = Prefetcher(lambda number: stage.draw(number, whole))
    begun = time.monotonic() - elapsed
    saved = reported = time.monotonic()
    reported_step, waiting, previewed = step, 0.0, 0.0
    try:
        while not finished:
            stopping = requests.look() if chief else False
            elapsed = time.monotonic() - begun
            peak = _follow(stage, requests, len(stage.fit))
            progress, stop, peak, ended = agree(
                [_progress(step, elapsed, stage, requests), float(stopping), peak, float(early)], fabric.device
            )
            if stop:
                save()
                raise StopRequested
            if progress >= 1 or ended:
                break
            rate = factor * peak * _learning_rate(step, progress)
            for group in optimizer.param_groups:
                group["lr"] = rate
            asked = time.monotonic()
            batch = loader(step, stage.steps)
            waiting += time.monotonic() - asked
            try:
                losses = compute(batch)
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise
                if not isinstance(error, OutOfMemoryElsewhere):
                    exchange_faults(out_of_memory=True)
                optimizer.zero_grad(set_to_none=True)
                parts = _divide(stage, run, fabric, parts, step, error)
                if fabric.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            norm = fabric.clip_gradients(wrapped, optimizer, max_norm=config.gradient_clip, error_if_nonfinite=False)
            if not torch.isfinite(norm):  # type: ignore[arg-type]
                factor /= 2
                if factor < SMALLEST_FACTOR:
                    raise TrainingError(
                        f"{stage.name}, step {step}: the loss or its gradient is not a number, however small the "
                        f"learning rate. The last checkpoint, {run[checkpoint]}, is whole. Look for odd frames in the "
                        'data; precision="32" rules out rounding.'
                    )
                failed, halved = step, factor
                restore(run.load_tensors(checkpoint) or {})
                factor, begun, reported_step = min(halved, factor), time.monotonic() - elapsed, step
                if chief:
                    run.append_event(
                        "step back",
                        f"{stage.name}, step {failed}: the loss was not a number. Went back to the last good "
                        f"checkpoint (step {step}); the learning rate is now {factor:g} times what it was.",
                        stage=stage.name, step=failed, back_to=step, factor=factor,
                    )  # fmt: skip
                continue
            optimizer.step()
            decay = min(config.average_decay, (step + 1) / (step + 10))
            torch._foreach_lerp_(list(average.parameters()), [p.detach() for p in model.parameters()], 1 - decay)
            step += 1
            if step % config.validate_every == 0:
                elapsed = time.monotonic() - begun
                validate()
            now = time.monotonic()
            if chief and (now - reported >= REPORT_SECONDS or step == 1):
                elapsed, seconds = now - begun, max(now - reported, 1e-9)
                report(losses, rate, progress, (step - reported_step) / seconds, waiting / seconds)
                reported, reported_step, waiting = now, step, 0.0
            if now - saved >= config.checkpoint_seconds:
                elapsed = now - begun
                save()
                if chief and preview is not None and now - previewed >= PREVIEW_SECONDS:
                    preview(average, step)
                    previewed = time.monotonic()
                saved = time.monotonic()
        if not finished:
            validate()
            if chief and early:
                run.append_event(
                    "early stop",
                    f"{stage.name}, step {step}: validation has not improved for {config.patience} looks; "
                    "going on with the best weights.",
                    stage=stage.name, step=step,
                )  # fmt: skip
            finished = True
            save()
            if chief and preview is not None:
                preview(average, step)
    finally:
        loader.close()
    fabric.barrier()
    if agree([0.0, 0.0, 0.0, float(early)], fabric.device)[3]:
        average.load_state_dict((run.load_tensors(f"checkpoints/{stage.name}-best.pt") or {})["average"])
    return average


def _follow(stage: Stage, requests: Requests, frames: int) -> float:
    """Take up changes of the stage's budget; its peak learning rate."""
    config, name = requests.config, stage.name
    stage.steps, stage.minutes = config.stage_steps(name, frames), getattr(config, f"{name}_minutes")
    return float(getattr(config, f"{name}_learning_rate"))


def _progress(step: int, elapsed: float, stage: Stage, requests: Requests) -> float:
    """Share of the budget that is spent: of the steps or of the wall time, whichever is larger."""
    _follow(stage, requests, len(stage.fit))
    if stage.steps == 0:
        return 1.0
    return max(step / stage.steps, elapsed / (60 * stage.minutes) if stage.minutes else 0.0)


def _divide(stage: Stage, run: RunDirectory, fabric: Fabric, parts: int, step: int, error: BaseException) -> int:
    """In how many parts to compute a batch that did not fit in memory."""
    own = stage.batch // fabric.world_size
    smaller = smaller_part(own, parts)
    where, said = (f" {error}", "") if isinstance(error, OutOfMemoryElsewhere) else ("", f" ({error})")
    if smaller is None:
        raise TrainingError(
            f"{stage.name}, step {step}: out of memory{where} with {own // parts} rows at once{said}. "
            "Use a smaller grid or narrower model."
        ) from error
    if fabric.is_global_zero:
        each = "" if fabric.world_size == 1 else f" in each of the {fabric.world_size} processes"
        run.append_event(
            "out of memory",
            f"{stage.name}, step {step}: out of memory{where} with {own // parts} rows at once. Computing "
            f"{own // smaller} at a time{each} from now on; the gradients of {smaller} such parts are summed, so that "
            f"the batch stays {stage.batch}. The Jensen-Shannon term compares the smaller parts.",
            stage=stage.name, step=step, parts=smaller,
        )  # fmt: skip
    return smaller
