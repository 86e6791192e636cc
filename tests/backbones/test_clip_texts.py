from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from stylecrafter.backbones.clip_texts import check_ids
from stylecrafter.errors import InvalidInputError


@pytest.mark.parametrize(("ids", "said"), [([3, 10], "token 10"), ([-1, 3], "token -1")])
def test_a_token_outside_of_the_vocabulary_is_refused_on_either_side(ids: list[int], said: str) -> None:
    text_encoder = SimpleNamespace(config=SimpleNamespace(vocab_size=10))
    check_ids(torch.tensor([[0, 9]]), text_encoder)
    with pytest.raises(InvalidInputError, match=f"{said}, the text encoder reads 0 to 9"):
        check_ids(torch.tensor([ids]), text_encoder)
