from __future__ import annotations

import numpy as np
import pytest

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.statistics import bootstrap_mean, paired_difference, rank_correlation


def test_equal_values_leave_no_doubt() -> None:
    interval = bootstrap_mean([0.5] * 7)
    assert (interval.mean, interval.low, interval.high, interval.count) == (0.5, 0.5, 0.5, 7)


def test_interval_is_that_of_the_normal_distribution_for_many_values() -> None:
    values = np.random.default_rng(3).normal(2.0, 1.0, 400)
    interval = bootstrap_mean(values.tolist())
    error = values.std(ddof=1) / 20
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_two_clusters_have_three_possible_means() -> None:
    # Clusters of 0 0 and of 1 1 1: drawn with replacement the mean is 0, 3/5 or 1.
    interval = bootstrap_mean([0, 0, 1, 1, 1], ["a", "a", "b", "b", "b"])
    assert (interval.mean, interval.low, interval.high) == (0.6, 0.0, 1.0)


def test_clusters_widen_the_interval_of_values_that_are_alike() -> None:
    values = [float(i % 5 == 0) for i in range(20) for _ in range(12)]
    clusters = [i for i in range(20) for _ in range(12)]
    alone, together = bootstrap_mean(values), bootstrap_mean(values, clusters)
    assert together.mean == alone.mean
    assert together.high - together.low > 3 * (alone.high - alone.low)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [0.1, 0.7, 0.3, 0.9]
    assert bootstrap_mean(values, seed=4) == bootstrap_mean(values, seed=4)


def test_p_value_of_few_pairs_is_that_of_all_signs() -> None:
    # Ten pairs that all rise by 1: of 1024 equally likely signs two are as extreme.
    difference = paired_difference([0.0] * 10, [1.0] * 10)
    assert difference.mean == 1.0 and difference.low == difference.high == 1.0
    assert difference.p_value == pytest.approx(2 / 1024, abs=0.002)


def test_runs_that_do_not_differ() -> None:
    assert paired_difference([1.0, 2.0], [1.0, 2.0]).p_value == 1.0
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=200), rng.normal(size=200)
    assert paired_difference(a.tolist(), b.tolist()).p_value > 0.05


def test_pairs_and_not_means_are_compared() -> None:
    # Styles differ by far more than the runs do, but each pair says the same.
    a = [float(10 * i) for i in range(12)]
    assert paired_difference(a, [value + 0.1 for value in a]).p_value < 0.01


def test_one_cluster_proves_nothing() -> None:
    assert paired_difference([0.0] * 9, [1.0] * 9, ["one"] * 9).p_value == 1.0


def test_bad_input() -> None:
    with pytest.raises(InvalidInputError, match="no values"):
        bootstrap_mean([])
    with pytest.raises(InvalidInputError, match="2 clusters for 3 values"):
        bootstrap_mean([1, 2, 3], ["a", "b"])
    with pytest.raises(InvalidInputError, match="1 and 2 values"):
        paired_difference([1], [1, 2])


def test_rank_correlation_by_hand() -> None:
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 4000]).mean == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]).mean == pytest.approx(-1)
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5).
    assert rank_correlation([1, 2, 2, 3], [1, 2, 3, 4]).mean == pytest.approx(0.9486833)
    assert rank_correlation([1, 1, 1], [1, 2, 3]).mean == 0


def test_rank_correlation_of_noise_has_zero_within() -> None:
    rng = np.random.default_rng(1)
    noise = rank_correlation(rng.normal(size=80).tolist(), rng.normal(size=80).tolist())
    assert noise.low < 0 < noise.high
    x = rng.normal(size=80)
    real = rank_correlation(x.tolist(), (x + rng.normal(size=80)).tolist(), [i // 4 for i in range(80)])
    assert 0 < real.low < real.mean < real.high < 1
    with pytest.raises(InvalidInputError, match="cannot be correlated"):
        rank_correlation([1.0], [1.0])
    with pytest.raises(InvalidInputError, match="clusters"):
        rank_correlation([1.0, 2.0], [1.0, 2.0], ["a"])
