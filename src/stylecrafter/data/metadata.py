"""Captions of a folder in one table, as Hugging Face's imagefolder has them: `metadata.csv` or `metadata.jsonl`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from stylecrafter.data.records import Found, Problem, reason_of
from stylecrafter.data.tables import Row, read_table
from stylecrafter.errors import InvalidInputError
from stylecrafter.media.documents import shown

METADATA_NAMES = ("metadata.csv", "metadata.jsonl")
"""Tables that count for the folder they lie in and those below; the nearer one counts for a file that two name."""
UNREAD_METADATA = "metadata.parquet"


@dataclass
class Metadata:
    """What the tables of a folder say.

    Attributes:
        rows: By the file's name relative to the folder, the table that names it and its row there.
    """

    root: Path
    rows: dict[str, tuple[Path, Row]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    both: int = 0
    """Files with a caption in a table and in a file of their own."""

    def read(self, folder: Path, names: list[str], found: Found) -> None:
        """Take over the tables among the files of a folder; folders come before those inside them."""
        if UNREAD_METADATA in names:
            found.notes.append(
                f"{shown(folder / UNREAD_METADATA)} is not read; write its file_name and text to metadata.csv"
            )
        for name in METADATA_NAMES:
            if name not in names:
                continue
            try:
                self._read(folder / name, found)
            except InvalidInputError as error:
                found.problems.append(Problem(shown(folder / name), reason_of(error, shown(folder / name))))

    def of(self, name: str) -> Row | None:
        """The row of a file."""
        if name not in self.rows:
            return None
        self.used.add(name)
        return self.rows[name][1]

    def report(self, found: Found) -> None:
        """Tell of rows that no file was found for, and of captions that came twice."""
        for name, (_, row) in self.rows.items():
            if name not in self.used:
                there = os.path.lexists(self.root / name)
                reason = "is no picture or clip that can be read here" if there else "no such file"
                found.problems.append(Problem(f"{row.label} {shown(name)}", reason))
        if self.both:
            found.notes.append(
                f"{self.both} files have a caption of their own and one in a metadata table: their own is used"
            )

    def _read(self, file: Path, found: Found) -> None:
        for row in read_table(file, found):
            name = os.path.normpath(os.path.join(file.parent.relative_to(self.root).as_posix(), row.name))
            table, before = self.rows.get(name, (None, row))
            if os.path.isabs(name) or name.split(os.sep)[0] == os.pardir:
                found.problems.append(Problem(f"{row.label} {shown(name)}", "lies outside the folder"))
            elif table is None or table.parent != file.parent:
                self.rows[name] = file, row
            elif before.caption != row.caption:
                found.problems.append(
                    Problem(f"{row.label} {shown(name)}", f"listed twice; used as in {before.label}")
                )
