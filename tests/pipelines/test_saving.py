"""Pipelines saved as folders, and the image pipeline on the same folder."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import DiffusionPipeline

from stylecrafter import ShortcutAutoencoder, StyleCrafterImagePipeline, StyleCrafterPipeline
from stylecrafter.errors import CheckpointError, InvalidInputError, UnknownNameError
from tests.tiny import DEFAULTS, tiny_components, tiny_pipeline

PROMPT = "a red fox running"


def clip(pipe: DiffusionPipeline, picture) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    return pipe(PROMPT, picture, seed=1, output_type="pt")[0]


@pytest.fixture(scope="module")
def folder(pipe, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny"
    pipe.save_pretrained(path)
    return path


def test_the_index_names_public_classes_and_numbers(folder) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == "StyleCrafterPipeline"
    assert index["unet"] == ["stylecrafter", "VideoCrafterUNet"]
    assert index["style_adapter"] == ["stylecrafter", "StyleAdapter"]
    assert {name: index[name] for name in DEFAULTS} == DEFAULTS


def test_a_round_trip_changes_nothing(pipe, folder, picture, tmp_path) -> None:
    loaded = StyleCrafterPipeline.from_pretrained(folder)
    wanted = clip(pipe, picture)
    assert torch.equal(clip(loaded, picture), wanted)
    assert loaded.config.default_fps == 4.0 and loaded.config.reference_size == 16
    loaded.save_pretrained(tmp_path / "again")
    assert torch.equal(clip(StyleCrafterPipeline.from_pretrained(str(tmp_path / "again")), picture), wanted)


def test_half_files_load_as_float32(folder, picture, tmp_path) -> None:
    half = StyleCrafterPipeline.from_pretrained(folder, dtype=torch.float16)
    assert {model.dtype for model in models(half)} == {torch.float16}
    half.save_pretrained(tmp_path)
    loaded = StyleCrafterPipeline.from_pretrained(tmp_path)
    assert {model.dtype for model in models(loaded)} == {torch.float32}
    assert clip(loaded, picture).isfinite().all()


def test_bfloat16_runs_with_float32_latents(folder, picture) -> None:
    pipe = StyleCrafterPipeline.from_pretrained(folder, dtype=torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    latents = pipe(PROMPT, picture, seed=1, output_type="latent", num_inference_steps=1, eta=0.0).frames
    exact = StyleCrafterPipeline.from_pretrained(folder)
    exact.set_progress_bar_config(disable=True)
    wanted = exact(PROMPT, picture, seed=1, output_type="latent", num_inference_steps=1, eta=0.0).frames
    assert latents.dtype == torch.float32
    assert (latents - wanted).norm() < 0.2 * wanted.norm()


def models(pipe: StyleCrafterPipeline) -> list:
    return [part for part in pipe.components.values() if hasattr(part, "parameters")]


def test_optional_parts_may_be_missing(tmp_path, picture) -> None:
    parts = {**tiny_components(), "image_encoder": None, "style_adapter": None}
    pipe = StyleCrafterPipeline(**parts, **DEFAULTS)
    pipe.save_pretrained(tmp_path)
    loaded = StyleCrafterPipeline.from_pretrained(tmp_path)
    assert loaded.style_adapter is None and loaded.image_encoder is None
    assert torch.equal(clip(loaded, None), clip(pipe, None))


def test_images_are_clips_of_one_frame(pipe, folder, picture) -> None:
    wanted = pipe([PROMPT, ""], picture, seed=1, num_frames=1, output_type="pt").frames
    for images in (
        StyleCrafterImagePipeline.from_pretrained(folder),
        StyleCrafterImagePipeline.from_pipe(pipe),
    ):
        images.set_progress_bar_config(disable=True)
        result = images([PROMPT, ""], picture, seed=1, output_type="pt").images
        assert result.shape == (2, 3, 16, 24) and torch.equal(result, wanted[:, 0])
    assert images([PROMPT, ""], picture, seed=1, output_type="np").images.shape == (2, 16, 24, 3)
    pictures = images([PROMPT], picture, num_images_per_prompt=2).images
    assert [p.size for p in pictures] == [(24, 16)] * 2
    latents = images(PROMPT, picture, seed=1, output_type="latent").images
    assert latents.shape == (1, 4, 8, 12)
    assert images(PROMPT, picture, latents=latents, output_type="latent").images.shape == (1, 4, 8, 12)
    with pytest.raises(InvalidInputError, match="samples, channels, h, w"):
        images(PROMPT, picture, latents=latents[0])


def test_an_adapter_that_is_attached_already_stays(pipe, picture) -> None:
    parts = tiny_components()
    parts["style_adapter"].attach(parts["unet"])
    again = StyleCrafterPipeline(**parts, **DEFAULTS)
    assert torch.equal(clip(again, picture), clip(pipe, picture))
    other = tiny_components(seed=1)
    with pytest.raises(InvalidInputError, match="already attached"):
        StyleCrafterPipeline(**{**other, "style_adapter": parts["style_adapter"]}, **DEFAULTS)


def test_models_that_do_not_exist(tmp_path) -> None:
    with pytest.raises(UnknownNameError, match="unknown model 'maxi'"):
        StyleCrafterPipeline.from_pretrained("maxi")
    with pytest.raises(CheckpointError, match="no model folder"):
        StyleCrafterPipeline.from_pretrained(tmp_path)


def test_the_whole_is_small() -> None:
    pipe = tiny_pipeline()
    assert sum(p.numel() for model in models(pipe) for p in model.parameters()) < 150_000


def test_an_autoencoder_with_shortcuts_is_passed_on(tmp_path, picture) -> None:
    parts = tiny_components()
    vae = ShortcutAutoencoder(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
    )
    pipe = StyleCrafterPipeline(**{**parts, "vae": vae.eval()}, **DEFAULTS)
    pipe.save_pretrained(tmp_path / "model")
    again = StyleCrafterPipeline.from_pretrained(tmp_path / "model")
    images = StyleCrafterImagePipeline.from_pipe(again)
    assert images.vae is again.vae and type(images.vae) is ShortcutAutoencoder
    wanted = pipe(PROMPT, picture, seed=1, num_frames=1, output_type="pt").frames[:, 0]
    assert torch.equal(images(PROMPT, picture, seed=1, output_type="pt").images, wanted)
