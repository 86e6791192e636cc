from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.media import documents
from stylecrafter.media.documents import (
    MAX_DEPTH,
    expand_home,
    is_file,
    is_folder,
    parse_json,
    parse_yaml,
    read_bytes,
    read_json,
    read_text,
    read_yaml,
    shown,
)

unix = pytest.mark.skipif(sys.platform == "win32", reason="such files are a Unix feature")
ODD_NAMES = ["", "a\0b", "x" * 300, "d/" * 3000, "~nobody-of-this-name/a", "\ud800", "\udcff"]


def short(value: str) -> str:
    """What a value is called in the name of a test."""
    return ascii(value)[:20]


def said(reader: Callable[[], object], error: type[InvalidInputError] = InvalidInputError) -> str:
    """What the refusal says: one line, of exactly the class that was asked for."""
    with pytest.raises(error) as caught:
        reader()
    assert type(caught.value) is error
    message = str(caught.value)
    assert "\n" not in message and len(message) < 800
    message.encode()  # can be shown
    return message


# ---------------------------------------------------------------------------------------------------------------- files


def test_bytes_up_to_the_limit_and_not_one_more(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"x" * 1000)
    assert read_bytes(file, limit=1000) == b"x" * 1000
    assert (
        said(lambda: read_bytes(file, limit=999))
        == f"{file} is too large: 1,000 bytes, and at most 999 are read."
    )


@pytest.mark.skipif(sys.platform != "linux", reason="looks at a file of Linux")
def test_a_file_that_gives_no_size_is_read_within_the_limit() -> None:
    assert os.stat("/proc/self/status").st_size == 0
    assert read_bytes("/proc/self/status").startswith(b"Name:")
    assert "more than 10 bytes" in said(lambda: read_bytes("/proc/self/status", limit=10))


def test_a_sparse_file_of_terabytes_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    with open(file, "wb") as sparse:
        try:
            sparse.truncate(2**40)
        except OSError:
            pytest.skip("this file system has no sparse files of that size")
    assert "too large" in said(lambda: read_json(file))


@pytest.mark.parametrize("reader", [read_bytes, read_text, read_json, read_yaml])
def test_the_error_is_the_one_that_was_asked_for(tmp_path: Path, reader: Callable[..., Any]) -> None:
    assert "no such file" in said(lambda: reader(tmp_path / "a", error=CheckpointError), CheckpointError)
    assert "is a folder" in said(lambda: reader(tmp_path, error=CheckpointError), CheckpointError)


@unix
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/urandom"])
def test_devices_are_no_files(device: str) -> None:
    assert said(lambda: read_bytes(device)) == f"{device} is not a plain file."


@unix
def test_a_pipe_is_refused_without_waiting_for_who_writes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    answers: list[str] = []
    asking = threading.Thread(
        target=lambda: answers.append(said(lambda: read_json(tmp_path / "pipe"))), daemon=True
    )
    asking.start()
    asking.join(timeout=20)
    assert answers == [f"{tmp_path / 'pipe'} is not a plain file."]


@unix
def test_links_that_lead_nowhere_or_in_circles(tmp_path: Path) -> None:
    (tmp_path / "lost").symlink_to("gone")
    (tmp_path / "circle").symlink_to("circle")
    assert "no such file" in said(lambda: read_bytes(tmp_path / "lost"))
    assert "cannot be read" in said(lambda: read_bytes(tmp_path / "circle"))


@unix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("{}")
    file.chmod(0)
    assert "cannot be read: Permission denied" in said(lambda: read_json(file))


def test_a_file_taken_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    assert "cannot be read" in said(lambda: read_bytes(tmp_path / "a" / "b"))


@pytest.mark.parametrize("name", ODD_NAMES, ids=short)
def test_names_that_no_file_can_have_are_one_line(name: str) -> None:
    assert said(lambda: read_bytes(name))
    assert not is_file(name) and not is_folder(name)
    assert str(expand_home(name)) in (name, ".", name.rstrip("/"))


@unix
def test_a_deleted_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert said(lambda: read_bytes("a.json")) == "a.json: no such file."
    assert not is_file("a.json") and not is_folder("a")


def test_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert expand_home("~/a.png") == tmp_path / "a.png"
    assert expand_home("a/~/b") == Path("a/~/b")
    for name in ("~$draft.png", "~nobody-of-this-name"):
        assert expand_home(name) == Path(name)


def test_names_are_shown_in_one_line_and_not_at_any_length() -> None:
    assert shown(Path("a b/ä.png")) == os.path.join("a b", "ä.png")
    assert shown("a\nb\x1b[31m\u202e") == "a\ufffdb\ufffd[31m\ufffd"
    assert len(shown("x" * 5000)) < 200
    shown("\udcff\ud800").encode()


# ----------------------------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize("data", ["größer\n".encode(), "\ufeffgrößer\n".encode()])
def test_text_with_and_without_a_mark(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert read_text(tmp_path / "a.txt") == "größer\n"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("größer".encode("latin-1"), "is not UTF-8: byte 0xf6 at 2"),
        ("größer".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        (b"\xfe\xff" + "größer".encode("utf-16-be"), "is UTF-16; save it as UTF-8"),
        ("größer".encode("utf-32"), "is UTF-32; save it as UTF-8"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "is a PNG image"),
        (b"\x1f\x8b\x08\x00\x00\xff", "is a gzip archive"),
        (b"\xed\xa0\x80", "is not UTF-8"),  # half of a pair
    ],
)
@pytest.mark.parametrize("reader", [read_text, read_json, read_yaml])
def test_what_is_no_utf8_is_told_for_what_it_is(
    tmp_path: Path, reader: Callable[..., Any], data: bytes, says: str
) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert says in said(lambda: reader(tmp_path / "a.txt"))


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = "<!DOCTYPE html>\n<html><body>404: not found</body></html>"


@pytest.mark.parametrize(("text", "says"), [(LFS, "Git LFS pointer"), (PAGE, "web page (HTML)")])
def test_pointers_and_pages_instead_of_documents(text: str, says: str) -> None:
    assert says in said(lambda: parse_json(text, "a.json"))
    assert says in said(lambda: parse_json(text.encode(), "a.json"))
    if text is PAGE:  # a pointer is a document of YAML, for whoever wants to know what it says
        assert said(lambda: parse_yaml(f"{text}\n: [", "a.yaml"))


# ----------------------------------------------------------------------------------------------------------------- JSON


@pytest.mark.parametrize("content", [{"a": [1, 2.5, None, True, "ä"]}, [], "text", 7, None])
def test_json_is_read(tmp_path: Path, content: object) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert read_json(tmp_path / "a.json") == content
    assert parse_json(json.dumps(content).encode(), "a") == content


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("{'a': 1}", "not JSON"),
        ('{"a": 1} x', "not JSON: Extra data"),
        ("[1, 2", "not JSON"),
        ("a\0b", "not JSON"),
        ("1" * 5000, "holds a number of thousands of digits"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
    ],
    ids=short,
)
def test_what_is_no_json(text: str, says: str) -> None:
    message = said(lambda: parse_json(text, "a.json", error=CheckpointError), CheckpointError)
    assert message.startswith("a.json ") and says in message


def nested(depth: int, opening: str, closing: str, inner: str = "1") -> str:
    return opening * depth + inner + closing * depth


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": ', "}")])
@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
def test_as_deep_as_is_allowed(parse: Callable[[str, str], Any], opening: str, closing: str) -> None:
    assert parse(nested(MAX_DEPTH, opening, closing), "a") is not None
    assert "nested too deeply" in said(lambda: parse(nested(MAX_DEPTH + 1, opening, closing), "a"))


def test_too_many_lists_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_VALUES", 1000)
    monkeypatch.setattr(documents.json, "loads", lambda text: pytest.fail("was read"))
    assert "holds too much" in said(lambda: parse_json("[" + "[]," * 1000 + "[]]", "a.json"))


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
def test_as_many_values_as_are_allowed(
    parse: Callable[[str, str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MAX_VALUES", 1000)
    assert len(parse(f"[{', '.join(['1'] * 1000)}]", "a")) == 1000
    assert "holds too much" in said(lambda: parse(f"[{', '.join(['1'] * 1001)}]", "a"))


# ----------------------------------------------------------------------------------------------------------------- YAML


def test_yaml_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: &a {x: 1}\nb: {<<: *a, y: [2, 1:30]}\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": {"x": 1}, "b": {"x": 1, "y": [2, 90]}}
    assert parse_yaml("", "a") is None and parse_yaml("# nothing\n", "a") is None
    assert parse_yaml("a: &a 1\nb: [*a, *a]", "a") == {"a": 1, "b": [1, 1]}


@pytest.mark.parametrize(
    "text",
    [
        "a: [1",
        "a: 1\n---\nb: 2",
        "a\0b",
        "a: 2024-13-45",
        "? [a]\n: b",
        "*nothing",
        "<<: 1",
        "!unknown x",
        "!!map x",
        "!!int x",
        "!!bool x",
        "!!float ''",
        "!!timestamp x",
        "!!binary ä",
        "!!python/object/apply:os.system ['true']",
        "!!python/name:os.system",
    ],
)
def test_what_is_no_plain_yaml(text: str) -> None:
    assert said(lambda: parse_yaml(text, "a.yaml", error=CheckpointError), CheckpointError).startswith(
        "a.yaml is not YAML"
    )


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 5000 + "]" * 5000, "- " * 3000 + "a"], ids=short)
def test_nesting_without_end(text: str) -> None:
    assert "nested too deeply" in said(lambda: parse_yaml(text, "a.yaml"))


@pytest.mark.parametrize("text", ["&a [*a]", "a: &a {b: *a}", "&a [[1, *a]]"])
def test_what_holds_itself(text: str) -> None:
    assert "nested too deeply" in said(lambda: parse_yaml(text, "a.yaml"))


def test_an_alias_bomb() -> None:
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert "holds too much" in said(lambda: parse_yaml("\n".join(["a0: &a0 [x]", *levels]), "a.yaml"))


def test_bombs_of_merges_are_refused_before_they_go_off() -> None:
    levels = [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 12)]
    assert "holds too much" in said(
        lambda: parse_yaml("\n".join(["a0: &a0 {x: 1, y: 2}", *levels]), "a.yaml")
    )
    wide = ", ".join(f"k{i}: 1" for i in range(4000))
    flat = f"a: &a {{{wide}}}\nb: {{<<: [{', '.join(['*a'] * 4000)}]}}"
    assert "holds too much" in said(lambda: parse_yaml(flat, "a.yaml"))
    assert parse_yaml("a: &a {<<: *a, x: 1}", "a.yaml") == {"a": {"x": 1}}


@pytest.mark.parametrize("number", ["1" * 100_000, "1" + ":1" * 100_000, "0x" + "f" * 100_000], ids=short)
def test_numbers_that_take_for_ever_to_reckon(number: str) -> None:
    assert "a number of" in said(lambda: parse_yaml(f"a: {number}", "a.yaml"))
    assert len(parse_yaml(f"a: '{number}'", "a.yaml")["a"]) == len(number)
