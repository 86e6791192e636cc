"""Files of IP-Adapters: told by their tensors, every one of them accounted for, other variants refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from stylecrafter import StyleAdapter, StyleCrafterPipeline
from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.weights import load_adapter
from stylecrafter.weights.formats import ip_adapter
from tests.tiny import (
    WIDTH,
    sdxl_unet,
    stable_diffusion_unet,
    tiny_image_encoder,
    tiny_ip_adapter,
    tiny_sd_pipeline,
)

NESTED = dict[str, dict[str, Tensor]]


@pytest.fixture(scope="module", params=["plain", "plus"])
def file(request: pytest.FixtureRequest) -> NESTED:
    return tiny_ip_adapter(stable_diffusion_unet(), request.param == "plus")


def flat(file: NESTED) -> dict[str, Tensor]:
    return {f"{module}.{key}": value for module, part in file.items() for key, value in part.items()}


def test_either_kind_of_file_whatever_its_name(file: NESTED, tmp_path: Path) -> None:
    wanted = load_adapter(file).state_dict()
    assert sum(value.numel() for value in wanted.values()) == sum(v.numel() for v in flat(file).values())
    torch.save(file, tmp_path / "stylecrafter_sdxl.ckpt")
    save_file(flat(file), tmp_path / "a.safetensors")
    for name in ("stylecrafter_sdxl.ckpt", "a.safetensors"):
        own = load_adapter(tmp_path / name).state_dict()
        assert own.keys() == wanted.keys() and all(torch.equal(own[key], wanted[key]) for key in wanted)


def test_published_sizes() -> None:
    """The shapes of h94/IP-Adapter, SDXL with ViT-H: 70 layers."""
    widths = [640] * 8 + [1280] * 62
    layers = {
        f"ip_adapter.{2 * i + 1}.to_{part}_ip.weight": (width, 2048)
        for i, width in enumerate(widths)
        for part in "kv"
    }
    plain = {"image_proj.proj.weight": (8192, 1024), "image_proj.proj.bias": (8192,)}
    config = ip_adapter.adapter_config({**plain, **layers})
    assert config["num_style_tokens"] == 4 and config["image_dim"] == 1024 and config["text_dim"] == 2048
    assert config["layer_dims"] == tuple(widths)
    assert config["default_text_guidance"] == config["default_style_guidance"] == 5.0
    plus: dict[str, tuple[int, ...]] = {
        "image_proj.latents": (1, 16, 1280),
        "image_proj.proj_in.weight": (1280, 1280),
        **{f"image_proj.layers.{i}.0.to_q.weight": (1280, 1280) for i in range(4)},
    }
    config = ip_adapter.adapter_config({**plus, **layers})
    assert config["num_style_tokens"] == 16
    assert (config["extractor_layers"], config["extractor_heads"], config["extractor_dim"]) == (4, 20, 1280)


def test_published_layers_stand_where_stable_diffusion_has_them() -> None:
    """The file's numbers follow diffusers: down, up, mid."""
    widths = [320] * 2 + [640] * 2 + [1280] * 2 + [1280] * 3 + [640] * 3 + [320] * 3 + [1280]
    shapes: dict[str, tuple[int, ...]] = {"image_proj.proj.weight": (3072, 1024)}
    for i, width in enumerate(widths):
        shapes |= {f"ip_adapter.{2 * i + 1}.to_{part}_ip.weight": (width, 768) for part in "kv"}
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768)
        adapter = StyleAdapter(**ip_adapter.adapter_config(shapes)).attach(unet)
    assert [name.split(".")[0] for name in adapter.layer_names] == (
        ["down_blocks"] * 6 + ["up_blocks"] * 9 + ["mid_block"]
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"image_proj.proj.0.weight": 1, "image_proj.norm.weight": 1}, "FaceID, which reads faces"),
        ({"image_proj.norm.weight": 1, "ip_adapter.0.to_q_lora.down.weight": 1}, "FaceID, which reads faces"),
        ({"image_proj.perceiver_resampler.proj_in.weight": 1}, "FaceID-Plus, which reads faces"),
        ({"image_proj.proj.0.weight": 1, "image_proj.proj.3.weight": 1}, "Full-Face"),
    ],
)
def test_other_variants_are_refused(file: NESTED, more: dict[str, int], says: str) -> None:
    tensors = {k: v for k, v in flat(file).items() if k.startswith("ip_adapter.")}
    with pytest.raises(CheckpointError, match=f"{says}.*IP-Adapter and IP-Adapter-Plus can be used"):
        load_adapter({**tensors, **{key: torch.zeros(size) for key, size in more.items()}})


def test_every_tensor_counts(file: NESTED) -> None:
    whole = flat(file)
    with pytest.raises(CheckpointError, match=r"image_proj\.strange.* missing|strange"):
        load_adapter({**whole, "image_proj.strange": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"2 tensors? .*without a place"):
        load_adapter({**whole, "ip_adapter.1.bias": torch.zeros(1), "other": torch.zeros(1)})
    for key in (*list(file["image_proj"])[:3], "1.to_v_ip.weight", "1.to_k_ip.weight"):
        lacking = {name: value for name, value in whole.items() if not name.endswith(key)}
        with pytest.raises(CheckpointError, match="missing|does not fit|without a gap"):
            load_adapter(lacking)
    gap = {name.replace("ip_adapter.3.", "ip_adapter.4."): value for name, value in whole.items()}
    with pytest.raises(CheckpointError, match=r"layers 1, 3, 5 … without a gap.*4: \[1, 4, 5, 7\]"):
        load_adapter(gap)


def test_tensors_of_too_few_axes_are_named(file: NESTED) -> None:
    whole = flat(file)
    first = "image_proj.latents" if "latents" in file["image_proj"] else "image_proj.proj.weight"
    for key in (first, "ip_adapter.1.to_k_ip.weight"):
        with pytest.raises(
            CheckpointError, match=rf"{key} has the shape \(5,\), where one of . axes belongs"
        ):
            load_adapter({**whole, key: torch.zeros(5)})


def test_another_base_or_encoder_is_refused(file: NESTED) -> None:
    plus = "latents" in file["image_proj"]
    pipe = StyleCrafterPipeline.from_base(tiny_sd_pipeline())
    wide = load_adapter(tiny_ip_adapter(sdxl_unet(), plus))
    with pytest.raises(
        InvalidInputError, match=f"gives width {2 * WIDTH}, the UNet2DConditionModel reads width 16"
    ):
        pipe.load_adapter(wide)
    wrong: dict[str, Any] = {"hidden_size": 24} if plus else {"projection_dim": 24}
    with pytest.raises(
        InvalidInputError, match="image encoder gives width 24, the style adapter reads width 1"
    ):
        pipe.load_adapter(file, image_encoder=tiny_image_encoder(**wrong))
    assert pipe.style_adapter is None
    fewer = {k: v for k, v in flat(file).items() if not k.startswith("ip_adapter.7.")}
    with pytest.raises(
        InvalidInputError, match="3 layers, .* 4 cross-attention layers: it is of another base"
    ):
        pipe.load_adapter(fewer)
    assert pipe.style_adapter is None
    # The layers are only numbered: a base with other widths has not given them its names.
    adapter = load_adapter(
        {k: v.repeat(2, 1) if "to_" in k and "_ip" in k else v for k, v in flat(file).items()}
    )
    with pytest.raises(InvalidInputError, match="has inner width"):
        pipe.load_adapter(adapter)
    assert adapter.config["layer_names"] is None


def test_what_would_be_right_is_said() -> None:
    pipe = StyleCrafterPipeline.from_base(tiny_sd_pipeline())
    sizes: dict[str, Any] = {"num_style_tokens": 2, "extractor_type": "linear", "scale_type": "fixed"}
    with pytest.raises(InvalidInputError, match="it is for SDXL"):
        pipe.load_adapter(StyleAdapter(8, 2048, None, (8,), **sizes))
    for features, clip in (("embedding", "ViT-bigG/14"), ("penultimate", "ViT-H/14")):
        adapter = StyleAdapter(1280, WIDTH, None, (8,) * 4, image_features=features, **sizes)
        with pytest.raises(InvalidInputError, match=f"it needs the image encoder of CLIP {clip}"):
            pipe.load_adapter(adapter, image_encoder=tiny_image_encoder())
