"""What the page of an adapter on the hub says."""

from __future__ import annotations

from typing import Any

from stylecrafter.weights.hub import HubCard


def adapter_card(
    adapter: Any, repo_id: str, license: str | None, base_model: str | None, training: str
) -> HubCard:
    """The card of a `StyleAdapter`.

    Args:
        adapter: Attached to its base model, where the card is to name that model's class.
        repo_id: Where it will lie.
        license: None: not stated.
        base_model: Hub id of the base model.
        training: What it has learned from, and how.
    """
    config = adapter.config
    attached = adapter._attachment
    family = f"{type(attached.module).__name__}, " if attached is not None else ""
    count = sum(value.numel() for value in adapter.state_dict().values())
    base = f"[{base_model}](https://huggingface.co/{base_model}), " if base_model else ""
    layers = f"{adapter.num_layers} cross-attention layers, text of width {config['text_dim']}"
    # Models of this package's own classes are whole ones, with an image encoder in their folder.
    ours = attached is not None and type(attached.module).__module__.partition(".")[0] == "stylecrafter"
    opened_by, encoder = (
        ("from_pretrained", "")
        if ours
        else ("from_base", ', image_encoder="folder or hub id of the image encoder"')
    )
    return HubCard(
        title=repo_id.rpartition("/")[2],
        summary="A style adapter for [StyleCrafter](https://arxiv.org/abs/2312.00330): it lets a frozen base model "
        "draw in the style of reference pictures.",
        facts={
            "base model": f"{base}{family}{layers}",
            "image encoder": f"tokens of width {config['image_dim']}",
            "extractor": f"{config['extractor_type']}, {config['num_style_tokens']} style tokens",
            "fusion": f"{config['fusion_type']}, scales {config['scale_type']}",
            "parameters": f"{count:,}",
        },
        code=(
            "from stylecrafter import StyleCrafterPipeline\n\n"
            f'pipe = StyleCrafterPipeline.{opened_by}("{base_model or "folder or hub id of the base model"}")\n'
            f'pipe.load_adapter("{repo_id}"{encoder})\n'
            'frames = pipe("a red fox running", style_images=["style.png"]).frames[0]'
        ),
        license=license,
        base_model=base_model,
        training=training,
        tags=("stylecrafter", "style-transfer", "style-adapter"),
    )
