"""Do masks confine a style, and does a negative style lead away from it? Measured on StyleWorld.

    python benchmarks/style_masks.py [--model mini] [--clips 40] [--frames 4] [--ask negative] [--output result.json]

Masks: a held-out style on one half of the picture (left and right in turn), at the prompt of a held-out content. The
score of a half is the nearness (cosine) of its frames, cut out, to the reference, by the style probe that learned from
real renders. It is asked of clips with the mask, of the same noise with the style everywhere, and of the text alone:

* inside: what the mask leaves of the style's gain over the text alone, and of the score itself;
* outside: the mean difference to the text alone, beside that of the text alone at two seeds (what noise does).

"confined" is what the library does; "attention" confines the style in the layers alone, without the text's own clip for
what is outside (`TextAlone`).

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

TEXT = "text alone"


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

    def masks(self, i: int) -> dict[str, float]:
        """Nearness of both halves to the reference, "inside …" and "outside …"."""
        half = self.size // 2
        mask = torch.zeros(self.size, self.size)
        left = i % 2 == 0
        mask[:, slice(0, half) if left else slice(half, None)] = 1
        style = {"style_images": self.pictures[i]}
        made = {
            TEXT: self.clip(i),
            f"{TEXT}, another seed": self.clip(i, seed=1),
            "everywhere": self.clip(i, **style),
            "confined": self.clip(i, style_masks=mask, **style),
        }
        if self.args.attention:
            with in_attention_alone():
                made["attention"] = self.clip(i, style_masks=mask, **style)
        scores = {}
        for name, clip in made.items():
            halves = clip.split(half, dim=-1)
            for where, part in zip(("inside", "outside"), halves if left else halves[::-1], strict=True):
                scores[f"{where} {name}"] = self.nearness(part, i)
        return scores

    def negative(self, i: int) -> dict[str, float]:
        """Nearness to A and to B, and whether object and scene are those of the prompt."""
        a, b = self.pictures[i], self.pictures[self.args.clips + i]
        two = {"style_images": [a, b]}
        made = {
            TEXT: self.clip(i),
            f"{TEXT}, less B": self.clip(i, negative_style_images=b),
            "A and B": self.clip(i, **two),
            "A and B, less B": self.clip(i, negative_style_images=b, **two),
            "A and B, less B at 0.5": self.clip(i, negative_style_images=b, negative_style_scale=0.5, **two),
        }
        scores = {}
        for name, clip in made.items():
            scores[f"{name}: near A"] = self.nearness(clip, i)
            scores[f"{name}: near B"] = self.nearness(clip, self.args.clips + i)
            for q in ("object", "scene"):
                wanted = labels_of(q, self.contents, self.vocabulary)[i]  # type: ignore[arg-type]
                scores[f"{name}: {q}"] = float(seen_in(self.probes.content[q], clip[None])[0] == wanted)  # type: ignore[index]
        return scores


def summed_up(rows: dict[str, list[float]]) -> dict[str, Any]:
    """Means of all scores; of masks, what they leave inside and what they let out."""
    mean = {name: sum(values) / len(values) for name, values in rows.items()}
    found: dict[str, Any] = {name: round(value, 3) for name, value in mean.items()}
    if "inside everywhere" not in rows:
        return found
    inside, text = mean["inside everywhere"], mean[f"inside {TEXT}"]
    for name in ("confined", "attention"):
        if f"inside {name}" in rows:
            kept = mean[f"inside {name}"]
            found[f"inside, {name}: part of the score everywhere"] = round(kept / inside, 3)
            found[f"inside, {name}: part of the gain over the text"] = round(
                (kept - text) / (inside - text), 3
            )
    outside = {name.removeprefix("outside "): v for name, v in rows.items() if name.startswith("outside ")}
    for name, values in outside.items():
        if name != TEXT:
            less = [a - b for a, b in zip(values, outside[TEXT], strict=True)]
            found[f"outside, {name}, less the text alone"] = interval(less)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--frames", type=int, default=4, help="frames of a clip")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--attention", action="store_true", help="also masks in attention alone")
    parser.add_argument("--ask", choices=("masks", "negative"), default="masks")
    parser.add_argument("--first", type=int, default=0, help="only clips from this one on")
    parser.add_argument("--last", type=int, help="only clips before this one")
    parser.add_argument("--join", type=Path, nargs="+", help="sum up these outputs instead of measuring")
    parser.add_argument("--output", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rows: dict[str, list[float]] = {}
    for file in args.join or ():
        for name, values in json.loads(file.read_text())["scores"].items():
            rows.setdefault(name, []).extend(values)
    if not args.join:
        measured = Measured(args)
        for i in range(args.first, args.last or args.clips):
            for name, value in getattr(measured, args.ask)(i).items():
                rows.setdefault(name, []).append(round(value, 4))
            logger.info("%s: clip %d of %d", args.ask, i + 1, args.clips)
    asked = {name: getattr(args, name) for name in ("model", "ask", "clips", "frames", "seed")}
    result = {**asked, "found": summed_up(rows), "scores": rows}
    print(json.dumps(result["found"], indent=2))
    if args.output:
        args.output.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
