"""Captions of a folder in one table, as Hugging Face's imagefolder has them: `metadata.csv` or `metadata.jsonl`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from stylecrafter.data.records import Found, Problem, printable
from stylecrafter.data.sidecars import CAPTION_KEYS, GROUP_KEYS, SidecarError, text_of
from stylecrafter.data.tables import path_of, read_table
from stylecrafter.errors import InvalidInputError

METADATA_NAMES = ("metadata.csv", "metadata.jsonl")
"""Tables that count for the folder they lie in and those below; the nearer one counts for a file that two name."""
UNREAD_METADATA = "metadata.parquet"


@dataclass(frozen=True, slots=True)
class Listed:
    """A row: where it stands, and what it says of a file."""

    label: str
    folder: str
    caption: str | None
    style_group: str | None


@dataclass
class Metadata:
    """What the tables of a folder say, by the files' names relative to it."""

    root: Path
    rows: dict[str, Listed] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    both: int = 0
    """Files with a caption in a table and in a file of their own."""

    def read(self, folder: Path, names: list[str], found: Found) -> None:
        """Take over the tables among the files of a folder; folders come before those inside them."""
        if UNREAD_METADATA in names:
            found.notes.append(
                f"{printable(folder / UNREAD_METADATA)} is not read; write its file_name and text to metadata.csv"
            )
        for name in METADATA_NAMES:
            if name not in names:
                continue
            try:
                self._read(folder / name, found)
            except InvalidInputError as error:
                found.problems.append(Problem(printable(folder / name), _reason(error, folder / name)))

    def of(self, name: str) -> Listed | None:
        """The row of a file."""
        row = self.rows.get(name)
        if row is not None:
            self.used.add(name)
        return row

    def report(self, found: Found) -> None:
        """Tell of rows that no file was found for, and of captions that came twice."""
        for name, row in self.rows.items():
            if name not in self.used:
                there = os.path.lexists(self.root / name)
                reason = "is no picture or clip that can be read here" if there else "no such file"
                found.problems.append(Problem(f"{row.label} {printable(name)}", reason))
        if self.both:
            found.notes.append(
                f"{self.both} files have a caption of their own and one in a metadata table: their own is used"
            )

    def _read(self, file: Path, found: Found) -> None:
        relative = file.parent.relative_to(self.root).as_posix()
        for number, row in read_table(file, found.notes):
            label = f"{printable(file)}:{number}"
            if isinstance(row, str):
                found.problems.append(Problem(label, row))
                continue
            try:
                name = os.path.normpath(os.path.join(relative, path_of(row)))
                listed = Listed(label, relative, text_of(row, CAPTION_KEYS), text_of(row, GROUP_KEYS))
            except SidecarError as error:
                found.problems.append(Problem(label, str(error)))
                continue
            before = self.rows.get(name)
            if os.path.isabs(name) or name.split(os.sep)[0] == os.pardir:
                found.problems.append(Problem(f"{label} {printable(name)}", "lies outside the folder"))
            elif before is None or before.folder != relative:
                self.rows[name] = listed
            elif before.caption != listed.caption:
                found.problems.append(
                    Problem(f"{label} {printable(name)}", f"listed twice; used as in {before.label}")
                )


def _reason(error: InvalidInputError, file: Path) -> str:
    return str(error).removeprefix(printable(file)).lstrip(": ").rstrip(".")
