"""The embedded model from nothing: every stage for one step, the export, and a clip from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from stylecrafter import StyleCrafterPipeline
from stylecrafter.errors import CheckpointError, UnknownNameError
from stylecrafter.styleworld import world
from stylecrafter.training.checkpoint import load_checkpoint
from stylecrafter.training.mini import STAGES, MiniBuild
from stylecrafter.training.stages import TEXT_ENCODER_PREFIX

DATA = {
    "autoencoder": {"batch_size": 2},
    "clip": {"batch_size": 4},
    "base": {
        "image_batch": 2,
        "clip_batch": 1,
        "num_frames": 2,
        "clip_ratio": 0.5,
        "train_text_encoder": True,
    },
    "adapter": {"image_batch": 2, "cross_reference_ratio": 0.5},
    "temporal": {"image_batch": 2, "clip_batch": 1, "num_frames": 2, "clip_ratio": 0.5},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> MiniBuild:
    build = MiniBuild(tmp_path_factory.mktemp("mini"))
    for stage in STAGES:
        trainer = build.trainer(stage, steps=2, learning_rate=1e-3, warmup_steps=1, data=dict(DATA[stage]))
        trainer.resume()
        trainer.run()
    return build


def test_the_exported_folder_is_a_pipeline_that_makes_clips(built: MiniBuild, tmp_path: Path) -> None:
    built.export(tmp_path / "model")
    pipe = StyleCrafterPipeline.from_pretrained(tmp_path / "model")
    pipe.set_progress_bar_config(disable=True)
    reference = world.render(world.sample(1, torch.Generator().manual_seed(0)), 64)[0, 0]
    style = (reference.permute(1, 2, 0).numpy() * 255).astype("uint8")
    out = pipe("a dog in a meadow", style_images=[style], num_frames=2, num_inference_steps=2, seed=1)
    assert len(out.frames[0]) == 2 and out.frames[0][0].size == (64, 64)
    known = json.loads((tmp_path / "model" / "world.json").read_text())
    assert "dog" in known["objects"] and "meadow" in known["scenes"]


def test_the_export_holds_what_the_stages_trained(built: MiniBuild, tmp_path: Path) -> None:
    built.export(tmp_path / "model")
    pipe = StyleCrafterPipeline.from_pretrained(tmp_path / "model")
    parts = built.parts(STAGES)
    for name in ("vae", "unet", "text_encoder", "image_encoder", "style_adapter"):
        expected = getattr(parts, name).state_dict()
        for key, value in getattr(pipe, name).state_dict().items():
            assert torch.allclose(value, expected[key].half().float()), f"{name}.{key}"
    assert pipe.vae.config.scaling_factor == pytest.approx(parts.vae.config.scaling_factor)


def test_later_stages_leave_the_work_of_earlier_ones_alone(built: MiniBuild) -> None:
    before, after = built.parts(("autoencoder", "clip", "base")), built.parts(STAGES)
    temporal = {id(value) for value in after.unet.temporal_parameters()}
    for (name, old), new in zip(before.unet.named_parameters(), after.unet.parameters(), strict=True):
        assert torch.equal(old, new) == (id(new) not in temporal), name


def test_the_text_encoder_that_base_trained_is_the_one_in_use(built: MiniBuild) -> None:
    before, after = built.parts(("autoencoder", "clip")).text_encoder, built.parts(STAGES).text_encoder
    trained = load_checkpoint(built.folder / "base" / "checkpoint.pt")["average"]
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        assert torch.equal(new, trained[TEXT_ENCODER_PREFIX + name]), name
        if "token_embedding" not in name:
            assert not torch.equal(new, old), name


def test_a_stage_needs_the_ones_before_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="autoencoder"):
        MiniBuild(tmp_path).trainer("base", steps=1, learning_rate=1e-3, data={"image_batch": 1})


def test_an_unknown_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="temporal"):
        MiniBuild(tmp_path).trainer("temporl", steps=1, learning_rate=1e-3)
