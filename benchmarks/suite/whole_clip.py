"""A whole clip: the published procedure, ours at the same steps, ours as the model is meant, and `fast`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.measure import keeping, measured, psnr, taking_turns
from benchmarks.models import videocrafter
from benchmarks.published.clip import Conditions, conditions_of, decoded, sampled
from benchmarks.published.unet import published_copy
from benchmarks.results import Comparison, Result
from benchmarks.settings import Settings
from benchmarks.suite.one_pass import OURS, PUBLISHED, pass_inputs, passes
from stylecrafter import StyleCrafterPipeline
from stylecrafter.pipelines.sampling_params import SamplingParams

PROMPT = "a dog in a meadow"
SCALES = (15.0, 7.5)
PASSES = 3


def same_settings(steps: int) -> dict[str, Any]:
    """What the published procedure does, as knobs of ours."""
    return {
        "num_inference_steps": steps,
        "eta": 0.0,
        "text_guidance_scale": SCALES[0],
        "style_guidance_scale": SCALES[1],
        "published_guidance": True,
        "guidance_stop": 1.0,
        "style_corners": False,
    }


def others() -> dict[str, dict[str, Any]]:
    """Quicker settings of ours, by name: those of the model itself, and what `fast` sets, where it is known."""
    found: dict[str, dict[str, Any]] = {"ours, the model's own settings": {"eta": 0.0}}
    if "fast" in SamplingParams.model_fields:
        found["ours, fast"] = {"eta": 0.0, "fast": True}
    return found


def run(settings: Settings) -> list[Result]:
    """`mini`, really run; and the published size, computed from its parts."""
    if settings.full:
        return [*really_run(settings), computed(settings)]
    return [*really_run(settings, videocrafter("tiny", settings.device), steps=3), computed(settings)]


def really_run(settings: Settings, pipe: Any = None, steps: int = 50) -> list[Comparison]:
    """Denoising alone, and from prompt and picture to frames."""
    if pipe is None:
        pipe = StyleCrafterPipeline.from_pretrained("mini").to(settings.device)
        pipe.set_progress_bar_config(disable=True)
    small = {} if settings.full else {"num_frames": 2, "width": 32, "height": 32}
    picture = Image.open(settings.picture).convert("RGB")
    noise = start(pipe, **small)
    plain = published_copy(pipe.unet, pipe.style_adapter)
    conditions = conditions_of(pipe, PROMPT, picture)
    kinds = {f"ours, the same {steps} steps": same_settings(steps)} | others()

    def denoise() -> Tensor:
        return plain_latents(pipe, plain, noise, conditions, steps)

    def draw() -> Tensor:
        read = conditions_of(pipe, PROMPT, picture)
        return decoded(pipe.vae, plain_latents(pipe, plain, noise, read, steps))

    def ours(knobs: dict[str, Any], style: dict[str, Any], output: str) -> Callable[[], Tensor]:
        arguments: dict[str, Any] = {"latents": noise, "output_type": output, **small, **knobs, **style}
        return lambda: pipe(PROMPT, **arguments).frames[0]

    tokens = {"style_tokens": conditions.style}
    without = {
        name: {k: v for k, v in knobs.items() if k != "style_corners"} for name, knobs in kinds.items()
    }
    denoising = {PUBLISHED: denoise} | {
        name: ours(knobs, tokens, "latent") for name, knobs in without.items()
    }
    whole = {PUBLISHED: draw} | {
        name: ours(knobs, {"style_images": picture}, "pt") for name, knobs in kinds.items()
    }
    drawn: dict[str, Tensor] = {}
    costs = {
        part: taking_turns(runs, settings.repeats, settings.device)
        for part, runs in (("denoising", denoising), ("end to end", keeping(whole, drawn)))
    }
    first = drawn.pop(PUBLISHED).cpu()
    quality = {name: f"{psnr(frames.cpu(), first):.1f} dB to the first" for name, frames in drawn.items()}
    notes = [
        f"published: float32, {PASSES} passes a step on their own, {steps} steps of DDIM without noise, guidance 15 "
        "and 7.5 in the published form, frames decoded one by one",
        "denoising: latents out; of ours with the text, which is encoded within",
        "settings with other steps or scales make another clip: their quality is what `stylecrafter evaluate` says",
    ]
    title = "A clip of mini" if settings.full else "A clip of a tiny model"
    return [Comparison(title, part, runs, quality, notes) for part, runs in costs.items()]


def computed(settings: Settings, steps: int = 50) -> Comparison:
    """16 frames at the published size of the model and 16 x 16 latents, from its measured parts."""
    pipe = videocrafter(settings.size, settings.device)
    frames, side = (16, 16) if settings.full else (4, 8)
    inputs = pass_inputs(pipe, frames, side)
    picture = Image.open(settings.picture).convert("RGB")
    costs = taking_turns(passes(pipe, inputs), settings.repeats, settings.device)
    latents = inputs[0]
    ends = taking_turns(
        {
            "encode": lambda: conditions_of(pipe, PROMPT, picture),
            "one by one": lambda: decoded(pipe.vae, latents),
            "eight at once": lambda: pipe.decode_latents(latents, 8),
        },
        1 if settings.full else settings.repeats,
        settings.device,
    )
    encode, one_by_one, at_once = (runs[0] for runs in ends.values())
    same = f"ours, the same {steps} steps"
    clips = {
        PUBLISHED: [cost * (PASSES * steps) + encode + one_by_one for cost in costs[PUBLISHED]],
        same: [cost * (PASSES * steps) + encode + at_once for cost in costs[OURS]],
    }
    notes = [
        f"computed: {PASSES * steps} passes of the measured time each, plus the measured encoders and decoder",
        f"decoding one by one {one_by_one.wall:.3g} s, by eight {at_once.wall:.3g} s; encoding {encode.wall:.3g} s",
    ]
    for name, knobs in others().items():
        if knobs.get("fast"):
            size = side * pipe.vae_scale_factor
            call = {"style_images": picture, "num_frames": frames, "width": size, "height": size, **knobs}
            cost = measured(
                lambda call=call: pipe(PROMPT, latents=latents, output_type="pt", **call), settings.device
            )
            clips[name] = [cost] * settings.repeats
            notes.append(f"{name}: run once, from prompt and picture to frames")
    return Comparison(f"A clip of {frames} x ({side} x {side}) latents", "end to end", clips, {}, notes)


def start(
    pipe: Any, num_frames: int | None = None, width: int | None = None, height: int | None = None
) -> Tensor:
    """The noise that a clip of a pipeline begins with."""
    config = pipe.config
    shape = pipe.backbone.latent_shape(
        num_frames or config.default_frames, height or config.default_height, width or config.default_width
    )
    noise = torch.randn((1, *shape), generator=torch.Generator().manual_seed(7))
    return noise.to(pipe.unet.device)


def plain_latents(pipe: Any, plain: Any, noise: Tensor, conditions: Conditions, steps: int) -> Tensor:
    """The latents of the published procedure."""
    pipe.scheduler.set_timesteps(steps)
    return sampled(plain, noise, conditions, pipe.scheduler, steps, SCALES)
