"""`results.jsonl`: one line of json per entry of a batch that was tried.

A finished entry is told by its output, which is moved into place in one step. The line is added after that,
so a process that is killed between the two leaves an output without a line; going on mends that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stylecrafter.errors import InvalidInputError
from stylecrafter.generation.batch_file import Entry
from stylecrafter.generation.paths import portable_path, readable, without_folders
from stylecrafter.generation.record import GenerationRecord, read_record
from stylecrafter.media.images import file_hash
from stylecrafter.media.json_lines import JsonLines
from stylecrafter.media.metadata import read_metadata
from stylecrafter.media.video import check_frames

RESULTS_NAME = "results.jsonl"


class Results:
    """The lines, by the name of their entry; what cannot be read of an older file is dropped.

    Raises:
        OutputError: There is something of that name that is no file, or that is too large.
    """

    def __init__(self, file: Path) -> None:
        self._file = JsonLines(file, _is_result)
        self._lines = {line["name"]: line for line in self._file.found}
        if os.path.exists(file):
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
            sha256=file_hash(output),
            seconds=None if seconds is None else round(seconds, 3),
            record=record.model_dump(),
        )

    def add_failed(self, entry: Entry, output: Path, error: str) -> None:
        """Add the line of an entry that could not be made; like an output it names no folders of the machine."""
        styles = [portable_path(path, output) or readable(os.path.basename(path)) for path in entry.styles]
        error = without_folders(error, entry.reads)
        self._add(entry, status="failed", error=error, prompt=entry.prompt, styles=styles)

    def tidy(self) -> None:
        """Write all lines in order, one per entry."""
        self._file.replace(sorted(self._lines.values(), key=lambda line: int(line["index"])))

    def _record_of(self, entry: Entry, output: Path) -> GenerationRecord | None:
        if read_metadata(output) is not None:
            return read_record(output)
        # Written without settings inside: the line has them, if it is about this very file.
        line = self._lines.get(entry.name, {})
        try:
            same = line.get("status") == "done" and line.get("sha256") == file_hash(output)
        except OSError:
            return None
        if not same:
            return None
        return GenerationRecord.from_json(json.dumps(line.get("record")))

    def _add(self, entry: Entry, **values: Any) -> None:
        line = {"index": entry.index, "name": entry.name, **values}
        self._lines[entry.name] = line
        self._file.add(line)


def _is_result(line: dict[str, Any]) -> bool:
    return isinstance(line.get("name"), str) and isinstance(line.get("index"), int)
