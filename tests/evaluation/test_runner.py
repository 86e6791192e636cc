from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecrafter.errors import InvalidInputError, OutputError
from stylecrafter.evaluation.clip_metrics import Scores
from stylecrafter.evaluation.metrics.info import MeasuredClip, MetricInfo
from stylecrafter.evaluation.runner import SCORES_NAME, measure_folder
from stylecrafter.evaluation.testset import TestSet, read_testset
from stylecrafter.media.images import file_hash
from stylecrafter.media.video import write_frames
from tests.tiny import tiny_picture

LIGHT = MetricInfo("light", "light", "higher", 0.0, 1.0, "a test")


class Light:
    """Mean of a clip; counts how often it is asked."""

    infos = (LIGHT,)

    def __init__(self, key: str = "light 1") -> None:
        self.key = key
        self.asked: list[str] = []

    def __call__(self, clip: MeasuredClip) -> Scores:
        self.asked.append(clip.name)
        return {"light": float(clip.frames.mean())}


@pytest.fixture
def testset(tmp_path: Path) -> TestSet:
    for name in "ab":
        tiny_picture().save(tmp_path / f"{name}.png")
    entries = [{"prompt": f"a fox {i}", "style_path": f"{'ab'[i % 2]}.png"} for i in range(4)]
    (tmp_path / "set.json").write_text(json.dumps(entries))
    return read_testset(tmp_path / "set.json")


@pytest.fixture
def clips(testset: TestSet, tmp_path: Path) -> Path:
    """Grey clips of the lightness 40, 80, 120, 160 of 255."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for i, entry in enumerate(testset.entries):
        grey = Image.fromarray(np.full((16, 16, 3), 40 * (i + 1), np.uint8))
        write_frames([grey] * 3, folder / f"{entry.name}.webp", 4)
    return folder


def values(evaluation) -> list[float | None]:  # type: ignore[no-untyped-def]
    return [clip.scores["light"] for clip in evaluation.clips]


def test_every_clip_is_measured_and_names_its_file(testset: TestSet, clips: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    found = measure_folder(
        testset,
        clips,
        [Light()],
        tmp_path / "out",
        on_progress=lambda *a: told.append(a),
        settings={"seed": 1},
    )
    assert values(found) == [pytest.approx(40 * (i + 1) / 255, abs=0.01) for i in range(4)]
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert found.infos == (LIGHT,) and found.excluded == {} and found.settings == {"seed": 1}
    for clip in found.clips:
        assert clip.sha256 == file_hash(clips / clip.file)


def test_two_runs_are_identical_and_the_second_asks_nothing(
    testset: TestSet, clips: Path, tmp_path: Path
) -> None:
    light = Light()
    first = measure_folder(testset, clips, [light], tmp_path / "out")
    again = measure_folder(testset, clips, [light], tmp_path / "out")
    assert first == again
    assert len(light.asked) == 4
    elsewhere = measure_folder(testset, clips, [Light()], tmp_path / "other")
    assert elsewhere == first


def test_stopped_and_gone_on(testset: TestSet, clips: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_folder(testset, clips, [Light()], tmp_path, on_progress=stop)
    kept = tmp_path / SCORES_NAME
    kept.write_text(kept.read_text()[:-9])  # killed while it wrote the second line
    light = Light()
    found = measure_folder(testset, clips, [light], tmp_path)
    assert light.asked == [entry.name for entry in testset.entries[1:]]
    assert len(found.clips) == 4
    assert measure_folder(testset, clips, [light := Light()], tmp_path) == found and light.asked == []


def test_changed_clips_and_other_metrics_are_measured(testset: TestSet, clips: Path, tmp_path: Path) -> None:
    measure_folder(testset, clips, [Light()], tmp_path)
    names = [entry.name for entry in testset.entries]
    shutil.copy(clips / f"{names[3]}.webp", clips / f"{names[0]}.webp")
    light = Light()
    found = measure_folder(testset, clips, [light], tmp_path)
    assert light.asked == names[:1]
    assert found.clips[0].scores == found.clips[3].scores
    measure_folder(testset, clips, [newer := Light("light 2")], tmp_path)
    assert newer.asked == names


def test_missing_and_corrupt_clips_are_listed_and_left_out(
    testset: TestSet, clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [entry.name for entry in testset.entries]
    (clips / f"{names[0]}.webp").unlink()
    (clips / f"{names[1]}.webp").write_bytes((clips / f"{names[1]}.webp").read_bytes()[:-20])
    shutil.copy(clips / f"{names[2]}.webp", clips / "0002_another.webp")
    found = measure_folder(testset, clips, [Light()], tmp_path)
    assert [clip.name for clip in found.clips] == names[3:]
    assert list(found.excluded) == names[:3]
    assert "is missing" in found.excluded[names[0]]
    assert f"{names[1]}.webp" in found.excluded[names[1]]
    assert "is there as" in found.excluded[names[2]]
    assert [record.args[0] for record in caplog.records if record.args] == names[:3]  # type: ignore[index]


def test_an_empty_folder_is_an_error(testset: TestSet, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="none of the 4 clips"):
        measure_folder(testset, tmp_path / "empty", [Light()], tmp_path)


def test_a_folder_that_cannot_be_written(testset: TestSet, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot write"):
        measure_folder(testset, clips, [Light()], tmp_path / "file" / "deeper")
    assert (tmp_path / "file").read_text() == "mine"
