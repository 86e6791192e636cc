"""The picture at the head of the README: style references and clips that a model made from them.

    python scripts/showcase.py [--model mini] [--styles FOLDER] [--output docs/images/mini.png]

Without --styles the references are the painting in `examples/` and pictures of StyleWorld in held-out palettes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image

from stylecrafter import StyleCrafterPipeline
from stylecrafter.media.images import load_picture
from stylecrafter.media.tensors import to_pictures
from stylecrafter.styleworld import splits, world

PROMPTS = (
    "a sailboat moving to the right at sunset",
    "a horse running left in the mountains",
    "a rocket rising up at night",
    "a car moving to the right in the city",
    "a tree in the snow",
    "a penguin jumping in the snow",
)
FRAMES = 4


def world_references(count: int, size: int) -> list[Image.Image]:
    batch = world.sample(count, torch.Generator().manual_seed(5), vocabulary=splits.SMALL, split="held_out")
    return to_pictures(world.render(batch, size)[:, 0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--styles", type=Path, help="a folder of pictures")
    parser.add_argument("--output", type=Path, default=Path("docs/images/mini.png"))
    parser.add_argument("--tile", type=int, default=128, help="side of a tile in pixels")
    args = parser.parse_args()
    pipe = StyleCrafterPipeline.from_pretrained(args.model)
    if args.styles:
        references = [load_picture(path) for path in sorted(args.styles.iterdir())][: len(PROMPTS)]
    else:
        painting = load_picture(Path(__file__).parents[1] / "examples" / "style.jpg")
        references = [painting, *world_references(len(PROMPTS) - 1, 64)]
    gap = args.tile // 16
    sheet = Image.new("RGB", ((FRAMES + 1) * args.tile + gap, len(references) * args.tile), "white")
    for row, (prompt, reference) in enumerate(zip(PROMPTS, references, strict=False)):
        out = pipe(prompt, style_images=[reference], generator=torch.Generator().manual_seed(row))
        clip = out.frames[0]
        side = min(reference.size)
        box = ((reference.width - side) // 2, (reference.height - side) // 2)
        square = reference.crop((*box, box[0] + side, box[1] + side))
        tiles = [square, *(clip[i * (len(clip) - 1) // (FRAMES - 1)] for i in range(FRAMES))]
        for column, tile in enumerate(tiles):
            where = (column * args.tile + (gap if column else 0), row * args.tile)
            sheet.paste(tile.resize((args.tile, args.tile), Image.Resampling.BICUBIC), where)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.output, optimize=True)


if __name__ == "__main__":
    main()
