"""The models of a run: as the recipe starts them, with what finished stages have left, and the pipeline around them.

A stage's weights lie in FOLDER/STAGE/weights.safetensors; `run` says what else is in FOLDER.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.families import backbone_for
from stylecrafter.backbones.protocol import Backbone
from stylecrafter.data.batch import BatchSource
from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.media.documents import expand_home
from stylecrafter.media.files import write_atomic
from stylecrafter.pipelines.from_base import open_image_encoder
from stylecrafter.pipelines.loading import load_pipeline, quiet_libraries
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.presets import load_preset
from stylecrafter.runtime.faults import joined
from stylecrafter.runtime.ranks import is_main_process
from stylecrafter.training.from_scratch import fresh_models
from stylecrafter.training.from_scratch.encoder_stages import latent_scale
from stylecrafter.training.from_scratch.expansion import expand
from stylecrafter.training.model_checks import backbone_faults, default_size
from stylecrafter.training.parts import Parts, fresh_adapter, load_trained
from stylecrafter.training.recipes import Recipe
from stylecrafter.training.run_folder import WEIGHTS
from stylecrafter.training.sources import vocabulary_of, words_for
from stylecrafter.training.stage_specs import TEMPORAL_STAGES, DiffusionSpec, StageSpec
from stylecrafter.weights.card import WORLD_NAME
from stylecrafter.weights.locate import fetch_model
from stylecrafter.weights.saving import save_whole
from stylecrafter.weights.strict import finite
from stylecrafter.weights.tensor_files import listing, read_file, tensors_only, unwrapped

logger = logging.getLogger(__name__)

#: Folder of a run that keeps its whole CLIP.
CLIP_MODEL = "clip_model"
#: Settings of a pipeline that a new one around the same models needs, besides the defaults for sampling.
_SETTINGS = ("reference_size", "image_tokens_half")


class RunModels:
    """Builds the models of a recipe, puts trained weights into them, and exports them.

    Args:
        recipe: What to build.
        folder: Of the run: where stages leave their weights.
        device: Where the models are.
        pictures_of: The source of a stage's pictures; the latents' scale comes from those of the autoencoder.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        device: torch.device,
        pictures_of: Callable[[StageSpec], BatchSource],
    ) -> None:
        self.recipe, self.folder, self.device, self._pictures_of = recipe, folder, device, pictures_of
        self._sizes: dict[str, Any] | None = load_preset(recipe.model.preset) if recipe.model.preset else None
        #: Sizes and defaults of the pipeline that is built around the parts.
        self._settings: dict[str, Any] = {} if self._sizes is None else _preset_settings(self._sizes)
        #: Scale of the latents, by when and how long the autoencoder's weights were written.
        self._latent_scales: dict[tuple[int, int], float] = {}

    def parts(self, trained: list[str], training: str | None = None) -> Parts:
        """The models with the weights that the stages named `trained` have left; the rest as the recipe starts them.

        Args:
            trained: Names of stages.
            training: The stage that is to train them: where it trains low-rank matrices, these are there.

        Raises:
            CheckpointError: One of these stages has not been finished.
        """
        weights = {stage: self.load_weights(stage) for stage in trained}
        torch.manual_seed(self.recipe.seed)
        if self._sizes is None:
            parts = self._loaded_parts()
        else:
            parts = self._preset_parts(self._sizes, weights)
        for stage, values in weights.items():
            if stage not in ("autoencoder", "clip"):
                self._add_lora(parts.backbone, stage)
                load_trained(parts.models(), values)
        if training is not None:
            self._add_lora(parts.backbone, training)
        for model in parts.models().values():
            model.to(self.device)
        return parts

    def _preset_parts(self, sizes: dict[str, Any], weights: dict[str, dict[str, torch.Tensor]]) -> Parts:
        vae = fresh_models.build_vae(sizes)
        tokenizer = fresh_models.build_tokenizer(sizes, words_for(self.recipe))
        clip = fresh_models.build_clip(sizes, tokenizer)
        if "autoencoder" in weights:
            _load_whole("vae", vae, weights["autoencoder"])
            vae.register_to_config(scaling_factor=self._latent_scale(vae))
        if "clip" in weights:
            _load_whole("clip", clip, _own_weights(weights["clip"]))
        text_encoder, image_encoder = fresh_models.split_clip(clip)
        backbone = fresh_models.build_backbone(
            sizes, vae=vae.eval(), text_encoder=text_encoder, tokenizer=tokenizer
        )
        for spec in self.recipe.stages:
            if spec.stage == "base" and spec.name in weights:
                # Before the adapter is built: its keys and values start as copies of the denoiser's.
                _check_whole(backbone.denoiser_name, backbone.denoiser, weights[spec.name])
                load_trained(backbone.models(), weights[spec.name])
        options: Any = {**sizes["adapter"], **self.recipe.adapter}
        adapter = fresh_adapter(backbone, image_encoder, options)
        return Parts(backbone=backbone, image_encoder=image_encoder, style_adapter=adapter)

    def _add_lora(self, backbone: Backbone, stage: str) -> None:
        """What a stage trains in place of whole temporal layers, where the base model's would be too large."""
        spec = next(spec for spec in self.recipe.stages if spec.name == stage)
        if isinstance(spec, DiffusionSpec) and spec.stage in TEMPORAL_STAGES and backbone.low_rank_time:
            backbone.add_temporal_lora(spec.options.lora_rank)

    def _loaded_parts(self) -> Parts:
        model = self.recipe.model
        pipe = self._loaded_pipeline()
        if pipe.image_encoder is None:
            raise InvalidInputError(
                f"{model.source} has no image encoder, which reads the style references of training: set "
                "model.image_encoder"
            )
        for name in ("text_encoder", "text_encoder_2"):
            if model.text_encoder_dtype == "bfloat16" and getattr(pipe, name) is not None:
                getattr(pipe, name).bfloat16()
        # The denoiser holds the motion modules that are trained: a copy as they were would go stale.
        backbone = backbone_for(**{**pipe.backbone.components, "motion_adapter": None})
        adapter: StyleAdapter | None = pipe.style_adapter
        # What is on the hub was not looked at before it was here.
        faults = list(backbone_faults(self.recipe, self.recipe.stages, backbone, default_size(pipe)))
        if faults:
            raise InvalidInputError(f"recipe {self.recipe.name!r}: {joined(faults)}")
        if model.attention_levels is not None:
            backbone, adapter = expand(backbone, adapter, model.attention_levels)
        if model.adapter is not None and self.recipe.adapter:
            logger.info(
                "%s is trained on; the recipe's options of a fresh adapter are not used", model.adapter
            )
        if model.is_adapter_fresh(self.recipe.adapter):
            options: Any = dict(self.recipe.adapter)
            if adapter is not None:
                # As large as the one that it stands in for, but for what the recipe says: so that runs compare.
                options = {**adapter.options, **options}
                adapter.detach()
                if not model.new_adapter:
                    logger.info(
                        "a fresh adapter is trained: the recipe asks for another than %s has", model.source
                    )
            adapter = fresh_adapter(backbone, pipe.image_encoder, options)
        self._settings = {k: v for k, v in pipe.config.items() if k in _SETTINGS or k.startswith("default_")}
        return Parts(
            backbone=backbone,
            image_encoder=pipe.image_encoder.eval(),
            style_adapter=adapter,
            half_tokens=pipe.config.image_tokens_half,
        )

    def _loaded_pipeline(self) -> StyleCrafterPipeline:
        """The model that the recipe starts from, with the encoder and the adapter that it names."""
        model = self.recipe.model
        if model.base is not None:
            quiet_libraries()
            named = {"motion_adapter": model.motion_adapter, "config": model.base_config}
            options = {key: _here(name) for key, name in named.items() if name is not None}
            encoder = None if model.image_encoder is None else _here(model.image_encoder)
            pipe = StyleCrafterPipeline.from_base(_here(model.base), image_encoder=encoder, **options)
        else:
            pipe = load_pipeline(fetch_model(model.pretrained or ""), torch.float32)
            if model.image_encoder is not None:
                encoder = open_image_encoder(_here(model.image_encoder), pipe.backbone.denoiser)
                pipe.register_modules(image_encoder=encoder)
        if model.adapter is not None:
            pipe.load_adapter(_here(model.adapter))
        return pipe

    def _latent_scale(self, vae: Any) -> float:
        spec = next((s for s in self.recipe.stages if s.stage == "autoencoder"), None)
        if spec is None:
            raise CheckpointError("the scale of the latents comes from the pictures of stage 'autoencoder'")
        # All stages behind the autoencoder ask for it, and hundreds of pictures are drawn and encoded for an answer.
        written = self.weights_path("autoencoder").stat()
        key = written.st_mtime_ns, written.st_size
        if key not in self._latent_scales:
            self._latent_scales[key] = latent_scale(vae, self._pictures_of(spec))
        return self._latent_scales[key]

    def pipeline(self, parts: Parts) -> StyleCrafterPipeline:
        """A pipeline around these very models."""
        return StyleCrafterPipeline(
            **parts.backbone.components,
            image_encoder=parts.image_encoder,
            style_adapter=parts.style_adapter,
            **self._settings,
        )

    def is_exported(self, folder: Path, stages: list[str]) -> bool:
        """Whether all that `export` writes is there."""
        if not (folder / "model_index.json").is_file():
            return False
        world = vocabulary_of(self.recipe) is None or (folder / WORLD_NAME).is_file()
        return world and (self._clip_sizes(stages) is None or self._has_clip())

    def export(self, folder: Path, stages: list[str]) -> None:
        """Write the model as `stages` left it: a folder that `StyleCrafterPipeline.from_pretrained` loads, in float16.

        The model comes last, and whole: once it is there, nothing is missing. What an earlier call wrote stays.

        Raises:
            CheckpointError: A stage has not been finished.
            OutputError: The folder holds something else, or the disk does not take it.
        """
        if not is_main_process():
            return
        world = vocabulary_of(self.recipe)
        text = None if world is None else (json.dumps(world, indent=2) + "\n").encode()
        parts = self.parts(stages)
        sizes = self._clip_sizes(stages)
        if sizes is not None and not self._has_clip():
            self._export_clip(sizes, parts.backbone.component("tokenizer"))
        if (folder / "model_index.json").is_file():
            # By a version that wrote one after the other.
            if text is not None:
                write_atomic(folder / WORLD_NAME, text)
            return
        self._export_lora(parts.backbone, stages)
        for model in parts.models().values():
            # One by one: a pipeline, and a diffusers model with a dtype, warn of float16 where nothing is to run.
            model.cpu().half()
        pipe = self.pipeline(parts)

        def write(part: Path) -> None:
            pipe.save_pretrained(str(part))
            if text is not None:
                (part / WORLD_NAME).write_bytes(text)

        logger.info("wrote %s", save_whole(folder, write))

    def _export_lora(self, backbone: Backbone, stages: list[str]) -> None:
        """Write the matrices that a stage has trained as a LoRA for the plain base model, and add them up to it."""
        if not backbone.low_rank_time or not backbone.temporal_parameters():
            return
        last = [
            spec.name for spec in self.recipe.stages if spec.name in stages and spec.stage in TEMPORAL_STAGES
        ][-1]
        backbone.save_temporal_lora(self.folder / last)
        backbone.denoiser.fuse_lora()
        backbone.denoiser.unload_lora()
        logger.info("wrote the LoRA of stage %s to %s", last, self.folder / last)

    def _clip_sizes(self, stages: list[str]) -> dict[str, Any] | None:
        """The sizes of the CLIP that these stages leave as a whole; None where they train none."""
        return self._sizes if "clip" in stages else None

    def _has_clip(self) -> bool:
        return (self.folder / CLIP_MODEL / "config.json").is_file()

    def _export_clip(self, sizes: dict[str, Any], tokenizer: Any) -> None:
        """Write the CLIP as `transformers` has it, which `evaluate --clip` takes."""
        clip = fresh_models.build_clip(sizes, tokenizer)
        _load_whole("clip", clip, _own_weights(self.load_weights("clip")))

        def write(folder: Path) -> None:
            clip.half().save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            fresh_models.build_clip_processor(sizes).save_pretrained(folder)

        logger.info("wrote %s", save_whole(self.folder / CLIP_MODEL, write))

    def preset_sizes(self, stage: str) -> dict[str, Any]:
        """The sizes that a stage builds a model of its own by.

        Raises:
            InvalidInputError: The recipe goes on with a finished model.
        """
        if self._sizes is None:
            raise InvalidInputError(
                f"stage {stage!r} trains a model from nothing: give the recipe 'model: {{preset: …}}'"
            )
        return self._sizes

    def frame_size(self) -> tuple[int, int]:
        """Height and width of what the model makes.

        Raises:
            InvalidInputError: A pretrained model has not been loaded yet.
        """
        if self._sizes is not None:
            return int(self._sizes["image_size"]), int(self._sizes["image_size"])
        if not self._settings:
            raise InvalidInputError("the size of the frames comes with the pretrained model; load it first")
        return int(self._settings["default_height"]), int(self._settings["default_width"])

    def weights_path(self, stage: str) -> Path:
        """Where a stage leaves its averaged weights."""
        return self.folder / stage / WEIGHTS

    def load_weights(self, stage: str) -> dict[str, torch.Tensor]:
        """What a finished stage has left.

        Raises:
            CheckpointError: It is not there, not readable, or not finite.
        """
        path = self.weights_path(stage)
        if not path.is_file():
            raise CheckpointError(f"stage {stage!r} has not been finished: no {path}")
        what = f"weights of stage {stage!r}"
        try:
            return finite(tensors_only(unwrapped(read_file(path, what), what), what), f"{what} in {path}")
        except CheckpointError as error:
            raise CheckpointError(
                f"{error}; delete {path}, and --resume makes it again from the checkpoint of its stage"
            ) from error


def _preset_settings(sizes: dict[str, Any]) -> dict[str, Any]:
    size = sizes["image_size"]
    return {
        "reference_size": size,
        "default_frames": sizes["num_frames"],
        "default_height": size,
        "default_width": size,
        **sizes["sampling"],
    }


def _here(name: str) -> str:
    """A path with its home folder; a hub id as it is."""
    return str(expand_home(name))


def _own_weights(trained: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """CLIP's weights without the head that its stage looks at styles with."""
    return {name: value for name, value in trained.items() if not name.startswith("style_head.")}


def _load_whole(owner: str, model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Put the weights of a stage that trained all of a model into it.

    Raises:
        CheckpointError: Some of them are missing, unknown or of another shape.
    """
    _check_whole(owner, model, weights)
    load_trained({owner: model}, weights)


def _check_whole(owner: str, model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    names = [f"{owner}.{name}" for name, _ in model.named_parameters()]
    missing = [name for name in names if name not in weights]
    if missing:
        raise CheckpointError(f"trained weights of {owner}: {listing(missing)} missing")
