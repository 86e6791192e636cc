"""What makes the clips of a test set: the model, its baselines on the same base model and seeds, and controls.

Baselines are what the paper compares with: text alone, style words in the prompt, per-frame style transfer of the
text-only clip, finetuning on the reference, and the adapter of stage 1 frame by frame. Controls have a known answer, so
that they test the metrics and not a model: real renders of StyleWorld, the reference itself as a still clip, a still
clip of the model, and noise.

Every method names its files as `batch` does, and goes on where it was stopped.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps

from stylecrafter.errors import ImageReadError, InvalidInputError
from stylecrafter.evaluation.lora import LoraConfig, LoraTuner
from stylecrafter.evaluation.method_names import Method
from stylecrafter.evaluation.metrics.encoders import StyleTransferEngine
from stylecrafter.evaluation.runner import find_clip
from stylecrafter.evaluation.testset import TestSet
from stylecrafter.evaluation.truth.world_set import STYLE_TEXTS_NAME
from stylecrafter.generation.batch import SHARED_NAME, Progress, run_batch
from stylecrafter.generation.engine import Engine
from stylecrafter.generation.settings import GenerationSettings, Job, StyleInput, look_up, prepare
from stylecrafter.generation.spread import Spread
from stylecrafter.media.documents import read_json
from stylecrafter.media.files import write_atomic
from stylecrafter.media.images import file_hash, load_picture
from stylecrafter.media.metadata import read_metadata
from stylecrafter.media.tensors import to_pictures
from stylecrafter.media.video import check_frames, read_frames, write_frames
from stylecrafter.pipelines.stylized_image import StyleCrafterImagePipeline
from stylecrafter.runtime.seeding import MAX_SEED, make_generator

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipRequest:
    """What is to be made.

    Attributes:
        testset: Prompts and pictures.
        settings: Model, seed and sampling; its prompt and styles are not looked at.
        suffix: Format of the clips.
        style_texts: For `Method.STYLE_WORDS`: file name of a picture -> words, with {prompt} where the prompt goes.
        spread: Who makes the clips of models, where it is not this process.
    """

    testset: TestSet
    settings: GenerationSettings
    suffix: str = ".mp4"
    style_texts: Mapping[str, str] | None = None
    spread: Spread | None = None


def make_clips(
    method: Method,
    request: ClipRequest,
    folder: str | os.PathLike[str],
    sources: Callable[[Method], Path],
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Make the clips that are not there yet.

    Args:
        method: What makes them.
        request: Of what.
        folder: Where they are to lie.
        sources: Folder with the clips of another method, for the methods that start from them; it makes them where
            they are not there yet.
        on_progress: Called after every clip that a model makes.

    Raises:
        InvalidInputError: The method is not possible with this test set, or an entry's pictures cannot be read.
        MissingDependencyError: The method needs a package that is not installed.
        OutputError: The folder cannot be written.
    """
    target = Path(folder)
    if method is Method.STYLE_WORDS:
        words = _with_style_words(request, target.with_name(f"{target.name}.json"))
        try:
            _make_batch(words, method, request, target, on_progress)
        finally:
            words.unlink(missing_ok=True)  # it says where the pictures lie on this machine
        return
    if method in (Method.OURS, Method.TEXT_ONLY):
        _make_batch(request.testset.file, method, request, target, on_progress)
        return
    if request.spread is not None:
        logger.warning(
            "%s: this process makes the clips; workers make those of ours, text-only and style-words",
            method.value,
        )
    maker = _frame_maker(method, request, sources)
    for index, entry in enumerate(request.testset.entries):
        path = target / f"{entry.name}{request.suffix}"
        facts = {"method": method.value, "prompt": entry.prompt, **maker.facts(index)}
        if not _holds(path, facts):
            frames, fps = maker.make(index)
            write_frames(frames, path, fps, facts)


def _make_batch(
    file: Path, method: Method, request: ClipRequest, target: Path, on_progress: Callable[[Progress], None]
) -> None:
    scale = request.settings.style_scale if method is Method.OURS else 0.0
    report = run_batch(
        file,
        target,
        request.settings.changed(style_scale=scale),
        fixed=() if method is Method.OURS else ("style_scale", "strength"),
        suffix=request.suffix,
        resume=(target / SHARED_NAME).is_file(),
        limit=len(request.testset.entries),
        spread=request.spread,
        on_progress=on_progress,
    )
    for name, error in report.failed.items():
        logger.warning("%s cannot be made: %s", name, error)


@dataclass(frozen=True)
class _FrameMaker:
    """How a method without a model of its own makes clip i: its frames and their rate.

    `facts` is all that the clip depends on beside method and prompt; a clip whose file says the same is kept.
    """

    make: Callable[[int], tuple[list[Image.Image], float]]
    facts: Callable[[int], dict[str, Any]]


def _holds(path: Path, facts: dict[str, Any]) -> bool:
    """Whether the file is a whole clip that was made from these facts."""
    try:
        if not path.is_file() or read_metadata(path) != facts:
            return False
        check_frames(path)
    except ImageReadError:
        return False  # damaged: it is made again
    return True


def _frame_maker(method: Method, request: ClipRequest, sources: Callable[[Method], Path]) -> _FrameMaker:
    if method is Method.FRAME_TRANSFER:
        return _frame_transfer(request.testset, sources(Method.TEXT_ONLY))
    if method is Method.STILL:
        return _still(request.testset, sources(Method.OURS))
    if method is Method.FRAME_BY_FRAME:
        return _frame_by_frame(request)
    if method is Method.LORA:
        return _finetuned(request)
    if method is Method.REAL:
        return _renders(request)
    if method is Method.REFERENCE_COPY:
        return _copies(request)
    return _noise(request)


class _Jobs:
    """What a method has to make of each entry; the model behind it is looked up once.

    `changes` are settings that the method needs.
    """

    def __init__(self, request: ClipRequest, **changes: Any) -> None:
        self._request, self._changes = request, changes
        self.model = look_up(request.settings)

    def __call__(self, index: int, *, with_pictures: bool = False) -> Job:
        """The job of entry `index`, with a seed as `run_batch` gives it: all methods start from the same noise."""
        settings, entry = self._request.settings, self._request.testset.entries[index]
        styles = tuple(StyleInput(path=Path(path)) for path in entry.styles) if with_pictures else ()
        own = {"seed": ((settings.seed or 0) + index) % (MAX_SEED + 1), **entry.own}
        asked = settings.changed(**{"prompt": entry.prompt, "styles": styles, **own, **self._changes})
        return prepare(asked, self._request.suffix, self.model)

    def engine(self) -> Engine:
        """The model, loaded when it is needed."""
        settings = self._request.settings
        return Engine(self.model, settings.device, settings.dtype, memory=settings.memory)


def _frame_transfer(testset: TestSet, plain: Path) -> _FrameMaker:
    engine = StyleTransferEngine()

    def make(index: int) -> tuple[list[Image.Image], float]:
        frames, fps = read_frames(find_clip(plain, testset.entries[index]))
        style = load_picture(testset.entries[index].styles[0])
        return [engine.restyled(frame, style) for frame in frames], fps

    def facts(index: int) -> dict[str, Any]:
        entry = testset.entries[index]
        return {"of": file_hash(find_clip(plain, entry)), "style": file_hash(entry.styles[0])}

    return _FrameMaker(make, facts)


def _frame_by_frame(request: ClipRequest) -> _FrameMaker:
    job = _Jobs(request)
    engine = job.engine()

    @functools.cache
    def painter() -> StyleCrafterImagePipeline:
        pipe: StyleCrafterImagePipeline = StyleCrafterImagePipeline.from_pipe(engine.pipe)
        pipe.set_progress_bar_config(disable=None)
        return pipe

    def make(index: int) -> tuple[list[Image.Image], float]:
        asked, pipe = job(index, with_pictures=True), painter()
        s = asked.settings
        pipe.scheduler = engine.scheduler(s.scheduler)
        # A stream of noise for each frame, none of them the clip's own.
        first = ((s.seed or 0) * 100_003) % (MAX_SEED - asked.frames)
        out: Any = pipe(
            s.prompt,
            style_images=[picture.image for picture in asked.pictures],
            negative_prompt=s.negative_prompt,
            **s.arguments(without=("seed", "frames", "shared_noise", "style_frames", "window")),
            num_images_per_prompt=asked.frames,
            generator=[make_generator(first + frame) for frame in range(asked.frames)],
        )
        return list(out.images), asked.fps

    def facts(index: int) -> dict[str, Any]:
        asked = job(index, with_pictures=True)
        return {
            "styles": [picture.sha256 for picture in asked.pictures],
            **_sampling(asked, engine),
        }

    return _FrameMaker(make, facts)


def _sampling(job: Job, engine: Engine) -> dict[str, Any]:
    """What sampling depends on, whatever is sampled."""
    return {**job.settings.values(), "scheduler": job.scheduler, "weights": engine.weights}


def _finetuned(request: ClipRequest) -> _FrameMaker:
    testset, config = request.testset, LoraConfig()
    job = _Jobs(request, style_scale=0.0, strength="")
    engine = job.engine()

    @functools.cache
    def tuner() -> LoraTuner:
        return LoraTuner(engine.pipe, config)

    def make(index: int) -> tuple[list[Image.Image], float]:
        styles = testset.entries[index].styles
        tuner().use(" ".join(styles), [load_picture(path) for path in styles])
        asked = job(index)
        frames, _ = engine.run(asked, testset.file)
        return frames, asked.fps

    def facts(index: int) -> dict[str, Any]:
        return {
            "styles": [file_hash(path) for path in testset.entries[index].styles],
            "finetuning": dataclasses.asdict(config),
            **_sampling(job(index), engine),
        }

    return _FrameMaker(make, facts)


def _still(testset: TestSet, ours: Path) -> _FrameMaker:
    def make(index: int) -> tuple[list[Image.Image], float]:
        frames, fps = read_frames(find_clip(ours, testset.entries[index]))
        return frames[:1] * len(frames), fps

    return _FrameMaker(make, lambda index: {"of": file_hash(find_clip(ours, testset.entries[index]))})


def _renders(request: ClipRequest) -> _FrameMaker:
    truth, job = request.testset.truth, _Jobs(request, prompt="-")
    sizes = {job(index).size for index in range(len(request.testset.entries))}
    if truth is None or any(width != height for width, height in sizes):
        asked = ", ".join(f"{width}x{height}" for width, height in sorted(sizes))
        raise InvalidInputError(
            "real renders exist only for StyleWorld's own test sets and square clips; "
            f"{request.testset.file} at {asked} is something else."
        )
    drawn = truth.draw()

    def make(index: int) -> tuple[list[Image.Image], float]:
        asked = job(index)
        clips = drawn.real_clips(torch.tensor([index]), asked.size[0], asked.frames)
        return to_pictures(clips[0]), asked.fps

    return _FrameMaker(make, lambda index: {"world": truth.model_dump(), **_shape(job(index))})


def _copies(request: ClipRequest) -> _FrameMaker:
    entries, job = request.testset.entries, _Jobs(request, prompt="-")

    def make(index: int) -> tuple[list[Image.Image], float]:
        asked = job(index)
        picture = ImageOps.fit(load_picture(entries[index].styles[0]), asked.size)
        return [picture] * asked.frames, asked.fps

    def facts(index: int) -> dict[str, Any]:
        return {"style": file_hash(entries[index].styles[0]), **_shape(job(index))}

    return _FrameMaker(make, facts)


def _noise(request: ClipRequest) -> _FrameMaker:
    job = _Jobs(request, prompt="-")

    def make(index: int) -> tuple[list[Image.Image], float]:
        asked = job(index)
        width, height = asked.size
        pixels = torch.rand(asked.frames, 3, height, width, generator=make_generator(index))
        return to_pictures(pixels), asked.fps

    return _FrameMaker(make, lambda index: {"seed": index, **_shape(job(index))})


def _shape(job: Job) -> dict[str, Any]:
    width, height = job.size
    return {"frames": job.frames, "width": width, "height": height, "fps": job.fps}


def _with_style_words(request: ClipRequest, file: Path) -> Path:
    """The test set with words for the style in its prompts, written to `file`."""
    texts = request.style_texts
    if texts is None:
        texts = read_style_texts(request.testset.file.parent / STYLE_TEXTS_NAME)
    entries: list[dict[str, Any]] = []
    for entry in request.testset.entries:
        name = Path(entry.styles[0]).name
        if name not in texts:
            raise InvalidInputError(
                f"no words for the style of {name}; known are {', '.join(sorted(texts)) or 'none'}."
            )
        words = texts[name]
        prompt = (
            words.replace("{prompt}", entry.prompt)
            if "{prompt}" in words
            else f"{entry.prompt.rstrip('.')}, {words}"
        )
        styles = [os.path.abspath(path) for path in entry.styles]
        entries.append({"prompt": prompt, "style_path": styles, **entry.own})
    return write_atomic(file, json.dumps(entries, indent=1).encode())


def read_style_texts(file: Path) -> dict[str, str]:
    """Words for style pictures: json, {file name: "watercolor painting, {prompt}, soft washes"}.

    Raises:
        InvalidInputError: The file is missing or something else.
    """
    try:
        content = read_json(file)
    except InvalidInputError as error:
        raise InvalidInputError(f"words for the styles are needed: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(text, str) for text in content.values()):
        raise InvalidInputError(f'{file} must hold {{"picture.png": "words with {{prompt}} in them", …}}.')
    return content
