"""What can be known of a recipe's models before they are loaded: from their configs alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from stylecrafter.backbones.protocol import Backbone
from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.media.documents import expand_home, is_file, is_folder, shown
from stylecrafter.pipelines.adapters import outline_adapter
from stylecrafter.pipelines.loading import quiet_libraries
from stylecrafter.pipelines.skeleton import outline, outline_image_encoder
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
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
from stylecrafter.weights.configs import read_config
from stylecrafter.weights.folders import INDEX_NAME, OWN_PIPELINES
from stylecrafter.weights.locate import resolve_model


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
        motion = _local(model.motion_adapter)
        quiet_libraries()
        pipe = outline(folder, motion_adapter=motion)
    except InvalidInputError as error:
        yield Fault(place, str(error))
        return
    backbone = pipe.backbone
    if model.motion_adapter is None or motion is not None:
        yield from backbone_faults(recipe, stages, backbone, default_size(pipe))
    if model.attention_levels is not None:
        had = backbone.denoiser.config.get("attention_levels")
        yield from _told(place, _attention_faults(model.attention_levels, had))
    yield from _style_faults(recipe, stages, pipe)


def default_size(pipe: StyleCrafterPipeline) -> tuple[int, int]:
    """Height and width of what a pipeline makes where nothing is asked for."""
    return int(pipe.config.default_height), int(pipe.config.default_width)


def backbone_faults(
    recipe: Recipe, stages: Sequence[StageSpec], backbone: Backbone, size: tuple[int, int]
) -> Iterator[Fault]:
    """What the stages, sources and samples ask of a base model that it does not do.

    Args:
        recipe: All of it.
        stages: Those that are still to be trained.
        backbone: The base model; its weights are not read.
        size: Height and width of what it makes.
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
    if whole != (kind in OWN_PIPELINES):
        other = "base" if whole else "pretrained"
        what = "a base model" if whole else "a whole model"
        raise CheckpointError(f"{shown(name)} is {what} ({kind}): give it as model.{other}")
    return Path(found)


def _local(name: str | None) -> Path | None:
    """A file or folder that is here; None for what is on the hub."""
    path = None if name is None else expand_home(name)
    return path if path is not None and (is_folder(path) or is_file(path)) else None


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


def _style_faults(recipe: Recipe, stages: Sequence[StageSpec], pipe: StyleCrafterPipeline) -> Iterator[Fault]:
    """An image encoder or an adapter that is missing, or does not go with the model."""
    model = recipe.model
    place = ("model", "base" if model.base is not None else "pretrained")
    if model.image_encoder is not None:
        path = _local(model.image_encoder)
        if path is None:
            return
        try:
            pipe.register_modules(image_encoder=outline_image_encoder(path))
        except InvalidInputError as error:
            yield Fault(("model", "image_encoder"), str(error))
            return
    if pipe.image_encoder is None:
        yield Fault(
            ("model", "image_encoder"),
            "the model has none, which reads the style references of training: name a CLIP image tower",
        )
    elif model.adapter is not None:
        yield from _told(("model", "adapter"), _adapter_faults(model.adapter, pipe))
    elif model.is_adapter_fresh(recipe.adapter):
        yield from _told(place, _fresh_faults(recipe.adapter, pipe))
    elif pipe.style_adapter is None and any(stage.stage in STYLE_STAGES for stage in stages):
        yield Fault(place, "has no style adapter to go on with; set model.new_adapter: true")


def _adapter_faults(name: str, pipe: StyleCrafterPipeline) -> Iterator[str]:
    path = _local(name)
    if path is not None:
        adapter = outline_adapter(path)
        refuse_unread(adapter)
        pipe.load_adapter(adapter)
    yield from ()


def _fresh_faults(options: Mapping[str, Any], pipe: StyleCrafterPipeline) -> Iterator[str]:
    whole: Any = dict(options)
    if pipe.style_adapter is not None:
        whole = {**pipe.style_adapter.options, **options}
        pipe.unload_adapter()
    try:
        with torch.device("meta"):
            fresh_adapter(pipe.backbone, pipe.image_encoder, whole)
    except InvalidInputError as error:
        yield f"takes no adapter of these options: {error}"


def _frame_faults(
    recipe: Recipe, stages: Sequence[StageSpec], backbone: Backbone, size: tuple[int, int]
) -> Iterator[Fault]:
    """Sources at sizes, and clips of lengths, that the model does not take."""
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
    most = backbone.frames_at_once
    if most is not None and frames > most:
        yield f"this {backbone.label} model sees at most {most} frames at once, got {frames}"
