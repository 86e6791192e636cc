"""Contact sheets: pictures in rows, each with its caption below."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont

from stylecrafter.errors import InvalidInputError
from stylecrafter.media.tensors import to_pictures
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.styles import STYLE_NAMES

GAP, LINE, LETTER = 4, 12, 10
#: Lines of a caption that are shown; longer ones end in dots.
LINES = 5


def contact_sheet(
    pictures: Sequence[Image.Image], captions: Sequence[str], columns: int, size: int
) -> Image.Image:
    """Lay pictures out in rows.

    Args:
        pictures: Of any size; each is fitted into a square.
        captions: One per picture, or none at all.
        columns: Pictures of a row.
        size: Pixels of a square.

    Raises:
        InvalidInputError: No pictures, or another number of captions.
    """
    if not pictures or columns < 1 or size < 16:
        raise InvalidInputError(
            f"cannot lay out {len(pictures)} pictures of {size} pixels in {columns} columns; "
            "at least 1 picture, 16 pixels and 1 column"
        )
    if captions and len(captions) != len(pictures):
        raise InvalidInputError(
            f"{len(pictures)} pictures have {len(captions)} captions; one for each, or none"
        )
    columns = min(columns, len(pictures))
    font = ImageFont.load_default(LETTER)
    texts = [_wrap(caption, size, font) for caption in captions]
    lines = max(map(len, texts), default=0)
    text_height = lines * LINE + GAP if lines else 0
    width, height = size + GAP, size + GAP + text_height
    rows = -(-len(pictures) // columns)
    # Even sides, as most video formats want them.
    full = (columns * width + GAP, rows * height + GAP)
    sheet = Image.new("RGB", (full[0] + full[0] % 2, full[1] + full[1] % 2), "white")
    draw = ImageDraw.Draw(sheet)
    for i, picture in enumerate(pictures):
        left, top = GAP + i % columns * width, GAP + i // columns * height
        small = picture if picture.size == (size, size) else _fit(picture, size)
        sheet.paste(small, (left + (size - small.width) // 2, top + (size - small.height) // 2))
        for k, line in enumerate(texts[i] if texts else ()):
            draw.text((left, top + size + 2 + k * LINE), line, fill="black", font=font)
    return sheet


def world_sheets(
    vocabulary: splits.Vocabulary,
    *,
    split: world.Split = "train",
    styles: Sequence[str] = (),
    rows: int = 1,
    columns: int = 6,
    frames: int = 1,
    size: int = 128,
    seed: int = 0,
    strips: bool = False,
) -> list[Image.Image]:
    """Contact sheets of StyleWorld: `rows` rows per style kind, as one sheet per frame.

    Args:
        styles: Kinds to show; none shows all of the vocabulary.
        frames: 1 draws pictures, more draw clips.
        strips: The frames of a clip beside each other on one sheet, a clip a row, instead of one sheet per frame.

    Raises:
        InvalidInputError: Fewer than 1 row, column or frame, or pictures under 16 pixels.
    """
    if min(rows, columns, frames) < 1:
        raise InvalidInputError(
            f"cannot show {rows} rows of {columns} columns and {frames} frames; at least 1 of each"
        )
    kinds = [STYLE_NAMES.index(name) for name in (styles or vocabulary.styles)]
    of_kind = rows if strips else rows * columns
    batch = world.sample(
        len(kinds) * of_kind, torch.Generator().manual_seed(seed), vocabulary=vocabulary, split=split
    )
    batch = batch.replace(style=torch.tensor(kinds).repeat_interleave(of_kind))
    captions = batch.full_captions(random.Random(seed), moving=frames > 1)
    named = [f"[{STYLE_NAMES[k]}] {text}" for k, text in zip(batch.style.tolist(), captions, strict=True)]
    clips = world.render(batch, size, frames)
    if strips:
        texts = [text if k == 0 else "" for text in named for k in range(frames)]
        return [contact_sheet(to_pictures(clips.flatten(0, 1)), texts, frames, size)]
    return [contact_sheet(to_pictures(clips[:, k]), named, columns, size) for k in range(frames)]


def _fit(picture: Image.Image, size: int) -> Image.Image:
    small = picture.convert("RGB")
    small.thumbnail((size, size))
    return small


def _wrap(text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    lines = [line for line in lines if line]
    return lines if len(lines) <= LINES else [*lines[: LINES - 1], f"{lines[LINES - 1]} …"]
