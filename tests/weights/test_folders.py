"""Model folders whose configs are broken or absurd end in one line, before anything is loaded, fetched or run."""

from __future__ import annotations

import json
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stylecrafter import StyleAdapter, StyleCrafterPipeline
from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.pipelines.loading import load_pipeline
from stylecrafter.weights.card import read_card, read_world
from stylecrafter.weights.folders import check_scheduler_config
from stylecrafter.weights.footprint import estimate_memory
from stylecrafter.weights.locate import settings_hash, weights_hash
from tests.tiny import DEFAULTS, tiny_components
from tests.weights.conftest import weights_of

DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000


def edit(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, **changes}))


def refused(model: Path, says: str) -> None:
    with pytest.raises(CheckpointError, match=says) as caught:
        load_pipeline(model, torch.float32)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1500


@pytest.mark.parametrize(
    ("part", "changes", "says"),
    [
        ("text_encoder", {"_attn_implementation": "someone/kernel"}, "_attn_implementation .*never run"),
        ("image_encoder", {"attn_implementation": "someone/kernel:x"}, "attn_implementation .*never run"),
        ("text_encoder", {"vision": {"_attn_implementation": "flash_attention_3"}}, "never run"),
        ("unet", {"quantization_config": {"quant_method": "bitsandbytes"}}, "quantization_config"),
        ("image_encoder", {"transformers_weights": "../other.safetensors"}, "transformers_weights"),
        ("text_encoder", {"num_hidden_layers": 10**12}, "num_hidden_layers"),
        ("text_encoder", {"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000, but its files hold"),
        ("text_encoder", {"hidden_size": 10**5}, "text_encoder"),
        ("text_encoder", {"hidden_size": "16"}, "text_encoder"),
        ("text_encoder", {"vocab_size": -1}, "text_encoder"),
        ("text_encoder", {"vocab_size": 10}, "text_encoder .*of another shape"),
        ("text_encoder", {"hidden_act": "no_such"}, "text_encoder"),
        ("text_encoder", {"layer_norm_eps": float("nan")}, "layer_norm_eps is nan"),
        ("text_encoder", {"model_type": "t5"}, "its model_type is 't5', not 'clip_text_model'"),
        ("image_encoder", {"patch_size": 0}, "image_encoder"),
        ("image_encoder", {"image_size": 10**9}, "image_encoder"),
        (
            "unet",
            {"_class_name": "UNet2DConditionModel"},
            "is of a 'UNet2DConditionModel', not of a VideoCrafterUNet",
        ),
        ("unet", {"block_out_channels": [0, 0]}, "unet"),
        ("unet", {"block_out_channels": "8"}, "unet"),
        ("unet", {"layers_per_block": 10**7}, "layers_per_block is 10000000"),
        ("unet", {"layers_per_block": -1}, "unet"),
        ("unet", {"norm_num_groups": 0}, "unet"),
        (
            "vae",
            {"down_block_types": ["DownEncoderBlock2D"] * 100_000},
            "down_block_types lists 100000 values",
        ),
        ("vae", {"down_block_types": ["os.system"] * 2}, "vae"),
        ("vae", {"scaling_factor": 0}, "scaling_factor"),
        ("vae", {"scaling_factor": "1"}, "scaling_factor"),
        ("style_adapter", {"layer_names": []}, "style_adapter"),
        ("style_adapter", {"extractor_layers": 10**9}, "extractor_layers"),
        ("style_adapter", {"fusion_type": 3}, "style_adapter"),
    ],
)
def test_configs_of_parts(model: Path, part: str, changes: dict[str, Any], says: str) -> None:
    edit(model / part / "config.json", **changes)
    refused(model, says)


@pytest.mark.parametrize("content", ["", "[]", '"text"', "{", DEEP, "\0", "<!DOCTYPE html><html>"])
@pytest.mark.parametrize(
    "name",
    ["model_index.json", "unet/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json",
     "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"],
)  # fmt: skip
def test_files_that_are_no_settings(model: Path, name: str, content: str) -> None:
    (model / name).write_text(content)
    refused(model, Path(name).name)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"_class_name": "StableDiffusionPipeline"}, "of a 'StableDiffusionPipeline', not of a StyleCrafter"),
        ({"_class_name": ["pipeline", "Mine"]}, "names no pipeline"),
        ({"unet": ["os", "system"]}, r"unet is \['os', 'system'\]; it must be stylecrafter.VideoCrafterUNet"),
        ({"scheduler": ["subprocess", "Popen"]}, "a scheduler of diffusers"),
        ({"scheduler": ["diffusers", "AutoencoderKL"]}, "a scheduler of diffusers"),
        ({"vae": None}, "vae is None"),
        ({"tokenizer": "transformers"}, "tokenizer"),
        ({"text_encoder": ["transformers", ["CLIPTextModel"]]}, "text_encoder"),
        ({"image_encoder": ["transformers", "CLIPVisionModelWithProjection"]}, "image_encoder"),
        ({"reference_size": "64"}, "reference_size must be a whole number"),
        ({"reference_size": 10**9}, "reference_size must be a whole number"),
        ({"default_steps": 0}, "default_steps"),
        ({"default_eta": "much"}, "default_eta"),
        ({"default_fps": float("nan")}, "default_fps must be a finite number"),
    ],
)
def test_indices(model: Path, changes: dict[str, Any], says: str) -> None:
    edit(model / "model_index.json", **changes)
    refused(model, says)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_train_timesteps": 10**12}, "num_train_timesteps"),
        ({"num_train_timesteps": -5}, "num_train_timesteps must lie between 1 and"),
        ({"prediction_type": "guess"}, "cannot take a step"),
        ({"timestep_spacing": "wide"}, "cannot take a step"),
        ({"beta_schedule": "none"}, "beta_schedule|none"),
        ({"beta_start": "small"}, "the scheduler in .* cannot be loaded"),
        ({"beta_end": float("inf")}, "beta_end is inf"),
    ],
)
def test_schedulers(model: Path, changes: dict[str, Any], says: str) -> None:
    edit(model / "scheduler" / "scheduler_config.json", **changes)
    refused(model, says)


def test_a_scheduler_that_cuts_nothing_off(model: Path) -> None:
    """DPM-Solver writes -Infinity there, and so do models on the hub."""
    edit(model / "scheduler" / "scheduler_config.json", lambda_min_clipped=-math.inf)
    check_scheduler_config(model / "scheduler")
    edit(model / "scheduler" / "scheduler_config.json", lambda_min_clipped=math.nan)
    with pytest.raises(CheckpointError, match="lambda_min_clipped is nan"):
        check_scheduler_config(model / "scheduler")


def test_tokenizers(model: Path) -> None:
    whole = (model / "tokenizer" / "tokenizer.json").read_text()
    settings = (model / "tokenizer" / "tokenizer_config.json").read_text()
    content = json.loads(whole)

    def with_vocab(vocab: Any) -> str:
        return json.dumps({**content, "model": {**content["model"], "vocab": vocab}})

    far = {word: 10**6 + number for word, number in content["model"]["vocab"].items()}
    for text, says in (
        (with_vocab(far), "the text encoder reads 0 to"),
        (with_vocab([]), "the tokenizer in .* cannot be loaded"),
        (json.dumps({**content, "model": {**content["model"], "merges": []}}), "the merges .* are not"),
        ('{"version": 9, "model": 3}', "the tokenizer in .* cannot be loaded"),
    ):
        (model / "tokenizer" / "tokenizer.json").write_text(text)
        refused(model, says)
    (model / "tokenizer" / "tokenizer.json").write_text(whole)
    for length in (10**30, -3, "77", 4096):
        edit(model / "tokenizer" / "tokenizer_config.json", model_max_length=length)
        refused(model, "the tokenizer (makes texts|in)")
        (model / "tokenizer" / "tokenizer_config.json").write_text(settings)
    (model / "tokenizer" / "tokenizer.json").unlink()
    refused(model, "neither tokenizer.json nor vocab.json")


def test_components_brought_by_the_caller_are_taken_as_they_are(model: Path) -> None:
    edit(model / "unet" / "config.json", layers_per_block=-1)
    parts = tiny_components()
    pipe = StyleCrafterPipeline.from_pretrained(model, unet=parts["unet"])
    assert pipe.unet is parts["unet"]
    other = parts["tokenizer"]
    other.add_tokens(["<one-more>"])
    with pytest.raises(InvalidInputError, match="they are of different models"):
        StyleCrafterPipeline(**tiny_components() | {"tokenizer": other}, **DEFAULTS)


def test_parts_that_are_missing(model: Path) -> None:
    (model / "vae" / "config.json").rename(model / "vae" / "other.json")
    refused(model, "vae in .*: it has no config.json")
    (model / "vae" / "other.json").rename(model / "vae" / "config.json")
    weights_of(model / "unet").unlink()
    refused(model, "unet in .*: no weights")
    (model / "unet").rename(model / "u-net")
    refused(model, "has no folder unet")


def imposters(tensors: dict[str, torch.Tensor], folder: Path) -> dict[str, bytes]:
    torch.save(tensors, folder / "torch.pth")
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    return {
        "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n",
        "a web page": b"<!DOCTYPE html><html><body>Sign in</body></html>",
        "a PNG image": b"\x89PNG\r\n\x1a\n" + bytes(50),
        "a zip archive": (folder / "other.zip").read_bytes(),
        "a torch checkpoint": (folder / "torch.pth").read_bytes(),
        "not a complete safetensors file": (100 * 2**30).to_bytes(8, "little") + b"{}",
        "": b"",
    }


def test_what_lies_there_in_place_of_weights_is_named(model: Path, tmp_path: Path) -> None:
    file = weights_of(model / "text_encoder")
    for says, data in imposters(load_file(file), tmp_path).items():
        file.write_bytes(data)
        refused(model, f"text_encoder .*{says}")
    file.unlink()
    os.mkfifo(file)
    refused(model, "text_encoder in .*: no weights")


def test_cards_of_broken_folders_are_one_line(model: Path) -> None:
    (model / "world.json").write_text("[")
    with pytest.raises(CheckpointError, match=r"world\.json"):
        read_world(model)
    (model / "world.json").unlink()
    (model / "README.md").write_bytes(b"\xff\xfe\x00")
    assert read_card(model).summary == ""
    (model / "README.md").write_text("---\na: &a [*a]\n---\nA toy.\n")
    read_card(model)
    edit(model / "unet" / "config.json", block_out_channels=["8", None])
    with pytest.raises(CheckpointError, match="block_out_channels must be a list of widths"):
        read_card(model)
    (model / "unet" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"unet/config\.json: no such file"):
        read_card(model)


def test_an_adapter_folder_that_is_a_whole_model(model: Path) -> None:
    with pytest.raises(CheckpointError, match="it has no config.json"):
        StyleAdapter.from_pretrained(model)


def test_what_others_leave_beside_a_model_does_no_harm(model: Path) -> None:
    before = weights_hash(model), settings_hash(model), estimate_memory(model, 1, 16, 16)
    for file in [path for path in model.rglob("*") if path.is_file()]:
        # So do systems that keep more of a file than its bytes, on disks of others.
        (file.parent / f"._{file.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    for part in ("unet", "tokenizer"):
        (model / part / "notes.json").write_text("[1, 2]")
    (model / "lora.safetensors.txt").write_text("words")
    assert (weights_hash(model), settings_hash(model), estimate_memory(model, 1, 16, 16)) == before
    load_pipeline(model, torch.float32)
    (model / "lora.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1")  # of no part
    assert estimate_memory(model, 1, 16, 16) == before[2]
