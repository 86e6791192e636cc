from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from stylecrafter.generation import places
from stylecrafter.generation.places import recall, remember

A, B = "a" * 64, "b" * 64


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "stylecrafter" / "places.jsonl"


def test_the_last_place_counts(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recall(A) is None
    monkeypatch.chdir(tmp_path)
    remember(A, "one.png")
    remember(B, tmp_path / os.fsdecode(b"caf\xe9.png"))
    remember(A, tmp_path / "two.png")
    assert (recall(A), recall(B)) == (tmp_path / "two.png", tmp_path / os.fsdecode(b"caf\xe9.png"))
    size = file.stat().st_size
    remember(A, "two.png")
    assert file.stat().st_size == size


@pytest.mark.skipif(os.name == "nt", reason="modes are a Unix feature")
def test_it_is_for_the_users_eyes_alone(file: Path) -> None:
    remember(A, "one.png")
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_it_stays_small(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_BYTES", 4000)
    for i in range(100):
        remember(f"{i:064d}", f"/pictures/{i}.png")
        assert file.stat().st_size < 4200
    assert recall(f"{0:064d}") is None
    assert all(recall(f"{i:064d}") == Path(f"/pictures/{i}.png") for i in range(90, 100))
    assert [path.name for path in file.parent.iterdir()] == ["places.jsonl"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"{}",
        b"[1]",
        b'{"sha256": "%s"}',
        b'{"sha256": "%s", "path": 3}',
    ],
)
def test_damage_costs_no_more_than_what_it_hit(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(content.replace(b"%s", A.encode()))
    assert recall(A) is None
    file.write_bytes(b'{"sha256": "' + B.encode() + b'", "path": "/b"}\n{"sha256": "' + A.encode()[:20])
    remember(A, "/a")  # after half a line of a killed process
    assert (recall(A), recall(B)) == (Path("/a"), Path("/b"))
    assert json.loads(file.read_text().splitlines()[-1])["path"] == "/a"


def test_without_a_cache_nothing_is_remembered_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for cache in (str(tmp_path / "file"), "/proc/nothing", "relative", "/dev/null"):
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
        remember(A, "one.png")
        assert recall(A) is None
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where a user has no home
    remember(A, "one.png")
    assert recall(A) is None
