"""The published test-set layout: a json list of prompts and style pictures.

    [{"prompt": "…", "style_path": "a.png"}, {"prompt": "…", "style_path": ["a.png", "b.png"], "seed": 3}]

Paths are relative to the file they stand in. Our additions are "style_mask_path" and "negative_style_path", pictures as
in "style_path"; and "video_path", a clip to begin with, and "start" and "duration" in seconds for a part of it. Beside
these, an entry may have any knob of `SamplingParams`, by its own name or by that of the pipeline's argument (frames or
num_frames), or a size.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.generation.paths import user_path
from stylecrafter.generation.settings import MAX_STYLES
from stylecrafter.generation.source_video import VideoInput, ask_for_video
from stylecrafter.generation.styles import find_style
from stylecrafter.media.documents import read_json, shown
from stylecrafter.pipelines.knobs import SettingsError, brief
from stylecrafter.pipelines.sampling_params import SamplingParams, check_video_knobs

MAX_ENTRIES = 100_000
"""More than anyone has the time for: at a second for each it is a day's work."""
_PICTURES = ("style_mask_path", "negative_style_path")
_KEYS = ("prompt", "style_path", *_PICTURES, "video_path", "start", "duration")
_PROMPT_CHARACTERS, _STYLE_CHARACTERS = 40, 20


@dataclass(frozen=True)
class Entry:
    """One clip to make.

    Attributes:
        index: Position in the file, from 0.
        name: File name without suffix; differs from all others by its number.
        styles: Paths of the style pictures, resolved against the file's folder.
        own: Knobs that the entry sets itself, by their names in `SamplingParams`.
        video: The clip to begin with, its path resolved likewise; None: there is none.
        masks: Paths of style masks, likewise.
        negatives: Paths of the pictures of a negative style, likewise.
    """

    index: int
    name: str
    prompt: str
    styles: tuple[str, ...]
    own: Mapping[str, Any] = field(default_factory=dict)
    video: VideoInput | None = None
    masks: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """Paths of all files that it is made from."""
        pictures = (*self.styles, *self.masks, *self.negatives)
        return pictures if self.video is None else (*pictures, str(self.video.path))


def read_entries(file: str | os.PathLike[str], *, with_styles: bool = True) -> list[Entry]:
    """Read a batch file; without `with_styles`, entries need no style pictures.

    Raises:
        InvalidInputError: Missing, not json, not in the layout, or a knob that cannot be; the message names the
            entry.
    """
    path = Path(file)
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise InvalidInputError(f'{shown(path)} must hold a list of {{"prompt": …, "style_path": …}}.')
    if len(content) > MAX_ENTRIES:
        raise InvalidInputError(
            f"{shown(path)} has {len(content):,} entries, but a batch takes up to {MAX_ENTRIES:,}."
        )
    digits = max(4, len(str(len(content) - 1)))
    return [_read_entry(item, index, digits, path, with_styles) for index, item in enumerate(content)]


def _read_entry(item: Any, index: int, digits: int, file: Path, with_styles: bool) -> Entry:
    where = f"{shown(file)}: entry {index}"
    if not isinstance(item, dict):
        raise InvalidInputError(f'{where} is not {{"prompt": …, "style_path": …}}.')
    own = _read_knobs({key: value for key, value in item.items() if key not in _KEYS}, where)
    prompt, styles = item.get("prompt"), item.get("style_path")
    if isinstance(styles, str):
        styles = [styles]
    if not isinstance(prompt, str):
        raise InvalidInputError(f"{where} has no prompt.")
    if styles is None and not with_styles:
        styles = []
    elif not isinstance(styles, list) or not styles or not all(_is_path(style) for style in styles):
        raise InvalidInputError(f"{where} needs a style_path: one path, or a list of them.")
    if len(styles) > MAX_STYLES:
        raise InvalidInputError(
            f"{where} has {len(styles):,} style pictures, but may have up to {MAX_STYLES}."
        )
    resolved = tuple(os.path.normpath(find_style(style, file.parent)) for style in styles)
    words = [_slug(prompt, _PROMPT_CHARACTERS)]
    words += [_slug(PurePosixPath(style).stem, _STYLE_CHARACTERS) for style in styles[:1]]
    video = _read_video(item, own, where, file.parent)
    masks, negatives = (_read_pictures(item, key, where, file.parent) for key in _PICTURES)
    name = "_".join([f"{index:0{digits}d}", *filter(None, words)])
    return Entry(index, name, prompt, resolved, own, video, masks, negatives)


def _read_pictures(item: dict[str, Any], key: str, where: str, folder: Path) -> tuple[str, ...]:
    """Paths that an entry may have beside its styles, as one or as a list."""
    given = item.get(key)
    paths = [given] if isinstance(given, str) else [] if given is None else given
    if not isinstance(paths, list) or not all(_is_path(path) for path in paths):
        raise InvalidInputError(f"{where} needs a {key} that is one path, or a list of them.")
    return tuple(os.path.normpath(user_path(path, folder)) for path in paths)


def _read_video(item: dict[str, Any], own: Mapping[str, Any], where: str, folder: Path) -> VideoInput | None:
    path, start, duration = (item.get(key) for key in ("video_path", "start", "duration"))
    if path is not None and not _is_path(path):
        raise InvalidInputError(f"{where} needs a video_path that is one path.")
    for name, value in (("start", start), ("duration", duration)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise InvalidInputError(f"{where}: {name} must be a number of seconds, not {brief(value)}.")
    try:
        if path is None:
            check_video_knobs(own.get("denoise"), own.get("inversion", False))
            return ask_for_video(None, start, duration)
        return ask_for_video(os.path.normpath(user_path(path, folder)), start, duration)
    except InvalidInputError as error:
        raise InvalidInputError(f"{where}: {error}") from error


def _read_knobs(item: dict[str, Any], where: str) -> dict[str, Any]:
    """Knobs by their own names; null is as if it were not there."""
    knobs = SamplingParams.knobs()
    fields = {name: name for name in (*knobs, "size")}
    fields |= {knob.argument: name for name, knob in knobs.items() if knob.argument}
    keys: dict[str, str] = {}
    for key in item:
        if key not in fields:
            raise unknown_name("key", shown(key), (*_KEYS, *fields), f"It stands in {where}.")
        if fields[key] in keys:
            raise InvalidInputError(f"{where}: {keys[fields[key]]} and {key} are the same; give one of them.")
        keys[fields[key]] = key
    try:
        params = SamplingParams(**{name: item[key] for name, key in keys.items() if item[key] is not None})
    except SettingsError as error:
        raise InvalidInputError(
            f"{where}: {SettingsError(error.problems, lambda name: keys.get(name, name))}"
        ) from error
    except InvalidInputError as error:
        raise InvalidInputError(f"{where}: {error}") from error
    return {name: getattr(params, name) for name in params.model_fields_set}


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _slug(text: str, length: int) -> str:
    """Words that every file system takes: lower-case ASCII letters and digits, joined by dashes."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower())[:length].strip("-")
