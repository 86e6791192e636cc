"""A model on styles that training never saw: 20 references x 12 prompts of StyleWorld, beside real renders.

    python benchmarks/held_out_styles.py --clips runs/held_out [--model mini] [--output result.json]

Generated clips are kept in the folder of --clips and are not made again, so that a run which was stopped goes on.
Probes for object, scene and motion are trained on real renders first; their own accuracy is the column of real renders.
Text only is the same prompts at style scale 0, one clip per prompt, which is asked about every reference.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from stylecrafter import StyleCrafterPipeline
from stylecrafter.evaluation.held_out import HeldOutSet, held_out_set, measure
from stylecrafter.evaluation.probes import QUESTIONS, train_probe
from stylecrafter.media.tensors import to_pictures
from stylecrafter.styleworld import splits, world

logger = logging.getLogger("held_out_styles")


def generate(
    pipe: StyleCrafterPipeline,
    held_out: HeldOutSet,
    rows: list[int],
    pictures: list[Image.Image] | None,
    folder: Path,
    args: argparse.Namespace,
) -> torch.Tensor:
    """The clips of these rows, in the styles of `pictures` or from text alone: (n, f, 3, h, w) in [0, 1]."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {row: folder / f"{row:04d}.npy" for row in rows}
    missing = [row for row in rows if not paths[row].is_file()]
    for first in range(0, len(missing), args.batch):
        some = missing[first : first + args.batch]
        out = pipe(
            [held_out.texts[int(held_out.prompt_of[row])] for row in some],
            style_images=None
            if pictures is None
            else [[pictures[int(held_out.reference_of[row])]] for row in some],
            num_inference_steps=args.steps or pipe.config.default_steps,
            generator=[torch.Generator().manual_seed(args.seed * 10000 + row) for row in some],
        )
        for row, frames in zip(some, out.frames, strict=True):
            half = paths[row].with_suffix(".part")
            with half.open("wb") as file:
                np.save(file, np.stack([np.asarray(frame) for frame in frames]))
            half.replace(paths[row])
        logger.info("%s: %d of %d clips to make", folder.name, first + len(some), len(missing))
    clips = np.stack([np.load(paths[row]) for row in rows])
    return torch.from_numpy(clips).permute(0, 1, 4, 2, 3).float() / 255


def run(args: argparse.Namespace) -> dict[str, Any]:
    pipe = StyleCrafterPipeline.from_pretrained(args.model)
    pipe.set_progress_bar_config(disable=True)
    size, frames = pipe.config.default_height, pipe.config.default_frames
    vocabulary = splits.find_vocabulary(args.vocabulary)
    held_out = held_out_set(vocabulary, references=args.references, prompts=args.prompts, seed=args.seed)
    references = world.render(held_out.references, size)[:, 0]
    pictures = to_pictures(references)
    every = list(range(len(held_out)))
    started = time.monotonic()
    styled = generate(pipe, held_out, every, pictures, args.clips / "styled", args)
    # Text alone knows no reference: the clips of the first reference's row stand for those of all of them.
    text_only = generate(pipe, held_out, every[: args.prompts], None, args.clips / "text_only", args)
    seconds = time.monotonic() - started
    rows = torch.tensor(every)
    probes = {
        question: train_probe(question, vocabulary, size=size, steps=args.probe_steps, seed=args.seed)
        for question in QUESTIONS
    }
    sets = {
        "generated": styled,
        "text only": text_only.repeat(args.references, 1, 1, 1, 1),
        "real renders": held_out.real_clips(rows, size, frames),
    }
    result: dict[str, Any] = {
        "model": str(args.model),
        "references": args.references,
        "prompts": args.prompts,
        "seconds_for_missing_clips": round(seconds, 1),
        "chance": {"found": 1 / args.references, "object": 1 / len(vocabulary.objects)},
    }
    for name, clips in sets.items():
        logger.info("measuring: %s", name)
        result[name] = dataclasses.asdict(measure(held_out, clips, rows, probes, references))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, required=True, help="folder that keeps the generated clips")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--vocabulary", default="small", help="the part of StyleWorld that the model knows")
    parser.add_argument("--references", type=int, default=20)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--batch", type=int, default=6, help="clips that are made together")
    parser.add_argument("--steps", type=int, help="denoising steps (default: the model's)")
    parser.add_argument("--probe-steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    text = json.dumps(run(args), indent=2)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
