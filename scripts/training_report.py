"""Loss curves and samples of every stage of a training run, for a model card.

    python scripts/training_report.py runs/mini [--output docs/images] [--name mini]

Writes NAME_losses.svg and NAME_stages.webp. Samples are of the models as each stage left them: renders through the
autoencoder; clips from text after the base; pictures in a style after the adapter; clips in a style after the temporal
stage, and again after the decoder's. References are in palettes and parameters that training never saw.
"""

from __future__ import annotations

import argparse
import csv
import io
import logging
import random
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from stylecrafter.media.files import write_atomic
from stylecrafter.media.tensors import to_pictures
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.sheets import contact_sheet
from stylecrafter.training.recipes import Recipe
from stylecrafter.training.run import RecipeRun

logger = logging.getLogger("training_report")
COLUMNS, TILE = 6, 96


def losses(folder: Path) -> tuple[list[int], list[float]]:
    """Steps and losses that a stage logged."""
    with (folder / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [int(row["step"]) for row in rows], [float(row["loss"]) for row in rows]


def curves(run: RecipeRun) -> bytes:
    """One panel per stage: what was logged, and its running mean over a fiftieth of the stage."""
    import matplotlib
    from matplotlib.figure import Figure

    stages = [spec.name for spec in run.recipe.stages]
    with matplotlib.rc_context({"svg.hashsalt": "stylecrafter", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(2.4 * len(stages), 2.2), layout="constrained")
        for axes, stage in zip(figure.subplots(1, len(stages), squeeze=False)[0], stages, strict=True):
            steps, values = losses(run.folder / stage)
            width = max(1, len(values) // 50)
            mean = np.convolve(values, np.ones(width) / width, mode="valid")
            axes.plot(steps, values, color="tab:blue", alpha=0.25, linewidth=0.6)
            axes.plot(steps[width - 1 :], mean, color="tab:blue", linewidth=1.2)
            low, high = np.quantile(values[len(values) // 20 :], (0.0, 0.995))
            axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
            axes.set_title(stage)
            axes.set_xlabel("step")
            axes.spines[["top", "right"]].set_visible(False)
        svg = io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return svg.getvalue()


def samples(run: RecipeRun) -> Image.Image:
    """Rows of samples, each with a caption."""
    names = [spec.name for spec in run.recipe.stages]
    source = next(source for source in run.recipe.data.values() if source.kind == "styleworld")
    vocabulary = splits.find_vocabulary(source.vocabulary)
    styles = world.sample(COLUMNS, torch.Generator().manual_seed(3), vocabulary=vocabulary, split="held_out")
    contents = world.sample(
        COLUMNS, torch.Generator().manual_seed(4), vocabulary=vocabulary, split="held_out"
    )
    texts = contents.content_captions(random.Random(3), moving=True)
    pictures: list[Image.Image] = []
    captions: list[str] = []

    def add(row: list[Image.Image], what: str | list[str]) -> None:
        pictures.extend(row)
        captions.extend([what] * COLUMNS if isinstance(what, str) else what)

    references: list[Image.Image] = []
    for last in (name for name in ("base", "adapter", "temporal", "joint", "decoder") if name in names):
        parts = run.parts(names[: names.index(last) + 1])
        pipe = run.pipeline(parts)
        pipe.set_progress_bar_config(disable=True)
        size = pipe.config.default_height
        if not references:
            renders = world.render(styles, size)[:, 0]
            references = to_pictures(renders)
            add(references, "render")
            add(to_pictures(through(pipe, renders)), "through the autoencoder")
        frames = 1 if last == "adapter" else None
        given = None if last == "base" else [[one] for one in references]
        seeds = [torch.Generator().manual_seed(i) for i in range(COLUMNS)]
        clips = pipe(texts, style_images=given, num_frames=frames, generator=seeds).frames
        shown = ((", first frame", 0), (", last frame", -1)) if frames is None else (("", 0),)
        for when, row in shown:
            add([clip[row] for clip in clips], [f"{last}{when}: {text}" for text in texts])
        logger.info("%s: sampled", last)
    return contact_sheet(pictures, captions, COLUMNS, TILE)


@torch.no_grad()
def through(pipe: StyleCrafterPipeline, pictures: torch.Tensor) -> torch.Tensor:
    """Pictures (n, 3, h, w) in [0, 1] encoded and decoded."""
    latents = pipe.vae.encode(pictures * 2 - 1).latent_dist.mean
    return (pipe.vae.decode(latents).sample / 2 + 0.5).clamp(0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a training run")
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    parser.add_argument("--name", default="mini")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = Recipe.model_validate(yaml.safe_load((args.run / "recipe.yaml").read_text()))
    run = RecipeRun(recipe, args.run)
    print(write_atomic(args.output / f"{args.name}_losses.svg", curves(run)))
    sheet = io.BytesIO()
    samples(run).save(sheet, "WEBP", quality=85)
    print(write_atomic(args.output / f"{args.name}_stages.webp", sheet.getvalue()))


if __name__ == "__main__":
    main()
