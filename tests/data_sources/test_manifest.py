from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest

from stylecrafter.data.manifest import find_records
from stylecrafter.data.records import Found, Kind
from stylecrafter.errors import InvalidInputError
from tests.data_sources.support import picture_folder, png_bytes, write_clip, write_picture, write_tar


def reasons(found: Found) -> dict[str, str]:
    return {problem.name: problem.reason for problem in found.problems}


def test_folder_with_sidecars_of_all_kinds(tmp_path: Path) -> None:
    write_picture(tmp_path / "b.png", 1, "a boat")
    write_picture(tmp_path / "deep" / "a.jpg", 2)
    (tmp_path / "deep" / "a.json").write_text('{"caption": "a\\n dog", "style_group": 7}')
    write_clip(tmp_path / "c.mp4", 2)
    (tmp_path / "c.caption").write_bytes(b"\xef\xbb\xbfa caf\xc3\xa9")
    write_picture(tmp_path / ".hidden" / "x.png", 3, "never")
    (tmp_path / "notes.md").write_text("read me")
    found = find_records(tmp_path)
    assert [(r.name, r.kind, r.caption, r.style_group) for r in found.records] == [
        ("b.png", Kind.PICTURE, "a boat", None),
        ("c.mp4", Kind.CLIP, "a café", None),
        ("deep/a.jpg", Kind.PICTURE, "a dog", "7"),
    ]
    assert not found.problems
    assert found.notes == ["1 files with the ending .md are not read"]


def test_what_is_broken_in_a_folder_is_named_and_the_rest_is_found(tmp_path: Path) -> None:
    picture_folder(tmp_path, 2)
    write_picture(tmp_path / "latin.png", 3)
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    write_picture(tmp_path / "wide.png", 3)
    (tmp_path / "wide.txt").write_bytes("a dog".encode("utf-16"))
    write_picture(tmp_path / "blank.png", 3, "  \n")
    write_picture(tmp_path / "bad.png", 3)
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "zero.png").write_bytes(b"")
    (tmp_path / "lonely.txt").write_text("nobody")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    write_picture(tmp_path / "silent.png", 4)
    found = find_records(tmp_path)
    assert [r.name for r in found.records] == ["000.png", "001.png", "silent.png"]
    assert found.records[-1].caption is None
    said = {Path(name).name: reason for name, reason in reasons(found).items()}
    assert "not UTF-8: byte 0xe9 at 3" in said["latin.png"]
    assert "UTF-16" in said["wide.png"]
    assert said["blank.png"] == "the caption file is empty"
    assert "not JSON" in said["bad.png"]
    assert said["zero.png"] == "empty (0 bytes)"
    assert "without picture" in said["lonely.txt"]
    assert said["gone.png"] == "no such file"
    assert len(said) == 7


def test_csv(tmp_path: Path) -> None:
    picture_folder(tmp_path / "p", 2)
    file = tmp_path / "m.csv"
    rows = [
        b"\xef\xbb\xbfpath,caption,style_group,kind,score",
        b'p/000.png,"a boat, at sea",ink,,1',
        b"p/001.png,caf\xe9,,,2",
        b"p/404.png,missing,,,3",
        b"p/000.png,a,b,c,d,e",
        b",no path,,,",
        b"http://x/y.png,address,,,",
        b"p/000.txt,unknown ending,,,",
        b"p/001.png,still,,animal,",
        b'p/000.png,"a boat, at sea",ink,,5',
    ]
    file.write_bytes(b"\r\n".join(rows))
    found = find_records(file)
    assert [(r.name, r.caption, r.style_group) for r in found.records] == [
        ("p/000.png", "a boat, at sea", "ink")
    ]
    assert len(found.problems) == 8
    text = " | ".join(f"{p.name} {p.reason}" for p in found.problems)
    for words in (
        "caption is not UTF-8",
        "no such file",
        "more fields",
        "no path",
        "address",
        "neither",
        "'animal'",
        "twice",
    ):
        assert words in text
    assert found.notes == [f"{file}: not used: score"]


def test_jsonl(tmp_path: Path) -> None:
    picture_folder(tmp_path, 1)
    write_picture(tmp_path / "anim.webp", 1)
    file = tmp_path / "m.jsonl"
    lines = [
        json.dumps({"file_name": "000.png", "text": "a boat", "style": "ink"}),
        json.dumps({"path": "anim.webp", "caption": "moves", "kind": "clip"}),
        "{",
        "[1]",
        "",
        json.dumps({"path": "000.png", "caption": ["a"]}),
        '{"path": "000.png", "caption": "\\ud800"}',
        json.dumps({"path": "000.png", "caption": "a " * 5000}),
    ]
    file.write_text("\n".join(lines))
    found = find_records(file)
    assert [(r.kind, r.caption, r.style_group) for r in found.records] == [
        (Kind.PICTURE, "a boat", "ink"),
        (Kind.CLIP, "moves", None),
    ]
    assert [Path(problem.name).name for problem in found.problems] == [
        f"m.jsonl:{n}" for n in (3, 4, 6, 7, 8)
    ]


def shard(path: Path, count: int = 6) -> Path:
    members: dict[str, bytes] = {}
    for number in range(count):
        members[f"a/{number:04d}.png"] = png_bytes(number)
        members[f"a/{number:04d}.txt"] = f"thing {number}".encode()
    return write_tar(path, members)


def test_shard_is_read_at_random(tmp_path: Path) -> None:
    found = find_records(shard(tmp_path / "s.tar"))
    assert [r.caption for r in found.records] == [f"thing {n}" for n in range(6)]
    assert not found.problems
    assert [record.source() for record in reversed(found.records)] == [
        png_bytes(n) for n in reversed(range(6))
    ]


@pytest.mark.parametrize("part", [0.5, 0.3, 0.81])
def test_cut_shard_gives_what_comes_before_the_cut(tmp_path: Path, part: float) -> None:
    whole = shard(tmp_path / "whole.tar").read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole[: int(6 * 2 * 1024 * part)])
    found = find_records(cut)
    captions = [record.caption for record in found.records if record.caption]
    assert captions == [f"thing {n}" for n in range(len(captions))] and len(captions) in (2, 3, 4, 5)
    for number, record in enumerate(found.records):
        assert record.source() == png_bytes(number)
    assert "cut short" in reasons(found)[str(cut)]


def test_shard_cut_between_two_members_is_noticed(tmp_path: Path) -> None:
    whole = shard(tmp_path / "whole.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: 2 * 1024 * 2])
    found = find_records(tmp_path / "cut.tar")
    assert len(found.records) == 2 and len(found.problems) == 1


def test_damaged_header_in_the_middle_is_noticed(tmp_path: Path) -> None:
    file = shard(tmp_path / "s.tar")
    data = bytearray(file.read_bytes())
    data[4096 : 4096 + 512] = b"x" * 512
    file.write_bytes(data)
    found = find_records(file)
    assert len(found.records) == 2 and "damaged" in found.problems[0].reason


def test_names_that_leave_the_tar_are_refused(tmp_path: Path) -> None:
    png, text = png_bytes(0), b"a"
    names = ["/etc/x.png", "../x.png", "a/../../x.png", "C:/x.png", "a\\..\\x.png"]
    members = {name: png for name in names} | {"ok.png": png, "ok.txt": text, "empty.png": b""}
    file = write_tar(tmp_path / "s.tar", members)
    with tarfile.open(file, "a") as tar:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    found = find_records(file)
    assert [record.name for record in found.records] == ["s.tar:ok.png"]
    assert sum("leaves the tar" in problem.reason for problem in found.problems) == 5
    assert sorted(p.reason for p in found.problems if "leaves" not in p.reason) == [
        "empty (0 bytes)",
        "refused: not a plain file",
    ]


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, b"\x1f\x8bgzip"])
def test_what_is_no_tar_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.tar").write_bytes(content)
    picture_folder(tmp_path, 1)
    found = find_records(tmp_path)
    assert len(found.records) == 1 and len(found.problems) == 1


def test_folder_of_shards(tmp_path: Path) -> None:
    shard(tmp_path / "s-0.tar", 2)
    shard(tmp_path / "s-1.tar", 3)
    assert len(find_records(tmp_path).records) == 5


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_names_that_begin_with_a_tilde(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_picture(tmp_path / "home" / "x.png", 1)
    write_picture(tmp_path / "~$draft.png", 2)
    names = ["~nosuchuser/x.png", "~$gone.png", "~/x.png", "~$draft.png"]
    file = tmp_path / f"m{suffix}"
    if suffix == ".csv":
        file.write_text("path,caption\n" + "".join(f"{name},a cat\n" for name in names))
    else:
        file.write_text("".join(json.dumps({"path": name, "caption": "a cat"}) + "\n" for name in names))
    found = find_records(file)
    assert [record.path for record in found.records] == [
        tmp_path / "home" / "x.png",
        tmp_path / "~$draft.png",
    ]
    assert [(p.name.rpartition(" ")[2], p.reason) for p in found.problems] == [
        ("~nosuchuser/x.png", "no such file"),
        ("~$gone.png", "no such file"),
    ]
    with pytest.raises(InvalidInputError, match="nosuchuser"):
        find_records("~nosuchuser/pictures")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.timeout(30)
def test_pipes_are_refused_without_reading(tmp_path: Path) -> None:
    picture_folder(tmp_path, 1)
    write_picture(tmp_path / "piped.png", 1)
    write_picture(tmp_path / "linked.png", 1)
    for name in ("piped.txt", "s.tar", "clip.mp4"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "linked.txt").symlink_to(tmp_path / "piped.txt")
    write_picture(tmp_path / "good.png", 1)
    (tmp_path / "good.txt").symlink_to(tmp_path / "000.txt")
    found = find_records(tmp_path)
    assert [(record.name, record.caption) for record in found.records] == [
        ("000.png", "thing 0"),
        ("good.png", "thing 0"),
    ]
    assert {Path(name).name: reason for name, reason in reasons(found).items()} == {
        "piped.png": "the caption piped.txt is not a plain file",
        "linked.png": "the caption linked.txt is not a plain file",
        "s.tar": "not a plain file",
        "clip.mp4": "not a plain file",
    }
    assert [problem.reason for problem in find_records(tmp_path / "s.tar").problems] == ["not a plain file"]
    os.mkfifo(tmp_path / "m.csv")
    with pytest.raises(InvalidInputError, match="not a plain file"):
        find_records(tmp_path / "m.csv")


@pytest.mark.parametrize("name", ["nowhere", "a.zip"])
def test_what_is_no_data_is_refused(tmp_path: Path, name: str) -> None:
    if name == "a.zip":
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(InvalidInputError, match=name):
        find_records(tmp_path / name)


def test_csv_without_a_path_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("image,words\na.png,b\n")
    with pytest.raises(InvalidInputError, match="found image, words"):
        find_records(tmp_path / "m.csv")
