"""`stylecrafter style`: the user's own library of styles."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stylecrafter.cli import options
from stylecrafter.cli.console import CommandGroup, say, show, show_json

if TYPE_CHECKING:
    from stylecrafter.references.saved_style import SavedStyle

style_app = typer.Typer(
    name="style",
    help="Keep styles under names, for --style.",
    cls=CommandGroup,
    no_args_is_help=True,
)
Name = Annotated[str, typer.Argument(help="Name of the style.", show_default=False)]


@style_app.callback()
def style() -> None:
    """Keep styles under names, for --style."""


@style_app.command()
def save(
    name: Name,
    style: Annotated[list[Path], typer.Option("--style", help="Style picture; may be given several times.")],
    style_weight: options.StyleWeight = None,
    style_corners: Annotated[
        bool | None,
        typer.Option(
            "--style-corners/--no-style-corners",
            help="Read a single style picture by its four corners as well as whole.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a style of that name.")] = False,
    model: options.Model = "mini",
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    motion_adapter: options.MotionAdapter = None,
    config: options.BaseConfig = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    json: options.AsJson = False,
) -> None:
    """Read a style off pictures and keep it as NAME, for the adapter of the model."""
    from stylecrafter.generation.saving_styles import save_style
    from stylecrafter.generation.settings import StyleInput

    pairs = zip(style, options.style_weights(style, style_weight), strict=True)
    styles = [StyleInput(path=path, weight=weight) for path, weight in pairs]
    parts = {"adapter": adapter, "image_encoder": image_encoder, "motion_adapter": motion_adapter}
    saved = save_style(
        name, styles, style_corners, model, device, dtype, force=force, base_config=config, **parts
    )
    if json:
        show_json(_facts(saved))
    else:
        used = {"style": name, "model": model, **parts, "config": config}
        options_of = " ".join(
            f"--{key.replace('_', '-')} {shlex.quote(value)}"
            for key, value in used.items()
            if value is not None
        )
        show(f"{saved.path}  use it with: stylecrafter generate … {options_of}")


@style_app.command("list")
def list_styles(json: options.AsJson = False) -> None:
    """List the styles that are saved."""
    from stylecrafter.errors import ImageReadError
    from stylecrafter.references.saved_style import read_style
    from stylecrafter.references.style_library import library_folder, need_saved, style_names

    found = []
    for name in style_names():
        try:
            found.append(read_style(need_saved(name)))
        except ImageReadError as error:
            say(f"warning: {error}")
    if json:
        show_json({"folder": str(library_folder()), "styles": [_facts(saved) for saved in found]})
        return
    for saved in found:
        show(f"{saved.path.stem}  {_pictures(saved)}, adapter of {saved.about.adapter}")
    if not found:
        say(f"no styles are saved in {library_folder()}; `stylecrafter style save` makes one.")


@style_app.command("show")
def show_style(
    name: Name,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write its small picture here: .jpg, .png, .webp.")
    ] = None,
    json: options.AsJson = False,
) -> None:
    """Show what a style was made from, and the small picture of it."""
    from stylecrafter.generation.saving_styles import write_thumbnail
    from stylecrafter.references.saved_style import read_style
    from stylecrafter.references.style_library import need_saved

    saved = read_style(need_saved(name))
    if output is not None:
        write_thumbnail(saved, output)
    if json:
        show_json(_facts(saved))
        return
    about = saved.about
    rows = {
        "file": str(saved.path),
        "sha256": saved.sha256,
        "adapter": about.adapter,
        "image encoder": about.encoder,
        "corners": "read as well" if about.corners and len(about.sources) == 1 else "not read",
        "style tokens": f"{saved.tokens.shape[0]} of width {saved.tokens.shape[1]}",
    }
    for label, value in rows.items():
        show(f"{label:<20}{value}")
    for source in about.sources:
        weight = "" if source.weight == 1 else f"  weight {source.weight:g}"
        show(f"{'picture':<20}{source.name or 'without a file'}  sha256 {source.sha256[:16]}…{weight}")


@style_app.command()
def remove(name: Name) -> None:
    """Remove a style that is saved."""
    from stylecrafter.references.style_library import remove_style

    show(f"removed {remove_style(name)}")


def _pictures(saved: SavedStyle) -> str:
    names = [source.name or "a picture without a file" for source in saved.about.sources]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _facts(saved: SavedStyle) -> dict[str, Any]:
    return {
        "name": saved.path.stem,
        "path": str(saved.path),
        "sha256": saved.sha256,
        **saved.about.model_dump(),
    }
