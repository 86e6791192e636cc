"""What can be known of a recipe's models before they are loaded: from their configs alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.protocol import Backbone
from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.media.documents import expand_home, is_file, is_folder, shown
from stylecrafter.pipelines.adapters import load_adapter
from stylecrafter.pipelines.fitting import check_widths
from stylecrafter.pipelines.skeleton import Skeleton, read_image_encoder, read_skeleton
from stylecrafter.runtime.faults import Fault
from stylecrafter.training.parts import fresh_adapter, refuse_unread
from stylecrafter.training.recipe_checks import (
    STYLE_STAGES,
    ModelSizes,
    frame_size,
    halvings,
    size_faults,
    sources_of,
)
from stylecrafter.training.recipes import Recipe
from stylecrafter.training.source_specs import FilesSpec, WorldSpec
from stylecrafter.training.stage_specs import TEMPORAL_STAGES, DiffusionSpec, StageSpec
from stylecrafter.weights.card import read_defaults
from stylecrafter.weights.configs import read_config
from stylecrafter.weights.loading import PIPELINES
from stylecrafter.weights.locate import INDEX_NAME, resolve_model


def model_faults(recipe: Recipe, stages: Sequence[StageSpec]) -> Iterator[Fault]:
    """Models that are not there, or do not fit one another, the stages or the data.

    What is on the hub is not looked at, nor what lies in a single file.
    """
    model = recipe.model
    yield from _told(("model", "warm_start"), _warm_start_faults(recipe, stages))
    key = "base" if model.base is not None else "pretrained"
    if model.source is None:
        return
    place = ("model", key)
    try:
        folder = _folder_of(model.source, whole=model.base is None)
        if folder is None:
            return
        motion = None if model.motion_adapter is None else expand_home(model.motion_adapter)
        found = read_skeleton(folder, motion if motion is not None and is_folder(motion) else None)
        encoder = (
            _image_encoder(model.image_encoder) if model.image_encoder is not None else found.image_encoder
        )
    except InvalidInputError as error:
        yield Fault(place, str(error))
        return
    if motion is None or is_folder(motion):
        yield from backbone_faults(recipe, stages, found.backbone, _default_size(folder, found.backbone))
    levels = model.attention_levels
    if levels is not None:
        yield from _told(
            place, _attention_faults(levels, found.backbone.denoiser.config.get("attention_levels"))
        )
    yield from _style_faults(recipe, stages, found, encoder)


def backbone_faults(
    recipe: Recipe, stages: Sequence[StageSpec], backbone: Backbone, size: tuple[int, int] | None
) -> Iterator[Fault]:
    """What the stages, sources and samples ask of a base model that it does not do.

    Args:
        recipe: All of it.
        stages: Those that are still to be trained.
        backbone: The base model; its weights are not read.
        size: Height and width of what it makes, where that is known.
    """
    place = ("model", "base" if recipe.model.base is not None else "pretrained")
    yield from _told(place, _time_faults(recipe, stages, backbone))
    yield from _frame_faults(recipe, stages, backbone, size)


def _told(place: tuple[str, ...], faults: Iterator[str]) -> Iterator[Fault]:
    """Texts as faults of a place; what cannot be read is one of them."""
    try:
        yield from (Fault(place, what) for what in faults)
    except InvalidInputError as error:
        yield Fault(place, str(error))


def _folder_of(name: str, *, whole: bool) -> Path | None:
    """Where a model lies; None for a file, and for what is on the hub.

    Raises:
        InvalidInputError: There is none, or one that is a whole model where a base is wanted.
    """
    if not whole and is_file(expand_home(name)):
        return None
    found = resolve_model(name)
    if not is_folder(found):
        return None
    kind = read_config(Path(found) / INDEX_NAME).get("_class_name")
    if whole != (kind in PIPELINES):
        other = "base" if whole else "pretrained"
        what = "a base model" if whole else "a whole model"
        raise CheckpointError(f"{shown(name)} is {what} ({kind}): give it as model.{other}")
    return Path(found)


def _image_encoder(name: str) -> Any:
    path = expand_home(name)
    return read_image_encoder(path) if is_folder(path) else None


def _warm_start_faults(recipe: Recipe, stages: Sequence[StageSpec]) -> Iterator[str]:
    name, preset = recipe.model.warm_start, recipe.model.preset
    folder = None if name is None else resolve_model(name)
    if folder is None or preset is None or not is_folder(folder):
        return
    if not any(stage.stage == "base" for stage in stages):
        return
    own, other = ModelSizes.of_preset(preset).vae_multiple, halvings(Path(folder) / "vae")
    if own != other:
        yield f"its autoencoder reduces pictures by {other}, that of the preset by {own}: a base cannot start from it"


def _time_faults(recipe: Recipe, stages: Sequence[StageSpec], backbone: Backbone) -> Iterator[str]:
    """What a model without layers between frames can neither learn nor draw, and others not by these means."""
    temporal = [stage for stage in stages if stage.stage in TEMPORAL_STAGES]
    for stage in temporal:
        given = "lora_rank" in stage.options.model_fields_set
        if given and backbone.has_time and not backbone.low_rank_time:
            yield (
                f"{backbone.label} trains whole temporal layers; leave options.lora_rank of stage {stage.name!r} out"
            )
    if backbone.has_time:
        return
    if temporal:
        yield "makes images: it has no temporal layers, which stages 'temporal' and 'joint' train"
    for stage in stages:
        if stage.clips is not None and stage not in temporal:
            yield f"makes images: stage {stage.name!r} cannot show it clips ({stage.clips}); leave them out"
    if recipe.samples is not None and recipe.samples.num_frames > 1:
        yield f"makes images: samples.num_frames must be 1, got {recipe.samples.num_frames}"


def _attention_faults(levels: Sequence[bool], had: object) -> Iterator[str]:
    if not isinstance(had, (list, tuple)):
        yield "has no attention_levels to add to; they are VideoCrafter's"
        return
    if len(levels) != len(had) or any(
        before and not after for before, after in zip(had, levels, strict=False)
    ):
        yield (
            f"has attention_levels {list(had)}, to which attention can be added and from which it cannot be taken, "
            f"got {list(levels)}"
        )


def _style_faults(
    recipe: Recipe, stages: Sequence[StageSpec], found: Skeleton, encoder: Any
) -> Iterator[Fault]:
    """An image encoder or an adapter that is missing, or does not go with the model."""
    model = recipe.model
    place = "base" if model.base is not None else "pretrained"
    learned = any(stage.stage in STYLE_STAGES for stage in stages)
    if encoder is None and model.image_encoder is None:
        yield Fault(
            ("model", "image_encoder"),
            "the model has none, which reads the style references of training: name a CLIP image tower",
        )
        return
    if encoder is None:
        return
    if model.adapter is not None:
        yield from _told(("model", "adapter"), _adapter_faults(model.adapter, found.backbone, encoder))
    elif model.is_adapter_fresh(recipe.adapter):
        options: Any = dict(recipe.adapter)
        if found.style_adapter is not None:
            options = {**found.style_adapter.options, **options}
        try:
            with torch.device("meta"):
                fresh_adapter(found.backbone, encoder, options)
        except InvalidInputError as error:
            yield Fault(("model", place), f"takes no adapter of these options: {error}")
    elif found.style_adapter is None and learned:
        yield Fault(("model", place), "has no style adapter to go on with; set model.new_adapter: true")


def _adapter_faults(name: str, backbone: Backbone, encoder: Any) -> Iterator[str]:
    """An adapter of another base model; adapters are small beside it, so that this one is read."""
    path = expand_home(name)
    if not is_file(path) and not is_folder(path):
        return
    adapter: StyleAdapter = load_adapter(path)
    refuse_unread(adapter)
    check_widths(backbone, encoder, adapter)
    adapter.attach(backbone.denoiser)
    yield from ()


def _default_size(folder: Path, backbone: Backbone) -> tuple[int, int] | None:
    """Height and width of what a model makes, where it says so."""
    values: dict[str, Any] = read_defaults(folder)
    if "default_height" not in values and backbone.pipelines:
        values = {f"default_{key}": value for key, value in backbone.default_knobs().items()}
    height, width = values.get("default_height"), values.get("default_width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _frame_faults(
    recipe: Recipe, stages: Sequence[StageSpec], backbone: Backbone, size: tuple[int, int] | None
) -> Iterator[Fault]:
    """Sources at sizes, and clips of lengths, that the model does not take."""
    if size is None:
        return
    sizes = ModelSizes(size, backbone.pixels_per_latent, backbone.size_multiple, 0, backbone.text_dim)
    yield from size_faults(recipe.outline(), sizes)
    for name in sources_of(recipe.data, [stage for stage in stages if isinstance(stage, DiffusionSpec)]):
        spec = recipe.data[name]
        if not isinstance(spec, (WorldSpec, FilesSpec)) or (spec.num_frames > 1 and not backbone.has_time):
            continue
        yield from _told(
            ("data", name, "num_frames"), _length_faults(spec.num_frames, backbone, frame_size(spec, size))
        )
    if recipe.samples is not None and backbone.has_time:
        place = ("samples", "num_frames")
        yield from _told(place, _length_faults(recipe.samples.num_frames, backbone, size))


def _length_faults(frames: int, backbone: Backbone, size: tuple[int, int]) -> Iterator[str]:
    backbone.latent_shape(frames, *size)
    yield from ()
