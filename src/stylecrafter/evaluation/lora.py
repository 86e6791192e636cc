"""A baseline: low-rank finetuning of the text-to-video model on the reference itself (Hu et al. 2021).

What the paper compares with as DreamBooth: one finetuning for each style instead of one adapter for all. Only layers
that see single frames learn, from random crops of the reference, so that motion stays as the base model has it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from stylecrafter.data.batch import TrainingBatch
from stylecrafter.errors import MissingDependencyError
from stylecrafter.media.tensors import to_tensor
from stylecrafter.references.crops import style_crop
from stylecrafter.runtime.seeding import step_generator
from stylecrafter.training.parts import Parts, prefixed
from stylecrafter.training.stages import DiffusionConfig, DiffusionStage, NoisyInputs

if TYPE_CHECKING:
    from PIL import Image

    from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline

logger = logging.getLogger(__name__)

#: Spatial attention, its feed-forward layers and projections, and the convolutions of residual blocks.
TARGETS = (
    r".*\.attentions\.\d+\.(.*\.(to_q|to_k|to_v|to_out\.0|net\.0\.proj|net\.2)|proj_in|proj_out)"
    r"|.*\.resnets\.\d+\.(conv1|conv2)"
)


@dataclass(frozen=True)
class LoraConfig:
    """One finetuning.

    Attributes:
        rank: Of the matrices that are added.
        steps: Steps of AdamW.
        learning_rate: Constant.
        batch_size: Crops a step.
        caption: What the crops are called; the empty caption stands for it in half of the rows, so that both halves of
            guidance learn.
        seed: Of crops, noise and first values.
    """

    rank: int = 8
    steps: int = 150
    learning_rate: float = 1e-3
    batch_size: int = 8
    caption: str = "a picture"
    seed: int = 0


class LoraStage(DiffusionStage):
    """The low-rank matrices alone, on pictures of one frame that do not pass through time."""

    name: ClassVar[str] = "lora"
    pictures_through_time = False

    def trainable(self) -> dict[str, nn.Parameter]:
        return prefixed(
            self.parts.backbone.denoiser_name, lora_parameters(self.parts.backbone.denoiser).items()
        )

    def _style(self, inputs: NoisyInputs, text: torch.Tensor) -> tuple[None, None]:
        return None, None


@dataclass(frozen=True)
class ReferenceCrops:
    """Random crops of a style's pictures, as stage 1 takes its references."""

    pictures: Sequence[Image.Image]
    size: int
    caption: str
    batch_size: int
    seed: int

    def batch(self, step: int, rows: slice) -> TrainingBatch:
        generator = step_generator(self.seed, step)
        crops = []
        for row in range(self.batch_size):
            picture = self.pictures[(step * self.batch_size + row) % len(self.pictures)]
            crops.append(to_tensor(style_crop(picture, self.size, generator)))
        frames = torch.stack(crops)[rows, None]
        return TrainingBatch(frames=frames, captions=[self.caption] * len(frames))


class LoraTuner:
    """A pipeline whose UNet can be finetuned on one style after the other.

    It learns in float32, whatever the pipeline's dtype: steps of Adam vanish in half formats.

    Args:
        pipe: The pipeline; low-rank matrices that change nothing yet are put into its UNet.
        config: Of every finetuning.

    Raises:
        MissingDependencyError: peft is not installed.
    """

    def __init__(self, pipe: StyleCrafterPipeline, config: LoraConfig = LoraConfig()) -> None:  # noqa: B008  # frozen
        try:
            from peft import LoraConfig as Matrices
            from peft import inject_adapter_in_model
        except ImportError as error:
            raise MissingDependencyError(
                "finetuning on the reference needs peft; pip install 'stylecrafter[eval]'"
            ) from error
        self.config, self._pipe = config, pipe
        self._parts = Parts(backbone=pipe.backbone, image_encoder=pipe.image_encoder)
        with torch.random.fork_rng(devices=[]), _in_float32(pipe.unet):
            torch.manual_seed(config.seed)
            inject_adapter_in_model(
                Matrices(r=config.rank, lora_alpha=config.rank, target_modules=TARGETS), pipe.unet
            )
            self._start = self._values()
        self._learned: dict[str, dict[str, torch.Tensor]] = {}

    def use(self, style: str, pictures: Sequence[Image.Image]) -> None:
        """Put what was learned of a style into the UNet; learns it first where it has not yet.

        Args:
            style: What it is known by.
            pictures: Its pictures, at least one.
        """
        if style not in self._learned:
            with _in_float32(*self._parts.backbone.models().values()):
                self._set(self._start)
                self._finetune(pictures)
                self._learned[style] = self._values()
            logger.info("finetuned on %s", style)
        self._set(self._learned[style])

    def _finetune(self, pictures: Sequence[Image.Image]) -> None:
        config = self.config
        size = int(self._pipe.config.default_height)
        source = ReferenceCrops(pictures, size, config.caption, config.batch_size, config.seed)
        stage = LoraStage(
            self._parts,
            DiffusionConfig(text_dropout=0.5, picture_reuse=4, seed=config.seed),
            pictures=source,
        )
        trainable = list(stage.trainable().values())
        optimizer = torch.optim.AdamW(trainable, lr=config.learning_rate, weight_decay=0.0)
        for step in range(config.steps):
            optimizer.zero_grad()
            stage.loss(step).backward()
            nn.utils.clip_grad_norm_(trainable, 1.0)
            optimizer.step()

    def _values(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in lora_parameters(self._pipe.unet).items()}

    @torch.no_grad()
    def _set(self, values: dict[str, torch.Tensor]) -> None:
        for name, parameter in lora_parameters(self._pipe.unet).items():
            parameter.copy_(values[name])


@contextmanager
def _in_float32(*models: nn.Module) -> Iterator[None]:
    """Models in float32 and then in their own dtype again, which leaves weights that did not move as they were."""
    own = [next(model.parameters()).dtype for model in models]
    try:
        for model in models:
            nn.Module.to(model, torch.float32)  # that of diffusers warns of every cast
        yield
    finally:
        for model, dtype in zip(models, own, strict=True):
            nn.Module.to(model, dtype)


def lora_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter of the low-rank matrices in a model."""
    return {name: value for name, value in model.named_parameters() if re.search(r"\.lora_[AB]\.", name)}
