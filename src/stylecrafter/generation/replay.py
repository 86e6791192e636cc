"""Making a clip again from the settings inside it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stylecrafter.errors import ImageReadError, InvalidInputError
from stylecrafter.generation.paths import candidates
from stylecrafter.generation.run import Made, generate_file, versions
from stylecrafter.generation.settings import GenerationSettings, StyleInput
from stylecrafter.media.images import file_hash
from stylecrafter.media.metadata import GenerationRecord, StyleReference, read_record
from stylecrafter.media.video import check_frames, same_frames
from stylecrafter.pipelines.schedulers import SCHEDULERS
from stylecrafter.weights.locate import fetch_model, list_models, weights_hash

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replayed:
    """A clip that was made again.

    Attributes:
        identical: Whether both files show the same frames; None where their formats differ, so that frames
            that were equal before they were written need not be equal any more.
    """

    made: Made
    identical: bool | None


def replay(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    styles: Sequence[str | os.PathLike[str]] = (),
    model: str | None = None,
    device: str | None = None,
) -> Replayed:
    """Generate what is in `source` again, with the same settings, pictures and weights.

    On the same machine with the same versions the frames are the same.

    Args:
        source: A file written with its settings.
        output: Where to.
        styles: Where the style pictures are now, in their order, if they were moved.
        model: Where the model is now, if it was moved.
        device: Run there instead of where it ran.

    Raises:
        InvalidInputError: No settings, or pictures or weights that are missing or not the same any more.
    """
    record = read_record(source)
    paths = _find_styles(record.styles, source, styles)
    name = model or _find_model(record, source)
    found = weights_hash(fetch_model(name))
    if record.model.sha256 and found != record.model.sha256:
        raise InvalidInputError(
            f"model {name!r} holds other weights ({found[:12]}…) than those that made {os.fspath(source)} "
            f"({record.model.sha256[:12]}…); name the folder of the same weights with --model."
        )
    _warn_of_versions(record)
    settings = GenerationSettings(
        prompt=record.prompt,
        styles=tuple(
            StyleInput(path=path, weight=style.weight)
            for path, style in zip(paths, record.styles, strict=True)
        ),
        model=name,
        negative_prompt=record.negative_prompt,
        seed=record.seed,
        steps=record.steps,
        frames=record.frames,
        size=(record.width, record.height),
        fps=record.fps,
        style_scale=record.style_scale,
        text_guidance=record.text_guidance,
        style_guidance=record.style_guidance,
        published_guidance=record.published_guidance,
        guidance_stop=record.guidance_stop,
        shared_noise=record.shared_noise,
        style_corners=record.style_corners,
        eta=record.eta,
        # A class name stands for the scheduler that the model was saved with.
        scheduler=record.scheduler if record.scheduler in SCHEDULERS else None,
        device=device or record.device,
        dtype=record.dtype,
    )
    check_frames(source)  # before the long work
    made = generate_file(settings, output)
    if Path(source).suffix.lower() != Path(output).suffix.lower():
        return Replayed(made, None)
    return Replayed(made, same_frames(source, output))


def _find_styles(
    recorded: Sequence[StyleReference],
    source: str | os.PathLike[str],
    given: Sequence[str | os.PathLike[str]],
) -> list[Path]:
    if given and len(given) != len(recorded):
        raise InvalidInputError(
            f"{os.fspath(source)} was made from {len(recorded)} style pictures: "
            "give --style as often, in their order."
        )
    if given:
        return [_check_style(style, [Path(path)]) for style, path in zip(recorded, given, strict=True)]
    return [_check_style(style, list(candidates(style.path or style.name, source))) for style in recorded]


def _check_style(style: StyleReference, places: list[Path]) -> Path:
    """The first place that holds the very picture."""
    present = [path for path in places if path.is_file()]
    for path in present:
        if file_hash(path) == style.sha256:
            return path
    if present:
        raise ImageReadError(
            f"{present[0]} is not the picture that was used any more (its contents changed): "
            "give the original with --style."
        )
    raise ImageReadError(f"style picture {places[0]} is missing: say where it is now with --style.")


def _find_model(record: GenerationRecord, source: str | os.PathLike[str]) -> str:
    name = record.model.name
    if name in {model.name for model in list_models()}:
        return name
    folders = (path for path in candidates(name, source) if path.is_dir())
    return str(next(folders, name))


def _warn_of_versions(record: GenerationRecord) -> None:
    now = versions()
    changed = [
        f"{name} {record.versions[name]} (now {now.get(name, 'absent')})"
        for name in record.versions
        if record.versions[name] != now.get(name)
    ]
    if changed:
        logger.warning("made with %s: frames may differ in detail.", ", ".join(changed))
