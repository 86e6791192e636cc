"""Many clips, one after the other, that may be stopped at any moment and gone on with.

The folder holds one output per entry, `batch.json` (what all of them share, written first) and
`results.jsonl` (one line per entry that was tried, see `results`).
"""

from __future__ import annotations

import functools
import json
import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from stylecrafter.errors import CheckpointError, InvalidInputError, OutputError, unknown_name
from stylecrafter.generation.batch_file import Entry, read_entries
from stylecrafter.generation.engine import Engine, OnStep
from stylecrafter.generation.models import PART_OPTIONS, ModelFacts
from stylecrafter.generation.record import GenerationRecord
from stylecrafter.generation.results import RESULTS_NAME, Results
from stylecrafter.generation.settings import (
    GenerationSettings,
    Job,
    StyleInput,
    look_up,
    prepare,
)
from stylecrafter.generation.source_video import VideoReference
from stylecrafter.generation.spread import Spread
from stylecrafter.generation.styles import find_style
from stylecrafter.generation.workers import Executor, InProcess, Task
from stylecrafter.media.documents import read_json, shown
from stylecrafter.media.files import check_writable, is_part, real_target, remove_parts, write_atomic
from stylecrafter.media.overwriting import refuse_overwriting
from stylecrafter.media.video import SUFFIXES, check_lossless, check_suffix
from stylecrafter.pipelines.sampling_params import check_video_knobs
from stylecrafter.runtime.locks import only_one
from stylecrafter.runtime.seeding import MAX_SEED, draw_seed

logger = logging.getLogger(__name__)

SHARED_NAME = "batch.json"
#: What may happen to an entry.
Status = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class Progress:
    """What happened to one entry."""

    entry: Entry
    total: int
    status: Status
    seconds: float = 0.0
    error: str = ""


@dataclass
class BatchReport:
    """What happened to all entries, by name; `failed` says why."""

    folder: Path
    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def run_batch(
    file: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    settings: GenerationSettings,
    *,
    fixed: Collection[str] = (),
    suffix: str | None = None,
    resume: bool = False,
    limit: int | None = None,
    embed: bool = True,
    lossless: bool = False,
    on_step: OnStep | None = None,
    lock_style: bool = False,
    spread: Spread | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> BatchReport:
    """Make one clip for every entry of a batch file.

    Entry i is made with seed + i, or all with the same seed where the style is locked. Without a seed one is drawn and
    kept in the folder, so that a batch that was stopped and resumed ends like one that ran through. What an entry says
    itself goes before all this.

    Args:
        file: See `batch_file`.
        folder: For the results; new or empty, unless `resume`.
        settings: What entries share that do not say otherwise; its prompt is not looked at, and its styles only to
            lock them.
        fixed: Knobs in which entries have no say.
        suffix: Format of the outputs; None: that of what the model makes.
        resume: Go on in a folder that a batch was started in; what is finished there is left as it is.
        limit: Only the first so many entries.
        embed: Keep the settings inside each output.
        lossless: Keep every pixel of the outputs as it is; see `check_lossless`.
        on_step: See `Engine`.
        lock_style: One look for all entries: the styles of `settings`, or those of the first entry, for every prompt,
            and the same noise. What entries say of styles does not count then.
        spread: Who makes the files, where it is not this process.
        on_progress: Called after every entry, in the order in which they are finished.

    Returns:
        What was done. An entry whose pictures cannot be read is reported and does not stop the others.

    Raises:
        InvalidInputError: File, folder or settings do not fit; nothing was generated then.
        CheckpointError: The model cannot be loaded.
        OutputError: The disk does not take a result; once it does, `resume` goes on there.
    """
    target = Path(folder)
    entries = [_without(entry, fixed) for entry in read_entries(file, with_styles=not lock_style)]
    locked = _locked(entries, settings, file) if lock_style else ()
    if limit is not None and limit < 1:
        raise InvalidInputError(f"limit must be at least 1, not {limit}.")
    if suffix is not None:
        _check_format(suffix, settings, lossless)
    template = settings.changed(prompt="-", styles=(), video=None, style_masks=(), negative_styles=())
    if not any(entry.video for entry in entries):
        check_video_knobs(template.denoise, template.inversion)
    _check_folder(target, resume)
    model = look_up(settings)
    if suffix is None:
        suffix = model.suffix
        _check_format(suffix, settings, lossless)
    look = prepare(template.changed(styles=locked), suffix, model)
    if lock_style:
        entries = _with_style(entries, locked)
    _check_own(entries, template, suffix, model)
    files = [
        target / SHARED_NAME,
        target / RESULTS_NAME,
        *(_output(target, entry, suffix) for entry in entries),
    ]
    for path in files:
        real_target(path)
    refuse_overwriting(
        files,
        [file, *model.files, *dict.fromkeys(path for entry in entries for path in entry.reads)],
        model.folders,
    )
    if spread is not None and spread.is_elsewhere:
        engine = Engine(
            model, "cpu"
        )  # other machines say what devices they have; here the model is only looked at
    else:
        engine = Engine(model, settings.device, settings.dtype, on_step, settings.memory)
    check_writable(target / SHARED_NAME)
    with only_one(target, "batch"):
        _check_folder(target, resume)
        remove_parts(target)
        shared: dict[str, Any] = {
            **model.part_hashes,
            **settings.memory.recorded(),
            **({"lossless": True} if lossless else {}),
        }
        if lock_style:
            shared["locked_style"] = [style.sha256 for style in look.references]
        seed = _share(target, template, suffix, engine.weights, shared)
        executor: Executor = InProcess(engine, embed=embed, lossless=lossless)
        if spread is not None:
            executor = spread.executor(template, engine, embed=embed, lossless=lossless)
        work = _Work(target, suffix, template, seed, engine, executor, lock_style)
        return work.do(entries[:limit], on_progress)


@dataclass(frozen=True)
class _Work:
    folder: Path
    suffix: str
    template: GenerationSettings
    seed: int
    engine: Engine
    executor: Executor
    same_seed: bool

    def do(self, entries: list[Entry], on_progress: Callable[[Progress], None]) -> BatchReport:
        report = BatchReport(self.folder)
        results = Results(self.folder / RESULTS_NAME)
        kept: dict[str, list[Entry]] = {"done": [], "skipped": []}

        def tell(entry: Entry, status: Status, started: float = 0.0, error: str = "") -> None:
            seconds = time.monotonic() - started if started else 0.0
            if status == "failed":
                results.add_failed(entry, _output(self.folder, entry, self.suffix), error)
                report.failed[entry.name] = error
            else:
                kept[status].append(entry)
            on_progress(Progress(entry, len(entries), status, seconds, error))

        # Whatever ends this ends the workers.
        with closing(self.executor.work(self._tasks(entries, results, tell))) as outcomes:
            for outcome in outcomes:
                task = outcome.task
                if outcome.record is None:
                    tell(task.entry, "failed", task.started, outcome.error)
                    continue
                results.add_done(task.entry, task.output, outcome.record, outcome.seconds)
                tell(task.entry, "done", task.started)
        results.tidy()
        order = {entry.name: entry.index for entry in entries}
        for status, names in (("done", report.done), ("skipped", report.skipped)):
            names += [entry.name for entry in sorted(kept[status], key=lambda entry: entry.index)]
        report.failed = dict(sorted(report.failed.items(), key=lambda item: order[item[0]]))
        return report

    def _tasks(self, entries: list[Entry], results: Results, tell: Callable[..., None]) -> Iterator[Task]:
        """What is still to be made; of the others it is told why not."""
        for entry in entries:
            output = _output(self.folder, entry, self.suffix)
            started = time.monotonic()
            try:
                job = self._job(entry)
                finished = results.is_finished(entry, output, functools.partial(self._made, job))
            except (OutputError, CheckpointError):
                raise  # the next entry would fare no better
            except InvalidInputError as error:
                tell(entry, "failed", started, str(error))
                continue
            if finished:
                tell(entry, "skipped")
                continue
            yield Task(entry=entry, job=job, output=output, started=started)

    def _made(self, job: Job, record: GenerationRecord) -> bool:
        return _made_from(record, job, self.engine)

    def _job(self, entry: Entry) -> Job:
        seed = self.seed if self.same_seed else (self.seed + entry.index) % (MAX_SEED + 1)
        asked = {"seed": seed, **entry.own}
        styles = tuple(StyleInput(path=Path(path)) for path in entry.styles)
        if entry.video is None:  # what the command says of videos is not for this one
            asked |= {"denoise": None, "inversion": False}
        pictures = {"style_masks": entry.masks, "negative_styles": entry.negatives}
        asked |= {name: tuple(map(Path, paths)) for name, paths in pictures.items()}
        settings = self.template.changed(prompt=entry.prompt, styles=styles, video=entry.video, **asked)
        return prepare(settings, self.suffix, self.engine.model)


def _made_from(record: GenerationRecord, job: Job, engine: Engine) -> bool:
    """Whether a record is what this job would write, wherever it ran."""
    s = job.settings
    styles = [(style.sha256, style.weight) for style in record.styles]
    return (
        record.prompt == s.prompt
        and record.values() == {**s.values(), "scheduler": job.scheduler}
        and styles == [(r.sha256, style.weight) for r, style in zip(job.references, s.styles, strict=True)]
        and _part_of(record.video) == _part_of(None if job.video is None else job.video.reference("-"))
        and [r.sha256 for r in record.style_masks] == [p.sha256 for p in job.steering.masks]
        and [r.sha256 for r in record.negative_styles] == [p.sha256 for p in job.steering.negatives]
        and engine.made(record.model)
    )


def _part_of(video: VideoReference | None) -> tuple[str, float, float | None] | None:
    """What of a video's record decides the frames, wherever it lies."""
    return None if video is None else (video.sha256, video.start, video.duration)


def _without(entry: Entry, fixed: Collection[str]) -> Entry:
    return replace(entry, own={name: value for name, value in entry.own.items() if name not in fixed})


def _locked(
    entries: Sequence[Entry], settings: GenerationSettings, file: str | os.PathLike[str]
) -> tuple[StyleInput, ...]:
    """The styles of the command, or of the first entry."""
    if settings.styles:
        return tuple(StyleInput(path=Path(os.path.normpath(find_style(s.path)))) for s in settings.styles)
    if not entries[0].styles:
        raise InvalidInputError(
            f"{shown(file)}: entry 0 has no style_path that could be locked; give it one, or --style."
        )
    return tuple(StyleInput(path=Path(path)) for path in entries[0].styles)


def _with_style(entries: Sequence[Entry], locked: Sequence[StyleInput]) -> list[Entry]:
    """The entries with that style; of those that name another one, it is said."""
    styles = tuple(str(style.path) for style in locked)
    others = [entry.index for entry in entries if entry.styles not in ((), styles)]
    if others:
        logger.warning(
            "the style is locked to %s: the style_path of %d entries, entry %d the first, is not read.",
            ", ".join(shown(style.path.name) for style in locked),
            len(others),
            others[0],
        )
    return [replace(entry, styles=styles) for entry in entries]


def _check_own(
    entries: Sequence[Entry], template: GenerationSettings, suffix: str, model: ModelFacts
) -> None:
    """Refuse an entry whose own settings the model or the format cannot take, before anything is made."""
    for entry in entries:
        if entry.own:
            try:
                prepare(template.changed(**entry.own), suffix, model)
            except InvalidInputError as error:
                raise InvalidInputError(f"entry {entry.index}: {error}") from error


def _check_format(suffix: str, settings: GenerationSettings, lossless: bool) -> None:
    if suffix not in SUFFIXES:
        raise unknown_name("output format", shown(suffix), SUFFIXES)
    check_suffix(f"output{suffix}", settings.frames or 1)
    if lossless:
        check_lossless(suffix)


def _output(folder: Path, entry: Entry, suffix: str) -> Path:
    return folder / f"{entry.name}{suffix}"


def _check_folder(folder: Path, resume: bool) -> None:
    if not os.path.exists(folder):
        return
    if not os.path.isdir(folder):
        raise OutputError(f"{folder} is a file; a batch needs a folder.")
    try:
        filled = any(not is_part(path) for path in folder.iterdir())
    except OSError as error:
        raise OutputError(f"{folder} cannot be read: {error.strerror}.") from error
    if filled and not resume:
        raise OutputError(f"{folder} is not empty: add --resume to go on there, or name another folder.")
    if filled and not (folder / SHARED_NAME).is_file():
        raise OutputError(
            f"{folder} holds no {SHARED_NAME}, so no batch was started there: name another folder."
        )


def _share(
    folder: Path, template: GenerationSettings, suffix: str, weights: str, more: Mapping[str, Any]
) -> int:
    """Write down what all entries share, or compare it with what was written; returns the first seed."""
    file = folder / SHARED_NAME
    shared = {"format": suffix, "weights": weights, "dtype": template.dtype, **template.values(), **more}
    del shared["seed"]
    if not os.path.exists(file):
        seed = draw_seed() if template.seed is None else template.seed
        write_atomic(file, json.dumps({**shared, "seed": seed}, indent=1).encode())
        return seed
    before = read_json(file, error=OutputError)
    first = before.get("seed") if isinstance(before, dict) else None
    if not isinstance(first, int) or isinstance(first, bool) or not 0 <= first <= MAX_SEED:
        raise OutputError(f"{shown(file)} does not say what the batch was started with; name another folder.")
    if template.seed is not None:
        shared["seed"] = template.seed
    if isinstance(size := before.get("size"), list) and len(size) == 2:  # as earlier versions wrote it
        before["width"], before["height"] = size
    if before.get("style_scale") == 1.0 and shared["style_scale"] is None:  # likewise, of the model's own
        before["style_scale"] = None
    # Knobs that were not there had no effect.
    before = {name: field.default for name, field in type(template).model_fields.items()} | before
    for all_options in (shared, before):
        all_options.setdefault("lossless", False)
        all_options.setdefault("low_memory", False)
        all_options.setdefault("weights_as", "full")
        for part in PART_OPTIONS:
            all_options.setdefault(part, None)
        all_options.setdefault("locked_style", None)
    changed = [name for name, value in shared.items() if before.get(name) != value]
    if changed:
        name, words = changed[0], changed[0].replace("_", " ")
        raise InvalidInputError(
            f"the batch in {folder} was started with {words} {_cut(before.get(name))}, not {_cut(shared[name])}: "
            f"give all options that it was started with ({SHARED_NAME} there has them), or another folder."
        )
    return first


def _cut(value: Any) -> str:
    text = "the model's default" if value is None else repr(value)
    return text if len(text) <= 100 else f"{text[:99]}…"
