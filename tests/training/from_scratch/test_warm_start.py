"""A model of our own begins with another one: what fits is taken over, what changed is translated."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from stylecrafter import StyleCrafterPipeline
from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.training.from_scratch.warm_start import translate_latents, translate_words, warm_start
from stylecrafter.training.recipe_files import load_recipe
from stylecrafter.training.recipe_run import RecipeRun

STAGES = ("autoencoder", "clip", "base", "adapter", "temporal", "decoder")
SHORT = [
    *(f"stages.{stage}.train.{key}" for stage in STAGES for key in ("steps=1", "sample_every=0")),
    "data.pictures.batch_size=2",
    "data.styled.batch_size=2",
    "data.clips.num_frames=2",
]


@pytest.fixture(scope="module")
def first(trained: RecipeRun) -> RecipeRun:
    return trained


@pytest.fixture(scope="module")
def second(first: RecipeRun, tmp_path_factory: pytest.TempPathFactory) -> RecipeRun:
    """The same sizes, begun with the first and trained at a rate that changes nothing."""
    changes = [
        *SHORT,
        f"model.warm_start={first.folder / 'model'}",
        *(f"stages.{stage}.train.learning_rate=1e-30" for stage in STAGES),
    ]
    run = RecipeRun(load_recipe("smoke", changes), tmp_path_factory.mktemp("second") / "run")
    run.run()
    return run


def test_a_model_that_begins_with_itself_is_itself(first: RecipeRun, second: RecipeRun) -> None:
    before = StyleCrafterPipeline.from_pretrained(first.folder / "model")
    after = StyleCrafterPipeline.from_pretrained(second.folder / "model")
    for name in ("vae", "text_encoder", "image_encoder", "unet"):
        old = getattr(before, name).state_dict()
        for key, value in getattr(after, name).state_dict().items():
            # The layers at the latents pass through a fit.
            torch.testing.assert_close(
                value, old[key], rtol=2e-3, atol=2e-4, msg=lambda m, n=name, k=key: f"{n}.{k}: {m}"
            )


def test_the_adapters_norms_hold_the_factors_that_its_predictor_gave(
    first: RecipeRun, second: RecipeRun
) -> None:
    before = StyleCrafterPipeline.from_pretrained(first.folder / "model").style_adapter
    after = StyleCrafterPipeline.from_pretrained(second.folder / "model").style_adapter
    for old, new in zip(before.extractor.parameters(), after.extractor.parameters(), strict=True):
        torch.testing.assert_close(old, new, rtol=1e-3, atol=1e-4)
    factors = []
    for old, new in zip(before.layers, after.layers, strict=True):
        torch.testing.assert_close(old.to_k.weight, new.to_k.weight, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(old.to_v.weight, new.to_v.weight, rtol=1e-3, atol=1e-4)
        ratio = (new.norm.weight * old.norm.weight).sum() / (old.norm.weight**2).sum()
        states = torch.randn(5, len(old.norm.weight))
        # What the layer adds with a fresh factor of 1 is what it added with the old one.
        torch.testing.assert_close(new.norm(states), ratio * old.norm(states), rtol=5e-3, atol=2e-3)
        factors.append(ratio.item())
    assert all(0 < factor < 2 for factor in factors) and len(set(factors)) > 1
    assert not torch.equal(before.scale_predictor.queries, after.scale_predictor.queries)


def test_a_resumed_stage_begins_with_its_checkpoint(
    second: RecipeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("begun anew")

    monkeypatch.setattr("stylecrafter.training.recipe_run.warm_start", refuse)
    assert second.train_stage(second.recipe.stages[1])


def test_a_base_that_comes_again_goes_on_with_the_first(
    first: RecipeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    monkeypatch.setattr(
        "stylecrafter.training.recipe_run.warm_start", lambda stage, parts, source: begun.append(stage.name)
    )
    recipe = load_recipe("smoke", [*SHORT, f"model.warm_start={first.folder / 'model'}"])
    again = recipe.stages[2].model_copy(update={"name": "again"})
    run = RecipeRun(recipe.model_copy(update={"stages": [*recipe.stages[:3], again]}), tmp_path / "run")
    assert run.run() and run.is_finished("again")
    assert begun == ["autoencoder", "clip", "base"]


def test_words_that_both_know_keep_their_meaning() -> None:
    old, new = nn.Embedding(3, 4), nn.Embedding(4, 4)
    untouched = new.weight[2].clone()
    translate_words(
        new,
        SimpleNamespace(get_vocab=lambda: {"dog": 0, "<end>": 1, "whale": 2, "cat": 3}),  # type: ignore[arg-type]
        old,
        SimpleNamespace(get_vocab=lambda: {"cat": 0, "dog": 1, "<end>": 2}),  # type: ignore[arg-type]
    )
    assert torch.equal(new.weight[[0, 1, 3]], old.weight[[1, 2, 0]])
    assert torch.equal(new.weight[2], untouched)


class _Mixing(nn.Module):
    """Stands for an autoencoder: latents are fixed mixtures of shifted pictures."""

    def __init__(self, mixture: torch.Tensor, factor: int = 1, scale: float = 1.0) -> None:
        super().__init__()
        self.mixture, self.factor = mixture, factor
        self.config = SimpleNamespace(scaling_factor=scale)
        self.device, self.dtype = torch.device("cpu"), torch.float32

    def encode(self, pictures: torch.Tensor) -> Any:
        wide = torch.cat([pictures, pictures.roll(1, -1)], 1)
        latents = torch.einsum("nchw,cd->ndhw", wide, self.mixture)[..., :: self.factor, :: self.factor]
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=latents))


class _Pictures:
    batch_size = 4

    def batch(self, index: int, rows: slice) -> Any:
        frames = torch.rand(4, 1, 3, 8, 8, generator=torch.Generator().manual_seed(index))
        return SimpleNamespace(frames=frames[rows])


def _ends(channels: int) -> Any:
    return SimpleNamespace(
        conv_in=nn.Conv2d(channels, 5, 3, padding=1), conv_out=nn.Conv2d(5, channels, 3, padding=1)
    )


def test_the_layers_at_the_latents_read_and_write_the_new_ones_as_the_old() -> None:
    torch.manual_seed(0)
    change = torch.randn(6, 6)
    old_vae, new_vae = _Mixing(torch.eye(6), scale=2.0), _Mixing(change, scale=0.5)
    old, new = _ends(6), _ends(6)
    translate_latents(new, new_vae, old, old_vae, _Pictures())  # type: ignore[arg-type]
    latents, states = torch.randn(2, 6, 8, 8), torch.randn(2, 5, 8, 8)
    to_new = change * 0.5 / 2.0
    moved = torch.einsum("nchw,cd->ndhw", latents, to_new)
    torch.testing.assert_close(new.conv_in(moved), old.conv_in(latents), rtol=1e-3, atol=1e-4)
    written = torch.einsum("nchw,cd->ndhw", old.conv_out(states), to_new)
    torch.testing.assert_close(new.conv_out(states), written, rtol=1e-3, atol=1e-4)


def test_more_channels_and_other_factors() -> None:
    torch.manual_seed(0)
    old, new = _ends(4), _ends(6)
    old_vae = _Mixing(torch.randn(6, 4))
    translate_latents(new, _Mixing(torch.randn(6, 6)), old, old_vae, _Pictures())  # type: ignore[arg-type]
    assert new.conv_in.weight.shape == (5, 6, 3, 3) and torch.isfinite(new.conv_out.weight).all()
    with pytest.raises(CheckpointError, match="another factor"):
        translate_latents(new, _Mixing(torch.randn(6, 6), factor=2), old, old_vae, _Pictures())  # type: ignore[arg-type]


def test_models_that_share_nothing_are_refused(first: RecipeRun) -> None:
    stage, parts = first.build_stage(first.recipe.stages[2])
    pipe = StyleCrafterPipeline.from_pretrained(first.folder / "model")
    pipe.unet = nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match="no weight has the name and shape"):
        warm_start(stage, parts, pipe)


def test_it_goes_with_sizes_only(tmp_path: Path) -> None:
    recipe = tmp_path / "bad.yaml"
    recipe.write_text(
        "name: x\nmodel: {pretrained: mini, warm_start: mini}\n"
        "data: {a: {kind: styleworld, batch_size: 1}}\n"
        "stages: [{stage: adapter, pictures: a, train: {steps: 1, learning_rate: 1.0}}]\n"
    )
    with pytest.raises(InvalidInputError, match="'warm_start' goes with 'preset'"):
        load_recipe(recipe)
