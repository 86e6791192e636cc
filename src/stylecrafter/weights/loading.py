"""Loading a model folder with one clear line when it cannot be loaded."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Collection
from importlib import import_module
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import torch
from torch import nn

from stylecrafter.errors import CheckpointError
from stylecrafter.media.documents import is_folder, shown
from stylecrafter.weights.folders import (
    OPTIONAL,
    OWN_PIPELINES,
    check_index,
    check_scheduler_config,
    check_tokenizer_files,
)
from stylecrafter.weights.strict import examine, refusing
from stylecrafter.weights.towers import CLIP_TOWERS, dtype_alone, filled_tower

Pipeline = TypeVar("Pipeline")
Model = TypeVar("Model", bound=nn.Module)

#: What says where on the hub something lies and how it comes here.
_HUB_OPTIONS = ("revision", "token", "cache_dir", "local_files_only", "force_download")
#: Parts without weights -> what looks at their files before a library does.
_SMALL = {
    "scheduler": check_scheduler_config,
    "tokenizer": check_tokenizer_files,
    "tokenizer_2": check_tokenizer_files,
}


def load_folder(
    folder: Path,
    load: Callable[..., Pipeline],
    pipeline: str,
    options: dict[str, Any],
    optional: Collection[str] = OPTIONAL,
) -> Pipeline:
    """Load a pipeline so that every part of it is what the folder holds.

    Args:
        folder: The model folder.
        load: diffusers' loader; gets the folder and `options`.
        pipeline: Class name of what is loaded, allowed in the folder beside the known ones.
        options: As the caller gave them; parts among them are not loaded.
        optional: Parts that need not be there.

    Raises:
        CheckpointError: A part that is missing, broken, of an unknown class, or not filled from its files.
    """
    parts = check_index(folder, set(options), {*OWN_PIPELINES, pipeline}, optional)
    small = {}
    for name, check in _SMALL.items():
        if name in parts:
            check(folder / name)
            library, kind = parts.pop(name)
            with refusing(f"the {name} in {folder / name} cannot be loaded"):
                small[name] = getattr(import_module(library), kind).from_pretrained(folder / name)
    if "scheduler" in small:
        _try_scheduler(small["scheduler"], folder / "scheduler")
    held = {}
    dtype = dtype_alone(options)
    for name, (library, kind) in parts.items():
        if library == "stylecrafter":
            continue  # our models see to it themselves
        made_of = getattr(import_module(library), kind)
        held[name] = examine(
            folder / name,
            made_of,
            variant=_variant_of(folder / name, options.get("variant")),
            use_safetensors=options.get("use_safetensors"),
        )
        # The libraries remember other names, to save the tensors by those again.
        if kind in CLIP_TOWERS and dtype is not None and not held[name].renamed:
            with refusing(f"{held[name].what} cannot be loaded"):
                small[name] = filled_tower(made_of, folder / name, held[name].tensors, dtype)
    with refusing(f"{folder} is not a model that can be loaded"):
        pipe = load(str(folder), **options, **small)
    for name, tensors in held.items():
        tensors.verify(getattr(pipe, name))
    return pipe


class StrictWeights:
    """Mixin in front of diffusers' `ModelMixin`: loading fills every tensor from the files, or is an error."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str] | None, **kwargs: Any
    ) -> Self:
        """Load a model from a folder or hub id, as diffusers' `from_pretrained`.

        Raises:
            CheckpointError: No such model, or tensors that are missing, unknown, misshapen or not finite.
        """
        kind: Any = cls
        loader = super().from_pretrained  # type: ignore[misc]
        return cast("Self", load_model(kind, pretrained_model_name_or_path, loader, **kwargs))


def load_model(
    kind: type[Model],
    source: str | os.PathLike[str] | None,
    load: Callable[..., Model] | None = None,
    *,
    beside: str = "",
    **options: Any,
) -> Model:
    """Load a single model so that it is what its files hold.

    Args:
        kind: Its class, of diffusers or transformers.
        source: A folder or hub id.
        load: What loads it; None: its `from_pretrained`. Gets the folder and `options`.
        beside: Regular expression of tensors that may lie in the files for other models.
        **options: As `from_pretrained` takes them, `subfolder` among them.

    Raises:
        CheckpointError: No such model, or tensors that are missing, unknown, misshapen or not finite.
    """
    folder = local_folder(source, options)
    choice = {name: options.get(name) for name in ("variant", "use_safetensors")}
    held = examine(folder, kind, **choice, beside=beside)
    with refusing(f"{held.what} cannot be loaded"):
        loaded = (load or kind.from_pretrained)(str(folder), **options)  # type: ignore[attr-defined]
    # With `output_loading_info` it is a pair.
    held.verify(loaded[0] if isinstance(loaded, tuple) else loaded)
    return loaded


def local_folder(source: str | os.PathLike[str] | None, options: dict[str, Any]) -> Path:
    """The folder of a single model; a hub id is fetched. Takes `subfolder` out of the options."""
    inside = options.pop("subfolder", None) or ""
    text = os.fspath(source) if source is not None else ""
    if is_folder(text):
        return Path(text, inside)
    if not text or Path(text).is_absolute() or text.startswith((".", "~")):
        raise CheckpointError(f"there is no folder {shown(text)!r} to load from.")
    from huggingface_hub import snapshot_download

    hub = {name: options[name] for name in _HUB_OPTIONS if options.get(name) is not None}
    wanted = [f"{inside}/{name}" if inside else name for name in ("*.json", "*.safetensors", "*.bin")]
    with refusing(f"{shown(text)!r} is no folder here, and could not be fetched from the hub"):
        return Path(snapshot_download(text, allow_patterns=wanted, **hub), inside)


def _variant_of(folder: Path, variant: str | None) -> str | None:
    """The variant where a part has it: pipelines are loaded with the plain files of those that have not."""
    if variant is None or not any(f".{variant}" in name for name in os.listdir(folder)):
        return None
    return variant


def _try_scheduler(scheduler: Any, folder: Path) -> None:
    """Take a step: options that go together badly are met in here, not after minutes."""
    tried = copy.deepcopy(scheduler)
    with refusing(f"{folder}: this scheduler cannot take a step"), torch.device("cpu"):
        latents = torch.zeros(1, 1, 1, 8, 8)
        tried.set_timesteps(2)
        time = tried.timesteps[0]
        # Those of flows scale nothing.
        scaled = getattr(tried, "scale_model_input", lambda sample, _: sample)(latents, time)
        tried.step(scaled, time, latents)
