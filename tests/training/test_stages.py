"""What each stage trains, on which mix, and that its loss is what it says."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.styleworld import splits
from stylecrafter.training.stages import (
    POOL_BATCHES,
    AdapterStage,
    BaseStage,
    DiffusionConfig,
    TemporalStage,
    draw_timesteps,
    pool_rows,
    prediction_target,
    random_crop,
)
from tests.training.tiny_parts import tiny_parts

SIZES = DiffusionConfig(image_size=16, image_batch=3, clip_batch=2, num_frames=3)


def moved_names(stage, steps: int) -> set[str]:
    """Names of all parameters that receive a gradient in the first steps."""
    for step in range(steps):
        stage.loss(step).backward()
    models = {"unet": stage.parts.unet, "adapter": stage.parts.style_adapter, "vae": stage.parts.vae,
              "text": stage.parts.text_encoder, "image": stage.parts.image_encoder}  # fmt: skip
    return {
        f"{owner}.{name}"
        for owner, model in models.items()
        for name, value in model.named_parameters()
        if value.grad is not None and value.grad.abs().sum() > 0
    }


def test_stage_1_moves_exactly_the_adapter() -> None:
    stage = AdapterStage(tiny_parts(), SIZES, splits.SMALL)
    expected = {f"adapter.{name}" for name, _ in stage.parts.style_adapter.named_parameters()}
    assert moved_names(stage, 2) == expected


def test_stage_2_moves_exactly_the_temporal_layers() -> None:
    config = dataclasses.replace(SIZES, clip_ratio=0.5)
    stage = TemporalStage(tiny_parts(), config, splits.SMALL)
    owners = [name for name, _ in stage.parts.unet.temporal_modules()]
    expected = {
        f"unet.{name}"
        for name, _ in stage.parts.unet.named_parameters()
        if any(name.startswith(f"{owner}.") for owner in owners)
    }
    assert expected and moved_names(stage, 4) == expected


def test_stage_2_pictures_alone_reach_the_temporal_layers() -> None:
    stage = TemporalStage(tiny_parts(), SIZES, splits.SMALL)
    moved = moved_names(stage, 1)
    assert moved and all(name.startswith("unet.") for name in moved)


def test_base_moves_the_whole_unet_and_nothing_else() -> None:
    config = dataclasses.replace(SIZES, clip_ratio=0.5)
    stage = BaseStage(tiny_parts(), config, splits.SMALL)
    assert moved_names(stage, 4) == {f"unet.{name}" for name, _ in stage.parts.unet.named_parameters()}


def test_base_trains_the_text_encoder_along_where_asked() -> None:
    config = dataclasses.replace(SIZES, clip_ratio=0.5, train_text_encoder=True)
    stage = BaseStage(tiny_parts(), config, splits.SMALL)
    expected = {f"unet.{name}" for name, _ in stage.parts.unet.named_parameters()}
    # Positions beyond the longest caption still count: captions are padded to the full length.
    expected |= {f"text.{name}" for name, _ in stage.parts.text_encoder.named_parameters()}
    assert moved_names(stage, 4) == expected


def test_each_picture_of_a_pool_is_seen_as_often_as_asked() -> None:
    batch, reuse = 3, 4
    steps = POOL_BATCHES * reuse
    for start in (0, steps):
        drawn = [pool_rows(start + step, batch, reuse, seed=5) for step in range(steps)]
        assert {pool for pool, _ in drawn} == {start // steps}
        counts = torch.cat([rows for _, rows in drawn]).bincount()
        assert counts.tolist() == [reuse] * (POOL_BATCHES * batch)
    first, second = pool_rows(0, batch, reuse, 5)[1], pool_rows(POOL_BATCHES, batch, reuse, 5)[1]
    assert not torch.equal(first, second)


@pytest.mark.parametrize("kind", [BaseStage, AdapterStage])
def test_reused_pictures_are_a_function_of_the_step_too(kind) -> None:
    config = dataclasses.replace(SIZES, picture_reuse=2)
    walked, jumped = (kind(tiny_parts(), config, splits.SMALL) for _ in range(2))
    step = 2 * POOL_BATCHES + 3  # in the second pool
    for earlier in (0, step - 1):
        walked.loss(earlier)
    assert torch.equal(walked.loss(step), jumped.loss(step))
    # The same picture meets another noise the next time.
    assert not torch.equal(jumped.loss(step), jumped.loss(step + POOL_BATCHES))


def test_captions_of_styled_pictures_may_leave_the_style_unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = dataclasses.replace(SIZES, image_batch=40, styled_ratio=1.0, unnamed_style_ratio=0.5)
    stage = BaseStage(tiny_parts(), config, splits.SMALL)
    seen: list[str] = []
    encode = stage._encode_text
    monkeypatch.setattr(stage, "_encode_text", lambda captions: (seen.extend(captions), encode(captions))[1])
    stage.loss(0)
    named = sum(any(word in caption for word in (", in ", "style")) for caption in seen)
    assert len(seen) == 40 and 8 <= named <= 32


@pytest.mark.parametrize("ratio", [0.0, 0.2, 0.8, 1.0])
def test_clip_steps_come_in_the_asked_ratio(ratio: float) -> None:
    stage = TemporalStage(tiny_parts(), dataclasses.replace(SIZES, clip_ratio=ratio), splits.SMALL)
    assert sum(stage._is_clip_step(step) for step in range(200)) == round(200 * ratio)


def test_the_loss_of_a_step_is_a_function_of_the_step() -> None:
    first, second = (AdapterStage(tiny_parts(), SIZES, splits.SMALL) for _ in range(2))
    assert torch.equal(first.loss(5), second.loss(5))
    assert not torch.equal(first.loss(5), first.loss(6))


def test_the_style_matters_to_the_loss_of_stage_1() -> None:
    stage = AdapterStage(tiny_parts(), SIZES, splits.SMALL)
    before = stage.loss(0).item()
    stage.parts.style_adapter.set_scale(0.0)
    assert stage.loss(0).item() != before


def test_targets_are_noise_or_velocity() -> None:
    latents, noise = torch.randn(2, 4, 1, 2, 2), torch.randn(2, 4, 1, 2, 2)
    steps = torch.tensor([10, 900])
    parts = tiny_parts(prediction_type="epsilon")
    assert prediction_target(parts.scheduler, latents, noise, steps) is noise
    parts = tiny_parts(prediction_type="v_prediction")
    alpha = parts.scheduler.alphas_cumprod[steps].view(2, 1, 1, 1, 1)
    expected = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    assert torch.allclose(prediction_target(parts.scheduler, latents, noise, steps), expected)


@pytest.mark.parametrize(("middle", "inner"), [(False, 0.5), (True, 0.728)])
def test_timesteps_follow_their_distribution(middle: bool, inner: float) -> None:
    drawn = draw_timesteps(4000, 1000, middle, torch.Generator().manual_seed(0))
    assert drawn.min() >= 0 and drawn.max() <= 999
    # The part in 250 … 750: a half, or the normal mass within +- ln 3.
    part = ((drawn >= 250) & (drawn < 750)).float().mean().item()
    assert part == pytest.approx(inner, abs=0.01)
    assert not torch.equal(drawn, drawn.sort().values)


def test_a_crop_is_a_part_of_the_picture() -> None:
    ramp = torch.linspace(0, 1, 32).expand(4, 3, 32, 32).contiguous()
    crops = random_crop(ramp, torch.Generator().manual_seed(0), least=0.5)
    spans = crops[:, 0, 16].amax(1) - crops[:, 0, 16].amin(1)
    assert ((spans > 0.4) & (spans < 0.99)).all()


def test_refusals() -> None:
    with pytest.raises(InvalidInputError, match="clip_ratio"):
        DiffusionConfig(image_size=16, image_batch=1, clip_batch=1, clip_ratio=1.5)
    with pytest.raises(InvalidInputError, match="picture_reuse"):
        DiffusionConfig(image_size=16, image_batch=1, picture_reuse=0)
    with pytest.raises(InvalidInputError, match="clip_batch"):
        DiffusionConfig(image_size=16, image_batch=1, clip_ratio=0.5)
    with pytest.raises(InvalidInputError, match="StyleAdapter.for_model"):
        AdapterStage(dataclasses.replace(tiny_parts(), style_adapter=None), SIZES, splits.SMALL)
