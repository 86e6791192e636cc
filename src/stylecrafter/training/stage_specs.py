"""One stage of a recipe: what trains, on which sources, and how; every kind of stage has options of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, ValidationInfo, field_validator, model_validator

from stylecrafter.pipelines.sampling_params import MAX_FRAMES
from stylecrafter.runtime.faults import Fault, FaultsError
from stylecrafter.training.from_scratch.encoder_stages import AutoencoderConfig, ClipConfig, DecoderConfig
from stylecrafter.training.from_scratch.text_separation import TextSeparationConfig
from stylecrafter.training.settings import Named, Positive, Settings, StageSettings
from stylecrafter.training.stages import DIFFUSION_STAGES, DiffusionConfig
from stylecrafter.training.train_config import TrainConfig

#: Stages that build a part of a model of our own from nothing.
ENCODER_STAGES = ("autoencoder", "clip")
#: Stages that train layers between frames.
TEMPORAL_STAGES = ("temporal", "joint")
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

    @property
    def sources(self) -> list[str]:
        """The names of what it is shown."""
        return [name for name in (self.pictures, self.clips) if name is not None]

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

    def own_faults(self) -> Iterator[Fault]:
        """What of the stage does not go together."""
        yield from ()

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        faults = list(self.own_faults())
        if faults:
            raise FaultsError(faults)
        return self


class PictureStageSpec(AnyStageSpec):
    """What stages have that are shown pictures, or the captions of pictures, and nothing else."""

    def own_faults(self) -> Iterator[Fault]:
        if self.pictures is None:
            yield Fault((), f"stage {self.stage!r} needs 'pictures': the name of a source under 'data'")
        if self.clips is not None:
            yield Fault(("clips",), f"stage {self.stage!r} is shown pictures alone; leave clips out")
        if self.train.bf16_compute:
            yield Fault(("train", "bf16_compute"), f"is for denoising stages, not for {self.stage!r}")


class AutoencoderSpec(PictureStageSpec):
    stage: Literal["autoencoder"]
    options: AutoencoderConfig = Field(default_factory=AutoencoderConfig)


class ClipSpec(PictureStageSpec):
    stage: Literal["clip"]
    options: ClipConfig = Field(default_factory=ClipConfig)

    def own_faults(self) -> Iterator[Fault]:
        yield from super().own_faults()
        if self.train.accumulation != 1:
            what = "stage clip contrasts whole batches, not parts; set it to 1"
            yield Fault(("train", "accumulation"), what)


class TextSeparationSpec(PictureStageSpec):
    stage: Literal["words"]
    options: TextSeparationConfig = Field(default_factory=TextSeparationConfig)


class DecoderSpec(PictureStageSpec):
    stage: Literal["decoder"]
    options: DecoderConfig = Field(default_factory=DecoderConfig)


class DiffusionSpec(AnyStageSpec):
    stage: Literal["base", "adapter", "extractor", "temporal", "joint"]
    options: DiffusionConfig = Field(default_factory=DiffusionConfig)

    def own_faults(self) -> Iterator[Fault]:
        if "lora_rank" in self.options.model_fields_set and self.stage not in TEMPORAL_STAGES:
            yield Fault(
                ("options", "lora_rank"), f"is for stages that train temporal layers, not for {self.stage!r}"
            )
        given = self.options.clip_ratio
        ratio = DIFFUSION_STAGES[self.stage].published_clip_ratio if given is None else given
        for key, source, part in (("pictures", self.pictures, 1 - ratio), ("clips", self.clips, ratio)):
            if part > 0 and source is None:
                yield Fault((), f"stage {self.stage!r} needs {key} at clip_ratio {ratio:g}")
            if part == 0 and source is not None:
                yield Fault(
                    (key,),
                    f"stage {self.stage!r} is given {key}, but at clip_ratio {ratio:g} it shows none of them; "
                    "set options.clip_ratio, or leave them out",
                )


StageSpec = Annotated[
    AutoencoderSpec | ClipSpec | TextSeparationSpec | DecoderSpec | DiffusionSpec,
    Field(discriminator="stage"),
]


def _seeded(settings: Seeded, seed: int) -> Seeded:
    takes_one = "seed" in settings.known_keys() and "seed" not in settings.model_fields_set
    return settings.replace(seed=seed) if takes_one else settings
