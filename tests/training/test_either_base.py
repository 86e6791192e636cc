"""Stage 1 is the same on every base model; stage 2 needs one with temporal layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stylecrafter import StyleAdapter, StyleCrafterPipeline
from stylecrafter.errors import InvalidInputError
from stylecrafter.training.from_scratch.expansion import expand, interpolate_positions
from stylecrafter.training.parts import Parts
from stylecrafter.training.preflight import check_run
from stylecrafter.training.recipe_files import load_recipe
from stylecrafter.training.recipe_run import RecipeRun
from stylecrafter.training.stages import AdapterStage, DiffusionConfig, JointStage, TemporalStage
from tests.tiny import tiny_image_pipeline, tiny_picture, tiny_pipeline
from tests.training.tiny_sources import tiny_clips, tiny_pictures


def parts_of(pipe: StyleCrafterPipeline) -> Parts:
    return Parts(backbone=pipe.backbone, image_encoder=pipe.image_encoder, style_adapter=pipe.style_adapter)


@pytest.mark.parametrize(
    ("make", "prediction_type"),
    [
        (tiny_pipeline, "v_prediction"),
        (tiny_image_pipeline, "epsilon"),
        (tiny_image_pipeline, "v_prediction"),
    ],
)
def test_stage_1_trains_the_adapter_alone(
    make: Callable[..., StyleCrafterPipeline], prediction_type: str, tmp_path: Path
) -> None:
    pipe = make(prediction_type=prediction_type)
    parts = parts_of(pipe)
    stage = AdapterStage(parts, DiffusionConfig(), pictures=tiny_pictures())
    inputs = stage.inputs(0)
    before = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    optimizer = torch.optim.AdamW(stage.trainable().values(), lr=5e-3)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = stage.compute(inputs)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    moved = {
        f"{owner}.{name}"
        for owner, model in stage.models().items()
        for name, value in model.named_parameters()
        if value.grad is not None and value.grad.abs().sum() > 0
    }
    assert (
        moved
        == set(stage.trainable())
        == {f"style_adapter.{name}" for name, _ in pipe.style_adapter.named_parameters()}
    )
    assert losses[-1] < losses[0] - 1e-3
    assert all(torch.equal(value, before[name]) for name, value in pipe.unet.state_dict().items())
    # What was learned is used where the model is used, and outlives the process.
    given = {"style_images": tiny_picture(), "seed": 1, "num_frames": 1, "output_type": "latent"}
    drawn = pipe("a red fox", **given).frames
    pipe.style_adapter.save_pretrained(tmp_path)
    again = make(prediction_type=prediction_type)
    assert not torch.allclose(again("a red fox", **given).frames, drawn)
    again.style_adapter.detach()
    again.style_adapter = StyleAdapter.from_pretrained(tmp_path).attach(again.unet)
    torch.testing.assert_close(again("a red fox", **given).frames, drawn, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def image_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of Stable Diffusion that knows no style yet."""
    pipe = tiny_image_pipeline(default_width=16)
    pipe.style_adapter.detach()
    folder = tmp_path_factory.mktemp("base")
    kept = {
        name: pipe.config[name]
        for name in ("reference_size", "default_height", "default_width", "default_frames")
    }
    StyleCrafterPipeline(**{**pipe.components, "style_adapter": None}, **kept).save_pretrained(folder)
    return folder


CHANGES = [
    "model.new_adapter=true",
    "stages.extractor.stage=adapter",
    "adapter={extractor_heads: 2, scale_heads: 2, num_style_tokens: 2}",
    "data.mine={kind: styleworld, vocabulary: small, batch_size: 2, references: crop}",
    "stages.adapter.train.steps=2",
    "stages.adapter.train.sample_every=2",
    "samples.steps=1",
]


def test_a_recipe_begins_with_a_base_that_makes_images(image_base: Path, tmp_path: Path) -> None:
    recipe = load_recipe("finetune", [f"model.pretrained={image_base}", *CHANGES])
    run = RecipeRun(recipe, tmp_path / "run")
    assert run.run()
    trained = load_file(tmp_path / "run" / "adapter" / "weights.safetensors")
    assert trained and all(name.startswith("style_adapter.") for name in trained)
    pipe = StyleCrafterPipeline.from_pretrained(tmp_path / "run" / "model")
    pipe.set_progress_bar_config(disable=True)
    assert type(pipe.unet).__name__ == "UNet2DConditionModel"
    (frames,) = pipe("a dog", tiny_picture(), seed=0, num_inference_steps=2).frames
    assert [frame.size for frame in frames] == [(16, 16)]


def test_stage_2_needs_temporal_layers() -> None:
    parts = parts_of(tiny_image_pipeline())
    sources = {"pictures": tiny_pictures(), "clips": tiny_clips()}
    for kind in (TemporalStage, JointStage):
        with pytest.raises(
            InvalidInputError, match="Stable Diffusion has no temporal layers, which stages 'temporal'"
        ):
            kind(parts, DiffusionConfig(), **sources)
    with pytest.raises(InvalidInputError, match="Stable Diffusion makes images: num_frames must be 1, got 3"):
        AdapterStage(parts, DiffusionConfig(clip_ratio=1.0), clips=tiny_clips()).loss(0)


def test_a_recipe_for_stage_2_is_refused_before_stage_1(image_base: Path) -> None:
    changes = [
        f"model.pretrained={image_base}",
        *CHANGES,
        "stages.0.stage=temporal",
        "stages.0.train.warmup_steps=0",
    ]
    recipe = load_recipe("finetune", [*changes, "stages.0.options={clip_ratio: 0.0}"])
    with pytest.raises(InvalidInputError, match="model.pretrained: makes images: it has no temporal layers"):
        check_run(recipe, recipe.stages)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["samples.num_frames=3"], "makes images: samples.num_frames must be 1, got 3"),
        (
            [
                "data.moving={kind: styleworld, batch_size: 2, num_frames: 3, references: crop}",
                "stages.adapter.clips=moving",
                "stages.adapter.options={clip_ratio: 0.01}",
            ],
            "makes images: stage '.*' cannot show it clips .moving.",
        ),
    ],
)
def test_a_base_that_makes_images_is_shown_no_clips(image_base: Path, changes: list[str], says: str) -> None:
    recipe = load_recipe("finetune", [f"model.pretrained={image_base}", *CHANGES, *changes])
    with pytest.raises(InvalidInputError, match=says):
        check_run(recipe, recipe.stages)


def test_what_only_videocrafter_has_is_refused_on_others() -> None:
    pipe = tiny_image_pipeline()
    with pytest.raises(
        InvalidInputError, match="position_interpolation changes VideoCrafter models, this one is of Stable"
    ):
        interpolate_positions(pipe.backbone, 5.0)
    with pytest.raises(InvalidInputError, match="attention_levels changes VideoCrafter models"):
        expand(pipe.backbone, pipe.style_adapter, [True, True])
