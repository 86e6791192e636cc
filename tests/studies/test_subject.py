from __future__ import annotations

import torch

from stylecrafter.evaluation.truth.world_set import WorldSetSpec
from stylecrafter.media.tensors import to_pictures
from stylecrafter.studies.subject import Subject


def test_references_are_read_whole_whatever_the_models_default() -> None:
    spec = WorldSetSpec(vocabulary="medium", size=64, references=2, prompts=1, unseen_kinds=0, seed=1)
    subject = Subject("mini", spec)
    assert subject.pipe.config.default_style_corners
    pictures = to_pictures(subject.references)
    assert torch.equal(subject.style_tokens, subject.pipe.encode_style(pictures, corners=False))
    assert not torch.allclose(subject.style_tokens, subject.pipe.encode_style(pictures))
