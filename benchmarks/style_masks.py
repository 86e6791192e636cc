"""Do masks confine a style, and does a negative style lead away from it? Measured on StyleWorld.

    python benchmarks/style_masks.py [--model mini] [--clips 40] [--frames 4] [--output result.json]

Masks: a held-out style on one half of the picture (left and right in turn), at the prompt of a held-out content. The
score of a half is the nearness (cosine) of its frames, cut out, to the reference, by the style probe that learned from
real renders. It is asked of clips with the mask, of the same noise with the style everywhere, and of the text alone:

* inside: what the mask leaves of the style's gain over the text alone, and of the score itself;
* outside: the mean difference to the text alone, beside that of the text alone at two seeds (what noise does).

"attention" confines the style in the layers alone; "confined" takes what is outside from the text's own clip as well, as
the library does (`TextAlone`).

Negative style: the style of two pictures, A and B, with B as the negative style; and B as the negative style of a clip
without a style. The score is the nearness to B. Object and scene are asked of probes, as in `style_and_content.py`.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylecrafter import StyleCrafterPipeline
from stylecrafter.evaluation.truth.probes import labels_of, seen_in
from stylecrafter.evaluation.truth.style_probe import seen_style
from stylecrafter.evaluation.truth.trained_probes import WorldProbes, world_probes
from stylecrafter.evaluation.truth.world_set import world_set_for
from stylecrafter.media.tensors import clip_to_tensor, to_pictures
from stylecrafter.pipelines.text_alone import TextAlone
from stylecrafter.styleworld import splits, world

logger = logging.getLogger("style_masks")


@contextmanager
def in_attention_alone() -> Iterator[None]:
    """Latents as they come out of masked attention."""
    outside = TextAlone.outside
    TextAlone.outside = lambda self, styled: styled  # type: ignore[method-assign]
    try:
        yield
    finally:
        TextAlone.outside = outside  # type: ignore[method-assign]


def interval(values: list[float]) -> dict[str, float]:
    """Mean, and how far it reaches to either side with 95 %."""
    found = torch.tensor(values)
    return {
        "mean": round(float(found.mean()), 3),
        "95 %": round(float(1.96 * found.std() / len(values) ** 0.5), 3),
    }


class Measured:
    """A model, the styles and prompts that it is asked for, and the probes that judge."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.pipe = StyleCrafterPipeline.from_pretrained(args.model)
        self.pipe.set_progress_bar_config(disable=True)
        words = world_set_for(args.model).vocabulary
        self.vocabulary, self.size = splits.find_vocabulary(words), self.pipe.config.default_height
        self.probes: WorldProbes = world_probes(words, self.size)
        generator = torch.Generator().manual_seed(args.seed)
        drawn = {"vocabulary": self.vocabulary, "split": "held_out"}
        self.styles = world.sample(2 * args.clips, generator, **drawn)  # type: ignore[arg-type]
        self.contents = world.sample(args.clips, generator, **drawn)  # type: ignore[arg-type]
        self.prompts = self.contents.content_captions(random.Random(args.seed), moving=True)
        self.references = world.render(self.styles, self.size)
        self.pictures = to_pictures(self.references[:, 0])
        self.known = seen_style(self.probes.style, self.references).embedding

    def clip(self, i: int, seed: int = 0, **style: Any) -> Tensor:
        """Frames (f, 3, h, w) of the prompt number i."""
        out = self.pipe(
            self.prompts[i],
            seed=self.args.seed * 1000 + i + 500_000 * seed,
            num_frames=self.args.frames,
            style_corners=False,
            **style,
        )
        return clip_to_tensor(out.frames[0])

    def nearness(self, frames: Tensor, reference: int) -> float:
        return float(seen_style(self.probes.style, frames[None]).embedding[0] @ self.known[reference])

    def masks(self) -> dict[str, Any]:
        half = self.size // 2
        found: dict[str, dict[str, list[float]]] = {"inside": {}, "outside": {}}
        for i in range(self.args.clips):
            mask = torch.zeros(self.size, self.size)
            left = i % 2 == 0
            mask[:, slice(0, half) if left else slice(half, None)] = 1
            style = {"style_images": self.pictures[i]}
            with in_attention_alone():
                attention = self.clip(i, style_masks=mask, **style)
            made = {
                "text alone": self.clip(i),
                "text alone, another seed": self.clip(i, seed=1),
                "everywhere": self.clip(i, **style),
                "attention": attention,
                "confined": self.clip(i, style_masks=mask, **style),
            }
            for name, clip in made.items():
                halves = clip.split(half, dim=-1)
                for where, part in zip(("inside", "outside"), halves if left else halves[::-1], strict=True):
                    found[where].setdefault(name, []).append(self.nearness(part, i))
            logger.info("masks %d of %d", i + 1, self.args.clips)
        inside, outside = found["inside"], found["outside"]
        mean = {where: {k: sum(v) / len(v) for k, v in of.items()} for where, of in found.items()}
        text = mean["inside"]["text alone"]
        gain = mean["inside"]["everywhere"] - text

        def differences(one: str, other: str = "text alone") -> dict[str, float]:
            return interval([a - b for a, b in zip(outside[one], outside[other], strict=True)])

        names = ("attention", "confined")
        return {
            "nearness": {where: {k: round(v, 3) for k, v in of.items()} for where, of in mean.items()},
            "inside, part of the score everywhere": {
                k: round(mean["inside"][k] / mean["inside"]["everywhere"], 3) for k in names
            },
            "inside, part of the gain over the text": {
                k: round((mean["inside"][k] - text) / gain, 3) for k in names
            },
            "outside, less the text alone": {
                k: differences(k) for k in (*names, "everywhere", "text alone, another seed")
            },
            "spread of scores inside, everywhere": interval(inside["everywhere"]),
        }

    def negative(self) -> dict[str, Any]:
        questions = ("object", "scene")
        wanted = {q: labels_of(q, self.contents, self.vocabulary) for q in questions}
        rows: dict[str, dict[str, list[float]]] = {}
        for i in range(self.args.clips):
            a, b = self.pictures[i], self.pictures[self.args.clips + i]
            two = {"style_images": [a, b]}
            made = {
                "text": self.clip(i),
                "text, less B": self.clip(i, negative_style_images=b),
                "A and B": self.clip(i, **two),
                "A and B, less B": self.clip(i, negative_style_images=b, **two),
                "A and B, less B at half strength": self.clip(
                    i, negative_style_images=b, negative_style_scale=0.5, **two
                ),
            }
            for name, clip in made.items():
                row = rows.setdefault(name, {})
                for which, reference in (("to A", i), ("to B", self.args.clips + i)):
                    row.setdefault(which, []).append(self.nearness(clip, reference))
                for q in questions:
                    right = int(seen_in(self.probes.content[q], clip[None])[0]) == int(wanted[q][i])
                    row.setdefault(q, []).append(float(right))
            logger.info("negative styles %d of %d", i + 1, self.args.clips)
        return {
            name: {which: round(sum(v) / len(v), 3) for which, v in row.items()} for name, row in rows.items()
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--frames", type=int, default=4, help="frames of a clip")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("masks", "negative"), help="one of the two questions")
    parser.add_argument("--output", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    measured = Measured(args)
    result: dict[str, Any] = {
        "model": args.model,
        "clips": args.clips,
        "frames": args.frames,
        "seed": args.seed,
    }
    for name in ("masks", "negative"):
        if args.only in (None, name):
            result[name] = getattr(measured, name)()
    text = json.dumps(result, indent=2)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
