from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from stylecrafter.errors import ImageReadError
from stylecrafter.evaluation.testset import read_testset
from tests.tiny import tiny_picture

SHARED = Path(__file__).parents[3] / "shared" / "testset"


def test_references_are_counted_once(tmp_path: Path) -> None:
    for name in "ab":
        tiny_picture().save(tmp_path / f"{name}.png")
    file = tmp_path / "set.json"
    asked = [["a.png"], ["b.png", "a.png"], ["a.png"]]
    file.write_text(json.dumps([{"prompt": "a fox", "style_path": paths} for paths in asked]))
    testset = read_testset(file)
    assert testset.pictures == (str(tmp_path / "a.png"), str(tmp_path / "b.png"))
    assert [testset.references_of(entry) for entry in testset.entries] == [(0,), (1, 0), (0,)]
    assert [tuple(picture.shape) for picture in testset.load_pictures()] == [(3, 16, 20)] * 2
    assert testset.truth is None
    first = read_testset(file, limit=1)
    assert len(first.entries) == 1 and len(first.pictures) == 1


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    file.write_text(json.dumps([{"prompt": "a fox", "style_path": "gone.png"}]))
    with pytest.raises(ImageReadError, match=r"gone\.png"):
        read_testset(file).load_pictures()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published test set is not beside the repository")
def test_published_sets_are_read_whole() -> None:
    for file in SHARED.glob("eval_*.json"):
        testset = read_testset(file)
        assert len(testset.entries) == len(json.loads(file.read_text()))
        assert all(picture.shape[0] == 3 for picture in testset.load_pictures())
        assert torch.stack([p.min() for p in testset.load_pictures()]).min() >= 0
