"""What do options that save time in sampling cost in quality? Measured on StyleWorld, clip by clip in turn.

    python benchmarks/fast_sampling.py [--model mini] [--references 12] [--prompts 2] [--ask guidance_every=2 …]

Each held-out reference is put on each held-out prompt, with one seed per clip. Every row of the table is a set of
arguments of the pipeline's call, `scheduler` among them; the first is the call without any. Asked of every row:

* cost, of denoising alone (text and style are encoded before, frames decoded after): passes of the UNet (rows that go
  through it), arithmetic (torch's count of its operations), and processor time as a ratio to the first row's of the
  same clip, the median, with its quartiles;
* quality: object, scene and motion as the probes see them, the style found (own reference the nearest of all) and near
  (cosine), content leaked from the reference, warping error, flicker, dynamics;
* likeness: PSNR against the first row's clip, the median.

Means over clips have the half width of a 95 % interval, by a bootstrap over references.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from stylecrafter import StyleCrafterPipeline
from stylecrafter.evaluation.metrics.info import MeasuredClip
from stylecrafter.evaluation.metrics.temporal import temporal_scores
from stylecrafter.evaluation.statistics import bootstrap_mean
from stylecrafter.evaluation.truth.style_probe import seen_style
from stylecrafter.evaluation.truth.trained_probes import world_probes
from stylecrafter.evaluation.truth.world_metric import WorldMetric
from stylecrafter.evaluation.truth.world_set import world_set_for
from stylecrafter.media.tensors import to_pictures
from stylecrafter.pipelines.schedulers import make_scheduler
from stylecrafter.styleworld import world

logger = logging.getLogger("fast_sampling")

#: What is asked where the command line does not say.
ASKED = [
    "num_inference_steps=6",
    "num_inference_steps=6,scheduler=dpm++",
    "num_inference_steps=6,scheduler=unipc",
    "guidance_stop=0.6",
    "guidance_stop=0.4",
    "guidance_start=0.1",
    "guidance_start=0.2",
    "guidance_every=2",
    "guidance_every=3",
    "reuse_every=2",
    "reuse_every=3",
    "reuse_every=2,reuse_depth=2",
    "guidance_every=2,reuse_every=2",
    "fast=true",
]
#: Frames of the clip that operations are counted on.
WORK_FRAMES = 4
SCORES = (
    "object_right",
    "scene_right",
    "motion_right",
    "style_found_by_probe",
    "style_near",
    "leaked",
    "warping_error",
    "flicker",
    "dynamics",
)


def arguments_of(asked: str) -> dict[str, Any]:
    """ "guidance_every=2,scheduler=dpm++" as arguments of a pipeline's call."""
    pairs = [part.split("=", 1) for part in asked.split(",") if part]
    return {name: value if name == "scheduler" else json.loads(value) for name, value in pairs}


class Bench:
    """A model, its held-out set, and what is asked of each clip.

    Args:
        args: Of the command line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.pipe = StyleCrafterPipeline.from_pretrained(args.model)
        self.pipe.set_progress_bar_config(disable=True)
        self.own = self.pipe.scheduler
        spec = world_set_for(
            args.model,
            seed=args.seed,
            references=args.references,
            prompts=args.prompts,
            unseen_kinds=args.references * 3 // 10,  # as in the sets of the reports
        )
        probes = world_probes(spec.vocabulary, spec.size)
        self.drawn = spec.draw()
        self.seed = args.seed
        self.metric = WorldMetric(spec, probes)
        self.style_probe = probes.style
        shown = world.render(self.drawn.references, spec.size)
        self.styles = seen_style(probes.style, shown).embedding
        self.tokens = [self.pipe.encode_style([picture]) for picture in to_pictures(shown[:, 0])]

    def call(self, clip: int, asked: dict[str, Any]) -> Callable[[], Tensor]:
        """What denoises a clip: latents (1, c, f, h, w)."""
        given = dict(asked)
        scheduler = given.pop("scheduler", None)
        reference, prompt = int(self.drawn.reference_of[clip]), int(self.drawn.prompt_of[clip])

        def denoise() -> Tensor:
            config = self.own.config
            made = (
                type(self.own).from_config(config) if scheduler is None else make_scheduler(scheduler, config)
            )
            self.pipe.scheduler = made
            out: Any = self.pipe(
                self.drawn.texts[prompt],
                style_tokens=self.tokens[reference],
                seed=self.seed + clip,
                output_type="latent",
                **given,
            )
            return out.frames

        return denoise

    def work(self, asked: dict[str, Any]) -> dict[str, float]:
        """Passes and operations of one clip of `WORK_FRAMES` frames: both grow with the frames for all rows alike."""
        rows = []
        handle = self.pipe.backbone.denoiser.register_forward_hook(
            lambda module, args, output: rows.append(len(output.sample))
        )
        with FlopCounterMode(display=False) as counter:
            self.call(0, {"num_frames": WORK_FRAMES, **asked})()
        handle.remove()
        return {"passes": float(sum(rows)), "operations": float(counter.get_total_flops())}

    def scores(self, clip: int, frames: Tensor) -> dict[str, float | None]:
        """Of a clip (f, 3, h, w)."""
        prompt, reference = int(self.drawn.prompt_of[clip]), int(self.drawn.reference_of[clip])
        measured = MeasuredClip(clip, str(clip), self.drawn.texts[prompt], frames, (reference,))
        near = self.styles[reference] @ seen_style(self.style_probe, frames[None]).embedding[0]
        found = {**self.metric(measured), **temporal_scores(frames)._asdict(), "style_near": float(near)}
        return {name: found[name] for name in SCORES}


@torch.no_grad()
def measure(args: argparse.Namespace) -> dict[str, Any]:
    bench = Bench(args)
    rows = {asked: arguments_of(asked) for asked in ["", *args.ask]}
    results: dict[str, Any] = {
        name or "default": {**bench.work(asked), "seconds": [], "psnr": [], "scores": []}
        for name, asked in rows.items()
    }
    for clip in range(len(bench.drawn)):
        first = None
        for name, asked in rows.items():
            row = results[name or "default"]
            denoise = bench.call(clip, asked)
            begin = time.process_time()
            latents = denoise()
            row["seconds"].append(time.process_time() - begin)
            frames = bench.pipe.decode_latents(latents, 8)[0]
            first = frames if first is None else first
            error = float((frames - first).square().mean())
            row["psnr"].append(-10 * torch.tensor(error).log10().item() if error else None)
            row["scores"].append(bench.scores(clip, frames))
        logger.info("clip %d of %d", clip + 1, len(bench.drawn))
        if args.output:
            args.output.write_text(json.dumps(results) + "\n", encoding="utf-8")
    results["default"]["clusters"] = bench.drawn.reference_of.tolist()
    return results


def table(results: dict[str, Any]) -> str:
    """Markdown, a line for each set of arguments."""
    plain = results["default"]
    columns = ["", "passes", "arithmetic", "processor time", *(s.replace("_", " ") for s in SCORES), "PSNR"]
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join(['---', *['---:'] * (len(columns) - 1)])} |"]
    for name, row in results.items():
        ratios = sorted(a / b for a, b in zip(row["seconds"], plain["seconds"], strict=True))
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        known = [value for value in row["psnr"] if value is not None]
        cells = [
            name,
            f"{row['passes']:.0f}",
            f"{row['operations'] / plain['operations']:.2f}",
            f"{middle:.2f} ({low:.2f} to {high:.2f})",
            *(_mean(row["scores"], score, plain["clusters"]) for score in SCORES),
            f"{statistics.median(known):.1f} dB" if known else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(scores: list[dict[str, float | None]], name: str, clusters: list[int]) -> str:
    pairs = [(s[name], c) for s, c in zip(scores, clusters, strict=True) if s[name] is not None]
    if not pairs:
        return ""
    interval = bootstrap_mean([float(value or 0) for value, _ in pairs], [c for _, c in pairs])
    digits = 4 if name in ("warping_error", "flicker", "dynamics") else 2
    return f"{interval.mean:.{digits}f} ± {(interval.high - interval.low) / 2:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--references", type=int, default=12)
    parser.add_argument("--prompts", type=int, default=2)
    parser.add_argument(
        "--ask", nargs="*", default=ASKED, help="a row each: arguments of the call, name=json,…"
    )
    parser.add_argument("--seed", type=int, default=101, help="of the set; that of the reports is another")
    parser.add_argument("--output", type=Path, help="json of all figures")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print(table(measure(args)))


if __name__ == "__main__":
    main()
