"""What a study found, and how it is written down."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylecrafter import __version__
from stylecrafter.evaluation.report import table
from stylecrafter.media.files import write_atomic

DATA_NAME, TABLES_NAME = "study.json", "tables.md"


@dataclass(frozen=True)
class Table:
    """Rows of text under a title; `note` says how to read them."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Attributes:
        title: One line.
        tables: In the order in which they are read.
        plots: Name -> SVG.
        data: Every number behind tables and plots, for json.
        settings: All that they depend on.
    """

    title: str
    tables: Sequence[Table]
    plots: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def write_result(result: StudyResult, folder: str | os.PathLike[str]) -> Path:
    """Write `study.json`, `tables.md` and one svg per plot; returns the path of the tables.

    Raises:
        OutputError: The folder cannot be written.
    """
    target = Path(folder)
    content = {
        "title": result.title,
        "stylecrafter": __version__,
        "settings": result.settings,
        "data": result.data,
    }
    write_atomic(target / DATA_NAME, (json.dumps(content, indent=1) + "\n").encode())
    for name, svg in result.plots.items():
        write_atomic(target / f"{name}.svg", svg.encode())
    return write_atomic(target / TABLES_NAME, to_markdown(result).encode())


def to_markdown(result: StudyResult) -> str:
    """Tables and plots of a study."""
    lines = [f"# {result.title}", ""]
    for one in result.tables:
        lines += [f"## {one.title}", "", *table(one.head, one.rows), ""]
        if one.note:
            lines += [one.note, ""]
    for name in result.plots:
        lines += [f"![{name}]({name}.svg)", ""]
    lines += ["```json", json.dumps(result.settings, indent=1), "```"]
    return "\n".join(lines) + "\n"
