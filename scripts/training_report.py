"""Loss curves and samples of every stage of a finished training run, for a model card.

    python scripts/training_report.py runs/mini [--output docs/images] [--name mini]

Writes NAME_losses.svg and NAME_stages.webp: the sample sheets that stages drew while they trained (`sample_every` in
the recipe), and what the finished autoencoder makes of renders in palettes and parameters that training never saw.
"""

from __future__ import annotations

import argparse
import csv
import io
import logging
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from stylecrafter.media.files import write_atomic
from stylecrafter.media.tensors import to_pictures
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.styleworld import splits, world
from stylecrafter.training.recipe_files import load_recipe, recorded_recipe
from stylecrafter.training.recipe_run import RecipeRun

logger = logging.getLogger("training_report")
#: Panels of curves beside each other.
COLUMNS = 5


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
        rows = -(-len(stages) // COLUMNS)
        figure = Figure(figsize=(2.4 * min(len(stages), COLUMNS), 2.2 * rows), layout="constrained")
        panels = figure.subplots(rows, min(len(stages), COLUMNS), squeeze=False).flatten()
        for axes in panels[len(stages) :]:
            axes.set_visible(False)
        for axes, stage in zip(panels, stages, strict=False):
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
    """Columns of samples, stage and step above each; below them renders, and what the autoencoder leaves of those."""
    prompts = 0 if run.recipe.samples is None else len(run.recipe.samples.prompts)
    columns: list[tuple[str, Image.Image]] = []
    for spec in run.recipe.stages:
        for path in sorted((run.folder / spec.name / "samples").glob("samples-*.png")):
            step = int(path.stem.rpartition("-")[2])
            columns.append((f"{spec.name} {step}", Image.open(path).convert("RGB")))
    if not columns:
        raise SystemExit(
            f"no stage of {run.folder} drew samples: give the recipe 'samples' and 'sample_every'"
        )
    tile = columns[0][1].height // prompts
    pipe = StyleCrafterPipeline.from_pretrained(run.folder / "model")
    source = next(source for source in run.recipe.data.values() if source.kind == "styleworld")
    count = sum(sheet.width for _, sheet in columns) // tile
    styles = world.sample(
        count,
        torch.Generator().manual_seed(3),
        vocabulary=splits.find_vocabulary(source.vocabulary),
        split="held_out",
    )
    renders = world.render(styles, tile)[:, 0]
    below = [to_pictures(renders), to_pictures(through(pipe, renders))]
    gap, head = 6, 16
    width = sum(sheet.width + gap for _, sheet in columns)
    sheet = Image.new("RGB", (width, head + columns[0][1].height + 2 * tile + gap), "white")
    draw, x = ImageDraw.Draw(sheet), 0
    for number, (title, drawn) in enumerate(columns):
        draw.text((x, 2), title, fill="black")
        sheet.paste(drawn, (x, head))
        for row, pictures in enumerate(below):
            for k in range(drawn.width // tile):
                sheet.paste(pictures.pop(0), (x + k * tile, head + drawn.height + gap + row * tile))
        logger.info("%d: %s", number, title)
        x += drawn.width + gap
    return sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.NEAREST)


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
    run = RecipeRun(load_recipe(recorded_recipe(args.run)), args.run)
    print(write_atomic(args.output / f"{args.name}_losses.svg", curves(run)))
    sheet = io.BytesIO()
    samples(run).save(sheet, "WEBP", quality=85)
    print(write_atomic(args.output / f"{args.name}_stages.webp", sheet.getvalue()))


if __name__ == "__main__":
    main()
