"""`stylecrafter data`: what training would see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylecrafter.cli import options
from stylecrafter.cli.console import EXIT_BAD_INPUT, CommandGroup, say, show, show_json
from stylecrafter.cli.data_preview import preview

if TYPE_CHECKING:
    from stylecrafter.data.check import Checked

data_app = typer.Typer(
    name="data",
    help="Look at training data before training on it.",
    cls=CommandGroup,
    no_args_is_help=True,
)


@data_app.callback()
def data() -> None:
    """Look at training data before training on it."""


@data_app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A folder, a .csv, a .jsonl or a .tar.", show_default=False)],
    kind: Annotated[str | None, typer.Option("--kind", help="Only these: picture or clip.")] = None,
    frames: Annotated[int, typer.Option("--frames", help="Frames of a training clip.")] = 1,
    stride: Annotated[
        int, typer.Option("--stride", help="Every how many frames of a clip one is taken.")
    ] = 1,
    fps: Annotated[
        float | None, typer.Option("--fps", help="Frames per second, instead of a stride.")
    ] = None,
    captions: Annotated[
        str, typer.Option("--captions", help="Cleaning of captions: decouple, published or keep.")
    ] = "decouple",
    missing_captions: Annotated[
        str,
        typer.Option(
            "--missing-captions", help="What training does with files without a caption: skip, or empty."
        ),
    ] = "skip",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Open at most so many files.")] = None,
    json: options.AsJson = False,
) -> None:
    """Report what of PATH training would use, and what is broken and why.

    Every picture is decoded and every clip tried at its end. Exit code 0 if something can be used, 2 if nothing can.
    """
    from stylecrafter.data.check import check_data

    checked = check_data(
        path,
        kind=kind,
        num_frames=frames,
        stride=stride,
        fps=fps,
        cleaning=captions,
        missing_captions=missing_captions,
        limit=limit,
    )
    if json:
        show_json({"path": str(path), **checked.as_dict()})
    else:
        _show(path, checked, missing_captions)
    if not checked.usable:
        say(f"error: nothing in {path} can be used for training: {checked.why_nothing()}.")
        raise typer.Exit(EXIT_BAD_INPUT)


data_app.command()(preview)


def _show(path: Path, checked: Checked, missing_captions: str) -> None:
    content = checked.as_dict()
    show(f"{path}: {checked.pictures} pictures and {checked.clips} clips can be used")
    rows = {
        "sizes": ", ".join(f"{row['size']} ({row['count']})" for row in content["sizes"][:5]),
        "short side": _range(content["short_side"], " pixels"),
        "durations": _range(content["seconds"], " s"),
        "fps": _range(content["fps"], ""),
        "style groups": f"{checked.groups} with two or more members" if checked.groups else "",
        "captions": f"{checked.changed_captions} lose words of style",
    }
    for label, text in rows.items():
        if text:
            show(f"  {label:<14}{text}")
    for before, after in checked.examples:
        show(f"    {before!r} -> {after!r}")
    for note in checked.notes:
        show(f"  note          {note}")
    verdict = (
        "used with an empty one"
        if missing_captions == "empty"
        else "not used; missing_captions: empty uses them with an empty one"
    )
    _list(f"without a caption ({verdict})", checked.missing_captions)
    _list(f"whose caption is style alone ({verdict})", checked.emptied_captions)
    _list("broken", [f"{problem.name}: {problem.reason}" for problem in checked.problems])


def _list(title: str, lines: list[str]) -> None:
    if lines:
        show(f"{len(lines)} {title}:")
        for line in lines:
            show(f"  {' '.join(line.split())}")


def _range(summary: dict[str, float] | None, unit: str) -> str:
    if summary is None:
        return ""
    return f"{summary['least']:g} to {summary['most']:g}{unit}, median {summary['median']:g}"
