"""Lines that are added while work goes on, and what a kill leaves of them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from stylecrafter.errors import OutputError
from stylecrafter.media.json_lines import JsonLines


def named(line: dict[str, Any]) -> bool:
    return "name" in line


def test_half_a_line_harms_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "new" / "lines.jsonl"
    lines = JsonLines(file, named)
    for number in range(3):
        lines.add({"name": number})
    whole = file.read_bytes()
    for end in range(len(whole) + 1):
        file.write_bytes(whole[:end])
        again = JsonLines(file, named)
        again.add({"name": "next"})
        assert JsonLines(file, named).found == [*again.found, {"name": "next"}]
        assert len(again.found) >= whole[:end].count(b"\n")


def test_what_is_no_line_is_left_out_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_bytes(b'{"name": 1}\n[1]\n{"other": 2}\n\xff\n\n{"name": 2}\n')
    with caplog.at_level(logging.WARNING):
        lines = JsonLines(file, named)
    assert lines.found == [{"name": 1}, {"name": 2}] and "3 lines of" in caplog.text
    lines.replace(lines.found)
    assert file.read_bytes() == b'{"name": 1}\n{"name": 2}\n'


def test_places_that_take_no_lines(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        JsonLines(tmp_path, named)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        JsonLines(tmp_path / "file" / "lines.jsonl", named).add({})
