"""The model that is asked for: where its parts lie, and what can be known of it before it is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylecrafter.backbones.videocrafter_fast import VIDEOCRAFTER_FAST
from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.media.documents import expand_home, is_file, is_folder, shown
from stylecrafter.pipelines.fast import FAST_NAME, fast_knobs
from stylecrafter.weights.card import read_defaults, size_multiple
from stylecrafter.weights.configs import read_config
from stylecrafter.weights.folders import OWN_PIPELINES
from stylecrafter.weights.locate import (
    INDEX_NAME,
    fetch_configs,
    fetch_model,
    fetch_part,
    parts_hash,
    resolve_model,
)

if TYPE_CHECKING:
    import torch

    from stylecrafter.pipelines.sampling_params import SamplingParams
    from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline

#: What may stand beside a model -> the option that names it.
PART_OPTIONS = {
    "adapter": "--adapter",
    "image_encoder": "--image-encoder",
    "motion_adapter": "--motion-adapter",
    "base_config": "--config",
}


@dataclass(frozen=True)
class Part:
    """Something beside the model: the name that a user gave it, and where it lies here."""

    name: str
    path: Path

    @cached_property
    def sha256(self) -> str:
        """Of the file, or of all weights in the folder."""
        return parts_hash(self.path)


@dataclass(frozen=True, eq=False)
class ModelFacts:
    """What can be known of a model before it is loaded.

    Attributes:
        name: As the user gave it.
        folder: Where its configs lie; its weights too, but for those of a hub id or a single file.
        scheduler: Class name of the one it was saved with.
        reads_pictures: Whether it has all it takes to read style pictures.
        defaults: Numbers of its `model_index.json`, or of its family.
        file: The single file that holds its weights.
        parts: What stands beside it, by the names of `PART_OPTIONS`.
        outline: The pipeline without memory for its weights, which answers what no config says; None for a model of
            VideoCrafter's kind, whose configs say all.
    """

    name: str
    folder: Path
    size_multiple: int
    scheduler: str
    reads_pictures: bool
    defaults: dict[str, Any]
    file: Path | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)
    outline: StyleCrafterPipeline | None = None

    def default(self, name: str, without: float | None = None) -> float:
        """A number that the model was made for, such as "frames"; `without` where its folder does not say.

        Raises:
            CheckpointError: It does not, and has to; or what it says is no number.
        """
        value = self.defaults.get(f"default_{name}", without)
        if not isinstance(value, (int, float)):
            raise CheckpointError(f"{self.folder}: its {INDEX_NAME} has no number default_{name}.")
        return value

    @property
    def is_base(self) -> bool:
        """Whether it is a base model as others made it, and no whole model of ours."""
        return self.file is not None or not _is_ours(self.folder)

    @property
    def weights(self) -> Path:
        """Where its weights lie; those of a hub id are fetched.

        Raises:
            CheckpointError: The hub cannot be reached, or has not all of them.
        """
        if self.file is not None:
            return self.file
        if self.is_base and not is_folder(expand_home(self.name)):
            from stylecrafter.pipelines.from_base import fetch_base

            return fetch_base(self.name)
        return self.folder

    @property
    def files(self) -> list[Path]:
        """All of it that is a single file."""
        places = [
            self.folder if self.file is None else self.file,
            *(part.path for part in self.parts.values()),
        ]
        return [place for place in places if is_file(place)]

    @property
    def folders(self) -> list[Path]:
        """All of it that is a folder."""
        return [place for place in (self.folder, *(p.path for p in self.parts.values())) if is_folder(place)]

    @property
    def part_hashes(self) -> dict[str, str]:
        """sha256 of what stands beside it, by the names of `PART_OPTIONS`."""
        return {kind: part.sha256 for kind, part in self.parts.items()}

    def load(self, dtype: torch.dtype) -> StyleCrafterPipeline:
        """The pipeline with its weights.

        Raises:
            CheckpointError: Files that are missing, broken, or not what they should be.
        """
        from stylecrafter.pipelines.loading import load_around, load_pipeline

        if self.outline is None:
            return load_pipeline(self.folder, dtype)
        parts = {kind: part.path for kind, part in self.parts.items()}
        return load_around(self.weights, dtype, is_base=self.is_base, **parts)

    @property
    def label(self) -> str:
        """What its kind is called."""
        return "VideoCrafter" if self.outline is None else self.outline.backbone.label

    @property
    def fast(self) -> Mapping[str, Any]:
        """Knobs of its fast mode.

        Raises:
            CheckpointError: Its folder names some that cannot be.
        """
        if self.outline is None:
            base, own = VIDEOCRAFTER_FAST, read_config(self.folder / INDEX_NAME).get(FAST_NAME)
        else:
            base, own = self.outline.backbone.fast, self.outline.config.get(FAST_NAME)
        try:
            return fast_knobs(base, own)
        except InvalidInputError as error:
            raise CheckpointError(f"{self.folder}: of {FAST_NAME} in its {INDEX_NAME}, {error}") from error

    @property
    def suffix(self) -> str:
        """Of a file where none is named: of a picture for models that make no clips."""
        return ".mp4" if self.outline is None or self.outline.backbone.has_time else ".png"

    def check_styles(self) -> None:
        """Refuse style pictures where something is missing that reads them.

        Raises:
            CheckpointError: The message says what.
        """
        if self.reads_pictures:
            return
        if self.outline is None or not self.is_base:
            raise CheckpointError(
                f"model {self.name!r} cannot read style pictures: it has no image encoder or no style adapter "
                "(convert it with its OpenCLIP checkpoint and its adapter)."
            )
        if self.outline.style_adapter is None:
            raise CheckpointError(
                f"{self.name} is a base model ({self.label}) without a style adapter: name one with --adapter, and the "
                "image encoder that it reads pictures with with --image-encoder."
            )
        width = self.outline.style_adapter.config["image_dim"]
        raise CheckpointError(
            f"nothing reads pictures for the adapter: name an image encoder that gives width {width} with "
            "--image-encoder."
        )

    def check_reuse(self, params: SamplingParams) -> None:
        """Refuse to leave out blocks that its base model does not have, before it is loaded.

        Raises:
            InvalidInputError: See `StepReuse.of`.
        """
        asked: Any = params
        if asked.reuse_every == 1 and asked.skip_threshold == 0:
            return
        import torch

        from stylecrafter.pipelines.step_reuse import StepReuse

        StepReuse.of(self.outlined(torch.float32).backbone, params)

    def check_clip(
        self, suffix: str, frames: int, width: int, height: int, *, filled_up: bool = False
    ) -> None:
        """Refuse a clip that the model cannot make; with `filled_up`, its last latent frame may be full in part.

        Raises:
            InvalidInputError: Frames or a format of clips from a model of images, or a number of frames in between.
        """
        from stylecrafter.pipelines.windows import padded_frames

        if self.outline is None:
            return
        backbone = self.outline.backbone
        if not backbone.has_time and (frames > 1 or suffix == ".mp4"):
            raise InvalidInputError(
                f"{self.name} is {backbone.label}, which makes pictures: name a .png{_and(backbone.for_clips)}."
            )
        backbone.latent_shape(padded_frames(backbone, frames) if filled_up else frames, height, width)

    def outlined(self, dtype: torch.dtype) -> StyleCrafterPipeline:
        """The pipeline without memory for its weights, in a number format.

        Raises:
            InvalidInputError: See `skeleton.outline`.
        """
        if self.outline is not None and self.outline.dtype == dtype:
            return self.outline
        return _outline(self.folder, self.parts, dtype)


def look_up_model(name: str | os.PathLike[str], **parts: str | None) -> ModelFacts:
    """Find a model and what stands beside it, and read the configs; what is on the hub is fetched, but for the weights
    of base models.

    Args:
        name: An embedded model, a folder, a hub id, or a single file of a base model.
        **parts: By the names of `PART_OPTIONS`; None is not given.

    Raises:
        InvalidInputError: There is no such model or part, or they do not go together.
    """
    text = os.fspath(name)
    found = {kind: Part(given, fetch_part(given, kind)) for kind, given in parts.items() if given is not None}
    file = _single_file(text)
    config = found.get("base_config")
    if config is not None and file is None:
        raise InvalidInputError(f"--config goes with a model in a single file, and {shown(text)} is none.")
    if file is None:
        folder = Path(place) if is_folder(place := resolve_model(text)) else fetch_configs(place)
        if _is_ours(folder):
            folder = fetch_model(text)
    else:
        folder = config.path if config is not None else _configs_for(file)
    if not found and _is_ours(folder) and _of_videocrafter(folder):
        return _from_configs(text, folder)
    import torch

    outline = _outline(folder, found, torch.float32)
    return ModelFacts(
        name=text,
        folder=folder,
        size_multiple=outline.size_multiple,
        scheduler=type(outline.scheduler).__name__,
        reads_pictures=None not in (outline.image_encoder, outline.style_adapter),
        defaults={key: value for key, value in outline.config.items() if key.startswith("default_")},
        file=file,
        parts=found,
        outline=outline,
    )


def _from_configs(name: str, folder: Path) -> ModelFacts:
    index = read_config(folder / INDEX_NAME)

    def class_of(part: str) -> str | None:
        entry = index.get(part)
        return entry[1] if isinstance(entry, list) and len(entry) == 2 else None

    return ModelFacts(
        name=name,
        folder=folder,
        size_multiple=size_multiple(folder),
        scheduler=class_of("scheduler") or "unknown",
        reads_pictures=None not in (class_of("image_encoder"), class_of("style_adapter")),
        defaults=read_defaults(folder),
    )


def _outline(folder: Path, parts: Mapping[str, Part], dtype: torch.dtype) -> StyleCrafterPipeline:
    from stylecrafter.pipelines.loading import quiet_libraries
    from stylecrafter.pipelines.skeleton import outline

    quiet_libraries()
    places = {kind: part.path for kind, part in parts.items() if kind != "base_config"}
    return outline(folder, dtype, **places)


def _is_ours(folder: Path) -> bool:
    return read_config(folder / INDEX_NAME, required=True).get("_class_name") in OWN_PIPELINES


def _of_videocrafter(folder: Path) -> bool:
    """Whether the denoiser is a class of this package: the configs of such a folder say all there is to know."""
    entry = read_config(folder / INDEX_NAME).get("unet")
    # Saved models of ours name every component; a transformer stands where the UNet is null.
    return not (isinstance(entry, list) and entry[:1] in (["diffusers"], [None])) and entry is not None


def _single_file(text: str) -> Path | None:
    """The checkpoint of that name, if it is one."""
    from stylecrafter.media.recognise import recognise_file
    from stylecrafter.weights.headers import SAFETENSORS, TORCH

    path = Path(expand_home(text))
    return path if is_file(path) and recognise_file(path) in (SAFETENSORS, *TORCH) else None


def _configs_for(file: Path) -> Path:
    """Configs of the published model that a single file is a version of, from the hub or its cache."""
    from stylecrafter.pipelines.single_file import published_configs

    repo = published_configs(file)
    try:
        return fetch_configs(repo)
    except CheckpointError as error:
        raise CheckpointError(
            f"{shown(file)} is one file without configs, and those of {repo} are not to be had: name the folder or hub "
            f"id of a model of its kind with --config ({error})"
        ) from error


def _and(text: str) -> str:
    return f"; {text}" if text else ""
