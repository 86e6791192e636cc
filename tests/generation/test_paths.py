from __future__ import annotations

from pathlib import Path

import pytest

from stylecrafter.generation.paths import (
    candidates,
    portable_path,
    shareable,
    told_apart,
    user_path,
    without_folders,
)


def test_only_what_is_below_the_output_has_a_path(tmp_path: Path) -> None:
    output = tmp_path / "out" / "clip.mp4"
    for name in ("out/pics/a.png", "out/b.png", "elsewhere/c.png", "d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "out" / "link.png").symlink_to(tmp_path / "d.png")
    (tmp_path / "way").symlink_to(tmp_path / "out")
    (tmp_path / "back.png").symlink_to(tmp_path / "out" / "b.png")

    assert portable_path(tmp_path / "out" / "pics" / "a.png", output) == "pics/a.png"
    assert portable_path(tmp_path / "out" / "pics" / ".." / "b.png", output) == "b.png"
    assert portable_path(tmp_path / "out" / "link.png", output) == "link.png"
    assert portable_path(tmp_path / "way" / "b.png", output) == "b.png"
    assert portable_path(tmp_path / "out" / "b.png", tmp_path / "way" / "clip.mp4") == "b.png"
    assert portable_path(tmp_path / "back.png", output) == "b.png"
    assert portable_path(tmp_path / "elsewhere" / "c.png", output) is None
    assert portable_path(tmp_path / "d.png", output) is None
    assert portable_path(tmp_path / "outer" / "x.png", output) is None
    assert portable_path("caf\ud800.png", output) is None and portable_path("a\0b", output) is None


def test_paths_are_seen_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    assert portable_path("a.png", "clip.mp4") == "a.png"
    assert portable_path("../a.png", "clip.mp4") is None
    assert portable_path("a.png", "../clip.mp4") == "out/a.png"
    assert portable_path("~no-such-user.png", "clip.mp4") == "~no-such-user.png"


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
    # As earlier versions recorded them.
    assert list(candidates("/abs/a.png", tmp_path / "clip.mp4"))[0] == Path("/abs/a.png")
    assert tmp_path / "pics" / "a.png" in candidates("../pics/a.png", tmp_path / "out" / "clip.mp4")


def test_a_path_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert user_path("~/a.png") == tmp_path / "home" / "a.png"
    assert user_path("~no-such-user/a.png") == Path("~no-such-user/a.png")
    assert user_path("a.png", "b") == Path("b/a.png")
    (tmp_path / "~root").touch()  # a file of that name, and not the home folder of root
    assert user_path("~root") == Path("~root")
    monkeypatch.delenv("HOME")
    assert user_path("~no-such-user.png") == Path("~no-such-user.png")


def test_messages_without_folders() -> None:
    paths = ["/home/me/a.png", "/home/me/a.png.txt", "b.png"]
    text = "/home/me/a.png.txt is no picture, /home/me/a.png is, and so is b.png"
    assert without_folders(text, paths) == "a.png.txt is no picture, a.png is, and so is b.png"


def test_paths_in_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, work = tmp_path / "home" / "me", tmp_path / "home" / "me" / "work"
    work.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    assert shareable("runs/a/model") == shareable(work / "runs" / "a" / "model") == "runs/a/model"
    assert shareable("owner/name") == "owner/name"
    for elsewhere in ("../other/model", home / "model", "~/model", "/data/me/model", "runs/../../model"):
        assert shareable(elsewhere) == "model"
    monkeypatch.chdir(tmp_path)
    assert shareable(home / "model") == "model"


def test_names_that_tell_paths_apart(tmp_path: Path) -> None:
    inside = str(tmp_path / "out" / "pics" / "0.png")
    assert told_apart([inside, "/a/0.png", inside], tmp_path / "out") == {
        inside: "./pics/0.png",
        "/a/0.png": "0.png",
    }
    assert told_apart(["/x/a/0.png", "/x/b/0.png"], tmp_path) == {
        "/x/a/0.png": "a/0.png",
        "/x/b/0.png": "b/0.png",
    }
    third = told_apart(["/x/a/0.png", "/y/a/0.png"], tmp_path)
    assert len(set(third.values())) == 2 and all(name.endswith("/0.png") for name in third.values())
    assert not any("x" == part or "y" == part for name in third.values() for part in name.split("/"))
