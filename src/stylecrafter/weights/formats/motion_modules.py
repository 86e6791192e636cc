"""Names and sizes of AnimateDiff's motion modules, as published or as diffusers saves them -> `MotionAdapter`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stylecrafter.errors import CheckpointError
from stylecrafter.weights.formats.videocrafter_unet import Shapes

#: Heads and groups of all published modules, which shapes do not tell.
_HEADS, _GROUPS = 8, 32
_NORM = re.compile(r"down_blocks\.(\d+)\.motion_modules\.(\d+)\.norm\.weight")
_PARTS = {
    ".temporal_transformer": "",
    ".attention_blocks.0": ".attn1",
    ".attention_blocks.1": ".attn2",
    ".norms.0": ".norm1",
    ".norms.1": ".norm2",
    ".ff_norm": ".norm3",
}
#: What files hold beside weights -> why it is not needed.
LEFT_OUT = {r".+\.(pos_encoder|pos_embed)\.pe": "places in time, which are computed"}


def motion_state(published: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The weights by the names that `MotionAdapter` has for them, and the published names that have no place."""
    state, unplaced = {}, []
    for key, value in published.items():
        name = key.removeprefix("module.")
        if ".motion_modules." not in name or re.fullmatch(next(iter(LEFT_OUT)), name):
            unplaced.append(key)
            continue
        for old, new in _PARTS.items():
            name = name.replace(old, new)
        state[name] = value
    return state, unplaced


def motion_config(published: Shapes, shapes: Shapes) -> dict[str, Any]:
    """The `MotionAdapter` config that shapes show.

    Args:
        published: By the names in the file.
        shapes: By those of `motion_state`.

    Raises:
        CheckpointError: There are no motion modules.
    """
    places = {match.groups(): shapes[key][0] for key in shapes if (match := _NORM.fullmatch(key))}
    widths = [places[str(i), "0"] for i in range(len(places)) if (str(i), "0") in places]
    if not widths:
        raise CheckpointError("motion modules: the file has none (down_blocks.0.motion_modules.0 is missing)")
    lengths = [
        shape[1] for key, shape in published.items() if key.endswith((".pos_encoder.pe", ".pos_embed.pe"))
    ]
    return {
        "block_out_channels": tuple(widths),
        "motion_layers_per_block": tuple(
            sum(block == str(i) for block, _ in places) for i in range(len(widths))
        ),
        "motion_num_attention_heads": _HEADS,
        "motion_norm_num_groups": math.gcd(_GROUPS, *widths),
        "motion_max_seq_length": max(lengths, default=32),
        "use_motion_mid_block": any(key.startswith("mid_block.") for key in shapes),
    }
