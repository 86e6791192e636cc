"""What a model folder says about its parts, checked before any library acts on it."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from stylecrafter.errors import CheckpointError
from stylecrafter.media.documents import is_file, is_folder, read_text, shown
from stylecrafter.weights.configs import read_config

INDEX_NAME = "model_index.json"
#: Library and class of every part that a pipeline has; of schedulers any of diffusers.
PARTS: dict[str, tuple[tuple[str, str], ...]] = {
    "vae": (
        ("diffusers", "AutoencoderKL"),
        ("stylecrafter", "ShortcutAutoencoder"),
        ("diffusers", "AutoencoderKLWan"),
    ),
    "text_encoder": (
        ("transformers", "CLIPTextModel"),
        ("transformers", "CLIPTextModelWithProjection"),
        ("transformers", "UMT5EncoderModel"),
    ),
    "tokenizer": (
        ("transformers", "CLIPTokenizer"),
        ("transformers", "CLIPTokenizerFast"),
        ("transformers", "T5Tokenizer"),
        ("transformers", "T5TokenizerFast"),
    ),
    "text_encoder_2": (("transformers", "CLIPTextModelWithProjection"),),
    "tokenizer_2": (("transformers", "CLIPTokenizer"), ("transformers", "CLIPTokenizerFast")),
    "unet": (
        ("stylecrafter", "VideoCrafterUNet"),
        ("diffusers", "UNet2DConditionModel"),
        ("diffusers", "UNetMotionModel"),
    ),
    "transformer": (("diffusers", "WanTransformer3DModel"),),
    "motion_adapter": (("diffusers", "MotionAdapter"),),
    "controlnet": (("diffusers", "ControlNetModel"),),
    "scheduler": (),
    "image_encoder": (("transformers", "CLIPVisionModel"), ("transformers", "CLIPVisionModelWithProjection")),
    "style_adapter": (("stylecrafter", "StyleAdapter"),),
}
OPTIONAL = (
    "unet",
    "image_encoder",
    "style_adapter",
    "text_encoder_2",
    "tokenizer_2",
    "transformer",
    "motion_adapter",
    "controlnet",
)
#: Class names that saved pipelines of ours have.
OWN_PIPELINES = ("StyleCrafterPipeline", "StyleCrafterImagePipeline")
#: Parts of published base models that nothing here uses.
OUTSIDE = ("safety_checker", "feature_extractor")
#: What a tokenizer is read from: all of it, or its pieces.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
#: Largest number that makes sense anywhere in a config, and most of what a config counts where files do not tell.
MAX_NUMBER, MAX_COUNT = 2**31, 1000
MAX_TRAIN_STEPS = 100_000
_MODEL_TYPES = {
    "CLIPTextModel": "clip_text_model",
    "CLIPVisionModel": "clip_vision_model",
    "CLIPModel": "clip",
}
#: Of a config: kinds of attention that come with torch. Others are fetched, as code, from the hub.
_ATTENTION = (None, "eager", "sdpa", "flex_attention")
_IMPLEMENTATION = re.compile(r"(attn|experts)_implementation")
_COUNTS = re.compile(r"(?:^|_)(layers|depth|blocks)(?:_|$)")


def check_index(
    folder: Path, given: set[str], pipelines: set[str], optional: Collection[str] = OPTIONAL
) -> dict[str, tuple[str, str]]:
    """Part -> (library, class) of what `model_index.json` says to load.

    Args:
        folder: The model folder.
        given: Parts that the caller brings, whatever the index says of them.
        pipelines: Class names of pipelines that may be loaded.
        optional: Parts that need not be there.

    Raises:
        CheckpointError: Another kind of pipeline, or a part that is missing or of a class that we do not know.
    """
    file = folder / INDEX_NAME
    index = read_config(file, required=True)
    kind = index.get("_class_name")
    if kind not in pipelines:
        raise CheckpointError(
            f"{file}: it is of a {kind!r}, not of a {' or '.join(sorted(pipelines))}; from_base opens base models."
        )
    parts = {}
    for name, known in PARTS.items():
        entry = index.get(name)
        if name in given or (name in optional and entry in (None, [None, None])):
            continue
        pair = tuple(entry) if isinstance(entry, list) else (entry,)
        fits = pair in known if known else _is_scheduler(pair)
        if not fits:
            wanted = " or ".join(".".join(one) for one in known) or "a scheduler of diffusers"
            raise CheckpointError(f"{file}: {name} is {_brief(entry)}; it must be {wanted}.")
        if not is_folder(folder / name):
            raise CheckpointError(f"{folder} has no folder {name}, which its {INDEX_NAME} names.")
        parts[name] = (pair[0], pair[1])
    return parts


def read_part_config(folder: Path, kind: type) -> dict[str, Any]:
    """The config of a part, if it is of a model of that class.

    Raises:
        CheckpointError: No config, a broken one, or one of another class.
    """
    file = folder / "config.json"
    if not is_file(file):
        raise CheckpointError(f"{folder.name} in {folder.parent}: it has no config.json.")
    config = read_config(file, required=True)
    name = config.get("_class_name", kind.__name__)
    # The class that ours is derived from reads the same config.
    if name != kind.__name__:
        raise CheckpointError(f"{file}: it is of a {name!r}, not of a {kind.__name__}.")
    wanted = _MODEL_TYPES.get(kind.__name__.removesuffix("WithProjection"))
    if wanted is not None and config.get("model_type", wanted) not in (wanted, "clip"):
        raise CheckpointError(f"{file}: its model_type is {config['model_type']!r}, not {wanted!r}.")
    return config


def check_config(config: dict[str, Any], file: Path, tensors: int) -> None:
    """Refuse what would make a library fetch code, work without end, or compute with what is no number.

    Args:
        config: What the file holds.
        file: For messages.
        tensors: How many the part has: it has no more layers than those.

    Raises:
        CheckpointError: Such a value; the message names it.
    """
    for key, value in _values(config):
        if _IMPLEMENTATION.search(key) and value not in _ATTENTION:
            raise CheckpointError(
                f"{file}: {key} {_brief(value)} would be code from the hub, which is never run."
            )
        if key in ("quantization_config", "transformers_weights", "auto_map") and value is not None:
            raise CheckpointError(f"{file}: {key} is not supported here.")
        if key == "scaling_factor" and (not isinstance(value, (int, float)) or not value > 0):
            raise CheckpointError(f"{file}: scaling_factor must be a number above 0, not {_brief(value)}.")
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise CheckpointError(f"{file}: {key} is {number}, which is no number.")
            if isinstance(number, int) and abs(number) >= MAX_NUMBER:
                raise CheckpointError(f"{file}: {key} is {_brief(number)}; no size is as large.")
            if isinstance(number, int) and _COUNTS.search(key) and number > max(tensors, MAX_COUNT):
                raise CheckpointError(f"{file}: {key} is {number}, but its files hold {tensors} tensors.")
        if isinstance(value, list) and len(value) > max(tensors, MAX_COUNT):
            raise CheckpointError(f"{file}: {key} lists {len(value)} values for {tensors} tensors.")


def check_scheduler_config(folder: Path) -> None:
    """Refuse a scheduler whose tables would not end, or would hold no numbers.

    Raises:
        CheckpointError: No config, or such a one.
    """
    file = folder / "scheduler_config.json"
    config = read_config(file, required=True)
    # The samplers of DPM-Solver write -Infinity where nothing is cut off.
    unbounded = config.get("lambda_min_clipped") == -math.inf
    passed = {"trained_betas", "lambda_min_clipped"} if unbounded else {"trained_betas"}
    check_config({key: value for key, value in config.items() if key not in passed}, file, 0)
    steps = config.get("num_train_timesteps", 1000)
    if type(steps) is not int or not 1 <= steps <= MAX_TRAIN_STEPS:
        raise CheckpointError(
            f"{file}: num_train_timesteps must lie between 1 and {MAX_TRAIN_STEPS}, not {_brief(steps)}."
        )


def check_tokenizer_files(folder: Path) -> None:
    """Refuse a tokenizer folder that lacks its vocabulary, or whose files cannot be read.

    Raises:
        CheckpointError: Such a one.
    """
    whole, pieces = folder / "tokenizer.json", (folder / "vocab.json", folder / "merges.txt")
    if not is_file(whole) and not all(is_file(piece) for piece in pieces):
        raise CheckpointError(f"{folder} holds neither tokenizer.json nor vocab.json with merges.txt.")
    for file in (folder / name for name in TOKENIZER_FILES if name.endswith(".json")):
        content = read_config(file)
        if "auto_map" in content:
            raise CheckpointError(f"{file}: auto_map names code, which is never run.")
        model = content.get("model") if file == whole else None
        # A unigram's words have probabilities in place of merges.
        unigram = isinstance(model, dict) and model.get("type") == "Unigram"
        if isinstance(model, dict) and not unigram and model.get("vocab") and not model.get("merges"):
            raise CheckpointError(
                f"{file}: its vocabulary is there, the merges that make words of letters are not."
            )
    if is_file(pieces[1]):
        read_text(pieces[1], error=CheckpointError)


def weight_files(
    folder: Path, of_diffusers: bool, variant: str | None = None, use_safetensors: bool | None = None
) -> list[Path]:
    """The files that loaders read the weights of a part from: one, or the pieces that an index lists.

    Raises:
        CheckpointError: There are none, or an index that names files elsewhere.
    """
    stems = (
        ("diffusion_pytorch_model", "diffusion_pytorch_model") if of_diffusers else ("model", "pytorch_model")
    )
    formats = [f"{stems[0]}.safetensors"] if use_safetensors is not False else []
    formats += [f"{stems[1]}.bin"] if not use_safetensors else []
    looked_for = [_variant(name, variant) for name in formats]
    for name in formats:
        whole = folder / _variant(name, variant)
        indices = [folder / _variant(f"{name}.index.json", variant), Path(f"{whole}.index.json")]
        index = next((file for file in indices if is_file(file)), None)
        # diffusers looks for the pieces first, transformers for the whole.
        if index is not None and (of_diffusers or not is_file(whole)):
            return _pieces(index)
        if is_file(whole):
            return [whole]
    raise CheckpointError(
        f"{folder.name} in {folder.parent}: no weights, it has no {' or '.join(looked_for)}."
    )


def _pieces(index: Path) -> list[Path]:
    table = read_config(index, required=True).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        raise CheckpointError(f"{index}: its weight_map is no table from tensors to files.")
    names = sorted(set(table.values()))
    odd = [name for name in names if Path(name).name != name or name in ("", ".", "..")]
    if odd:
        raise CheckpointError(f"{index}: it names {shown(odd[0])}; pieces lie beside their index.")
    absent = [name for name in names if not is_file(index.parent / name)]
    if absent:
        raise CheckpointError(
            f"{index}: {len(absent)} of its {len(names)} files missing, first: {shown(absent[0])}."
        )
    return [index.parent / name for name in names]


def _variant(name: str, variant: str | None) -> str:
    if variant is None:
        return name
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{variant}.{suffix}"


def _is_scheduler(pair: tuple[Any, ...]) -> bool:
    if len(pair) != 2 or pair[0] != "diffusers" or not isinstance(pair[1], str):
        return False
    import diffusers

    found = getattr(diffusers, pair[1], None) if pair[1].endswith("Scheduler") else None
    return isinstance(found, type) and issubclass(found, diffusers.SchedulerMixin)


def _values(config: Any) -> list[tuple[str, Any]]:
    """All (name, value) of a config and of configs in it."""
    found: list[tuple[str, Any]] = []
    for key, value in config.items():
        found.append((key, value))
        if isinstance(value, dict):
            found += _values(value)
    return found


def _brief(value: Any) -> str:
    return shown(
        repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a number of many digits"
    )
