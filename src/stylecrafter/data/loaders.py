"""Your own pictures and clips as a source of training batches."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from enum import StrEnum

import torch

from stylecrafter.data.batch import TrainingBatch
from stylecrafter.data.captions import NAMES_BEFORE, CaptionCleaning, clean_caption, find_cleaning
from stylecrafter.data.manifest import find_records
from stylecrafter.data.records import Found, Kind, Problem, Record, Report, fingerprint_records, reason_of
from stylecrafter.data.samples import SampleSettings, load_reference, load_sample
from stylecrafter.data.transforms import References
from stylecrafter.errors import ImageReadError, InvalidInputError, choose

_MOST_FAILURES = 1000
_NO_CAPTION = "no caption"


class MissingCaptions(StrEnum):
    """What is done with a picture without a caption, or with one that spoke of style alone."""

    SKIP = "skip"
    """It is not used, and reported."""
    EMPTY = "empty"
    """It is used with an empty caption."""


class StyleGroups(StrEnum):
    """Which records share their style, so that each can be the other's reference."""

    NAMED = "named"
    """Those with the same `style_group`."""
    FOLDERS = "folders"
    """Those too that have none and lie in the same subfolder."""
    ONE = "one"
    """All that have none share one: a collection of pictures by one hand."""


def style_group(record: Record, grouping: StyleGroups) -> str | None:
    """The group whose style a record shares; None: its style is its own."""
    if record.style_group is not None or grouping is StyleGroups.NAMED:
        return record.style_group
    if grouping is StyleGroups.FOLDERS:
        return os.path.dirname(record.name) or None
    return ""


class FileSource:
    """Pictures or clips from a folder, a manifest or shards, as `BatchSource`.

    Every epoch shows every record once, in an order of its own; epochs follow one another without a gap, also inside a
    batch. Which record stands where, and how it is cut, depends on seed, epoch and record alone: neither on the number
    of processes and workers nor on what was loaded before. A record that turns out to be broken is replaced by the next
    healthy one of the epoch's order, and reported.
    """

    def __init__(
        self,
        data: str | os.PathLike[str] | Found,
        *,
        size: int | tuple[int, int],
        batch_size: int,
        kind: Kind | str | None = None,
        num_frames: int = 1,
        stride: int = 1,
        fps: float | None = None,
        cleaning: CaptionCleaning | str = CaptionCleaning.DECOUPLE,
        missing_captions: MissingCaptions | str = MissingCaptions.SKIP,
        references: References | str = References.NONE,
        reference_size: int | None = None,
        cross_reference_ratio: float = 0.0,
        style_groups: StyleGroups | str = StyleGroups.NAMED,
        seed: int = 0,
    ) -> None:
        """
        Args:
            data: A folder, `.csv`, `.jsonl` or `.tar`; or what `find_records` found.
            size: Height and width, or one number for both.
            batch_size: Rows of a step over all processes.
            kind: Which of the records are used; by default pictures for one frame, clips for several.
            num_frames, stride, fps: Of clips, see `media.clips.choose_frames`.
            cleaning: What is removed from captions.
            missing_captions: What is done with records without one.
            references: What a style reference shows.
            reference_size: Its side; by default the shorter one of `size`.
            cross_reference_ratio: Of the rows whose style group has other members, the part whose reference is one of
                them.
            style_groups: Which records share their style.
            seed: Of order, crops and beginnings of clips.

        Raises:
            InvalidInputError: A setting out of range or unknown, nothing usable, or cross references without any
                style group.
        """
        self._kind = (
            choose("kind", Kind, kind)
            if kind is not None
            else (Kind.PICTURE if num_frames == 1 else Kind.CLIP)
        )
        height, width = (size, size) if isinstance(size, int) else size
        self._settings = SampleSettings(
            kind=self._kind,
            height=height,
            width=width,
            num_frames=num_frames,
            stride=stride,
            fps=fps,
            references=choose("reference", References, references),
            reference_size=min(height, width) if reference_size is None else reference_size,
        )
        if batch_size < 1:
            raise InvalidInputError(f"batch_size must be at least 1, got {batch_size}.")
        if not 0 <= cross_reference_ratio <= 1:
            raise InvalidInputError(f"cross_reference_ratio must be in [0, 1], got {cross_reference_ratio}.")
        if cross_reference_ratio and self._settings.references is References.NONE:
            raise InvalidInputError('cross_reference_ratio needs references "crop" or "whole".')
        self._batch_size, self._seed, self._crossed = batch_size, seed, cross_reference_ratio
        self._cleaning = find_cleaning(cleaning)
        self._missing = choose("choice for missing captions", MissingCaptions, missing_captions)
        found = data if isinstance(data, Found) else find_records(data)
        self._grouping = choose("choice of style groups", StyleGroups, style_groups)
        self._at_start, self._met = Report(), Report()
        self.records = self._usable(found)
        self._others = self._groups()
        self._orders: dict[int, torch.Tensor] = {}

    @property
    def batch_size(self) -> int:
        """Rows of one step, over all processes and accumulated parts together."""
        return self._batch_size

    def __len__(self) -> int:
        """Records of an epoch."""
        return len(self.records)

    def batch(self, step: int, rows: slice) -> TrainingBatch:
        """Rows of the batch of a step.

        Raises:
            InvalidInputError: No row is asked for, or (nearly) nothing of the data can be used.
        """
        places = range(step * self._batch_size, (step + 1) * self._batch_size)[rows]
        if not places:
            raise InvalidInputError(f"rows {rows} of a batch of {self._batch_size} are none.")
        samples = [self._row(place) for place in places]
        references = [reference for _, _, reference in samples if reference is not None]
        return TrainingBatch(
            frames=torch.stack([frames for frames, _, _ in samples]),
            captions=[caption for _, caption, _ in samples],
            references=torch.stack(references) if references else None,
        )

    def report(self) -> Report:
        """What was not used so far, found before or while loading, in this process and its workers."""
        return Report(self._at_start.counts + self._met.counts)

    def drain(self) -> Counter[Problem]:
        """What was met while loading since the last call; for workers, which hand it on to `absorb`."""
        met, self._met = self._met, Report()
        return met.counts

    def absorb(self, problems: Counter[Problem]) -> None:
        """Take over what a worker met."""
        self._met.counts += problems

    def fingerprint(self) -> dict[str, str | int | float | None]:
        """The data and all settings that decide what a step shows."""
        values: dict[str, str | int | float | None] = {
            name: getattr(self._settings, name) for name in self._settings.__dataclass_fields__
        }
        return {
            "records": f"{len(self.records)} with hash {fingerprint_records(self.records)[:32]}",
            **{name: str(value) if isinstance(value, StrEnum) else value for name, value in values.items()},
            "batch_size": self._batch_size,
            "cleaning": NAMES_BEFORE[self._cleaning],
            "missing_captions": self._missing.value,
            "cross_reference_ratio": self._crossed,
            "style_groups": self._grouping.value,
            "seed": self._seed,
        }

    def _usable(self, found: Found) -> list[Record]:
        for problem in found.problems:
            self._at_start.add(problem.name, problem.reason)
        records = []
        for record in found.records:
            if record.kind is not self._kind:
                continue
            if record.caption is None and self._missing is MissingCaptions.SKIP:
                self._at_start.add(record.label, _NO_CAPTION)
            else:
                records.append(record)
        if not records:
            raise InvalidInputError(f"{_why_none(found, self._kind)}{_first(self._at_start)}")
        return records

    def _groups(self) -> dict[str, list[int]]:
        groups: dict[str, list[int]] = defaultdict(list)
        if not self._crossed:
            return groups
        for number, record in enumerate(self.records):
            group = style_group(record, self._grouping)
            if group is not None:
                groups[group].append(number)
        if all(len(members) < 2 for members in groups.values()):
            raise InvalidInputError(
                f"cross_reference_ratio {self._crossed:g} needs records that share a style: of {len(self.records)}, no "
                f"two do by style_groups {self._grouping.value!r}. Add more of them, a style_group column or key, or "
                f"choose among {', '.join(repr(choice.value) for choice in StyleGroups)}; or set it to 0."
            )
        return groups

    def _order(self, epoch: int) -> torch.Tensor:
        if epoch not in self._orders:
            # A batch can reach over the end of an epoch: two orders are in use at most at a time.
            self._orders = {key: value for key, value in self._orders.items() if abs(key - epoch) <= 1}
            self._orders[epoch] = torch.randperm(len(self.records), generator=self._generator("order", epoch))
        return self._orders[epoch]

    def _generator(self, *what: object) -> torch.Generator:
        text = ":".join(map(str, (self._seed, *what))).encode()
        number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
        return torch.Generator("cpu").manual_seed(number)

    def _row(self, place: int) -> tuple[torch.Tensor, str, torch.Tensor | None]:
        epoch, at = divmod(place, len(self.records))
        order = self._order(epoch)
        tried = min(len(order), _MOST_FAILURES)
        for further in range(tried):
            number = int(order[(at + further) % len(order)])
            record = self.records[number]
            try:
                return self._load(epoch, number, record)
            except ImageReadError as error:
                self._met.add(record.label, reason_of(error, record.label))
        raise InvalidInputError(
            f"{tried} of {len(order)} {self._kind.value}s in a row cannot be used.{_first(self._met)}"
        )

    def _load(self, epoch: int, number: int, record: Record) -> tuple[torch.Tensor, str, torch.Tensor | None]:
        caption = clean_caption(record.caption or "", self._cleaning)
        if not caption.strip() and self._missing is MissingCaptions.SKIP:
            raise ImageReadError(f"nothing but style in the caption {record.caption!r}")
        generator = self._generator("record", epoch, number)
        frames, reference = load_sample(record, self._settings, generator)
        crossed = torch.rand(1, generator=generator).item() < self._crossed
        group = style_group(record, self._grouping)
        others = self._others.get(group, []) if group is not None else []
        if crossed and len(others) > 1:
            reference = self._cross_reference(number, others, generator, reference)
        return frames, caption, reference

    def _cross_reference(
        self, number: int, members: list[int], generator: torch.Generator, own: torch.Tensor | None
    ) -> torch.Tensor | None:
        """Another member of the group; the next healthy one where it is broken, and its own where none is."""
        others = [member for member in members if member != number]
        first = int(torch.randint(len(others), (1,), generator=generator))
        for further in range(len(others)):
            record = self.records[others[(first + further) % len(others)]]
            try:
                return load_reference(record, self._settings, generator)
            except ImageReadError as error:
                self._met.add(record.label, reason_of(error, record.label))
        return own


def _first(report: Report) -> str:
    lines = list(report)[1:4]
    return " First of all: " + "; ".join(lines) + "." if lines else ""


def _why_none(found: Found, kind: Kind) -> str:
    """What was found, and why none of it is a record of this kind that can be used."""
    own = sum(record.kind is kind for record in found.records)
    others = len(found.records) - own
    if own:
        reason = (
            f"{own} {kind.value}{'s were' if own > 1 else ' was'} found, none with a caption; write what each "
            "shows into a .txt beside it, or set missing_captions: empty"
        )
    elif others:
        other = Kind.CLIP if kind is Kind.PICTURE else Kind.PICTURE
        frames = "above 1" if other is Kind.CLIP else "1"
        reason = (
            f"it holds {others} {other.value}{'s' if others > 1 else ''} and no {kind.value}; num_frames {frames} "
            f"trains on {other.value}s"
        )
    else:
        reason = "neither pictures nor clips were found, by the endings of their names"
    return f"there is no usable {kind.value} in the data: {reason}."
