"""Which blend of two styles moves evenly from one to the other, and what strengths do? Measured on StyleWorld.

    python benchmarks/style_blends.py [--model mini] [--pairs 20] [--output result.json]

For each pair of held-out styles A and B the share of B rises in seven steps from 0 to 1, at the same prompt and noise.
The score of a clip is how much nearer it is to B than to A, by the style probe that learned from real renders; what
counts is its rank correlation with the share. Three ways are compared:

* tokens: style tokens of A and B, blended (`pipe.blend_styles`);
* pictures: both pictures read together, weighted (`style_weights`);
* keyframes: one clip from A at its first frame to B at its last (`style_keyframes`), scored frame by frame.

Beside them: the nearness to A of clips in its style at each named strength, and at style scale 0.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylecrafter import StyleCrafterPipeline
from stylecrafter.evaluation.statistics import rank_correlation
from stylecrafter.evaluation.truth.style_probe import StyleProbe, seen_style
from stylecrafter.evaluation.truth.trained_probes import world_probes
from stylecrafter.evaluation.truth.world_set import world_set_for
from stylecrafter.media.tensors import clip_to_tensor, to_pictures
from stylecrafter.styleworld import splits, world

logger = logging.getLogger("style_blends")

STEPS = 7


def seen(probe: StyleProbe, clips: Tensor) -> Tensor:
    """Embeddings (n, d) of clips (n, f, 3, h, w)."""
    return seen_style(probe, clips).embedding


def measure(args: argparse.Namespace) -> dict[str, Any]:
    pipe = StyleCrafterPipeline.from_pretrained(args.model)
    pipe.set_progress_bar_config(disable=True)
    words = world_set_for(args.model).vocabulary
    vocabulary, size = splits.find_vocabulary(words), pipe.config.default_height
    probe = world_probes(words, size).style
    generator = torch.Generator().manual_seed(args.seed)
    styles = world.sample(2 * args.pairs, generator, vocabulary=vocabulary, split="held_out")
    contents = world.sample(args.pairs, generator, vocabulary=vocabulary, split="held_out")
    prompts = contents.content_captions(random.Random(args.seed), moving=True)
    renders = world.render(styles, size)
    pictures = to_pictures(renders[:, 0])
    known = seen(probe, renders)
    shares = torch.linspace(0, 1, STEPS).tolist()

    def clips(prompt: str, count: int, seed: int, **style: Any) -> Tensor:
        out = pipe([prompt] * count, seed=seed, same_noise=True, **{"num_frames": args.frames, **style})
        return torch.stack([clip_to_tensor(frames) for frames in out.frames])

    correlations: dict[str, list[float]] = {"tokens": [], "pictures": [], "keyframes": []}
    strengths: dict[str, list[float]] = {name: [] for name in ("without", *pipe.backbone.strengths)}
    scores: dict[str, list[list[float]]] = {name: [] for name in correlations}
    for i in range(args.first, args.pairs if args.last is None else args.last):
        a, b = pictures[2 * i], pictures[2 * i + 1]
        towards = known[2 * i + 1] - known[2 * i]
        seed = args.seed * 1000 + i
        tokens_a, tokens_b = pipe.encode_style([a, b]).split(1)
        blended = torch.cat([pipe.blend_styles([tokens_a, tokens_b], [1 - s, s]) for s in shares])
        made = {
            "tokens": clips(prompts[i], STEPS, seed, style_tokens=blended),
            "pictures": clips(
                prompts[i],
                STEPS,
                seed,
                style_images=[[a, b]] * STEPS,
                style_weights=[[1 - s, s] for s in shares],
                # Corners would count at both ends alone, where one picture is left.
                style_corners=False,
            ),
        }
        whole = clips(prompts[i], 1, seed, style_keyframes=[(0.0, a), (1.0, b)], num_frames=args.moving)
        made["keyframes"] = whole[0][:, None]
        for name, one in made.items():
            found = (seen(probe, one) @ towards).tolist()
            scores[name].append(found)
            correlations[name].append(rank_correlation(list(range(len(found))), found).mean)
        for name in strengths:
            how = {"style_scale": 0.0} if name == "without" else {"strength": name}
            near = seen(probe, clips(prompts[i], 1, seed, style_images=a, **how)) @ known[2 * i]
            strengths[name].append(float(near))
        logger.info(
            "pair %d of %d: %s", i + 1, args.pairs, {k: round(v[-1], 2) for k, v in correlations.items()}
        )
    return {
        "model": args.model,
        "pairs": args.pairs,
        "seed": args.seed,
        "rank correlations": correlations,
        "scores": scores,
        "nearness to the style": strengths,
    }


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """Means over the pairs of `measure`."""
    return {
        "rank correlation": {
            name: {
                "mean": round(sum(v) / len(v), 3),
                "least": round(min(v), 3),
                "pairs of 0.9 and more": sum(value >= 0.9 for value in v),
            }
            for name, v in found["rank correlations"].items()
        },
        "mean score": {
            name: [round(value, 3) for value in torch.tensor(rows).mean(0).tolist()]
            for name, rows in found["scores"].items()
        },
        "nearness to the style": {
            name: round(sum(v) / len(v), 3) for name, v in found["nearness to the style"].items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--frames", type=int, default=1, help="frames of a clip of one style")
    parser.add_argument("--moving", type=int, default=8, help="frames of a clip from one style to the other")
    parser.add_argument("--first", type=int, default=0, help="begin with this pair, to measure them in parts")
    parser.add_argument("--last", type=int, help="end before this pair")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = measure(args)
    print(json.dumps(summary(found), indent=2))
    if args.output:
        args.output.write_text(json.dumps({**summary(found), "each pair": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
