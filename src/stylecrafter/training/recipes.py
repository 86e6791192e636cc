"""Recipes: what to train, on what, for how long. Read from YAML, checked before anything is built.

name: my-style
model: {pretrained: mini}            # or {preset: mini}: sizes only, trained from nothing
data:
  mine: {kind: files, path: pictures/, batch_size: 8, references: crop}
stages:
  - {stage: adapter, pictures: mine, train: {steps: 500, learning_rate: 1e-4}}
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator, model_validator

from stylecrafter.adapter.adapter_options import check_options
from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.errors import InvalidInputError
from stylecrafter.media.documents import expand_home
from stylecrafter.presets import load_preset
from stylecrafter.runtime.faults import FaultsError, joined
from stylecrafter.training.model_spec import ModelSpec
from stylecrafter.training.recipe_checks import Outline, faults_between, sources_of
from stylecrafter.training.settings import Frames, Named, SamplingSteps, Seed, Settings
from stylecrafter.training.source_specs import FilesSpec, MixSpec, SourceSpec, placed
from stylecrafter.training.stage_specs import DiffusionSpec, StageSpec
from stylecrafter.training.strategies import Strategy

#: What is asked for in one sample; text encoders read a few hundred characters.
Prompt = Annotated[str, Field(pattern=r"\S", max_length=10_000)]


class SampleSpec(Settings):
    """What the sample sheets show."""

    prompts: Annotated[list[Prompt], Field(min_length=1, max_length=256)]
    styles: Annotated[list[Named], Field(max_length=256)] = []
    """Style pictures, relative to the recipe's folder; none: pictures of StyleWorld's held-out palettes."""
    num_frames: Frames = 1
    seed: Seed = 0
    steps: SamplingSteps | None = None


class Recipe(Settings):
    """A whole training run."""

    name: str = Field(pattern=r"^[\w.-]+$", max_length=100)
    description: str = ""
    seed: Seed = 0
    model: ModelSpec
    adapter: dict[str, Any] = {}
    """Fields of `StyleAdapter` for a new adapter (`extractor_type`, `fusion_type`, `scale_type`, sizes)."""
    data: dict[str, SourceSpec]
    stages: Annotated[list[StageSpec], Field(min_length=1)]
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
    def _parts_fit(self) -> Recipe:
        faults = list(faults_between(self.outline()))
        if faults:
            raise FaultsError(faults)
        return self

    def outline(self) -> Outline:
        """What is checked across the parts."""
        return Outline(
            model=self.model, adapter=self.adapter, data=dict(self.data), stages=list(enumerate(self.stages))
        )

    def standalone(self) -> Recipe:
        """The same recipe with absolute paths, which means the same wherever its file lies."""

        def absolute(name: str) -> str:
            return os.path.abspath(placed(self.folder, name))

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
            key: os.path.abspath(expand_home(name))
            for key in (
                "pretrained",
                "base",
                "base_config",
                "image_encoder",
                "adapter",
                "motion_adapter",
                "warm_start",
            )
            if (name := getattr(self.model, key)) is not None and os.path.exists(expand_home(name))
        }
        model = self.model.model_copy(update=local)
        return self.model_copy(update={"data": data, "samples": samples, "model": model})

    def with_strategy(self, strategy: Strategy) -> Recipe:
        """This recipe with the stages, adapter and conditioning of `strategy`.

        Raises:
            InvalidInputError: The recipe lacks the settings of a stage that the strategy has.
        """
        given: dict[str, list[StageSpec]] = {}
        for stage in self.stages:
            given.setdefault(stage.stage, []).append(stage)
        temporal = given.get("temporal", [None])[-1]
        if "joint" in strategy.stages and "joint" not in given and isinstance(temporal, DiffusionSpec):
            given["joint"] = [_joint_of(temporal, given.get("adapter", [None])[-1])]
        missing = [name for name in strategy.stages if name not in given]
        if missing:
            raise InvalidInputError(
                f"strategy {strategy.name!r} needs the stage {missing[0]!r}; "
                f"recipe {self.name!r} has {', '.join(given)}"
            )
        before = [s for s in self.stages if s.stage in ("autoencoder", "clip", "words", "base")]
        own = [stage for name in strategy.stages for stage in given[name]]
        stages = [*before, *own, *(s for s in self.stages if s.stage == "decoder")]
        shown = sources_of(self.data, own)
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
        changed = self.model_copy(update={"stages": stages, "data": data, "adapter": adapter})
        faults = list(faults_between(changed.outline()))
        if faults:
            raise InvalidInputError(f"recipe {self.name!r} with strategy {strategy.name!r}: {joined(faults)}")
        return changed


def _joint_of(temporal: DiffusionSpec, adapter: StageSpec | None) -> DiffusionSpec:
    """The joint stage on the mix of stage 2; the adapter is trained as its own stage does it."""
    options = temporal.options
    if isinstance(adapter, DiffusionSpec) and adapter.options.scale_penalty:
        options = options.replace(scale_penalty=adapter.options.scale_penalty)
    return temporal.model_copy(update={"stage": "joint", "name": "joint", "options": options})
