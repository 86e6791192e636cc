"""Measure the clips of a folder: every clip by every metric, kept as it goes, so that a run may be stopped.

`figures.jsonl` in the folder of the report holds one line per clip and metric, known by the hash of the clip's file
and the metric's key; what is there is not measured again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylecrafter.errors import InvalidInputError, OutputError
from stylecrafter.evaluation.clip_metrics import Metric, Scores
from stylecrafter.evaluation.metrics.info import MeasuredClip, MetricInfo
from stylecrafter.evaluation.testset import TestSet
from stylecrafter.generation.batch_file import Entry
from stylecrafter.media.images import file_hash
from stylecrafter.media.json_lines import JsonLines
from stylecrafter.media.tensors import clip_to_tensor
from stylecrafter.media.video import SUFFIXES, read_frames

logger = logging.getLogger(__name__)

SCORES_NAME = "figures.jsonl"


@dataclass(frozen=True)
class ClipResult:
    """Scores of one clip, and the file that they come from."""

    name: str
    prompt: str
    styles: tuple[str, ...]
    file: str
    sha256: str
    scores: Scores


@dataclass(frozen=True)
class Evaluation:
    """What was measured of a folder of clips.

    Attributes:
        title: What a reader calls it.
        folder: Where the clips lie.
        infos: What was measured, in the order of tables.
        clips: Every clip that could be read, in the order of the test set.
        excluded: Name of an entry -> why it has no scores.
        settings: All that the clips and scores were made with.
    """

    title: str
    folder: Path
    infos: tuple[MetricInfo, ...]
    clips: tuple[ClipResult, ...]
    excluded: dict[str, str]
    settings: dict[str, Any] = field(default_factory=dict)


def measure_folder(
    testset: TestSet,
    folder: str | os.PathLike[str],
    metrics: Sequence[Metric],
    kept_in: str | os.PathLike[str],
    *,
    title: str = "",
    settings: Mapping[str, Any] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure the clip of every entry.

    Args:
        testset: What the clips were made from.
        folder: Where they lie, named as `batch` names them, in any format it writes.
        metrics: What is asked of each.
        kept_in: Folder of `figures.jsonl`.
        title: For the report.
        settings: Recorded as they are.
        on_progress: Called after every entry with how many are done and how many there are.

    Returns:
        Scores of all clips; a missing or broken one is listed with its reason, and the others go on.

    Raises:
        InvalidInputError: Not one clip could be read.
        OutputError: `kept_in` cannot be written.
    """
    source = Path(folder)
    kept = _Kept(Path(kept_in) / SCORES_NAME)
    clips: list[ClipResult] = []
    excluded: dict[str, str] = {}
    for index, entry in enumerate(testset.entries):
        try:
            clips.append(_measure(index, entry, testset, source, metrics, kept))
        except OutputError:
            raise
        except InvalidInputError as error:
            # It stands in reports, which need not say where the folder is.
            excluded[entry.name] = str(error).replace(f"{source}{os.sep}", "")
            logger.warning("%s is left out: %s", entry.name, error)
        on_progress(index + 1, len(testset.entries))
    if not clips:
        first = next(iter(excluded.values()))
        raise InvalidInputError(
            f"none of the {len(testset.entries)} clips could be read from {source}: {first}"
        )
    infos = tuple(info for metric in metrics for info in metric.infos)
    return Evaluation(title or source.name, source, infos, tuple(clips), excluded, dict(settings or {}))


def find_clip(folder: Path, entry: Entry) -> Path:
    """The file of an entry, in whichever format: its number decides, because a baseline may have changed the prompt.

    Raises:
        InvalidInputError: There is none, or more than one.
    """
    number = entry.name.split("_")[0]
    found = [path for suffix in SUFFIXES for path in sorted(folder.glob(f"{number}_*{suffix}"))]
    if len(found) != 1:
        names = " and ".join(path.name for path in found)
        raise InvalidInputError(f"{folder / entry.name} {'is there as ' + names if found else 'is missing'}.")
    return found[0]


def _measure(
    index: int, entry: Entry, testset: TestSet, source: Path, metrics: Sequence[Metric], kept: _Kept
) -> ClipResult:
    path = find_clip(source, entry)
    sha256 = file_hash(path)
    scores: Scores = {}
    clip: MeasuredClip | None = None
    for metric in metrics:
        # The same file may stand for several entries (a copy, a baseline without style): they ask different things.
        key = f"{sha256} {entry.prompt} {testset.references_of(entry)} {index} {metric.key}"
        known = kept.find(key)
        if known is None:
            if clip is None:
                frames = clip_to_tensor(read_frames(path)[0])
                clip = MeasuredClip(index, entry.name, entry.prompt, frames, testset.references_of(entry))
            known = metric(clip)
            kept.add(key, known)
        scores.update(known)
    return ClipResult(entry.name, entry.prompt, tuple(entry.styles), path.name, sha256, scores)


class _Kept:
    """Lines of scores by key; a line that a stopped run left half is dropped."""

    def __init__(self, file: Path) -> None:
        self._file = JsonLines(file, _has_scores)
        self._scores: dict[str, Scores] = {line["key"]: line["figures"] for line in self._file.found}

    def find(self, key: str) -> Scores | None:
        return self._scores.get(key)

    def add(self, key: str, scores: Scores) -> None:
        self._scores[key] = scores
        self._file.add({"key": key, "figures": scores})


def _has_scores(line: dict[str, Any]) -> bool:
    return isinstance(line.get("key"), str) and isinstance(line.get("figures"), dict)
