"""The embedded model from nothing: sizes from `presets/mini.json`, and the order in which its parts are trained.

autoencoder, clip  ->  base  ->  adapter (stage 1)  ->  temporal (stage 2)  ->  a pipeline folder
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModel,
)

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.videocrafter import VideoCrafterUNet
from stylecrafter.errors import CheckpointError, unknown_name
from stylecrafter.styleworld import splits
from stylecrafter.styleworld.captions import MOTION_PHRASES, vocabulary_words
from stylecrafter.training.checkpoint import load_checkpoint
from stylecrafter.training.encoders import AutoencoderStage, ClipStage, latent_scale
from stylecrafter.training.stages import (
    TEXT_ENCODER_PREFIX,
    AdapterStage,
    BaseStage,
    DiffusionConfig,
    Parts,
    TemporalStage,
)
from stylecrafter.training.trainer import TrainConfig, Trainer
from stylecrafter.weights.tokenizer import compact_tokenizer

STAGES = ("autoencoder", "clip", "base", "adapter", "temporal")


@functools.cache
def preset() -> dict[str, Any]:
    """The sizes of the embedded model."""
    text = (resources.files("stylecrafter") / "presets" / "mini.json").read_text(encoding="utf-8")
    sizes: dict[str, Any] = json.loads(text)
    return sizes


def build_vae() -> AutoencoderKL:
    vae = AutoencoderKL(**preset()["vae"])
    # Start with little noise on the latents (a standard deviation of 0.05): at the usual 1 the first thousands of
    # steps go into latents that are large enough to be heard.
    with torch.no_grad():
        vae.quant_conv.bias[vae.config.latent_channels :] = -6.0
        vae.quant_conv.weight[vae.config.latent_channels :] *= 0.1
    return vae


def build_tokenizer() -> Any:
    """A byte-pair tokenizer that holds the world's words and falls back to pieces for all others."""
    tokenizer = compact_tokenizer(vocabulary_words())
    tokenizer.model_max_length = preset()["text"]["max_position_embeddings"]
    return tokenizer


def build_clip(tokenizer: Any) -> CLIPModel:
    sizes = preset()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        projection_dim=sizes["projection_dim"],
        **sizes["text"],
    )
    vision = CLIPVisionConfig(projection_dim=sizes["projection_dim"], **sizes["vision"])
    return CLIPModel(
        CLIPConfig(text_config=text, vision_config=vision, projection_dim=sizes["projection_dim"])
    )


def split_clip(clip: CLIPModel) -> tuple[CLIPTextModel, CLIPVisionModel]:
    """The two towers as the models that a pipeline holds; projections stay behind."""
    text = CLIPTextModel(clip.config.text_config)
    vision = CLIPVisionModel(clip.config.vision_config)
    _load_tower(text, clip, "text_model.")
    _load_tower(vision, clip, "vision_model.")
    return text.eval(), vision.eval()


def _load_tower(tower: torch.nn.Module, clip: CLIPModel, prefix: str) -> None:
    state = {
        key.removeprefix(prefix): value for key, value in clip.state_dict().items() if key.startswith(prefix)
    }
    wanted = {key.removeprefix(prefix) for key in tower.state_dict()}
    own = {key.removeprefix(prefix): key for key in tower.state_dict()}
    tower.load_state_dict({own[key]: value for key, value in state.items() if key in wanted}, strict=True)


def load_part(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Load the parameters that a stage trained; every one of them must be the model's.

    Raises:
        CheckpointError: `weights` has names that the model has not.
    """
    unknown = model.load_state_dict(weights, strict=False).unexpected_keys
    if unknown:
        raise CheckpointError(
            f"{len(unknown)} weights do not belong to {type(model).__name__}, first: {unknown[0]}"
        )


class MiniBuild:
    """Trains the stages of the embedded model one after the other in a folder.

    Args:
        folder: Where every stage has its own folder with checkpoint and losses.
        vocabulary: The part of StyleWorld to train on.
        seed: Of initial weights and of all data.
        device: Where to train.
        mixed_precision: bfloat16 autocast; worth it where the processor has bfloat16 arithmetic.
    """

    def __init__(
        self,
        folder: Path,
        vocabulary: splits.Vocabulary = splits.SMALL,
        *,
        seed: int = 0,
        device: str = "cpu",
        mixed_precision: bool = False,
    ) -> None:
        self.folder, self.vocabulary, self.seed = folder, vocabulary, seed
        self.device, self.mixed_precision = device, mixed_precision
        self.image_size: int = preset()["image_size"]

    def trainer(self, stage: str, **config: Any) -> Trainer:
        """The trainer of a stage, on top of what the earlier ones left in the folder.

        Args:
            stage: One of `STAGES`.
            **config: Fields of `TrainConfig`, and `data`: fields of the stage's own sizes (batch sizes, mixes).

        Raises:
            UnknownNameError: No such stage.
            CheckpointError: An earlier stage has not been trained yet.
        """
        if stage not in STAGES:
            raise unknown_name("stage", stage, STAGES)
        torch.manual_seed(self.seed)
        data = {"seed": self.seed, **config.pop("data", {})}
        built = self._stage(stage, data)
        train = TrainConfig(mixed_precision=self.mixed_precision, **config)
        return Trainer(built, train, self.folder / stage, device_type=self.device.split(":")[0])

    def _stage(self, name: str, data: dict[str, Any]) -> Any:
        if name == "autoencoder":
            vae = build_vae().to(self.device)
            return AutoencoderStage(vae, self.vocabulary, image_size=self.image_size, **data)
        if name == "clip":
            tokenizer = build_tokenizer()
            clip = build_clip(tokenizer).to(self.device)
            return ClipStage(clip, tokenizer, self.vocabulary, image_size=self.image_size, **data)
        kinds: dict[str, Any] = {"base": BaseStage, "adapter": AdapterStage, "temporal": TemporalStage}
        config = DiffusionConfig(image_size=self.image_size, **data)
        return kinds[name](self.parts(STAGES[: STAGES.index(name)]), config, self.vocabulary)

    def parts(self, trained: tuple[str, ...]) -> Parts:
        """The models with the averaged weights of the stages named in `trained`; the rest as initialised."""
        torch.manual_seed(self.seed)
        vae = build_vae()
        vae.load_state_dict(self._average("autoencoder"))
        vae.register_to_config(scaling_factor=self._latent_scale(vae))
        tokenizer = build_tokenizer()
        clip = build_clip(tokenizer)
        load_part(clip, self._average("clip"))
        text_encoder, image_encoder = split_clip(clip)
        unet = VideoCrafterUNet(**preset()["unet"])
        for stage in ("base", "temporal"):
            if stage in trained:
                average = self._average(stage)
                load_part(unet, {k: v for k, v in average.items() if not k.startswith(TEXT_ENCODER_PREFIX)})
                load_part(
                    text_encoder,
                    {
                        k.removeprefix(TEXT_ENCODER_PREFIX): v
                        for k, v in average.items()
                        if k.startswith(TEXT_ENCODER_PREFIX)
                    },
                )
        adapter = StyleAdapter.for_model(unet, preset()["vision"]["hidden_size"], **preset()["adapter"])
        if "adapter" in trained:
            adapter.load_state_dict(self._average("adapter"))
        adapter.attach(unet)
        parts = Parts(
            vae=vae.eval(),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            image_encoder=image_encoder,
            unet=unet,
            scheduler=DDIMScheduler(**preset()["scheduler"]),
            style_adapter=adapter,
        )
        for model in parts.modules():
            model.to(self.device)
        return parts

    def _average(self, stage: str) -> dict[str, torch.Tensor]:
        average: dict[str, torch.Tensor] = load_checkpoint(self.folder / stage / "checkpoint.pt")["average"]
        return average

    def _latent_scale(self, vae: AutoencoderKL) -> float:
        stage = AutoencoderStage(
            vae, self.vocabulary, image_size=self.image_size, batch_size=1, seed=self.seed
        )
        return latent_scale(stage)

    def export(self, folder: Path) -> None:
        """Write the trained model as a folder that `StyleCrafterPipeline.from_pretrained` loads: float16 weights.

        Raises:
            CheckpointError: A stage has not been trained yet.
        """
        from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline

        parts = self.parts(STAGES)
        size = self.image_size
        pipe = StyleCrafterPipeline(
            vae=parts.vae,
            text_encoder=parts.text_encoder,
            tokenizer=parts.tokenizer,
            unet=parts.unet,
            scheduler=parts.scheduler,
            image_encoder=parts.image_encoder,
            style_adapter=parts.style_adapter,
            reference_size=size,
            default_frames=preset()["num_frames"],
            default_height=size,
            default_width=size,
            **preset()["sampling"],
        )
        pipe.to(torch.float16)
        pipe.save_pretrained(str(folder))
        world = {
            "objects": self.vocabulary.objects,
            "scenes": self.vocabulary.scenes,
            "motions": [MOTION_PHRASES[name][-1] for name in self.vocabulary.motions],
            "styles": self.vocabulary.styles,
        }
        (folder / "world.json").write_text(json.dumps(world, indent=2) + "\n", encoding="utf-8")
