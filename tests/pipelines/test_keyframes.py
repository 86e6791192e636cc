"""Styles that follow each other, blends of them, strengths in words, and one noise for several prompts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.blending import blended
from stylecrafter.pipelines.keyframes import along, moments
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.schedules import linear
from tests.pipelines.test_stylized_video import apart, near, sample
from tests.tiny import WIDTH, tiny_animatediff_pipeline, tiny_image_pipeline, tiny_pipeline


def test_places_in_a_clip() -> None:
    assert moments([(0, "a"), (4, "b"), (8, "c")], 9) == [0.0, 0.5, 1.0]
    assert moments([(0.0, "a"), (np.float32(0.25), "b"), (np.int64(2), "c")], 3) == [0.0, 0.25, 1.0]
    assert moments([(0, "a")], 1) == [0.0]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ([], r"list of \(where, style\)"),
        ("ab", "got str"),
        ([(0.0, "a", 1.0)], "list of"),
        ([(0, "a"), (0.0, "b")], r"must rise from one to the next, got \[0, 0.0\] in 3 frames"),
        ([(1.0, "a"), (0.0, "b")], "must rise"),
        ([(3, "a")], "a frame from 0 to 2 .* got 3"),
        ([(-1, "a")], "got -1"),
        ([(1.5, "a")], "a part of the clip from 0.0 to 1.0, got 1.5"),
        ([(float("nan"), "a")], "got nan"),
        ([(True, "a")], "got True"),
        ([("0", "a")], "got '0'"),
    ],
)
def test_places_that_cannot_be(keys: Any, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        moments(keys, 3)


def test_between_keys_are_straight_lines() -> None:
    a, b = torch.randn(2, 1, 4, 3).unbind(0)
    found = along([a, b], [0.25, 0.75], 5)
    assert found.shape == (1, 5, 4, 3)
    assert torch.equal(found[:, 0], a) and torch.equal(found[:, 1], a) and torch.equal(found[:, 4], b)
    near(found[:, 2], (a + b) / 2)


def test_blends() -> None:
    a, b = torch.randn(2, 1, 4, 3).unbind(0)
    near(blended([a, b], [3, 1]), 0.75 * a + 0.25 * b)
    near(blended([a, b]), (a + b) / 2)
    assert torch.equal(blended([a, b], [0, 2]), b)
    for styles, weights, says in (
        ([], None, "one shape, got"),
        ([a, b[:, :2]], None, r"\(1, 4, 3\), \(1, 2, 3\)"),
        ([a, b], [1], "needs 2 weights"),
        ([a, b], [0, 0], "not all 0"),
        ([a, b], [-1, 2], ">= 0"),
        ([a], [float("nan")], "finite"),
    ):
        with pytest.raises(InvalidInputError, match=says):
            blended(styles, weights)


def test_one_style_at_every_key_is_that_style(pipe, picture) -> None:
    wanted = sample(pipe, style=picture)
    near(sample(pipe, style_keyframes=[(0, picture), (2, [picture])]), wanted)
    assert torch.equal(sample(pipe, style_keyframes=[(0.5, picture)]), wanted)
    tokens = pipe.encode_style([picture])
    near(sample(pipe, style_keyframes=[(0.0, tokens), (1.0, picture)]), wanted)


def test_each_frame_has_the_style_of_its_place(picture, other_picture) -> None:
    # Without layers between frames, every frame is what a clip wholly in its style shows there.
    pipe = still(tiny_pipeline())
    changing = sample(pipe, style_keyframes=[(0, picture), (2, other_picture)])
    first, last = sample(pipe, style=picture), sample(pipe, style=other_picture)
    near(changing[:, :, 0], first[:, :, 0])
    near(changing[:, :, 2], last[:, :, 2])
    tokens = pipe.encode_style([picture, other_picture])
    text = pipe.encode_text("a red fox running")
    scales = torch.cat([pipe.predict_scales(row[None], text) for row in tokens]).mean(0, keepdim=True)
    # Pictures are read together in between, tokens lie on a straight line.
    both = pipe.encode_style([[picture, other_picture]], [[0.5, 0.5]])
    between = sample(pipe, style_tokens=both, style_scales=scales)
    near(changing[:, :, 1], between[:, :, 1])
    of_tokens = sample(pipe, style_keyframes=[(0, tokens[:1]), (2, other_picture)])
    straight = sample(pipe, style_tokens=tokens.mean(0, keepdim=True), style_scales=scales)
    near(of_tokens[:, :, 1], straight[:, :, 1])
    for one, other in ((changing, first), (changing, last), (changing, of_tokens)):
        assert apart(one[:, :, 1], other[:, :, 1])


def test_corners_at_keys(picture, other_picture) -> None:
    pipe = still(tiny_pipeline())
    changing = sample(pipe, style_keyframes=[(0, picture), (2, other_picture)], style_corners=True)
    near(changing[:, :, 0], sample(pipe, style=picture, style_corners=True)[:, :, 0])
    near(changing[:, :, 2], sample(pipe, style=other_picture, style_corners=True)[:, :, 2])


def still(pipe: StyleCrafterPipeline) -> StyleCrafterPipeline:
    for _, module in pipe.unet.temporal_modules():
        torch.nn.init.zeros_(module.proj_out.weight)
        torch.nn.init.zeros_(module.proj_out.bias)
    return pipe


def test_a_batch_with_keys_is_a_loop_of_ones(pipe, picture, other_picture) -> None:
    keys = [(0, picture), (1.0, other_picture)]
    asked = {"style_keyframes": keys, "frame_style_scales": linear(0.5, 1.0), "num_videos_per_prompt": 2}
    both = sample(pipe, ["a red fox", "a boat"], same_noise=True, **asked)
    near(both, torch.cat([sample(pipe, prompt, **asked) for prompt in ("a red fox", "a boat")]))
    assert apart(both, sample(pipe, ["a red fox", "a boat"], same_noise=True, style_keyframes=keys[:1],
                              num_videos_per_prompt=2))  # fmt: skip


def test_the_same_noise_for_every_prompt(pipe, picture) -> None:
    prompts = ["a red fox", "a boat on a lake", "a red fox"]
    found = sample(pipe, prompts, picture, same_noise=True, eta=1.0)
    near(found, torch.cat([sample(pipe, prompt, picture, eta=1.0) for prompt in prompts]))
    near(found[0], found[2])
    assert apart(sample(pipe, prompts, picture)[0], sample(pipe, prompts, picture)[2])


def test_images_take_keys_of_one_frame_only() -> None:
    pipe = tiny_image_pipeline()
    a, b = pipe.encode_style([np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 200, np.uint8)]).split(1)
    assert torch.equal(sample(pipe, style_keyframes=[(0.0, a)]), sample(pipe, style_tokens=a))
    with pytest.raises(InvalidInputError, match="a clip of one frame has one style, got 2 style keyframes"):
        sample(pipe, style_keyframes=[(0.0, a), (1.0, b)])
    tokens: Tensor = torch.stack([a, b], 1)
    with pytest.raises(InvalidInputError, match="reads one style for all frames"):
        pipe.predict_noise(torch.zeros(1, 4, 1, 4, 4), 5, pipe.encode_text("a fox"), tokens)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"style": np.zeros((8, 8, 3), np.uint8)}, "either style_keyframes or one style"),
        ({"style_tokens": torch.zeros(1, 2, 16)}, "either style_keyframes or one style"),
        ({"style_keyframes": [(0.0, [])]}, "a picture, a list of pictures, or style tokens"),
        ({"style_keyframes": [(0.0, [["a.png"]])]}, "a picture, a list of pictures, or style tokens"),
        ({"style_keyframes": [(0.0, torch.zeros(2, 16))]}, r"must be \(prompts, tokens, width\)"),
    ],
)
def test_keys_that_cannot_be(pipe, picture, arguments, says) -> None:
    with pytest.raises(InvalidInputError, match=says):
        sample(pipe, **{"style_keyframes": [(0.0, picture)], **arguments})


def test_frame_scales_of_the_adapter_do_not_go_with_keys(pipe, picture, other_picture) -> None:
    pipe.style_adapter.set_scale(1.0, frames=[1, 1, 0.5])
    try:
        with pytest.raises(InvalidInputError, match="give frame_style_scales"):
            sample(pipe, style_keyframes=[(0, picture), (2, other_picture)])
    finally:
        pipe.style_adapter.set_scale()


def test_strengths_in_words(pipe, picture) -> None:
    scales = pipe.backbone.strengths
    assert scales["light"] < scales["medium"] == 1.0 < scales["strong"]
    for name, scale in scales.items():
        assert torch.equal(
            sample(pipe, style=picture, strength=name), sample(pipe, style=picture, style_scale=scale)
        )
    assert torch.equal(sample(pipe, style=picture, strength="medium"), sample(pipe, style=picture))
    quiet = tiny_pipeline(default_style_scale=0.5)  # as some published adapters are
    assert torch.equal(sample(quiet, style=picture, strength="medium"), sample(quiet, style=picture))
    assert torch.equal(
        sample(quiet, style=picture, strength="strong"),
        sample(quiet, style=picture, style_scale=0.5 * scales["strong"]),
    )
    with pytest.raises(InvalidInputError, match="a strength or a style scale, not both"):
        sample(pipe, style=picture, strength="medium", style_scale=1.0)


def test_animatediff_has_a_style_for_every_frame() -> None:
    pipe = StyleCrafterPipeline.from_base(tiny_animatediff_pipeline())
    pipe.set_progress_bar_config(disable=True)
    layers = pipe.backbone.attention_layers()
    options: dict[str, Any] = {"num_style_tokens": 2, "extractor_layers": 1, "extractor_heads": 2}
    torch.manual_seed(0)
    pipe.load_adapter(
        StyleAdapter.for_model(pipe.unet, WIDTH, layers, **options, scale_layers=1, scale_heads=2)
    )
    a, b = torch.randn(2, 1, 2, pipe.style_adapter.style_dim).mul(3).unbind(0)
    asked = {"num_frames": 3, "num_inference_steps": 2, "height": 16, "width": 16}
    plain = sample(pipe, style_tokens=a, **asked)
    near(sample(pipe, style_keyframes=[(0, a), (2, a)], **asked), plain)
    changing = sample(pipe, style_keyframes=[(0, a), (2, b)], **asked)
    assert apart(changing, plain) and apart(changing, sample(pipe, style_tokens=b, **asked))
