"""Wan 2.1 from a file that holds its transformer by its first names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from stylecrafter import StyleCrafterPipeline
from stylecrafter.errors import CheckpointError
from stylecrafter.pipelines.single_file import published_configs
from tests.tiny import tiny_wan_base

#: Names of diffusers -> the first ones.
RENAMED = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "attn1": "self_attn",
    "attn2": "cross_attn",
    ".to_out.0.": ".o.",
    ".to_q.": ".q.",
    ".to_k.": ".k.",
    ".to_v.": ".v.",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    ".norm2.": ".norm3.",
    "proj_out": "head.head",
}


def first_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, value in state.items():
        for ours, theirs in RENAMED.items():
            name = name.replace(ours, theirs)
        name = "head.modulation" if name == "scale_shift_table" else name
        found[name.replace("scale_shift_table", "modulation")] = value.clone()
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wan")
    tiny_wan_base(seed=1).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return first_names(tiny_wan_base(seed=2).transformer.state_dict())


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_its_transformer_is_that_of_the_file(
    folder: Path, tensors: dict[str, Tensor], tmp_path: Path, prefix: str
) -> None:
    file = tmp_path / "wan.safetensors"
    save_file({prefix + name: value for name, value in tensors.items()}, file)
    pipe = StyleCrafterPipeline.from_base(file, config=folder)
    wanted = tiny_wan_base(seed=2).transformer.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in pipe.transformer.state_dict().items())
    encoder = tiny_wan_base(seed=1).text_encoder.state_dict()
    assert all(torch.equal(value, encoder[name]) for name, value in pipe.text_encoder.state_dict().items())


def test_its_size_tells_whose_configs_it_shares(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    file, name = tmp_path / "wan.safetensors", "blocks.0.self_attn.norm_q.weight"
    save_file({**tensors, name: torch.zeros(1536)}, file)
    assert published_configs(file) == "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match="width 24, alone"):
        published_configs(file)


def test_what_it_cannot_be_is_refused(folder: Path, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    def opened(**changes: Tensor | None) -> None:
        file = tmp_path / "wan.safetensors"
        save_file({k: v for k, v in {**tensors, **changes}.items() if v is not None}, file)
        StyleCrafterPipeline.from_base(file, config=folder)

    some = torch.zeros(1)
    with pytest.raises(CheckpointError, match="image-to-video model of Wan"):
        opened(**{"img_emb.proj.0.weight": some})
    with pytest.raises(CheckpointError, match="give it as the adapter"):
        opened(**{"blocks.0.cross_attn.k_img.weight": some})
    with pytest.raises(CheckpointError, match="1 tensor .*to_q.* missing"):
        opened(**{"blocks.1.self_attn.q.bias": None})
    with pytest.raises(CheckpointError, match="1 tensor .extra.* unknown"):
        opened(**{"extra.weight": some})
    with pytest.raises(CheckpointError, match="not finite"):
        opened(**{"blocks.1.self_attn.q.bias": tensors["blocks.1.self_attn.q.bias"] * float("nan")})
    file = tmp_path / "alone.safetensors"
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match="transformer of width 24, alone; give the folder of a Wan"):
        StyleCrafterPipeline.from_base(file)
