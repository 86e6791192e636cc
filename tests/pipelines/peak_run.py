"""What a call really takes of memory at its most, measured in a process of its own, beside what was estimated.

python -m tests.pipelines.peak_run animatediff middle -> {"estimated": 700.1, "measured": 650.2}    (MiB)
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin

from stylecrafter import StyleCrafterPipeline
from stylecrafter.pipelines.footprint import estimate_peak
from stylecrafter.pipelines.memory_options import MemoryOptions, Workload
from stylecrafter.pipelines.skeleton import outline
from stylecrafter.runtime.allocator import give_back_large_blocks
from tests.tiny import (
    tiny_animatediff_pipeline,
    tiny_pipeline,
    tiny_sd_pipeline,
    tiny_sdxl_pipeline,
    tiny_wan_base,
)

BASES: dict[str, Callable[[], Any]] = {
    "videocrafter": tiny_pipeline,
    "sd": tiny_sd_pipeline,
    "sdxl": tiny_sdxl_pipeline,
    "animatediff": tiny_animatediff_pipeline,
    "wan": tiny_wan_base,
}
_VAE = {"block_out_channels": [32, 64], "norm_num_groups": 32}
_WAN_VAE = {"base_dim": 16}
#: Parts of larger bases: what their configs have in place of the tiny ones'.
_UNETS = {
    "tiny": {"block_out_channels": [32, 64], "attention_head_dim": 4, "norm_num_groups": 16},
    "middle": {"block_out_channels": [160, 640], "attention_head_dim": 8, "norm_num_groups": 32},
}
_TRANSFORMERS = {
    "tiny": {"num_attention_heads": 2, "attention_head_dim": 48, "ffn_dim": 256, "num_layers": 4},
    "middle": {"num_attention_heads": 6, "attention_head_dim": 128, "ffn_dim": 3072, "num_layers": 8},
}
#: (frames, width, height) of what they make, so large that a process's own noise does not count.
WORK = {
    "videocrafter": {"tiny": (16, 128, 128), "middle": (8, 96, 96)},
    "sd": {"tiny": (1, 320, 320), "middle": (1, 192, 192)},
    "sdxl": {"tiny": (1, 320, 320), "middle": (1, 192, 192)},
    "animatediff": {"tiny": (8, 128, 128), "middle": (8, 96, 96)},
    "wan": {"tiny": (9, 256, 256), "middle": (5, 320, 320)},
}


def larger(base: str, size: str) -> dict[str, dict[str, Any]]:
    """Part -> what changes in its config."""
    if base == "videocrafter":
        # Its adapter is for the tiny one, and left out.
        return {"unet": {**_UNETS[size], "attention_head_dim": 32}, "vae": _VAE}
    if base == "wan":
        return {"transformer": {**_TRANSFORMERS[size], "rope_max_seq_len": 128}, "vae": _WAN_VAE}
    return {"unet": _UNETS[size], "vae": _VAE}


def write_configs(base: str, size: str, folder: Path) -> None:
    """A folder of that base with the configs of the larger one, and no weights."""
    pipe = BASES[base]()
    if isinstance(pipe, StyleCrafterPipeline):
        pipe.unload_adapter()
    pipe.save_pretrained(folder)
    for part, changes in larger(base, size).items():
        file = folder / part / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()


def real_base(folder: Path, dtype: torch.dtype) -> StyleCrafterPipeline:
    """The pipeline of a folder without weights, which are drawn instead."""
    import diffusers

    index = json.loads((folder / "model_index.json").read_text())
    parts = {name: entry for name, entry in index.items() if isinstance(entry, list) and entry[0]}
    made: dict[str, Any] = {}
    for name, (library, kind) in parts.items():
        found = getattr(import_module(library), kind)
        if issubclass(found, torch.nn.Module):
            made[name] = drawn(found, folder / name, dtype)
    if index["_class_name"] == StyleCrafterPipeline.__name__:
        return StyleCrafterPipeline.from_pretrained(folder, **made)
    return StyleCrafterPipeline.from_base(
        getattr(diffusers, index["_class_name"]).from_pretrained(folder, **made)
    )


def drawn(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """A model of a config, with weights as it draws them."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        if issubclass(kind, ModelMixin):
            return kind.from_config(json.loads((folder / "config.json").read_text())).eval()
        return kind(kind.config_class.from_pretrained(folder)).eval()
    finally:
        torch.set_default_dtype(before)


def peak() -> float:
    """MiB that this process held at its most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def call(pipe: StyleCrafterPipeline, frames: int, width: int, height: int) -> None:
    pipe.set_progress_bar_config(disable=True)
    pipe("a red fox", num_frames=frames, width=width, height=height, num_inference_steps=1, seed=0)


def main(
    base: str, size: str, dtype: torch.dtype = torch.float32, low_memory: bool = False
) -> dict[str, float]:
    """Estimate, then make, then look."""
    work = WORK[base][size]
    give_back_large_blocks()  # as commands do
    first = BASES[base]()
    first = first if isinstance(first, StyleCrafterPipeline) else StyleCrafterPipeline.from_base(first)
    call(first, 1, 32, 32)  # libraries load what they need
    with tempfile.TemporaryDirectory() as folder:
        write_configs(base, size, Path(folder))
        estimate = estimate_peak(outline(Path(folder), dtype), Workload(*work), MemoryOptions(low_memory))
        before = peak()
        pipe = real_base(Path(folder), dtype)
    if low_memory:
        pipe.enable_low_memory()
    built_at = peak()
    call(pipe, *work)
    return {
        "estimated": estimate.total / 2**20,
        "measured": peak() - before,
        "weights": estimate.weights / 2**20,
        "built": built_at - before,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], low_memory="low" in sys.argv[3:])))
