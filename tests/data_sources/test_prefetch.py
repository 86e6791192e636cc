from __future__ import annotations

import signal
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from stylecrafter.data.loaders import FileSource
from stylecrafter.data.prefetch import StepLoader, _leave_stopping_to_the_reader, split_rows
from stylecrafter.errors import InvalidInputError
from tests.data_sources.support import picture_folder, write_picture
from tests.data_sources.test_loaders import number_of, same


def source(folder: Path, **settings: object) -> FileSource:
    values = {"size": 16, "batch_size": 6, "references": "crop", **settings}
    return FileSource(folder, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rows", "parts"), [(8, 1), (8, 3), (7, 7), (12, 4), (5, 2)])
def test_parts_cover_all_rows_once(rows: int, parts: int) -> None:
    covered = [row for part in range(parts) for row in range(rows)[split_rows(rows, parts, part)]]
    assert covered == list(range(rows))
    sizes = [split_rows(rows, parts, part) for part in range(parts)]
    assert max(s.stop - s.start for s in sizes) - min(s.stop - s.start for s in sizes) <= 1


@pytest.mark.parametrize(("rows", "parts", "part"), [(2, 3, 0), (4, 0, 0), (4, 2, 2)])
def test_impossible_parts_are_refused(rows: int, parts: int, part: int) -> None:
    with pytest.raises(InvalidInputError):
        split_rows(rows, parts, part)


def test_workers_change_nothing(tmp_path: Path) -> None:
    data = picture_folder(tmp_path, 7)
    plain = list(StepLoader(source(data), stop=5))
    for workers in (1, 2):
        loaded = list(StepLoader(source(data), num_workers=workers, stop=5))
        assert len(loaded) == 5
        assert all(same(a[0], b[0]) for a, b in zip(plain, loaded, strict=True))


@pytest.mark.parametrize(
    ("world_size", "accumulation", "workers"), [(1, 2, 0), (2, 1, 2), (3, 1, 0), (2, 3, 0)]
)
def test_nothing_is_dropped_or_doubled(
    tmp_path: Path, world_size: int, accumulation: int, workers: int
) -> None:
    data = picture_folder(tmp_path, 9)
    shown: Counter[int] = Counter()
    for rank in range(world_size):
        loader = StepLoader(
            source(data),
            rank=rank,
            world_size=world_size,
            accumulation=accumulation,
            num_workers=workers,
            stop=6,
        )
        for parts in loader:
            assert len(parts) == accumulation
            shown.update(number_of(caption) for part in parts for caption in part.captions)
    assert shown == Counter({number: 4 for number in range(9)})  # 6 steps of 6 rows: 4 epochs


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_equals_never_stopped(tmp_path: Path, workers: int) -> None:
    data = picture_folder(tmp_path, 7)
    whole = [parts[0] for parts in StepLoader(source(data), stop=8)]
    first = StepLoader(source(data), num_workers=workers)
    given = [parts[0] for parts in islice(iter(first), 3)]
    state = first.state_dict()
    assert state["step"] == 3
    second = StepLoader(source(data), num_workers=workers, stop=8)
    second.load_state_dict(state)
    given += [parts[0] for parts in second]
    assert len(given) == 8 and all(same(a, b) for a, b in zip(whole, given, strict=True))


def test_changed_data_is_refused_in_words(tmp_path: Path) -> None:
    data = picture_folder(tmp_path / "a", 4)
    state = StepLoader(source(data)).state_dict()
    data = data.rename(tmp_path / "b")  # a folder may move
    StepLoader(source(data)).load_state_dict(state)
    with pytest.raises(InvalidInputError, match="seed was 0, is 1"):
        StepLoader(source(data, seed=1)).load_state_dict(state)
    with pytest.raises(InvalidInputError, match="cleaning was full, is none"):
        StepLoader(source(data, cleaning="none")).load_state_dict(state)
    (data / "001.txt").write_text("another caption")
    with pytest.raises(InvalidInputError, match="records was 4 with hash .*, is 4 with hash"):
        StepLoader(source(data)).load_state_dict(state)
    with pytest.raises(InvalidInputError, match="a step and data"):
        StepLoader(source(data)).load_state_dict({})


@pytest.mark.parametrize("workers", [0, 2])
def test_what_workers_meet_is_counted_once(tmp_path: Path, workers: int) -> None:
    picture_folder(tmp_path, 4)
    write_picture(tmp_path / "bad.png", 5, "bad")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    pictures = source(tmp_path, batch_size=5)
    pictures.batch(0, slice(None))
    loader = StepLoader(pictures, num_workers=workers, stop=3)
    list(loader)
    assert [count for problem, count in pictures.report().counts.items()] == [4]


@pytest.mark.parametrize(
    "numbers", [{"num_workers": -1}, {"rank": 2, "world_size": 2}, {"accumulation": 7}, {"prefetch": 0}]
)
def test_wrong_numbers_are_refused(tmp_path: Path, numbers: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError):
        StepLoader(source(picture_folder(tmp_path, 2)), **numbers)


@pytest.mark.skipif(sys.platform == "win32", reason="signals work differently there")
def test_workers_leave_every_signal_that_saves_to_the_reader() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        _leave_stopping_to_the_reader(0)
        assert {signal.getsignal(number) for number in numbers} == {signal.SIG_IGN}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
