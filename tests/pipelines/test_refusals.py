"""Arguments that cannot be used are named, with what would be right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from stylecrafter.errors import InvalidInputError, UnknownNameError
from stylecrafter.pipelines.schedulers import make_scheduler
from stylecrafter.pipelines.stylized_image import StyleCrafterImagePipeline
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from tests.tiny import WIDTH, tiny_components

PICTURE = object()  # stands for the fixture
TOKENS = torch.zeros(1, 2, WIDTH)
TEXT = torch.zeros(1, 16, WIDTH)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"height": 18}, "size 24x18 .* multiples of 4. Nearest: 24x16 or 24x20"),
        ({"width": 0}, "width must be a whole number between 1 and 16384, not 0"),
        ({"width": 24.0}, "width must be a whole number .* not 24.0"),
        ({"style_weights": 2.0}, "a list with one number per picture, got 2.0"),
        ({"frame_style_scales": 0.5}, "per frame are a sequence of 3 numbers or a schedule .* got 0.5"),
        ({"num_frames": 0}, "num_frames must be a whole number between 1 and 10000, not 0"),
        ({"num_inference_steps": 0}, "num_inference_steps must be .* not 0"),
        ({"num_inference_steps": 1001}, "num_inference_steps must be .* between 1 and 999, not 1001"),
        ({"num_videos_per_prompt": 0}, "at least 1, got 0"),
        (
            {"text_guidance_scale": float("nan")},
            "text_guidance_scale must be a number between -1000 and 1000, not nan",
        ),
        ({"style_guidance_scale": float("inf")}, "style_guidance_scale must be a number .* not inf"),
        ({"style_scale": float("nan")}, "style_scale must be a number .* not nan"),
        ({"guidance_rescale": 2.0}, "guidance_rescale must be a number between 0 and 1, not 2.0"),
        ({"shared_noise": -0.1}, "shared_noise must be a number between 0 and 1, not -0.1"),
        ({"guidance_stop": 1.5}, "guidance_stop must be a number between 0 and 1, not 1.5"),
        ({"num_frames": True}, "num_frames must be a whole number .* not True"),
        ({"num_frames": "3"}, "num_frames must be a whole number .* not '3'"),
        ({"style_corners": 1}, "style_corners must be True or False, not 1"),
        ({"eta": 1.5}, "eta must be a number between 0 and 1, not 1.5"),
        ({"guidance_scale": 7.5}, "unknown argument 'guidance_scale'.*text_guidance_scale"),
        ({"fps": 8}, "unknown argument 'fps'"),
        ({"style_image": "a.png"}, "unknown argument 'style_image'. Did you mean 'style_images'"),
        ({"output_type": "mp3"}, "unknown output type 'mp3'.*latent"),
        ({"prompt": None}, "either a prompt or text_embeds"),
        ({"text_embeds": TEXT}, "either a prompt or text_embeds"),
        ({"prompt": []}, "list of prompts is empty"),
        ({"prompt": 3.5}, "a prompt is a text, got float: 3.5"),
        ({"negative_prompt": ["a", "b"]}, "got 2 negative prompts for 1 prompts; give one or 1"),
        ({"negative_prompt": "a", "negative_text_embeds": TEXT}, "either a negative prompt"),
        ({"style_tokens": TOKENS}, "either style pictures or style_tokens"),
        (
            {"style_tokens": TOKENS, "style_images": None, "style_corners": True},
            "weights and corners go with pictures",
        ),
        (
            {"style_tokens": TOKENS.expand(3, -1, -1), "style_images": None},
            "got 3 style tokens for 1 prompts",
        ),
        ({"style_tokens": TOKENS[0], "style_images": None}, "style_tokens must be"),
        ({"style_scales": torch.ones(1, 99)}, "style_scales must be \\(prompts, \\d+\\), got \\(1, 99\\)"),
        ({"style_scales": torch.ones(1, 2), "style_images": None}, "style_scales need a style"),
        ({"style_images": [[PICTURE], [PICTURE]]}, "style pictures for 2 prompts, there are 1"),
        ({"style_images": [[]]}, "style pictures 0: .* got an empty list"),
        ({"style_images": [[PICTURE], PICTURE]}, "style pictures 1: need a list of pictures .* got Image"),
        ({"style_weights": [1.0, 2.0]}, "one style weight per picture"),
        ({"style_weights": [-1.0]}, "style weights must be finite"),
        ({"style_weights": [None]}, "style weights must be numbers"),
        ({"style_weights": np.float32(2.0)}, "a list with one number per picture, got 2.0"),
        ({"style_images": None, "style_weights": [1.0]}, "one style weight per picture"),
        ({"frame_style_scales": [1.0]}, "one style weight per frame, 3, got 1"),
        ({"step_style_scales": [1.0]}, "one style weight per step, 3, got 1"),
        ({"latents": torch.zeros(1, 4, 8, 12)}, "latents must be .* got \\(1, 4, 8, 12\\)"),
        ({"latents": torch.zeros(2, 4, 3, 8, 12)}, "latents must be \\(1, 4, 3, 8, 12\\), got \\(2,"),
        ({"seed": 1, "generator": torch.Generator()}, "a generator or a seed, not both"),
        ({"seed": -1}, "seed must be a whole number between 0 and .* not -1"),
        ({"generator": [torch.Generator()] * 2}, "got 2 generators for 1 samples"),
        (
            {"callback_on_step_end_tensor_inputs": ["latent"]},
            "\\['latent'\\] do not exist; there are latents",
        ),
        ({"callback_on_step_end_tensor_inputs": None}, "must be a list of latents, .* got None"),
        ({"callback_on_step_end": 5}, "callback_on_step_end must be a function, got 5"),
        ({"num_videos_per_prompt": True}, "at least 1, got True"),
        ({"output_type": 5}, "unknown output type '5'.*latent"),
        ({"negative_promt": "a"}, "unknown argument 'negative_promt'. Did you mean 'negative_prompt'"),
        ({"generator": 5}, "a torch.Generator or a list of them, got 5"),
        ({"generator": [5]}, "a torch.Generator or a list of them, got \\[5\\]"),
        ({"timesteps": 5}, "timesteps must be finite numbers, at least one, got 5"),
        ({"sigmas": ["a"]}, "sigmas must be finite numbers, at least one, got \\['a'\\]"),
        ({"style_weights": torch.tensor(2.0)}, "a list with one number per picture, got 2.0"),
        ({"frame_style_scales": np.float32(0.5)}, "per frame are a sequence of 3 numbers or a schedule"),
        ({"step_style_scales": torch.tensor(0.5)}, "per step are a sequence of 3 numbers or a schedule"),
        ({"step_style_scales": "1 1 1"}, "a style schedule is a number .* not '1 1 1'"),
        ({"frame_style_scales": [None] * 3}, "style weights must be numbers, got \\[None"),
        ({"decode_chunk_size": 0}, "decode_chunk_size must be .* at least 1, got 0"),
    ],
)
def test_refusals(pipe, picture, arguments: dict[str, Any], says: str) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(entry) for entry in value]
        return picture if value is PICTURE else value

    given = {"prompt": "a fox", "style_images": picture, **{k: filled(v) for k, v in arguments.items()}}
    with pytest.raises(InvalidInputError, match=says):
        pipe(**given)


def test_more_steps_than_a_scheduler_has(pipe, picture) -> None:
    few = pipe.scheduler.from_config(pipe.scheduler.config, num_train_timesteps=20)
    whole, pipe.scheduler = pipe.scheduler, few
    try:
        with pytest.raises(InvalidInputError, match="num_inference_steps must be at most 20, got 21"):
            pipe("a fox", picture, num_inference_steps=21)
    finally:
        pipe.scheduler = whole


def test_pictures_have_no_arguments_of_clips(pipe) -> None:
    images = StyleCrafterImagePipeline.from_pipe(pipe)
    for name in ("num_frames", "shared_noise", "frame_style_scales", "num_videos_per_prompt"):
        with pytest.raises(UnknownNameError, match=f"unknown argument '{name}'.*num_images_per_prompt"):
            images("a fox", **{name: 1})


def test_an_unknown_scheduler(pipe) -> None:
    with pytest.raises(UnknownNameError, match="unknown scheduler 'dpm\\+'. Did you mean 'dpm\\+\\+'?"):
        make_scheduler("dpm+", pipe.scheduler.config)


def test_noise_levels_that_a_scheduler_refuses(pipe, picture) -> None:
    own, pipe.scheduler = pipe.scheduler, make_scheduler("unipc", pipe.scheduler.config)
    try:
        with pytest.raises(InvalidInputError, match="UniPCMultistepScheduler refuses these sigmas: .*flow"):
            pipe("a fox", picture, sigmas=[10.0, 1.0])
    finally:
        pipe.scheduler = own


def test_the_number_of_pictures_is_called_by_its_name(pipe) -> None:
    with pytest.raises(InvalidInputError, match="num_images_per_prompt must be .* at least 1, got 0"):
        StyleCrafterImagePipeline.from_pipe(pipe)("a fox", num_images_per_prompt=0)


def test_pictures_do_not_offer_arguments_of_clips(pipe) -> None:
    with pytest.raises(UnknownNameError) as caught:
        StyleCrafterImagePipeline.from_pipe(pipe)("a fox", nonsense=1)
    assert "num_images_per_prompt" in str(caught.value) and "num_frames" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda shown: {"latents": shown["latents"][:, :, :1]}, "returned latents .*; they stay"),
        (lambda shown: {"latents": None}, "'latents', which is no tensor"),
        (lambda shown: {"text_embeds": None}, "'text_embeds', which is no tensor"),
    ],
)
def test_what_a_callback_may_not_leave(pipe, picture, change: Any, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        pipe("a fox", picture, callback_on_step_end=lambda pipe, step, timestep, shown: change(shown))


def test_latents_of_pictures_are_no_clip(pipe) -> None:
    with pytest.raises(InvalidInputError, match="samples, channels, frames, h, w.* got \\(1, 4, 8, 12\\)"):
        pipe.decode_latents(torch.zeros(1, 4, 8, 12))


def test_a_pipeline_without_a_scheduler_says_so() -> None:
    pipe = StyleCrafterPipeline(**{**tiny_components(), "scheduler": None})
    with pytest.raises(InvalidInputError, match="has no scheduler"):
        pipe("a fox", height=16, width=24)


def test_components_that_do_not_fit() -> None:
    from stylecrafter.adapter.style_adapter import StyleAdapter
    from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet

    parts = tiny_components()
    narrow = VideoCrafterUNet(
        block_out_channels=[8], attention_levels=[True], cross_attention_dim=8, attention_head_dim=8, norm_num_groups=4
    )  # fmt: skip
    with pytest.raises(InvalidInputError, match="text encoder gives width 16, the UNet reads width 8"):
        StyleCrafterPipeline(**{**parts, "unet": narrow})
    other = StyleAdapter.for_model(parts["unet"], 24, extractor_heads=2, scale_heads=2)
    with pytest.raises(
        InvalidInputError, match="image encoder gives width 16, the style adapter reads width 24"
    ):
        StyleCrafterPipeline(**{**parts, "style_adapter": other})


def test_whole_numbers_of_numpy_are_whole_numbers(pipe, picture) -> None:
    sizes = {"height": np.int64(16), "width": np.int32(24), "num_frames": np.int64(2)}
    out = pipe("a fox", style_images=picture, num_inference_steps=np.int64(1), output_type="np", **sizes)
    assert out.frames.shape == (1, 2, 16, 24, 3)
