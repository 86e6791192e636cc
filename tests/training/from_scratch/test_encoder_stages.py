"""Autoencoder and CLIP: their losses fall, and say what they claim."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from stylecrafter.backbones.autoencoder import ShortcutAutoencoder
from stylecrafter.errors import InvalidInputError
from stylecrafter.presets import load_preset
from stylecrafter.training.batch_shares import Shard
from stylecrafter.training.from_scratch import fresh_models
from stylecrafter.training.from_scratch.encoder_stages import (
    AutoencoderConfig,
    AutoencoderStage,
    ClipConfig,
    ClipStage,
    DecoderConfig,
    DecoderStage,
    latent_scale,
    matching_loss,
    reconstruction_loss,
)
from stylecrafter.training.train_config import TrainConfig
from stylecrafter.training.trainer import Trainer
from tests.training.tiny_parts import tiny_parts
from tests.training.tiny_sources import tiny_pictures

CAPTIONED = {"captions": "keep", "styled_ratio": 0.75, "cross_reference_ratio": 0.75, "styles_per_content": 3}


def tiny_clip_stage(style_weight: float = 1.0, **changes) -> ClipStage:
    sizes = load_preset("mini")
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes["text"] = {**sizes["text"], **small}
    sizes["vision"] = {**small, "image_size": 16, "patch_size": 8}
    sizes["projection_dim"] = 16
    torch.manual_seed(0)
    tokenizer = fresh_models.build_tokenizer(sizes, ["dog"])
    clip = fresh_models.build_clip(sizes, tokenizer)
    pictures = tiny_pictures(8, **{**CAPTIONED, **changes})
    return ClipStage(clip, tokenizer, pictures, ClipConfig(style_weight=style_weight))


def fall(stage, folder: Path, steps: int) -> tuple[float, float]:
    config = TrainConfig(steps=steps, learning_rate=3e-3, warmup_steps=0)
    run = Trainer(stage, config, folder)
    values = [run.train_step() for _ in range(steps)]
    return sum(values[:5]) / 5, sum(values[-5:]) / 5


def test_an_autoencoder_with_shortcuts_starts_from_the_pictures_of_its_source() -> None:
    torch.manual_seed(0)
    vae = ShortcutAutoencoder(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16), latent_channels=6, norm_num_groups=4, sample_size=16,
    )  # fmt: skip
    source = tiny_pictures(4)
    before = vae.decoder.shortcut.weight.detach().clone()
    stage = AutoencoderStage(vae, source)
    assert not torch.equal(vae.decoder.shortcut.weight, before)
    assert all(value.requires_grad for value in vae.parameters())
    frames = source.batch(0, slice(0, 4)).frames[:, 0] * 2 - 1
    with torch.no_grad():
        left = vae.decode(vae.encode(frames).latent_dist.mean).sample - frames
    assert left.square().mean() < 0.2 * frames.square().mean()
    again = ShortcutAutoencoder.from_config(vae.config)
    AutoencoderStage(again, source)
    assert torch.equal(again.encoder.shortcut.weight, vae.encoder.shortcut.weight)
    assert stage.loss(0).isfinite()


def moved(stage, folder: Path) -> set[str]:
    """The parameters that two steps changed, of all that the stage's models have."""
    before = {
        f"{owner}.{name}": value.detach().clone()
        for owner, model in stage.models().items()
        for name, value in model.named_parameters()
    }
    fall(stage, folder, 2)
    return {name for name, value in before.items() if not torch.equal(value, _parameter(stage, name))}


def _parameter(stage, name: str) -> torch.Tensor:
    owner, _, rest = name.partition(".")
    return stage.models()[owner].get_parameter(rest)


def test_the_autoencoder_stage_moves_exactly_the_autoencoder(tmp_path: Path) -> None:
    stage = AutoencoderStage(tiny_parts().models()["vae"], tiny_pictures(4))
    assert stage.trainable().keys() == {f"vae.{name}" for name, _ in stage.vae.named_parameters()}
    assert moved(stage, tmp_path) == set(stage.trainable())


def test_the_decoder_stage_moves_exactly_the_decoder_and_latents_stay(tmp_path: Path) -> None:
    vae, pictures = tiny_parts().models()["vae"], tiny_pictures(4)
    stage = DecoderStage(vae, pictures)
    frames = pictures.batch(0, slice(0, 4)).frames[:, 0] * 2 - 1
    latents = vae.encode(frames).latent_dist.mean.detach()
    assert all(name.startswith(("vae.decoder.", "vae.post_quant_conv.")) for name in stage.trainable())
    assert moved(stage, tmp_path) == set(stage.trainable())
    assert torch.equal(vae.encode(frames).latent_dist.mean, latents)


def test_a_decoder_learns_to_read_latents_with_noise(tmp_path: Path) -> None:
    """Latents with noise: more of them is lost before than after, which holds of none for right ones alone."""
    torch.manual_seed(0)
    vae = ShortcutAutoencoder(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16), latent_channels=6, norm_num_groups=4, sample_size=16,
    )  # fmt: skip
    pictures = tiny_pictures(4)
    AutoencoderStage(vae, pictures)
    vae.register_to_config(scaling_factor=latent_scale(vae, pictures))
    stage = DecoderStage(vae, pictures, DecoderConfig(latent_noise=0.8))
    frames = pictures.batch(99, slice(0, 4)).frames[:, 0] * 2 - 1
    noise = (
        torch.randn(4, 6, 8, 8, generator=torch.Generator().manual_seed(1)) * 0.5 / vae.config.scaling_factor
    )

    @torch.no_grad()
    def lost() -> float:
        latents = vae.encode(frames).latent_dist.mean
        return (vae.decode(latents + noise).sample - frames).abs().mean().item()

    before = lost()
    fall(stage, tmp_path, 40)
    assert lost() < 0.95 * before


def test_a_batch_of_the_decoder_in_parts_is_the_batch_whole() -> None:
    stage = DecoderStage(tiny_parts().models()["vae"], tiny_pictures(4), DecoderConfig(texture_weight=0.5))
    with torch.no_grad():
        halves = [stage.loss(3, Shard(rank, 2)) for rank in (0, 1)]
        assert torch.stack(halves).mean().item() == pytest.approx(stage.loss(3).item(), rel=1e-4)


def test_the_clip_stage_moves_exactly_both_towers_and_where_asked_the_style_head(tmp_path: Path) -> None:
    for weight in (0.0, 1.0):
        stage = tiny_clip_stage(weight)
        wanted = {f"clip.{name}" for name, _ in stage.clip.named_parameters()}
        if weight:
            wanted |= {f"style_head.{name}" for name, _ in stage.style_head.named_parameters()}
        assert stage.trainable().keys() == wanted
        # A bias that is added to every key changes no attention.
        rest = wanted - moved(stage, tmp_path / str(weight))
        assert all(name.endswith("k_proj.bias") for name in rest), rest


def test_settings_out_of_range_are_refused() -> None:
    for name in ("kl_weight", "texture_weight"):
        for value in (-1.0, math.inf, math.nan):
            with pytest.raises(InvalidInputError, match=name):
                AutoencoderConfig(**{name: value})
    for name in ("latent_noise", "texture_weight"):
        with pytest.raises(InvalidInputError, match=name):
            DecoderConfig(**{name: -1.0})


def test_the_loss_of_the_autoencoder_falls(tmp_path: Path) -> None:
    stage = AutoencoderStage(tiny_parts().models()["vae"], tiny_pictures(4))
    first, last = fall(stage, tmp_path, 25)
    assert last < first
    assert 0 < latent_scale(stage.vae, stage.pictures, 8) < math.inf


def test_the_latent_scale_gives_unit_variance() -> None:
    vae, pictures = tiny_parts().models()["vae"], tiny_pictures(4)
    factor = latent_scale(vae, pictures, 8)
    with torch.no_grad():
        frames = torch.cat([pictures.batch(k, slice(0, 4)).frames[:, 0] for k in range(2)])
        latents = vae.encode(frames * 2 - 1).latent_dist.mean * factor
    assert latents.std().item() == pytest.approx(1.0, abs=1e-4)


def test_the_loss_of_clip_falls(tmp_path: Path) -> None:
    first, last = fall(tiny_clip_stage(), tmp_path, 30)
    assert last < first


def test_the_style_term_trains_the_head_and_the_image_tower_only() -> None:
    stage = tiny_clip_stage()
    batch = stage.pictures.batch(0, slice(0, 8))
    states = stage.clip.vision_model(pixel_values=stage._pixels(batch.frames[:, 0])).last_hidden_state
    partners = stage.clip.vision_model(pixel_values=stage._pixels(batch.references)).last_hidden_state
    matching_loss(stage._style(states), stage._style(partners)).backward()
    reached = {n for n, v in stage.trainable().items() if v.grad is not None and v.grad.abs().sum() > 0}
    assert any(name.startswith("style_head.") for name in reached)
    assert any("vision_model" in name for name in reached)
    assert not any("text_model" in name for name in reached)


def test_without_weight_there_is_no_style_term() -> None:
    with_term, without = tiny_clip_stage(1.0), tiny_clip_stage(0.0)
    assert with_term.loss(0).item() > without.loss(0).item()
    assert not any(name.startswith("style_head") for name in without.trainable())
    assert any(name.startswith("style_head") for name in with_term.trainable())


def test_matching_pairs_have_the_least_loss() -> None:
    vectors = torch.nn.functional.normalize(
        torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), dim=1
    )
    matched, shuffled = matching_loss(vectors, vectors), matching_loss(vectors, vectors.roll(1, 0))
    assert matched < shuffled
    assert matching_loss(torch.ones(4, 1), torch.ones(4, 1)).item() == pytest.approx(math.log(4))


def test_equal_captions_share_the_match() -> None:
    stage = tiny_clip_stage(0.0)
    stage.pictures = tiny_pictures(4, captions="decouple", references="none", cross_reference_ratio=0.0)
    batch = stage.pictures.batch(0, slice(0, 4))
    stage.pictures = type(
        "Same",
        (),
        {
            "batch_size": 4,
            "batch": lambda self, step, rows: type(batch)(frames=batch.frames, captions=["a dog"] * 4),
        },
    )()
    # Four equal texts: every picture matches all of them alike, so the loss is that of a uniform guess.
    text_to_image = stage.loss(0).item()
    assert text_to_image >= math.log(4) - 1e-4


def test_clip_refuses_what_it_cannot_do() -> None:
    with pytest.raises(InvalidInputError, match="accumulation"):
        tiny_clip_stage().loss(0, Shard(0, 2))
    with pytest.raises(InvalidInputError, match="references"):
        tiny_clip_stage(references="none", cross_reference_ratio=0.0).loss(0)
    with pytest.raises(InvalidInputError, match="style_weight"):
        tiny_clip_stage(-1.0)


def test_the_reconstruction_loss_is_zero_for_equal_pictures() -> None:
    pictures = torch.rand(2, 3, 8, 8)
    assert reconstruction_loss(pictures, pictures).item() == 0
    # A shift by 0.1 counts 2 + 1 + 1 times, differences do not see it.
    assert reconstruction_loss(pictures + 0.1, pictures).item() == pytest.approx(0.4, abs=1e-5)
