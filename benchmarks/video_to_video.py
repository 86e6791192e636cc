"""Does video-to-video keep the motion of a clip and take the style of a picture? Measured on StyleWorld.

    python benchmarks/video_to_video.py [--model mini] [--clips 24] [--ask denoise=0.6,inversion=true …]

Sources are renders of held-out contents in one held-out style; each is stylized by the picture of another. Asked of
every clip, of text-to-video with the same prompts, pictures and seeds, and of renders of the content in the wanted
style, which are the ceiling of both:

* motion: the correlation of its optical flow with the source's, over object and ground (`truth.world_motion`), and
  pixel by pixel;
* style: is the own reference the nearest of 20, by the probe that knows StyleWorld; and how near (cosine)?
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stylecrafter import StyleCrafterPipeline
from stylecrafter.evaluation.metrics.flow import optical_flow
from stylecrafter.evaluation.metrics.motion import correlation
from stylecrafter.evaluation.truth.held_out import HeldOutSet
from stylecrafter.evaluation.truth.style_probe import seen_style
from stylecrafter.evaluation.truth.trained_probes import WorldProbes, world_probes
from stylecrafter.evaluation.truth.world_motion import motion_kept, object_places
from stylecrafter.evaluation.truth.world_set import world_set_for
from stylecrafter.media.tensors import clip_to_tensor, to_pictures
from stylecrafter.styleworld import world

logger = logging.getLogger("video_to_video")

#: The style of a source is that of the reference so many places behind the wanted one.
OTHER_STYLE = 7

#: What is asked where the command line does not say.
ASKED = [
    "denoise=0.5",
    "denoise=0.6",
    "denoise=0.7",
    "denoise=0.5,inversion=true",
    "denoise=0.6,inversion=true",
    "denoise=0.7,inversion=true",
]


def arguments_of(asked: str) -> dict[str, Any]:
    """ "denoise=0.6,inversion=true" as arguments of a pipeline's call."""
    return {name: json.loads(value) for name, value in (part.split("=") for part in asked.split(","))}


@dataclass(frozen=True)
class Task:
    """Sources (n, f, 3, h, w), their flows and the places of their objects; which prompt and reference each is for."""

    drawn: HeldOutSet
    prompts: list[int]
    references: list[int]
    sources: torch.Tensor
    flows: list[torch.Tensor]
    places: torch.Tensor
    pictures: list[Any]
    embeddings: torch.Tensor

    @property
    def ceiling(self) -> torch.Tensor:
        """The contents as the world draws them in the wanted styles."""
        contents = self.drawn.prompts[torch.tensor(self.prompts)]
        styles = self.drawn.references[torch.tensor(self.references)]
        return world.render(contents.in_style_of(styles), self.sources.shape[-1], self.sources.shape[1])


def make_task(args: argparse.Namespace, probes: WorldProbes, frames: int) -> Task:
    """Prompts in turn, each with the next reference: of unseen kinds as often as the set has them."""
    spec = world_set_for(args.model, seed=args.seed)
    drawn = spec.draw()
    count, kinds = len(drawn.prompts), len(drawn.references)
    prompts = [k % count for k in range(args.clips)]
    references = [(5 * k + k // count) % kinds for k in range(args.clips)]
    others = torch.tensor([(r + OTHER_STYLE) % kinds for r in references])
    contents = drawn.prompts[torch.tensor(prompts)]
    sources = world.render(contents.in_style_of(drawn.references[others]), spec.size, frames)
    shown = world.render(drawn.references, spec.size)
    return Task(
        drawn,
        prompts,
        references,
        sources,
        [optical_flow(source) for source in sources],
        object_places(contents, spec.size, frames),
        to_pictures(shown[:, 0]),
        seen_style(probes.style, shown).embedding,
    )


def scores(task: Task, probes: WorldProbes, make: Callable[[int], torch.Tensor]) -> dict[str, float]:
    """Means over all clips that `make` gives, (f, 3, h, w) each."""
    kept, pixels, found, near = [], [], [], []
    for k, reference in enumerate(task.references):
        clip = make(k)
        flow = optical_flow(clip)
        kept.append(motion_kept(flow, task.flows[k], task.places[k]) or 0.0)
        pixels.append(correlation(flow, task.flows[k]) or 0.0)
        likeness = task.embeddings @ seen_style(probes.style, clip[None]).embedding[0]
        found.append(float(int(likeness.argmax()) == reference))
        near.append(float(likeness[reference]))
    columns = {"motion": kept, "motion_by_pixel": pixels, "style_found": found, "style_near": near}
    return {name: round(sum(values) / len(values), 4) for name, values in columns.items()}


@torch.no_grad()
def measure(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    pipe = StyleCrafterPipeline.from_pretrained(args.model)
    pipe.set_progress_bar_config(disable=True)
    spec = world_set_for(args.model)
    probes = world_probes(spec.vocabulary, spec.size)
    task = make_task(args, probes, pipe.config.default_frames)
    texts = task.drawn.texts

    def made(k: int, **video: Any) -> torch.Tensor:
        out: Any = pipe(
            texts[task.prompts[k]], task.pictures[task.references[k]], seed=args.seed + k, **video
        )
        return clip_to_tensor(out.frames[0])

    def stylized(asked: str) -> Callable[[int], torch.Tensor]:
        arguments = arguments_of(asked)
        return lambda k: made(k, video=task.sources[k], **arguments)

    results = {}
    ceiling = task.ceiling
    tasks: dict[str, Callable[[int], torch.Tensor]] = {
        "sources": lambda k: task.sources[k],
        "renders": lambda k: ceiling[k],
        "text-to-video": made,
    }
    tasks = (tasks if args.controls else {}) | {asked: stylized(asked) for asked in args.ask}
    for name, make in tasks.items():
        results[name] = scores(task, probes, make)
        logger.info("%s: %s", name, results[name])
        if args.output:
            args.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument(
        "--ask", nargs="*", default=ASKED, help="arguments of the call, each row as name=json,…"
    )
    parser.add_argument("--no-controls", dest="controls", action="store_false", help="only what is asked")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name, row in measure(args).items():
        print("|", name, "|", " | ".join(f"{value:.2f}" for value in row.values()), "|")


if __name__ == "__main__":
    main()
