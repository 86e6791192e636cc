"""Does a clip take the colours of a real picture? Palette distances to its own reference and to the others.

    python benchmarks/real_artworks.py FOLDER [--model mini] [--output result.json] [--sheet sheet.png]

Every picture of the folder is the reference of every prompt. Of each clip and each other reference it is asked whether
the clip's own reference is nearer, by the sliced Wasserstein distance of colours in Lab; chance is 1/2. The same
prompts without a picture say what text alone gives.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps

from stylecrafter import StyleCrafterPipeline
from stylecrafter.evaluation.metrics.colour import palette_distance
from stylecrafter.media.images import load_picture
from stylecrafter.media.tensors import clip_to_tensor, to_pictures, to_tensor

logger = logging.getLogger("real_artworks")
PROMPTS = ("a sailboat at sunset", "a horse in the mountains", "a house in the snow")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
#: References are measured at this size: what is finer does not change a palette.
SIDE = 128


def run(args: argparse.Namespace) -> dict[str, Any]:
    paths = sorted(path for path in args.folder.iterdir() if path.suffix.lower() in SUFFIXES)[: args.limit]
    if len(paths) < 2:
        raise SystemExit(f"{args.folder} has {len(paths)} pictures; at least 2 are needed to compare")
    pipe = StyleCrafterPipeline.from_pretrained(args.model)
    pipe.set_progress_bar_config(disable=True)
    pictures = [load_picture(path) for path in paths]
    references = torch.stack([to_tensor(ImageOps.fit(picture, (SIDE, SIDE))) for picture in pictures])
    settings = {"num_frames": args.frames or pipe.config.default_frames}

    def clip_of(row: int, prompt: int, picture: Image.Image | None) -> torch.Tensor:
        out = pipe(
            PROMPTS[prompt],
            style_images=None if picture is None else [picture],
            generator=torch.Generator().manual_seed(args.seed * 10000 + row * 100 + prompt),
            **settings,
        )
        return clip_to_tensor(out.frames[0])

    text_only = [clip_of(0, prompt, None) for prompt in range(len(PROMPTS))]
    nearer: dict[str, list[float]] = {"generated": [], "text only": []}
    rows = []
    for row, picture in enumerate(pictures):
        clips = [clip_of(row, prompt, picture) for prompt in range(len(PROMPTS))]
        for name, some in (("generated", clips), ("text only", text_only)):
            for clip in some:
                distance = palette_distance(clip, references).mean(0)
                others = torch.arange(len(paths)) != row
                nearer[name].append(float((distance[row] < distance[others]).float().mean()))
        shown = ImageOps.fit(picture, (clips[0].shape[-1], clips[0].shape[-2]))
        rows.append(torch.cat([to_tensor(shown), *(clip[len(clip) // 2] for clip in clips)], 2))
        logger.info("%d of %d references: %s", row + 1, len(paths), paths[row].name)
    if args.sheet:
        to_pictures(torch.cat(rows, 1)[None])[0].save(args.sheet)
    return {
        "model": str(args.model),
        "references": [path.name for path in paths],
        "prompts": PROMPTS,
        "own_reference_nearer": {name: sum(rates) / len(rates) for name, rates in nearer.items()},
        "chance": 0.5,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="pictures that are the references")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--limit", type=int, help="use only the first pictures")
    parser.add_argument("--frames", type=int, help="frames of each clip (default: the model's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the figures here as JSON")
    parser.add_argument(
        "--sheet", type=Path, help="write a contact sheet here: reference, then one frame per prompt"
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    text = json.dumps(run(args), indent=2)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
