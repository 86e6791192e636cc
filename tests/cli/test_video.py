"""Clips from clips on the command line: one, its replay, and those of a batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stylecrafter.generation.record import read_record
from stylecrafter.media.video import read_frames, same_frames, write_frames
from tests.cli.support import assert_one_line_error, invoke
from tests.data_sources.support import clip_frames
from tests.media.test_sound import heard, write_tone
from tests.tiny import tiny_picture


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_frames([tiny_picture(k, 24, 16) for k in range(5)], tmp_path / "in.mp4", fps=12)


def generate(model: Path, picture: Path, output: Path, *more: object):  # type: ignore[no-untyped-def]
    return invoke("generate", "a red fox", "--style", picture, "-o", output, "--model", model, *more)


def test_size_frames_rate_and_sound_are_the_videos(model: Path, picture: Path, tmp_path: Path) -> None:
    source = write_tone(tmp_path / "in.mkv", "mpeg4", "mp2")
    out = tmp_path / "out.mp4"
    result = generate(model, picture, out, "--video", source, "--seed", 1, "--denoise", 0.5, "--steps", 2)
    assert result.exit_code == 0, result.stderr
    frames, fps = read_frames(out)
    # 64 x 48 in as many pixels as the model's 24 x 16, in multiples of 4.
    assert (len(frames), frames[0].size, fps) == (8, (24, 16), 8.0)
    codec, seconds, _ = heard(out)
    assert codec == "aac" and seconds == pytest.approx(1.0, abs=0.06)
    record = read_record(out)
    assert (record.denoise, record.inversion, record.window) == (0.5, False, 3)
    assert record.video is not None and (record.video.name, record.video.path) == ("in.mkv", "in.mkv")
    assert "in.mkv" in invoke("inspect", out).stdout


def test_a_clip_from_words_says_that_nothing_of_a_clip_is_in_it(
    model: Path, picture: Path, tmp_path: Path
) -> None:
    assert generate(model, picture, tmp_path / "a.gif", "--steps", 1).exit_code == 0
    record = read_record(tmp_path / "a.gif")
    assert (record.video, record.denoise, record.inversion, record.window) == (None, 1.0, False, 0)


def test_parts_and_the_models_own_rate(model: Path, picture: Path, source: Path, tmp_path: Path) -> None:
    few = ("--video", source, "--steps", 1, "--seed", 1)
    part = generate(model, picture, tmp_path / "a.webp", *few, "--start", 0.1, "--duration", 0.25, "--json")
    assert part.exit_code == 0, part.stderr
    answer = json.loads(part.stdout)
    assert (answer["frames"], answer["fps"]) == (3, 12.0)
    assert (answer["video"]["start"], answer["video"]["duration"]) == (0.1, 0.25)
    assert generate(model, picture, tmp_path / "a.png", *few).exit_code == 0
    assert read_record(tmp_path / "a.png").frames == 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--denoise", 0.5), "denoise 0.5 goes with a video"),
        (("--inversion",), "inversion goes with a video"),
        (("--start", 1), "start goes with a video"),
        (("--video", "missing.mp4"), "missing.mp4: no such file"),
        (("--video", "in.mp4", "--start", -1), "start must be seconds, 0 or more, not -1"),
        (("--video", "in.mp4", "--duration", "nan"), "duration must be seconds, above 0, not nan"),
        (("--video", "in.mp4", "--frames", 9), "has 5 frames of that time"),
        (("--video", "style.png", "--frames", 2), "is a single frame"),
    ],
)
def test_what_cannot_be(
    model: Path,
    picture: Path,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[object, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_line_error(generate(model, picture, tmp_path / "out.mp4", *more), says)
    assert not (tmp_path / "out.mp4").exists()


def test_the_video_is_not_overwritten(model: Path, picture: Path, source: Path) -> None:
    before = source.read_bytes()
    assert_one_line_error(generate(model, picture, source, "--video", source), "which is read for it")
    assert source.read_bytes() == before


def test_replays_look_for_the_very_video(model: Path, picture: Path, source: Path, tmp_path: Path) -> None:
    out, again = tmp_path / "out.mp4", tmp_path / "again.mp4"
    made = generate(model, picture, out, "--video", source, "--inversion", "--steps", 2, "--start", 0.1)
    assert made.exit_code == 0, made.stderr
    result = invoke("inspect", out, "--replay", again)
    assert result.exit_code == 0 and "same frames" in result.stdout, result.stderr
    assert same_frames(out, again)
    moved = source.rename(tmp_path / "moved.mp4")
    assert_one_line_error(invoke("inspect", out, "--replay", again), "say where it is now with --video")
    assert invoke("inspect", out, "--replay", again, "--video", moved).exit_code == 0
    write_frames(clip_frames(5), source, fps=12)
    assert_one_line_error(invoke("inspect", out, "--replay", again), "is not the video that was used")


def test_a_batch_with_and_without_videos(model: Path, picture: Path, source: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "list.json", tmp_path / "out"

    def write(start: float) -> None:
        entries = [
            {"prompt": "a red fox", "style_path": "style.png"},
            {"prompt": "a boat", "style_path": "style.png", "video_path": "in.mp4", "start": start},
            {"prompt": "a fox", "style_path": "style.png", "video_path": "gone.mp4", "denoise": 0.9},
        ]
        file.write_text(json.dumps(entries))

    def run(*more: object) -> dict[str, list[str]]:
        result = invoke(
            *("batch", file, "-o", out, "--model", model, "--steps", 2, "--seed", 3),
            *("--denoise", 0.5, "--json", *more),
        )
        answer: dict[str, list[str]] = json.loads(result.stdout)
        return answer

    write(0.1)
    answer = run()
    assert len(answer["done"]) == 2 and "no such file" in str(answer["failed"])
    plain, styled = (read_record(out / f"{name}.mp4") for name in answer["done"])
    assert (plain.video, plain.denoise, plain.frames) == (None, 1.0, 3)
    assert styled.video is not None and (styled.denoise, styled.frames) == (0.5, 4)
    assert len(run("--resume")["skipped"]) == 2
    write(0.2)
    assert len(run("--resume")["done"]) == 1


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"denoise": 0.5}, "entry 0: denoise 0.5 goes with a video"),
        ({"start": 1}, "entry 0: start goes with a video"),
        ({"video_path": ""}, "entry 0 needs a video_path that is one path"),
        ({"video_path": "in.mp4", "duration": "1"}, "entry 0: duration must be a number of seconds, not '1'"),
        ({"video_path": "in.mp4", "duration": 0}, "entry 0: duration must be seconds, above 0, not 0"),
    ],
)
def test_entries_that_cannot_be(
    model: Path, picture: Path, tmp_path: Path, entry: dict[str, object], says: str
) -> None:
    file = tmp_path / "list.json"
    file.write_text(json.dumps([{"prompt": "a red fox", "style_path": "style.png", **entry}]))
    assert_one_line_error(invoke("batch", file, "-o", tmp_path / "out", "--model", model), says)
