"""Base models from folders and single files: every part is what the files hold, and other things are refused."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPVisionModelWithProjection

from stylecrafter import StyleCrafterPipeline
from stylecrafter.errors import CheckpointError, InvalidInputError, StyleCrafterError, UnknownNameError
from tests.single_files import single_file
from tests.tiny import (
    VISION,
    stable_diffusion_unet,
    tiny_clip_config,
    tiny_controlnet,
    tiny_image_encoder,
    tiny_sd_pipeline,
    tiny_sdxl_pipeline,
    tiny_tokenizer,
)

# Single files tell the two text encoders of SDXL by their widths.
BASES = {"sd": tiny_sd_pipeline, "sdxl": functools.partial(tiny_sdxl_pipeline, second_width=24)}


@pytest.fixture(scope="module", params=BASES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp(request.param) / request.param
    BASES[request.param]().save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def sd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("base") / "sd"
    tiny_sd_pipeline().save_pretrained(made)
    return made


def draw(base: Any, **options: Any) -> torch.Tensor:
    pipe = StyleCrafterPipeline.from_base(base, **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe("a red fox", num_inference_steps=2, seed=1, output_type="pt").frames


def copied(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def index_changed(folder: Path, **changes: Any) -> None:
    file = folder / "model_index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_folder_is_what_was_saved(folder: Path) -> None:
    wanted = draw(BASES[folder.name]())
    assert torch.equal(draw(folder), wanted) and torch.equal(draw(str(folder)), wanted)
    pipe = StyleCrafterPipeline.from_base(folder, dtype=torch.bfloat16, default_steps=7)
    assert pipe.unet.dtype == torch.bfloat16 and pipe.config.default_steps == 7
    assert (pipe.config.default_height, pipe.config.default_text_guidance) == (16, 7.5)


def test_settings_of_the_base_are_kept(tmp_path: Path) -> None:
    base = tiny_sdxl_pipeline()
    base.register_to_config(force_zeros_for_empty_prompt=False)
    pipe = StyleCrafterPipeline.from_base(base)
    pipe.save_pretrained(tmp_path)
    for one in (pipe, StyleCrafterPipeline.from_pretrained(tmp_path)):
        assert one.config.force_zeros_for_empty_prompt is False
        assert one.backbone.base_pipeline().config.force_zeros_for_empty_prompt is False
        assert bool(one.backbone.encode_no_text(torch.device("cpu")).states.any())


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_a_single_file_is_the_same_model(folder: Path, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"model.{suffix}"
    state = single_file(BASES[folder.name]())
    if suffix == "ckpt":
        torch.save({"state_dict": state}, file)
    else:
        save_file({name: value.contiguous() for name, value in state.items()}, file)
    torch.testing.assert_close(draw(file, config=folder), draw(folder), rtol=1e-4, atol=1e-5)


def test_single_files_of_other_things_are_refused(sd_folder: Path, tmp_path: Path) -> None:
    whole = single_file(tiny_sd_pipeline())
    first = "model.diffusion_model.input_blocks.0.0.weight"
    extra = "model.diffusion_model.input_blocks.1.0.in_layers.9.weight"
    less = {k: v for k, v in whole.items() if k != "model.diffusion_model.out.2.bias"}
    norm = "cond_stage_model.transformer.text_model.final_layer_norm.bias"
    no_norm = {k: v for k, v in whole.items() if k != norm}
    no_text = {k: v for k, v in whole.items() if not k.startswith("cond_stage_model")}
    refiner = {**no_text, "conditioner.embedders.0.model.ln_final.bias": torch.zeros(1)}
    broken = {**whole, "first_stage_model.decoder.conv_in.bias": torch.full((8,), torch.nan)}
    video = {**whole, "model.diffusion_model.init_attn.0.norm.weight": torch.zeros(1)}
    cases = [
        ({**whole, first: torch.zeros(8, 9, 3, 3)}, "reads 9 channels, it is an inpainting model"),
        ({**whole, first: torch.zeros(8, 5, 3, 3)}, "it is a depth model"),
        (refiner, "SDXL's refiner"),
        (no_text, "has no text encoder"),
        (less, "tensors of its UNet or autoencoder are missing"),
        (no_norm, r"1 tensor \(final_layer_norm\.bias\) of its text_encoder missing"),
        ({**whole, extra: torch.zeros(2)}, "some are missing, or of another model"),
        (broken, "not finite"),
        (video, "it is VideoCrafter's: `stylecrafter convert`"),
        (
            {"double_blocks.0.img_attn.proj.weight": torch.zeros(2)},
            "no whole model of Stable Diffusion or SDXL",
        ),
    ]
    for state, message in cases:
        file = tmp_path / "model.safetensors"
        save_file({name: value.contiguous() for name, value in state.items()}, file)
        with pytest.raises(CheckpointError, match=message):
            StyleCrafterPipeline.from_base(file, config=sd_folder)
    with pytest.raises(InvalidInputError, match="config= goes with a single file"):
        StyleCrafterPipeline.from_base(sd_folder, config=sd_folder)


def test_folders_of_other_things_are_refused(sd_folder: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    StyleCrafterPipeline.from_base(tiny_sd_pipeline()).save_pretrained(ours)
    with pytest.raises(CheckpointError, match=r"load it with StyleCrafterPipeline\.from_pretrained"):
        StyleCrafterPipeline.from_base(ours)
    for number, (changes, message) in enumerate(
        [
            ({"_class_name": "FluxPipeline"}, "is a FluxPipeline.*known are Stable Diffusion.*SDXL"),
            ({"_class_name": "StableDiffusionInpaintPipeline"}, "is a StableDiffusionInpaintPipeline"),
            ({"adapter": ["diffusers", "T2IAdapter"]}, "has a adapter|has an adapter"),
            ({"unet": ["diffusers", "FluxTransformer2DModel"]}, "unet is .*FluxTransformer2DModel"),
        ]
    ):
        wrong = copied(sd_folder, tmp_path / str(number))
        index_changed(wrong, **changes)
        with pytest.raises(CheckpointError, match=message):
            StyleCrafterPipeline.from_base(wrong)
    for name in ("nothing", str(tmp_path / "nothing")):
        with pytest.raises(CheckpointError, match="no such file or folder"):
            StyleCrafterPipeline.from_base(name)
    with pytest.raises(StyleCrafterError):
        StyleCrafterPipeline.from_base(tmp_path)


def test_pipelines_of_other_things_are_refused() -> None:
    for other in (None, tiny_sd_pipeline().unet):
        with pytest.raises(
            InvalidInputError, match="a base model is a diffusers pipeline, or where one lies"
        ):
            StyleCrafterPipeline.from_base(other)
    with pytest.raises(
        InvalidInputError, match="motion modules are a MotionAdapter, or where one lies, got dict"
    ):
        StyleCrafterPipeline.from_base(tiny_sd_pipeline(), motion_adapter={})
    with pytest.raises(UnknownNameError, match="from_base 'default_step'. Did you mean 'default_steps'"):
        StyleCrafterPipeline.from_base(tiny_sd_pipeline(), default_step=3)
    base = tiny_sd_pipeline()
    inpainting = StableDiffusionInpaintPipeline(**base.components, requires_safety_checker=False)
    with pytest.raises(
        UnknownNameError,
        match="unknown base model 'StableDiffusionInpaintPipeline'.*StableDiffusionXLPipeline",
    ):
        StyleCrafterPipeline.from_base(inpainting)
    for channels in (5, 9):
        base.unet = stable_diffusion_unet(in_channels=channels)
        with pytest.raises(InvalidInputError, match=rf"reads {channels} channels and gives 4.*inpainting"):
            StyleCrafterPipeline.from_base(base)


def test_tensors_that_are_missing_or_unknown_are_refused(folder: Path, tmp_path: Path) -> None:
    changed = copied(folder, tmp_path / "changed")
    file = changed / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    for wrong in (
        {k: v for k, v in tensors.items() if k != "conv_in.bias"},
        {**tensors, "more": torch.zeros(1)},
        {**tensors, "conv_in.bias": torch.full((8,), torch.nan)},
    ):
        save_file(wrong, file)
        with pytest.raises(CheckpointError, match=r"conv_in\.bias|more"):
            StyleCrafterPipeline.from_base(changed)


def test_an_autoencoder_with_names_of_old(sd_folder: Path, tmp_path: Path) -> None:
    old = copied(sd_folder, tmp_path / "old")
    file = old / "vae" / "diffusion_pytorch_model.safetensors"
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, value in load_file(file).items():
        for today, before in names.items():
            name = name.replace(f".{today}.", f".{before}.")
        renamed[name] = value
    assert any(".proj_attn." in name for name in renamed)
    save_file(renamed, file)
    assert torch.equal(draw(old), draw(sd_folder))


def test_a_controlnet_goes_with_a_folder(folder: Path, tmp_path: Path) -> None:
    base = BASES[folder.name]()
    tiny_controlnet(base.unet).save_pretrained(tmp_path)
    pipe = StyleCrafterPipeline.from_base(folder, controlnet=tmp_path)
    assert "ControlNet" in type(pipe.base).__name__ and pipe.controlnet is pipe.base.controlnet
    assert pipe.base.unet is pipe.unet
    with pytest.raises(CheckpointError):
        StyleCrafterPipeline.from_base(folder, controlnet=folder)


def test_image_encoders(sd_folder: Path, tmp_path: Path) -> None:
    base, encoder = tiny_sd_pipeline(), tiny_image_encoder()
    encoder.save_pretrained(tmp_path / "tower")
    found = StyleCrafterPipeline.from_base(base, image_encoder=tmp_path / "tower").image_encoder
    assert isinstance(found, CLIPVisionModelWithProjection)
    assert all(torch.equal(v, encoder.state_dict()[k]) for k, v in found.state_dict().items())
    clip = CLIPModel(
        CLIPConfig.from_dict(tiny_clip_config(tiny_tokenizer(), {**VISION, "projection_dim": 12}).to_dict())
    )
    clip.save_pretrained(tmp_path / "clip")
    both = StyleCrafterPipeline.from_base(base, image_encoder=str(tmp_path / "clip")).image_encoder
    assert torch.equal(both.visual_projection.weight, clip.visual_projection.weight)
    for wrong in (sd_folder, sd_folder / "text_encoder", tmp_path / "nothing"):
        with pytest.raises(CheckpointError):
            StyleCrafterPipeline.from_base(base, image_encoder=wrong)
    file = tmp_path / "some.safetensors"
    save_file({"x": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match="is no OpenCLIP checkpoint"):
        StyleCrafterPipeline.from_base(base, image_encoder=file)
    with pytest.raises(InvalidInputError, match="an image encoder is a CLIPVisionModel"):
        StyleCrafterPipeline.from_base(base, image_encoder=base.unet)


def test_an_argument_that_nobody_takes_is_refused(sd_folder: Path) -> None:
    with pytest.raises(InvalidInputError, match="adaptor.*adapter"):
        StyleCrafterPipeline.from_base(sd_folder, adaptor="a.safetensors")
    with pytest.raises(InvalidInputError, match="safety_checkr"):
        StyleCrafterPipeline.from_base(sd_folder, safety_checkr=None)
