"""CLIP's towers, filled from tensors that are read and compared already.

transformers' own loader compiles the patterns of all its models first, a thousand of them: half a second, several times
what filling a small tower takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylecrafter.weights.folders import PARTS

CLIP_TOWERS = (
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "CLIPVisionModel",
    "CLIPVisionModelWithProjection",
)


def dtype_alone(options: dict[str, Any]) -> torch.dtype | None:
    """The dtype, where a pipeline is loaded with that option and no other, but for parts that are given; else None.

    Other options say how weights are found, packed or placed, which is left to the libraries.
    """
    asked = {name: value for name, value in options.items() if name not in PARTS}
    dtype = asked.popitem()[1] if asked.keys() in ({"dtype"}, {"torch_dtype"}) else None
    return dtype if isinstance(dtype, torch.dtype) else None


def filled_tower(kind: Any, folder: Path, tensors: dict[str, Tensor], dtype: torch.dtype) -> Any:
    """A tower as its `from_pretrained` gives it: in evaluation mode, on the CPU, in memory of its own.

    Args:
        kind: One of `CLIP_TOWERS`.
        folder: Holds its config.
        tensors: All that it has, by its own names (`strict.examine`).
        dtype: Of all weights.
    """
    config = kind.config_class.from_pretrained(folder)
    config.name_or_path = str(folder)
    with torch.device("meta"):
        tower = kind._from_config(config, dtype=dtype)
    tower.to_empty(device="cpu")
    names = tower.state_dict().keys()
    for name, buffer in tower.named_buffers():
        if name in names:
            continue
        if not name.endswith("position_ids"):  # of a version that keeps something new beside its files
            return kind.from_pretrained(folder, dtype=dtype)
        buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
    tower.load_state_dict({name: tensors[name] for name in names})
    return tower.eval()
