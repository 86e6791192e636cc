"""One stage of a recipe: what trains, on which sources, and how; every kind of stage has options of its own."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, ValidationInfo, field_validator, model_validator

from stylecrafter.generation.settings import MAX_FRAMES
from stylecrafter.training.from_scratch.encoder_stages import AutoencoderConfig, ClipConfig, DecoderConfig
from stylecrafter.training.from_scratch.text_separation import TextSeparationConfig
from stylecrafter.training.settings import Named, Positive, Settings, StageSettings
from stylecrafter.training.stages import DiffusionConfig
from stylecrafter.training.train_config import TrainConfig

#: Stages that build a part of a model of our own from nothing.
ENCODER_STAGES = ("autoencoder", "clip")
#: Stages that are shown pictures, or the captions of pictures, and nothing else.
PICTURE_STAGES = (*ENCODER_STAGES, "words", "decoder")
#: Folders of a run that belong to no stage.
_TAKEN = ("model", "clip_model")

Seeded = TypeVar("Seeded", bound=StageSettings)


class AnyStageSpec(Settings):
    """What all stages have."""

    stage: str
    name: str = Field("", pattern=r"^[a-z0-9_]*$", max_length=100)
    """Of its folder, where a recipe has the same stage more than once; default: that of the stage."""
    position_interpolation: Annotated[Positive, Field(ge=1, le=MAX_FRAMES)] = 1.0
    """Before the stage, what the temporal layers know of F frames is spread over so many times F - 1 steps in time
    (`VideoCrafterUNet.stretch_time`): 5 goes on with 16 frames after 4."""
    pictures: Named | None = None
    clips: Named | None = None
    train: TrainConfig
    options: StageSettings = Field(default_factory=StageSettings)

    @property
    def is_encoder(self) -> bool:
        """Whether it trains one of the frozen parts of a model of our own, which is no pipeline yet."""
        return self.stage in ENCODER_STAGES

    def seeded(self, seed: int) -> Self:
        """With the recipe's seed wherever the stage names none of its own."""
        changes = {"train": _seeded(self.train, seed), "options": _seeded(self.options, seed)}
        return self.model_copy(update=changes)

    @model_validator(mode="before")
    @classmethod
    def _named_after_its_stage(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("name") and isinstance(values.get("stage"), str):
            return {**values, "name": values["stage"]}
        return values

    @field_validator("name")
    @classmethod
    def _has_a_folder_of_its_own(cls, name: str) -> str:
        if name in _TAKEN or name.startswith("model_"):
            raise ValueError(f"{name!r} is a folder of the run itself; choose another name")
        return name

    @field_validator("position_interpolation", mode="after")
    @classmethod
    def _has_time(cls, factor: float, info: ValidationInfo) -> float:
        stage = info.data.get("stage")
        if factor != 1 and stage is not None and stage not in ("base", "temporal", "joint"):
            raise ValueError(
                f"stage {stage!r} leaves the temporal layers as they are; "
                "position_interpolation is for base, temporal and joint"
            )
        return factor


class AutoencoderSpec(AnyStageSpec):
    stage: Literal["autoencoder"]
    options: AutoencoderConfig = Field(default_factory=AutoencoderConfig)


class ClipSpec(AnyStageSpec):
    stage: Literal["clip"]
    options: ClipConfig = Field(default_factory=ClipConfig)


class TextSeparationSpec(AnyStageSpec):
    stage: Literal["words"]
    options: TextSeparationConfig = Field(default_factory=TextSeparationConfig)


class DecoderSpec(AnyStageSpec):
    stage: Literal["decoder"]
    options: DecoderConfig = Field(default_factory=DecoderConfig)


class DiffusionSpec(AnyStageSpec):
    stage: Literal["base", "adapter", "extractor", "temporal", "joint"]
    options: DiffusionConfig = Field(default_factory=DiffusionConfig)


StageSpec = Annotated[
    AutoencoderSpec | ClipSpec | TextSeparationSpec | DecoderSpec | DiffusionSpec,
    Field(discriminator="stage"),
]


def _seeded(settings: Seeded, seed: int) -> Seeded:
    takes_one = "seed" in settings.known_keys() and "seed" not in settings.model_fields_set
    return settings.replace(seed=seed) if takes_one else settings
