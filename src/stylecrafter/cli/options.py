"""Options that several commands share, each written once; those of sampling are made from its knobs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.sampling_params import SamplingParams

if TYPE_CHECKING:
    from stylecrafter.generation.settings import GenerationSettings
    from stylecrafter.generation.source_video import VideoInput

MACHINE, MODEL = "Machine", "Model"

Sampling = dict[str, Any]
"""Options of sampling by the names of their settings; see `takes_sampling`."""
Model = Annotated[
    str,
    typer.Option(
        "--model",
        help="Embedded model, folder, hub id, or single file; ours, or a base model of diffusers.",
        rich_help_panel=MODEL,
    ),
]
Adapter = Annotated[
    str | None,
    typer.Option(
        "--adapter",
        help="Style adapter for it, ours or published: file, folder, or hub id.",
        rich_help_panel=MODEL,
    ),
]
ImageEncoder = Annotated[
    str | None,
    typer.Option(
        "--image-encoder",
        help="What the adapter reads pictures with: folder or hub id.",
        rich_help_panel=MODEL,
    ),
]
MotionAdapter = Annotated[
    str | None,
    typer.Option(
        "--motion-adapter",
        help="Motion modules that make clips of Stable Diffusion 1.5: file, folder, or hub id.",
        rich_help_panel=MODEL,
    ),
]
BaseConfig = Annotated[
    str | None,
    typer.Option(
        "--config",
        help="For a model in a single file: folder or hub id of one of its kind.",
        rich_help_panel=MODEL,
    ),
]
PARTS = {
    "adapter": Adapter,
    "image_encoder": ImageEncoder,
    "motion_adapter": MotionAdapter,
    "base_config": BaseConfig,
}
"""What may stand beside the model, by the names of its settings."""
Size = Annotated[str | None, typer.Option("--size", metavar="WxH", help="Pixels, such as 128x128.")]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.", rich_help_panel=MACHINE)
]
Dtype = Annotated[
    str, typer.Option("--dtype", help="auto, float32, float16, bfloat16.", rich_help_panel=MACHINE)
]
LowMemory = Annotated[
    bool,
    typer.Option(
        "--low-memory",
        help="Less memory, more time: one pass and one frame at a time, and one model at a time on a GPU.",
        rich_help_panel=MACHINE,
    ),
]
Offload = Annotated[
    str,
    typer.Option(
        "--offload",
        help="What leaves a GPU while it waits: none, model, group (single layers); auto: what --low-memory says.",
        rich_help_panel=MACHINE,
    ),
]
Weights = Annotated[
    str,
    typer.Option(
        "--weights",
        help="How weights are kept: full, or in 8 bits as fp8 or int8 (needs torchao).",
        rich_help_panel=MACHINE,
    ),
]
MEMORY: dict[str, tuple[Any, bool | str]] = {
    "low_memory": (LowMemory, False),
    "offload": (Offload, "auto"),
    "weights_as": (Weights, "full"),
}
"""How memory is saved, by the names of its settings: options and what they are where nobody says."""
StyleWeight = Annotated[
    list[float] | None,
    typer.Option("--style-weight", help="How much a picture counts; once for every --style, in their order."),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="mp4, gif, webp, or png for pictures.",
        show_default="mp4, or png if the model makes pictures",
    ),
]
NoMetadata = Annotated[bool, typer.Option("--no-metadata", help="Keep prompt and settings out of the file.")]
Lossless = Annotated[
    bool, typer.Option("--lossless", help="Keep every pixel as it is; for .webp (.png always does).")
]
WORKERS = "Spreading the work"
Workers = Annotated[
    str | None,
    typer.Option(
        "--workers",
        help="Processes that make clips side by side, each with a model: a number, or auto (one per GPU).",
        rich_help_panel=WORKERS,
    ),
]
WorkerThreads = Annotated[
    int | None,
    typer.Option(
        "--worker-threads",
        help="Threads of each on processors; default: they share the cores.",
        rich_help_panel=WORKERS,
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        help="Workers on a Ray cluster: its address, auto, or local for this machine's own.",
        rich_help_panel=WORKERS,
    ),
]
JsonProgress = Annotated[
    bool, typer.Option("--json-progress", help="Say every step as a line of json on stderr.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one json object instead of words.")]


def takes_sampling(**helps: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that every clip has, in the place of its parameter `sampling`.

    Args:
        **helps: What an option does in this command, by the name of its setting, where that is something else.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        options = list(_sampling_options(helps))
        parameters = list(signature.parameters.values())
        place = list(signature.parameters).index("sampling")
        parameters[place : place + 1] = options

        @functools.wraps(command)
        def run(**given: Any) -> None:
            sampling = {option.name: given.pop(option.name) for option in options}
            command(**given, sampling=sampling)

        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _sampling_options(helps: dict[str, str]) -> Iterator[inspect.Parameter]:
    """The model, every knob that has a flag, the size, and the machine."""

    def option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
        return inspect.Parameter(
            name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation
        )

    yield option("model", Model, "mini")
    for name, annotation in PARTS.items():
        yield option(name, annotation, None)
    for name, knob in SamplingParams.knobs().items():
        field, words = SamplingParams.model_fields[name], helps.get(name, knob.help)
        if knob.flag:
            made = typer.Option(knob.flag, help=words, rich_help_panel=knob.panel or None)
            yield option(name, Annotated[field.annotation, made], field.default)
        elif name == "width":  # and height
            yield option("size", Size, None)
    yield option("device", Device, "auto")
    yield option("dtype", Dtype, "auto")
    for name, (kind, default) in MEMORY.items():
        yield option(name, kind, default)


def make_settings(
    *,
    styles: Sequence[Path],
    weights: Sequence[float] | None = None,
    styles_at: Sequence[str] = (),
    **values: Any,
) -> GenerationSettings:
    """Options as the library takes them.

    Raises:
        InvalidInputError: As many weights as pictures are needed, or none.
    """
    from stylecrafter.generation.settings import GenerationSettings, StyleInput

    pairs = zip(styles, style_weights(styles, weights), strict=True)
    given = [StyleInput(path=path, weight=weight) for path, weight in pairs]
    placed = [StyleInput(path=path, at=at) for at, path in map(_placed, styles_at)]
    return GenerationSettings(styles=(*given, *placed), **values)


def style_weights(styles: Sequence[Path], weights: Sequence[float] | None) -> Sequence[float]:
    """The weights of style pictures; 1 for each where none are given.

    Raises:
        InvalidInputError: As many weights as pictures are needed, or none.
    """
    if weights and len(weights) != len(styles):
        raise InvalidInputError(
            f"give --style-weight as often as --style: {len(weights)} for {len(styles)} pictures."
        )
    return weights or [1.0] * len(styles)


def suffix_of(format: str | None) -> str | None:
    """The suffix of an output format; None: that of what the model makes."""
    return None if format is None else f".{format.lower().lstrip('.')}"


def make_video(path: Path | None, start: float | None, duration: float | None) -> VideoInput | None:
    """A video and its part as the library takes them.

    Raises:
        InvalidInputError: A part of no video, or one that cannot be.
    """
    from stylecrafter.generation.source_video import ask_for_video

    return ask_for_video(path, start, duration)


def _placed(text: str) -> tuple[float, Path]:
    """ "0.5:a.png" as the place and the picture."""
    place, colon, path = text.partition(":")
    try:
        at = float(place)
    except ValueError:
        at = float("nan")
    if not colon or not path or not 0 <= at <= 1:
        raise typer.BadParameter(
            f"--style-at is a part of the clip from 0 to 1, a colon and a picture, such as 0.5:a.png, not {text!r}."
        )
    return at, Path(path)
