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

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from stylecrafter import StyleCrafterPipeline
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.objects import object_index

logger = logging.getLogger("style_and_content")


def describe_style(pictures: torch.Tensor) -> torch.Tensor:
    """Colour statistics and texture of (n, 3, h, w) in [0, 1]: (n, d).

    Mean, deviation and quantiles of three opponent colour channels, a coarse colour histogram, energy in four
    octave bands, and the distribution of gradient orientation weighted by magnitude.
    """
    red, green, blue = pictures.unbind(1)
    opponent = torch.stack([(red + green + blue) / 3, (red - green) / 2, (red + green) / 4 - blue / 2], 1)
    flat = opponent.flatten(2)
    levels = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])
    colour = [flat.mean(2), flat.std(2), flat.quantile(levels, dim=2).permute(1, 2, 0).flatten(1)]
    cells = (pictures.clamp(0, 0.999) * 3).floor()
    index = (cells[:, 0] * 9 + cells[:, 1] * 3 + cells[:, 2]).long().flatten(1)
    histogram = F.one_hot(index, 27).float().mean(1).sqrt()
    gray = opponent[:, :1]
    bands, current = [], gray
    for _ in range(4):
        smaller = F.avg_pool2d(current, 2)
        detail = current - F.interpolate(smaller, scale_factor=2, mode="bilinear", align_corners=False)
        bands.append(detail.square().mean((1, 2, 3)).sqrt())
        current = smaller
    dx, dy = gray.diff(dim=3)[:, 0, :-1], gray.diff(dim=2)[:, 0, :, :-1]
    magnitude = (dx.square() + dy.square()).sqrt()
    angle = torch.atan2(dy, dx) % torch.pi
    bins = (angle / torch.pi * 8).long().clamp(max=7)
    orientation = torch.stack([(magnitude * (bins == b)).sum((1, 2)) for b in range(8)], 1)
    orientation = orientation / orientation.sum(1, keepdim=True).clamp(min=1e-6)
    return torch.cat([*colour, histogram, torch.stack(bands, 1) * 3, orientation], 1)


def found_among(clips: torch.Tensor, references: torch.Tensor, choices: int, seed: int) -> float:
    """Part of the clips (n, f, 3, h, w) whose own reference (n, 3, h, w) is nearest among `choices` of them."""
    of_clips = torch.stack([describe_style(clip).mean(0) for clip in clips])
    of_references = describe_style(references)
    scale = of_references.std(0).clamp(min=1e-3)
    distance = torch.cdist(of_clips / scale, of_references / scale)
    rng = random.Random(seed)
    hits = 0
    for i in range(len(clips)):
        others = rng.sample([j for j in range(len(references)) if j != i], choices - 1)
        hits += int(all(distance[i, i] < distance[i, j] for j in others))
    return hits / len(clips)


class ObjectProbe(nn.Module):
    """A small convolutional classifier: (n, 3, h, w) in [0, 1] -> (n, objects) logits."""

    def __init__(self, num_objects: int) -> None:
        super().__init__()
        widths = (3, 32, 64, 96, 128)
        layers: list[nn.Module] = []
        for c_in, c_out in zip(widths, widths[1:], strict=False):
            layers += [
                nn.Conv2d(c_in, c_out, 3, padding=1),
                nn.BatchNorm2d(c_out),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], num_objects)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(pictures * 2 - 1).amax((2, 3)))


def draw(n: int, generator: torch.Generator, vocabulary: splits.Vocabulary, split: str) -> world.WorldBatch:
    """n styled things; half of the training ones are plain."""
    batch = world.sample(n, generator, vocabulary=vocabulary, split=split)
    if split == "train":
        plain = torch.arange(n) % 2 == 0
        batch = batch.replace(style=torch.where(plain, torch.zeros_like(batch.style), batch.style))
    return batch


def train_probe(vocabulary: splits.Vocabulary, size: int, steps: int, seed: int) -> ObjectProbe:
    """Train the object classifier on renders of the training split."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    probe = ObjectProbe(len(vocabulary.objects))
    labels = {object_index(name): i for i, name in enumerate(vocabulary.objects)}
    optimizer = torch.optim.AdamW(probe.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for step in range(steps):
        batch = draw(128, generator, vocabulary, "train")
        pictures = world.render(batch, size)[:, 0]
        if step % 2:  # what comes out of an autoencoder is softer than a render
            pictures = F.interpolate(F.avg_pool2d(pictures, 2), scale_factor=2, mode="bilinear")
        target = torch.tensor([labels[int(thing)] for thing in batch.thing])
        loss = F.cross_entropy(probe(pictures), target, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            logger.info("probe step %d of %d, loss %.3f", step, steps, loss.item())
    return probe.eval()


@torch.no_grad()
def recognised(probe: ObjectProbe, clips: torch.Tensor, wanted: torch.Tensor) -> float:
    """Part of the clips (n, f, 3, h, w) in which the probe, averaged over frames, sees the wanted object."""
    votes = torch.stack([probe(clip).log_softmax(1).mean(0) for clip in clips]).argmax(1)
    return float((votes == wanted).float().mean())


def to_tensor(frames: list[Image.Image]) -> torch.Tensor:
    return (
        torch.from_numpy(np.stack([np.asarray(frame) for frame in frames])).permute(0, 3, 1, 2).float() / 255
    )


def measure(args: argparse.Namespace) -> dict[str, Any]:
    pipe = StyleCrafterPipeline.from_pretrained(args.model)
    pipe.set_progress_bar_config(disable=True)
    size, frames = pipe.config.default_height, pipe.config.default_frames
    vocabulary = splits.SMALL
    generator = torch.Generator().manual_seed(args.seed)
    styles = world.sample(args.clips, generator, vocabulary=vocabulary, split="held_out")
    contents = world.sample(args.clips, generator, vocabulary=vocabulary, split="held_out")
    references = world.render(styles, size)[:, 0]
    prompts = contents.content_captions(random.Random(args.seed), moving=True)
    labels = {object_index(name): i for i, name in enumerate(vocabulary.objects)}
    wanted = torch.tensor([labels[int(thing)] for thing in contents.thing])
    pictures = [
        Image.fromarray((p.permute(1, 2, 0).numpy() * 255).round().astype("uint8")) for p in references
    ]

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
            clips += [to_tensor(frames) for frames in out.frames]
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
    probe = train_probe(vocabulary, size, args.probe_steps, args.seed)
    fresh = draw(1000, generator, vocabulary, "held_out")
    fresh_labels = torch.tensor([labels[int(thing)] for thing in fresh.thing])
    result: dict[str, Any] = {
        "model": args.model,
        "clips": args.clips,
        "seconds_for_all_clips": round(seconds, 1),
        "probe_accuracy_on_held_out_renders": recognised(probe, world.render(fresh, size), fresh_labels),
        "chance": {"style": 0.1, "object": 1 / len(vocabulary.objects)},
    }
    for name, clips in sets.items():
        result[name] = {
            "reference_found_among_10": found_among(clips, references, 10, args.seed),
            "object_recognised": recognised(probe, clips, wanted),
        }
    if args.sheet:
        rows = [references[:, None], *(clips[:, :: max(1, frames // 4)] for clips in sets.values())]
        sheet = torch.cat([row[: args.sheet_rows] for row in rows], 1)
        n, k = sheet.shape[:2]
        picture = sheet.permute(0, 3, 1, 4, 2).reshape(n * size, k * size, 3)
        Image.fromarray((picture.numpy() * 255).round().astype("uint8")).save(args.sheet)
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
