"""One layer whose style tokens stand behind the text tokens, against its formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import UNetMotionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor

from stylecrafter.adapter.attach_to_text import AttachToTextProcessor
from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.errors import InvalidInputError
from tests.adapter.conftest import FRAMES, IMAGE_DIM, SIZES, TEXT_DIM

Draw = Callable[..., Tensor]


def layer(**options: object) -> Attention:
    torch.manual_seed(0)
    attention = Attention(16, cross_attention_dim=12, heads=2, dim_head=8, **options)
    attention.set_processor(AttachToTextProcessor(1, 2, attention.get_processor()))
    return attention.requires_grad_(False)


@pytest.fixture
def attention() -> Attention:
    return layer()


@pytest.fixture
def x(draw: Draw) -> Tensor:
    return draw(2, 9, 16)


@pytest.fixture
def text(draw: Draw) -> Tensor:
    return draw(2, 5, 12, seed=1)


@pytest.fixture
def style(draw: Draw) -> Tensor:
    return draw(2, 3, 12, seed=2)


def test_at_one_it_is_the_base_reading_a_longer_text(
    attention: Attention, x: Tensor, text: Tensor, style: Tensor
) -> None:
    wanted = AttnProcessor2_0()(attention, x, torch.cat([text, style], 1))
    assert torch.equal(attention(x, text, style_tokens=style), wanted)
    assert torch.equal(attention(x, text, style_tokens=style, style_scales=torch.ones(2, 2)), wanted)
    assert not torch.allclose(wanted, attention(x, text), atol=1e-3)


def test_between_zero_and_one_it_is_one_attention_with_less_style(
    attention: Attention, x: Tensor, text: Tensor, style: Tensor
) -> None:
    """Written out: the style has s times its weight, the text's grow in proportion."""
    scales = torch.tensor([[9.0, 0.3], [9.0, 0.8]])
    actual = attention(x, text, style_tokens=style, style_scales=scales)
    both = torch.cat([text, style], 1)
    heads = []
    for i in range(attention.heads):
        part = slice(8 * i, 8 * i + 8)
        key = (both @ attention.to_k.weight.T)[..., part]
        logits = (x @ attention.to_q.weight.T)[..., part] @ key.transpose(1, 2) / 8**0.5
        weight = logits.softmax(-1)
        weight[..., 5:] *= scales[:, 1, None, None]
        weight[..., :5] *= (1 - weight[..., 5:].sum(-1, keepdim=True)) / weight[..., :5].sum(-1, keepdim=True)
        heads.append(weight @ (both @ attention.to_v.weight.T)[..., part])
    torch.testing.assert_close(actual, attention.to_out[0](torch.cat(heads, -1)))


def test_frames_in_the_batch_or_in_the_row_of_queries(
    attention: Attention, draw: Draw, style: Tensor
) -> None:
    b, f, hw = 2, 3, 4
    x, text = draw(b * f, hw, 16), draw(b, 5, 12, seed=1)
    scales = draw(b, f, 2, seed=3)
    attention.processor.frame_scales = (0.2, 0.4, 0.6)
    repeated = text.repeat_interleave(f, 0)
    in_batch = attention(x, repeated, style_tokens=style, style_scales=scales, num_frames=f)
    row = attention(x.view(b, f * hw, 16), text, style_tokens=style, style_scales=scales, num_frames=f)
    torch.testing.assert_close(in_batch, row.view(b * f, hw, 16))
    attention.processor.frame_scales = None
    one_by_one = [
        attention(x[i : i + 1], repeated[i : i + 1], style_tokens=style[i // f, None], style_scales=factor)
        for i, factor in enumerate((scales * torch.tensor([[0.2], [0.4], [0.6]])).view(b * f, 1, 2))
    ]
    torch.testing.assert_close(in_batch, torch.cat(one_by_one))


@pytest.mark.parametrize("boolean", [True, False])
def test_text_mask_hides_text_only(
    attention: Attention, x: Tensor, text: Tensor, style: Tensor, boolean: bool
) -> None:
    keep = torch.tensor([[[True] * 3 + [False] * 2]]).expand(2, 1, 5)
    mask = keep if boolean else (~keep) * -1e4
    for scale in (1.0, 0.5):
        attention.processor.layer_scale = scale
        masked = attention(x, text, attention_mask=mask, style_tokens=style)
        torch.testing.assert_close(masked, attention(x, text[:, :3], style_tokens=style))


def test_style_is_normalised_as_the_text_is(x: Tensor, text: Tensor, style: Tensor) -> None:
    attention = layer(cross_attention_norm="layer_norm", qk_norm="layer_norm")
    wanted = AttnProcessor2_0()(attention, x, torch.cat([text, style], 1))
    torch.testing.assert_close(attention(x, text, style_tokens=style), wanted)


def test_tokens_that_are_no_frames(attention: Attention, x: Tensor, text: Tensor, style: Tensor) -> None:
    with pytest.raises(InvalidInputError, match="9 tokens per sample are no 2 frames"):
        attention(x, text, style_tokens=style, style_scales=torch.ones(2, 2, 2), num_frames=2)


def test_motion_model(motion_unet: UNetMotionModel, draw: Draw) -> None:
    """Where diffusers puts the frames into the batch."""
    latents, text, style = draw(2, 4, FRAMES, 8, 8), draw(2, 5, TEXT_DIM), draw(2, 4, TEXT_DIM, seed=2)
    repeated = text.repeat_interleave(FRAMES, 0)
    base = motion_unet(latents, 500, repeated).sample
    adapter = StyleAdapter.for_model(motion_unet, IMAGE_DIM, **SIZES, fusion_type="attach_to_text")
    adapter.attach(motion_unet)
    scales = torch.tensor([[[0.0], [0.5], [1.5]]]).expand(2, -1, adapter.num_layers)
    kwargs = {"style_tokens": style, "style_scales": scales}
    styled = motion_unet(latents, 500, repeated, cross_attention_kwargs=kwargs).sample
    assert not torch.allclose(styled, base, atol=1e-4)
    one = {key: value[1:] for key, value in kwargs.items()}
    alone = motion_unet(latents[1:], 500, repeated[FRAMES:], cross_attention_kwargs=one).sample
    torch.testing.assert_close(alone, styled[1:])
    off = {"style_tokens": style, "style_scales": torch.zeros_like(scales)}
    assert torch.equal(motion_unet(latents, 500, repeated, cross_attention_kwargs=off).sample, base)
    adapter.detach()
    assert torch.equal(motion_unet(latents, 500, repeated).sample, base)
