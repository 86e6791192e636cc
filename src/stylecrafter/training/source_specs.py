"""What a recipe says of its data: StyleWorld, files of one's own, and mixes of these."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from stylecrafter.data.captions import read_recipe_captions
from stylecrafter.data.mixing import whole_shares
from stylecrafter.errors import unknown_name
from stylecrafter.media.documents import expand_home
from stylecrafter.runtime.faults import Fault, FaultsError
from stylecrafter.styleworld import splits
from stylecrafter.styleworld.world import check_span
from stylecrafter.training.settings import Count, Frames, Named, Positive, Ratio, Settings, Side, StepsOrNone


class WorldSpec(Settings):
    """Pictures or clips of StyleWorld (`data.world.WorldSource`)."""

    kind: Literal["styleworld"]
    vocabulary: Literal["small", "medium", "full", "held-out"] = "small"
    batch_size: Count
    num_frames: Frames = 1
    size: Annotated[Side, Field(ge=16)] | None = None
    """Height and width; default: the model's."""
    styled_ratio: Ratio = 1.0
    coloured_ratio: Ratio = 0.0
    """Part whose object has a colour of its own, named in the caption, whatever the style."""
    styles_per_content: Count = 1
    motions_per_content: Count = 1
    span: tuple[Ratio, Ratio] = (0.0, 1.0)
    """Part of the motion that is shown; pictures at [1, 1] show where it ends, and their captions name it."""
    motions: tuple[str, ...] = ()
    """Motions to draw in place of all of the vocabulary's; one that is named twice comes twice as often."""
    captions: Annotated[Literal["decouple", "keep"], BeforeValidator(read_recipe_captions)] = "decouple"
    unnamed_style_ratio: Ratio = 0.0
    references: Literal["none", "crop", "whole"] = "none"
    cross_reference_ratio: Ratio = 0.0

    @field_validator("span")
    @classmethod
    def _span_is_in_order(cls, span: tuple[float, float]) -> tuple[float, float]:
        check_span(span)
        return span

    @model_validator(mode="after")
    def _fields_fit(self) -> WorldSpec:
        known = splits.find_vocabulary(self.vocabulary).motions
        faults = [
            Fault(
                ("motions",), str(unknown_name(f"motion of the vocabulary {self.vocabulary!r}:", name, known))
            )
            for name in self.motions
            if name not in known
        ]
        _refuse([*faults, *_crossed_for_nothing(self)])
        return self


class FilesSpec(Settings):
    """Your own pictures or clips: a folder, a manifest, or tar shards (`data.loaders.FileSource`)."""

    kind: Literal["files"]
    path: Named
    """Relative to the recipe's own folder; a leading ~ is the home folder."""
    batch_size: Count
    num_frames: Frames = 1
    size: Side | None = None
    """Height and width; default: the model's."""
    height: Side | None = None
    width: Side | None = None
    """Other sides than `size`."""
    captions: Annotated[Literal["decouple", "published", "keep"], BeforeValidator(read_recipe_captions)] = (
        "decouple"
    )
    """Without their style words, by our cleaning or by the three patterns of the published code; or as they are."""
    references: Literal["none", "crop", "whole"] = "none"
    cross_reference_ratio: Ratio = 0.0
    stride: Count = 1
    """Every how many frames of a clip one is taken."""
    fps: Annotated[Positive, Field(le=1000)] | None = None
    """Frames per second to take instead of a stride."""
    missing_captions: Literal["skip", "empty"] = "skip"
    style_groups: Literal["named", "folders", "one"] = "named"
    """Which share their style, for cross references: those with the same style_group; those in one subfolder too; or
    all of them, as in pictures by one hand."""
    workers: Annotated[StepsOrNone, Field(le=256)] = 0
    """Processes that read ahead."""

    @model_validator(mode="after")
    def _fields_fit(self) -> FilesSpec:
        faults = _crossed_for_nothing(self)
        if self.fps is not None and self.stride != 1:
            faults.append(
                Fault(("fps",), f"give a stride or fps, not both (got {self.stride} and {self.fps:g})")
            )
        elif self.num_frames == 1 and (self.stride != 1 or self.fps is not None):
            given = "stride" if self.fps is None else "fps"
            faults.append(Fault((given,), "is for clips, and num_frames is 1: pictures have one frame"))
        _refuse(faults)
        return self


class MixSpec(Settings):
    """Several sources, mixed by weights."""

    kind: Literal["mix"]
    of: Annotated[dict[str, Positive], Field(min_length=1)]
    """Name of another source -> weight."""
    batch_size: Count
    unit: Literal["rows", "steps"] = "rows"
    """Whether every batch is mixed, or whole batches alternate, in which groups of rows stay together."""

    @field_validator("of")
    @classmethod
    def _weights_have_a_cycle(cls, of: dict[str, float]) -> dict[str, float]:
        whole_shares(list(of.values()))
        return of


SourceSpec = Annotated[WorldSpec | FilesSpec | MixSpec, Field(discriminator="kind")]


def placed(folder: Path, path: str) -> str:
    """A path of a recipe whose file lies in `folder`: a leading ~ is the home folder, nothing else is replaced."""
    return os.path.join(folder, expand_home(path)) if path.startswith("~") else os.path.join(folder, path)


def _crossed_for_nothing(spec: WorldSpec | FilesSpec) -> list[Fault]:
    if spec.cross_reference_ratio and spec.references == "none":
        return [Fault(("cross_reference_ratio",), "needs references: crop or whole, and these are none")]
    return []


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise FaultsError(faults)
