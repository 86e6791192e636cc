"""Generating clips: what the arguments do, and what must not matter."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stylecrafter.guidance import guide
from stylecrafter.pipelines.noise import draw_noise, mixed_noise, sample_generators
from stylecrafter.pipelines.output import StyleCrafterPipelineOutput
from stylecrafter.pipelines.schedulers import SCHEDULERS, make_scheduler
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.schedules import linear, window
from stylecrafter.weights.footprint import DECODED_FRAMES
from tests.tiny import TEXT_LENGTH, tiny_picture, tiny_pipeline

PROMPT = "a red fox running"


def sample(pipe: StyleCrafterPipeline, prompt: Any = PROMPT, style: Any = None, **arguments: Any) -> Tensor:
    """Latents of a clip, from seed 7 where the test names no noise."""
    if not {"seed", "generator"} & arguments.keys():
        arguments["seed"] = 7
    return pipe(prompt, style, output_type="latent", **arguments).frames


def near(actual: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(actual, wanted, rtol=1e-5, atol=1e-5 * float(wanted.std()))


def apart(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() > 1e-3 * one.std())


class Spy:
    """Counts the samples and styled samples that go through the UNet."""

    def __init__(self, pipe: StyleCrafterPipeline) -> None:
        self.calls: list[tuple[int, bool]] = []
        signature = inspect.signature(pipe.unet.forward)

        def record(module: Any, args: Any, kwargs: Any) -> None:
            given = signature.bind(*args, **kwargs).arguments
            self.calls.append((given["sample"].shape[0], given.get("style_tokens") is not None))

        self.handle = pipe.unet.register_forward_pre_hook(record, with_kwargs=True)

    def __enter__(self) -> Spy:
        return self

    def __exit__(self, *_: object) -> None:
        self.handle.remove()


def test_defaults_are_the_pipelines(pipe: StyleCrafterPipeline, picture: Image.Image) -> None:
    with Spy(pipe) as spy:
        out = pipe(PROMPT, picture)
    assert isinstance(out, StyleCrafterPipelineOutput)
    assert [len(clip) for clip in out.frames] == [3]
    assert out.frames[0][0].size == (24, 16)
    # Three steps, each with the prompts without style in one call and the styled pass in another.
    assert spy.calls == [(2, False), (1, True)] * 3


def test_output_types(pipe: StyleCrafterPipeline, picture: Image.Image) -> None:
    outputs = {kind: pipe(PROMPT, picture, seed=1, output_type=kind).frames for kind in ("pil", "np", "pt")}
    tensor = outputs["pt"]
    assert tensor.shape == (1, 3, 3, 16, 24) and tensor.dtype == torch.float32
    assert 0 <= tensor.min() < tensor.max() <= 1
    np.testing.assert_array_equal(outputs["np"], tensor.permute(0, 1, 3, 4, 2).numpy())
    pixels = np.stack([np.array(frame) for frame in outputs["pil"][0]])
    np.testing.assert_array_equal(pixels, (outputs["np"][0] * 255).round().astype(np.uint8))
    latents = sample(pipe, style=picture, seed=1)
    assert latents.shape == (1, 4, 3, 8, 12)
    torch.testing.assert_close(pipe.decode_latents(latents), tensor)
    assert torch.equal(pipe(PROMPT, picture, seed=1, output_type="pt", return_dict=False)[0], tensor)


def test_prompt_style_and_negative_prompt_matter(pipe, picture, other_picture) -> None:
    results = [
        sample(pipe, style=picture),
        sample(pipe, "a boat on a lake", picture),
        sample(pipe, style=other_picture),
        sample(pipe),
        sample(pipe, style=picture, negative_prompt="blurry"),
        sample(pipe, "", picture),
    ]
    for i, one in enumerate(results):
        assert one.isfinite().all()
        assert all(apart(one, other) for other in results[i + 1 :]), i


def test_no_negative_prompt_is_the_empty_one(pipe, picture) -> None:
    assert torch.equal(sample(pipe, style=picture), sample(pipe, style=picture, negative_prompt=""))


def test_scale_0_is_no_style_bit_for_bit(pipe, picture) -> None:
    plain = sample(pipe)
    assert torch.equal(sample(pipe, style=picture, style_scale=0), plain)
    assert torch.equal(sample(pipe, style=picture, frame_style_scales=[0, 0, 0]), plain)
    assert torch.equal(sample(pipe, style=picture, step_style_scales=[0, 0, 0]), plain)
    assert torch.equal(sample(pipe, style=[]), plain)
    # Rounding may depend on the size of a batch; passes of one sample each show the adapter alone.
    plain = sample(pipe, sequential_guidance=True)
    pipe.style_adapter.set_scale(0)
    try:
        assert torch.equal(sample(pipe, style=picture, sequential_guidance=True), plain)
    finally:
        pipe.style_adapter.set_scale(1)


def test_the_adapter_leaves_a_pipeline_without_style_as_it_was(pipe) -> None:
    attached = sample(pipe)
    pipe.style_adapter.detach()
    try:
        assert torch.equal(sample(pipe), attached)
    finally:
        pipe.style_adapter.attach(pipe.unet)


def test_guidance_is_equation_2_and_the_switch_adds_one_to_each_scale(pipe, picture) -> None:
    common = {"style": picture, "eta": 0.0, "num_inference_steps": 2}
    paper = sample(pipe, **common, published_guidance=False, text_guidance_scale=6, style_guidance_scale=3)
    published = sample(pipe, **common, published_guidance=True, text_guidance_scale=5, style_guidance_scale=2)
    near(published, paper)
    assert apart(
        paper, sample(pipe, **common, published_guidance=True, text_guidance_scale=6, style_guidance_scale=3)
    )

    text, empty = pipe.encode_text(PROMPT), pipe.encode_text("")
    style = pipe.encode_style([picture])
    scales = pipe.predict_scales(style, text)
    latents = torch.randn(1, 4, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    start = latents
    pipe.scheduler.set_timesteps(2)
    for t in pipe.scheduler.timesteps:
        noise = guide(
            pipe.predict_noise(latents, t, empty),
            pipe.predict_noise(latents, t, text),
            pipe.predict_noise(latents, t, text, style, scales),
            6.0,
            3.0,
        )
        latents = pipe.scheduler.step(noise, t, latents, eta=0.0).prev_sample
    arguments = {"published_guidance": False, "text_guidance_scale": 6, "style_guidance_scale": 3}
    near(sample(pipe, **common, **arguments, latents=start), latents)


@pytest.mark.parametrize(
    ("text_scale", "style_scale", "calls"),
    [
        (6.0, 3.0, [(2, False), (1, True)]),
        (6.0, 6.0, [(1, False), (1, True)]),
        (1.0, 1.0, [(1, True)]),
        (1.0, 3.0, [(1, False), (1, True)]),
        (6.0, 0.0, [(2, False)]),
        (1.0, 0.0, [(1, False)]),
        (0.0, 0.0, [(1, False)]),
    ],
)
def test_passes_of_weight_zero_are_skipped(pipe, picture, text_scale, style_scale, calls) -> None:
    arguments = {"text_guidance_scale": text_scale, "style_guidance_scale": style_scale}
    with Spy(pipe) as spy:
        sample(pipe, style=picture, published_guidance=False, num_inference_steps=1, **arguments)
    assert spy.calls == calls


def test_passes_one_by_one(pipe, picture) -> None:
    with Spy(pipe) as spy:
        alone = sample(pipe, style=picture, num_inference_steps=2, sequential_guidance=True)
    assert spy.calls == [(1, False), (1, False), (1, True)] * 2
    near(alone, sample(pipe, style=picture, num_inference_steps=2))


def test_steps_without_style_skip_its_pass(pipe, picture) -> None:
    with Spy(pipe) as spy:
        early = sample(pipe, style=picture, step_style_scales=window(0, 0.4))
    assert [styled for _, styled in spy.calls] == [False, True, False, False]
    assert apart(early, sample(pipe, style=picture))
    assert torch.equal(early, sample(pipe, style=picture, step_style_scales=[1, 0, 0]))


def test_steps_behind_the_stop_of_guidance_take_one_pass(pipe, picture) -> None:
    with Spy(pipe) as spy:
        early = sample(pipe, style=picture, guidance_stop=0.5)
    assert spy.calls == [(2, False), (1, True), (2, False), (1, True), (1, True)]
    guided = sample(pipe, style=picture)
    assert apart(early, guided) and torch.equal(sample(pipe, style=picture, guidance_stop=1.0), guided)
    plain = {"text_guidance_scale": 1.0, "style_guidance_scale": 1.0, "published_guidance": False}
    assert torch.equal(sample(pipe, style=picture, guidance_stop=0.0), sample(pipe, style=picture, **plain))


def test_text_alone_is_guided_as_long_as_asked(pipe) -> None:
    with Spy(pipe) as spy:
        sample(pipe, guidance_stop=0.4)
    assert spy.calls == [(2, False), (2, False), (1, False)]


def test_frames_share_as_much_noise_as_asked(pipe, picture) -> None:
    plain = sample(pipe, style=picture, num_inference_steps=2)
    assert torch.equal(plain, sample(pipe, style=picture, num_inference_steps=2, shared_noise=0.0))
    some = sample(pipe, style=picture, num_inference_steps=2, shared_noise=0.5)
    assert apart(some, plain)

    start: dict[str, torch.Tensor] = {}
    generators = sample_generators(None, 5, 1)
    channels, frames, height, width = plain.shape[1:]
    own = draw_noise((channels, frames, height, width), generators)
    common = draw_noise((channels, 1, height, width), generators)
    for part in (0.5, 1.0):
        start["latents"] = mixed_noise(own, common, part)
        given = sample(pipe, style=picture, seed=5, eta=0.0, num_inference_steps=2, **start)
        assert torch.equal(
            given, sample(pipe, style=picture, seed=5, eta=0.0, num_inference_steps=2, shared_noise=part)
        )
    assert torch.equal(start["latents"], common.expand_as(own))


def test_a_pictures_noise_is_its_own(pipe, picture) -> None:
    alone = sample(pipe, style=picture, num_inference_steps=2, num_frames=1)
    assert torch.equal(
        alone, sample(pipe, style=picture, num_inference_steps=2, num_frames=1, shared_noise=0.9)
    )


def test_a_model_may_come_with_shared_noise(pipe, picture) -> None:
    asked = sample(pipe, style=picture, num_inference_steps=2, shared_noise=0.7)
    assert apart(asked, sample(pipe, style=picture, num_inference_steps=2))
    pipe.register_to_config(default_shared_noise=0.7)
    try:
        assert torch.equal(asked, sample(pipe, style=picture, num_inference_steps=2))
    finally:
        pipe.register_to_config(default_shared_noise=0.0)


def test_style_corners_reach_the_references(pipe, picture, other_picture) -> None:
    few = {"num_inference_steps": 2}
    asked = sample(pipe, style=picture, style_corners=True, **few)
    tokens = pipe.encode_style([picture], corners=True)
    assert torch.equal(asked, sample(pipe, style_tokens=tokens, **few))
    assert apart(asked, sample(pipe, style=picture, **few))
    # Pictures of their own for every prompt are read one list after the other.
    each = sample(pipe, [PROMPT] * 2, [[picture], [other_picture]], style_corners=True, **few)
    tokens = pipe.encode_style([picture, other_picture], corners=True)
    near(each, sample(pipe, [PROMPT] * 2, style_tokens=tokens, **few))


def test_frame_weights_reach_their_frames(pipe, picture) -> None:
    full = sample(pipe, style=picture, num_inference_steps=1)
    assert torch.equal(full, sample(pipe, style=picture, num_inference_steps=1, frame_style_scales=[1, 1, 1]))
    rising = sample(pipe, style=picture, num_inference_steps=1, frame_style_scales=linear(0, 1))
    assert torch.equal(
        rising, sample(pipe, style=picture, num_inference_steps=1, frame_style_scales=[0, 0.5, 1])
    )
    change = (full - rising).square().mean(dim=(0, 1, 3, 4))
    assert change[0] > change[1] > change[2]


def test_rescaling_tames_the_spread(pipe, picture) -> None:
    strong = {"style": picture, "text_guidance_scale": 60.0, "eta": 0.0}
    assert sample(pipe, **strong, guidance_rescale=1.0).std() < 0.75 * sample(pipe, **strong).std()


def test_a_batch_is_a_loop_of_ones(pipe, picture, other_picture) -> None:
    prompts = [PROMPT, "a boat on a lake", ""]
    styles = [[picture], [other_picture, picture, tiny_picture(3)], [other_picture, picture]]
    weights = [[1.0], [0.5, 2.0, 1.0], [1.0, 0.0]]
    negatives = ["blurry", "", "oil painting"]
    together = sample(
        pipe,
        prompts,
        styles,
        style_weights=weights,
        negative_prompt=negatives,
        generator=seeded(5),
        shared_noise=0.5,
        style_corners=True,
    )
    generator = seeded(5)
    for i in range(3):
        alone = sample(
            pipe,
            prompts[i],
            [styles[i]],
            style_weights=[weights[i]],
            negative_prompt=negatives[i],
            generator=generator,
            shared_noise=0.5,
            style_corners=True,
        )
        near(together[i : i + 1], alone)


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_a_batch_is_a_loop_of_ones_with_every_scheduler(name: str, picture: Image.Image) -> None:
    pipe = tiny_pipeline()
    own = pipe.scheduler.config
    generators = [seeded(3), seeded(4)]
    pipe.scheduler = make_scheduler(name, own)
    together = sample(pipe, [PROMPT, "a boat"], picture, generator=generators, num_inference_steps=4)
    assert together.isfinite().all() and apart(together[0], together[1])
    for i, prompt in enumerate((PROMPT, "a boat")):
        pipe.scheduler = make_scheduler(name, own)
        alone = sample(pipe, prompt, picture, seed=3 + i, num_inference_steps=4)
        near(together[i : i + 1], alone)


@pytest.mark.parametrize("name", ["ddim", "dpm++", "euler", "unipc"])
def test_velocity_prediction_with_zero_terminal_signal(name: str, picture: Image.Image) -> None:
    pipe = tiny_pipeline(prediction_type="v_prediction")
    config = {**pipe.scheduler.config, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    pipe.scheduler = make_scheduler(name, config)
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    result = sample(pipe, style=picture, num_inference_steps=4, text_guidance_scale=3)
    assert result.isfinite().all()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_seeds(pipe, picture) -> None:
    first = sample(pipe, style=picture, seed=1)
    assert torch.equal(first, sample(pipe, style=picture, seed=1))
    assert torch.equal(first, sample(pipe, style=picture, generator=seeded(1)))
    assert torch.equal(first, sample(pipe, style=picture, generator=[seeded(1)]))
    assert apart(first, sample(pipe, style=picture, seed=2))
    torch.manual_seed(11)
    free = sample(pipe, style=picture, generator=None)
    torch.manual_seed(11)
    assert torch.equal(free, sample(pipe, style=picture, generator=None))


def test_several_clips_per_prompt(pipe, picture) -> None:
    clips = sample(pipe, [PROMPT, "a boat"], picture, num_videos_per_prompt=2, seed=1)
    assert clips.shape[0] == 4 and apart(clips[0], clips[1])
    doubled = sample(pipe, [PROMPT, PROMPT, "a boat", "a boat"], picture, seed=1)
    near(clips, doubled)


def test_what_was_encoded_before_gives_the_same(pipe, picture, other_picture) -> None:
    pictures = [picture, other_picture]
    wanted = sample(pipe, [PROMPT, "a boat"], pictures, style_weights=[1, 3], negative_prompt="blurry")
    tokens = pipe.encode_style([pictures], [[1, 3]])
    result = sample(
        pipe,
        None,
        style_tokens=tokens,
        text_embeds=pipe.encode_text([PROMPT, "a boat"]),
        negative_text_embeds=pipe.encode_text("blurry"),
    )
    near(result, wanted)


def test_given_scales_stand_in_for_predicted_ones(pipe, picture) -> None:
    prompts = [PROMPT, "a boat"]
    wanted = sample(pipe, prompts, picture)
    predicted = pipe.predict_scales(pipe.encode_style([picture]).expand(2, -1, -1), pipe.encode_text(prompts))
    near(sample(pipe, prompts, picture, style_scales=predicted), wanted)
    half = sample(pipe, prompts, picture, style_scale=0.5)
    near(sample(pipe, prompts, picture, style_scales=predicted / 2), half)
    near(sample(pipe, prompts, picture, style_scales=predicted, style_scale=0.5), half)
    assert apart(half, wanted)
    one_row = sample(pipe, prompts, picture, style_scales=predicted[:1])
    near(one_row[:1], wanted[:1])


def test_shared_pictures_keep_the_weights_of_every_prompt(pipe, picture, other_picture) -> None:
    pictures, prompts = [picture, other_picture], [PROMPT, PROMPT]
    both = sample(pipe, prompts, pictures, style_weights=[[1, 0], [0, 1]], generator=[seeded(1), seeded(1)])
    for i, one in enumerate(pictures):
        near(both[i : i + 1], sample(pipe, PROMPT, one, generator=[seeded(1)]))
    assert apart(both[0], both[1])


def test_latents_decide_the_size(pipe, picture) -> None:
    start = torch.randn(1, 4, 2, 4, 4, generator=seeded(0))
    assert sample(pipe, style=picture, latents=start).shape == start.shape
    assert pipe(PROMPT, picture, latents=start, output_type="pt").frames.shape == (1, 2, 3, 8, 8)


def test_one_frame_leaves_out_time(pipe, picture) -> None:
    temporal = [module for _, module in pipe.unet.temporal_modules()]
    seen: list[object] = []
    handles = [module.register_forward_hook(lambda *args: seen.append(args)) for module in temporal]
    sample(pipe, style=picture, num_frames=1, num_inference_steps=1)
    assert not seen
    sample(pipe, style=picture, num_frames=2, num_inference_steps=1)
    assert len(seen) == 2 * len(temporal)
    for handle in handles:
        handle.remove()


def test_callbacks_see_every_step_and_may_change_it(pipe, picture) -> None:
    seen: list[tuple[int, int]] = []

    def record(caller: Any, step: int, timestep: Tensor, tensors: dict[str, Tensor]) -> None:
        assert caller is pipe and tensors.keys() == {"latents", "style_scales"}
        assert tensors["style_scales"].shape == (1, pipe.style_adapter.num_layers)
        seen.append((step, int(timestep)))

    names = ["latents", "style_scales"]
    plain = sample(pipe, style=picture)
    watched = sample(
        pipe, style=picture, callback_on_step_end=record, callback_on_step_end_tensor_inputs=names
    )
    assert torch.equal(plain, watched)
    assert seen == list(enumerate(pipe.scheduler.timesteps.tolist()))

    def wipe(caller: Any, step: int, timestep: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"latents": torch.zeros_like(tensors["latents"])}

    assert not sample(pipe, style=picture, callback_on_step_end=wipe).any()


def test_interrupting(pipe, picture) -> None:
    kept: list[Tensor] = []

    def stop(caller: Any, step: int, timestep: Tensor, tensors: dict[str, Tensor]) -> None:
        kept.append(tensors["latents"])
        caller.interrupt = True

    result = sample(pipe, style=picture, callback_on_step_end=stop)
    assert len(kept) == 1 and torch.equal(result, kept[0])
    kept.clear()
    assert apart(sample(pipe, style=picture), result)


def test_progress_bar(pipe, picture, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        pipe.set_progress_bar_config(disable=False)
        sample(pipe, style=picture)
    finally:
        pipe.set_progress_bar_config(disable=True)
    assert "3/3" in capsys.readouterr().err
    sample(pipe, style=picture)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("chunk", [1, 2, None])
def test_decoding_in_chunks(pipe, picture, chunk: int | None) -> None:
    whole = pipe([PROMPT, ""], picture, seed=1, output_type="pt").frames
    torch.testing.assert_close(
        pipe([PROMPT, ""], picture, seed=1, output_type="pt", decode_chunk_size=chunk).frames, whole
    )


def test_decoding_in_tiles() -> None:
    pipe = tiny_pipeline()
    latents = torch.randn(1, 4, 1, 16, 16, generator=seeded(0))
    whole = pipe.decode_latents(latents)
    pipe.enable_vae_tiling()
    tiled = pipe.decode_latents(latents)
    assert tiled.shape == whole.shape and not torch.equal(tiled, whole)
    pipe.disable_vae_tiling()
    assert torch.equal(pipe.decode_latents(latents), whole)


def test_a_long_prompt_is_cut_with_a_warning(pipe, caplog: pytest.LogCaptureFixture) -> None:
    fitting = " ".join(["fox"] * (TEXT_LENGTH - 2))
    with caplog.at_level(logging.WARNING, "stylecrafter"):
        wanted = pipe.encode_text(fitting)
        assert not caplog.records
        assert torch.equal(pipe.encode_text(f"{fitting} boat on a lake"), wanted)
    assert "cut off: boat on a lake" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "stylecrafter"):
        pipe.encode_text("lake " * 5000)
    assert len(caplog.text) < 600


def test_as_many_frames_are_decoded_at_once_as_the_estimate_of_memory_counts_on(pipe) -> None:
    decoded: list[int] = []
    decode = pipe.vae.decode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipe.vae, "decode", lambda part: decoded.append(len(part)) or decode(part))
        pipe(PROMPT, num_frames=9, num_inference_steps=1, seed=1)
    assert decoded == [DECODED_FRAMES, 1]


def test_texts_of_different_lengths_are_passes_of_their_own(pipe, picture) -> None:
    text, shorter = pipe.encode_text(PROMPT), pipe.encode_text("")[:, :5]
    settings = {"text_embeds": text, "negative_text_embeds": shorter, "seed": 1, "output_type": "pt"}
    one_by_one = pipe(style_images=picture, sequential_guidance=True, **settings).frames
    torch.testing.assert_close(pipe(style_images=picture, **settings).frames, one_by_one)
