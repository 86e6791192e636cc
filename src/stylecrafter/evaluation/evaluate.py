"""One evaluation from beginning to end: make the clips that are missing, measure them, write the reports.

The folder holds `testset/` where StyleWorld drew it, `clips/` and `runs/` (a folder of clips and a json of scores for
each method), `figures.jsonl` (every score as it was measured), and the reports `report.md` and `report.html`.
Everything in it is used again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.asked_metrics import check_weights, metrics_for
from stylecrafter.evaluation.method_names import Method
from stylecrafter.evaluation.methods import ClipRequest, make_clips
from stylecrafter.evaluation.provenance import settings_of
from stylecrafter.evaluation.report import RUNS, read_evaluations, to_json
from stylecrafter.evaluation.report_page import to_html, to_markdown
from stylecrafter.evaluation.request import WORLD, EvaluationRequest
from stylecrafter.evaluation.runner import Evaluation, measure_folder
from stylecrafter.evaluation.testset import TestSet, read_testset
from stylecrafter.evaluation.truth.world_set import world_set_for, write_world_set
from stylecrafter.generation.batch import Progress
from stylecrafter.generation.paths import shareable
from stylecrafter.generation.places import remember
from stylecrafter.generation.settings import look_up
from stylecrafter.media.files import write_atomic
from stylecrafter.media.overwriting import refuse_overwriting

CLIPS, TESTSET = "clips", "testset"


def evaluate(
    request: EvaluationRequest,
    output: str | os.PathLike[str],
    *,
    on_clip: Callable[[Method, Progress], None] = lambda method, progress: None,
    on_measure: Callable[[str, int, int], None] = lambda run, done, total: None,
) -> list[Evaluation]:
    """Carry out an evaluation and write its reports.

    Args:
        request: What is asked. Without a seed, seed 0 is taken, so that all methods start from the same noise.
        output: Folder of the evaluation; goes on where an earlier run of the same was stopped.
        on_clip: Called after every clip that a model made.
        on_measure: Called after every clip that was measured, with the run's name, how many are done and of how many.

    Returns:
        Each run in the order of the methods; none where clips are only made.

    Raises:
        InvalidInputError: Something asked for is not possible, or not one clip of a run could be read.
        MissingDependencyError: A metric needs a package that is not installed.
        OutputError: The folder cannot be written.
    """
    target = Path(output)
    if request.settings.seed is None:
        request = replace(request, settings=request.settings.changed(seed=0))
    check_weights(request)
    earlier = [run for path in request.compare_with for run in read_evaluations(path)]
    refuse_overwriting(_reports(request, target), _given_files(request))
    if request.clips is not None and (request.make_only or request.methods):
        superfluous = "make_only" if request.make_only else f"method {request.methods[0].value!r}"
        raise InvalidInputError(
            f"nothing is to be made beside the clips in {request.clips}; leave {superfluous} out"
        )
    testset = _testset(request, target)
    if request.make_only:
        for _ in _folders(request, testset, target, on_clip):
            pass
        return []
    asking, probe_rates = metrics_for(request, testset, target)
    evaluations = []
    for name, folder in _folders(request, testset, target, on_clip):
        evaluations.append(
            measure_folder(
                testset,
                folder,
                asking,
                target,
                title=_title(request, name),
                settings=settings_of(request, name, folder, asking, probe_rates),
                on_progress=partial(on_measure, name),
            )
        )
        write_atomic(target / RUNS / f"{name}.json", to_json(evaluations[-1], target).encode())
        if request.clips is not None:
            remember(evaluations[-1].clips[0].sha256, folder / evaluations[-1].clips[0].file)
    runs = [*evaluations, *(_with_pictures(run, testset) for run in earlier)]
    write_atomic(target / "report.md", to_markdown(runs).encode())
    write_atomic(target / "report.html", to_html(runs).encode())
    return evaluations


def _reports(request: EvaluationRequest, target: Path) -> list[Path]:
    """Files that an evaluation writes over."""
    runs = [request.clips.name] if request.clips is not None else [m.value for m in _methods(request)]
    return [
        target / "report.md",
        target / "report.html",
        *(target / RUNS / f"{run}.json" for run in runs),
        *(target / CLIPS / f"{run}.json" for run in runs),
    ]


def _given_files(request: EvaluationRequest) -> list[Path]:
    """Files that an evaluation reads, whose names a user gave."""
    given = [request.csd, request.raft, *request.compare_with]
    if request.testset != WORLD:
        given.append(Path(request.testset))
    return [path for path in given if path is not None]


def _methods(request: EvaluationRequest) -> Sequence[Method]:
    return request.methods or (Method.OURS,)


def _with_pictures(run: Evaluation, testset: TestSet) -> Evaluation:
    """An earlier run with the places of its style pictures, which its file does not say, where they are this set's."""
    entries = {entry.name: entry.styles for entry in testset.entries}
    places: dict[str, str] = {}
    for clip in run.clips:
        styles = entries.get(clip.name, ())
        if [Path(style).name for style in clip.styles] == [Path(style).name for style in styles]:
            places |= dict(zip(clip.styles, styles, strict=True))
    clips = (replace(c, styles=tuple(places.get(style, style) for style in c.styles)) for c in run.clips)
    return replace(run, clips=tuple(clips))


def _testset(request: EvaluationRequest, target: Path) -> TestSet:
    if request.limit is not None and request.limit < 1:
        raise InvalidInputError(f"limit must be at least 1, not {request.limit}.")
    if request.testset != WORLD:
        return read_testset(request.testset, request.limit)
    spec = request.world or world_set_for(request.settings.model)
    return read_testset(write_world_set(spec, target / TESTSET), request.limit)


def _folders(
    request: EvaluationRequest,
    testset: TestSet,
    target: Path,
    on_clip: Callable[[Method, Progress], None],
) -> Iterator[tuple[str, Path]]:
    """Name and folder of the clips of each run, one after the other, made as they are asked for."""
    if request.clips is not None:
        yield request.clips.name, request.clips
        return
    suffix = request.suffix or look_up(request.settings).suffix
    asked = ClipRequest(testset, request.settings, suffix, request.style_texts, request.spread)

    def make(method: Method) -> Path:
        folder = target / CLIPS / method.value
        make_clips(method, asked, folder, make, lambda progress: on_clip(method, progress))
        return folder

    for method in _methods(request):
        yield method.value, make(method)


def _title(request: EvaluationRequest, name: str) -> str:
    if request.clips is not None and request.title is None:
        return name
    return f"{request.title or shareable(request.settings.model)}, {name}"
