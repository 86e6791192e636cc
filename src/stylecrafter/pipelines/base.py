"""What the video and the image pipeline share: encoders, and what the base model answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor

from stylecrafter.adapter.style_regions import StyleRegions
from stylecrafter.backbones.inputs import attached_slot
from stylecrafter.backbones.protocol import Backbone
from stylecrafter.backbones.texts import Texts
from stylecrafter.errors import InvalidInputError
from stylecrafter.media.images import PictureLike, load_picture
from stylecrafter.pipelines.components import StylizedComponents
from stylecrafter.pipelines.finite import check_computed
from stylecrafter.pipelines.style_inputs import encoded
from stylecrafter.pipelines.style_methods import StyleMethods
from stylecrafter.references.crops import with_corners
from stylecrafter.references.groups import (
    StyleWeights,
    check_groups,
    mean_embeds,
    pack_tokens,
    weights_per_sample,
)
from stylecrafter.references.shuffle import DEFAULT_SEED, shuffled

logger = logging.getLogger(__name__)


class StylizedPipelineBase(StyleMethods, StylizedComponents):
    """The steps that are the same for clips and pictures; components and defaults: see `StylizedComponents`."""

    @property
    def interrupt(self) -> bool:
        """Set to True during a call (in a callback) to leave out the remaining steps."""
        return self._interrupt

    @interrupt.setter
    def interrupt(self, value: bool) -> None:
        self._interrupt = value

    @property
    def num_timesteps(self) -> int:
        """Steps of the call that is running, or of the last one."""
        return self._num_timesteps

    @property
    def current_timestep(self) -> Any:
        """The timestep that a call is at; None outside of one."""
        return self._current_timestep

    @property
    def guidance_scale(self) -> float:
        """Scale of the prompt in equation 2, of the call that is running or the last one."""
        return self._guidance_scale

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether that call is guided by more than its conditional prediction, as diffusers asks it."""
        return self._guidance_scale > 1

    @torch.no_grad()
    def encode_text(self, prompts: str | Sequence[str]) -> Tensor:
        """Text embeddings (b, l, d) of prompts; what is too long is cut off and logged as a warning.

        Raises:
            InvalidInputError: No texts, or something else among them.
        """
        return self.encode_texts(prompts).states

    @torch.no_grad()
    def encode_texts(self, prompts: str | Sequence[str]) -> Texts:
        """As `encode_text`, with what the base model reads of a text beside its states: `base_arguments` of
        `predict_noise`.

        Raises:
            InvalidInputError: See `encode_text`.
        """
        texts: list[Any] = list(prompts) if isinstance(prompts, (list, tuple)) else [prompts]
        if not texts:
            raise InvalidInputError("the list of prompts is empty")
        for text in texts:
            if not isinstance(text, str):
                raise InvalidInputError(f"a prompt is a text, got {type(text).__name__}: {text!r}")
        backbone = self.backbone
        self._warn_about_cuts(backbone, texts)
        return backbone.encode_texts(texts, self._execution_device)

    @torch.no_grad()
    def encode_image(self, pictures: PictureLike | Sequence[PictureLike]) -> Tensor:
        """Image tokens (n, 1 + p, w) of n pictures: the pooled token after the last norm, then raw patch tokens.

        Raises:
            InvalidInputError: The pipeline has no image encoder, or there are no pictures.
            ImageReadError: A picture that cannot be read.
        """
        return self.references.tokens(self._crops(pictures), self._execution_device)

    @torch.no_grad()
    def encode_shuffled(
        self, pictures: PictureLike | Sequence[PictureLike], seed: int = DEFAULT_SEED
    ) -> Tensor:
        """Projected embeddings (n, w) of n pictures whose content is scattered (`references.shuffle`), as `encode` of
        some adapters wants them (`image_embeds`).

        Raises:
            InvalidInputError: No image encoder or one without a projection, or there are no pictures.
            ImageReadError: A picture that cannot be read.
        """
        return self.references.embeddings(shuffled(self._crops(pictures), seed), self._execution_device)

    def _crops(self, pictures: PictureLike | Sequence[PictureLike]) -> Tensor:
        several: list[Any] = list(pictures) if isinstance(pictures, (list, tuple)) else [pictures]
        if not several:
            raise InvalidInputError("no style pictures were given")
        loaded = [load_picture(picture) for picture in several]
        return self.references.crop(loaded, self.config.reference_size)

    @torch.no_grad()
    def encode_style(
        self,
        pictures: PictureLike | Sequence[PictureLike] | Sequence[Sequence[PictureLike]],
        weights: StyleWeights | None = None,
        corners: bool | None = None,
        text: Tensor | None = None,
        *,
        seed: int = DEFAULT_SEED,
    ) -> Tensor:
        """Style tokens (b, q, d).

        Args:
            pictures: A list of b pictures gives b styles. A list of b lists gives b styles too, each read off
                all pictures of its list together. One picture is a list of one.
            weights: How much each picture of a list of lists counts, >= 0; 2 is the picture given twice.
            corners: True reads a style of one picture by its four corners too, as if they were given with it
                (`references.crops.with_corners`); several pictures, those of weight 0 not counted, are read whole, as
                all are with False and as published. None: the pipeline's default.
            text: States (b, l, d) from `encode_text`, for an adapter whose tokens depend on the prompt (StyleMaster);
                one style and b texts give b, and so do b styles and one text. Others leave it unread.
            seed: How such an adapter's second look at a picture is scattered; the published code does it at random.

        Raises:
            InvalidInputError: No adapter or image encoder, an empty list, weights or texts that do not fit.
            ImageReadError: A picture that cannot be read.
        """
        adapter = self._need_adapter()
        several: list[Any] = list(pictures) if isinstance(pictures, (list, tuple)) else [pictures]
        if not several:
            raise InvalidInputError("no style pictures were given")
        nested = any(isinstance(entry, (list, tuple)) for entry in several)
        groups = check_groups(several if nested else [[picture] for picture in several])
        per_picture = weights_per_sample(weights, groups)
        if self.config.default_style_corners if corners is None else corners:
            groups, per_picture = self._with_corners(groups, per_picture)
        flat = [picture for group in groups for picture in group]
        tokens = self.encode_image(flat)
        counts = [len(group) for group in groups]
        packed, token_weights = pack_tokens(tokens, counts, per_picture)
        embeds = None
        if "image_embeds" in adapter.needs:
            embeds = mean_embeds(self.encode_shuffled(flat, seed), counts, per_picture)
        return encoded(adapter, packed, token_weights, embeds, text)

    @torch.no_grad()
    def encode_no_style(self) -> Tensor:
        """Style tokens (1, q, d) that stand for "no style" in adapters that were trained so (`NullStyle`).

        Raises:
            InvalidInputError: The adapter stands aside instead, or there is no image encoder to read a black picture.
        """
        adapter = self._need_adapter()
        if adapter.config["null_style"] == "zero_embedding":
            zeros = torch.zeros(1, 1, adapter.config["image_dim"], device=adapter.device, dtype=adapter.dtype)
            return adapter.encode(zeros)
        if adapter.config["null_style"] == "black_picture":
            return adapter.encode(self.references.null_tokens(self._execution_device).to(adapter.dtype))
        raise InvalidInputError("without a style this adapter stands aside: there are no style tokens for it")

    @torch.no_grad()
    def predict_scales(
        self, style_tokens: Tensor, text: Tensor | None = None, *, text_embeds: Tensor | None = None
    ) -> Tensor:
        """Factor of every style layer (b, L), each in (0, 2), from style tokens and text states.

        `text_embeds` is an older name of `text`.

        Raises:
            InvalidInputError: The pipeline has no adapter, or shapes do not fit.
        """
        adapter = self._need_adapter()
        dtype = adapter.dtype
        return adapter.predict_scales(style_tokens.to(dtype), _either(text, text_embeds).to(dtype))

    @torch.no_grad()
    def predict_noise(
        self,
        latents: Tensor,
        timestep: Tensor | float | int,
        text: Tensor | None = None,
        style_tokens: Tensor | None = None,
        style_scales: Tensor | None = None,
        *,
        text_embeds: Tensor | None = None,
        style_regions: StyleRegions | None = None,
        **base_arguments: Any,
    ) -> Tensor:
        """One pass of the base model, in its own dtype; the result has the latents'.

        Args:
            latents: (b, c, f, h, w); one frame is an image and leaves out the temporal layers.
            timestep: One for all samples, or one per sample.
            text: States (b, l, d) from `encode_text`.
            style_tokens: (b, q, d), or (b, f, q, d) with a style for every frame; None for the text alone.
            style_scales: (b, L) or (b, f, L); None: factor 1 in every layer.
            text_embeds: An older name of `text`.
            style_regions: Where the style, or each of several, acts; see `StyleRegions`.
            **base_arguments: Go to the base model as they are.

        Returns:
            (b, c, f, h, w): noise, or velocity where the scheduler's `prediction_type` says so.

        Raises:
            InvalidInputError: Shapes that do not fit, or several frames for a base model that makes images.
        """
        backbone = self.backbone
        dtype = backbone.dtype
        masked = (
            nullcontext()
            if style_regions is None
            else attached_slot(backbone.denoiser).masking(style_regions)
        )
        with masked:
            predicted = backbone.predict(
                latents.to(dtype),
                timestep,
                _either(text, text_embeds).to(dtype),
                None if style_tokens is None else style_tokens.to(dtype),
                None if style_scales is None else style_scales.to(dtype),
                **base_arguments,
            )
        return predicted.to(latents.dtype)

    @torch.no_grad()
    def decode_latents(self, latents: Tensor, chunk_size: int | None = None) -> Tensor:
        """Frames (b, f, 3, H, W), float32 in [0, 1], of latents (b, c, f, h, w).

        Args:
            latents: As the base model sees them; the autoencoder's scaling is undone here.
            chunk_size: Frames decoded at once; None: all. With low memory it is always one.

        Raises:
            InvalidInputError: Latents of other axes, latents or frames that are not finite, or no autoencoder.
        """
        backbone = self.backbone
        if not isinstance(latents, Tensor) or latents.ndim != 5:
            shape = tuple(getattr(latents, "shape", ()))
            raise InvalidInputError(
                f"latents must be a tensor (samples, channels, frames, h, w), got {shape}"
            )
        check_computed("before decoding", {"latents": latents}, backbone.dtype)
        frames = backbone.decode_latents(latents, 1 if self.low_memory else chunk_size)
        # Before what is infinite would be cut to white.
        check_computed("after decoding", {"frames": frames}, getattr(self.vae, "dtype", backbone.dtype))
        return frames.clamp(0, 1)

    def enable_vae_tiling(self) -> None:
        """Decode frames in tiles: less memory for large frames, at slight differences along the seams."""
        self.vae.enable_tiling()

    def disable_vae_tiling(self) -> None:
        """Decode whole frames again."""
        self.vae.disable_tiling()

    def _with_corners(
        self, groups: list[list[PictureLike]], weights: list[list[float]] | None
    ) -> tuple[list[list[PictureLike]], list[list[float]]]:
        """Groups in which a picture that counts alone is followed by its corners, and the weights of all."""
        rows = [[1.0] * len(group) for group in groups] if weights is None else weights
        read, counts = [], []
        for group, row in zip(groups, rows, strict=True):
            counted = [picture for picture, weight in zip(group, row, strict=True) if weight > 0]
            if len(counted) == 1:
                group = [*with_corners(load_picture(counted[0]), self.config.reference_size)]
                row = [1.0] * len(group)
            read.append(group)
            counts.append(row)
        return read, counts

    def _warn_about_cuts(self, backbone: Backbone, texts: Sequence[str]) -> None:
        for text in texts:
            cut, tokens, room = backbone.cut_off(text)
            if cut:
                shown = cut if len(cut) <= 200 else f"{cut[:200]}…"
                logger.warning(
                    "the prompt has %d tokens, %d fit; this part was cut off: %s", tokens, room, shown
                )


def _either(text: Tensor | None, text_embeds: Tensor | None) -> Tensor:
    """Text states under one of the two names that they go by."""
    if (text is None) == (text_embeds is None):
        raise InvalidInputError("give text states as text (text_embeds is an older name), and once")
    return cast("Tensor", text_embeds if text is None else text)
