"""Low-rank matrices (LoRA) that stage 2 trains where whole layers would be too many."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from torch import nn

from stylecrafter.errors import InvalidInputError

#: What the matrices are called inside the denoiser.
NAME = "temporal"


def add_matrices(denoiser: Any, layers: Sequence[str], rank: int) -> None:
    """Put matrices of that rank, which change nothing yet, into all layers of these names.

    Nothing is done where matrices of that rank are there already.

    Raises:
        InvalidInputError: A rank below 1, or matrices of another rank.
    """
    from peft import LoraConfig

    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise InvalidInputError(f"the rank of a LoRA must be a whole number of at least 1, got {rank!r}")
    there = getattr(denoiser, "peft_config", {}).get(NAME)
    if there is not None:
        if there.r != rank:
            raise InvalidInputError(f"the {NAME} LoRA has rank {there.r}, asked for {rank}")
        return
    wanted = {name: value.requires_grad for name, value in denoiser.named_parameters()}
    device = next(denoiser.parameters()).device
    # A strength of 1: files without a note of it are read so.
    denoiser.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(layers)), adapter_name=NAME)
    for name, value in denoiser.named_parameters():
        if f".{NAME}." in name:
            value.data = value.data.to(device)
        else:
            value.requires_grad_(
                wanted[name.replace(".base_layer.", ".")] if name not in wanted else wanted[name]
            )


def matrices(denoiser: Any) -> dict[str, nn.Parameter]:
    """Name in the denoiser -> matrix of `add_matrices`; none before that."""
    return {name: value for name, value in denoiser.named_parameters() if f".{NAME}." in name}


def save_matrices(denoiser: Any, pipeline: Any, folder: str | os.PathLike[str]) -> None:
    """Save the matrices as a LoRA file that the base pipeline's `load_lora_weights(folder)` reads.

    Args:
        denoiser: The model that has them.
        pipeline: Class of the base pipeline.
        folder: Where `pytorch_lora_weights.safetensors` is written.

    Raises:
        InvalidInputError: There are none.
    """
    from peft.utils import get_peft_model_state_dict

    if not matrices(denoiser):
        raise InvalidInputError("the base model has no temporal LoRA to save; add_temporal_lora puts one in")
    state = get_peft_model_state_dict(denoiser, adapter_name=NAME)
    pipeline.save_lora_weights(folder, transformer_lora_layers=state)
