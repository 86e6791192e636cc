"""Names of styles, and where they lie."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stylecrafter.errors import InvalidInputError, OutputError, UnknownNameError
from stylecrafter.references.style_library import (
    FOLDER_VARIABLE,
    add_style,
    check_name,
    find_saved,
    library_folder,
    need_saved,
    remove_style,
    style_file,
    style_names,
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "styles"))
    return tmp_path / "styles"


@pytest.mark.parametrize("name", ["ink", "blue ink", "Tusche-7", "a", "水墨", "v1.2_b", "x" * 64])
def test_names(name: str, folder: Path) -> None:
    assert check_name(name) == name and style_file(name).parent == folder


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../ink",
        "a/b",
        "a\\b",
        "/etc/passwd",
        ".ink",
        "-ink",
        "ink.",
        "ink ",
        " ink",
        "a\nb",
        "a\0b",
    ]
    + ["x" * 65, "con", "NUL", "com1.x", "a:b", "~"],
)
def test_names_that_cannot_be(name: str) -> None:
    for use in (check_name, style_file, need_saved, remove_style):
        with pytest.raises(InvalidInputError, match="is no name for a style: up to 64 letters"):
            use(name)
    assert find_saved(name) is None


def test_saved_found_replaced_removed(folder: Path) -> None:
    assert style_names() == [] and find_saved("ink") is None
    add_style(style_file("ink"), b"1")
    add_style(style_file("oil"), b"2")
    (folder / "notes.txt").write_text("none")
    (folder / ".ink.0123abcd.part").write_text("left behind")
    assert style_names() == ["ink", "oil"] and find_saved("ink") == need_saved("ink") == style_file("ink")
    with pytest.raises(OutputError, match="is there already: .* --force"):
        add_style(style_file("ink"), b"3")
    assert style_file("ink").read_bytes() == b"1"
    add_style(style_file("ink"), b"3", force=True)
    assert style_file("ink").read_bytes() == b"3"
    assert remove_style("ink") == style_file("ink") and style_names() == ["oil"]
    with pytest.raises(UnknownNameError, match="unknown style 'oi'. Did you mean 'oil'"):
        remove_style("oi")


@pytest.mark.skipif(sys.platform != "linux", reason="folders of Linux")
def test_where_they_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert library_folder() == tmp_path / ".local/share/stylecrafter/styles"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert library_folder() == tmp_path / "data/stylecrafter/styles"
    monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")
    with pytest.raises(InvalidInputError, match=f"set {FOLDER_VARIABLE}"):
        library_folder()
