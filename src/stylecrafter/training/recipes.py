"""Recipes: what to train, on what, for how long. Read from YAML, checked before anything is built.

name: my-style
model: {pretrained: mini}            # or {preset: mini}: sizes only, trained from nothing
data:
  mine: {kind: files, path: pictures/, batch_size: 8, references: crop}
stages:
  - {stage: adapter, pictures: mine, train: {steps: 500, learning_rate: 1e-4}}
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import torch
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from stylecrafter.adapter.choices import check_options
from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.data.captions import read_recipe_captions
from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.presets import load_preset, preset_names
from stylecrafter.runtime.seeding import MAX_SEED
from stylecrafter.styleworld import splits
from stylecrafter.training.encoder_stages import AutoencoderConfig, ClipConfig, DecoderConfig
from stylecrafter.training.stages import DiffusionConfig
from stylecrafter.training.strategies import Strategy
from stylecrafter.training.train_config import TrainConfig
from stylecrafter.training.words_stage import WordsConfig

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")
StageName = Literal[
    "autoencoder", "clip", "words", "base", "adapter", "extractor", "temporal", "joint", "decoder"
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSpec(_Strict):
    """Where the models come from: a folder or name to start from, or sizes to train from nothing."""

    pretrained: str | None = None
    preset: str | None = None
    begin_with: str | None = None
    """With `preset`: a name, folder or hub id whose weights every stage begins with where they fit
    (`beginnings.begin_with`)."""
    new_adapter: bool = False
    """With `pretrained`: begin a fresh adapter instead of going on with the one that is there."""
    attention_levels: tuple[bool, ...] | None = None
    """With `pretrained`: have attention at these resolutions of the UNet too, from fine to coarse
    (`growth.with_attention`); what is new adds nothing until it has learned something."""

    @model_validator(mode="after")
    def _one_of_both(self) -> ModelSpec:
        if (self.pretrained is None) == (self.preset is None):
            raise ValueError(
                "give either 'pretrained' (a name, folder or hub id) or 'preset' (sizes to start from)"
            )
        if self.begin_with is not None and self.preset is None:
            raise ValueError("'begin_with' goes with 'preset'; 'pretrained' goes on with a model as it is")
        if self.attention_levels is not None and self.pretrained is None:
            raise ValueError(
                "'attention_levels' goes with 'pretrained'; a preset says where its attention is"
            )
        if self.preset is not None and self.preset not in preset_names():
            raise unknown_name("preset", self.preset, preset_names())
        return self


class WorldSpec(_Strict):
    """Pictures or clips of StyleWorld (`data.world.WorldSource`)."""

    kind: Literal["styleworld"]
    vocabulary: Literal["small", "medium", "full", "held-out"] = "small"
    batch_size: int = Field(ge=1)
    num_frames: int = Field(1, ge=1)
    size: int | None = None
    """Height and width; default: the model's."""
    styled_ratio: float = Field(1.0, ge=0, le=1)
    styles_per_content: int = Field(1, ge=1)
    motions_per_content: int = Field(1, ge=1)
    span: tuple[float, float] = (0.0, 1.0)
    """Part of the motion that is shown; pictures at [1, 1] show where it ends, and their captions name it."""
    motions: tuple[str, ...] = ()
    """Motions to draw in place of all of the vocabulary's; one that is named twice comes twice as often."""
    captions: Annotated[Literal["decouple", "keep"], BeforeValidator(read_recipe_captions)] = "decouple"
    unnamed_style_ratio: float = Field(0.0, ge=0, le=1)
    references: Literal["none", "crop", "whole"] = "none"
    cross_reference_ratio: float = Field(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _motions_are_known(self) -> WorldSpec:
        known = splits.find_vocabulary(self.vocabulary).motions
        for name in self.motions:
            if name not in known:
                raise unknown_name(f"motion of the vocabulary {self.vocabulary!r}:", name, known)
        return self


class FilesSpec(_Strict):
    """Your own pictures or clips: a folder, a manifest, or tar shards (`data.loaders.FileSource`)."""

    kind: Literal["files"]
    path: str
    """Relative to the recipe's own folder."""
    batch_size: int = Field(ge=1)
    num_frames: int = Field(1, ge=1)
    size: int | None = None
    """Height and width; default: the model's."""
    height: int | None = None
    width: int | None = None
    """Other sides than `size`."""
    captions: Annotated[Literal["decouple", "published", "keep"], BeforeValidator(read_recipe_captions)] = (
        "decouple"
    )
    """Without their style words, by our cleaning or by the three patterns of the published code; or as they are."""
    references: Literal["none", "crop", "whole"] = "none"
    cross_reference_ratio: float = Field(0.0, ge=0, le=1)
    stride: int = Field(1, ge=1)
    """Every how many frames of a clip one is taken."""
    fps: float | None = Field(None, gt=0)
    """Frames per second to take instead of a stride."""
    missing_captions: Literal["skip", "empty"] = "skip"
    style_groups: Literal["named", "folders", "one"] = "named"
    """Which share their style, for cross references: those with the same style_group; those in one subfolder too; or
    all of them, as in pictures by one hand."""
    workers: int = Field(0, ge=0)
    """Processes that read ahead."""


class MixSpec(_Strict):
    """Several sources, mixed by weights."""

    kind: Literal["mix"]
    of: dict[str, float]
    """Name of another source -> weight."""
    batch_size: int = Field(ge=1)
    unit: Literal["rows", "steps"] = "rows"
    """Whether every batch is mixed, or whole batches alternate, in which groups of rows stay together."""


SourceSpec = Annotated[WorldSpec | FilesSpec | MixSpec, Field(discriminator="kind")]


class StageSpec(_Strict):
    """One stage: what trains, on which sources, and how."""

    stage: StageName
    name: str = Field("", pattern=r"^[a-z0-9_]*$")
    """Of its folder, where a recipe has the same stage more than once; default: that of the stage."""
    stretch_time: float = Field(1.0, ge=1, allow_inf_nan=False)
    """Before the stage, what the temporal layers know of F frames is spread over so many times F - 1 steps in time
    (`VideoCrafterUNet.stretch_time`): 5 goes on with 16 frames after 4."""
    pictures: str | None = None
    clips: str | None = None
    train: dict[str, Any]
    """Fields of `TrainConfig`."""
    options: dict[str, Any] = {}
    """Fields of `DiffusionConfig`, `AutoencoderConfig`, `ClipConfig`, `WordsConfig` or `DecoderConfig`."""

    @property
    def is_encoder(self) -> bool:
        """Whether it trains one of the frozen parts of a model of our own, which is no pipeline yet."""
        return self.stage in ("autoencoder", "clip")

    @property
    def train_config(self) -> TrainConfig:
        return _checked(TrainConfig, self.train, f"train of stage {self.stage}")

    @property
    def autoencoder_config(self) -> AutoencoderConfig:
        return _checked(AutoencoderConfig, self.options, f"options of stage {self.stage}")

    @property
    def clip_config(self) -> ClipConfig:
        return _checked(ClipConfig, self.options, f"options of stage {self.stage}")

    @property
    def words_config(self) -> WordsConfig:
        return _checked(WordsConfig, self.options, f"options of stage {self.stage}")

    @property
    def decoder_config(self) -> DecoderConfig:
        return _checked(DecoderConfig, self.options, f"options of stage {self.stage}")

    @property
    def diffusion_config(self) -> DiffusionConfig:
        return _checked(DiffusionConfig, self.options, f"options of stage {self.stage}")

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

    @model_validator(mode="after")
    def _check_fields(self) -> StageSpec:
        self.train_config  # noqa: B018 - checks the values
        if self.stretch_time != 1 and self.stage not in ("base", "temporal", "joint"):
            raise ValueError(
                f"stage {self.stage!r} leaves the temporal layers as they are; "
                "stretch_time is for base, temporal and joint"
            )
        match self.stage:
            case "autoencoder":
                self.autoencoder_config  # noqa: B018
            case "clip":
                self.clip_config  # noqa: B018
            case "words":
                self.words_config  # noqa: B018
            case "decoder":
                self.decoder_config  # noqa: B018
            case _:
                self.diffusion_config  # noqa: B018
        return self


class SampleSpec(_Strict):
    """What the sample sheets show."""

    prompts: list[str]
    styles: list[str] = []
    """Style pictures, relative to the recipe's folder; none: pictures of StyleWorld's held-out palettes."""
    num_frames: int = Field(1, ge=1)
    seed: int = Field(0, ge=0, le=MAX_SEED)
    steps: int | None = None


class Recipe(_Strict):
    """A whole training run."""

    name: str = Field(pattern=r"^[\w.-]+$")
    description: str = ""
    seed: int = Field(0, ge=0, le=MAX_SEED)
    model: ModelSpec
    adapter: dict[str, Any] = {}
    """Fields of `StyleAdapter` for a new adapter (`extractor_type`, `fusion_type`, `scale_type`, sizes)."""
    data: dict[str, SourceSpec]
    stages: list[StageSpec]
    samples: SampleSpec | None = None
    trackers: list[Literal["csv", "tensorboard", "wandb"]] = ["csv"]
    folder: Path = Field(default=Path("."), exclude=True)
    """Where relative paths start: the folder of the recipe's file."""

    @field_validator("adapter")
    @classmethod
    def _can_be_built(cls, adapter: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """The stages before the adapter's take hours: what it would refuse then is refused now."""
        check_options(adapter)
        model: ModelSpec | None = info.data.get("model")
        if model is not None and model.preset is not None:
            sizes = load_preset(model.preset)
            widths = sizes["vision"]["hidden_size"], sizes["unet"]["cross_attention_dim"]
            with torch.device("meta"):
                StyleAdapter(*widths, ("layer",), (1,), **{**sizes["adapter"], **adapter})
        return adapter

    @model_validator(mode="after")
    def _names_fit(self) -> Recipe:
        if not self.stages:
            raise ValueError("a recipe needs at least one stage")
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(
                f"every stage needs its own name, got {', '.join(names)}; give a 'name' to those that come again"
            )
        again = [s.name for s in self.stages if s.stage != "base" and s.name != s.stage]
        if again:
            raise ValueError(
                f"only the stage 'base' may come several times under other names, got {', '.join(again)}"
            )
        wanted = [name for stage in self.stages for name in (stage.pictures, stage.clips) if name]
        wanted += [name for source in self.data.values() if isinstance(source, MixSpec) for name in source.of]
        for name in wanted:
            if name not in self.data:
                raise unknown_name("source", name, self.data, "Name it under 'data'.")
        for name in self.data:
            self.members_of(name)
        return self

    @model_validator(mode="after")
    def _styles_are_shown(self) -> Recipe:
        for stage in self.stages:
            if stage.stage in ("adapter", "extractor", "temporal", "joint") and stage.pictures is not None:
                for name in self.members_of(stage.pictures):
                    if getattr(self.data[name], "references", None) == "none":
                        raise ValueError(
                            f"stage {stage.stage!r} shows pictures of {name!r} with their style, which has no "
                            f"style references: set data.{name}.references to crop"
                        )
        return self

    @model_validator(mode="after")
    def _extractors_have_learned(self) -> Recipe:
        """The extractor alone says what a finished adapter is told; a fresh one does nothing with it yet."""
        names = [stage.stage for stage in self.stages]
        fresh = self.model.new_adapter or self.model.preset is not None or bool(self.adapter)
        if (
            "extractor" in names
            and fresh
            and not {"adapter", "joint"} & set(names[: names.index("extractor")])
        ):
            raise ValueError(
                "stage 'extractor' goes on with an adapter that has learned, and this recipe makes a fresh one: "
                "train it in stage 'adapter'"
            )
        return self

    def members_of(self, source: str, _within: tuple[str, ...] = ()) -> set[str]:
        """The sources that `source` takes its rows from: itself, or those of a mix, mixes of mixes included.

        Raises:
            ValueError: A mix contains itself.
        """
        spec = self.data[source]
        if source in _within:
            raise ValueError(f"the mix {source!r} contains itself: {' > '.join((*_within, source))}")
        if not isinstance(spec, MixSpec):
            return {source}
        return set().union(*(self.members_of(name, (*_within, source)) for name in spec.of))

    def standalone(self) -> Recipe:
        """The same recipe with absolute paths, which means the same wherever its file lies."""

        def absolute(name: str) -> str:
            return os.path.abspath(os.path.join(self.folder, name))

        data = {
            name: source.model_copy(update={"path": absolute(source.path)})
            if isinstance(source, FilesSpec)
            else source
            for name, source in self.data.items()
        }
        samples = self.samples
        if samples is not None:
            samples = samples.model_copy(update={"styles": [absolute(name) for name in samples.styles]})
        local = {
            key: os.path.abspath(name)
            for key in ("pretrained", "begin_with")
            if (name := getattr(self.model, key)) is not None and os.path.isdir(name)
        }
        model = self.model.model_copy(update=local)
        return self.model_copy(update={"data": data, "samples": samples, "model": model})

    def with_strategy(self, strategy: Strategy) -> Recipe:
        """This recipe with the stages, adapter and conditioning of `strategy`.

        Raises:
            InvalidInputError: The recipe lacks the settings of a stage that the strategy has.
        """
        given: dict[str, StageSpec] = {stage.stage: stage for stage in self.stages}
        if "joint" in strategy.stages and "joint" not in given and "temporal" in given:
            given["joint"] = _joint_of(given["temporal"], given.get("adapter"))
        missing = [name for name in strategy.stages if name not in given]
        if missing:
            raise InvalidInputError(
                f"strategy {strategy.name!r} needs the stage {missing[0]!r}; "
                f"recipe {self.name!r} has {', '.join(given)}"
            )
        before = [s for s in self.stages if s.stage in ("autoencoder", "clip", "words", "base")]
        own = [given[name] for name in strategy.stages]
        stages = [*before, *own, *(s for s in self.stages if s.stage == "decoder")]
        of_stages = {name for stage in own for name in (stage.pictures, stage.clips) if name}
        shown = set().union(*(self.members_of(name) for name in of_stages))
        changes: dict[str, Any] = {"captions": strategy.captions, "references": strategy.references}
        if strategy.cross_reference_ratio is not None:
            changes["cross_reference_ratio"] = strategy.cross_reference_ratio
        data = {
            name: source.model_copy(update=changes)
            if name in shown and not isinstance(source, MixSpec) and source.references != "none"
            else source
            for name, source in self.data.items()
        }
        adapter = {**self.adapter, **strategy.adapter}
        return self.model_copy(update={"stages": stages, "data": data, "adapter": adapter})


def _joint_of(temporal: StageSpec, adapter: StageSpec | None) -> StageSpec:
    """The joint stage on the mix of stage 2; the adapter is trained as its own stage does it."""
    weight = 0.0 if adapter is None else adapter.options.get("scale_penalty", 0.0)
    options = {**temporal.options, **({"scale_penalty": weight} if weight else {})}
    return temporal.model_copy(update={"stage": "joint", "name": "joint", "options": options})


def _refuse_unknown(values: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in values:
        if key not in known:
            raise unknown_name(f"key in {where}:", key, known)


def _checked(kind: type[Config], values: dict[str, Any], where: str) -> Config:
    """A configuration of that kind from values of YAML, which knows no tuples and takes 1e-4 for a text."""
    _refuse_unknown(values, tuple(f.name for f in dataclasses.fields(kind)), where)
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(step) for step in problem["loc"]) or where
        raise InvalidInputError(f"{place}: {problem['msg'].removeprefix('Value error, ')}") from error
