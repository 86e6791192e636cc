"""What does not fit a base model is told before any of it is loaded, from configs alone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stylecrafter import StyleAdapter
from stylecrafter.errors import InvalidInputError
from stylecrafter.training.preflight import check_run
from stylecrafter.training.recipe_files import load_recipe
from stylecrafter.training.recipe_run import RecipeRun
from tests.tiny import stable_diffusion_unet, tiny_image_pipeline, tiny_ip_adapter
from tests.training.tiny_bases import BASES, tiny_changes


@pytest.fixture(scope="module")
def configs(bases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folders without any weights."""
    folder = tmp_path_factory.mktemp("configs") / "bases"
    shutil.copytree(bases, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.bin"))
    tiny_image_pipeline().style_adapter.save_pretrained(folder / "adapter_of_stable_diffusion")
    torch.save(tiny_ip_adapter(stable_diffusion_unet()), folder / "ip_adapter.bin")
    return folder


@pytest.mark.parametrize("name", BASES)
def test_what_fits_passes_without_any_weights(name: str, configs: Path) -> None:
    recipe = load_recipe(name, tiny_changes(name, configs))
    check_run(recipe, recipe.stages)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("animatediff", "model.motion_adapter=", "model.base: makes images: it has no temporal layers"),
        (
            "animatediff",
            "stages.temporal.options.lora_rank=4",
            "AnimateDiff trains whole temporal layers; leave",
        ),
        (
            "animatediff",
            "data.video.num_frames=9",
            "data.video.num_frames: .*at most 8 frames at once, got 9",
        ),
        (
            "animatediff",
            "model.motion_adapter={configs}/image_encoder",
            "model.base: image_encoder .MotionAdapter.",
        ),
        (
            "wan",
            "data.video.num_frames=6",
            "data.video.num_frames: Wan 2.1 makes clips of 1, 5, 9 … frames, got 6",
        ),
        (
            "wan",
            "data.art.size=40",
            "data.art: 40 x 40 pixels for stage 'adapter': both sides must be multiples of 16",
        ),
        ("wan", "model.image_encoder=", "model.image_encoder: the model has none"),
        ("wan", "model.image_encoder={configs}/clips", "model.image_encoder: .*config.json"),
        ("wan", "adapter.extractor_heads=7", "model.base: takes no adapter of these options: .*7"),
        ("wan", "model.adapter={configs}/adapter_of_stable_diffusion", "model.adapter: "),
        ("sdxl", "model.adapter={configs}/ip_adapter.bin", "model.adapter: the style adapter gives width 16"),
        ("sdxl", "model.base=mini", "model.base: mini is a whole model .*: give it as model.pretrained"),
        ("sdxl", "model.base={configs}/pictures", "model.base: .*model_index.json"),
        ("sdxl", "model.base=nowhere", "model.base: unknown model 'nowhere'"),
    ],
)
def test_what_does_not_fit_is_one_line(name: str, change: str, says: str, configs: Path) -> None:
    changes = [*tiny_changes(name, configs), change.format(configs=configs)]
    recipe = load_recipe(name, changes)
    with pytest.raises(InvalidInputError, match=says) as caught:
        check_run(recipe, recipe.stages)
    assert "\n" not in str(caught.value)


def test_a_base_is_no_whole_model(configs: Path) -> None:
    recipe = load_recipe(
        "finetune", [f"model.pretrained={configs / 'wan'}", f"data.mine.path={configs / 'pictures'}"]
    )
    with pytest.raises(InvalidInputError, match="is a base model .WanPipeline.: give it as model.base"):
        check_run(recipe, recipe.stages)


def test_what_could_not_be_looked_at_is_refused_once_it_is_loaded(bases: Path, tmp_path: Path) -> None:
    # As of a base on the hub.
    recipe = load_recipe("animatediff", [*tiny_changes("animatediff", bases), "model.motion_adapter="])
    with pytest.raises(InvalidInputError, match="makes images: it has no temporal layers") as caught:
        RecipeRun(recipe, tmp_path / "run").models.parts([])
    assert re.search("recipe 'animatediff': model.base", str(caught.value))


@pytest.mark.parametrize("plus", [False, True])
def test_training_goes_on_with_a_published_adapter(
    plus: bool, bases: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = tiny_ip_adapter(stable_diffusion_unet(), plus)
    torch.save(state, tmp_path / "ip_adapter.bin")
    changes = [
        *tiny_changes("animatediff", bases),
        f"model.adapter={tmp_path / 'ip_adapter.bin'}",
        "stages.adapter.train={steps: 1, learning_rate: 0.01}",
    ]
    recipe = load_recipe("animatediff", changes)
    check_run(recipe, recipe.stages)
    run = RecipeRun(recipe, tmp_path / "run")
    with caplog.at_level("INFO"):
        adapter = run.models.parts([]).adapter()
    assert "the recipe's options of a fresh adapter are not used" in caplog.text
    assert torch.equal(adapter.layers[0].to_k.weight, state["ip_adapter"]["1.to_k_ip.weight"])
    assert run.run(until="adapter")
    trained = StyleAdapter.from_pretrained(tmp_path / "run" / "model_adapter" / "style_adapter")
    assert trained.config["image_features"] == ("penultimate" if plus else "embedding")
    assert not torch.equal(trained.layers[0].to_k.weight, adapter.layers[0].to_k.weight.half().float())


def test_text_encoders_may_be_small(bases: Path, tmp_path: Path) -> None:
    recipe = load_recipe("sdxl", [*tiny_changes("sdxl", bases), "model.text_encoder_dtype=bfloat16"])
    run = RecipeRun(recipe, tmp_path)
    stage, parts = run.build_stage(recipe.stages[0])
    assert parts is not None
    dtypes = {name: model.dtype for name, model in parts.models().items()}
    small = {"text_encoder", "text_encoder_2"}
    assert {name for name, dtype in dtypes.items() if dtype == torch.bfloat16} == small
    assert torch.isfinite(stage.loss(0))


def test_a_whole_model_may_read_references_with_another_encoder(bases: Path, tmp_path: Path) -> None:
    tiny_image_pipeline(default_width=16).save_pretrained(tmp_path / "model")
    changes = [
        f"model={{pretrained: {tmp_path / 'model'}, image_encoder: {bases / 'image_encoder'}}}",
        f"data.mine={{kind: files, path: {bases / 'pictures'}, batch_size: 2, size: 16, references: crop}}",
    ]
    recipe = load_recipe("finetune", changes)
    check_run(recipe, recipe.stages)
    encoder = RecipeRun(recipe, tmp_path / "run").models.parts([]).image_encoder
    wanted = load_file(bases / "image_encoder" / "model.safetensors")
    assert wanted.keys() == encoder.state_dict().keys()
    assert all(torch.equal(value, wanted[name]) for name, value in encoder.state_dict().items())
