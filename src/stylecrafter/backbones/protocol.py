"""What pipelines and training ask a base model. One file beside this one answers for each family of them."""

from __future__ import annotations

import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from stylecrafter.adapter.base_layers import cross_attention_layers
from stylecrafter.backbones.inputs import attached_slot, check_shapes, found_slot
from stylecrafter.backbones.step_caches import StepCache
from stylecrafter.backbones.texts import Texts
from stylecrafter.errors import InvalidInputError


class Backbone(ABC):
    """A base model: its components by name, and what is done with them.

    It keeps nothing of its own, so that two around the same components answer alike. Latents are (n, c, f, h, w)
    everywhere, f latent frames; an image is a clip of one frame. Every component but the denoiser may be None: what
    needs it is then refused, everything else works.

    Args:
        **components: Models, tokenizers and the scheduler, under the names that pipelines, folders and trained
            checkpoints ("unet.…") have for them.
    """

    #: What messages call this family.
    label: ClassVar[str]
    #: Component that denoises: a diffusers model.
    denoiser_name: ClassVar[str] = "unet"
    #: Class names of the diffusers pipelines that are made of such components. Empty: there are none.
    pipelines: ClassVar[tuple[str, ...]] = ()
    #: What a call uses where neither it nor a model folder says anything: knobs by name (`steps`, `text_guidance` …).
    #: Frames and sides that depend on the components: `default_knobs`.
    knobs: ClassVar[Mapping[str, Any]] = {}
    #: The text whose states stand for no text, in guidance and for captions that training leaves out.
    no_text: ClassVar[str] = ""
    #: Frames that share one latent frame; the first frame always has one of its own.
    frames_per_latent: ClassVar[int] = 1
    #: Whether there are layers between frames; without them, frames, and with those stage 2, are refused.
    has_time: ClassVar[bool] = True
    #: Whether stage 2 trains low-rank matrices, because whole layers would be too large (`add_temporal_lora`).
    low_rank_time: ClassVar[bool] = False
    #: Of a family without time: what makes clips instead, as the end of a sentence.
    for_clips: ClassVar[str] = ""
    #: What a named strength multiplies the adapter's own style scale by; "medium" changes nothing.
    strengths: ClassVar[Mapping[str, float]] = MappingProxyType({"light": 0.5, "medium": 1.0, "strong": 1.3})
    #: Knobs of a fast mode, as `knobs` (`--fast`); `steps` is the most that it takes. A model folder's own count more.
    fast: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    #: Whether every frame of a clip can have a style of its own (`predict`).
    style_per_frame: ClassVar[bool] = False

    def __init__(self, **components: Any) -> None:
        self.components = components

    def default_knobs(self) -> dict[str, Any]:
        """`knobs`, and those that follow from the components."""
        return dict(self.knobs)

    # Components

    @classmethod
    @abstractmethod
    def accepts(cls, denoiser: Any) -> bool:
        """Whether this family's denoisers are of that kind (`backbone_for`)."""

    @classmethod
    def objection(cls, base: Any) -> str:
        """Why a diffusers pipeline of these names cannot be used, where that is not seen in its components; or ""."""
        return ""

    @property
    def denoiser(self) -> Any:
        """The model that denoises."""
        return self.component(self.denoiser_name)

    def component(self, name: str) -> Any:
        """The component of that name.

        Raises:
            InvalidInputError: It is None or was never given.
        """
        found = self.components.get(name)
        if found is None:
            raise InvalidInputError(
                f"this {self.label} model has no {name} (it is None), which this call needs"
            )
        return found

    def models(self) -> dict[str, nn.Module]:
        """Name -> component of everything that has parameters."""
        return {k: v for k, v in self.components.items() if isinstance(v, nn.Module)}

    def check(self) -> None:
        """Refuse components that do not go together.

        Raises:
            InvalidInputError: There is no denoiser; or one reads another width, length or number of channels than
                another gives.
        """
        self.component(self.denoiser_name)

    @property
    def pipeline(self) -> str:
        """Class name of what `base_pipeline` makes."""
        return self.pipelines[0]

    def base_pipeline(self) -> Any:
        """The diffusers pipeline around these components, or None where diffusers has none: it shares them, so that
        what it does to them (LoRA, textual inversion, offloading) holds here.

        Raises:
            InvalidInputError: diffusers refuses to put them together.
        """
        if not self.pipelines:
            return None
        import diffusers

        kind = getattr(diffusers, self.pipeline)
        takes = inspect.signature(kind.__init__).parameters
        given = {name: self.components.get(name) for name in takes if name in self.components}
        extra = {
            name: None for name, p in takes.items() if p.default is inspect.Parameter.empty and name != "self"
        }
        if "requires_safety_checker" in takes:
            given["requires_safety_checker"] = False
        return kind(**{**extra, **given})

    @property
    def dtype(self) -> torch.dtype:
        """What the denoiser computes in."""
        return self.denoiser.dtype

    @property
    def device(self) -> torch.device:
        """Where the denoiser is."""
        return self.denoiser.device

    # Text

    @property
    @abstractmethod
    def text_dim(self) -> int:
        """d, the width of text states, which cross-attention reads."""

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids of texts, one row each, on the CPU; what is too long is cut. Training caches them.

        Raises:
            InvalidInputError: There is no tokenizer, or it is of another text encoder.
        """

    @abstractmethod
    def encode_tokens(self, ids: Tensor) -> Tensor:
        """States (n, l, d) of token ids, with gradients where they are enabled.

        Raises:
            InvalidInputError: There is no text encoder.
        """

    def encode_texts(self, texts: Sequence[str], device: torch.device) -> Texts:
        """Encode texts for `predict`, on that device; what is too long is cut. Where there is a base pipeline it is
        this that encodes, with all that was loaded into it.

        Raises:
            InvalidInputError: There is no tokenizer or text encoder.
        """
        return Texts(self.encode_tokens(self.tokenize(texts).to(device)))

    def encode_no_text(self, device: torch.device) -> Texts:
        """What stands for no text in guidance, one row."""
        return self.encode_texts([self.no_text], device)

    def text_arguments(self, ids: Tensor) -> dict[str, Any]:
        """What the denoiser needs of texts besides their states: `base_arguments` of `predict`."""
        return {}

    def cut_off(self, text: str) -> tuple[str, int, int]:
        """What `tokenize` leaves out of a text, "" for nothing; then how many tokens it has, and how many fit."""
        return "", 0, 0

    # Frames

    @property
    @abstractmethod
    def latent_channels(self) -> int:
        """c, the channels of latents."""

    @property
    @abstractmethod
    def pixels_per_latent(self) -> int:
        """Pixels per latent, on either side."""

    @property
    @abstractmethod
    def size_multiple(self) -> int:
        """Height and width in pixels are multiples of this."""

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(c, f, h, w) of a clip of `frames` frames of height x width pixels.

        Raises:
            InvalidInputError: So many frames cannot be made.
        """
        if frames > 1 and not self.has_time:
            raise InvalidInputError(f"{self.label} makes images: num_frames must be 1, got {frames}")
        latent_frames, rest = divmod(frames - 1, self.frames_per_latent)
        if rest:
            step = self.frames_per_latent
            raise InvalidInputError(
                f"{self.label} makes clips of 1, {step + 1}, {2 * step + 1} … frames, got {frames}"
            )
        factor = self.pixels_per_latent
        return self.latent_channels, 1 + latent_frames, height // factor, width // factor

    @property
    def frames_at_once(self) -> int | None:
        """The most frames of one `predict`; longer clips are for windows. None: as many as memory takes."""
        return None

    def frames_of(self, latent_frames: int) -> int:
        """Frames of a clip of so many latent frames."""
        return 1 + (latent_frames - 1) * self.frames_per_latent

    @abstractmethod
    def encode_frames(self, frames: Tensor, noise: Tensor | None = None) -> Tensor:
        """Latents (n, c, f, h, w), float32, as the denoiser sees them (scaled), of frames (n, f, 3, H, W) in [0, 1].

        Args:
            frames: Sides are multiples of `size_multiple`.
            noise: Standard normal, of the latents' shape: what the autoencoder's variance is sampled with. None: its
                mean.

        Raises:
            InvalidInputError: There is no autoencoder.
        """

    @abstractmethod
    def decode_latents(self, latents: Tensor, chunk_size: int | None = None) -> Tensor:
        """Frames (n, f, 3, H, W), float32, about [0, 1] but not cut to it, of latents (n, c, f, h, w).

        Args:
            latents: As the denoiser sees them.
            chunk_size: Frames decoded at once, for those that can; None: all.

        Raises:
            InvalidInputError: There is no autoencoder.
        """

    # Denoising

    @abstractmethod
    def predict(
        self,
        latents: Tensor,
        timestep: Tensor | float | int,
        text: Tensor,
        style_tokens: Tensor | None = None,
        style_scales: Tensor | None = None,
        *,
        temporal: bool | None = None,
        **base_arguments: Any,
    ) -> Tensor:
        """One pass of the denoiser; all tensors are of its `dtype`, and so is the result.

        Args:
            latents: Noisy (n, c, f, h, w).
            timestep: One for all rows or one per row (n,), in the scheduler's units.
            text: States (n, l, d).
            style_tokens: (n, q, d) for the attached adapter, or one style for every latent frame (n, f, q, d) where
                `style_per_frame`; None leaves the adapter out.
            style_scales: Factors (n, L), or per frame (n, f, L), in the order of `attention_layers`; None: 1.
            temporal: Whether layers between frames run; None: if there is more than one frame.
            **base_arguments: Go to the denoiser as they are.

        Returns:
            (n, c, f, h, w): what `target` says.

        Raises:
            InvalidInputError: Shapes that do not fit, a style without an adapter, frames where there is no time.
        """

    def deep_features(self, every: int, depth: int) -> StepCache:
        """What uses the deep features of a UNet at several steps (`step_caches.DeepFeatures`).

        Args:
            every: Steps for which one result serves.
            depth: Fine levels that are computed at every step.

        Raises:
            InvalidInputError: The denoiser is no UNet, or has no such levels.
        """
        raise InvalidInputError(
            f"{self.label} has no levels whose features could be used again (reuse_every {every}): its blocks are left "
            "out by a skip threshold instead (--skip-threshold, skip_threshold)"
        )

    def block_cache(self, threshold: float) -> StepCache:
        """What leaves out the blocks of a transformer at steps that change little (`step_caches.FirstBlock`).

        Raises:
            InvalidInputError: The denoiser is no transformer.
        """
        raise InvalidInputError(
            f"{self.label} is no transformer whose blocks could be skipped (skip_threshold {threshold:g}): deep "
            "features of its UNet are used again instead (--reuse-every, reuse_every)"
        )

    @property
    @abstractmethod
    def num_train_timesteps(self) -> int:
        """Training's timesteps are 0 to this number less one, from clean to noise."""

    @abstractmethod
    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Latents (n, c, f, h, w) as noisy as at timesteps (n,)."""

    @abstractmethod
    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What `predict` is to give for `add_noise` of the same: noise, velocity or flow.

        Raises:
            InvalidInputError: Something else that cannot be trained.
        """

    # Layers

    def attention_layers(self) -> dict[str, Any]:
        """Name -> cross-attention layer, in the order in which their scales are counted.

        Their inner width is `to_k.out_features`. As they are registered: VideoCrafter has down, mid, up; diffusers'
        UNets down, up, mid, and published files follow that.
        """
        return cross_attention_layers(self.denoiser)

    def temporal_parameters(self) -> dict[str, nn.Parameter]:
        """Name in the denoiser -> parameter that stage 2 trains: whole layers, or low-rank matrices put into them
        (`add_temporal_lora`)."""
        return {}

    def add_temporal_lora(self, rank: int) -> None:
        """Put low-rank matrices, which change nothing yet, into the layers that see time, for stage 2 to train.

        Raises:
            InvalidInputError: A rank below 1, or a base model of which stage 2 trains whole layers, or nothing.
        """
        raise InvalidInputError(
            f"{self.label} takes no temporal LoRA: stage 2 trains its layers between frames"
        )

    def save_temporal_lora(self, folder: str | os.PathLike[str]) -> None:
        """Save these matrices as a LoRA file that `load_lora_weights` of the base pipeline reads.

        Raises:
            InvalidInputError: There are none.
        """
        raise InvalidInputError(f"{self.label} has no temporal LoRA to save")

    def check_inputs(
        self, latents: Tensor, text: Tensor, style_tokens: Tensor | None, style_scales: Tensor | None
    ) -> None:
        """Refuse what `predict` cannot take, by shapes.

        Raises:
            InvalidInputError: See `predict`.
        """
        slot = None if style_tokens is None else found_slot(self.denoiser)
        check_shapes(
            latents,
            self.latent_channels,
            text,
            self.text_dim,
            style_tokens,
            style_scales,
            style_width=None if slot is None else slot.style_dim,
            style_per_frame=self.style_per_frame,
        )
        if style_tokens is not None:
            attached_slot(self.denoiser)
