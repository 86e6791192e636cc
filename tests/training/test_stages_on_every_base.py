"""Every stage trains exactly what it is to train, on every base model, with and without gradient checkpointing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from stylecrafter import StyleCrafterPipeline
from stylecrafter.data.world_source import WorldSource
from stylecrafter.errors import InvalidInputError
from stylecrafter.styleworld import splits
from stylecrafter.training.parts import Parts, fresh_adapter
from stylecrafter.training.processes import checkpoint_gradients
from stylecrafter.training.stages import (
    AdapterStage,
    DiffusionConfig,
    DiffusionStage,
    ExtractorStage,
    JointStage,
    TemporalStage,
)
from tests.tiny import (
    tiny_animatediff_pipeline,
    tiny_image_encoder,
    tiny_pipeline,
    tiny_sd_pipeline,
    tiny_sdxl_pipeline,
    tiny_wan_base,
)
from tests.training.tiny_sources import tiny_pictures

SIZES: Any = {
    "num_style_tokens": 2,
    "extractor_layers": 1,
    "extractor_heads": 2,
    "scale_layers": 1,
    "scale_heads": 2,
}
BASES: dict[str, Callable[[], Any]] = {
    "VideoCrafter": tiny_pipeline,
    "Stable Diffusion": tiny_sd_pipeline,
    "SDXL": tiny_sdxl_pipeline,
    "AnimateDiff": tiny_animatediff_pipeline,
    "Wan 2.1": tiny_wan_base,
}
#: Those with layers between frames, and what these are called.
TEMPORAL = {
    "VideoCrafter": (".temporals.", ".init_temporal."),
    "AnimateDiff": (".motion_modules.",),
    "Wan 2.1": (".lora_",),
}


def parts_of(label: str) -> Parts:
    base = BASES[label]()
    if not isinstance(base, StyleCrafterPipeline):
        base = StyleCrafterPipeline.from_base(base, image_encoder=tiny_image_encoder())
    backbone, encoder = base.backbone, base.image_encoder
    assert backbone.label == label
    adapter = base.style_adapter or fresh_adapter(backbone, encoder, SIZES)
    if backbone.low_rank_time:
        backbone.add_temporal_lora(2)
        for name, value in backbone.temporal_parameters().items():
            if "lora_B" in name:
                torch.nn.init.normal_(value)  # what starts at zero would hide that nothing comes through
    return Parts(backbone=backbone, image_encoder=encoder, style_adapter=adapter)


def stage_of(kind: type[DiffusionStage], parts: Parts, **options: Any) -> DiffusionStage:
    """A stage on pictures with references, and on clips with them where it is shown clips."""
    frames = parts.backbone.frames_of(2)
    given: dict[str, Any] = {"pictures": tiny_pictures(batch_size=2)}
    if kind in (TemporalStage, JointStage):
        given["clips"] = clips(frames)
        options["clip_ratio"] = 0.5
    return kind(parts, DiffusionConfig(**options), **given)


def clips(frames: int) -> Any:
    return WorldSource(vocabulary=splits.SMALL, size=16, batch_size=2, num_frames=frames, references="crop")


def gradients(stage: DiffusionStage) -> dict[str, torch.Tensor]:
    """Name -> gradient of everything that two steps, of pictures and of clips, reach."""
    named = {f"{owner}.{name}": p for owner, m in stage.models().items() for name, p in m.named_parameters()}
    for value in named.values():
        value.grad = None
    for step in range(2):
        stage.loss(step).backward()
    return {name: p.grad for name, p in named.items() if p.grad is not None and p.grad.abs().sum() > 0}


def cases() -> Iterator[tuple[str, type[DiffusionStage]]]:
    for label in BASES:
        yield from ((label, kind) for kind in (AdapterStage, ExtractorStage))
        if label in TEMPORAL:
            yield from ((label, kind) for kind in (TemporalStage, JointStage))


@pytest.mark.parametrize(("label", "kind"), list(cases()))
def test_gradients_reach_what_the_stage_trains_and_nothing_else(
    label: str, kind: type[DiffusionStage]
) -> None:
    parts = parts_of(label)
    reached = set(gradients(stage_of(kind, parts)))
    adapter = {f"style_adapter.{name}" for name, _ in parts.adapter().named_parameters()}
    denoiser = parts.backbone.denoiser_name
    temporal = {
        f"{denoiser}.{name}"
        for name, _ in parts.backbone.denoiser.named_parameters()
        if any(part in f".{name}" for part in TEMPORAL.get(label, ()))
    }
    wanted = {
        AdapterStage: adapter,
        ExtractorStage: {name for name in adapter if name.startswith("style_adapter.extractor.")},
        TemporalStage: temporal,
        JointStage: adapter | temporal,
    }[kind]
    assert wanted and reached == wanted


@pytest.mark.parametrize("label", BASES)
def test_checkpointed_gradients_are_the_same(label: str) -> None:
    parts = parts_of(label)
    stage = stage_of(JointStage if label in TEMPORAL else AdapterStage, parts)
    plain = gradients(stage)
    checkpoint_gradients(stage)
    again = gradients(stage)
    assert plain.keys() == again.keys()
    for name, value in plain.items():
        torch.testing.assert_close(again[name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("label", ["Stable Diffusion", "SDXL"])
def test_a_base_that_makes_images_has_no_second_stage(label: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{label} has no temporal layers"):
        stage_of(TemporalStage, parts_of(label))


@pytest.mark.parametrize("label", ["SDXL", "Wan 2.1"])
def test_captions_that_are_left_out_are_the_empty_text(label: str) -> None:
    parts = parts_of(label)
    stage = stage_of(AdapterStage, parts, text_dropout=1.0)
    ids = stage.inputs(0).token_ids
    assert torch.equal(ids, parts.backbone.tokenize([""]).expand_as(ids))
    some = stage_of(AdapterStage, parts, text_dropout=0.5, seed=3)
    told = some.inputs(1).token_ids
    empty = (told == ids[:1]).flatten(1).all(1)
    assert set(empty.tolist()) <= {True, False} and torch.isfinite(some.loss(1))
