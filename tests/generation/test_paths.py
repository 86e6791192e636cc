from __future__ import annotations

from pathlib import Path

import pytest

from stylecrafter.generation.paths import candidates, portable_path


def test_found_again_after_moving_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "pics").mkdir(parents=True)
    (old / "pics" / "a.png").touch()
    recorded = portable_path(old / "pics" / "a.png", old / "out" / "clip.mp4")
    assert recorded == "../pics/a.png"
    old.rename(new)
    monkeypatch.chdir("/")
    assert new / "pics" / "a.png" in candidates(recorded, new / "out" / "clip.mp4")


def test_places_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    found = list(candidates("pics/a.png", tmp_path / "out" / "clip.mp4"))
    assert found == [
        tmp_path / "out" / "pics" / "a.png",
        here / "pics" / "a.png",
        tmp_path / "out" / "a.png",
        here / "a.png",
    ]
    assert list(candidates("/abs/a.png", tmp_path / "clip.mp4"))[0] == Path("/abs/a.png")
