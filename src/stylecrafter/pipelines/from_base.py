"""From a base model that one has to the components of our pipeline."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import ControlNetModel, DiffusionPipeline
from transformers import CLIPVisionModel, CLIPVisionModelWithProjection

from stylecrafter.backbones.families import COMPONENTS, SETTINGS, families
from stylecrafter.backbones.protocol import Backbone
from stylecrafter.errors import CheckpointError, InvalidInputError, unknown_name
from stylecrafter.media.documents import expand_home, is_file, is_folder, shown
from stylecrafter.pipelines.official import build_image_encoder
from stylecrafter.pipelines.single_file import open_single_file
from stylecrafter.weights.configs import read_config
from stylecrafter.weights.folders import INDEX_NAME, OUTSIDE, OWN_PIPELINES, PARTS, weight_files
from stylecrafter.weights.formats.checkpoint_files import read_checkpoint, tensors_only
from stylecrafter.weights.loading import load_folder, load_model, local_folder
from stylecrafter.weights.strict import refusing

#: Attention heads of ViT-H's image tower, which shapes do not tell.
OPENCLIP_HEADS = 16
#: What lies beside the image tower in the files of a whole CLIP.
_TEXT_TOWER = r"(text_model\.|text_projection\.).+|logit_scale"


#: What diffusers' loaders take that says where files come from and which.
_LOADER_OPTIONS = (
    "variant",
    "revision",
    "token",
    "proxies",
    "cache_dir",
    "local_files_only",
    "force_download",
    "use_safetensors",
    "low_cpu_mem_usage",
    "disable_mmap",
    "device_map",
    "quantization_config",
)


def open_base(
    source: str | os.PathLike[str],
    *,
    dtype: torch.dtype = torch.float32,
    config: str | os.PathLike[str] | None = None,
    controlnet: Any = None,
    **options: Any,
) -> Any:
    """Load the diffusers pipeline of a base model, so that every part of it is what the files hold.

    Args:
        source: A folder in the diffusers layout, a hub id, or a single file (`.safetensors`, `.ckpt`).
        dtype: Of its weights.
        config: Of a single file: folder or hub id of a model whose configs, tokenizers and scheduler it shares; None:
            the hub's own for such a file.
        controlnet: A `ControlNetModel`, or the folder or hub id of one, to go with it.
        **options: Go to diffusers' loader (`variant`, `revision`, `token` …).

    Raises:
        InvalidInputError: No place of one.
        UnknownNameError: An option that no loader has; diffusers would only warn of it.
        CheckpointError: It is no base model that is known, or files are missing, broken or not filled.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise InvalidInputError(
            f"a base model is a diffusers pipeline, or where one lies, got {type(source).__name__}; {known_bases()}"
        )
    known = {"adapter", "motion_adapter", "config", "dtype", *COMPONENTS, *OUTSIDE, *_LOADER_OPTIONS}
    for name in options:
        if name not in known:
            raise unknown_name("argument of from_base", name, sorted(known))
    place = str(expand_home(os.fspath(source)))
    if is_file(place):
        base = open_single_file(Path(place), dtype, config, options)
    elif config is not None:
        raise InvalidInputError(f"config= goes with a single file, and {shown(place)!r} is none")
    else:
        base = _open_folder(place, dtype, options)
    return base if controlnet is None else with_controlnet(base, controlnet)


def _open_folder(place: str, dtype: torch.dtype, options: Mapping[str, Any]) -> Any:
    # Parts that we never use need not come: a safety checker is as large as the model.
    given = {**dict.fromkeys(OUTSIDE), **options}
    if not is_folder(place):
        place = str(fetch_base(place, **given))
    folder = Path(place)
    index = read_config(folder / INDEX_NAME, required=True)
    kind = str(index.get("_class_name"))
    if kind in OWN_PIPELINES:
        raise CheckpointError(
            f"{shown(place)} is a whole model with its style adapter, no base model: load it with "
            "StyleCrafterPipeline.from_pretrained (--model)"
        )
    if kind not in known_pipelines():
        raise CheckpointError(
            f"{shown(place)} is a {kind}, which is no base model that is known; {known_bases()}"
        )
    unknown = [name for name, entry in index.items() if _is_part(entry) and name not in {*PARTS, *given}]
    if unknown:
        raise CheckpointError(
            f"{shown(place)} has a {unknown[0]}, which no base model that is known has; {known_bases()}"
        )
    takes = inspect.signature(getattr(diffusers, kind).__init__).parameters
    given = {name: value for name, value in given.items() if name not in OUTSIDE or name in takes}
    if "requires_safety_checker" in takes:
        given["requires_safety_checker"] = False
    return load_folder(
        folder,
        # The class itself: the general one would not take its optional parts from `given`.
        getattr(diffusers, kind).from_pretrained,
        kind,
        {**given, "dtype": dtype},
        optional=tuple(PARTS),
    )


def fetch_base(name: str, **options: Any) -> Path:
    """Bring the base model of a hub id into the local cache, without the parts that are never used.

    Raises:
        CheckpointError: It is no hub id, or cannot be fetched.
    """
    if Path(name).is_absolute() or name.startswith(".") or "/" not in name:
        raise CheckpointError(
            f"there is no base model {shown(name)!r}: no such file or folder, and no hub id"
        )
    with refusing(f"{shown(name)!r} is no folder here, and could not be fetched from the hub"):
        return Path(DiffusionPipeline.download(name, **{**dict.fromkeys(OUTSIDE), **options}))


def with_controlnet(base: Any, source: Any) -> Any:
    """The same base model in the pipeline that takes a ControlNet, every component shared.

    Args:
        base: A diffusers pipeline.
        source: A `ControlNetModel`, or the folder or hub id of one.

    Raises:
        InvalidInputError: There is no such pipeline for this base model.
        CheckpointError: The ControlNet cannot be loaded.
    """
    family = _family_of(base)
    name = next((name for name in family.pipelines if name.endswith("ControlNetPipeline")), None)
    if name is None:
        raise InvalidInputError(f"{family.label} takes no ControlNet")
    denoiser = getattr(base, family.denoiser_name)
    if isinstance(source, (str, os.PathLike)):
        source = load_model(ControlNetModel, source, dtype=denoiser.dtype).to(denoiser.device)
    kind = getattr(diffusers, name)
    takes = inspect.signature(kind.__init__).parameters
    parts = {**base.config, **base.components, "controlnet": source}
    return kind(**{name: parts[name] for name in takes if name in parts})


def arguments_of(base: DiffusionPipeline) -> dict[str, Any]:
    """The components of a diffusers pipeline and our defaults for its family: arguments of our pipeline.

    Raises:
        UnknownNameError: No family is made of such a pipeline.
        InvalidInputError: It is, but of components of another kind, or of more of them.
    """
    family = _family_of(base)
    if objection := family.objection(base):
        raise InvalidInputError(objection)
    components = {name: getattr(base, name, None) for name in COMPONENTS}
    denoiser = components[family.denoiser_name]
    if denoiser is None or not family.accepts(denoiser):
        raise InvalidInputError(
            f"a {type(base).__name__} with a {family.denoiser_name} of {type(denoiser).__name__} cannot be used as a "
            "base model"
        )
    settings = {name: base.config[name] for name in SETTINGS if name in base.config}
    defaults = {f"default_{name}": value for name, value in family(**components).default_knobs().items()}
    return {**components, "image_encoder": getattr(base, "image_encoder", None), **settings, **defaults}


def known_pipelines() -> dict[str, type[Backbone]]:
    """Class name of a diffusers pipeline -> the family that is made of such."""
    return {name: family for family in families() for name in family.pipelines}


def known_bases() -> str:
    """ "known are Stable Diffusion (StableDiffusionPipeline), …"."""
    listed = [f"{family.label} ({family.pipelines[0]})" for family in families() if family.pipelines]
    return f"known are {', '.join(listed)}"


def _family_of(base: DiffusionPipeline) -> type[Backbone]:
    known = known_pipelines()
    family = next((known[one.__name__] for one in type(base).__mro__ if one.__name__ in known), None)
    if family is None:
        raise unknown_name("base model", type(base).__name__, known)
    return family


def _is_part(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(one, str) for one in entry)


def open_image_encoder(source: Any, like: Any) -> Any:
    """A CLIP image tower: as it is, or loaded; None for None.

    Args:
        source: The model; or a folder, a hub id ("owner/name", or "owner/name/folder"), or an OpenCLIP file.
        like: A model whose device and dtype it gets.

    Raises:
        CheckpointError: It cannot be loaded.
        InvalidInputError: A model of another kind.
    """
    if source is None or isinstance(source, (CLIPVisionModel, CLIPVisionModelWithProjection)):
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise InvalidInputError(
            "an image encoder is a CLIPVisionModel, a CLIPVisionModelWithProjection, or where one lies, got "
            f"{type(source).__name__}"
        )
    place = str(expand_home(os.fspath(source)))
    if is_file(place):
        tensors = tensors_only(read_checkpoint(place, "image encoder"), "image encoder")
        if not any(key.startswith("visual.") for key in tensors):
            raise CheckpointError(
                f"{shown(place)} is no OpenCLIP checkpoint (it has no visual.…): give the folder of the image encoder, "
                "with its config.json"
            )
        encoder: Any = build_image_encoder(tensors, OPENCLIP_HEADS, copy=False)
    else:
        encoder = _image_encoder_in(place)
    return encoder.to(device=like.device, dtype=like.dtype)


def _image_encoder_in(place: str) -> Any:
    """That of a folder or hub id, with its projection where there is one."""
    inside = ""
    if not is_folder(place) and place.count("/") > 1 and not place.startswith(("/", ".")):
        owner, name, inside = place.split("/", 2)
        place = f"{owner}/{name}"
    folder = local_folder(place, {"subfolder": inside})
    names = set()
    for file in weight_files(folder, of_diffusers=False):
        names |= set(read_checkpoint(file, "image encoder"))
    projects = "visual_projection.weight" in names
    kind: Any = CLIPVisionModelWithProjection if projects else CLIPVisionModel
    return load_model(kind, folder, beside=_TEXT_TOWER, dtype=torch.float32)
