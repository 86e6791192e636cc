"""Making a clip again from the settings inside it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stylecrafter.errors import CheckpointError, ImageReadError, InvalidInputError
from stylecrafter.generation.engine import Made, generate_file, versions
from stylecrafter.generation.models import PART_OPTIONS, look_up_model
from stylecrafter.generation.paths import candidates, user_path
from stylecrafter.generation.places import recall
from stylecrafter.generation.record import GenerationRecord, StyleReference, read_record
from stylecrafter.generation.settings import GenerationSettings, StyleInput, check_style_count
from stylecrafter.generation.source_video import VideoInput, VideoReference
from stylecrafter.generation.styles import find_style
from stylecrafter.media.documents import is_file, is_folder, shown
from stylecrafter.media.images import file_hash
from stylecrafter.media.overwriting import refuse_overwriting
from stylecrafter.media.video import LOSSLESS_SUFFIXES, check_frames, same_frames
from stylecrafter.pipelines.schedulers import SCHEDULERS
from stylecrafter.references.saved_style import SUFFIX
from stylecrafter.references.style_library import find_saved
from stylecrafter.weights.locate import (
    fetch_model,
    fetch_part,
    list_models,
    parts_hash,
    same_weights,
    settings_hash,
    weights_hash,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Kind:
    """What messages call pictures that a clip was made from."""

    one: str
    several: str
    flag: str


STYLE = _Kind("style picture", "style pictures", "--style")
MASK = _Kind("style mask", "style masks", "--style-mask")
NEGATIVE = _Kind("negative style picture", "negative style pictures", "--negative-style")


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
    masks: Sequence[str | os.PathLike[str]] = (),
    negatives: Sequence[str | os.PathLike[str]] = (),
    video: str | os.PathLike[str] | None = None,
    model: str | None = None,
    parts: Mapping[str, str | None] | None = None,
    device: str | None = None,
) -> Replayed:
    """Generate what is in `source` again, with the same settings, pictures and weights.

    On the same machine with the same versions the frames are the same.

    Args:
        source: A file written with its settings.
        output: Where to.
        styles: Where the style pictures are now, in their order, if they were moved.
        masks: Where the style masks are now, likewise.
        negatives: Where the pictures of the negative style are now, likewise.
        video: Where the clip that it was made from is now, if it was moved.
        model: Where the model is now, if it was moved.
        parts: Where what stood beside it is now, by the names of `models.PART_OPTIONS`.
        device: Run there instead of where it ran.

    Raises:
        InvalidInputError: No settings, or pictures or weights that are missing or not the same any more.
        OutputError: The output cannot be written, or is the source or one of the pictures.
    """
    refuse_overwriting([output], [source])
    record = read_record(source)
    check_style_count(len(record.styles))
    paths = _find_pictures(record.styles, source, styles, STYLE)
    mask_paths = _find_pictures(record.style_masks, source, masks, MASK)
    negative_paths = _find_pictures(record.negative_styles, source, negatives, NEGATIVE)
    video_path = _find_video(record.video, source, video)
    name = model or _find_model(record, source)
    beside = _find_parts(record, source, parts or {})
    facts = look_up_model(name, **beside)
    folder = facts.weights
    if not same_weights(folder, record.model.sha256):
        raise InvalidInputError(
            f"model {name!r} holds other weights ({weights_hash(folder)[:12]}…) than those that made "
            f"{os.fspath(source)} ({str(record.model.sha256)[:12]}…); name the folder of the same weights with --model."
        )
    if record.model.settings_sha256 not in (None, settings_hash(facts.folder)):
        raise InvalidInputError(
            f"model {name!r} has the weights that made {os.fspath(source)}, but other settings (configs, scheduler or "
            "tokenizer); name the folder as it was with --model."
        )
    own = facts.scheduler
    if record.scheduler not in (own, *SCHEDULERS):
        raise InvalidInputError(
            f"{shown(source)} was made with the scheduler {shown(record.scheduler)}, but model {name!r} comes with "
            f"{own}, and known are {', '.join(SCHEDULERS)}; name the folder as it was with --model."
        )
    _warn_of_versions(record)
    settings = settings_of(record, paths, name, device, video_path).changed(
        style_masks=tuple(mask_paths), negative_styles=tuple(negative_paths), **beside
    )
    check_frames(source)  # before the long work
    lossless = record.without_loss and Path(output).suffix.lower() in LOSSLESS_SUFFIXES
    made = generate_file(settings, output, lossless=lossless)
    if Path(source).suffix.lower() != Path(output).suffix.lower():
        return Replayed(made, None)
    return Replayed(made, same_frames(source, output))


def settings_of(
    record: GenerationRecord,
    styles: Sequence[Path],
    model: str,
    device: str | None = None,
    video: Path | None = None,
) -> GenerationSettings:
    """The settings that a clip was made with.

    Args:
        record: What the clip says.
        styles: Where its style pictures are.
        model: Its model.
        device: Another than its own.
        video: Where the clip is that it was made from, if there was one.

    Raises:
        InvalidInputError: The record says what no settings can.
    """
    # What is no short name is the class of the scheduler that the model was saved with.
    scheduler = record.scheduler if record.scheduler in SCHEDULERS else None
    of_video = None
    if record.video is not None and video is not None:
        of_video = VideoInput(path=video, start=record.video.start, duration=record.video.duration)
    return GenerationSettings(
        **{**record.values(), "scheduler": scheduler},
        fast_knobs=(record.model_extra or {}).get("fast_knobs", ()),
        prompt=record.prompt,
        styles=tuple(
            StyleInput(path=path, weight=style.weight, at=style.at)
            for path, style in zip(styles, record.styles, strict=True)
        ),
        video=of_video,
        model=model,
        device=device or record.device,
        dtype=record.dtype,
        **record.memory,
    )


def _find_pictures(
    recorded: Sequence[StyleReference],
    source: str | os.PathLike[str],
    given: Sequence[str | os.PathLike[str]],
    kind: _Kind,
) -> list[Path]:
    if given and len(given) != len(recorded):
        raise InvalidInputError(
            f"{os.fspath(source)} was made from {len(recorded)} {kind.several}: "
            f"give {kind.flag} as often, in their order."
        )
    if given:
        return [
            _check_picture(one, [find_style(path)], kind) for one, path in zip(recorded, given, strict=True)
        ]
    return [
        _check_picture(one, [*_places(one.path or one.name, one.sha256, source), *_saved(one.name)], kind)
        for one in recorded
    ]


def _saved(name: str) -> list[Path]:
    """The file of that name in the user's library of styles, if there is one."""
    found = find_saved(name.removesuffix(SUFFIX)) if name.endswith(SUFFIX) else None
    return [] if found is None else [found]


def _find_video(
    recorded: VideoReference | None,
    source: str | os.PathLike[str],
    given: str | os.PathLike[str] | None,
) -> Path | None:
    """The very clip that was used.

    Raises:
        InvalidInputError: It is missing or another one, or was given though there was none.
    """
    if recorded is None:
        if given is not None:
            raise InvalidInputError(f"{os.fspath(source)} was made without a video: leave out --video.")
        return None
    places = (
        _places(recorded.path or recorded.name, recorded.sha256, source)
        if given is None
        else [user_path(given)]
    )
    present = [path for path in places if is_file(path)]
    for path in present:
        if _hash(path) == recorded.sha256:
            return path
    if present:
        raise ImageReadError(
            f"{shown(present[0])} is not the video that was used (its contents changed, or it is another of that "
            "name): give the original with --video."
        )
    missing = places[0] if recorded.path or given else recorded.name
    raise ImageReadError(f"the video {shown(missing)} is missing: say where it is now with --video.")


def _places(recorded: str, sha256: str | None, source: str | os.PathLike[str]) -> list[Path]:
    """Where something may lie: where its record leads to, and where it lay when it was used on this machine."""
    remembered = recall(sha256) if sha256 else None
    return [*candidates(recorded, source), *([] if remembered is None else [remembered])]


def _check_picture(style: StyleReference, places: list[Path], kind: _Kind) -> Path:
    """The first place that holds the very picture."""
    present = [path for path in places if is_file(path)]
    for path in present:
        if _hash(path) == style.sha256:
            return path
    what = "style" if style.name.endswith(SUFFIX) else "picture"
    if present:
        raise ImageReadError(
            f"{shown(present[0])} is not the {what} that was used (its contents changed, or it is another of that "
            f"name): give the original with {kind.flag}."
        )
    missing = places[0] if style.path else style.name
    one = "saved style" if what == "style" else kind.one
    raise ImageReadError(f"{one} {shown(missing)} is missing: say where it is now with {kind.flag}.")


def _hash(path: Path) -> str | None:
    try:
        return file_hash(path)
    except OSError:
        return None  # not to be read, hence not what is looked for


def _find_model(record: GenerationRecord, source: str | os.PathLike[str]) -> str:
    """The embedded model of that name, or the folder with its weights; the first of the name where none has them."""
    name, sha256 = record.model.name, record.model.sha256
    embedded = [model.folder for model in list_models() if model.name == name]
    if embedded and same_weights(embedded[0], sha256):
        return name
    folders = [path for path in _places(name, sha256, source) if is_folder(path) or is_file(path)]
    for folder in folders:
        if sha256 is not None and _holds(folder, sha256):
            return str(folder)
    if not folders and not embedded and ("/" not in name or name.startswith((".", "/"))):
        raise CheckpointError(
            f"the model {shown(name)} that made {shown(source)} is missing: say where it is now with --model."
        )
    return str(folders[0]) if folders and not embedded else name


def _find_parts(
    record: GenerationRecord, source: str | os.PathLike[str], given: Mapping[str, str | None]
) -> dict[str, str]:
    """What stood beside the model, by kind: the very files, wherever they are now.

    Raises:
        InvalidInputError: One is missing or another, or is given though there was none.
    """
    found = {}
    for kind, option in PART_OPTIONS.items():
        reference, now = record.model.parts.get(kind), given.get(kind)
        words = kind.replace("_", " ")
        if reference is None:
            if now is not None:
                raise InvalidInputError(f"{os.fspath(source)} was made without {option}: leave it out.")
            continue
        places = [str(path) for path in _places(reference.name, reference.sha256, source)]
        fetched = [place for place in places if is_file(place) or is_folder(place)]
        # A hub id, which may lie in the cache or be fetched.
        on_hub = (
            [] if "/" not in reference.name or reference.name.startswith((".", "/")) else [reference.name]
        )
        tried = [now] if now is not None else [*fetched, *on_hub]
        if not tried:
            raise CheckpointError(
                f"the {words} {shown(reference.name)} that made {os.fspath(source)} is missing: say where "
                f"it is now with {option}."
            )
        same = [place for place in tried if parts_hash(fetch_part(place, kind)) == reference.sha256]
        if not same:
            raise CheckpointError(
                f"the {words} {shown(tried[0])} is not the one that made {os.fspath(source)} (its contents changed, or "
                f"it is another of that name): give the original with {option}."
            )
        found[kind] = same[0]
    return found


def _holds(folder: Path, sha256: str) -> bool:
    try:
        return same_weights(folder if is_file(folder) else fetch_model(folder), sha256)
    except CheckpointError:
        return False  # a folder of that name, but no model


def _warn_of_versions(record: GenerationRecord) -> None:
    now = versions()
    changed = [
        f"{name} {record.versions[name]} (now {now.get(name, 'absent')})"
        for name in record.versions
        if record.versions[name] != now.get(name)
    ]
    if changed:
        logger.warning("made with %s: frames may differ in detail.", ", ".join(changed))
