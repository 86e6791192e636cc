"""CSV and JSONL: what is broken in a line costs that line, and is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylecrafter.data.manifest import find_records
from stylecrafter.data.records import Found
from stylecrafter.errors import InvalidInputError
from tests.data_sources.support import write_picture


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for name in "abcd":
        write_picture(tmp_path / f"{name}.png", 1)
    return tmp_path / "m.csv"


def read(file: Path, *lines: str, end: str = "\n") -> Found:
    file.write_bytes(end.join(("path,caption", *lines, "")).encode())
    return find_records(file)


def names(found: Found) -> str:
    return "".join(record.name[0] for record in found.records)


def lines(found: Found) -> list[int]:
    return [int(problem.name.rpartition(":")[2]) for problem in found.problems]


@pytest.mark.parametrize(
    ("rows", "kept", "broken"),
    [
        (['a.png,"a boat', "b.png,a dog", "c.png,a cat"], "bc", [2]),
        (['a.png,"a boat', 'b.png,"a dog"', "c.png,a cat"], "bc", [2]),
        (['a.png,"a boat', "b.png,a dog", 'c.png,"a cat"', "d.png,x"], "bcd", [2]),
        (["a.png,a boat", 'b.png,"a dog'], "a", [3]),
        (['a.png,"a boat', "b.png,a dog", 'c.png,a cat"'], "bc", [2]),
        (['"a.png,a boat', "b.png,a dog"], "b", [2]),
        (['a.png,"a ""boat', "b.png,x"], "b", [2]),
        (['a.png,"a "red" boat"', "b.png,x"], "b", [2]),
        (['a.png,"a boat" x', "b.png,x"], "b", [2]),
        (['a.png,"' + "long " * 30_000, "b.png,x"], "b", [2]),
        (['a.png,a "red" boat', "b.png,x"], "ab", []),
    ],
)
def test_a_quote_that_is_not_closed_costs_its_line(
    file: Path, rows: list[str], kept: str, broken: list[int]
) -> None:
    found = read(file, *rows)
    assert names(found) == kept and lines(found) == broken
    assert all("quote" in problem.reason or "limit" in problem.reason for problem in found.problems)


def test_captions_of_several_lines_are_captions(file: Path) -> None:
    found = read(file, 'a.png,"a boat', 'at sea, in the evening"', "b.png,x")
    assert [(r.name, r.caption) for r in found.records] == [
        ("a.png", "a boat at sea, in the evening"),
        ("b.png", "x"),
    ]
    assert not found.problems


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_marks(file: Path, end: str, mark: str) -> None:
    file.write_bytes((mark + end.join(("path,caption", "a.png,x", "", "b.png,y", ""))).encode())
    assert [record.caption for record in find_records(file).records] == ["x", "y"]
    other = file.with_suffix(".jsonl")
    other.write_bytes(
        (mark + end.join(('{"path": "a.png"}', "", '{"path": "b.png", "caption": "\u2028 y"}'))).encode()
    )
    assert [record.caption for record in find_records(other).records] == [None, "y"]


@pytest.mark.parametrize(("delimiter", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_other_delimiters_are_read_and_told(file: Path, delimiter: str, word: str) -> None:
    rows = (("path", "caption"), ("a.png", "a boat, at sea"), ("b.png", '"x"'))
    file.write_text("".join(delimiter.join(row) + "\n" for row in rows))
    found = find_records(file)
    assert [record.caption for record in found.records] == ["a boat, at sea", "x"]
    assert any(word in note for note in found.notes)


def test_names_keep_their_white_space(file: Path) -> None:
    write_picture(file.parent / "two  blanks.png", 1)
    assert [r.name for r in read(file, " two  blanks.png ,a  boat").records] == ["two  blanks.png"]


@pytest.mark.parametrize(
    "row", ["a.png,a\0b", "a\0.png,x", "a.png," + "a" * 9000, "a" * 300 + ".png,x", "[.png,x"]
)
def test_absurd_rows_cost_their_line(file: Path, row: str) -> None:
    found = read(file, row, "b.png,x")
    assert names(found) == "b" and len(found.problems) == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.csv", b"path,caption,caption\n", "two columns are called caption"),
        ("m.csv", b'"path\n', "the first line is not CSV"),
        ("m.csv", b"", "found nothing"),
        ("m.jsonl", b'[{"path": "a.png"},\n{"path": "b.png"}]\n', "an object in every line"),
        ("m.jsonl", b"\xff\xfe{", "UTF-16"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInputError, match=said):
        find_records(tmp_path / name)


def test_absurd_json_costs_its_line(file: Path) -> None:
    other = file.with_suffix(".jsonl")
    other.write_bytes(
        b'{"path": "a.png", "caption": "x"}\n' + b"[" * 100_000 + b'\n{"path": ' + b"9" * 5000 + b"}\n{}\n"
    )
    found = find_records(other)
    assert names(found) == "a" and lines(found) == [2, 3, 4]


def test_the_nameless_column_of_numbers_is_not_told(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 1)
    (tmp_path / "list.csv").write_text(",file_name,text\n0,a.png,a boat\n")
    found = find_records(tmp_path / "list.csv")
    assert [record.caption for record in found.records] == ["a boat"] and not found.notes
