"""Prompts -> token ids -> text embeddings against the published text encoder, tiny and at full size."""

from __future__ import annotations

import pytest
import torch

from stylecrafter.pipelines.official import build_text_encoder
from stylecrafter.weights.tokenizer import clip_tokenizer
from tests.golden import regenerate
from tests.golden.support import HEADS, Comparison, checkpoint, expected

PROMPTS = ["a small boat on a lake, oil painting", ""]


def ids_by_rule(lengths: list[int]) -> torch.Tensor:
    """Random token ids with the end mark at the given places and zeros after it."""
    ids = regenerate.token_ids("input.token_ids", (len(lengths), 77), 1, 49407)
    ids[:, 0] = 49406
    for row, end in enumerate(lengths):
        ids[row, end] = 49407
        ids[row, end + 1 :] = 0
    return torch.from_numpy(ids)


@pytest.mark.parametrize("size", ["tiny", pytest.param("full", marks=pytest.mark.slow)])
def test_text_embeddings(size: str) -> None:
    wanted = expected("tiny/clip" if size == "tiny" else "full/clip_text")
    towers = checkpoint(size, "openclip")
    text_tower = {key: value for key, value in towers.items() if not key.startswith("visual.")}
    encoder, _ = build_text_encoder(text_tower, HEADS[size]["clip_text_num_heads"], copy=False)
    comparison = Comparison(1e-5)
    if size == "tiny":
        ids = ids_by_rule([9, 40])
        assert torch.equal(ids.int(), wanted["token_ids"])
        with torch.no_grad():
            comparison.add("text", encoder(ids).last_hidden_state, wanted["text"])
    else:
        ids = ids_by_rule([40])
        assert torch.equal(ids.int(), wanted["token_ids_rule"])
        with torch.no_grad():
            comparison.add("text_rule", encoder(ids).last_hidden_state, wanted["text_rule"])
            prompts = wanted["token_ids"].long()
            comparison.add("text", encoder(prompts).last_hidden_state, wanted["text"])
    comparison.check()


def test_token_ids_of_prompts() -> None:
    ids = clip_tokenizer()(PROMPTS, padding="max_length", truncation=True, return_tensors="pt").input_ids
    assert torch.equal(ids.int(), expected("full/clip_text")["token_ids"])
    assert torch.equal(ids[:1].int(), expected("tiny/pipeline")["token_ids"])
