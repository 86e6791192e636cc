"""The smoke recipe, two steps of every stage."""

from __future__ import annotations

STAGES = ("autoencoder", "clip", "base", "adapter", "temporal", "decoder")
SHORT = [
    *(f"stages.{stage}.train.steps=2" for stage in STAGES),
    *(f"stages.{stage}.train.sample_every=0" for stage in STAGES),
    "stages.base.train.sample_every=2",
    "stages.adapter.train.sample_every=2",
    "stages.base.options.clip_ratio=0.5",
    "data.pictures.batch_size=2",
    "data.styled.batch_size=2",
    "data.clips.num_frames=2",
    "samples.num_frames=1",
    "samples.steps=1",
]
