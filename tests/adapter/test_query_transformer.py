"""Style extraction from one, several and weighted pictures."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stylecrafter.adapter.query_transformer import JointAttentionBlock, QueryTransformer
from stylecrafter.errors import InvalidInputError

Draw = Callable[..., Tensor]


@pytest.fixture
def extractor() -> QueryTransformer:
    torch.manual_seed(0)
    return QueryTransformer(in_dim=20, out_dim=24, num_heads=2, num_queries=4, num_layers=2).eval()


def test_shape(extractor: QueryTransformer, draw: Draw) -> None:
    assert extractor(draw(3, 5, 20)).shape == (3, 4, 24)


def test_batch_equals_samples_one_by_one(extractor: QueryTransformer, draw: Draw) -> None:
    tokens = draw(3, 5, 20)
    one_by_one = torch.cat([extractor(tokens[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(extractor(tokens), one_by_one)


def test_order_of_pictures_does_not_matter(extractor: QueryTransformer, draw: Draw) -> None:
    first, second = draw(1, 5, 20), draw(1, 5, 20, seed=1)
    there, back = torch.cat([first, second], 1), torch.cat([second, first], 1)
    torch.testing.assert_close(extractor(there), extractor(back))
    assert not torch.allclose(extractor(there), extractor(first), atol=1e-3)


def test_weight_two_is_the_picture_twice(extractor: QueryTransformer, draw: Draw) -> None:
    first, second = draw(1, 5, 20), draw(1, 5, 20, seed=1)
    weights = torch.tensor([[2.0] * 5 + [1.0] * 5])
    weighted = extractor(torch.cat([first, second], 1), weights)
    repeated = extractor(torch.cat([first, first, second], 1))
    torch.testing.assert_close(weighted, repeated)
    assert not torch.allclose(weighted, extractor(torch.cat([first, second], 1)), atol=1e-4)


def test_weight_zero_is_the_picture_left_out(extractor: QueryTransformer, draw: Draw) -> None:
    first, second = draw(1, 5, 20), draw(1, 5, 20, seed=1)
    weights = torch.tensor([[1.0] * 5 + [0.0] * 5])
    torch.testing.assert_close(extractor(torch.cat([first, second], 1), weights), extractor(first))


def test_weights_of_one_change_nothing(extractor: QueryTransformer, draw: Draw) -> None:
    tokens = draw(2, 5, 20)
    torch.testing.assert_close(extractor(tokens, torch.ones(2, 5)), extractor(tokens))


@pytest.mark.parametrize("weights", [torch.ones(2, 4), -torch.ones(2, 5), torch.full((2, 5), torch.nan)])
def test_bad_weights(extractor: QueryTransformer, draw: Draw, weights: Tensor) -> None:
    with pytest.raises(InvalidInputError, match="token weights must be"):
        extractor(draw(2, 5, 20), weights)


@pytest.mark.parametrize("shape", [(2, 5, 19), (5, 20)])
def test_bad_tokens_are_named(extractor: QueryTransformer, draw: Draw, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match=str(shape[-1])):
        extractor(draw(*shape))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(InvalidInputError, match="20 is not a multiple of the number of heads 3"):
        JointAttentionBlock(20, 3)
