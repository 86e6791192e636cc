"""Captions of a folder: beside the files, in a metadata table, and what other tools left under the same names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from stylecrafter.data.manifest import find_records
from stylecrafter.data.records import Found
from stylecrafter.data.sidecars import SidecarError, read_sidecar
from stylecrafter.errors import InvalidInputError
from tests.data_sources.support import write_picture


def captions(found: Found) -> dict[str, str | None]:
    return {record.name: record.caption for record in found.records}


FOREIGN = {
    "a list": b"[1, 2]",
    "broken": b"{",
    "large": b'{"x": "' + b"a" * 2**20 + b'"}',
    "latin-1": '{"caption": "café"}'.encode("latin-1"),
    "utf-16": '{"caption": "a"}'.encode("utf-16"),
    "deep": b"[" * 10_000,
    "no text": b'{"caption": ["a"]}',
    "a number": b"3",
    "empty": b"",
    "zeros": b"\0" * 10,
    "another tool's": b'{"prompt": "a cat", "seed": 3}',
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_json_costs_no_picture_its_caption(tmp_path: Path, content: bytes) -> None:
    write_picture(tmp_path / "a.png", 1, "a boat")
    (tmp_path / "a.json").write_bytes(content)
    found = find_records(tmp_path)
    assert captions(found) == {"a.png": "a boat"} and not found.problems
    notes = [note for note in found.notes if ".json" in note]
    assert len(notes) == (content != FOREIGN["another tool's"]), notes


@pytest.mark.parametrize("first", [b"", b" \n", b"\xef\xbb\xbf", b"caf\xe9", b"a" * 9000, b"a\0b"])
def test_the_first_caption_file_that_says_something_counts(tmp_path: Path, first: bytes) -> None:
    write_picture(tmp_path / "a.png", 1)
    (tmp_path / "a.txt").write_bytes(first)
    (tmp_path / "a.caption").write_text("a boat")
    (tmp_path / "a.json").write_text('{"caption": "never", "style_group": "ink"}')
    found = find_records(tmp_path)
    assert captions(found) == {"a.png": "a boat"} and found.records[0].style_group == "ink"
    assert not found.problems and any(".txt files beside another caption" in note for note in found.notes)


def test_where_nothing_serves_the_first_reason_is_told(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 1, "")
    (tmp_path / "a.json").write_text("[")
    write_picture(tmp_path / "b.png", 1)
    (tmp_path / "b.json").write_text('{"prompt": "a cat"}')
    found = find_records(tmp_path)
    assert captions(found) == {"b.png": None}
    assert [(Path(p.name).name, p.reason) for p in found.problems] == [("a.png", "the caption file is empty")]
    assert "1 .json files give no caption (first b.png: no caption or text in it, but prompt)" in found.notes


def test_a_style_of_another_kind_costs_no_caption(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 1)
    (tmp_path / "a.json").write_text('{"caption": "a boat", "style": ["ink", "wash"]}')
    found = find_records(tmp_path)
    assert captions(found) == {"a.png": "a boat"} and not found.problems
    assert any("(first a.png: style must be a text, not list)" in note for note in found.notes)


def test_a_json_alone_is_no_lost_caption(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 1, "a boat")
    (tmp_path / "dataset_infos.json").write_text("{}")
    found = find_records(tmp_path)
    assert captions(found) == {"a.png": "a boat"} and not found.problems
    assert "1 files with the ending .json are not read" in found.notes


def test_names_of_caption_files(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", 1)
    (tmp_path / "a.jpg.txt").write_text("its own")
    write_picture(tmp_path / "a.png", 1)
    (tmp_path / "a.TXT").write_text("of the stem")
    write_picture(tmp_path / "b.png", 1)
    (tmp_path / "b.png.caption").write_text("whole name")
    (tmp_path / "c.png.txt").write_text("nobody's")
    found = find_records(tmp_path)
    assert captions(found) == {"a.jpg": "its own", "a.png": "of the stem", "b.png": "whole name"}
    assert [Path(problem.name).name for problem in found.problems] == ["c.png.txt"]


def test_a_large_json_may_hold_a_caption(tmp_path: Path) -> None:
    data = json.dumps({"exif": "x" * 20_000, "caption": "a boat"}).encode()
    assert read_sidecar(".json", data).caption == "a boat"
    with pytest.raises(SidecarError, match="8,192"):
        read_sidecar(".json", json.dumps({"caption": "a " * 5000}).encode())
    with pytest.raises(SidecarError, match="zero bytes"):
        read_sidecar(".json", b'{"caption": "a\\u0000b"}')


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_metadata_of_hugging_face_is_read(tmp_path: Path, suffix: str) -> None:
    for name in ("a.png", "b.png", "train/c.png", "train/deep/d.png", "silent.png"):
        write_picture(tmp_path / name, 1)
    (tmp_path / "b.txt").write_text("its own")
    root = [
        ("a.png", "of a"),
        ("b.png", "of b"),
        ("train/c.png", "too far"),
        ("gone.png", "x"),
        ("../o.png", "x"),
    ]
    near = [("c.png", "of c"), ("./deep/d.png", "of d")]
    for folder, rows in ((tmp_path, root), (tmp_path / "train", near)):
        if suffix == ".csv":
            lines = ["file_name,text", *(f"{name},{text}" for name, text in rows)]
        else:
            lines = [json.dumps({"file_name": name, "text": text}) for name, text in rows]
        (folder / f"metadata{suffix}").write_text("\n".join(lines) + "\n")
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    found = find_records(tmp_path)
    assert captions(found) == {
        "a.png": "of a",
        "b.png": "its own",
        "silent.png": None,
        "train/c.png": "of c",
        "train/deep/d.png": "of d",
    }
    assert sorted((p.name.rpartition(" ")[2], p.reason) for p in found.problems) == [
        ("../o.png", "lies outside the folder"),
        ("gone.png", "no such file"),
    ]
    notes = " | ".join(found.notes)
    assert (
        "metadata.parquet is not read" in notes
        and "1 files have a caption of their own and one in a" in notes
    )
    assert "ending .csv" not in notes and "ending .jsonl" not in notes


def test_metadata_stands_in_for_a_caption_file_that_says_nothing(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 1, "")
    (tmp_path / "metadata.csv").write_text("file_name,caption,style_group\na.png,a boat,ink\na.png,a cat,\n")
    found = find_records(tmp_path)
    assert captions(found) == {"a.png": "a boat"} and found.records[0].style_group == "ink"
    assert ["listed twice" in problem.reason for problem in found.problems] == [True]


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"\xff\xfea", b"", b'"'])
def test_broken_metadata_is_told_and_the_pictures_are_found(tmp_path: Path, content: bytes) -> None:
    write_picture(tmp_path / "a.png", 1, "a boat")
    (tmp_path / "metadata.csv").write_bytes(content)
    found = find_records(tmp_path)
    assert captions(found) == {"a.png": "a boat"}
    assert [Path(problem.name).name for problem in found.problems] == ["metadata.csv"]


def test_odd_places_end_in_one_line_or_one_problem(tmp_path: Path) -> None:
    for name in ("x" * 300, "a\0b", str(tmp_path / "a" / "b")):
        with pytest.raises(InvalidInputError):
            find_records(name)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with open(tmp_path / "big.txt", "wb") as file:
        file.truncate(2**33)
    write_picture(tmp_path / "big.png", 1)
    write_picture(tmp_path / "a.png", 1)
    (tmp_path / "a.txt").symlink_to("/dev/zero")
    found = find_records(tmp_path)
    assert captions(found) == {}
    said = {Path(problem.name).name: problem.reason for problem in found.problems}
    assert said.keys() == {"loop.png", "big.png", "a.png"}
    assert "too large" in said["big.png"] and "not a plain file" in said["a.png"]
    assert "1 links to folders are not followed" in found.notes


def test_folders_inside_each_other_without_end(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(1200):
        deep = deep / "d"
    try:
        os.makedirs(deep)
    except (OSError, RecursionError):
        pytest.skip("no such paths on this system")
    write_picture(deep / "a.png", 1, "a boat")
    assert list(captions(find_records(tmp_path)).values()) == ["a boat"]
