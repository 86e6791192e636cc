"""Encoded pictures and clips that several steps learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.runtime.devices import to_device
from stylecrafter.runtime.seeding import step_generator

#: Batches of pictures that are encoded at once where pictures are reused.
CACHE_BATCHES = 16


@dataclass(frozen=True, kw_only=True)
class EncodedBatch:
    """n pictures or clips as the denoiser learns from them; all fields have n rows."""

    latents: torch.Tensor
    """Scaled latents (n, c, f, h, w)."""
    token_ids: torch.Tensor
    """The captions (n, …), as `Backbone.tokenize` gives them."""
    reference_tokens: torch.Tensor | None = None
    """Image tokens of the style references (n, 1 + patches, w), where there are any."""


def cache_picks(step: int, batch_size: int, reuse: int, seed: int) -> tuple[int, torch.Tensor]:
    """Which filling of the cache a step takes its pictures from, and which of its batches every row comes from.

    A row stays in its place (row r of a step is row r of some batch of the filling), so that processes that share a
    batch by rows share the cache by rows. Every picture of a filling is used `reuse` times.

    Returns:
        The number of the filling, and (batch_size,) indices in 0 … CACHE_BATCHES - 1.
    """
    filling, step_in_filling = divmod(step, CACHE_BATCHES * reuse)
    turn, position = divmod(step_in_filling, CACHE_BATCHES)
    generator = step_generator(seed + 1 + turn, filling)
    order = torch.rand(CACHE_BATCHES, batch_size, generator=generator).argsort(0)
    return filling, order[position]


class LatentCache:
    """Lets every encoded picture or clip serve `reuse` steps, with new noise and timesteps each time.

    Drawing and encoding a picture costs as much as a third of a training step on it.

    Args:
        encode: Draws and encodes given rows of batch number k.
        batch_size: Rows of a batch, over all processes.
        reuse: How many steps see each of them; 1 keeps nothing.
        seed: Of the order.

    Raises:
        InvalidInputError: reuse < 1.
    """

    def __init__(
        self, encode: Callable[[int, slice], EncodedBatch], batch_size: int, reuse: int, seed: int
    ) -> None:
        if reuse < 1:
            raise InvalidInputError(f"reuse must be at least 1, got {reuse}")
        self.encode, self.batch_size, self.reuse, self.seed = encode, batch_size, reuse, seed
        self._kept: dict[tuple[int, int], tuple[int, _Filling]] = {}

    def batch(self, step: int, rows: slice) -> EncodedBatch:
        """Rows of the batch of a step: new ones, or some of a filling that lasts for several steps."""
        if self.reuse == 1:
            return self.encode(step, rows)
        number, picks = cache_picks(step, self.batch_size, self.reuse, self.seed)
        place = (rows.start, rows.stop)
        if place not in self._kept or self._kept[place][0] != number:
            first = number * CACHE_BATCHES
            self._kept.pop(place, None)  # before the next one is there, or memory holds both
            self._kept[place] = number, _Filling([self.encode(first + k, rows) for k in range(CACHE_BATCHES)])
        return self._kept[place][1].pick(picks[rows])


class _Filling:
    """The rows of several batches, their tensors stacked to (batches, rows, …)."""

    def __init__(self, batches: list[EncodedBatch]) -> None:
        self.latents = torch.stack([batch.latents for batch in batches])
        self.token_ids = torch.stack([batch.token_ids for batch in batches])
        tokens = [batch.reference_tokens for batch in batches if batch.reference_tokens is not None]
        self.reference_tokens = torch.stack(tokens) if len(tokens) == len(batches) else None

    def pick(self, picks: torch.Tensor) -> EncodedBatch:
        """Row r of batch picks[r], for all rows."""
        device = self.latents.device
        of = to_device(picks, device), torch.arange(len(picks), device=device)
        return EncodedBatch(
            latents=self.latents[of],
            token_ids=self.token_ids[of],
            reference_tokens=None if self.reference_tokens is None else self.reference_tokens[of],
        )
