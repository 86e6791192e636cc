"""What a benchmark gives, and how it is written down: JSON with every run, Markdown with what they say."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import Cost, Spread, ratios
from stylecrafter.media.files import write_atomic


class Skipped(Exception):
    """A benchmark that cannot be run here; the message says why."""


@dataclass(frozen=True)
class Comparison:
    """One row of the report: the same work by several.

    Attributes:
        title: What is done.
        part: "one pass", "denoising" or "end to end".
        costs: Name -> every run; the first is what the others are compared with.
        quality: Name -> what came of it, beside the first.
        notes: What a reader has to know, such as what was computed from what.
    """

    title: str
    part: str
    costs: Mapping[str, Sequence[Cost]]
    quality: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def lines(self) -> list[str]:
        """As Markdown."""
        base = next(iter(self.costs.values()))
        table = [
            ["", "wall s", "CPU s", "faster (wall)", "faster (CPU)", "peak", "quality"],
            ["---", *["---:"] * 5, "---"],
        ]
        for name, runs in self.costs.items():
            peaks = [run.peak for run in runs if run.peak is not None]
            table.append(
                [
                    name,
                    *(shown(Spread.of([getattr(run, of) for run in runs])) for of in ("wall", "cpu")),
                    *(("1" if runs is base else shown(ratios(base, runs, of))) for of in ("wall", "cpu")),
                    f"{max(peaks) / 2**30:.2f} GiB" if peaks else "",
                    self.quality.get(name, ""),
                ]
            )
        rows = ["| " + " | ".join(cells) + " |" for cells in table]
        return [f"### {self.title}: {self.part}", "", *rows, "", *(f"- {note}" for note in self.notes), ""]

    def values(self) -> dict[str, Any]:
        """As JSON."""
        base = next(iter(self.costs.values()))
        return {
            "title": self.title,
            "part": self.part,
            "runs": {name: [dataclasses.asdict(run) for run in runs] for name, runs in self.costs.items()},
            "faster": {
                name: {of: dataclasses.asdict(ratios(base, runs, of)) for of in ("wall", "cpu")}
                for name, runs in self.costs.items()
            },
            "quality": dict(self.quality),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Facts:
    """Numbers that compare nothing: name -> value with its unit; and plots, file name -> SVG."""

    title: str
    numbers: Mapping[str, Any]
    notes: Sequence[str] = ()
    plots: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """As Markdown."""
        rows = [f"| {name} | {value} |" for name, value in self.numbers.items()]
        pictures = [f"![{name}]({name})" for name in self.plots]
        notes = [f"- {note}" for note in self.notes]
        return [f"### {self.title}", "", "| | |", "| --- | ---: |", *rows, "", *notes, *pictures, ""]

    def values(self) -> dict[str, Any]:
        """As JSON."""
        return {"title": self.title, "numbers": dict(self.numbers), "notes": list(self.notes)}


Result = Comparison | Facts


def shown(spread: Spread) -> str:
    """ "1.25 (1.20–1.31)"."""
    return "{} ({}–{})".format(*(f"{value:.3g}" for value in dataclasses.astuple(spread)))


def write_report(
    folder: Path, machine: Mapping[str, Any], results: Sequence[Result], skipped: Mapping[str, str]
) -> None:
    """Write results.json, results.md and the plots.

    Args:
        folder: Made where it is not there.
        machine: What it was measured on.
        results: In their order.
        skipped: What was not measured -> why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "machine": dict(machine),
        "results": [result.values() for result in results],
        "skipped": dict(skipped),
    }
    write_atomic(folder / "results.json", json.dumps(values, indent=1).encode())
    lines = ["# Benchmarks", "", *(f"- {name}: {value}" for name, value in machine.items()), ""]
    lines += ["Medians with the smallest and the largest; ratios are those of neighbouring runs.", ""]
    for result in results:
        lines += result.lines()
        for name, svg in result.plots.items() if isinstance(result, Facts) else ():
            write_atomic(folder / name, svg.encode())
    if skipped:
        lines += ["### Not measured", "", *(f"- {name}: {reason}" for name, reason in skipped.items()), ""]
    write_atomic(folder / "results.md", "\n".join(lines).encode())
