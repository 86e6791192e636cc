"""`stylecrafter convert`: published checkpoints into a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylecrafter.cli.console import say, show

NUMBERS = "What the tensors' shapes cannot tell"


def convert(
    videocrafter: Annotated[Path, typer.Option("--videocrafter", help="VideoCrafter's model.ckpt.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")],
    adapter: Annotated[
        Path | None,
        typer.Option("--adapter", help="StyleCrafter's adapter_v1.pth; not needed to train a new one."),
    ] = None,
    temporal: Annotated[
        Path | None, typer.Option("--temporal", help="temporal_v1_1.pth: temporal layers made for style.")
    ] = None,
    openclip: Annotated[
        Path | None,
        typer.Option("--openclip", help="open_clip_pytorch_model.bin: needed to read style pictures."),
    ] = None,
    attention_head_dim: Annotated[int, typer.Option(min=1, rich_help_panel=NUMBERS)] = 64,
    num_frames: Annotated[int, typer.Option(min=1, rich_help_panel=NUMBERS)] = 16,
    adapter_num_heads: Annotated[int, typer.Option(min=1, rich_help_panel=NUMBERS)] = 8,
    clip_text_num_heads: Annotated[int, typer.Option(min=1, rich_help_panel=NUMBERS)] = 16,
    clip_vision_num_heads: Annotated[int, typer.Option(min=1, rich_help_panel=NUMBERS)] = 16,
) -> None:
    """Turn the published checkpoints into a folder that --model takes."""
    from stylecrafter.weights.saving import check_new_folder, save_model

    check_new_folder(output)
    from stylecrafter.weights import from_official

    pipe = from_official(
        videocrafter,
        adapter,
        temporal,
        openclip,
        attention_head_dim=attention_head_dim,
        num_frames=num_frames,
        adapter_num_heads=adapter_num_heads,
        clip_text_num_heads=clip_text_num_heads,
        clip_vision_num_heads=clip_vision_num_heads,
    )
    save_model(pipe, output)
    show(f"{output}  use it with: stylecrafter generate … --model {output}")
    if adapter is None:
        say(
            "note: without --adapter the model takes no style; `stylecrafter train paper` gives it an adapter."
        )
    if openclip is None:
        say("note: without --openclip the model cannot read style pictures, only style tokens in Python.")
