"""What was measured: means and comparisons of runs, how they are shown, and json that is read back.

The documents that show it are `report_page`.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylecrafter import __version__
from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.info import MetricInfo
from stylecrafter.evaluation.runner import ClipResult, Evaluation
from stylecrafter.evaluation.statistics import (
    Difference,
    Interval,
    bootstrap_mean,
    paired_difference,
)
from stylecrafter.generation.paths import portable_path, told_apart
from stylecrafter.generation.places import recall
from stylecrafter.media.documents import is_folder, parse_json, read_text

#: Folder of the json files of an evaluation's runs.
RUNS = "runs"
FORMAT = 1
SIGNIFICANT = 0.05
#: Key of the settings that holds what the probes reach on renders, by the scores' names.
PROBE_ACCURACY = "probe_accuracy_on_held_out_renders"
ARROWS = {"higher": "↑", "lower": "↓", "neither": ""}


@dataclass(frozen=True)
class Comparison:
    """One score of a later run beside the first, over the entries that both have."""

    info: MetricInfo
    difference: Difference

    @property
    def verdict(self) -> str:
        """ "better", "worse", "other" (no direction) or "" (not significant)."""
        if self.difference.p_value > SIGNIFICANT:
            return ""
        if self.info.better == "neither":
            return "other"
        return "better" if (self.difference.mean > 0) == (self.info.better == "higher") else "worse"


def summarise(
    evaluation: Evaluation, clips: Sequence[ClipResult] | None = None
) -> dict[MetricInfo, Interval | None]:
    """Mean and interval of every score, None where no clip has it; clips with the same references are drawn together.

    Args:
        evaluation: What was measured.
        clips: Only these of its clips.
    """
    means: dict[MetricInfo, Interval | None] = {}
    for info in evaluation.infos:
        known = [
            (value, clip.styles)
            for clip in (evaluation.clips if clips is None else clips)
            if (value := clip.scores.get(info.name)) is not None
        ]
        values, clusters = [v for v, _ in known], [c for _, c in known]
        means[info] = bootstrap_mean(values, _usable(clusters)) if values else None
    return means


def compare(first: Evaluation, other: Evaluation) -> list[Comparison]:
    """Every score that both runs have from one source, over the entries that both have.

    Raises:
        InvalidInputError: They have no entry in common.
    """
    mine = {clip.name: clip for clip in first.clips}
    theirs = {clip.name: clip for clip in other.clips}
    names = [name for name in mine if name in theirs]
    if not names:
        raise InvalidInputError(
            f"{first.title!r} and {other.title!r} have no entry in common: were they made from one test set?"
        )
    # Not where the two were measured by different encoders or optical flows: those scores do not compare.
    measured = {(info.name, info.source) for info in other.infos}
    shared = [info for info in first.infos if (info.name, info.source) in measured]
    comparisons = []
    for info in shared:
        pairs = [
            (a, b, mine[name].styles)
            for name in names
            if (a := mine[name].scores.get(info.name)) is not None
            and (b := theirs[name].scores.get(info.name)) is not None
        ]
        if pairs:
            before, after, clusters = (list(column) for column in zip(*pairs, strict=True))
            comparisons.append(Comparison(info, paired_difference(before, after, _usable(clusters))))
    return comparisons


def style_name(clip: ClipResult) -> str:
    """The names of a clip's style pictures, without folder and suffix."""
    return " + ".join(Path(style).stem for style in clip.styles)


def to_json(evaluation: Evaluation, base: Path) -> str:
    """Everything, so that `from_json` gives it back and every mean can be traced to its files.

    Args:
        evaluation: What was measured.
        base: The folder of the evaluation; what lies inside it is named relative to it, so that it may be moved, and
            other files by their names alone.
    """
    names = told_apart((style for clip in evaluation.clips for style in clip.styles), base)
    content = {
        "format": FORMAT,
        "stylecrafter": __version__,
        "title": evaluation.title,
        "clips_in": portable_path(evaluation.folder, base / "-") or evaluation.folder.name,
        "settings": evaluation.settings,
        "summary": {
            info.name: None if interval is None else dataclasses.asdict(interval)
            for info, interval in summarise(evaluation).items()
        },
        "metrics": [dataclasses.asdict(info) for info in evaluation.infos],
        "clips": [
            {
                "name": clip.name,
                "prompt": clip.prompt,
                "styles": [names[style] for style in clip.styles],
                "file": clip.file,
                "sha256": clip.sha256,
                "figures": clip.scores,
            }
            for clip in evaluation.clips
        ],
        "excluded": evaluation.excluded,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str, base: Path, name: str) -> Evaluation:
    """An evaluation that `to_json` wrote.

    Args:
        text: The json.
        base: The folder of the evaluation.
        name: Says what was read, in errors.

    Raises:
        InvalidInputError: It is something else.
    """
    try:
        content = parse_json(text, name)
        if content["format"] != FORMAT:
            raise InvalidInputError(f"{name} has format {content['format']!r}; {FORMAT} is needed.")
        return Evaluation(
            title=str(content["title"]),
            folder=_clips_folder(content, base),
            infos=tuple(MetricInfo(**info) for info in content["metrics"]),
            clips=tuple(
                ClipResult(
                    clip["name"],
                    clip["prompt"],
                    tuple(_place(style, base) for style in clip["styles"]),
                    clip["file"],
                    clip["sha256"],
                    clip["figures"],
                )
                for clip in content["clips"]
            ),
            excluded=dict(content["excluded"]),
            settings=dict(content["settings"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{name} is no evaluation that `stylecrafter evaluate` wrote.") from error


def _place(style: str, base: Path) -> str:
    return os.path.join(base, os.path.normpath(style)) if style.startswith("./") else style


def _clips_folder(content: dict[str, Any], base: Path) -> Path:
    """Where the clips lie: of those outside the evaluation only this machine may remember it."""
    folder = base / content["clips_in"]
    if os.path.isdir(folder) or not content["clips"]:
        return folder
    first = recall(str(content["clips"][0]["sha256"]))
    return folder if first is None else first.parent


def read_evaluations(path: Path) -> list[Evaluation]:
    """The run of a file, or all runs in the folder of an evaluation, by name.

    Raises:
        InvalidInputError: There is none, or a file is something else.
    """
    files = sorted((path / RUNS).glob("*.json")) if is_folder(path) else [path]
    if not files:
        raise InvalidInputError(f"{path} holds no evaluation: there is no {RUNS}/*.json in it.")
    return [_read(file) for file in files]


def _read(file: Path) -> Evaluation:
    return from_json(read_text(file), file.parent.parent, str(file))


def group_rows(evaluation: Evaluation, of: Callable[[ClipResult], str]) -> list[list[str]]:
    """The mean of every score of the clips of which `of` says the same (style, prompt), after what it says."""
    groups: dict[str, list[ClipResult]] = {}
    for clip in evaluation.clips:
        groups.setdefault(of(clip), []).append(clip)
    return [
        [name, *(shown(interval, bounds=False) for interval in summarise(evaluation, clips).values())]
        for name, clips in groups.items()
    ]


def shown(interval: Interval | None, bounds: bool = True, clips: int | None = None) -> str:
    """ "0.512 [0.48, 0.55]", or a dash where there is nothing.

    Args:
        interval: The score.
        bounds: Whether its ends are shown.
        clips: How many clips there are; where fewer have the score, it says how many: "0.512 [0.48, 0.55] of 93".
    """
    if interval is None:
        return "–"
    ends = f" [{interval.low:.3g}, {interval.high:.3g}]" if bounds else ""
    part = f" of {interval.count}" if clips is not None and interval.count < clips else ""
    return f"{interval.mean:.3g}{ends}{part}"


def all_infos(evaluations: Sequence[Evaluation]) -> list[MetricInfo]:
    """What was measured of any of the runs; a score from two sources is two, and says so in its title."""
    found: dict[tuple[str, str], MetricInfo] = {}
    for evaluation in evaluations:
        for info in evaluation.infos:
            found.setdefault((info.name, info.source), info)
    infos = list(found.values())
    names = [info.name for info in infos]
    return [
        dataclasses.replace(info, title=f"{info.title} ({info.source})")
        if names.count(info.name) > 1
        else info
        for info in infos
    ]


def interval_of(evaluation: Evaluation, info: MetricInfo) -> Interval | None:
    """The score of a run, where it was measured by the same source."""
    means = {(own.name, own.source): interval for own, interval in summarise(evaluation).items()}
    return means.get((info.name, info.source))


def probe_accuracy(evaluations: Sequence[Evaluation], info: MetricInfo) -> float | None:
    """What the probe behind a score reaches on renders itself, where one is."""
    rates = (e.settings.get(PROBE_ACCURACY, {}).get(info.name) for e in evaluations)
    return next((float(rate) for rate in rates if rate is not None), None)


def titled(info: MetricInfo) -> str:
    """A score's title with the arrow of its better direction."""
    return f"{info.title} {ARROWS[info.better]}".strip()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    cells = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]


def described(info: MetricInfo) -> str:
    """Source, range, direction and caveat of a score in one line."""
    low = "-∞" if info.lowest is None else f"{info.lowest:g}"
    high = "∞" if info.highest is None else f"{info.highest:g}"
    better = "" if info.better == "neither" else f", {info.better} is better"
    note = f". Note: {info.note}" if info.note else ""
    return f"{info.source}; {low} to {high}{better}{note}"


def _usable(clusters: list[Any]) -> list[Any] | None:
    # A set with one style has one cluster, which says nothing about how sure a mean is.
    return clusters if len(set(clusters)) > 1 else None
