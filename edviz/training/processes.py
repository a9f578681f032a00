"""Several processes that train one model: which rows of a batch are whose, and what they tell each other.

Every process draws the same batch plan and noise and takes its own rows, so that the number of processes changes
nothing but rounding: means over rows are averaged with the gradients, and what is not a mean over rows (the histograms
of the Jensen-Shannon term) is summed over the processes before it is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_reduce

__all__ = ["Rows", "agree", "average_over_processes", "smaller_part", "sum_over_processes"]


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


def smaller_part(rows: int, parts: int) -> int | None:
    """The next number of parts that at least halves them and divides the rows; None where they hold one row."""
    return next((n for n in range(2 * parts, rows + 1) if rows % n == 0), rows if rows > parts else None)


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum, through which gradients flow to every process; the values themselves where there is one process."""
    return all_reduce(values) if _several() else values


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
