from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from stylecrafter.data.loaders import FileSource
from stylecrafter.data.mixing import MixedSource, spread_turns, whole_shares
from stylecrafter.data.prefetch import StepLoader
from stylecrafter.errors import InvalidInputError
from tests.data_sources.support import write_clip, write_picture
from tests.data_sources.test_loaders import same


def pictures(folder: Path, word: str, count: int, **settings: int) -> FileSource:
    for number in range(count):
        write_picture(folder / word / f"{number}.png", number, f"{word} {number}")
    return FileSource(folder / word, **{"size": 16, "batch_size": 5, **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ([0.2, 0.8], [1, 4]),
        ([1, 1, 1], [1, 1, 1]),
        ([0.1, 0.25, 0.65], [2, 5, 13]),
        ([3], [1]),
        ([1e-3, 1], [1, 1000]),
    ],
)
def test_shares_are_exact(weights: list[float], shares: list[int]) -> None:
    assert whole_shares(weights) == shares
    turns = spread_turns(shares)
    assert Counter(turns) == Counter({i: share for i, share in enumerate(shares)})
    given = [0] * len(shares)
    for number, source in enumerate(turns, start=1):
        given[source] += 1
        assert all(abs(given[i] - number * shares[i] / sum(shares)) <= 1 for i in range(len(shares)))


@pytest.mark.parametrize("weights", [[1, 0], [1, -1], [1, float("nan")], [1, float("inf")], [1, 1e-7], [1]])
def test_wrong_weights_are_refused(tmp_path: Path, weights: list[float]) -> None:
    both = [pictures(tmp_path, word, 2) for word in ("a", "b")]
    with pytest.raises(InvalidInputError):
        MixedSource(both, weights)


def test_rows_are_mixed_and_every_source_keeps_its_epochs(tmp_path: Path) -> None:
    mixed = MixedSource(
        [pictures(tmp_path, "a", 3), pictures(tmp_path, "b", 4, batch_size=7)], [1, 3], batch_size=6
    )
    captions = [caption for step in range(8) for caption in mixed.batch(step, slice(None)).captions]
    assert Counter(caption.split()[0] for caption in captions) == {"a": 12, "b": 36}
    assert set(Counter(captions).values()) == {4, 9}
    for step in (0, 5):
        whole = mixed.batch(step, slice(None))
        for rows in (slice(0, 2), slice(2, 3), slice(3, 6)):
            assert same(mixed.batch(step, rows), whole[rows])


def test_steps_alternate_between_pictures_and_clips(tmp_path: Path) -> None:
    write_clip(tmp_path / "c.mp4", 6, caption="clip")
    clips = FileSource(tmp_path, size=16, batch_size=5, num_frames=4)
    mixed = MixedSource([pictures(tmp_path / "p", "a", 3), clips], [0.2, 0.8], unit="steps")
    lengths = [mixed.batch(step, slice(0, 1)).frames.shape[1] for step in range(10)]
    assert Counter(lengths) == {1: 2, 4: 8}
    with pytest.raises(InvalidInputError, match="do not fit into one batch"):
        MixedSource([pictures(tmp_path / "p", "a", 3), clips], [1, 1]).batch(0, slice(None))


def test_reports_and_fingerprints_come_together(tmp_path: Path) -> None:
    one, two = pictures(tmp_path, "a", 3), pictures(tmp_path, "b", 3)
    (tmp_path / "b" / "1.png").write_bytes(b"broken")
    mixed = MixedSource([one, two], [1, 1])
    loader = StepLoader(mixed, stop=6, num_workers=1)
    list(loader)
    assert [(Path(p.name).name, count) for p, count in mixed.report().counts.items()] == [("1.png", 5)]
    state = loader.state_dict()
    with pytest.raises(InvalidInputError, match="weights was 1 : 1, is 1 : 2"):
        StepLoader(MixedSource([one, two], [1, 2])).load_state_dict(state)


def test_different_batch_sizes_need_a_choice(tmp_path: Path) -> None:
    both = [pictures(tmp_path, "a", 2), pictures(tmp_path, "b", 2, batch_size=4)]
    with pytest.raises(InvalidInputError, match=r"\[4, 5\]"):
        MixedSource(both, [1, 1])
    assert MixedSource(both, [1, 1], batch_size=3).batch(0, slice(None)).frames.shape == torch.Size(
        [3, 1, 3, 16, 16]
    )
    with pytest.raises(InvalidInputError):
        MixedSource([both[0], both[0]], [1, 1], batch_size=3, unit="steps")
