"""What a pipeline does with styles beside sampling: keep them in files, take them from there, blend them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from stylecrafter.adapter.fingerprint import fingerprint, same_weights
from stylecrafter.errors import InvalidInputError
from stylecrafter.media.documents import shown
from stylecrafter.media.files import check_writable
from stylecrafter.media.images import PictureLike, read_picture
from stylecrafter.pipelines.blending import blended
from stylecrafter.references.groups import weights_per_sample
from stylecrafter.references.saved_style import SUFFIX, About, SavedStyle, read_style, sources_of, style_bytes
from stylecrafter.references.style_library import add_style, check_free, need_saved, style_file


class StyleMethods:
    """Mixin of pipelines."""

    def save_style(
        self,
        name: str | os.PathLike[str],
        pictures: PictureLike | Sequence[PictureLike],
        weights: Sequence[float] | None = None,
        corners: bool | None = None,
        *,
        force: bool = False,
        adapter_name: str | None = None,
    ) -> Path:
        """Read a style off pictures and keep it in a file, for this adapter.

        Args:
            name: Under which it is found in the user's own library; or a path that ends in .safetensors.
            pictures: One or several, which are read together as one style.
            weights: How much each counts, >= 0.
            corners: See `encode_style`.
            force: Replace a style of that name.
            adapter_name: What people call the adapter; None: where the pipeline was loaded from.

        Returns:
            The file.

        Raises:
            InvalidInputError: No name for a style, no pictures, or weights that do not fit.
            ImageReadError: A picture that cannot be read.
            OutputError: There is such a style already, or the disk does not take it.
        """
        pipe = cast(Any, self)
        file = Path(name) if os.fspath(name).endswith(SUFFIX) else style_file(os.fspath(name))
        check_free(file, force)
        check_writable(file)
        if "text" in pipe._need_adapter().needs:
            raise InvalidInputError(
                "the style tokens of this adapter depend on the prompt, so that a style cannot be kept without one: "
                "give its pictures to every call"
            )
        several: list[Any] = list(pictures) if isinstance(pictures, (list, tuple)) else [pictures]
        read = [read_picture(picture) for picture in several]
        images = [picture.image for picture in read]
        counted = weights_per_sample(None if weights is None else [list(weights)], [images])
        by_corners = pipe.config.default_style_corners if corners is None else corners
        tokens = pipe.encode_style([images], counted, by_corners)
        encoder = pipe.image_encoder.config
        about = About(
            adapter=adapter_name or _adapter_name(pipe),
            encoder=f"{type(pipe.image_encoder).__name__}, width {encoder.hidden_size}, {encoder.image_size} pixels",
            corners=by_corners,
            sources=sources_of(read, counted[0] if counted else [1.0] * len(read)),
        )
        made_by = fingerprint(pipe.style_adapter).numpy()
        data = style_bytes(tokens[0].float().cpu().numpy(), made_by, images, about)
        return add_style(file, data, force=force)

    def load_style(self, source: str | os.PathLike[str] | SavedStyle) -> Tensor:
        """Style tokens (1, q, d) of a saved style, for `style_tokens=` and `style_keyframes=`.

        Args:
            source: The name of a style, the path of its file, or one that was read.

        Raises:
            UnknownNameError: No style is saved under that name.
            ImageReadError: The file cannot be read, or holds no style.
            InvalidInputError: It was made with another adapter than the pipeline's, or the pipeline has none.
        """
        pipe = cast(Any, self)
        adapter = pipe._need_adapter()
        if not isinstance(source, SavedStyle):
            text = os.fspath(source)
            source = read_style(text if text.endswith(SUFFIX) else need_saved(text))
        if not same_weights(torch.from_numpy(source.fingerprint), fingerprint(adapter)):
            pictures = ", ".join(shown(s.name) for s in source.about.sources if s.name) or "its pictures"
            raise InvalidInputError(
                f"style {shown(source.path.stem)!r} was made with the adapter of {shown(source.about.adapter)}, and "
                f"this pipeline has another one, that of {shown(_adapter_name(pipe))}: load the adapter that it was "
                f"made with, or save the style again from {pictures} with this one."
            )
        return torch.from_numpy(source.tokens.copy())[None].to(pipe._execution_device)

    def blend_styles(self, styles: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
        """The weighted mean of style tokens (1 or b, q, d): a style between them.

        Args:
            styles: From `encode_style` or `load_style`.
            weights: How much each counts, >= 0; None: all alike.

        Raises:
            InvalidInputError: No styles, shapes that differ, or weights that are not one per style.
        """
        return blended(styles, weights)


def _adapter_name(pipe: Any) -> str:
    """What the adapter or the pipeline was loaded from, without the folders before it; else what its adapter is."""
    if pipe._adapter_file:
        return str(pipe._adapter_file)
    loaded_from = pipe.config.get("_name_or_path") or pipe.style_adapter.config.get("_name_or_path") or ""
    return Path(loaded_from).name or type(pipe.style_adapter).__name__
