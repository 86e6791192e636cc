"""Which patches a prompt selects, and how pictures are weighted among them."""

from __future__ import annotations

import pytest
import torch

from stylecrafter.adapter.patch_selection import PatchSelection, kept_weights
from stylecrafter.errors import InvalidInputError

WIDTH, TEXT = 12, 20


@pytest.fixture
def extractor() -> PatchSelection:
    torch.manual_seed(0)
    return PatchSelection(WIDTH, 10, 6, num_heads=2, num_local=2, num_global=3, num_layers=1).eval()


def test_those_most_like_the_prompt_are_kept() -> None:
    text = torch.ones(1, 3, TEXT)
    tokens = -torch.ones(1, 40, WIDTH)
    tokens[0, [7, 30]] = 1.0
    tokens[0, 11] = torch.linspace(-1, 2, WIDTH)
    assert kept_weights(tokens, text)[0].nonzero().flatten().tolist() == [7, 30]
    # Half of a text's tokens are zeros, as those that fill it up: nothing changes.
    filled = torch.cat([text, torch.zeros_like(text)], dim=1)
    assert torch.equal(kept_weights(tokens, filled), kept_weights(tokens, text))


@pytest.mark.parametrize(("tokens", "kept"), [(257, 13), (1, 1), (20, 1), (514, 26)])
def test_five_of_a_hundred_are_kept_and_one_at_least(tokens: int, kept: int) -> None:
    torch.manual_seed(1)
    weights = kept_weights(torch.randn(2, tokens, WIDTH), torch.randn(2, 3, TEXT))
    assert weights.sum(dim=1).tolist() == [kept, kept] and set(weights.unique().tolist()) <= {0.0, 1.0}


def test_weights_are_repetitions(extractor: PatchSelection) -> None:
    torch.manual_seed(2)
    first, second = torch.randn(1, 30, WIDTH), torch.randn(1, 30, WIDTH)
    text, embeds = torch.randn(1, 4, TEXT), torch.randn(1, 6)
    given = {"text": text, "image_embeds": embeds}
    both = torch.cat([first, second], dim=1)

    def weighted(a: float, b: float) -> torch.Tensor:
        return extractor(both, torch.tensor([[a] * 30 + [b] * 30]), **given)

    torch.testing.assert_close(weighted(1, 0), extractor(first, **given))
    torch.testing.assert_close(weighted(1, 1), extractor(both, **given))
    twice = torch.cat([first, first, second], dim=1)
    torch.testing.assert_close(weighted(2, 1), extractor(twice, **given), rtol=1e-4, atol=1e-5)


def test_local_tokens_follow_the_prompt_and_global_ones_the_embedding(extractor: PatchSelection) -> None:
    torch.manual_seed(3)
    tokens, text, embeds = torch.randn(2, 60, WIDTH), torch.randn(2, 4, TEXT), torch.randn(2, 6)
    out = extractor(tokens, text=text, image_embeds=embeds)
    assert out.shape == (2, 5, 10)
    other_text = extractor(tokens, text=-text, image_embeds=embeds)
    assert torch.equal(other_text[:, 2:], out[:, 2:]) and not torch.allclose(other_text[:, :2], out[:, :2])
    other_embeds = extractor(tokens, text=text, image_embeds=-embeds)
    assert torch.equal(other_embeds[:, :2], out[:, :2]) and not torch.allclose(
        other_embeds[:, 2:], out[:, 2:]
    )
    for i in range(2):
        alone = extractor(tokens[i : i + 1], text=text[i : i + 1], image_embeds=embeds[i : i + 1])
        torch.testing.assert_close(out[i : i + 1], alone)


def test_what_does_not_fit_is_refused(extractor: PatchSelection) -> None:
    tokens, text, embeds = torch.randn(2, 30, WIDTH), torch.randn(2, 4, TEXT), torch.randn(2, 6)
    with pytest.raises(InvalidInputError, match=r"image_embeds must be \(2, 6\), got \(2, 7\)"):
        extractor(tokens, text=text, image_embeds=torch.randn(2, 7))
    with pytest.raises(InvalidInputError, match=r"text must be states \(2, tokens, width\)"):
        extractor(tokens, text=text[:1], image_embeds=embeds)
    with pytest.raises(InvalidInputError, match="sample 1 are all 0"):
        extractor(tokens, torch.tensor([[1.0] * 30, [0.0] * 30]), text=text, image_embeds=embeds)
