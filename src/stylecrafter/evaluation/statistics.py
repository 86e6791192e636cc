"""How sure a mean is, and whether two runs differ: bootstrap and permutation, resampled by clusters."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from stylecrafter.errors import InvalidInputError

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean of `count` values with its confidence interval of `LEVEL`."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Difference:
    """Mean of b - a over pairs, its confidence interval, and how often chance alone differs as much (two-sided)."""

    mean: float
    low: float
    high: float
    p_value: float
    count: int


def bootstrap_mean(
    values: Sequence[float], clusters: Sequence[Hashable] | None = None, seed: int = 0
) -> Interval:
    """Mean with the percentile interval of a cluster bootstrap (Efron 1979; Field and Welsh 2007).

    Clips that share a reference are alike, so that whole clusters are drawn; without them each value is its own.

    Args:
        values: At least one.
        clusters: What each value belongs to.
        seed: Source of the draws; the same seed gives the same interval.

    Raises:
        InvalidInputError: No values, or another number of clusters.
    """
    sums, counts = _by_cluster(values, clusters)
    drawn = np.random.default_rng(seed).integers(0, len(sums), (DRAWS, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(sums.sum() / counts.sum()), float(low), float(high), len(values))


def paired_difference(
    a: Sequence[float], b: Sequence[float], clusters: Sequence[Hashable] | None = None, seed: int = 0
) -> Difference:
    """Mean of b - a, paired, with a cluster bootstrap's interval and a sign-flip permutation test over clusters.

    Raises:
        InvalidInputError: No pairs, or different numbers.
    """
    if len(a) != len(b):
        raise InvalidInputError(f"{len(a)} and {len(b)} values are no pairs")
    gaps = [y - x for x, y in zip(a, b, strict=True)]
    interval = bootstrap_mean(gaps, clusters, seed)
    sums, counts = _by_cluster(gaps, clusters)
    signs = np.random.default_rng(seed + 1).choice((-1.0, 1.0), (DRAWS, len(sums)))
    by_chance = np.abs(signs @ sums) / counts.sum()
    # The observed signs are one of the possible draws, so that p is never 0 (Phipson and Smyth 2010).
    p_value = (1 + int((by_chance >= abs(interval.mean) - 1e-12).sum())) / (DRAWS + 1)
    return Difference(interval.mean, interval.low, interval.high, p_value, len(gaps))


def rank_correlation(
    a: Sequence[float], b: Sequence[float], clusters: Sequence[Hashable] | None = None, seed: int = 0
) -> Interval:
    """Spearman's rank correlation in [-1, 1] with the interval of a cluster bootstrap; 0 where one side is constant.

    Raises:
        InvalidInputError: Fewer than two pairs, or different numbers.
    """
    if len(a) != len(b) or len(a) < 2:
        raise InvalidInputError(
            f"{len(a)} and {len(b)} values cannot be correlated; at least 2 pairs are needed"
        )
    index = _cluster_of(len(a), clusters)
    members = [np.flatnonzero(index == i) for i in range(index.max() + 1)]
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(members), (DRAWS, len(members)))
    values = []
    for row in drawn:
        chosen = np.concatenate([members[i] for i in row])
        values.append(_spearman(x[chosen], y[chosen]))
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(_spearman(x, y), float(low), float(high), len(a))


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    ranks = [_ranks(values) - (len(values) + 1) / 2 for values in (x, y)]
    size = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float((ranks[0] * ranks[1]).sum() / size) if size else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 1; equal values share the mean of their ranks."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[index]


def _cluster_of(count: int, clusters: Sequence[Hashable] | None) -> np.ndarray:
    """Number of the cluster of each value, in the order in which they come first; without them each is its own."""
    if clusters is None:
        return np.arange(count)
    if len(clusters) != count:
        raise InvalidInputError(f"{len(clusters)} clusters for {count} values")
    number = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
    return np.array([number[cluster] for cluster in clusters])


def _by_cluster(
    values: Sequence[float], clusters: Sequence[Hashable] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the values of each cluster."""
    if not len(values):
        raise InvalidInputError("no values to take the mean of")
    index = _cluster_of(len(values), clusters)
    weights = np.asarray(values, dtype=np.float64)
    return np.bincount(index, weights=weights), np.bincount(index).astype(np.float64)
