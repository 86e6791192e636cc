"""Masks, a negative style and strength by layers: what they do to a clip, and what must not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stylecrafter.adapter.scales import grouped_scales, layer_groups, parse_scales
from stylecrafter.errors import InvalidInputError, UnknownNameError
from stylecrafter.pipelines.schedulers import make_scheduler
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.schedules import linear
from tests.pipelines.test_stylized_video import PROMPT, Spy, apart, near, sample
from tests.tiny import tiny_image_pipeline

#: The left half of a clip of 24 x 16 pixels, whose latents are 12 x 8.
LEFT = np.zeros((16, 24), bool)
LEFT[:, :12] = True
INSIDE, OUTSIDE = np.s_[..., :6], np.s_[..., 6:]


# -- masks --------------------------------------------------------------------------------------------------------


def test_ones_are_no_mask_and_zeros_are_no_style_bit_for_bit(pipe, picture, other_picture) -> None:
    styled = sample(pipe, style=picture)
    assert torch.equal(sample(pipe, style=picture, style_masks=LEFT | True), styled)
    assert torch.equal(sample(pipe, style=picture, style_masks=LEFT & False), sample(pipe))
    # Of two styles the one that acts nowhere is left out.
    two = sample(pipe, style=[picture, other_picture], style_masks=[LEFT | True, LEFT & False])
    assert torch.equal(two, styled)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "euler-a"])
def test_outside_a_mask_is_the_clip_of_the_text_alone_bit_for_bit(
    pipe: StyleCrafterPipeline, picture, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipe, "scheduler", make_scheduler(scheduler, pipe.scheduler.config))
    settings: dict[str, Any] = {"eta": 0.5, "guidance_stop": 0.7, "guidance_rescale": 0.5}
    masked = sample(pipe, style=picture, style_masks=LEFT, **settings)
    text = sample(pipe, **settings)
    assert torch.equal(masked[OUTSIDE], text[OUTSIDE]) and apart(masked[INSIDE], text[INSIDE])
    assert apart(
        masked[INSIDE], sample(pipe, style=picture, **settings)[INSIDE]
    )  # the text's half is beside it


def test_complementary_masks_of_one_picture_are_no_mask(pipe, picture) -> None:
    soft = np.linspace(0, 1, 24, dtype=np.float32)[None].repeat(16, 0)
    whole = sample(pipe, style=picture)
    for mask in (LEFT.astype(np.float32), soft):
        near(sample(pipe, style=[picture, picture], style_masks=[mask, 1 - mask]), whole)


def test_styles_in_regions_have_their_own_weights_and_factors(pipe, picture, other_picture) -> None:
    masks = {"style_masks": [LEFT, ~LEFT]}
    both = sample(pipe, style=[picture, other_picture], **masks)
    tokens = [pipe.encode_style([one]) for one in (picture, other_picture)]
    assert torch.equal(sample(pipe, style_tokens=tokens, **masks), both)
    text = pipe.encode_text(PROMPT)
    ones = torch.ones_like(pipe.predict_scales(tokens[0], text))
    near(
        sample(pipe, style_tokens=tokens, style_scales=ones, **masks),
        sample(pipe, style=[picture, other_picture], style_scales=ones, **masks),
    )
    assert apart(sample(pipe, style=[picture, other_picture], style_weights=[1.0, 0.5], **masks), both)
    without = sample(pipe, style=[picture, other_picture], style_weights=[1.0, 0.0], **masks)
    assert apart(without[INSIDE], both[INSIDE])


def test_masks_per_frame_reach_their_frames(pipe, picture) -> None:
    frames = np.stack([LEFT & False, LEFT, LEFT])
    masked, text = sample(pipe, style=picture, style_masks=frames), sample(pipe)
    assert torch.equal(masked[:, :, 0], text[:, :, 0])
    assert apart(masked[:, :, 1], text[:, :, 1])


def test_masks_go_with_their_frames_into_windows(pipe, picture) -> None:
    settings: dict[str, Any] = {"num_frames": 5, "window": 3}
    frames = np.stack([LEFT & False] * 3 + [LEFT] * 2)
    masked, text = sample(pipe, style=picture, style_masks=frames, **settings), sample(pipe, **settings)
    assert torch.equal(masked[:, :, :3], text[:, :, :3])
    assert apart(masked[:, :, 3:], text[:, :, 3:])


def test_masks_multiply_all_strengths(pipe, picture) -> None:
    half = np.full((16, 24), 0.5, np.float32)
    ramp = np.linspace(0, 1, 3, dtype=np.float32)[:, None, None].repeat(16, 1).repeat(24, 2)
    # Latents outside are blended by the same mask, and so only strengths below it differ.
    one = sample(pipe, style=picture, style_masks=half, style_scale=0.0)
    assert torch.equal(one, sample(pipe))
    scaled = sample(pipe, style=picture, style_masks=half, frame_style_scales=linear(0, 1))
    assert torch.equal(scaled.isfinite(), torch.ones_like(scaled, dtype=torch.bool))
    assert apart(scaled, sample(pipe, style=picture, style_masks=half))
    assert apart(scaled, sample(pipe, style=picture, style_masks=ramp))


def test_a_batch_with_masks_is_a_loop_of_ones(pipe, picture, other_picture) -> None:
    prompts, masks = ["a red fox", "a boat on a lake"], [[LEFT], [~LEFT]]
    pictures = [[picture], [other_picture]]
    together = sample(
        pipe,
        prompts,
        pictures,
        style_masks=masks,
        generator=[torch.Generator().manual_seed(k) for k in range(2)],
        sequential_guidance=True,
    )
    for k in range(2):
        alone = sample(
            pipe,
            prompts[k],
            pictures[k],
            style_masks=masks[k][0],
            generator=torch.Generator().manual_seed(k),
            sequential_guidance=True,
        )
        torch.testing.assert_close(together[k : k + 1], alone, rtol=1e-4, atol=1e-3)
    copies = sample(pipe, PROMPT, picture, style_masks=LEFT, num_videos_per_prompt=2)
    assert copies.shape[0] == 2


def test_an_image_model_is_masked_too(picture) -> None:
    pipe = tiny_image_pipeline()
    masked, text = sample(pipe, style=picture, style_masks=LEFT), sample(pipe)
    assert torch.equal(masked[OUTSIDE], text[OUTSIDE]) and apart(masked[INSIDE], text[INSIDE])


@pytest.mark.parametrize(
    ("masks", "says"),
    [
        (np.zeros((16, 16), bool), "16x16 does not fit a clip of 24x16"),
        (np.zeros((2, 16, 24), bool), "masks for 2 frames, the clip has 3"),
        ([LEFT, LEFT, LEFT], "got 3 masks, 2 style pictures"),
        ([[LEFT], [LEFT]], "masks for 2 prompts, there are 1"),
    ],
)
def test_masks_that_do_not_fit(pipe, picture, masks: Any, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        sample(pipe, style=[picture, picture], style_masks=masks)


def test_masks_without_what_they_are_for(pipe, picture) -> None:
    tokens = pipe.encode_style([picture])
    for arguments, says in (
        ({"style_masks": LEFT}, "style_masks need a style"),
        ({"style_masks": [LEFT, LEFT]}, "style_masks need a style"),
        ({"style_masks": [LEFT, LEFT], "style_tokens": tokens}, "got 2 masks, 1 style_tokens"),
        (
            {"style_tokens": [tokens, tokens]},
            "got 2 style_tokens; a list of them needs a style mask for each",
        ),
    ):
        with pytest.raises(InvalidInputError, match=says):
            sample(pipe, **arguments)


# -- negative style -----------------------------------------------------------------------------------------------


def test_the_pass_without_prompt_reads_the_negative_style(pipe, picture, other_picture) -> None:
    plain = sample(pipe, style=picture)
    assert torch.equal(sample(pipe, style=picture, negative_style_images=None), plain)
    assert torch.equal(
        sample(pipe, style=picture, negative_style_images=other_picture, negative_style_scale=0.0), plain
    )
    with Spy(pipe) as spy:
        away = sample(pipe, style=picture, negative_style_images=other_picture)
    assert spy.calls == [(1, True), (1, False), (1, True)] * 3
    assert apart(away, plain)
    tokens = pipe.encode_style([other_picture])
    assert torch.equal(sample(pipe, style=picture, negative_style_tokens=tokens), away)
    assert apart(sample(pipe, style=picture, negative_style_tokens=tokens, negative_style_scale=0.5), away)
    assert apart(sample(pipe, negative_style_images=other_picture), sample(pipe))  # without a style, too


def test_a_step_moves_away_from_the_negative_style(
    pipe, other_picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By equation 2, with the prediction of the negative style as e_null."""
    text, none = pipe.encode_text(PROMPT), pipe.encode_text("")
    tokens = pipe.encode_style([other_picture])
    noise = torch.randn(1, 4, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    pipe.scheduler.set_timesteps(1)
    timestep = pipe.scheduler.timesteps[0]
    null = pipe.predict_noise(noise, timestep, none, tokens, 0.5 * pipe.predict_scales(tokens, none))
    wanted = null + 3.0 * (pipe.predict_noise(noise, timestep, text) - null)
    seen: list[Tensor] = []
    step = pipe.scheduler.step

    def spy(predicted: Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(predicted)
        return step(predicted, *args, **kwargs)

    monkeypatch.setattr(pipe.scheduler, "step", spy)
    sample(
        pipe,
        latents=noise,
        num_inference_steps=1,
        text_guidance_scale=3.0,
        negative_style_tokens=tokens,
        negative_style_scale=0.5,
    )
    near(seen[0], wanted)


def test_a_negative_style_that_nothing_would_read(pipe, picture) -> None:
    tokens = pipe.encode_style([picture])
    for arguments, says in (
        ({"text_guidance_scale": 1.0, "negative_style_tokens": tokens}, "off at text_guidance_scale 1"),
        (
            {"negative_style_images": picture, "negative_style_tokens": tokens},
            "either negative_style_images or",
        ),
        (
            {"negative_style_images": picture, "negative_style_scale": -1.0},
            "negative_style_scale must be .* not -1",
        ),
    ):
        with pytest.raises(InvalidInputError, match=says):
            sample(pipe, **arguments)


# -- strength by layers -------------------------------------------------------------------------------------------

UNET = ("down_blocks.0.a", "down_blocks.1.a", "mid_block.a", "up_blocks.0.a", "up_blocks.1.a")
WAN = tuple(f"blocks.{k}.attn2" for k in range(5))


def test_groups_of_layers() -> None:
    assert grouped_scales("down=0.5,up=2", UNET) == (0.5, 0.5, 1, 2, 2)
    assert grouped_scales("all=0, up_blocks.1=1", UNET) == (0, 0, 0, 0, 1)
    assert grouped_scales({"up": 2.0, "up_blocks.0.a": 3.0}, UNET) == (1, 1, 1, 3, 2)
    assert grouped_scales([1, 2, 3, 4, 5], UNET) == (1, 2, 3, 4, 5)
    assert layer_groups(WAN) == {
        "all": ("",),
        "early": ("blocks.0", "blocks.1"),
        "middle": ("blocks.2",),
        "late": ("blocks.3", "blocks.4"),
    }
    assert list(layer_groups(WAN[:1])) == ["all", "late"] or list(layer_groups(WAN[:1])) == ["all", "middle"]
    with pytest.raises(UnknownNameError, match="group of layers or layer 'down'.*early"):
        grouped_scales("down=1", WAN)


@pytest.mark.parametrize(
    "text", ["down", "down=", "=1", "down=a", "down=1,down=2", "down=1;up=1", "down=nan", ","]
)
def test_texts_that_are_no_scales_of_layers(text: str) -> None:
    with pytest.raises(InvalidInputError, match="NAME=NUMBER"):
        parse_scales(text)


def test_layers_multiply_what_the_adapter_says(pipe, picture) -> None:
    styled = sample(pipe, style=picture)
    assert torch.equal(sample(pipe, style=picture, layer_style_scales="all=1"), styled)
    assert torch.equal(sample(pipe, style=picture, layer_style_scales="all=0"), sample(pipe))
    names = pipe.style_adapter.layer_names
    half = sample(pipe, style=picture, layer_style_scales={"up": 0.5})
    assert apart(half, styled)
    near(
        sample(pipe, style=picture, layer_style_scales=[0.5 if n.startswith("up") else 1.0 for n in names]),
        half,
    )
    pipe.style_adapter.set_scale({"up_blocks": 0.5})
    near(sample(pipe, style=picture), half)
    quarter = sample(pipe, style=picture, layer_style_scales="up=0.5")
    pipe.style_adapter.set_scale({"up_blocks": 0.25})
    near(sample(pipe, style=picture), quarter)
    pipe.style_adapter.set_scale()
    near(sample(pipe, style=[picture] * 2, style_masks=[LEFT, ~LEFT], layer_style_scales={"up": 0.5}), half)


def test_schedules_as_texts(pipe, picture) -> None:
    for name in ("frame_style_scales", "step_style_scales"):
        ramp = sample(pipe, style=picture, **{name: linear(0, 1)})
        assert torch.equal(sample(pipe, style=picture, **{name: "0:0,1:1"}), ramp)
        assert torch.equal(sample(pipe, style=picture, **{name: ""}), sample(pipe, style=picture))
    with pytest.raises(InvalidInputError, match="a style schedule is a number"):
        sample(pipe, style=picture, frame_style_scales="slowly")
