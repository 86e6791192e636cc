"""The public encoders of the pipeline."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylecrafter.errors import ImageReadError, InvalidInputError
from stylecrafter.references.crops import corner_crops
from tests.tiny import TEXT_LENGTH, WIDTH, tiny_components, tiny_picture, tiny_pipeline


def test_text(pipe) -> None:
    both = pipe.encode_text(["a red fox", ""])
    assert both.shape == (2, TEXT_LENGTH, WIDTH)
    torch.testing.assert_close(pipe.encode_text("a red fox"), both[:1])
    with pytest.raises(InvalidInputError, match="a prompt is a text, got int: 3"):
        pipe.encode_text(["a", 3])


def test_image_tokens_are_the_pooled_token_and_raw_patches(pipe, picture, other_picture) -> None:
    tokens = pipe.encode_image([picture, other_picture])
    out = pipe.image_encoder(pipe.references.pixels(pipe.references.crop([picture, other_picture], 16)))
    assert tokens.shape == (2, 5, WIDTH)
    torch.testing.assert_close(tokens[:, 0], out.pooler_output)
    torch.testing.assert_close(tokens[:, 1:], out.last_hidden_state[:, 1:])
    assert not torch.allclose(tokens[:, 0], out.last_hidden_state[:, 0])
    torch.testing.assert_close(pipe.encode_image(other_picture), tokens[1:])


def test_image_tokens_rounded_as_published(pipe, picture) -> None:
    exact, rounded = pipe.encode_image(picture), tiny_pipeline(image_tokens_half=True).encode_image(picture)
    assert rounded.dtype == torch.float32 and not torch.equal(exact, rounded)
    assert torch.equal(exact.half().float(), rounded)


def test_pictures_may_be_files_or_arrays(pipe, picture, tmp_path) -> None:
    picture.save(tmp_path / "style.png")
    wanted = pipe.encode_image(picture)
    for same in (tmp_path / "style.png", str(tmp_path / "style.png"), np.array(picture)):
        assert torch.equal(pipe.encode_image(same), wanted)
    with pytest.raises(ImageReadError):
        pipe.encode_image(tmp_path / "missing.png")


def test_a_list_of_pictures_is_a_style_each(pipe, picture, other_picture) -> None:
    styles = pipe.encode_style([picture, other_picture])
    assert styles.shape == (2, 2, WIDTH)
    torch.testing.assert_close(styles[:1], pipe.encode_style([[picture]]))
    torch.testing.assert_close(styles[1:], pipe.encode_style(other_picture))


def test_a_list_of_lists_is_a_style_per_list(pipe, picture, other_picture) -> None:
    third = tiny_picture(5)
    groups = [[picture, other_picture, third], [third], [other_picture, third]]
    styles = pipe.encode_style(groups)
    for i, group in enumerate(groups):
        torch.testing.assert_close(styles[i : i + 1], pipe.encode_style([group]))
    joint = pipe.encode_image([picture, other_picture, third]).reshape(1, -1, WIDTH)
    torch.testing.assert_close(styles[:1], pipe.style_adapter.encode(joint))


def test_weights(pipe, picture, other_picture) -> None:
    twice = pipe.encode_style([[picture, picture, other_picture]])
    torch.testing.assert_close(pipe.encode_style([[picture, other_picture]], [[2, 1]]), twice)
    torch.testing.assert_close(
        pipe.encode_style([[picture, other_picture]], [0, 1]), pipe.encode_style(other_picture)
    )
    assert not torch.allclose(pipe.encode_style([[picture, other_picture]]), twice)


def test_corners_are_pictures_given_with_their_picture(pipe, picture, other_picture) -> None:
    views = [[one, *corner_crops(one, 16)] for one in (picture, other_picture)]
    styles = pipe.encode_style([picture, other_picture], corners=True)
    torch.testing.assert_close(styles, pipe.encode_style(views))
    assert not torch.allclose(styles, pipe.encode_style([picture, other_picture]), atol=1e-3)
    assert torch.equal(
        pipe.encode_style([picture], corners=False), pipe.encode_style([picture])
    )  # as published


def test_corners_are_for_pictures_that_count_alone(pipe, picture, other_picture) -> None:
    both = [picture, other_picture]
    several = pipe.encode_style([both], [0.5, 2.0], corners=True)
    torch.testing.assert_close(several, pipe.encode_style([both], [0.5, 2.0]))
    alone = pipe.encode_style(other_picture, corners=True)
    for groups, weights in (([both], [0, 2]), ([[other_picture]], [0.5])):
        torch.testing.assert_close(pipe.encode_style(groups, weights, corners=True), alone)
    mixed = pipe.encode_style([[other_picture], both, both], [[1.0], [1.0, 1.0], [0.0, 3.0]], corners=True)
    torch.testing.assert_close(mixed, torch.cat([alone, pipe.encode_style([both]), alone]))


def test_a_model_may_come_with_corners(picture) -> None:
    pipe = tiny_pipeline(default_style_corners=True)
    wanted = pipe.encode_style(picture, corners=True)
    assert torch.equal(pipe.encode_style(picture), wanted)
    assert not torch.equal(pipe.encode_style(picture, corners=False), wanted)


@pytest.mark.parametrize(
    "weights", [[[1]], [[1, 1], [1, 1]], [[0, 0]], [[-1, 2]], [[float("nan"), 1]], [[1], 2]]
)
def test_weights_that_do_not_fit(pipe, picture, other_picture, weights) -> None:
    with pytest.raises(InvalidInputError, match="weight"):
        pipe.encode_style([[picture, other_picture]], weights)


def test_scales(pipe, picture) -> None:
    style, text = pipe.encode_style([picture, picture]), pipe.encode_text(["a fox", "a boat"])
    scales = pipe.predict_scales(style, text)
    assert scales.shape == (2, pipe.style_adapter.num_layers)
    assert ((scales > 0) & (scales < 2)).all() and not torch.equal(scales[0], scales[1])


def test_noise(pipe, picture) -> None:
    latents = torch.randn(2, 4, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    text, style = pipe.encode_text(["a fox", "a boat"]), pipe.encode_style([picture, picture])
    scales = pipe.predict_scales(style, text)
    plain = pipe.predict_noise(latents, 500, text)
    styled = pipe.predict_noise(latents, torch.tensor([500, 20]), text, style, scales)
    assert plain.shape == styled.shape == latents.shape
    assert torch.equal(plain, pipe.unet(latents, 500, text).sample)
    torch.testing.assert_close(
        styled[1:], pipe.predict_noise(latents[1:], 20, text[1:], style[1:], scales[1:])
    )
    per_frame = scales[:, None].expand(-1, 3, -1)
    torch.testing.assert_close(
        pipe.predict_noise(latents, torch.tensor([500, 20]), text, style, per_frame), styled
    )
    zero = pipe.predict_noise(latents, 500, text, style, torch.zeros_like(scales))
    torch.testing.assert_close(zero, plain)


def test_without_image_encoder_or_adapter(picture) -> None:
    parts = tiny_components()
    blind = tiny_pipeline_of({**parts, "image_encoder": None})
    with pytest.raises(InvalidInputError, match="no image encoder"):
        blind.encode_style([picture])
    tokens = torch.zeros(1, 2, WIDTH)
    assert blind.predict_scales(tokens, blind.encode_text("a fox")).shape == (
        1,
        blind.style_adapter.num_layers,
    )
    plain = tiny_pipeline_of({**tiny_components(), "style_adapter": None})
    for call in (lambda: plain.encode_style([picture]), lambda: plain("a fox", style_tokens=tokens)):
        with pytest.raises(InvalidInputError, match="no style adapter"):
            call()
    assert len(plain("a fox", num_inference_steps=1).frames[0]) == 3


def tiny_pipeline_of(parts):
    from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
    from tests.tiny import DEFAULTS

    pipe = StyleCrafterPipeline(**parts, **DEFAULTS)
    pipe.set_progress_bar_config(disable=True)
    return pipe
