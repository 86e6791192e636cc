"""Options that several commands share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from stylecrafter.generation.settings import GenerationSettings

SAMPLING, MACHINE = "Sampling", "Machine"

Model = Annotated[
    str, typer.Option("--model", help="Embedded model, folder, or hub id.", rich_help_panel=MACHINE)
]
Seed = Annotated[int | None, typer.Option("--seed", help="Random seed; drawn and shown if not given.")]
Steps = Annotated[int | None, typer.Option("--steps", help="Denoising steps.", rich_help_panel=SAMPLING)]
Frames = Annotated[int | None, typer.Option("--frames", help="Frames; 1 makes a picture.")]
Size = Annotated[str | None, typer.Option("--size", metavar="WxH", help="Pixels, such as 128x128.")]
Fps = Annotated[float | None, typer.Option("--fps", help="Frames per second.")]
StyleScale = Annotated[
    float,
    typer.Option("--style-scale", help="Strength of the style; 0 leaves it out.", rich_help_panel=SAMPLING),
]
TextGuidance = Annotated[
    float | None, typer.Option("--text-guidance", help="Weight of the prompt.", rich_help_panel=SAMPLING)
]
StyleGuidance = Annotated[
    float | None,
    typer.Option("--style-guidance", help="Weight of the style pictures.", rich_help_panel=SAMPLING),
]
GuidanceStop = Annotated[
    float | None,
    typer.Option(
        "--guidance-stop",
        help="Part of the steps that are guided, 0 to 1; the others take a third of the time.",
        rich_help_panel=SAMPLING,
    ),
]
SharedNoise = Annotated[
    float | None,
    typer.Option(
        "--shared-noise",
        help="Part of the noise that all frames share, 0 to 1: more is steadier, and moves less.",
        rich_help_panel=SAMPLING,
    ),
]
StyleCorners = Annotated[
    bool | None,
    typer.Option(
        "--style-corners/--no-style-corners",
        help="Read a single style picture by its four corners as well as whole.",
        rich_help_panel=SAMPLING,
    ),
]
Negative = Annotated[str, typer.Option("--negative", help="What not to show.", rich_help_panel=SAMPLING)]
Scheduler = Annotated[
    str | None, typer.Option("--scheduler", help="Sampler, such as ddim or dpm++.", rich_help_panel=SAMPLING)
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.", rich_help_panel=MACHINE)
]
Dtype = Annotated[
    str, typer.Option("--dtype", help="auto, float32, float16, bfloat16.", rich_help_panel=MACHINE)
]
NoMetadata = Annotated[bool, typer.Option("--no-metadata", help="Keep prompt and settings out of the file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one json object instead of words.")]


def make_settings(*, styles: list[Path], size: str | None, **values: Any) -> GenerationSettings:
    """Options as the library takes them."""
    from pydantic import ValidationError

    from stylecrafter.errors import InvalidInputError
    from stylecrafter.generation.settings import GenerationSettings, StyleInput, parse_size

    try:
        return GenerationSettings(
            styles=tuple(StyleInput(path=path) for path in styles),
            size=None if size is None else parse_size(size),
            **values,
        )
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
        raise InvalidInputError(f"{'; '.join(problems)}.") from error
