"""The recipes of all base models from the first step to a folder that generates, at toy size."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stylecrafter import StyleCrafterPipeline
from stylecrafter.training.parts import Parts, load_trained
from stylecrafter.training.recipe_files import load_recipe, recorded_recipe
from stylecrafter.training.recipe_run import RecipeRun
from stylecrafter.training.recipes import Recipe
from stylecrafter.training.stage_specs import StageSpec
from stylecrafter.training.stages import DIFFUSION_STAGES
from tests.conftest import MadeOnce
from tests.tiny import tiny_picture
from tests.training.tiny_bases import BASES, tiny_changes

STEPS = 8
TRAIN = f"{{steps: {STEPS}, learning_rate: 0.02, warmup_steps: 0, ema_decay: 0.5}}"


def short_recipe(name: str, bases: Path) -> Recipe:
    recipe = load_recipe(name)
    stages = [f"stages.{stage.name}.train={TRAIN}" for stage in recipe.stages]
    return load_recipe(name, [*tiny_changes(name, bases), *stages])


@pytest.fixture(scope="session", params=BASES)
def finished(request: pytest.FixtureRequest, made_once: MadeOnce, bases: Path) -> RecipeRun:
    """A run of the recipe that is finished, and only read."""
    recipe = short_recipe(request.param, bases)
    folder = made_once(f"run of {request.param}", lambda folder: RecipeRun(recipe, folder / "run").run())
    return RecipeRun(recipe, folder / "run")


@torch.no_grad()
def mean_loss(run: RecipeRun, parts: Parts, spec: StageSpec) -> float:
    """The loss of a stage over batches that it saw."""
    spec = spec.seeded(run.recipe.seed)
    names = {"pictures": spec.pictures, "clips": spec.clips}
    sources = {key: run.source(name) for key, name in names.items() if name is not None}
    stage = DIFFUSION_STAGES[spec.stage](parts, spec.options, **sources)
    return sum(float(stage.loss(step)) for step in range(STEPS))


def test_every_stage_learns(finished: RecipeRun) -> None:
    done: list[str] = []
    for spec in finished.recipe.stages:
        parts = finished.models.parts(done, spec.name)
        before = mean_loss(finished, parts, spec)
        load_trained(parts.models(), finished.models.load_weights(spec.name))
        after = mean_loss(finished, parts, spec)
        assert after < 0.995 * before, (spec.name, before, after)
        done.append(spec.name)


def test_stopped_and_gone_on_with_it_leaves_the_same(finished: RecipeRun, tmp_path: Path) -> None:
    last = finished.recipe.stages[-1].name

    def stop(stage: str, step: int, steps: int, loss: float) -> None:
        if (stage, step) == (last, 3):
            os.kill(os.getpid(), signal.SIGTERM)

    assert RecipeRun(finished.recipe, tmp_path).run(on_step=stop) is False
    assert RecipeRun(load_recipe(recorded_recipe(tmp_path)), tmp_path).run(resume=True) is True
    for file in ("weights.safetensors", "losses.csv"):
        for spec in finished.recipe.stages:
            one, two = (folder / spec.name / file for folder in (finished.folder, tmp_path))
            if file == "losses.csv":
                assert [row.split(",")[:2] for row in one.read_text().splitlines()] == [
                    row.split(",")[:2] for row in two.read_text().splitlines()
                ]
                continue
            first, second = load_file(one), load_file(two)
            assert first.keys() == second.keys()
            assert all(torch.equal(value, second[name]) for name, value in first.items())


def draw(pipe: StyleCrafterPipeline, frames: int, side: int) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    given = {"num_frames": frames, "height": side, "width": side, "num_inference_steps": 2, "seed": 0}
    return pipe("a red fox", tiny_picture(), output_type="latent", **given).frames


def test_the_exported_folder_generates_what_was_trained(finished: RecipeRun) -> None:
    base = BASES[finished.recipe.name]
    pipe = StyleCrafterPipeline.from_pretrained(finished.folder / "model")
    names = [spec.name for spec in finished.recipe.stages]
    trained = finished.models.pipeline(finished.models.parts(names))
    near = {"rtol": 0.02, "atol": 0.02}  # folders hold float16
    torch.testing.assert_close(
        draw(pipe, base.frames, base.side), draw(trained, base.frames, base.side), **near
    )


def test_the_adapter_alone_goes_to_the_plain_base(finished: RecipeRun) -> None:
    model = finished.recipe.model
    alone = finished.folder / "model" / "style_adapter"
    pipe = StyleCrafterPipeline.from_base(
        model.base, alone, model.image_encoder, motion_adapter=model.motion_adapter
    )
    trained = StyleCrafterPipeline.from_pretrained(finished.folder / "model").style_adapter.state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in pipe.style_adapter.state_dict().items())
    assert pipe.style_adapter.is_attached_to(pipe.backbone.denoiser)


def test_low_rank_matrices_are_a_lora_of_the_plain_base(made_once: MadeOnce, bases: Path) -> None:
    recipe = short_recipe("wan", bases)
    folder = made_once("run of wan", lambda folder: RecipeRun(recipe, folder / "run").run()) / "run"
    model = recipe.model
    plain = StyleCrafterPipeline.from_base(
        model.base, folder / "model" / "style_adapter", model.image_encoder
    )
    before = draw(plain, 5, 32)
    plain.base.load_lora_weights(str(folder / "temporal"))
    merged = draw(StyleCrafterPipeline.from_pretrained(folder / "model"), 5, 32)
    torch.testing.assert_close(draw(plain, 5, 32), merged, rtol=0.02, atol=0.02)
    assert (merged - before).norm() > 0.02 * merged.norm()


@pytest.mark.parametrize("name", BASES)
def test_an_exported_folder_is_trained_further(
    name: str, made_once: MadeOnce, bases: Path, tmp_path: Path
) -> None:
    recipe = short_recipe(name, bases)
    folder = made_once(f"run of {name}", lambda folder: RecipeRun(recipe, folder / "run").run())
    changes = [
        f"model.pretrained={folder / 'run' / 'model'}",
        f"data.mine={{kind: files, path: {bases / 'pictures'}, batch_size: 2, size: {BASES[name].side}, "
        "references: crop}",
        "stages.extractor.train={steps: 2, learning_rate: 0.01}",
        "samples=null",
    ]
    assert RecipeRun(load_recipe("finetune", changes), tmp_path).run()
    trained = load_file(tmp_path / "extractor" / "weights.safetensors")
    assert trained and all(key.startswith("style_adapter.extractor.") for key in trained)
    pipe = StyleCrafterPipeline.from_pretrained(tmp_path / "model")
    assert draw(pipe, 1, BASES[name].side).isfinite().all()
