"""One stage of a recipe: what trains, on which sources, and how; every value is checked when the recipe is read."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, ValidationInfo, field_validator, model_validator

from stylecrafter.pipelines.sampling_params import MAX_FRAMES
from stylecrafter.training.faults import Fault, FaultsError, faults_of, unknown_key
from stylecrafter.training.from_scratch.encoder_stages import AutoencoderConfig, ClipConfig, DecoderConfig
from stylecrafter.training.from_scratch.text_separation import WordsConfig
from stylecrafter.training.ranges import Positive
from stylecrafter.training.source_specs import Named, Strict
from stylecrafter.training.stages import DiffusionConfig
from stylecrafter.training.train_config import TrainConfig

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")
StageName = Literal[
    "autoencoder", "clip", "words", "base", "adapter", "extractor", "temporal", "joint", "decoder"
]

#: Stages that build a part of a model of our own from nothing.
ENCODER_STAGES = ("autoencoder", "clip")
#: Stages that are shown pictures, or the captions of pictures, and nothing else.
PICTURE_STAGES = (*ENCODER_STAGES, "words", "decoder")
#: Folders of a run that belong to no stage.
_TAKEN = ("model", "clip_model")

_OPTIONS: dict[str, type[Any]] = {
    "autoencoder": AutoencoderConfig,
    "clip": ClipConfig,
    "words": WordsConfig,
    "decoder": DecoderConfig,
}


def options_of(stage: str) -> type[Any]:
    """The class whose fields `options` of a stage are."""
    return _OPTIONS.get(stage, DiffusionConfig)


class StageSpec(Strict):
    """One stage: what trains, on which sources, and how."""

    stage: StageName
    name: str = Field("", pattern=r"^[a-z0-9_]*$", max_length=100)
    """Of its folder, where a recipe has the same stage more than once; default: that of the stage."""
    stretch_time: Annotated[Positive, Field(ge=1, le=MAX_FRAMES)] = 1.0
    """Before the stage, what the temporal layers know of F frames is spread over so many times F - 1 steps in time
    (`VideoCrafterUNet.stretch_time`): 5 goes on with 16 frames after 4."""
    pictures: Named | None = None
    clips: Named | None = None
    train: dict[str, Any]
    """Fields of `TrainConfig`."""
    options: Annotated[dict[str, Any], Field(validate_default=True)] = {}
    """Fields of `DiffusionConfig`, `AutoencoderConfig`, `ClipConfig`, `WordsConfig` or `DecoderConfig`."""

    @property
    def is_encoder(self) -> bool:
        """Whether it trains one of the frozen parts of a model of our own, which is no pipeline yet."""
        return self.stage in ENCODER_STAGES

    @property
    def train_config(self) -> TrainConfig:
        return configured(TrainConfig, self.train)

    @property
    def autoencoder_config(self) -> AutoencoderConfig:
        return configured(AutoencoderConfig, self.options)

    @property
    def clip_config(self) -> ClipConfig:
        return configured(ClipConfig, self.options)

    @property
    def words_config(self) -> WordsConfig:
        return configured(WordsConfig, self.options)

    @property
    def decoder_config(self) -> DecoderConfig:
        return configured(DecoderConfig, self.options)

    @property
    def diffusion_config(self) -> DiffusionConfig:
        return configured(DiffusionConfig, self.options)

    def seeded(self, seed: int) -> StageSpec:
        """With the recipe's seed wherever the stage names none of its own."""
        options = self.options if self.stage == "clip" else {"seed": seed, **self.options}
        return self.model_copy(update={"train": {"seed": seed, **self.train}, "options": options})

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

    @field_validator("train")
    @classmethod
    def _can_train(cls, train: dict[str, Any]) -> dict[str, Any]:
        configured(TrainConfig, train)
        return train

    @field_validator("options")
    @classmethod
    def _options_fit(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        stage = info.data.get("stage")
        if stage is not None:
            configured(options_of(stage), options)
        return options

    @field_validator("stretch_time", mode="after")
    @classmethod
    def _has_time(cls, factor: float, info: ValidationInfo) -> float:
        stage = info.data.get("stage")
        if factor != 1 and stage is not None and stage not in ("base", "temporal", "joint"):
            raise ValueError(
                f"stage {stage!r} leaves the temporal layers as they are; "
                "stretch_time is for base, temporal and joint"
            )
        return factor


def configured(kind: type[Config], values: dict[str, Any]) -> Config:
    """A configuration of that kind from values of YAML, which knows no tuples and takes 1e-4 for a text.

    Raises:
        InvalidInputError: With every value that is unknown or out of range.
    """
    known = [field.name for field in dataclasses.fields(kind)]
    faults = [unknown_key((key,), known) for key in values if key not in known]
    given = {key: value for key, value in values.items() if key in known}
    try:
        made = TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        faults += faults_of(error, lambda _: known)
        faults += _faults_of_the_rest(kind, given, {fault.place[0] for fault in faults if fault.place})
    if faults:
        raise FaultsError(list(dict.fromkeys(faults)))
    return made


def _faults_of_the_rest(kind: type[Config], values: dict[str, Any], wrong: set[str | int]) -> list[Fault]:
    """What does not fit together among the values that are right by themselves."""
    stand_in = {"learning_rate": 1e-3} if kind is TrainConfig else {}
    rest = {key: value for key, value in {**stand_in, **values}.items() if key not in wrong}
    try:
        TypeAdapter(kind).validate_python({**stand_in, **rest})
    except ValidationError as error:
        found = faults_of(error, lambda _: ())
        return [fault for fault in found if fault.what != "is missing"]
    return []
