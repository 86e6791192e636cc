"""`stylecrafter inspect`: the settings inside a file, and the file made again from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylecrafter.cli import options
from stylecrafter.cli.console import EXIT_FAILED, say, show, show_json


def inspect(
    file: Annotated[Path, typer.Argument(help="A clip or picture made by StyleCrafter.", show_default=False)],
    replay: Annotated[Path | None, typer.Option("--replay", help="Make it again, into this file.")] = None,
    style: Annotated[
        list[Path] | None, typer.Option("--style", help="With --replay: where the style pictures are now.")
    ] = None,
    style_mask: Annotated[
        list[Path] | None, typer.Option("--style-mask", help="With --replay: where the style masks are now.")
    ] = None,
    negative_style: Annotated[
        list[Path] | None,
        typer.Option(
            "--negative-style", help="With --replay: where the pictures of the negative style are now."
        ),
    ] = None,
    video: Annotated[
        Path | None, typer.Option("--video", help="With --replay: where the video is now.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="With --replay: where the model is now.")
    ] = None,
    adapter: Annotated[str | None, typer.Option("--adapter", help="With --replay: where it is now.")] = None,
    image_encoder: Annotated[
        str | None, typer.Option("--image-encoder", help="With --replay: where it is now.")
    ] = None,
    motion_adapter: Annotated[
        str | None, typer.Option("--motion-adapter", help="With --replay: where they are now.")
    ] = None,
    config: Annotated[str | None, typer.Option("--config", help="With --replay: where it is now.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="With --replay: another device.")] = None,
    json: options.AsJson = False,
) -> None:
    """Show the settings inside FILE; with --replay, generate it again from them."""
    parts = {
        "adapter": adapter,
        "image_encoder": image_encoder,
        "motion_adapter": motion_adapter,
        "base_config": config,
    }
    if replay is None:
        if style or style_mask or negative_style or video or model or device or any(parts.values()):
            raise typer.BadParameter("--style, --video, --model, --adapter and the like go with --replay.")
        _show_record(file, json)
        return
    from stylecrafter.generation.replay import replay as run_replay

    result = run_replay(
        file,
        replay,
        styles=style or [],
        masks=style_mask or [],
        negatives=negative_style or [],
        video=video,
        model=model,
        parts=parts,
        device=device,
    )
    if json:
        show_json({**result.made.as_dict(), "identical": result.identical})
    else:
        verdict = {True: "same frames", False: "other frames", None: "another format, not compared"}
        show(f"{result.made.path}  {verdict[result.identical]}  {result.made.seconds:.1f} s")
    if result.identical is False:
        say(f"error: the frames of {replay} differ from those of {file}.")
        raise typer.Exit(EXIT_FAILED)


def _show_record(file: Path, as_json: bool) -> None:
    from stylecrafter.generation.record import read_record

    record = read_record(file)
    if as_json:
        show_json(record.model_dump())
        return
    values = record.model_dump()
    first = {name: values[name] for name in ("format", "kind", "prompt", "negative_prompt", "styles")}
    for name, value in (first | values).items():
        if name == "styles":
            for style in value:
                weight = "" if style["weight"] == 1 else f"  weight {style['weight']:g}"
                at = f"  at {style['at']:g}" if "at" in style else ""
                show(
                    f"{'style':<22}{style['path'] or style['name']}  sha256 {style['sha256'][:16]}…{weight}{at}"
                )
        elif name in ("style_masks", "negative_styles"):
            for picture in value:
                path = picture["path"] or picture["name"]
                show(f"{name[:-1].replace('_', ' '):<22}{path}  sha256 {picture['sha256'][:16]}…")
        elif name == "video" and value is not None:
            since = f"  from {value['start']:g} s" if value["start"] else ""
            show(f"{name:<22}{value['path'] or value['name']}  sha256 {value['sha256'][:16]}…{since}")
        elif name == "model":
            show(f"{name:<22}{value['name']}  sha256 {(value['sha256'] or 'unknown')[:16]}…")
            for kind, beside in record.model.parts.items():
                show(f"{kind.replace('_', ' '):<22}{beside.name}  sha256 {beside.sha256[:16]}…")
        elif name == "versions":
            show(f"{name:<22}{', '.join(f'{key} {number}' for key, number in value.items())}")
        else:
            show(f"{name.replace('_', ' '):<22}{value}")
