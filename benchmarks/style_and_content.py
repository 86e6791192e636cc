"""Does a model take the style from the picture and the content from the prompt? Measured on StyleWorld.

    python benchmarks/style_and_content.py [--model mini] [--clips 50] [--output result.json]

References are styled pictures with palettes and parameters that training never saw; prompts name another object and
another scene. Two questions, each asked of generated clips, of real renders of the same contents and styles, and of
the same model at style scale 0 (text alone):

* style: is the clip's own reference the nearest of ten, by colour statistics and a texture descriptor? Untrained.
* content: does a small classifier, trained here on renders only, see the object of the prompt?
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import time
from pathlib import Path
from typing import Any

import torch

from stylecrafter import StyleCrafterPipeline
from stylecrafter.evaluation.metrics.style import describe_style, descriptor_distances
from stylecrafter.evaluation.truth.probes import Probe, labels_of, seen_in, some_renders, train_probe
from stylecrafter.evaluation.truth.world_set import world_set_for
from stylecrafter.media.tensors import clip_to_tensor, to_pictures
from stylecrafter.styleworld import splits, world

logger = logging.getLogger("style_and_content")


def rate_found(clips: torch.Tensor, references: torch.Tensor, choices: int, seed: int) -> float:
    """Part of the clips (n, f, 3, h, w) whose own reference (n, 3, h, w) is nearest among `choices` of them."""
    described = torch.stack([describe_style(clip).mean(0) for clip in clips])
    distances = descriptor_distances(described, describe_style(references))
    rng = random.Random(seed)
    found = []
    for own, row in enumerate(distances):
        others = rng.sample([i for i in range(len(row)) if i != own], choices - 1)
        found.append(bool((row[own] < row[others]).all()))
    return sum(found) / len(found)


def rate_recognised(probe: Probe, clips: torch.Tensor, wanted: torch.Tensor) -> float:
    """Part of the clips (n, f, 3, h, w) in which the probe, averaged over frames, sees the wanted object."""
    return float((seen_in(probe, clips) == wanted).float().mean())


def measure(args: argparse.Namespace) -> dict[str, Any]:
    pipe = StyleCrafterPipeline.from_pretrained(args.model)
    pipe.set_progress_bar_config(disable=True)
    size, frames = pipe.config.default_height, pipe.config.default_frames
    vocabulary = splits.find_vocabulary(world_set_for(args.model).vocabulary)
    generator = torch.Generator().manual_seed(args.seed)
    styles = world.sample(args.clips, generator, vocabulary=vocabulary, split="held_out")
    contents = world.sample(args.clips, generator, vocabulary=vocabulary, split="held_out")
    references = world.render(styles, size)[:, 0]
    prompts = contents.content_captions(random.Random(args.seed), moving=True)
    wanted = labels_of("object", contents, vocabulary)
    pictures = to_pictures(references)

    def generate(style_scale: float) -> torch.Tensor:
        clips = []
        for first in range(0, args.clips, args.batch):
            rows = range(first, min(first + args.batch, args.clips))
            out = pipe(
                [prompts[i] for i in rows],
                style_images=[[pictures[i]] for i in rows] if style_scale else None,
                num_inference_steps=args.steps or pipe.config.default_steps,
                generator=[torch.Generator().manual_seed(args.seed * 1000 + i) for i in rows],
            )
            clips += [clip_to_tensor(frames) for frames in out.frames]
            logger.info("style scale %g: %d of %d clips", style_scale, len(clips), args.clips)
        return torch.stack(clips)

    started = time.monotonic()
    sets = {
        "generated": generate(1.0),
        "text only (style scale 0)": generate(0.0),
        "real renders": world.render(contents.in_style_of(styles), size, frames),
        "real renders, plain": world.render(contents.plain(), size, frames),
    }
    seconds = time.monotonic() - started
    probe = train_probe("object", vocabulary, size=size, steps=args.probe_steps, seed=args.seed)
    fresh = some_renders(1000, generator, vocabulary, "held_out")
    fresh_labels = labels_of("object", fresh, vocabulary)
    result: dict[str, Any] = {
        "model": args.model,
        "clips": args.clips,
        "seconds_for_all_clips": round(seconds, 1),
        "probe_accuracy_on_held_out_renders": rate_recognised(probe, world.render(fresh, size), fresh_labels),
        "chance": {"style": 0.1, "object": 1 / len(vocabulary.objects)},
    }
    for name, clips in sets.items():
        result[name] = {
            "reference_found_among_10": rate_found(clips, references, 10, args.seed),
            "object_recognised": rate_recognised(probe, clips, wanted),
        }
    if args.sheet:
        rows = [references[:, None], *(clips[:, :: max(1, frames // 4)] for clips in sets.values())]
        sheet = torch.cat([row[: args.sheet_rows] for row in rows], 1)
        n, k = sheet.shape[:2]
        picture = sheet.permute(2, 0, 3, 1, 4).reshape(1, 3, n * size, k * size)
        to_pictures(picture)[0].save(args.sheet)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--batch", type=int, default=5, help="clips that are made together")
    parser.add_argument("--steps", type=int, help="denoising steps (default: the model's)")
    parser.add_argument("--probe-steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the figures here as JSON")
    parser.add_argument(
        "--sheet", type=Path, help="write a contact sheet here: reference, then four frames of each set"
    )
    parser.add_argument("--sheet-rows", type=int, default=16)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    result = measure(args)
    text = json.dumps(result, indent=2)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
