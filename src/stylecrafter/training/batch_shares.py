"""How a batch is shared by processes and by the parts of an accumulated step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist

from stylecrafter.errors import InvalidInputError


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count` equal parts of every batch."""

    index: int
    count: int

    def rows(self, batch_size: int) -> slice:
        """The rows of this part.

        Raises:
            InvalidInputError: The batch cannot be cut into so many equal parts.
        """
        if batch_size % self.count:
            raise InvalidInputError(
                f"a batch of {batch_size} rows cannot be shared equally by {self.count} parts "
                f"(processes x accumulation); choose a multiple of {self.count}"
            )
        part = batch_size // self.count
        return slice(part * self.index, part * (self.index + 1))


WHOLE = Shard(0, 1)


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows (n, …) of all processes, in order of rank: (processes · n, …). Gradients flow back to every process."""
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return rows
    from torch.distributed.nn.functional import all_gather

    return torch.cat(list(all_gather(rows.contiguous())))
