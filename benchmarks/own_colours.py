"""Does "a red car" give the object its colour, and leave the rest to the reference's palette? Measured on StyleWorld.

    python benchmarks/own_colours.py [--model mini] [--references 10] [--prompts 12] [--output result.json]

Held-out styles (the last ones of kinds that training never shows) x prompts that name a colour of the object, one
picture each. Every prompt is asked for twice from the same noise, in a colour and in one from across the wheel:

* own palette nearer: in how many comparisons the picture's palette is nearer to that of its own reference than to that
  of another (`evaluation.metrics.colour`), in pictures of named colours and, from the same noise, without them;
* colour right: whether the two pictures differ as the two colours do (their difference along that of the colours);
* part that changes: how much of the picture the word changes by more than 0.1. Renders say what is right.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
from pathlib import Path

import torch
from torch import Tensor

from stylecrafter import StyleCrafterPipeline
from stylecrafter.evaluation.metrics.colour import palette_distance
from stylecrafter.evaluation.truth.held_out import held_out_set
from stylecrafter.evaluation.truth.world_set import world_set_for
from stylecrafter.media.tensors import clip_to_tensor, to_pictures
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.palettes import OBJECT_COLOURS, object_palettes

#: Asked for, and the one from the other side.
PAIRS = (
    ("red", "cyan"),
    ("green", "magenta"),
    ("blue", "yellow"),
    ("orange", "blue"),
    ("purple", "lime"),
    ("pink", "green"),
)


def nearer(pictures: Tensor, references: Tensor, of: Tensor) -> list[float]:
    """For each picture, the part of other references whose palette is farther away than that of its own."""
    distances = palette_distance(pictures, references)
    own = distances.gather(1, of[:, None])
    return ((distances > own).float().sum(1) / (len(references) - 1)).tolist()


def told_apart(first: Tensor, second: Tensor, colours: Tensor) -> tuple[float, float]:
    """Whether two pictures (3, h, w) differ as two colours (2, 3) do (1 or 0), and the part of them that differs."""
    difference = first - second
    along = (difference * (colours[0] - colours[1])[:, None, None]).sum()
    return float(along > 0), float((difference.abs().amax(0) > 0.1).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--references", type=int, default=10)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    pipe = StyleCrafterPipeline.from_pretrained(args.model)
    pipe.set_progress_bar_config(disable=True)
    vocabulary = splits.find_vocabulary(world_set_for(args.model).vocabulary)
    drawn = held_out_set(
        vocabulary, references=args.references, prompts=args.prompts, unseen_kinds=3, seed=args.seed
    )
    size = pipe.config.default_height
    references = world.render(drawn.references, size)[:, 0]
    styles = to_pictures(references)
    mids = object_palettes(torch.arange(len(OBJECT_COLOURS)))[:, 2]

    def captions(colour: str | None) -> list[str]:
        index = -1 if colour is None else OBJECT_COLOURS.index(colour)
        things = dataclasses.replace(drawn.prompts, colour=torch.full((args.prompts,), index))
        return things.content_captions(random.Random(args.seed), moving=False)

    scores: dict[str, list[float]] = {}

    def add(name: str, values: list[float]) -> None:
        scores.setdefault(name, []).extend(values)

    for r in range(args.references):
        pair = PAIRS[r % len(PAIRS)]
        asked: dict[str, list[str]] = {
            "named": captions(pair[0]),
            "other": captions(pair[1]),
            "none": captions(None),
        }
        made = {}
        for name, prompts in asked.items():
            out = pipe(
                prompts, styles[r], num_frames=1, seed=args.seed * 1000 + r, num_inference_steps=args.steps
            )
            made[name] = torch.cat([clip_to_tensor(frames) for frames in out.frames])
        colours = [OBJECT_COLOURS.index(name) for name in pair]
        contents = drawn.prompts.in_style_of(drawn.references[[r] * args.prompts])
        for name, colour in zip(("named", "other"), colours, strict=True):
            painted = dataclasses.replace(contents, colour=torch.full((args.prompts,), colour))
            made[f"render {name}"] = world.render(painted, size)[:, 0]
        of = torch.full((args.prompts,), r)
        add("own palette nearer", nearer(made["named"], references, of))
        add("own palette nearer, no colour named", nearer(made["none"], references, of))
        add("own palette nearer, renders", nearer(made["render named"], references, of))
        for prefix, kind in (("", ""), (", renders", "render ")):
            pairs = [
                told_apart(a, b, mids[colours])
                for a, b in zip(made[f"{kind}named"], made[f"{kind}other"], strict=True)
            ]
            add(f"colour right{prefix}", [right for right, _ in pairs])
            add(f"part that changes{prefix}", [part for _, part in pairs])
    means = {name: round(sum(values) / len(values), 3) for name, values in scores.items()}
    for name, mean in means.items():
        print(f"{name:<40} {mean:.3f}")
    if args.output:
        args.output.write_text(json.dumps({"model": args.model, **means}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
