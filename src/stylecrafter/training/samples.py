"""Sheets of samples that are drawn while a model trains."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image

from stylecrafter.media.images import load_picture
from stylecrafter.media.tensors import to_pictures
from stylecrafter.pipelines.output import StyleCrafterPipelineOutput
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.styleworld import splits, world
from stylecrafter.training.recipes import SampleSpec
from stylecrafter.training.source_specs import placed

#: Frames of a clip that a sheet shows.
FRAMES_SHOWN = 4


class SampleSheets:
    """One row per prompt: the style reference, then frames of the clip in its style; of a base, frames alone.

    Args:
        spec: Prompts, style pictures, frames, seed and steps.
        pipe: A pipeline around the models in training.
        folder: Where relative paths of style pictures start.
        styled: Whether the models know style already. An adapter that has learned nothing would spoil the samples of a
            base.

    Raises:
        ImageReadError: A style picture cannot be read.
    """

    def __init__(
        self,
        spec: SampleSpec,
        pipe: StyleCrafterPipeline,
        folder: Path,
        *,
        styled: bool = True,
    ) -> None:
        self.spec, self.pipe = spec, pipe
        pipe.set_progress_bar_config(disable=True)
        self.styles: list[Image.Image] = []
        if styled:
            self.styles = self._read_styles(folder)

    def _read_styles(self, folder: Path) -> list[Image.Image]:
        spec = self.spec
        return [load_picture(placed(folder, name)) for name in spec.styles] or held_out_styles(
            len(spec.prompts), self.pipe.config.reference_size, spec.seed
        )

    def draw(self) -> Image.Image:
        """The sheet. Randomness and modes of the models stay as they were."""
        modes = {name: model.training for name, model in self._models().items()}
        state = torch.get_rng_state()
        try:
            rows = [
                self._row(prompt, self.styles[i % len(self.styles)] if self.styles else None)
                for i, prompt in enumerate(self.spec.prompts)
            ]
        finally:
            torch.set_rng_state(state)
            for name, model in self._models().items():
                model.train(modes[name])
        return Image.fromarray(np.concatenate(rows))

    def _row(self, prompt: str, style: Image.Image | None) -> np.ndarray:
        out = self.pipe(
            prompt,
            style_images=None if style is None else [style],
            num_frames=self.spec.num_frames,
            num_inference_steps=self.spec.steps,
            seed=self.spec.seed,
            output_type="np",
        )
        frames = (np.asarray(cast("StyleCrafterPipelineOutput", out).frames[0]) * 255).round().astype("uint8")
        shown = frames[:: max(1, len(frames) // FRAMES_SHOWN)][:FRAMES_SHOWN]
        height, width = shown.shape[1:3]
        if style is None:
            return np.concatenate(list(shown), axis=1)
        return np.concatenate([np.asarray(style.convert("RGB").resize((width, height))), *shown], axis=1)

    def _models(self) -> dict[str, torch.nn.Module]:
        return {
            name: part for name, part in self.pipe.components.items() if isinstance(part, torch.nn.Module)
        }


def held_out_styles(count: int, size: int, seed: int) -> list[Image.Image]:
    """Style pictures of StyleWorld in palettes and parameters that training never shows."""
    generator = torch.Generator().manual_seed(seed)
    batch = world.sample(count, generator, vocabulary=splits.SMALL, split="held_out")
    return to_pictures(world.render(batch, size)[:, 0])
