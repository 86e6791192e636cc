"""What a run builds and leaves: parts with the weights of its stages, a pipeline folder, the whole CLIP."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

from stylecrafter import StyleCrafterPipeline
from stylecrafter.adapter.adapter_options import AdapterOptions
from stylecrafter.errors import CheckpointError, InvalidInputError, OutputError
from stylecrafter.evaluation.metrics.encoders import ClipEncoder
from stylecrafter.references.preprocessing import normalise_for_clip
from stylecrafter.training.from_scratch.encoder_stages import latent_scale
from stylecrafter.training.recipe_files import load_recipe
from stylecrafter.training.recipe_run import RecipeRun
from stylecrafter.training.strategies import STRATEGIES
from tests.training.short_run import STAGES


def test_the_exported_folder_is_a_pipeline_that_makes_clips(trained: RecipeRun) -> None:
    pipe = StyleCrafterPipeline.from_pretrained(trained.folder / "model")
    pipe.set_progress_bar_config(disable=True)
    style = Image.new("RGB", (80, 60), (200, 40, 90))
    out = pipe("a dog in a meadow", style_images=[style], num_frames=2, num_inference_steps=2, seed=1)
    assert len(out.frames[0]) == 2 and out.frames[0][0].size == (64, 64)
    known = json.loads((trained.folder / "model" / "world.json").read_text())
    assert "dog" in known["objects"] and "meadow" in known["scenes"] and known["words"]


def test_the_whole_clip_is_kept_for_evaluation(trained: RecipeRun) -> None:
    encoder = ClipEncoder(str(trained.folder / "clip_model"))
    tower = trained.models.parts(["clip"]).image_encoder
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    pixels = normalise_for_clip((pictures * 255).round() / 255)
    with torch.no_grad():
        expected = F.normalize(encoder._model.visual_projection(tower(pixels).pooler_output), dim=1)
    torch.testing.assert_close(encoder.pictures(pictures), expected, atol=0.01, rtol=0)
    assert encoder.texts(["a dog in a meadow"]).shape == expected[:1].shape


def test_the_scale_of_latents_is_measured_once_for_the_weights_that_there_are(
    trained: RecipeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def counted(*arguments: Any) -> float:
        measured.append(latent_scale(*arguments, samples=8))
        return measured[-1]

    monkeypatch.setattr("stylecrafter.training.run_models.latent_scale", counted)
    run = RecipeRun(trained.recipe, trained.folder)
    first, second = (run.models.parts(["autoencoder"]) for _ in range(2))
    scales = [parts.models()["vae"].config.scaling_factor for parts in (first, second)]
    assert scales == measured * 2
    # A run that goes on measures again: what is drawn at random behind it must not depend on that.
    for name, model in first.models().items():
        for one, other in zip(model.parameters(), second.models()[name].parameters(), strict=True):
            assert torch.equal(one, other), name
    os.utime(run.models.weights_path("autoencoder"))
    run.models.parts(["autoencoder"])
    assert len(measured) == 2


def test_the_export_holds_what_the_stages_trained(trained: RecipeRun) -> None:
    pipe = StyleCrafterPipeline.from_pretrained(trained.folder / "model")
    parts = trained.models.parts(list(STAGES))
    for name, model in parts.models().items():
        expected = model.state_dict()
        for key, value in getattr(pipe, name).state_dict().items():
            assert torch.allclose(value, expected[key].half().float()), f"{name}.{key}"
    assert pipe.vae.config.scaling_factor == pytest.approx(
        parts.backbone.component("vae").config.scaling_factor
    )
    assert pipe.vae.config.scaling_factor != 0.18215


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("moment", ["clip_model", "rename"])
def test_killed_while_it_exports_a_run_is_finished_by_going_on(
    trained: RecipeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    folder = tmp_path / "run"
    shutil.copytree(trained.folder, folder, ignore=lambda *_: {"model", "clip_model"})
    place = {
        "clip_model": "stylecrafter.training.from_scratch.fresh_models.build_clip_processor",
        "rename": "stylecrafter.media.files._sync_tree",
    }[moment]
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(place, kill)
        # What `finally` would remove, a process that is killed leaves.
        patched.setattr("stylecrafter.media.files._remove", lambda part: None)
        RecipeRun(trained.recipe, folder).run(resume=True)
    assert not (folder / "model").exists() and list(folder.glob(".*model.*.part"))
    assert RecipeRun(trained.recipe, folder).run(resume=True)
    assert _files(folder) == _files(trained.folder)
    with pytest.raises(OutputError, match="is finished: its model is"):
        RecipeRun(trained.recipe, folder).run(resume=True)


def test_what_an_export_of_an_earlier_version_lacks_is_added(trained: RecipeRun, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained.folder, folder)
    (folder / "model" / "world.json").unlink()
    shutil.rmtree(folder / "clip_model")
    unet = (folder / "model" / "unet" / "config.json").stat()
    assert RecipeRun(trained.recipe, folder).run(resume=True)
    assert _files(folder) == _files(trained.folder)
    assert (folder / "model" / "unet" / "config.json").stat().st_mtime_ns == unet.st_mtime_ns


def test_a_new_adapter_starts_from_the_trained_base(trained: RecipeRun) -> None:
    parts = trained.models.parts(["autoencoder", "clip", "base"])
    name = parts.adapter().layer_names[0]
    assert torch.equal(
        parts.adapter().layers[0].to_k.weight, parts.backbone.denoiser.get_submodule(name).to_k.weight
    )


def test_a_new_adapter_on_a_finished_model_is_as_large_as_the_old_one(
    trained: RecipeRun, tmp_path: Path
) -> None:
    base = f"model.pretrained={trained.folder / 'model'}"
    changes = [base, "model.new_adapter=true", "stages.extractor.stage=adapter", f"data.mine.path={tmp_path}"]
    recipe = load_recipe("finetune", changes)
    old = StyleCrafterPipeline.from_pretrained(trained.folder / "model").style_adapter
    new = RecipeRun(recipe, tmp_path / "run").models.parts([]).adapter()
    assert {k: new.config[k] for k in AdapterOptions.__annotations__} == {
        k: old.config[k] for k in AdapterOptions.__annotations__
    }
    assert not torch.equal(new.layers[0].to_v.weight, old.layers[0].to_v.weight)
    other = recipe.with_strategy(STRATEGIES["adapter_only"]).model_copy(
        update={"adapter": {"scale_type": "fixed"}}
    )
    fixed = RecipeRun(other, tmp_path / "run").models.parts([]).adapter()
    assert fixed.config.scale_type == "fixed" and fixed.config.extractor_heads == old.config.extractor_heads


def test_a_base_without_an_adapter_gets_one(trained: RecipeRun, tmp_path: Path) -> None:
    pipe = StyleCrafterPipeline.from_pretrained(trained.folder / "model")
    pipe.style_adapter.detach()
    StyleCrafterPipeline(**{**pipe.components, "style_adapter": None}, reference_size=64).save_pretrained(
        tmp_path / "base"
    )
    changes = [
        f"model.pretrained={tmp_path / 'base'}",
        "model.new_adapter=true",
        "stages.extractor.stage=adapter",
        f"data.mine.path={tmp_path}",
    ]
    parts = RecipeRun(load_recipe("finetune", changes), tmp_path / "run").models.parts([])
    assert parts.adapter().is_attached_to(parts.backbone.denoiser)


def test_weights_that_are_missing_or_torn_are_named(trained: RecipeRun, tmp_path: Path) -> None:
    run = RecipeRun(trained.recipe, tmp_path / "run")
    with pytest.raises(CheckpointError, match="'autoencoder' has not been finished"):
        run.models.parts(["autoencoder"])
    torn = run.models.weights_path("autoencoder")
    torn.parent.mkdir(parents=True)
    save_file({"vae.weight": torch.zeros(8)}, torn)
    torn.write_bytes(torn.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="is not a complete safetensors file"):
        run.models.parts(["autoencoder"])
    whole = trained.models.load_weights("autoencoder")
    name, value = next(iter(whole.items()))
    for state, says in (
        ({key: whole[key] for key in whole if key != name}, r"weights of vae: 1 tensor \(.+\) missing"),
        ({**whole, name: value * float("nan")}, r"stage 'autoencoder' in .*: 1 tensor \(.+\) not finite"),
    ):
        save_file(state, torn)
        with pytest.raises(CheckpointError, match=says):
            run.models.parts(["autoencoder"])


def test_a_finished_model_says_its_size_once_it_is_loaded(trained: RecipeRun, tmp_path: Path) -> None:
    base = f"model.pretrained={trained.folder / 'model'}"
    models = RecipeRun(load_recipe("finetune", [base, f"data.mine.path={tmp_path}"]), tmp_path / "run").models
    with pytest.raises(InvalidInputError, match="load it first"):
        models.frame_size()
    models.parts([])
    assert models.frame_size() == trained.models.frame_size() == (64, 64)
    with pytest.raises(InvalidInputError, match="from nothing"):
        models.preset_sizes("clip")
