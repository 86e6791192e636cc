"""`stylecrafter data preview`: contact sheets of what a model would be trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylecrafter.cli.console import say, show

if TYPE_CHECKING:
    from PIL import Image


def preview(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write: .png, or .webp, .mp4, .gif for clips.")
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(help="Folder of pictures and clips; StyleWorld if not given.", show_default=False),
    ] = None,
    vocabulary: Annotated[
        str, typer.Option("--vocabulary", help="Part of StyleWorld: small, medium, full, held-out.")
    ] = "full",
    split: Annotated[
        str, typer.Option("--split", help="Palettes and parameters: train, or held-out.")
    ] = "train",
    style: Annotated[
        list[str] | None, typer.Option("--style", help="Style kind; may be given several times.")
    ] = None,
    rows: Annotated[int, typer.Option("--rows", help="Rows of each style kind.")] = 1,
    columns: Annotated[int, typer.Option("--columns", help="Pictures of a row.")] = 6,
    frames: Annotated[int, typer.Option("--frames", help="More than 1 shows clips, in .png as strips.")] = 1,
    size: Annotated[int, typer.Option("--size", help="Pixels of a picture.")] = 128,
    fps: Annotated[float, typer.Option("--fps", help="Frames per second of a moving sheet.")] = 8.0,
    seed: Annotated[int, typer.Option("--seed", help="Random seed.")] = 0,
) -> None:
    """Draw contact sheets of StyleWorld, or of a folder of pictures."""
    from stylecrafter.errors import InvalidInputError, unknown_name
    from stylecrafter.media.files import check_writable
    from stylecrafter.media.overwriting import refuse_overwriting
    from stylecrafter.media.video import check_format, check_suffix, write_frames

    if split not in ("train", "held-out"):
        raise unknown_name("split", split, ("train", "held-out"))
    still = output.suffix.lower() == ".png"
    moving = 1 if still or folder is not None else frames
    check_format(check_suffix(output, moving), moving, size, size, fps)
    refuse_overwriting([output], [], [] if folder is None else [folder])
    check_writable(output)
    if folder is not None:
        if style:
            raise InvalidInputError("--style chooses from StyleWorld; a folder is shown as it is.")
        sheets, skipped = _folder_sheet(folder, rows * columns, columns, size)
        for problem in skipped:
            say(f"skipped: {problem}")
    else:
        sheets = _world_sheets(vocabulary, split, style or [], rows, columns, frames, size, seed, still)
    path = write_frames(sheets, output, fps)
    show(
        f"{path}  {len(sheets)} sheet{'s' if len(sheets) > 1 else ''} of {sheets[0].width}x{sheets[0].height}"
    )


def _world_sheets(
    vocabulary: str,
    split: str,
    styles: list[str],
    rows: int,
    columns: int,
    frames: int,
    size: int,
    seed: int,
    still: bool,
) -> list[Image.Image]:
    from stylecrafter.errors import unknown_name
    from stylecrafter.styleworld.sheets import world_sheets
    from stylecrafter.styleworld.splits import find_vocabulary
    from stylecrafter.styleworld.styles import STYLE_NAMES

    for name in styles:
        if name not in STYLE_NAMES:
            raise unknown_name("style kind", name, STYLE_NAMES)
    return world_sheets(
        find_vocabulary(vocabulary),
        split="held_out" if split == "held-out" else "train",
        styles=styles,
        rows=rows,
        columns=columns,
        frames=frames,
        size=size,
        seed=seed,
        strips=still and frames > 1,
    )


def _folder_sheet(folder: Path, count: int, columns: int, size: int) -> tuple[list[Image.Image], list[str]]:
    """A sheet of up to `count` readable files (of a clip its first frame), and what could not be read."""
    from stylecrafter.data.folder import read_folder
    from stylecrafter.data.records import CLIP_SUFFIXES, PICTURE_SUFFIXES, reason_of
    from stylecrafter.data.samples import load_whole
    from stylecrafter.errors import InvalidInputError
    from stylecrafter.styleworld.sheets import contact_sheet

    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is not a folder; give one with pictures, or none for StyleWorld.")
    found = read_folder(folder)
    pictures: list[Image.Image] = []
    captions: list[str] = []
    problems = [f"{problem.name}: {problem.reason}" for problem in found.problems]
    for record in found.records:
        if len(pictures) == count:
            break
        try:
            picture = load_whole(record)
        except InvalidInputError as error:
            problems.append(f"{record.label}: {reason_of(error, record.label)}")
            continue
        pictures.append(picture)
        captions.append(f"{record.path.name}: {record.caption or ''}".rstrip(": "))
    if not pictures:
        endings = ", ".join(sorted(PICTURE_SUFFIXES | CLIP_SUFFIXES))
        raise InvalidInputError(
            f"{folder} holds no picture or clip that can be read"
            + (f"; first problem: {problems[0]}" if problems else f" ({endings}).")
        )
    return [contact_sheet(pictures, captions, columns, size)], problems
