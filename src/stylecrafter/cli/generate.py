"""`stylecrafter generate`: one clip or picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylecrafter.cli import options
from stylecrafter.cli.console import show, show_json


def generate(
    prompt: Annotated[str, typer.Argument(help="What is to be seen, in words.", show_default=False)],
    style: Annotated[list[Path], typer.Option("--style", help="Style picture; may be given several times.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .mp4, .gif, .webp, .png.")],
    model: options.Model = "mini",
    seed: options.Seed = None,
    steps: options.Steps = None,
    frames: options.Frames = None,
    size: options.Size = None,
    fps: options.Fps = None,
    style_scale: options.StyleScale = 1.0,
    text_guidance: options.TextGuidance = None,
    style_guidance: options.StyleGuidance = None,
    guidance_stop: options.GuidanceStop = None,
    shared_noise: options.SharedNoise = None,
    style_corners: options.StyleCorners = None,
    negative: options.Negative = "",
    scheduler: options.Scheduler = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    no_metadata: options.NoMetadata = False,
    json: options.AsJson = False,
) -> None:
    """Make a clip (or a picture) of PROMPT in the style of one or more pictures."""
    from stylecrafter.generation.engine import generate_file

    settings = options.make_settings(
        prompt=prompt,
        styles=style,
        model=model,
        seed=seed,
        steps=steps,
        frames=frames,
        size=size,
        fps=fps,
        style_scale=style_scale,
        text_guidance=text_guidance,
        style_guidance=style_guidance,
        guidance_stop=guidance_stop,
        shared_noise=shared_noise,
        style_corners=style_corners,
        negative_prompt=negative,
        scheduler=scheduler,
        device=device,
        dtype=dtype,
    )
    made = generate_file(settings, output, embed=not no_metadata)
    if json:
        show_json(made.as_dict())
    else:
        r = made.record
        show(f"{made.path}  {r.frames} frames {r.width}x{r.height}  seed {r.seed}  {made.seconds:.1f} s")
