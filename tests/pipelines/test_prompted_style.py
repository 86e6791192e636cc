"""Adapters whose style tokens depend on the prompt and on an embedding of the picture (StyleMaster)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stylecrafter import StyleCrafterPipeline
from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.errors import InvalidInputError
from tests.tiny import WIDTH, tiny_image_encoder, tiny_picture, tiny_wan_base

PROMPTS = ["a red fox running", "a boat on a lake"]
STYLE = {
    "num_style_tokens": 5,
    "num_local_tokens": 2,
    "embed_dim": 12,
    "extractor_type": "patch_selection",
    "extractor_layers": 1,
    "extractor_heads": 2,
    "scale_type": "fixed",
    "output_norm": False,
    "image_features": "last",
    "preprocessing": "clip",
    "null_style": "zero_tokens",
}


def adapter_for(base: Any, **options: Any) -> StyleAdapter:
    torch.manual_seed(4)
    return StyleAdapter.for_model(base.transformer, WIDTH, text_dim=32, **{**STYLE, **options}).eval()


@pytest.fixture(scope="module")
def pipe() -> StyleCrafterPipeline:
    base = tiny_wan_base()
    defaults = {"default_steps": 2, "default_frames": 5, "default_height": 32, "default_width": 32}
    # Of sixteen patches and one token more, one is kept: so many that the prompt matters.
    encoder = tiny_image_encoder(patch_size=4)
    pipe = StyleCrafterPipeline.from_base(base, adapter_for(base), encoder, **defaults)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def latents(pipe: StyleCrafterPipeline, *given: Any, **arguments: Any) -> Tensor:
    return pipe(*given, **{"output_type": "latent", **arguments}).frames


def test_style_tokens_are_those_of_the_adapter(pipe: StyleCrafterPipeline) -> None:
    picture, text = tiny_picture(), pipe.encode_text(PROMPTS[:1])
    style = pipe.encode_style(picture, text=text)
    by_hand = pipe.style_adapter.encode(pipe.encode_image(picture), pipe.encode_shuffled(picture), text)
    assert torch.equal(style, by_hand) and style.shape == (1, 5, 24)
    # The global ones depend on how the picture is scattered.
    other = pipe.encode_style(picture, text=text, seed=1)
    assert torch.equal(other[:, :2], style[:, :2]) and not torch.allclose(
        other[:, 2:], style[:, 2:], atol=1e-3
    )


def test_one_picture_has_a_style_for_every_prompt(pipe: StyleCrafterPipeline) -> None:
    picture, text = tiny_picture(), pipe.encode_text(PROMPTS)
    both = pipe.encode_style(picture, text=text)
    assert both.shape == (2, 5, 24) and not torch.allclose(both[0, :2], both[1, :2], atol=1e-3)
    assert torch.equal(both[0, 2:], both[1, 2:])
    for i in range(2):
        alone = pipe.encode_style(picture, text=text[i : i + 1])
        torch.testing.assert_close(both[i : i + 1], alone, rtol=1e-4, atol=1e-5)
    # And several pictures have one prompt.
    two = pipe.encode_style([picture, tiny_picture(1)], text=text[:1])
    torch.testing.assert_close(two[:1], both[:1], rtol=1e-4, atol=1e-5)


def test_a_batch_is_what_a_loop_gives(pipe: StyleCrafterPipeline) -> None:
    groups = [[tiny_picture(0), tiny_picture(1)], [tiny_picture(2)]]
    weights = [[1.0, 0.5], [1.0]]
    generator = torch.Generator().manual_seed(3)
    both = latents(pipe, PROMPTS, groups, style_weights=weights, generator=generator)
    generator.manual_seed(3)
    for i in range(2):
        one = latents(pipe, PROMPTS[i], groups[i], style_weights=weights[i], generator=generator)
        torch.testing.assert_close(both[i : i + 1], one, rtol=1e-4, atol=1e-4)
    shared = latents(pipe, PROMPTS, tiny_picture(), seed=2)
    assert not torch.allclose(shared, latents(pipe, PROMPTS, tiny_picture(), seed=2, style_seed=1), atol=1e-3)


def test_weights_of_pictures_are_weights_of_their_embeddings(pipe: StyleCrafterPipeline) -> None:
    pair, text = [tiny_picture(0), tiny_picture(1)], pipe.encode_text(PROMPTS[:1])
    first = pipe.encode_style([pair[:1]], text=text)
    only = pipe.encode_style([pair], [[1.0, 0.0]], text=text)
    torch.testing.assert_close(only, first, rtol=1e-4, atol=1e-5)
    twice = pipe.encode_style([[pair[0], pair[0], pair[1]]], text=text)
    torch.testing.assert_close(
        pipe.encode_style([pair], [[2.0, 1.0]], text=text), twice, rtol=1e-4, atol=1e-4
    )


def test_without_a_style_its_tokens_are_zeros_that_still_act(pipe: StyleCrafterPipeline) -> None:
    torch.manual_seed(7)
    text, noise = pipe.encode_text([*PROMPTS[:1], ""]), torch.randn(1, 4, 2, 4, 4)
    style = pipe.encode_style(tiny_picture(), text=text[:1])
    predict = pipe.predict_noise
    null, plain, styled = (
        predict(noise, 1000.0, text[1:], torch.zeros_like(style)),
        predict(noise, 1000.0, text[:1], torch.zeros_like(style)),
        predict(noise, 1000.0, text[:1], style),
    )
    assert not torch.allclose(plain, predict(noise, 1000.0, text[:1]), atol=1e-4)
    guided = null + 8 * (plain - null) + 4 * (styled - plain)
    arguments = {
        "latents": noise,
        "num_inference_steps": 1,
        "text_guidance_scale": 8.0,
        "style_guidance_scale": 4.0,
    }
    ours = latents(pipe, PROMPTS[0], tiny_picture(), **arguments)
    torch.testing.assert_close(ours, noise - guided, rtol=1e-4, atol=1e-4)
    # At scale 0 the adapter stands aside in all passes.
    without = latents(pipe, PROMPTS[0], **arguments)
    assert torch.equal(latents(pipe, PROMPTS[0], tiny_picture(), style_scale=0.0, **arguments), without)


def test_what_is_missing_or_does_not_fit_is_refused(pipe: StyleCrafterPipeline) -> None:
    pictures = [tiny_picture(i) for i in range(3)]
    with pytest.raises(InvalidInputError, match="depend on the prompt: give encode_style its states"):
        pipe.encode_style(pictures)
    with pytest.raises(InvalidInputError, match="got 3 styles for 2 texts"):
        pipe.encode_style(pictures, text=pipe.encode_text(PROMPTS))
    with pytest.raises(InvalidInputError, match="needs image_embeds"):
        pipe.style_adapter.encode(torch.randn(1, 17, WIDTH))
    with pytest.raises(InvalidInputError, match="image encoder's projection gives width 12"):
        StyleCrafterPipeline.from_base(tiny_wan_base(), adapter_for(pipe, embed_dim=13), pipe.image_encoder)
    with pytest.raises(InvalidInputError, match="patch_selection needs an embed_dim"):
        adapter_for(pipe, num_local_tokens=5)


def test_saved_with_its_pipeline(pipe: StyleCrafterPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    loaded = StyleCrafterPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    wanted = latents(pipe, PROMPTS[0], tiny_picture(), seed=1)
    torch.testing.assert_close(
        latents(loaded, PROMPTS[0], tiny_picture(), seed=1), wanted, rtol=1e-4, atol=1e-4
    )
