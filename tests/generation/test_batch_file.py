from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from stylecrafter.errors import InvalidInputError
from stylecrafter.generation.batch_file import read_entries

SHARED = Path(__file__).parents[3] / "shared" / "testset"


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_published_layout(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.json",
        [
            {"prompt": "A fox, running!", "style_path": "pics/ink_1.jpg"},
            {"prompt": "A fox, running!", "style_path": ["a.png", "../b.png"]},
            {"prompt": "狐狸", "style_path": str(tmp_path / "c.png")},
        ],
    )
    entries = read_entries(file)
    assert [entry.name for entry in entries] == ["0000_a-fox-running_ink-1", "0001_a-fox-running_a", "0002_c"]
    assert entries[0].styles == (str(tmp_path / "pics" / "ink_1.jpg"),)
    assert entries[1].styles == (str(tmp_path / "a.png"), str(tmp_path.parent / "b.png"))
    assert entries[2].styles == (str(tmp_path / "c.png"),)


def test_names_are_different_short_and_plain(tmp_path: Path) -> None:
    item = {"prompt": "../../é very/long: prompt " * 300, "style_path": "x" * 200 + ".png"}
    names = [entry.name for entry in read_entries(write(tmp_path / "a.json", [item] * 12))]
    assert len(set(names)) == 12
    assert names == sorted(names)
    assert all(re.fullmatch(r"[a-z0-9_-]{5,80}", name) for name in names)


def knobs(*own: dict[str, object]) -> list[dict[str, object]]:
    return [{"prompt": "a", "style_path": "a.png", **one} for one in own]


def test_entries_set_knobs_by_either_name(tmp_path: Path) -> None:
    asked = (
        {},
        {"seed": 3, "num_frames": 8, "num_inference_steps": 2, "text_guidance_scale": 4},
        {"frames": 8, "size": "32x16", "style_corners": True, "scheduler": "ddim", "fps": None},
        {"width": 32, "height": 16, "negative_prompt": "dull", "eta": 0.5},
    )
    entries = read_entries(write(tmp_path / "a.json", knobs(*asked)))
    assert [entry.own for entry in entries] == [
        {},
        {"seed": 3, "frames": 8, "steps": 2, "text_guidance": 4.0},
        {"frames": 8, "width": 32, "height": 16, "style_corners": True, "scheduler": "ddim"},
        {"width": 32, "height": 16, "negative_prompt": "dull", "eta": 0.5},
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "must hold a list"),
        ([], "must hold a list"),
        ([{"style_path": "a.png"}], "entry 0 has no prompt"),
        (
            [{"prompt": "a", "style_path": "a.png"}, {"prompt": 3, "style_path": "a.png"}],
            "entry 1 has no prompt",
        ),
        ([{"prompt": "a"}], "entry 0 needs a style_path"),
        ([{"prompt": "a", "style_path": []}], "entry 0 needs a style_path"),
        ([{"prompt": "a", "style_path": [1]}], "entry 0 needs a style_path"),
        (["a"], "entry 0"),
        (
            [{"prompt": "a", "style_path": "a.png", "sparkle": 3}],
            "unknown key 'sparkle'.*Known: .*num_frames, .*prompt, .*seed, .*size, .*style_path, .*entry 0",
        ),
        ([{"prompt": "a", "style_paths": "a.png"}], "Did you mean 'style_path'"),
        ([{"prompt": "a", "style_path": "a\0.png"}], "entry 0 needs a style_path"),
        (
            [{"prompt": "a", "style_path": ["a.png"] * 65}],
            "entry 0 has 65 style pictures, but may have up to 64",
        ),
        (
            knobs({}, {"num_frames": 0}),
            "entry 1: num_frames must be a whole number between 1 and 10000, not 0",
        ),
        (knobs({"steps": True}), "entry 0: steps must be a whole number between 1 and 999, not True"),
        (knobs({"seed": "3"}), "entry 0: seed must be a whole number .* not '3'"),
        (knobs({"size": "big"}), "entry 0: size 'big' is not WIDTHxHEIGHT"),
        (knobs({"scheduler": "magic"}), "entry 0: unknown scheduler 'magic'"),
        (knobs({"frames": 3, "num_frames": 3}), "entry 0: frames and num_frames are the same"),
        (knobs({"num_step": 3}), "unknown key 'num_step'. Did you mean 'steps'"),
        ([1] * 100_001, "has 100,001 entries, but a batch takes up to 100,000"),
    ],
)
def test_wrong_layout_is_named(tmp_path: Path, content: object, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        read_entries(write(tmp_path / "a.json", content))


def test_unreadable_files(tmp_path: Path) -> None:
    for name, says in (("missing.json", "no such file"), ("", "is a folder"), ("x" * 300, "too long")):
        with pytest.raises(InvalidInputError, match=says):
            read_entries(tmp_path / name)
    for content, says in (
        (b"[{]", "not JSON"),
        (b"\xff\xfe\x00", "UTF-16"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "a number of thousands of digits"),
        (b" \n", "is empty"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    ):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(InvalidInputError, match=says):
            read_entries(tmp_path / "a.json")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="there are no such devices here")
def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("/dev/zero", tmp_path / "pipe"):
        with pytest.raises(InvalidInputError, match="not a plain file"):
            read_entries(name)


def test_a_name_that_begins_like_a_home_folder_is_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "~").mkdir()
    (tmp_path / "~" / "here.png").touch()
    asked = ["~no-such-user.png", "~/a.png", "~/here.png", "~\ud800/a.png"]
    file = write(tmp_path / "a.json", [{"prompt": "a fox", "style_path": asked}])
    assert read_entries(file)[0].styles == (
        str(tmp_path / "~no-such-user.png"),
        str(tmp_path / "home" / "a.png"),
        str(tmp_path / "~" / "here.png"),
        f"{tmp_path}/~\ud800/a.png",
    )


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published test set is not beside the repository")
def test_published_test_set_is_read_unchanged() -> None:
    files = sorted(SHARED.glob("*.json"))
    assert files
    for file in files:
        entries = read_entries(file)
        assert len(entries) == len(json.loads(file.read_text()))
        assert all(os.path.isfile(path) for entry in entries for path in entry.styles)
