"""The smoke recipe, two steps of every stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from stylecrafter.training.from_scratch.encoder_stages import latent_scale
from stylecrafter.training.recipe_files import load_recipe
from stylecrafter.training.recipe_run import RecipeRun
from tests.conftest import MadeOnce

STAGES = ("autoencoder", "clip", "base", "adapter", "temporal", "decoder")
SHORT = [
    *(f"stages.{stage}.train.steps=2" for stage in STAGES),
    *(f"stages.{stage}.train.sample_every=0" for stage in STAGES),
    "stages.base.train.sample_every=2",
    "stages.adapter.train.sample_every=2",
    "stages.base.options.clip_ratio=0.5",
    "data.pictures.batch_size=2",
    "data.styled.batch_size=2",
    "data.clips.num_frames=2",
    "samples.num_frames=1",
    "samples.steps=1",
]


@contextmanager
def few_measured_pictures() -> Iterator[None]:
    """Autoencoders are fitted to and measured on few pictures; the figures of a finished one need more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stylecrafter.training.run_models.latent_scale", partial(latent_scale, samples=16))
        patch.setattr("stylecrafter.training.from_scratch.encoder_stages.FITTED_PICTURES", 16)
        yield


def finished_run(made_once: MadeOnce) -> RecipeRun:
    """A run of `SHORT` that is finished, and only read: all tests share its folder."""
    recipe = load_recipe("smoke", SHORT)
    with few_measured_pictures():
        folder = made_once("smoke run", lambda folder: RecipeRun(recipe, folder / "run").run())
    return RecipeRun(recipe, folder / "run")
