"""What the page of a whole model on the hub says."""

from __future__ import annotations

from typing import Any

from stylecrafter.media.documents import is_folder
from stylecrafter.weights.hub import HubCard, license_of


def pipeline_card(
    pipe: Any, repo_id: str, license: str | None, base_model: str | None, training: str
) -> HubCard:
    """The card of a pipeline: its base model, image encoder, adapter, and what it makes.

    Args:
        pipe: The pipeline.
        repo_id: Where it will lie.
        license: None: what the card in the folder states that the pipeline was loaded from.
        base_model: Hub id of what it was made from.
        training: What it has learned from, and how.
    """
    config, adapter, encoder = pipe.config, pipe.style_adapter, pipe.image_encoder
    loaded_from = config.get("_name_or_path") or ""
    if license is None and is_folder(loaded_from):
        license = license_of(loaded_from)
    size = f"{config.default_width}x{config.default_height}"
    makes = (
        f"{config.default_frames} frames of {size}" if config.default_frames > 1 else f"pictures of {size}"
    )
    reads = (
        "none"
        if encoder is None
        else f"{type(encoder).__name__}, width {encoder.config.hidden_size}, {encoder.config.image_size} pixels"
    )
    style = (
        "none"
        if adapter is None
        else f"{adapter.num_layers} layers, {adapter.config.num_style_tokens} style tokens"
    )
    name = type(pipe).__name__
    styled = "" if adapter is None or encoder is None else ', style_images=["style.png"]'
    return HubCard(
        title=repo_id.rpartition("/")[2],
        summary="A base model and its style adapter for [StyleCrafter](https://arxiv.org/abs/2312.00330).",
        facts={
            "base model": f"{pipe.backbone.label}, {type(pipe.backbone.denoiser).__name__}",
            "image encoder": reads,
            "style adapter": style,
            "makes": makes,
        },
        code=(
            f"from stylecrafter import {name}\n\n"
            f'pipe = {name}.from_pretrained("{repo_id}")\n'
            f'out = pipe("a red fox running"{styled})'
        ),
        license=license,
        base_model=base_model,
        training=training,
    )
