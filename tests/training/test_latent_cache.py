"""Reused pictures: each as often as asked, the same for every process."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.training.latent_cache import CACHE_BATCHES, EncodedBatch, LatentCache, cache_picks

BATCH, REUSE = 4, 3


def encode(index: int, rows: slice) -> EncodedBatch:
    """Rows that tell where they come from."""
    numbers = [1000 * index + row for row in range(BATCH)[rows]]
    values = torch.tensor(numbers, dtype=torch.float32)
    return EncodedBatch(
        latents=values[:, None, None, None, None],
        token_ids=torch.tensor(numbers)[:, None],
        reference_tokens=values[:, None, None],
    )


def seen(pool: LatentCache, step: int, rows: slice = slice(0, BATCH)) -> list[int]:
    batch = pool.batch(step, rows)
    numbers = [int(value) for value in batch.latents.flatten()]
    assert batch.token_ids.flatten().tolist() == numbers
    assert batch.reference_tokens is not None
    assert batch.reference_tokens.flatten().tolist() == numbers
    return numbers


def test_each_picture_is_seen_as_often_as_asked() -> None:
    pool = LatentCache(encode, BATCH, REUSE, seed=5)
    steps = 2 * CACHE_BATCHES * REUSE
    counts = Counter(number for step in range(steps) for number in seen(pool, step))
    assert set(counts.values()) == {REUSE} and len(counts) == 2 * CACHE_BATCHES * BATCH


def test_neighbours_change_from_turn_to_turn() -> None:
    pool = LatentCache(encode, BATCH, REUSE, seed=5)
    first = [tuple(seen(pool, step)) for step in range(CACHE_BATCHES)]
    second = [tuple(seen(pool, CACHE_BATCHES + step)) for step in range(CACHE_BATCHES)]
    assert sorted(sum(first, ())) == sorted(sum(second, ())) and set(first) != set(second)


def test_processes_share_a_pool_by_rows() -> None:
    whole = LatentCache(encode, BATCH, REUSE, seed=1)
    halves = [LatentCache(encode, BATCH, REUSE, seed=1) for _ in range(2)]
    for step in (0, 20, 60, 3):
        parts = [seen(half, step, slice(2 * i, 2 * i + 2)) for i, half in enumerate(halves)]
        assert seen(whole, step) == parts[0] + parts[1]


def test_a_step_does_not_depend_on_the_steps_before() -> None:
    walked, jumped = (LatentCache(encode, BATCH, REUSE, seed=2) for _ in range(2))
    for step in range(70):
        last = seen(walked, step)
    assert seen(jumped, 69) == last


def test_without_reuse_nothing_is_kept() -> None:
    pool = LatentCache(encode, BATCH, 1, seed=0)
    assert seen(pool, 7) == [7000, 7001, 7002, 7003] and not pool._kept
    with pytest.raises(InvalidInputError, match="reuse"):
        LatentCache(encode, BATCH, 0, seed=0)


def test_rows_stay_in_their_place() -> None:
    _, picks = cache_picks(5, BATCH, REUSE, seed=0)
    assert picks.shape == (BATCH,) and picks.max() < CACHE_BATCHES
