"""Prompt and style pictures -> pictures."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.media.images import PictureLike, load_picture
from stylecrafter.pipelines.arguments import at_least_one
from stylecrafter.pipelines.output import StyleCrafterImagePipelineOutput
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline

#: What the clip pipeline's call has and a picture has not.
_OF_CLIPS = (
    "num_frames",
    "shared_noise",
    "frame_style_scales",
    "style_keyframes",
    "num_videos_per_prompt",
    "video",
    "window",
)


def _of_pictures(call: Callable[..., Any]) -> Callable[..., Any]:
    """Show in the signature which arguments of the clip pipeline's call this one takes."""
    own = inspect.signature(call).parameters
    of_clips = inspect.signature(StyleCrafterPipeline.__call__)
    taken = {name: own.get(name, p) for name, p in of_clips.parameters.items() if name not in _OF_CLIPS}
    taken |= {name: own[name] for name in ("num_images_per_prompt", "image")}
    call.__signature__ = of_clips.replace(  # type: ignore[attr-defined]
        parameters=list(taken.values()), return_annotation=inspect.signature(call).return_annotation
    )
    return call


class StyleCrafterImagePipeline(StyleCrafterPipeline):
    """Text-to-image in the style of reference pictures: clips of one frame, without the temporal layers.

    Loads the same folders as `StyleCrafterPipeline`.
    """

    @_of_pictures
    def __call__(
        self,
        *given: Any,
        num_images_per_prompt: int = 1,
        image: PictureLike | None = None,
        latents: Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        **arguments: Any,
    ) -> StyleCrafterImagePipelineOutput | tuple[object]:
        """Generate pictures; the arguments are those of `StyleCrafterPipeline.__call__`, less the frames.

        Args:
            *given: Prompt and style pictures.
            num_images_per_prompt: Pictures per prompt, next to each other in the output.
            image: A picture to begin with, as `video` of the clip pipeline; `denoise` says how much of it stays.
            latents: Start from this noise (samples, c, h, w).
            output_type: "pil", "np", "pt" or "latent", see `StyleCrafterImagePipelineOutput`.
            return_dict: False returns a tuple.
            **arguments: All others.

        Raises:
            InvalidInputError: An argument that cannot be used; the message shows it and what would be right.
            ImageReadError: A style picture that cannot be read.
        """
        for name in arguments:
            if name in _OF_CLIPS:
                raise unknown_name("argument", name, inspect.signature(self.__call__).parameters)
        if latents is not None:
            if not isinstance(latents, Tensor) or latents.ndim != 4:
                raise InvalidInputError(
                    f"latents must be a tensor (samples, channels, h, w), got {tuple(getattr(latents, 'shape', ()))}"
                )
            latents = latents[:, :, None]
        outputs: Any = super().__call__(
            *given,
            num_frames=1,
            num_videos_per_prompt=at_least_one("num_images_per_prompt", num_images_per_prompt),
            video=None if image is None else [load_picture(image)],
            latents=latents,
            output_type=output_type,
            return_dict=False,
            **arguments,
        )
        (clips,) = outputs
        # The axis of frames: after that of channels in latents.
        if output_type == "pil":
            images: Any = [clip[0] for clip in clips]
        else:
            images = clips[:, :, 0] if output_type == "latent" else clips[:, 0]
        return StyleCrafterImagePipelineOutput(images=images) if return_dict else (images,)
