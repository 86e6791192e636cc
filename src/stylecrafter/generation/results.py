"""`results.jsonl`: one line of json per entry of a batch that was tried.

A finished entry is told by its output, which is moved into place in one step. The line is added after that,
so a process that is killed between the two leaves an output without a line; going on mends that.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stylecrafter.errors import InvalidInputError, OutputError
from stylecrafter.generation.batch_file import Entry
from stylecrafter.media.files import write_atomic
from stylecrafter.media.metadata import GenerationRecord, read_metadata, read_record
from stylecrafter.media.video import check_frames

RESULTS_NAME = "results.jsonl"


class Results:
    """The lines, by the name of their entry; what cannot be read of an older file is dropped."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lines: dict[str, dict[str, Any]] = {}
        if file.exists():
            for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
                line = _parse(text)
                if line is not None:
                    self._lines[line["name"]] = line
            self.tidy()

    def is_finished(self, entry: Entry, output: Path, fits: Callable[[GenerationRecord], bool]) -> bool:
        """Whether the output is whole and made from what `fits` accepts."""
        if not output.is_file():
            return False
        try:
            record = self._record_of(entry, output)
            if record is None or not fits(record):
                return False
            check_frames(output, record.frames)
        except InvalidInputError:
            return False
        if self._lines.get(entry.name, {}).get("status") != "done":
            self.add_done(entry, output, record, None)
        return True

    def add_done(self, entry: Entry, output: Path, record: GenerationRecord, seconds: float | None) -> None:
        """Add the line of an output that is in place."""
        self._add(
            entry,
            status="done",
            file=output.name,
            sha256=_hash(output),
            seconds=None if seconds is None else round(seconds, 3),
            record=record.model_dump(),
        )

    def add_failed(self, entry: Entry, error: str) -> None:
        """Add the line of an entry that could not be made."""
        self._add(entry, status="failed", error=error, prompt=entry.prompt, styles=list(entry.styles))

    def tidy(self) -> None:
        """Write all lines in order, one per entry."""
        lines = sorted(self._lines.values(), key=lambda line: int(line["index"]))
        write_atomic(self._file, b"".join(_line(line) for line in lines))

    def _record_of(self, entry: Entry, output: Path) -> GenerationRecord | None:
        if read_metadata(output) is not None:
            return read_record(output)
        # Written without settings inside: the line has them, if it is about this very file.
        line = self._lines.get(entry.name, {})
        if line.get("status") != "done" or line.get("sha256") != _hash(output):
            return None
        return GenerationRecord.from_json(json.dumps(line.get("record")))

    def _add(self, entry: Entry, **values: Any) -> None:
        line = {"index": entry.index, "name": entry.name, **values}
        self._lines[entry.name] = line
        try:
            with open(self._file, "ab") as file:
                file.write(_line(line))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {self._file}: {error.strerror}.") from error


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"


def _parse(text: str) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None  # the last line of a killed process
    known = (
        isinstance(line, dict) and isinstance(line.get("name"), str) and isinstance(line.get("index"), int)
    )
    return line if known else None


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
