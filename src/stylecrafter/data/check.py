"""What training on some data would use, what it could not, and why: every file is opened, nothing stops it."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from stylecrafter.data.captions import CaptionCleaning, clean_caption, find_cleaning
from stylecrafter.data.loaders import MissingCaptions
from stylecrafter.data.manifest import find_records
from stylecrafter.data.records import Found, Kind, Problem, Record, reason_of
from stylecrafter.data.samples import clip_index, load_whole
from stylecrafter.errors import ImageReadError, choose
from stylecrafter.media.clips import check_sampling, choose_frames, read_clip

_EXAMPLES = 5


@dataclass
class Checked:
    """What was found out.

    Attributes:
        pictures, clips: How many can be used.
        opened: How many files were opened; fewer than there are where a limit was given.
        found: How many pictures and clips there are, of whatever kind.
        sizes: (width, height) -> how many of the usable ones.
        seconds: Duration of every usable clip.
        rates: Frames per second of every usable clip.
        missing_captions: Names without a caption; usable only where empty captions are.
        changed_captions: How many captions speak of style.
        emptied_captions: Names whose caption speaks of nothing else; usable only where empty captions are.
        examples: Captions before and after cleaning.
        groups: Style groups with at least two members.
        problems: What is broken, and why.
        notes: What was left aside without being broken.
    """

    pictures: int = 0
    clips: int = 0
    opened: int = 0
    found: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    missing_captions: list[str] = field(default_factory=list)
    changed_captions: int = 0
    emptied_captions: list[str] = field(default_factory=list)
    examples: list[tuple[str, str]] = field(default_factory=list)
    groups: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def usable(self) -> int:
        """Pictures and clips that can be used."""
        return self.pictures + self.clips

    def why_nothing(self) -> str:
        """What was found where nothing can be used."""
        reasons = {
            "broken": len(self.problems),
            "without a caption": len(self.missing_captions),
            "with a caption of style alone": len(self.emptied_captions),
        }
        parts = [f"{count} {reason}" for reason, count in reasons.items() if count]
        if parts:
            return ", ".join(parts)
        if self.found:
            return f"all {self.found} are of another kind than was asked for"
        return "no pictures or clips were found, by the endings of their names"

    def as_dict(self) -> dict[str, Any]:
        """For json."""
        return {
            "usable": {"pictures": self.pictures, "clips": self.clips},
            "opened": self.opened,
            "sizes": [{"size": f"{w}x{h}", "count": count} for (w, h), count in self.sizes.most_common()],
            "short_side": _summary([float(min(size)) for size in self.sizes.elements()]),
            "seconds": _summary(self.seconds),
            "fps": _summary(self.rates),
            "captions": {
                "missing": self.missing_captions,
                "changed": self.changed_captions,
                "nothing_left": self.emptied_captions,
                "examples": [{"before": before, "after": after} for before, after in self.examples],
            },
            "style_groups": self.groups,
            "broken": [{"name": problem.name, "reason": problem.reason} for problem in self.problems],
            "notes": self.notes,
        }


def check_data(
    data: str | os.PathLike[str] | Found,
    *,
    kind: Kind | str | None = None,
    num_frames: int = 1,
    stride: int = 1,
    fps: float | None = None,
    cleaning: CaptionCleaning | str = CaptionCleaning.DECOUPLE,
    missing_captions: MissingCaptions | str = MissingCaptions.SKIP,
    limit: int | None = None,
) -> Checked:
    """Open every picture and clip.

    Of a picture all is decoded; of a clip its index is read and the frames at its end are decoded, which a cut or a
    damaged index does not survive.

    Args:
        data: A folder, `.csv`, `.jsonl` or `.tar`, or what `find_records` found.
        kind: Only these; both by default.
        num_frames, stride, fps: Clips too short or too slow for this are not usable.
        cleaning: How captions are cleaned.
        missing_captions: Whether files without a caption, or with one of style alone, count as usable.
        limit: Open this many, evenly spread, and take the others as they are listed.

    Raises:
        InvalidInputError: There is no such data, or a number is out of range.
    """
    check_sampling(num_frames, stride, fps)
    only = None if kind is None else choose("kind", Kind, kind)
    how = find_cleaning(cleaning)
    empty_ones = choose("choice for missing captions", MissingCaptions, missing_captions)
    found = data if isinstance(data, Found) else find_records(data)
    wanted = [record for record in found.records if only is None or record.kind is only]
    every = 1 if limit is None else max(1, -(-len(wanted) // max(1, limit)))
    checked = Checked(problems=list(found.problems), notes=list(found.notes))
    groups: Counter[str] = Counter()
    for number, record in enumerate(wanted):
        try:
            if number % every == 0:
                checked.opened += 1
                _open(record, checked, num_frames, stride, fps)
        except ImageReadError as error:
            checked.problems.append(Problem(record.label, reason_of(error, record.label)))
            continue
        if not _look_at_caption(record, checked, how) and empty_ones is MissingCaptions.SKIP:
            continue
        if record.kind is Kind.PICTURE:
            checked.pictures += 1
        else:
            checked.clips += 1
        if record.style_group is not None:
            groups[record.style_group] += 1
    others = len(found.records) - len(wanted)
    if others and only is not None:
        other = "clip" if only is Kind.PICTURE else "picture"
        many = "s are" if others > 1 else " is"
        checked.notes.append(f"{others} {other}{many} left aside: only {only.value}s were asked for")
    checked.found = len(found.records)
    if every > 1:
        checked.notes.append(f"only {checked.opened} of {len(wanted)} files were opened")
    checked.groups = sum(count > 1 for count in groups.values())
    return checked


def _open(record: Record, checked: Checked, num_frames: int, stride: int, fps: float | None) -> None:
    if record.kind is Kind.PICTURE:
        checked.sizes[load_whole(record).size] += 1
        return
    index = clip_index(record)
    chosen = choose_frames(index, num_frames, stride=stride, fps=fps, start=1 - 2**-30)
    # The very last frames too, whichever the sampling chose.
    sizes = read_clip(
        record.source(),
        record.name,
        index,
        sorted({*chosen, len(index.times) - 1}),
        lambda _, frame: frame.size,
    )
    checked.sizes[sizes[-1]] += 1
    checked.seconds.append(index.seconds)
    checked.rates.append(index.fps)


def _look_at_caption(record: Record, checked: Checked, cleaning: CaptionCleaning) -> bool:
    """Note what becomes of the caption; returns whether something is left of it."""
    if record.caption is None:
        checked.missing_captions.append(record.label)
        return False
    after = clean_caption(record.caption, cleaning)
    if after == record.caption:
        return bool(after)
    if not after:
        checked.emptied_captions.append(record.label)
    checked.changed_captions += 1
    if len(checked.examples) < _EXAMPLES:
        checked.examples.append((record.caption, after))
    return bool(after)


def _summary(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {
        "least": round(min(values), 3),
        "median": round(median(values), 3),
        "most": round(max(values), 3),
        "sum": round(sum(values), 3),
    }
