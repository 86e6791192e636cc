"""`stylecrafter generate`: one clip or picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylecrafter.cli import options
from stylecrafter.cli.console import say_json, show, show_json

VIDEO = "Video"


@options.takes_sampling()
def generate(
    prompt: Annotated[str, typer.Argument(help="What is to be seen, in words.", show_default=False)],
    style: Annotated[list[Path], typer.Option("--style", help="Style picture; may be given several times.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .mp4, .gif, .webp, .png.")],
    sampling: options.Sampling,
    style_weight: options.StyleWeight = None,
    video: Annotated[
        Path | None,
        typer.Option(
            "--video",
            help="Clip to begin with; its size, frames, frame rate and sound are kept.",
            rich_help_panel=VIDEO,
        ),
    ] = None,
    start: Annotated[
        float | None,
        typer.Option("--start", help="Seconds into the video to begin at.", rich_help_panel=VIDEO),
    ] = None,
    duration: Annotated[
        float | None, typer.Option("--duration", help="Seconds of the video to use.", rich_help_panel=VIDEO)
    ] = None,
    no_metadata: options.NoMetadata = False,
    lossless: options.Lossless = False,
    json_progress: options.JsonProgress = False,
    json: options.AsJson = False,
) -> None:
    """Make a clip (or a picture) of PROMPT in the style of one or more pictures."""
    from stylecrafter.generation.engine import generate_file

    settings = options.make_settings(
        prompt=prompt,
        styles=style,
        weights=style_weight,
        video=options.make_video(video, start, duration),
        **sampling,
    )
    made = generate_file(
        settings,
        output,
        embed=not no_metadata,
        lossless=lossless,
        on_step=(lambda step, steps: say_json(step=step, steps=steps)) if json_progress else None,
    )
    if json:
        show_json(made.as_dict())
    else:
        r = made.record
        frames = "1 frame" if r.frames == 1 else f"{r.frames} frames"
        show(f"{made.path}  {frames} {r.width}x{r.height}  seed {r.seed}  {made.seconds:.1f} s")
