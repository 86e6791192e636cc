"""What users of diffusers expect of any pipeline; the questions of its published pipeline tests, as far as they fit."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback, SDCFGCutoffCallback

from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.stylized_image import StyleCrafterImagePipeline
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from tests.tiny import tiny_pipeline

CALL = {"seed": 0, "num_inference_steps": 3, "num_frames": 2, "output_type": "np"}


def frames(pipe: Any, prompt: str | None = "a red fox", **arguments: Any) -> np.ndarray:
    return pipe(prompt, **{**CALL, **arguments}).frames


def test_the_state_of_a_call_can_be_asked(pipe, picture) -> None:
    seen: list[tuple[int, Any, float, bool]] = []

    def ask(asked: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> None:
        seen.append(
            (
                asked.num_timesteps,
                asked.current_timestep,
                asked.guidance_scale,
                asked.do_classifier_free_guidance,
            )
        )
        assert asked.current_timestep is timestep

    frames(pipe, style_images=picture, text_guidance_scale=4.0, callback_on_step_end=ask)
    assert [entry[0] for entry in seen] == [3, 3, 3] and {entry[2:] for entry in seen} == {(4.0, True)}
    assert pipe.num_timesteps == 3 and pipe.current_timestep is None and pipe.interrupt is False


def test_embeddings_have_the_names_of_diffusers_too(pipe) -> None:
    text, negative = pipe.encode_text("a red fox"), pipe.encode_text("blurry")
    ours = frames(pipe, None, text_embeds=text, negative_text_embeds=negative)
    theirs = frames(pipe, None, prompt_embeds=text, negative_prompt_embeds=negative)
    assert np.array_equal(ours, theirs)
    image = StyleCrafterImagePipeline(
        **pipe.components, **{k: pipe.config[k] for k in ("default_height", "default_width")}
    )
    given = {"seed": 0, "num_inference_steps": 2, "output_type": "np"}
    assert np.array_equal(image("a red fox", **given).images, image(prompt_embeds=text, **given).images)
    with pytest.raises(InvalidInputError, match="another name for text_embeds"):
        frames(pipe, None, text_embeds=text, prompt_embeds=text)


def test_timesteps_and_sigmas_of_ones_own(pipe) -> None:
    euler = tiny_pipeline()
    euler.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    euler.scheduler.set_timesteps(3)
    levels = euler.scheduler.sigmas.tolist()  # with the zero that it ends at
    frames(euler, num_inference_steps=None, sigmas=levels)
    assert np.allclose(euler.scheduler.sigmas, levels) and euler.num_timesteps == 3
    frames(euler, num_inference_steps=None, sigmas=[9.0, 3.0, 0.0])
    assert euler.num_timesteps == 2
    euler.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    times = [int(t) for t in euler.scheduler.timesteps[:3]]
    frames(euler, num_inference_steps=None, timesteps=times)
    assert [int(t) for t in euler.scheduler.timesteps] == times
    with pytest.raises(InvalidInputError, match="DDIMScheduler takes no timesteps"):
        frames(pipe, num_inference_steps=None, timesteps=times)
    with pytest.raises(InvalidInputError, match="give one of"):
        frames(euler, timesteps=times)
    for wrong in ([], [float("nan")]):
        with pytest.raises(InvalidInputError, match="finite numbers"):
            frames(euler, num_inference_steps=None, sigmas=wrong)


class Halve(PipelineCallback):
    """Halves the embeddings of the text after the first step."""

    tensor_inputs = ["prompt_embeds"]

    def callback_fn(
        self, pipeline: Any, step_index: int, timestep: Any, callback_kwargs: dict[str, Any]
    ) -> Any:
        assert set(self.tensor_inputs) <= set(callback_kwargs)
        if step_index == 0:
            callback_kwargs["prompt_embeds"] = callback_kwargs["prompt_embeds"] / 2
        return callback_kwargs


class Count(PipelineCallback):
    """Counts its calls."""

    tensor_inputs = ["latents"]
    calls = 0

    def callback_fn(
        self, pipeline: Any, step_index: int, timestep: Any, callback_kwargs: dict[str, Any]
    ) -> Any:
        self.calls += 1
        assert callback_kwargs["latents"].shape[2] == 2
        return callback_kwargs


def test_callbacks_of_diffusers_get_the_tensors_they_name(pipe) -> None:
    plain, count = frames(pipe), Count()
    assert not np.allclose(frames(pipe, callback_on_step_end=Halve()), plain, atol=1e-4)
    assert np.array_equal(frames(pipe, callback_on_step_end=count), plain) and count.calls == 3
    both = MultiPipelineCallbacks([Halve(), Count()])
    assert not np.allclose(frames(pipe, callback_on_step_end=both), plain, atol=1e-4)

    class Foreign(Count):
        tensor_inputs = ["add_time_ids"]

    with pytest.raises(InvalidInputError, match=r"\['add_time_ids'\] do not exist"):
        frames(pipe, callback_on_step_end=Foreign())


def test_a_callback_of_diffusers_ends_guidance(pipe, picture) -> None:
    # What it sets is what `guidance_stop` asks for: the conditional prediction alone from then on.
    asked = {"style_images": picture, "text_guidance_scale": 5.0, "style_guidance_scale": 2.0}
    cut = SDCFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=0)
    ended = frames(pipe, **asked, callback_on_step_end=cut)
    np.testing.assert_allclose(ended, frames(pipe, **asked, guidance_stop=0.3), atol=1e-5)
    assert not np.allclose(ended, frames(pipe, **asked), atol=1e-3)


def test_calls_show_their_arguments_with_types() -> None:
    clips = inspect.signature(StyleCrafterPipeline.__call__).parameters
    images = inspect.signature(StyleCrafterImagePipeline.__call__).parameters
    for parameters in (clips, images):
        kinds = {parameter.kind for parameter in parameters.values()}
        assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
        assert list(parameters)[:3] == ["self", "prompt", "style_images"]
        assert parameters["num_inference_steps"].annotation == int | None
        assert parameters["style_scale"].annotation == float | None
        assert parameters["guidance_rescale"].default == 0.0
    assert clips["num_frames"].annotation == int | None and clips["num_videos_per_prompt"].default == 1
    assert set(clips) - set(images) == {
        "num_frames", "shared_noise", "frame_style_scales", "style_keyframes", "num_videos_per_prompt", "video",
        "window",
    }  # fmt: skip
    assert set(images) - set(clips) == {"num_images_per_prompt", "image"}
    assert "num_frames: Frames" in (StyleCrafterPipeline.__call__.__doc__ or "")


def test_components_make_another_pipeline(pipe) -> None:
    again = type(pipe)(**pipe.components)
    assert set(again.components) == set(pipe.components)
    image = StyleCrafterImagePipeline.from_pipe(pipe)
    assert image.unet is pipe.unet and image("a fox", num_inference_steps=1, height=16, width=16).images


def test_a_call_leaves_the_default_generator_where_a_seed_is_given(pipe) -> None:
    state = torch.random.get_rng_state()
    frames(pipe)
    assert torch.equal(torch.random.get_rng_state(), state)
