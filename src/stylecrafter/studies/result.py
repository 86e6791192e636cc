"""What a study found, and how it is written down."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from stylecrafter import __version__
from stylecrafter.evaluation.report import shown, table
from stylecrafter.evaluation.statistics import bootstrap_mean, paired_difference
from stylecrafter.media.files import write_atomic

DATA_NAME, TABLES_NAME = "study.json", "tables.md"
SHEET_QUALITY = 85


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """What a study looks at; the settings that all of them have.

    Attributes:
        steps: Of sampling; None: the model's.
        dtype: Of the model's weights while it samples; "auto" is the device's.
    """

    steps: int | None = None
    dtype: str = "auto"


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
        sheets: Name -> pictures to be looked at.
        data: Every number behind tables and plots, for json.
        settings: All that they depend on.
    """

    title: str
    tables: Sequence[Table]
    plots: Mapping[str, str] = field(default_factory=dict)
    sheets: Mapping[str, Image.Image] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def write_result(result: StudyResult, folder: str | os.PathLike[str]) -> Path:
    """Write `study.json`, `tables.md`, an svg per plot and a webp per sheet; returns the path of the tables.

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
    for name, sheet in result.sheets.items():
        buffer = io.BytesIO()
        sheet.save(buffer, "WEBP", quality=SHEET_QUALITY)
        write_atomic(target / f"{name}.webp", buffer.getvalue())
    return write_atomic(target / TABLES_NAME, to_markdown(result).encode())


def listed(values: torch.Tensor) -> Any:
    """A tensor as lists for json; five digits are more than any of it is worth."""
    return (values.double() * 1e5).round().div(1e5).tolist()


def shown_mean(values: torch.Tensor | Sequence[float], clusters: Sequence[Hashable] | None = None) -> str:
    """The mean with its interval, as tables show it; a dash where there are no values."""
    numbers = listed(values) if isinstance(values, torch.Tensor) else values
    return shown(bootstrap_mean(numbers, clusters) if len(numbers) else None)


def shown_change(before: Sequence[float], after: Sequence[float], clusters: Sequence[Hashable]) -> str:
    """The mean paired difference with its p, as tables show it."""
    difference = paired_difference(before, after, clusters)
    return f"{difference.mean:+.3f}, p = {difference.p_value:.3f}"


def means_row(
    name: str,
    columns: Sequence[torch.Tensor],
    clusters: Sequence[Hashable] | None = None,
    against: Sequence[torch.Tensor] = (),
    digits: int = 3,
) -> tuple[str, ...]:
    """A row of means, each with p of the paired difference to the same column of `against`, where that is given."""
    cells = [shown_mean(column, clusters) for column in columns]
    for k, (other, column) in enumerate(zip(against, columns, strict=False)):
        p = paired_difference(listed(other), listed(column), clusters).p_value
        cells[k] += f", p = {p:.{digits}f}"
    return (name, *cells)


def to_markdown(result: StudyResult) -> str:
    """Tables and plots of a study."""
    lines = [f"# {result.title}", ""]
    for one in result.tables:
        lines += [f"## {one.title}", "", *table(one.head, one.rows), ""]
        if one.note:
            lines += [one.note, ""]
    for file in (*(f"{name}.svg" for name in result.plots), *(f"{name}.webp" for name in result.sheets)):
        lines += [f"![{Path(file).stem}]({file})", ""]
    lines += ["```json", json.dumps(result.settings, indent=1), "```"]
    return "\n".join(lines) + "\n"
