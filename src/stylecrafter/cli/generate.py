"""`stylecrafter generate`: one clip or picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylecrafter.cli import options
from stylecrafter.cli.console import say_json, show, show_json

VIDEO = "Video"


def _some_style(context: typer.Context, given: list[Path] | None) -> list[Path] | None:
    if not given and not context.params.get("style_at"):
        raise typer.BadParameter("give a picture or the name of a saved style; or several, with --style-at.")
    return given


@options.takes_sampling()
def generate(
    prompt: Annotated[str, typer.Argument(help="What is to be seen, in words.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .mp4, .gif, .webp, .png.")],
    sampling: options.Sampling,
    style: Annotated[
        list[Path] | None,
        typer.Option(
            "--style",
            help="Style picture, or name of a saved style; may be given several times.",
            callback=_some_style,
            is_eager=True,
        ),
    ] = None,
    style_weight: options.StyleWeight = None,
    style_mask: Annotated[
        list[Path] | None,
        typer.Option("--style-mask", help="Where the style acts (white); one, or one for every --style."),
    ] = None,
    negative_style: Annotated[
        list[Path] | None,
        typer.Option(
            "--negative-style", help="Picture whose style to move away from; may be given several times."
        ),
    ] = None,
    style_at: Annotated[
        list[str] | None,
        typer.Option(
            "--style-at",
            metavar="PART:PIC",
            help="Style at a part of the clip, 0 to 1, such as 0:a.png and 1:b.png; it changes in between.",
            is_eager=True,  # before the callback of --style asks for it
        ),
    ] = None,
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
        styles=style or [],
        weights=style_weight,
        style_masks=style_mask or (),
        negative_styles=negative_style or (),
        styles_at=style_at or [],
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
