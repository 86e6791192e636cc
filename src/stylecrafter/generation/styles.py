"""From what a user calls a style to what it is: a picture, or a style that was saved."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylecrafter.errors import ImageReadError, InvalidInputError
from stylecrafter.generation.paths import user_path
from stylecrafter.media.documents import shown
from stylecrafter.media.images import Picture, read_picture
from stylecrafter.references.saved_style import SavedStyle, is_style_file, read_style
from stylecrafter.references.style_library import find_saved, style_names

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline

Reference = Picture | SavedStyle


def find_style(path: str | os.PathLike[str], folder: str | os.PathLike[str] = "") -> Path:
    """Where a style lies: at that path, relative to `folder`, if there is anything; else in the user's library."""
    found = user_path(path, folder)
    return found if os.path.lexists(found) else find_saved(path) or found


def read_reference(path: Path) -> Reference:
    """Read a picture or a saved style, told apart by what is in the file.

    Raises:
        ImageReadError: It can be read as neither.
    """
    if is_style_file(path):
        return read_style(path)
    if not os.path.lexists(path) and not path.suffix and path.parent == Path():
        saved = ", ".join(style_names()) or "none"
        raise ImageReadError(
            f"{shown(path)}: no such picture, and no style is saved under that name (saved are: {saved})."
        )
    return read_picture(path)


class StyleEncoder:
    """Reads styles with a pipeline, each once for jobs in a row that have it."""

    def __init__(self) -> None:
        self._kept: dict[Any, Tensor] = {}

    def arguments(
        self,
        pipe: StyleCrafterPipeline,
        styles: Sequence[tuple[Reference, float, float | None]],
        corners: Any,
        apart: bool = False,
    ) -> dict[str, Any]:
        """What the pipeline's call takes for them.

        Args:
            pipe: Reads them.
            styles: Each with its weight and its place in the clip, None for all of it.
            corners: Whether a single picture is read by its corners.
            apart: Whether each is a style of its own, in a part of the picture.

        Raises:
            InvalidInputError: A style of another adapter, or weights that are all 0.
        """
        adapter = pipe.style_adapter
        if adapter is not None and "text" in adapter.needs and all(at is None for *_, at in styles):
            return _as_pictures(styles, corners)
        if apart:
            tokens_of_each = [_encode(pipe, [(found, 1.0)], corners) for found, *_ in styles]
            return {"style_tokens": tokens_of_each, "style_weights": [weight for _, weight, _ in styles]}
        groups: dict[float | None, list[tuple[Reference, float]]] = {}
        for reference, weight, at in styles:
            groups.setdefault(at, []).append((reference, weight))
        if None not in groups and all(_is_plain(group) for group in groups.values()):
            keys = [(at, [image for image, _ in _pictures(groups[at])]) for at in _places(groups)]
            return {"style_keyframes": keys, "style_corners": corners} if keys else {}
        kept = {}
        tokens: dict[float | None, Tensor] = {}
        for at, group in groups.items():
            key = (corners, *((reference.sha256, weight) for reference, weight in group))
            tokens[at] = kept[key] = self._kept[key] if key in self._kept else _encode(pipe, group, corners)
        self._kept = kept
        if None in tokens:
            return {"style_tokens": tokens[None]}
        return {"style_keyframes": [(at, tokens[at]) for at in _places(groups)]}


def _as_pictures(styles: Sequence[tuple[Reference, float, float | None]], corners: Any) -> dict[str, Any]:
    """Pictures as they are, for an adapter that reads them together with the prompt."""
    images = [found.image for found, *_ in styles if isinstance(found, Picture)]
    if len(images) < len(styles):
        raise InvalidInputError(
            "this adapter reads a style together with the prompt: it takes pictures, no saved style."
        )
    return {
        "style_images": images,
        "style_weights": [weight for _, weight, _ in styles],
        "style_corners": corners,
    }


def _places(groups: Mapping[float | None, Any]) -> list[float]:
    return sorted(at for at in groups if at is not None)


def _pictures(group: Sequence[tuple[Reference, float]]) -> list[tuple[Image.Image, float]]:
    return [(found.image, weight) for found, weight in group if isinstance(found, Picture)]


def _is_plain(group: Sequence[tuple[Reference, float]]) -> bool:
    """Whether these are pictures that count alike, which the pipeline can read together with others."""
    return all(isinstance(found, Picture) and weight == 1 for found, weight in group)


def _encode(pipe: StyleCrafterPipeline, group: Sequence[tuple[Reference, float]], corners: Any) -> Tensor:
    """Style tokens (1, q, d) of what is read together: pictures as one style, blended with those that were saved."""
    pictures = _pictures(group)
    saved = [(found, weight) for found, weight in group if isinstance(found, SavedStyle)]
    parts: list[tuple[Tensor, float]] = [(pipe.load_style(style), weight) for style, weight in saved]
    total = sum(weight for _, weight in pictures)
    if pictures and (total > 0 or not saved):
        images, weights = ([list(column)] for column in zip(*pictures, strict=True))
        parts.append((pipe.encode_style(images, weights, corners), total))
    if not saved:
        return parts[0][0]
    return pipe.blend_styles([tokens for tokens, _ in parts], [weight for _, weight in parts])
