from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch

from stylecrafter.data.batch import TrainingBatch
from stylecrafter.data.loaders import FileSource
from stylecrafter.data.manifest import find_records
from stylecrafter.data.prefetch import split_rows
from stylecrafter.errors import InvalidInputError, UnknownNameError
from tests.data_sources.support import (
    frame_number,
    picture_folder,
    png_bytes,
    write_clip,
    write_empty_clip,
    write_picture,
    write_tar,
)

ALL = slice(None)


def source(folder: Path, **settings: Any) -> FileSource:
    return FileSource(folder, **{"size": 16, "batch_size": 4, **settings})


def same(one: TrainingBatch, two: TrainingBatch) -> bool:
    if one.captions != two.captions or not torch.equal(one.frames, two.frames):
        return False
    if one.references is None or two.references is None:
        return one.references is two.references
    return torch.equal(one.references, two.references)


def number_of(caption: str) -> int:
    return int(caption.rsplit(" ", 1)[1])


def test_batches_of_pictures(tmp_path: Path) -> None:
    batch = source(picture_folder(tmp_path, 5), references="crop", reference_size=8).batch(0, ALL)
    assert batch.frames.shape == (4, 1, 3, 16, 16) and batch.frames.dtype == torch.float32
    assert batch.references is not None and batch.references.shape == (4, 3, 8, 8)
    for row in range(4):
        number = number_of(batch.captions[row])
        assert frame_number(batch.frames[row].mean().item()) == number
        assert frame_number(batch.references[row].mean().item()) == number


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [5, 7, 12, 1])
def test_every_epoch_shows_every_record_once(tmp_path: Path, parts: int, count: int) -> None:
    data = picture_folder(tmp_path, count)
    steps = 3 * count  # at batch 5: 15 epochs
    shown: list[int] = []
    ranks = [source(data, batch_size=5, seed=3) for _ in range(parts)]
    for step in range(steps):
        for part, one in enumerate(ranks):
            shown += [number_of(text) for text in one.batch(step, split_rows(5, parts, part)).captions]
    epochs = [shown[first : first + count] for first in range(0, len(shown), count)]
    assert len(epochs) == 15 and all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert count < 5 or len({tuple(epoch) for epoch in epochs}) > 5


def test_a_batch_is_its_slices(tmp_path: Path) -> None:
    data = picture_folder(tmp_path, 6)
    whole = source(data, references="crop").batch(7, ALL)
    other = source(data, references="crop")
    other.batch(3, ALL)  # what was loaded before does not matter
    for rows in (slice(0, 1), slice(1, 3), slice(3, 4)):
        assert same(other.batch(7, rows), whole[rows])
    assert not same(source(data, references="crop", seed=1).batch(7, ALL), whole)


def test_no_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="none"):
        source(picture_folder(tmp_path, 1)).batch(0, slice(4, 8))


def test_clips_and_their_references(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 12, caption="a dog")
    clips = source(tmp_path, num_frames=3, stride=2, batch_size=8, references="crop")
    batch = clips.batch(0, ALL)
    assert batch.frames.shape == (8, 3, 3, 16, 16) and batch.references is not None
    starts = set()
    for row in range(8):
        numbers = [frame_number(frame.mean().item()) for frame in batch.frames[row]]
        assert numbers == [numbers[0], numbers[0] + 2, numbers[0] + 4]
        assert frame_number(batch.references[row].mean().item()) in numbers
        starts.add(numbers[0])
    assert len(starts) > 3


def broken_folder(folder: Path) -> Path:
    """Four healthy clips among everything that can be wrong with one."""
    for number in range(4):
        write_clip(folder / f"{number}.mp4", 8, caption=f"thing {number}")
    whole = (folder / "0.mp4").read_bytes()
    for name, data in {"cut": whole[: len(whole) // 2], "header": whole[:80], "noise": b"x" * 999}.items():
        (folder / f"{name}.mp4").write_bytes(data)
        (folder / f"{name}.txt").write_text(f"thing {name}")
    write_empty_clip(folder / "empty.mp4")
    (folder / "empty.txt").write_text("thing empty")
    (folder / "zero.mp4").write_bytes(b"")
    write_clip(folder / "short.mp4", 2, caption="thing short")
    write_clip(folder / "silent.mp4", 8)
    write_clip(folder / "latin.mp4", 8)
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    write_clip(folder / "style.mp4", 8, caption="oil on canvas")
    return folder


def test_broken_clips_are_replaced_counted_and_reported(tmp_path: Path) -> None:
    data = broken_folder(tmp_path)
    clips = source(data, num_frames=4, batch_size=10)
    assert len(clips) == 10  # healthy, cut, header, noise, empty, short, style
    batches = [clips.batch(step, ALL) for step in range(2)]
    seen = Counter(caption for batch in batches for caption in batch.captions)
    assert set(seen) == {f"thing {n}" for n in range(4)} and all(count >= 2 for count in seen.values())
    report = str(clips.report())
    for name, reason in {
        "cut.mp4": "cut short or damaged after",
        "header.mp4": "it holds no video frames",
        "noise.mp4": "not a clip that can be read",
        "empty.mp4": "it holds no video frames",
        "short.mp4": "too short: 2 frames, 4 frames need 4",
        "style.mp4": "nothing but style in the caption 'oil on canvas'",
        "zero.mp4": "empty (0 bytes)",
        "silent.mp4": "no caption",
        "latin.mp4": "the caption is not UTF-8",
    }.items():
        assert f"{name}: {reason}" in report, report
    assert report.startswith("9 not usable:") and "times)" in report
    # The replacement depends neither on the share nor on what was loaded before.
    again = source(data, num_frames=4, batch_size=10)
    for rows in (slice(5, 10), slice(0, 5)):
        assert same(again.batch(1, rows), batches[1][rows])


def test_pictures_that_are_cut_are_replaced(tmp_path: Path) -> None:
    picture_folder(tmp_path, 3)
    write_picture(tmp_path / "cut.jpg", 3, "thing 9", size=(300, 200))
    data = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) - 200])
    pictures = source(tmp_path)
    assert set(pictures.batch(0, ALL).captions) == {"thing 0", "thing 1", "thing 2"}
    assert "truncated" in str(pictures.report())


def test_file_that_disappears_is_replaced(tmp_path: Path) -> None:
    pictures = source(picture_folder(tmp_path, 3))
    (tmp_path / "001.png").unlink()
    assert "thing 1" not in pictures.batch(0, ALL).captions
    assert "no such picture" in str(pictures.report())


def test_all_broken_is_a_clear_error(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"nothing")
        (tmp_path / f"{number}.txt").write_text("a dog")
    with pytest.raises(InvalidInputError, match=r"3 of 3 pictures in a row cannot be used.*not a picture"):
        source(tmp_path).batch(0, ALL)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="no usable picture in the data: neither pictures nor clips"):
        source(tmp_path / "empty")


def test_what_there_is_instead_is_said(tmp_path: Path) -> None:
    picture_folder(tmp_path, 3)
    with pytest.raises(InvalidInputError) as caught:
        source(tmp_path, num_frames=4)
    assert str(caught.value) == (
        "there is no usable clip in the data: it holds 3 pictures and no clip; num_frames 1 trains on pictures."
    )


def test_captions(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 1, "a painting of a boat, oil on canvas")
    assert source(tmp_path).batch(0, slice(0, 1)).captions == ["a boat"]
    assert source(tmp_path, cleaning="published").batch(0, slice(0, 1)).captions == ["a boat, oil on canvas"]
    assert source(tmp_path, cleaning="keep").batch(0, slice(0, 1)).captions[0].startswith("a painting of")
    (tmp_path / "a.txt").unlink()
    with pytest.raises(
        InvalidInputError, match=r"1 picture was found, none with a caption.*First of all: .*a\.png"
    ):
        source(tmp_path)
    assert source(tmp_path, missing_captions="empty").batch(0, slice(0, 1)).captions == [""]


def test_cross_references_come_from_the_group(tmp_path: Path) -> None:
    for number in range(8):
        write_picture(tmp_path / f"group{number % 2}" / f"{number}.png", number, f"thing {number}")
    write_picture(tmp_path / "alone" / "8.png", 8, "thing 8")
    settings = {"references": "crop", "style_groups": "folders", "batch_size": 9}
    for ratio, expected in ((1.0, 1.0), (0.0, 0.0), (0.5, 0.5)):
        one = source(tmp_path, cross_reference_ratio=ratio, **settings)
        crossed = []
        for step in range(8):
            batch = one.batch(step, ALL)
            assert batch.references is not None
            for caption, reference in zip(batch.captions, batch.references, strict=True):
                own, shown = number_of(caption), frame_number(reference.mean().item())
                assert own % 2 == shown % 2 if own < 8 else shown == 8
                crossed += [own != shown] if own < 8 else []
        assert sum(crossed) / len(crossed) == pytest.approx(expected, abs=0.15)


def test_pictures_by_one_hand_are_each_other_s_references(tmp_path: Path) -> None:
    for number in range(4):
        write_picture(tmp_path / ("deep" if number % 2 else "") / f"{number}.png", number, f"thing {number}")
    for number in range(4, 6):
        write_picture(tmp_path / f"{number}.png", number)
        (tmp_path / f"{number}.json").write_text(f'{{"caption": "thing {number}", "style_group": "ink"}}')
    one = source(tmp_path, references="crop", cross_reference_ratio=1.0, style_groups="one", batch_size=6)
    shown_for: dict[int, set[int]] = defaultdict(set)
    for step in range(20):
        batch = one.batch(step, ALL)
        assert batch.references is not None
        for caption, reference in zip(batch.captions, batch.references, strict=True):
            shown_for[number_of(caption)].add(frame_number(reference.mean().item()))
    assert shown_for == {**{n: {0, 1, 2, 3} - {n} for n in range(4)}, 4: {5}, 5: {4}}


def test_other_style_groups_are_other_data(tmp_path: Path) -> None:
    picture_folder(tmp_path, 3)
    named, one = (source(tmp_path, style_groups=how).fingerprint() for how in ("named", "one"))
    assert {name for name in named if named[name] != one[name]} == {"style_groups"}


def test_broken_cross_references_are_replaced(tmp_path: Path) -> None:
    for number in range(3):
        write_picture(tmp_path / "g" / f"{number}.png", number, f"thing {number}")
    found = find_records(tmp_path)
    (tmp_path / "g" / "1.png").write_bytes(b"gone")
    one = FileSource(
        found, size=16, batch_size=6, references="whole", cross_reference_ratio=1.0, style_groups="folders"
    )
    batch = one.batch(0, ALL)
    assert batch.references is not None
    for caption, reference in zip(batch.captions, batch.references, strict=True):
        assert frame_number(reference.mean().item()) == 2 - number_of(caption)


def test_cross_references_without_groups_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="of 3, no two do by style_groups 'named'.*'one'"):
        source(picture_folder(tmp_path, 3), references="crop", cross_reference_ratio=0.5)
    with pytest.raises(UnknownNameError, match="choice of style groups 'all'"):
        source(tmp_path, style_groups="all")
    with pytest.raises(InvalidInputError, match="needs references"):
        source(tmp_path, cross_reference_ratio=0.5)


def test_shards_like_files(tmp_path: Path) -> None:
    members = {}
    for number in range(5):
        members |= {f"{number}.png": png_bytes(number), f"{number}.txt": f"thing {number}".encode()}
    batch = source(write_tar(tmp_path / "s.tar", members), batch_size=5).batch(0, ALL)
    for caption, frames in zip(batch.captions, batch.frames, strict=True):
        assert frame_number(frames.mean().item()) == number_of(caption)
    write_clip(tmp_path / "c.mp4", 6)
    clip = write_tar(tmp_path / "c.tar", {"c.mp4": (tmp_path / "c.mp4").read_bytes(), "c.txt": b"a dog"})
    assert source(clip, num_frames=6).batch(0, ALL).frames.shape[1] == 6


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 0},
        {"size": 0},
        {"kind": "picture", "num_frames": 3},
        {"stride": 2},
        {"cross_reference_ratio": 1.5, "references": "crop"},
        {"reference_size": 0},
        {"references": "crops"},
        {"cleaning": "all"},
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        source(picture_folder(tmp_path, 2), **settings)
