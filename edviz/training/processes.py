"""Several processes that train one model: which rows of a batch are whose, and what they tell each other.

Every process draws the same batch plan and noise and takes its own rows, so that the number of processes changes
nothing but rounding: means over rows are averaged with the gradients, and what is not a mean over rows (the histograms
of the Jensen-Shannon term) is summed over the processes before it is used.

One of them may run out of memory while the others wait for it. So they tell each other how they fare before anything
that they do together within a step, and all give the step up at the same place (`exchange_faults`).
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, distributed

from edviz.errors import TrainingError

__all__ = [
    "OutOfMemoryElsewhere",
    "Rows",
    "agree",
    "average_gradients",
    "average_over_processes",
    "exchange_faults",
    "require_devices",
    "smaller_part",
    "sum_over_processes",
]


class OutOfMemoryElsewhere(MemoryError):
    """Another process has run out of memory in this step, which this one gives up too."""


@dataclass(frozen=True)
class Rows:
    """The rows of a batch that one process computes at once.

    Parameters
    ----------
    batch : int
        Rows of the whole batch.
    world, rank : int
        Processes, and which of them this is.
    parts, part : int
        Parts in which a process computes its rows (gradients are summed), and which of them this is.
    """

    batch: int
    world: int = 1
    rank: int = 0
    parts: int = 1
    part: int = 0

    @property
    def size(self) -> int:
        """Rows in this part."""
        return self.batch // self.world // self.parts

    def first(self, rank: int) -> int:
        """First row of this part in another process."""
        return rank * (self.batch // self.world) + self.part * self.size

    @property
    def start(self) -> int:
        """First row."""
        return self.first(self.rank)

    @property
    def stop(self) -> int:
        """Row after the last."""
        return self.start + self.size

    @property
    def local(self) -> slice:
        """These rows among those of this process."""
        return slice(self.part * self.size, (self.part + 1) * self.size)

    def together(self) -> Tensor:
        """The rows that all processes compute in this part."""
        return torch.cat([torch.arange(self.size) + self.first(rank) for rank in range(self.world)])


def require_devices(device: str, devices: int) -> None:
    """Raise TrainingError where this machine has fewer GPUs than are asked for."""
    if device == "cuda" and (found := torch.cuda.device_count()) < devices:
        raise TrainingError(
            f'device = "cuda", devices = {devices}: torch finds {found} GPUs on {platform.node()}. Ask for as many as '
            'there are, or device = "cpu"; a CPU build of torch finds none.'
        )


def smaller_part(rows: int, parts: int) -> int | None:
    """The next number of parts that at least halves them and divides the rows; None where they hold one row."""
    return next((n for n in range(2 * parts, rows + 1) if rows % n == 0), rows if rows > parts else None)


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


@cache
def _hosts() -> distributed.ProcessGroup | None:
    """The processes, met over the network rather than on their GPUs: no GPU then waits for what the hosts say."""
    if distributed.get_backend() == "gloo":
        return None  # the group that there is
    return distributed.new_group(backend="gloo")


def exchange_faults(out_of_memory: bool = False) -> None:
    """Tell the other processes whether this one still has memory, and learn it of them.

    Parameters
    ----------
    out_of_memory : bool
        Whether this process gives its step up for want of memory; it is then not told of others.

    Raises
    ------
    OutOfMemoryElsewhere
        If another process has given this step up. It waits for nobody any more: neither must this one.
    """
    if not _several():
        return
    faults = torch.zeros(distributed.get_world_size())
    faults[distributed.get_rank()] = float(out_of_memory)
    distributed.all_reduce(faults, group=_hosts())
    if faults.any() and not out_of_memory:
        where = ", ".join(str(rank) for rank in faults.nonzero().flatten().tolist())
        raise OutOfMemoryElsewhere(f"in process {where} of {len(faults)}, counted from 0")


class _Sum(torch.autograd.Function):
    """Sum over processes; the gradient of a sum is the sum of the processes' gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        exchange_faults()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        exchange_faults()
        distributed.all_reduce(total)
        return total


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum, through which gradients flow to every process; the values themselves where there is one process.

    Raises
    ------
    OutOfMemoryElsewhere
        See `exchange_faults`.
    """
    return _Sum.apply(values) if _several() else values


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace the gradients by their mean over the processes, all in one message.

    Raises
    ------
    OutOfMemoryElsewhere
        See `exchange_faults`.
    """
    if not _several():
        return
    trained = [p for p in parameters if p.requires_grad]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained])
    exchange_faults()
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for parameter, mean in zip(trained, flat.split([p.numel() for p in trained]), strict=True):
        parameter.grad = mean.view_as(parameter)


@torch.no_grad()
def average_over_processes(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The means of named scalars."""
    if not _several() or not values:
        return values
    stacked = torch.stack([value.float() for value in values.values()])
    distributed.all_reduce(stacked)
    return dict(zip(values, stacked / distributed.get_world_size(), strict=True))


def agree(values: list[float], device: torch.device) -> list[float]:
    """What the first process says: clocks and requests must not differ between processes."""
    if not _several():
        return values
    told = torch.tensor(values, dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)
    distributed.broadcast(told, 0)
    return [float(x) for x in told.tolist()]
