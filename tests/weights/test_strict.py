"""Models whose files do not fill them, or with what is no number, are refused, whatever loads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from stylecrafter import (
    ShortcutAutoencoder,
    StyleAdapter,
    StyleCrafterImagePipeline,
    StyleCrafterPipeline,
    VideoCrafterUNet,
)
from stylecrafter.errors import CheckpointError
from stylecrafter.pipelines.loading import load_pipeline
from tests.weights.conftest import PARTS, Tensors, change, weights_of


def without_one(tensors: Tensors) -> Tensors:
    return dict(list(tensors.items())[1:])


def prefixed(tensors: Tensors) -> Tensors:
    return {f"model.{name}": value for name, value in tensors.items()}


def renamed(tensors: Tensors) -> Tensors:
    name, *rest = tensors
    return {f"{name}x": tensors[name], **{key: tensors[key] for key in rest}}


def with_one_more(tensors: Tensors) -> Tensors:
    return {**tensors, "spare.weight": torch.ones(3)}


def misshapen(tensors: Tensors) -> Tensors:
    name = next(iter(tensors))
    return {**tensors, name: torch.zeros(*tensors[name].shape, 2)}


def with_one(value: float) -> Any:
    def edit(tensors: Tensors) -> Tensors:
        name = list(tensors)[-1]
        tensors[name].view(-1)[-1] = value
        return tensors

    return edit


DAMAGE = {
    "one gone": (without_one, r"1 tensor \(.+\) missing, 0 tensors unknown"),
    "all prefixed": (prefixed, r"\d+ tensors \(.+, …\) missing, \d+ tensors \(model\..+\) unknown"),
    "one renamed": (renamed, r"1 tensor \(.+\) missing, 1 tensor \(.+x\) unknown"),
    "one more": (with_one_more, r"0 tensors missing, 1 tensor \(spare.weight\) unknown"),
    "none": (lambda _: {}, r"\d+ tensors \(.+\) missing"),
    "another shape": (misshapen, r"1 tensor \(.+ instead of .+\) of another shape"),
    "NaN": (with_one(float("nan")), r"1 tensor \(.+\) not finite"),
    "infinite": (with_one(float("inf")), r"1 tensor \(.+\) not finite"),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weights_are_counted_and_their_part_is_named(model: Path, part: str, damage: str) -> None:
    edit, says = DAMAGE[damage]
    change(model / part, edit)
    with pytest.raises(CheckpointError, match=rf"^{part} \(\w+\) in .*: .*{says}") as caught:
        load_pipeline(model, torch.float32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["text_encoder", "vae"])
@pytest.mark.parametrize(
    "options",
    [
        {"low_cpu_mem_usage": False},
        {"dtype": torch.bfloat16},
        pytest.param(
            {"torch_dtype": torch.float16},
            marks=pytest.mark.filterwarnings("ignore:`torch_dtype` is deprecated:FutureWarning"),
        ),
    ],
    ids=["all in memory", "bfloat16", "float16 by its name of before"],
)
def test_no_way_of_loading_lets_a_gap_through(model: Path, part: str, options: dict[str, Any]) -> None:
    for pipeline in (StyleCrafterPipeline, StyleCrafterImagePipeline):
        pipeline.from_pretrained(model, **options)
    change(model / part, without_one)
    for pipeline in (StyleCrafterPipeline, StyleCrafterImagePipeline):
        with pytest.raises(CheckpointError, match=f"{part} .* missing"):
            pipeline.from_pretrained(model, **options)


def test_a_number_that_is_too_large_for_the_format_is_told_from_one_that_is_none(model: Path) -> None:
    change(model / "unet", with_one(1e30))
    StyleCrafterPipeline.from_pretrained(model, dtype=torch.bfloat16)
    with pytest.raises(
        CheckpointError, match="unet .* too large for float16; load it as float32 or bfloat16"
    ):
        StyleCrafterPipeline.from_pretrained(model, dtype=torch.float16)


def to_bin(part: Path) -> Path:
    file = weights_of(part)
    name = "pytorch_model.bin" if file.name == "model.safetensors" else "diffusion_pytorch_model.bin"
    torch.save(load_file(file), part / name)
    file.unlink()
    return part / name


def test_weights_in_torch_files(model: Path) -> None:
    for part in PARTS:
        to_bin(model / part)
    load_pipeline(model, torch.float32)
    for part in ("text_encoder", "vae", "unet"):
        file = next((model / part).glob("*.bin"))
        whole = torch.load(file)
        torch.save(without_one(whole), file)
        with pytest.raises(CheckpointError, match=rf"{part} .*1 tensor .* missing"):
            load_pipeline(model, torch.float32)
        torch.save(with_one(float("nan"))(torch.load(file) | whole), file)
        with pytest.raises(CheckpointError, match=rf"{part} .*1 tensor .* not finite"):
            load_pipeline(model, torch.float32)
        torch.save(whole, file)


def shard(part: Path) -> Path:
    file = weights_of(part)
    tensors = load_file(file)
    names = list(tensors)
    pieces = {f"{file.stem}-0000{i}-of-00002.safetensors": names[i - 1 :: 2] for i in (1, 2)}
    for piece, held in pieces.items():
        save_file({name: tensors[name] for name in held}, part / piece, {"format": "pt"})
    table = {name: piece for piece, held in pieces.items() for name in held}
    index = part / f"{file.name}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": table}))
    file.unlink()
    return index


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_in_pieces(model: Path, part: str) -> None:
    index = shard(model / part)
    load_pipeline(model, torch.float32)
    change(model / part, without_one)
    with pytest.raises(CheckpointError, match=f"{part} .*1 tensor .* missing"):
        load_pipeline(model, torch.float32)
    weights_of(model / part).unlink()
    with pytest.raises(CheckpointError, match="1 of its 2 files missing"):
        load_pipeline(model, torch.float32)
    index.write_text(json.dumps({"weight_map": {"a": "../../elsewhere.safetensors"}}))
    with pytest.raises(CheckpointError, match="pieces lie beside their index"):
        load_pipeline(model, torch.float32)


def test_weights_of_a_variant(model: Path) -> None:
    for part in ("unet", "text_encoder"):
        file = weights_of(model / part)
        file.rename(file.with_name(f"{file.stem}.fp16.safetensors"))
    StyleCrafterPipeline.from_pretrained(model, variant="fp16")
    with pytest.raises(CheckpointError, match=r"no weights, it has no .*model.safetensors"):
        StyleCrafterPipeline.from_pretrained(model)
    change(model / "text_encoder", without_one)
    with pytest.raises(CheckpointError, match="text_encoder .*1 tensor .* missing"):
        StyleCrafterPipeline.from_pretrained(model, variant="fp16")


def test_single_models_load_as_strictly(model: Path) -> None:
    for kind, part in ((VideoCrafterUNet, "unet"), (StyleAdapter, "style_adapter")):
        kind.from_pretrained(model / part)
        kind.from_pretrained(model, subfolder=part)
        kind.from_pretrained(model / part, output_loading_info=True)
        change(model / part, without_one)
        with pytest.raises(CheckpointError, match=f"{part} .*1 tensor .* missing"):
            kind.from_pretrained(str(model), subfolder=part, low_cpu_mem_usage=False)
    with pytest.raises(CheckpointError, match="of a 'AutoencoderKL', not of a ShortcutAutoencoder"):
        ShortcutAutoencoder.from_pretrained(model / "vae")
    for nowhere in ("/nowhere/at/all", "~nobody", "./nowhere", ""):
        with pytest.raises(CheckpointError, match="no folder"):
            StyleAdapter.from_pretrained(nowhere)


def test_towers_that_were_saved_as_a_part_of_clip_load(model: Path, tiny_model: Path) -> None:
    """Versions 4 of transformers wrote their names so."""
    for part, tower in (("text_encoder", "text_model"), ("image_encoder", "vision_model")):
        change(model / part, lambda tensors, tower=tower: {f"{tower}.{k}": v for k, v in tensors.items()})
    change(
        model / "text_encoder", lambda t: {**t, "text_model.embeddings.position_ids": torch.arange(16)[None]}
    )
    old, new = (load_pipeline(folder, torch.float32) for folder in (model, tiny_model))
    for part in ("text_encoder", "image_encoder"):
        wanted = getattr(new, part).state_dict()
        for name, value in getattr(old, part).state_dict().items():
            assert torch.equal(value, wanted[name])


def test_a_loader_that_fills_with_something_else_is_found_out(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As versions of transformers do that do not know how the files name their tensors."""
    from transformers import CLIPTextModel

    right = CLIPTextModel.from_pretrained.__func__

    def forgetful(cls: type, *args: Any, **kwargs: Any) -> Any:
        loaded = right(cls, *args, **kwargs)
        torch.nn.init.normal_(loaded.get_input_embeddings().weight)
        return loaded

    monkeypatch.setattr(CLIPTextModel, "from_pretrained", classmethod(forgetful))
    with pytest.raises(
        CheckpointError, match=r"text_encoder .*1 tensor .* not loaded as the file holds them"
    ):
        # With an option beside the dtype, towers are left to their library.
        StyleCrafterPipeline.from_pretrained(model, dtype=torch.float32, use_safetensors=True)
