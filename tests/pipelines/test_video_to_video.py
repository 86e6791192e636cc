"""Clips from clips: where sampling begins, what comes back at either end, and that windows leave no trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from PIL import Image
from torch import Tensor

from stylecrafter import StyleCrafterImagePipeline, StyleCrafterPipeline
from stylecrafter.errors import InvalidInputError
from stylecrafter.media.tensors import clip_to_tensor
from stylecrafter.media.video import write_frames
from stylecrafter.pipelines.schedulers import SCHEDULERS, make_scheduler
from stylecrafter.pipelines.video_to_video import SourceVideo, encode_video, first_step, noisy_latents
from tests.tiny import (
    tiny_animatediff_pipeline,
    tiny_image_pipeline,
    tiny_picture,
    tiny_pipeline,
    tiny_sdxl_pipeline,
    tiny_wan_base,
)

PROMPT = "a red fox running"
CLIP = [tiny_picture(k, 24, 16) for k in range(4)]


def sample(pipe: StyleCrafterPipeline, prompt: Any = PROMPT, style: Any = None, **arguments: Any) -> Tensor:
    if not {"seed", "generator"} & arguments.keys():
        arguments["seed"] = 7
    return pipe(prompt, style, output_type="latent", **arguments).frames


def encoded(pipe: StyleCrafterPipeline, frames: list[Image.Image]) -> Tensor:
    return encode_video(pipe.backbone, frames, torch.device("cpu"))


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_every_scheduler_goes_from_the_clip_to_none_of_it(name: str, picture) -> None:
    pipe = tiny_pipeline()
    own = pipe.scheduler.config

    def made(**arguments: Any) -> Tensor:
        pipe.scheduler = make_scheduler(name, own)
        return sample(pipe, style=picture, num_inference_steps=4, **arguments)

    clean = encoded(pipe, CLIP)
    assert torch.equal(made(video=CLIP, denoise=0.0), clean)
    size = {"num_frames": 4, "height": 16, "width": 24}
    assert torch.equal(made(video=CLIP, denoise=1.0, window=0), made(**size))
    some = made(video=CLIP, denoise=0.5)
    assert some.isfinite().all() and not torch.equal(some, clean)
    # A scheduler that began in its middle begins at its beginning again.
    assert torch.equal(sample(pipe, style=picture, num_inference_steps=4, **size), made(**size))
    # By its own noise: another seed begins elsewhere.
    assert not torch.equal(some, made(video=CLIP, denoise=0.5, seed=8))


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_what_a_sampler_is_told_truly_it_takes_back(name: str) -> None:
    """A prediction of the very noise that was added leads back to the clip: the level at the start is the sampler's."""
    scheduler = make_scheduler(name, tiny_pipeline().scheduler.config)
    scheduler.set_timesteps(8)
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(1, 4, 2, 4, 4, generator=generator)
    noise = torch.randn(1, 4, 2, 4, 4, generator=generator)
    start = 4 * scheduler.order
    latents = noisy_latents(scheduler, clean, noise, start)
    t = scheduler.timesteps[start]
    scaled = scheduler.scale_model_input(latents, t)
    # As the model is fed it, it is as noisy as training has it at this timestep.
    level = tiny_pipeline().backbone.add_noise(clean, noise, t.round().long()[None])
    torch.testing.assert_close(scaled, level, rtol=0, atol=5e-3)


def test_flow_matching_begins_between_clip_and_noise() -> None:
    clean, noise = torch.full((2, 1, 1, 1, 1), 2.0), torch.full((2, 1, 1, 1, 1), -1.0)
    unipc = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, final_sigmas_type="zero"
    )
    for scheduler in (FlowMatchEulerDiscreteScheduler(shift=3.0), unipc):
        scheduler.set_timesteps(5)
        sigma = scheduler.sigmas[2]
        wanted = (1 - sigma) * clean + sigma * noise
        torch.testing.assert_close(noisy_latents(scheduler, clean, noise, 2), wanted)


@pytest.mark.parametrize(
    ("timesteps", "order", "denoise", "first"),
    [
        (10, 1, 1.0, 0), (10, 1, 0.0, 10), (10, 1, 0.7, 3), (10, 1, 0.29, 7), (10, 1, 0.01, 9),
        (19, 2, 1.0, 0), (19, 2, 0.0, 19), (19, 2, 0.5, 10), (50, 1, 0.58, 21), (1, 1, 0.5, 0),
    ],
)  # fmt: skip
def test_which_step_is_the_first(timesteps: int, order: int, denoise: float, first: int) -> None:
    assert first_step(timesteps, order, denoise) == first


def test_more_noise_leaves_less(pipe, picture) -> None:
    clean = encoded(pipe, CLIP)
    few = {"video": CLIP, "num_inference_steps": 8, "style": picture}
    away = [float((sample(pipe, denoise=d, **few) - clean).norm()) for d in (0.125, 0.5, 0.875)]
    assert away == sorted(away)


@pytest.mark.parametrize("inversion", [False, True])
def test_a_batch_is_a_loop_of_ones(pipe, picture, other_picture, inversion: bool) -> None:
    prompts, styles = [PROMPT, "a boat on a lake"], [[picture], [other_picture]]
    arguments = {"video": CLIP, "denoise": 0.7, "inversion": inversion, "window": 3, "num_inference_steps": 3}
    together = sample(pipe, prompts, styles, generator=torch.Generator().manual_seed(5), **arguments)
    generator = torch.Generator().manual_seed(5)
    for i in range(2):
        alone = sample(pipe, prompts[i], [styles[i]], generator=generator, **arguments)
        torch.testing.assert_close(
            together[i : i + 1], alone, rtol=1e-4, atol=1e-5 * float(alone.abs().max())
        )


def test_windows_bound_what_the_model_sees(pipe, picture) -> None:
    seen = []
    handle = pipe.unet.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[2]))
    clip = [tiny_picture(k, 24, 16) for k in range(9)]
    try:
        result = sample(pipe, style=picture, video=clip, inversion=True, num_inference_steps=2)
        assert set(seen) == {pipe.config.default_frames} and result.shape[2] == 9
        seen.clear()
        sample(pipe, style=picture, num_frames=9, num_inference_steps=1)
        assert set(seen) == {9}  # text-to-video has windows where they are asked for
        seen.clear()
        sample(pipe, style=picture, num_frames=9, window=4, num_inference_steps=1)
        assert set(seen) == {4}
    finally:
        handle.remove()


def test_one_window_is_the_plain_call(pipe, picture) -> None:
    plain = sample(pipe, style=picture, num_frames=5, frame_style_scales=[0, 0.25, 0.5, 0.75, 1])
    same = sample(pipe, style=picture, num_frames=5, frame_style_scales=[0, 0.25, 0.5, 0.75, 1], window=5)
    assert torch.equal(plain, same)


def test_a_still_clip_has_no_seams(picture) -> None:
    """Without layers between frames, equal frames of equal noise stay equal wherever windows meet."""
    pipe = tiny_pipeline()
    for _, module in pipe.unet.temporal_modules():
        torch.nn.init.zeros_(module.proj_out.weight)
        torch.nn.init.zeros_(module.proj_out.bias)
    still = [CLIP[0]] * 11
    result = sample(pipe, style=picture, video=still, denoise=0.7, window=4, shared_noise=1.0, eta=0.0)
    torch.testing.assert_close(result, result[:, :, :1].expand_as(result), rtol=1e-4, atol=1e-4)


def test_noise_of_a_frame_does_not_depend_on_windows(pipe, picture) -> None:
    begun = []
    for window in (0, 2, 3):
        sample(
            pipe,
            style=picture,
            video=CLIP,
            window=window,
            denoise=0.3,
            num_inference_steps=3,
            callback_on_step_end=lambda pipe, step, t, tensors: setattr(pipe, "interrupt", True),
        )
        handle = pipe.unet.register_forward_pre_hook(lambda _, args: begun.append(args[0]))
        sample(pipe, video=CLIP, window=window, denoise=0.3, num_inference_steps=3, text_guidance_scale=1)
        handle.remove()
    whole = begun[0]
    assert torch.equal(begun[1], whole[:, :, :2]) and torch.equal(begun[-1], whole[:, :, -3:])


@pytest.mark.parametrize("kind", ["pil", "np", "bytes", "pt", "file"])
def test_what_a_video_may_be(pipe, kind: str, tmp_path: Path) -> None:
    array = np.stack([np.asarray(frame) for frame in CLIP])
    given: Any = {
        "pil": CLIP,
        "bytes": array,
        "np": array.astype(np.float32) / 255,
        "pt": clip_to_tensor(CLIP),
        "file": write_frames([CLIP[0]], tmp_path / "a.png"),
    }[kind]
    found = sample(pipe, video=given, denoise=0.0)
    wanted = encoded(pipe, CLIP[:1] if kind == "file" else CLIP)
    torch.testing.assert_close(found, wanted)


def test_frames_and_size_are_its_own_where_the_call_does_not_say(pipe) -> None:
    wide = [tiny_picture(k, 90, 30) for k in range(4)]  # the model's own size has 384 pixels
    (frames,) = pipe(PROMPT, video=wide, denoise=0.0).frames
    assert (len(frames), frames[0].size) == (4, (32, 12))
    (frames,) = pipe(PROMPT, video=wide, denoise=0.0, num_frames=2, width=16, height=16).frames
    assert (len(frames), frames[0].size) == (2, (16, 16))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"video": CLIP, "num_frames": 5}, "the video has 4 frames, 5 were asked for"),
        ({"video": []}, "a video is a file, or frames: .* got an empty list"),
        ({"video": 3}, "a video is a file, or frames: .* got int"),
        ({"video": [CLIP[0], tiny_picture(1, 16, 16)]}, "all frames of a video must have one size"),
        ({"video": torch.zeros(4, 16, 24, 3)}, r"frames \(f, 3, h, w\) in \[0, 1\], got \(4, 16, 24, 3\)"),
        ({"video": torch.full((1, 3, 16, 24), float("nan"))}, "values that are not numbers"),
        ({"video": torch.full((1, 3, 16, 24), -1.0)}, r"must lie in \[0, 1\], .* values from -1 to -1"),
        ({"video": np.full((1, 16, 24, 3), 255.0)}, r"must lie in \[0, 1\], .* values from 255 to 255"),
        ({"video": CLIP, "denoise": 1.5}, "denoise must be a number between 0 and 1, not 1.5"),
        ({"video": CLIP, "window": -1}, "window must be a whole number between 0 and 10000, not -1"),
        ({"denoise": 0.5}, "denoise 0.5 goes with a video, and none was given"),
        ({"inversion": True}, "inversion goes with a video, and none was given"),
        ({"video": "http://example.com/a.mp4"}, "no such file"),
    ],
)
def test_what_cannot_be(pipe, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        sample(pipe, **arguments)


def test_image_bases_take_a_picture(picture) -> None:
    base = tiny_image_pipeline()
    clean = encoded(base, CLIP[:1])
    assert torch.equal(sample(base, style=picture, video=CLIP[:1], denoise=0.0), clean)
    with pytest.raises(InvalidInputError, match="makes images: num_frames must be 1, got 4"):
        sample(base, video=CLIP)
    images = StyleCrafterImagePipeline.from_pipe(base)
    images.set_progress_bar_config(disable=True)
    made = images(PROMPT, picture, image=CLIP[0], denoise=0.5, seed=7, output_type="latent").images
    assert torch.equal(made[:, :, None], sample(base, style=picture, video=CLIP[:1], denoise=0.5))
    with pytest.raises(InvalidInputError, match="video"):
        images(PROMPT, picture, video=CLIP)


BASES = {"sdxl": tiny_sdxl_pipeline, "animatediff": tiny_animatediff_pipeline, "wan": tiny_wan_base}


@pytest.fixture(scope="module", params=BASES)
def base(request: pytest.FixtureRequest) -> StyleCrafterPipeline:
    make: Any = BASES[request.param]
    pipe = StyleCrafterPipeline.from_base(make())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_every_base_takes_clips(base: StyleCrafterPipeline) -> None:
    frames = 7 if base.backbone.has_time else 1
    clip = [tiny_picture(k, 32, 32) for k in range(frames)]

    def made(output_type: str = "latent", **arguments: Any) -> Any:
        asked = {"num_inference_steps": 2, "height": 32, "width": 32, "seed": 7, **arguments}
        return base(PROMPT, output_type=output_type, **asked).frames

    assert torch.equal(made(video=clip, denoise=0.0), encoded(base, clip))
    whole = base.backbone.frames_of(made(video=clip, denoise=0.0).shape[2])  # 9 for 7 frames of Wan
    assert torch.equal(made(video=clip, denoise=1.0, window=0), made(num_frames=whole))
    for inversion in (False, True):
        styled = made("pt", video=clip, denoise=0.5, window=4, inversion=inversion)
        assert styled.shape == (1, frames, 3, 32, 32) and styled.isfinite().all()


def test_frames_that_share_latents_are_filled_up_with_the_last() -> None:
    pipe = StyleCrafterPipeline.from_base(tiny_wan_base())
    clip = [tiny_picture(k, 32, 32) for k in range(7)]
    assert torch.equal(encoded(pipe, clip), encoded(pipe, [*clip, clip[-1], clip[-1]]))


def test_a_file_is_read_when_its_frames_are(tmp_path: Path) -> None:
    source = SourceVideo.of(write_frames(CLIP, tmp_path / "a.mp4", fps=8), 3)
    assert (source.size, source.count) == ((24, 16), 3)
    assert [frame.size for frame in source.read((12, 8))] == [(12, 8)] * 3
