"""What each stage trains, on which mix, and that its loss is what it says."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
import torch

from stylecrafter.data.batch import TrainingBatch
from stylecrafter.errors import InvalidInputError
from stylecrafter.training.batch_shares import Shard
from stylecrafter.training.diffusion import clip_steps_before
from stylecrafter.training.latent_cache import CACHE_BATCHES
from stylecrafter.training.stages import (
    DIFFUSION_STAGES,
    AdapterStage,
    BaseStage,
    DiffusionConfig,
    DiffusionStage,
    ExtractorStage,
    JointStage,
    TemporalStage,
)
from tests.training.tiny_parts import tiny_parts
from tests.training.tiny_sources import tiny_clips, tiny_pictures

MIX = DiffusionConfig(clip_ratio=0.5)
PICTURES = DiffusionConfig()


def make(kind: type[DiffusionStage], config: DiffusionConfig = MIX, **sources) -> DiffusionStage:
    ratio = kind.published_clip_ratio if config.clip_ratio is None else config.clip_ratio
    given = {"pictures": tiny_pictures()} if ratio < 1 else {}
    given |= {"clips": tiny_clips()} if ratio > 0 else {}
    return kind(tiny_parts(), config, **given | sources)


def moved_names(stage: DiffusionStage, steps: int) -> set[str]:
    """Names of all parameters that receive a gradient in the first steps."""
    for step in range(steps):
        stage.loss(step).backward()
    return {
        f"{owner}.{name}"
        for owner, model in stage.models().items()
        for name, value in model.named_parameters()
        if value.grad is not None and value.grad.abs().sum() > 0
    }


def names(stage: DiffusionStage, owner: str) -> set[str]:
    return {f"{owner}.{name}" for name, _ in stage.models()[owner].named_parameters()}


def temporal_names(stage: DiffusionStage) -> set[str]:
    owners = [name for name, _ in stage.parts.backbone.denoiser.temporal_modules()]
    return {n for n in names(stage, "unet") if any(n.startswith(f"unet.{owner}.") for owner in owners)}


def test_stage_1_moves_exactly_the_adapter() -> None:
    stage = make(AdapterStage, PICTURES)
    assert moved_names(stage, 2) == names(stage, "style_adapter") == set(stage.trainable())


def test_the_extractor_moves_alone() -> None:
    stage = make(ExtractorStage, PICTURES)
    expected = {name for name in names(stage, "style_adapter") if name.startswith("style_adapter.extractor.")}
    assert moved_names(stage, 2) == expected == set(stage.trainable())
    # It learns from what stage 1 learns from.
    whole = make(AdapterStage, PICTURES)
    assert torch.equal(stage.loss(3), whole.loss(3))


def test_stage_2_moves_exactly_the_temporal_layers() -> None:
    stage = make(TemporalStage)
    assert moved_names(stage, 4) == temporal_names(stage) == set(stage.trainable())


def test_joint_moves_exactly_adapter_and_temporal_layers() -> None:
    stage = make(JointStage)
    expected = names(stage, "style_adapter") | temporal_names(stage)
    assert moved_names(stage, 4) == expected == set(stage.trainable())


def test_base_moves_the_whole_unet_and_nothing_else() -> None:
    stage = make(BaseStage)
    assert moved_names(stage, 4) == names(stage, "unet") == set(stage.trainable())


def test_base_trains_the_text_encoder_along_where_asked() -> None:
    stage = make(BaseStage, MIX.replace(train_text_encoder=True))
    # Positions beyond the longest caption still count: captions are padded to the full length.
    assert moved_names(stage, 4) == names(stage, "unet") | names(stage, "text_encoder")


def test_stage_2_pictures_alone_reach_the_temporal_layers() -> None:
    moved = moved_names(make(TemporalStage, PICTURES), 1)
    assert moved and all(name.startswith("unet.") for name in moved)


def test_no_stage_leaves_gradients_on_to_what_it_does_not_train() -> None:
    for kind in DIFFUSION_STAGES.values():
        stage = make(kind)
        wanting = {
            f"{owner}.{name}"
            for owner, model in stage.models().items()
            for name, value in model.named_parameters()
            if value.requires_grad
        }
        assert wanting == set(stage.trainable()), kind.name


class _Recorder:
    """A source that notes what it is asked for."""

    def __init__(self, source) -> None:
        self.source, self.asked = source, []
        self.batch_size = source.batch_size

    def batch(self, step: int, rows: slice) -> TrainingBatch:
        self.asked.append(step)
        return self.source.batch(step, rows)


@pytest.mark.parametrize(("ratio", "expected"), [(0.0, 0), (0.2, 4), (0.8, 16), (1.0, 20)])
def test_pictures_and_clips_come_in_the_asked_ratio_and_without_gaps(ratio: float, expected: int) -> None:
    pictures, clips = _Recorder(tiny_pictures(1, cross_reference_ratio=0.0)), _Recorder(tiny_clips(1))
    given = {"pictures": pictures if ratio < 1 else None, "clips": clips if ratio > 0 else None}
    stage = make(TemporalStage, DiffusionConfig(clip_ratio=ratio), **given)
    for step in range(20):
        stage.loss(step)
    assert clips.asked == list(range(expected))
    assert pictures.asked == list(range(20 - expected))


def test_stage_2_and_joint_show_a_fifth_of_pictures_unless_told_otherwise() -> None:
    for kind in (TemporalStage, JointStage):
        assert make(kind, DiffusionConfig()).clip_ratio == 0.8
        with pytest.raises(InvalidInputError, match=r"clip_ratio 0\.8 needs clips"):
            make(kind, DiffusionConfig(), clips=None)


def test_the_loss_of_a_step_is_a_function_of_the_step() -> None:
    first, second = (make(AdapterStage, PICTURES) for _ in range(2))
    first.loss(2)
    assert torch.equal(first.loss(5), second.loss(5))
    assert not torch.equal(first.loss(5), first.loss(6))


@pytest.mark.parametrize("kind", DIFFUSION_STAGES.values())
def test_the_loss_of_a_batch_is_the_mean_of_its_shards(kind: type[DiffusionStage]) -> None:
    stage = make(kind, (MIX if kind is not AdapterStage else PICTURES).replace(text_dropout=0.5))
    for step in (0, 1):
        parts = torch.stack([stage.loss(step, Shard(i, 2)) for i in range(2)])
        assert stage.loss(step).item() == pytest.approx(parts.mean().item(), abs=2e-6)
        assert parts[0].item() != pytest.approx(parts[1].item(), abs=1e-4)


def test_the_style_matters_to_the_loss_of_stage_1() -> None:
    stage = make(AdapterStage, PICTURES)
    before = stage.loss(0).item()
    stage.parts.adapter().set_scale(0.0)
    assert stage.loss(0).item() != before


def test_the_style_does_not_reach_the_base() -> None:
    stage = make(BaseStage, PICTURES)
    before = stage.loss(0).item()
    stage.parts.adapter().set_scale(0.0)
    assert stage.loss(0).item() == before


def test_the_penalty_of_scales_is_added_and_shards_like_the_loss() -> None:
    plain = make(AdapterStage, PICTURES)
    stage = make(AdapterStage, PICTURES.replace(scale_penalty=0.5))
    with torch.no_grad():
        for model in (plain, stage):
            model.parts.adapter().scale_predictor.head[2].bias.fill_(1.0)
    assert stage.loss(0).item() > plain.loss(0).item() + 0.1
    parts = torch.stack([stage.loss(0, Shard(i, 2)) for i in range(2)])
    assert stage.loss(0).item() == pytest.approx(parts.mean().item(), abs=2e-6)
    assert make(BaseStage, PICTURES.replace(scale_penalty=0.5)).loss(0).item() == pytest.approx(
        make(BaseStage, PICTURES).loss(0).item()
    )


def test_clips_alone_share_noise() -> None:
    own, shared = (make(BaseStage, MIX.replace(shared_noise=part)) for part in (0.0, 0.9))
    for step in range(5):
        of_clips = clip_steps_before(step + 1, MIX.clip_ratio) > clip_steps_before(step, MIX.clip_ratio)
        assert (own.loss(step).item() != shared.loss(step).item()) is of_clips


@pytest.mark.parametrize("shift", ["clip_timestep_shift", "timestep_shift"])
def test_clips_and_pictures_have_a_shift_of_timesteps_each(shift: str) -> None:
    shifted = MIX.replace(**{shift: 1000.0})
    plain, stage = make(BaseStage, MIX), make(BaseStage, shifted)
    of_clips = [
        clip_steps_before(step + 1, MIX.clip_ratio) > clip_steps_before(step, MIX.clip_ratio)
        for step in range(5)
    ]
    assert any(of_clips) and not all(of_clips)
    for step, is_clip in enumerate(of_clips):
        changed = stage.loss(step).item() != plain.loss(step).item()
        assert changed is (is_clip if shift == "clip_timestep_shift" else not is_clip)


def test_dropping_all_captions_leaves_the_empty_one() -> None:
    stage = make(BaseStage, PICTURES.replace(text_dropout=1.0))
    other = make(BaseStage, PICTURES.replace(text_dropout=1.0))
    batch = other.pictures.batch(0, slice(0, 4))
    empty = TrainingBatch(frames=batch.frames, captions=[""] * 4, references=batch.references)
    other.pictures = type("Fixed", (), {"batch_size": 4, "batch": lambda self, step, rows: empty[rows]})()
    other = BaseStage(other.parts, PICTURES.replace(text_dropout=0.0), pictures=other.pictures)
    assert stage.loss(0).item() == pytest.approx(other.loss(0).item())


def test_references_are_resized_to_the_image_encoder() -> None:
    pictures = tiny_pictures()
    large = dataclasses.replace(pictures, size=32)
    stage = make(AdapterStage, PICTURES, pictures=large)
    assert torch.isfinite(stage.loss(0))


def test_refusals() -> None:
    for name in ("clip_ratio", "text_dropout", "shared_noise"):
        with pytest.raises(InvalidInputError, match=name):
            DiffusionConfig(**{name: 1.5})
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidInputError, match="scale_penalty"):
            DiffusionConfig(scale_penalty=weight)
    for shift in (0.0, -1.0, float("nan")):
        for name in ("timestep_shift", "clip_timestep_shift"):
            with pytest.raises(InvalidInputError, match=f"^{name}"):
                DiffusionConfig(**{name: shift})
    with pytest.raises(InvalidInputError, match="picture_reuse"):
        make(BaseStage, DiffusionConfig(picture_reuse=0))
    with pytest.raises(InvalidInputError, match="needs clips"):
        make(BaseStage, MIX, clips=None)
    with pytest.raises(InvalidInputError, match="is given clips, but at clip_ratio 0"):
        make(BaseStage, DiffusionConfig(), clips=tiny_clips())
    with pytest.raises(InvalidInputError, match="is given pictures, but at clip_ratio 1"):
        make(BaseStage, DiffusionConfig(clip_ratio=1.0), pictures=tiny_pictures())
    with pytest.raises(InvalidInputError, match="needs pictures"):
        make(BaseStage, MIX, pictures=None)
    with pytest.raises(InvalidInputError, match="StyleAdapter.for_model"):
        AdapterStage(
            dataclasses.replace(tiny_parts(), style_adapter=None), PICTURES, pictures=tiny_pictures()
        )
    with pytest.raises(InvalidInputError, match="multiple of 3"):
        make(BaseStage, PICTURES).loss(0, Shard(0, 3))


def test_reused_clips_come_again_with_other_noise() -> None:
    asked: list[int] = []

    class Counted:
        batch_size = 2

        def batch(self, step: int, rows: slice) -> TrainingBatch:
            asked.append(step)
            return tiny_clips().batch(step, rows)

    stage = BaseStage(tiny_parts(), DiffusionConfig(clip_ratio=1.0, clip_reuse=2), clips=Counted())
    seen = [stage.inputs(step) for step in range(2 * CACHE_BATCHES)]
    assert asked == list(range(CACHE_BATCHES))
    captions = Counter(tuple(row.tolist()) for inputs in seen for row in inputs.token_ids)
    assert all(count % 2 == 0 for count in captions.values())
    assert len({inputs.noisy.sum().item() for inputs in seen}) == len(seen)
