"""The components of our pipelines: base model, image encoder and adapter; how they come together and are saved."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLWan,
    ControlNetModel,
    DiffusionPipeline,
    MotionAdapter,
    SchedulerMixin,
    UNet2DConditionModel,
    UNetMotionModel,
    WanTransformer3DModel,
)
from torch import nn
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    T5TokenizerFast,
    UMT5EncoderModel,
)

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.autoencoder import ShortcutAutoencoder
from stylecrafter.backbones.families import COMPONENTS, SETTINGS, backbone_for
from stylecrafter.backbones.protocol import Backbone
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.media.documents import is_folder
from stylecrafter.pipelines.fast import FAST_NAME, fast_knobs
from stylecrafter.pipelines.fitting import adapter_defaults, check_defaults, check_widths, defaults_without
from stylecrafter.pipelines.memory_saving import MemorySaving
from stylecrafter.pipelines.pipeline_card import pipeline_card
from stylecrafter.references.encoder import ReferenceEncoder
from stylecrafter.weights.hub import HubCard, PushedWithCard

logger = logging.getLogger(__name__)


#: What `from_base` takes for the pipeline, beside defaults.
_OWN = ("reference_size", FAST_NAME)


class StylizedComponents(MemorySaving, PushedWithCard, DiffusionPipeline):
    """What a pipeline is made of, and how it is put together, loaded and saved.

    All but `image_encoder` and `style_adapter` are the base model, which answers through `backbone`. Of these there
    must be a denoiser, `unet` or `transformer`; what a base model does not have is None, and so may be what a pipeline
    is never asked for.

    Args:
        vae: Autoencoder of single frames.
        text_encoder: Its `last_hidden_state` is the text embedding. (The published model reads CLIP before its
            last block, which is a text encoder of one block less.)
        tokenizer: CLIP tokenizer; its `model_max_length` is the length of every text.
        unet: The model that denoises: VideoCrafter's, that of Stable Diffusion or SDXL, which make images, or that of
            AnimateDiff.
        scheduler: Any diffusers scheduler for noise, velocity or sample prediction.
        image_encoder: CLIP image tower; without it the pipeline takes style tokens, but no style pictures.
        style_adapter: Attached to the denoiser here; without it there is text only.
        text_encoder_2: SDXL's second.
        tokenizer_2: SDXL's second.
        transformer: The model that denoises, where it is no UNet: Wan's.
        motion_adapter: AnimateDiff's motion modules, which `unet` holds a copy of.
        controlnet: Of a base pipeline that has one.
        reference_size: Side in pixels of the square cut from the middle of a style picture.
        image_tokens_half: Round image tokens to float16, as the published code does.
        default_steps: Sampling steps where a call names none; likewise all other defaults.
        default_eta: Noise added by DDIM, from 0 (none) to 1.
        default_text_guidance: Scale of the prompt in equation 2; 16 is what the published sampler calls 15.
        default_style_guidance: Scale of the style in equation 2; 8.5 is what the published sampler calls 7.5.
        default_published_guidance: True reads scales as the published sampler does, see
            `guidance.published_scales`.
        default_guidance_stop: Part of the steps that are guided; 1 guides all of them.
        default_shared_noise: Part of the noise's variance that the frames of a clip have in common.
        default_style_corners: True reads a single style picture by its corners too, see `encode_style`.
        default_frames: Frames of a clip.
        default_height: Height in pixels.
        default_width: Width in pixels.
        default_fps: Frames per second that the clips are meant for.
        default_style_scale: Strength of the style.
        default_negative_prompt: What to move away from; the empty text is nothing.
        fast: Knobs of this model's own fast mode, by their names; None: those of its base model.
        force_zeros_for_empty_prompt: Of SDXL: no text is zeros there, not the encoded empty text.

    Raises:
        InvalidInputError: Components whose widths do not fit together.
    """

    # The adapter's keys and values run inside the denoiser, so it has to stay on the device with it.
    model_cpu_offload_seq = "text_encoder->text_encoder_2->image_encoder->unet->transformer->vae"
    _exclude_from_cpu_offload = ["style_adapter"]
    _optional_components = [
        "unet",
        "image_encoder",
        "style_adapter",
        "text_encoder_2",
        "tokenizer_2",
        "transformer",
        "motion_adapter",
        "controlnet",
    ]
    _callback_tensor_inputs = [
        "latents",
        "text_embeds",
        "negative_text_embeds",
        "style_tokens",
        "style_scales",
    ]

    def __init__(
        self,
        # All are named, although some are kinds of others: `from_pipe` passes on the very classes named here.
        vae: AutoencoderKL | ShortcutAutoencoder | AutoencoderKLWan,
        text_encoder: CLIPTextModel | UMT5EncoderModel,
        tokenizer: CLIPTokenizer | T5TokenizerFast,
        unet: VideoCrafterUNet | UNet2DConditionModel | UNetMotionModel | None,
        scheduler: SchedulerMixin,
        image_encoder: CLIPVisionModel | CLIPVisionModelWithProjection | None = None,
        style_adapter: StyleAdapter | None = None,
        reference_size: int = 512,
        image_tokens_half: bool = False,
        default_steps: int = 50,
        default_eta: float = 1.0,
        default_text_guidance: float = 16.0,
        default_style_guidance: float = 8.5,
        default_published_guidance: bool = False,
        default_guidance_stop: float = 1.0,
        default_shared_noise: float = 0.0,
        default_style_corners: bool = False,
        default_frames: int = 16,
        default_height: int = 320,
        default_width: int = 512,
        default_fps: float = 10.0,
        default_style_scale: float = 1.0,
        default_negative_prompt: str = "",
        text_encoder_2: CLIPTextModelWithProjection | None = None,
        tokenizer_2: CLIPTokenizer | None = None,
        transformer: WanTransformer3DModel | None = None,
        motion_adapter: MotionAdapter | None = None,
        controlnet: ControlNetModel | None = None,
        force_zeros_for_empty_prompt: bool = True,
        fast: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        base = {
            "vae": vae,
            "text_encoder": text_encoder,
            "tokenizer": tokenizer,
            "text_encoder_2": text_encoder_2,
            "tokenizer_2": tokenizer_2,
            "unet": unet,
            "transformer": transformer,
            "motion_adapter": motion_adapter,
            "controlnet": controlnet,
            "scheduler": scheduler,
        }
        backbone = backbone_for(**base)
        check_widths(backbone, image_encoder, style_adapter)
        check_defaults(
            {
                "reference_size": reference_size,
                "default_steps": default_steps,
                "default_frames": default_frames,
                "default_height": default_height,
                "default_width": default_width,
            },
            {
                "default_eta": default_eta,
                "default_text_guidance": default_text_guidance,
                "default_style_guidance": default_style_guidance,
                "default_guidance_stop": default_guidance_stop,
                "default_shared_noise": default_shared_noise,
                "default_fps": default_fps,
                "default_style_scale": default_style_scale,
            },
        )
        self.register_modules(**base, image_encoder=image_encoder, style_adapter=style_adapter)
        self.register_to_config(
            reference_size=reference_size,
            image_tokens_half=image_tokens_half,
            default_steps=default_steps,
            default_eta=float(default_eta),
            default_text_guidance=float(default_text_guidance),
            default_style_guidance=float(default_style_guidance),
            default_published_guidance=default_published_guidance,
            default_guidance_stop=float(default_guidance_stop),
            default_shared_noise=float(default_shared_noise),
            default_style_corners=default_style_corners,
            default_frames=default_frames,
            default_height=default_height,
            default_width=default_width,
            default_fps=float(default_fps),
            default_style_scale=float(default_style_scale),
            default_negative_prompt=default_negative_prompt,
            force_zeros_for_empty_prompt=force_zeros_for_empty_prompt,
        )
        if fast is not None:  # folders of models without one stay as they are
            self.register_to_config(fast=dict(fast_knobs(backbone.fast, fast)))
        if style_adapter is not None and not style_adapter.is_attached_to(backbone.denoiser):
            style_adapter.attach(backbone.denoiser)
        self._base: Any = None
        self._adapter_file: str | None = None
        self._interrupt = False
        self._num_timesteps = 0
        self._current_timestep: Any = None
        self._guidance_scale = 1.0

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Self:
        """Load a pipeline; weights come as float32 unless `dtype` says otherwise.

        Args:
            pretrained_model_name_or_path: The name of an embedded model ("mini"), a folder, or a hub id.
            **kwargs: As `DiffusionPipeline.from_pretrained`.

        Raises:
            UnknownNameError: There is no such model.
            CheckpointError: The folder holds no model, or tensors of it are missing, unknown or not finite.
        """
        from stylecrafter.weights.loading import load_folder
        from stylecrafter.weights.locate import resolve_model
        from stylecrafter.weights.strict import refusing

        # Left to themselves, the encoders would take the type of the file and the other models float32.
        if "torch_dtype" not in kwargs:
            kwargs.setdefault("dtype", torch.float32)
        found = resolve_model(pretrained_model_name_or_path)
        if not is_folder(found):
            with refusing(f"model {found!r} could not be fetched from the hub"):
                found = cls.download(found, **kwargs)
        return load_folder(Path(found), super().from_pretrained, cls.__name__, kwargs)

    @classmethod
    def from_base(
        cls,
        base: DiffusionPipeline | str | os.PathLike[str],
        adapter: Any = None,
        image_encoder: Any = None,
        **options: Any,
    ) -> Self:
        """A pipeline around a base model that one has, with or without an adapter.

        Args:
            base: A diffusers pipeline, whose components are shared; or a folder, a hub id or a single file of one.
            adapter: See `load_adapter`.
            image_encoder: CLIP image tower, as a model, folder or hub id; None: that of the base, if it has one.
            **options: `motion_adapter` makes clips of a Stable Diffusion 1.5 (`motion.open_motion_adapter`); others as
                `from_base.open_base` takes them (`dtype`, `config` …) where `base` is to be loaded; names that begin
                with `default_`, and `reference_size`, are for the pipeline.

        Raises:
            InvalidInputError: A base model, adapter or encoder of a kind that is not known, or that do not go together.
            CheckpointError: Files that are missing, broken, or not what they should be.
        """
        from stylecrafter.pipelines.from_base import arguments_of, open_base, open_image_encoder
        from stylecrafter.pipelines.motion import open_motion_adapter, with_motion

        motion_adapter = options.pop("motion_adapter", None)
        own = {k: options.pop(k) for k in list(options) if k.startswith("default_") or k in _OWN}
        known = inspect.signature(cls.__init__).parameters
        for name in own:
            if name not in known:
                raise unknown_name(
                    "argument of from_base", name, [k for k in known if k.startswith("default_")]
                )
        if not isinstance(base, DiffusionPipeline):
            base = open_base(base, **options)
        elif options:
            raise unknown_name("argument of from_base with a pipeline", next(iter(options)), own)
        if motion_adapter is not None:
            base = with_motion(base, open_motion_adapter(motion_adapter))
        arguments = arguments_of(base)
        encoder = open_image_encoder(image_encoder, arguments["unet"] or arguments["transformer"])
        pipe = cls(**{**arguments, **({} if encoder is None else {"image_encoder": encoder}), **own})
        pipe._base = base
        if adapter is not None:
            pipe.load_adapter(adapter)
            pipe.register_to_config(**own)
        return pipe

    @property
    def base(self) -> Any:
        """The diffusers pipeline of the base model, with which this one shares all components: its `load_lora_weights`,
        its offloading and its own call work as ever. None for a base model that diffusers has no pipeline of.
        """
        if self._base is None:
            self._base = self.backbone.base_pipeline()
        return self._base

    def load_adapter(self, source: Any, *, image_encoder: Any = None) -> None:
        """Attach an adapter to the base model; one that was there is unloaded.

        Args:
            source: A `StyleAdapter`, a folder or hub id of one, or a published file (`weights.load_adapter`).
            image_encoder: What it reads pictures with, as in `from_base`; None: the one that is there.

        Raises:
            InvalidInputError: It is for another base model or another image encoder; the one that was there stays.
            CheckpointError: A file that cannot be read or is of no known format.
        """
        from stylecrafter.pipelines.adapters import load_adapter
        from stylecrafter.pipelines.from_base import open_image_encoder

        backbone = self.backbone
        adapter = source if isinstance(source, StyleAdapter) else load_adapter(source)
        encoder = open_image_encoder(image_encoder, backbone.denoiser) or self.image_encoder
        check_widths(backbone, encoder, adapter)
        old = self.style_adapter
        if old is not None:
            self.unload_adapter()
        try:
            if not adapter.is_attached_to(backbone.denoiser):
                # First: one that another model still uses is refused, and stays as it is.
                adapter.attach(backbone.denoiser)
                # Without diffusers' own word on parts that stay in float32: here are none.
                nn.Module.to(adapter, device=backbone.device, dtype=backbone.dtype)
        except ValueError:
            if old is not None:
                self.register_modules(style_adapter=old.attach(backbone.denoiser))
                self.register_to_config(**adapter_defaults(old))
            raise
        self.register_modules(style_adapter=adapter, image_encoder=encoder)
        self.register_to_config(**adapter_defaults(adapter))
        self._fetched_again()
        self._adapter_file = Path(source).name if isinstance(source, (str, os.PathLike)) else None

    def unload_adapter(self) -> None:
        """Take the adapter off: the base model is what it was, to the bit.

        Raises:
            InvalidInputError: There is none.
        """
        adapter = self._need_adapter()
        if adapter.attached:
            adapter.detach()
        self._adapter_file = None
        self.register_modules(style_adapter=None)
        self.register_to_config(**defaults_without(adapter, self.backbone))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        base = self.__dict__.get("_base")
        if base is not None and name in COMPONENTS and hasattr(base, name):
            setattr(base, name, value)

    def _take_over(self) -> None:
        """Components that were replaced in `base` hold here too."""
        base = self.__dict__.get("_base")
        for name in COMPONENTS if base is not None else ():
            theirs = getattr(base, name, None)
            if theirs is not None and theirs is not getattr(self, name):
                self.register_modules(**{name: theirs})

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Save a folder that `from_pretrained` loads: base model, encoder and adapter; as `DiffusionPipeline`.

        Raises:
            InvalidInputError: Its weights are rounded (`store_weights`).
        """
        self._take_over()
        if self.weights_as != "full":
            raise InvalidInputError(
                f"the weights are kept as {self.weights_as}: save a pipeline that was loaded in full"
            )
        super().save_pretrained(save_directory, *args, **kwargs)

    @property
    def references(self) -> ReferenceEncoder:
        """What reads style pictures.

        Raises:
            InvalidInputError: The pipeline has no image encoder.
        """
        if self.image_encoder is None:
            raise InvalidInputError(
                "this pipeline has no image encoder, so it cannot read style pictures; name one with image_encoder= "
                "(from_base, load_adapter, from_pretrained), or give style_tokens"
            )
        asked = {} if self.style_adapter is None else self.style_adapter.reads
        return ReferenceEncoder(self.image_encoder, self.config.image_tokens_half, **asked)

    @property
    def backbone(self) -> Backbone:
        """The base model, as its components are now."""
        self._take_over()
        settings = {name: self.config[name] for name in SETTINGS}
        return backbone_for(**{name: getattr(self, name) for name in COMPONENTS}, **settings)

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent, on either side."""
        return self.backbone.pixels_per_latent

    @property
    def size_multiple(self) -> int:
        """Width and height in pixels are multiples of this."""
        return self.backbone.size_multiple

    def hub_card(
        self, repo_id: str, license: str | None = None, base_model: str | None = None, training: str = ""
    ) -> HubCard:
        """What its page on the hub says; see `push_to_hub`."""
        return pipeline_card(self, repo_id, license, base_model, training)

    def _need_adapter(self) -> StyleAdapter:
        if self.style_adapter is None:
            raise InvalidInputError("this pipeline has no style adapter; it takes text only")
        return self.style_adapter
