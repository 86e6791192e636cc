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
            {"prompt": "狐狸", "style_path": str(tmp_path / "c.png"), "more": 1},
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
    ],
)
def test_wrong_layout_is_named(tmp_path: Path, content: object, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        read_entries(write(tmp_path / "a.json", content))


def test_unreadable_files(tmp_path: Path) -> None:
    for name in ("missing.json", ""):
        with pytest.raises(InvalidInputError, match="cannot be read"):
            read_entries(tmp_path / name)
    (tmp_path / "a.json").write_text("[{]")
    with pytest.raises(InvalidInputError, match="not json"):
        read_entries(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInputError, match="not json"):
        read_entries(tmp_path / "a.json")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published test set is not beside the repository")
def test_published_test_set_is_read_unchanged() -> None:
    files = sorted(SHARED.glob("*.json"))
    assert files
    for file in files:
        entries = read_entries(file)
        assert len(entries) == len(json.loads(file.read_text()))
        assert all(os.path.isfile(path) for entry in entries for path in entry.styles)
