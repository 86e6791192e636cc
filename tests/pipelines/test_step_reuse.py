"""What steps keep for each other: off it changes nothing, on it saves passes and blocks, afterwards nothing is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stylecrafter import StyleCrafterPipeline
from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.step_reuse import StepReuse
from tests.contract.test_every_base import ours
from tests.tiny import (
    TINY_BASES,
    tiny_image_encoder,
    tiny_picture,
)

#: What leaves out blocks of each base model, so that some steps do.
CACHE = {name: {"reuse_every": 2} for name in TINY_BASES} | {"wan": {"skip_threshold": 0.9}}
STEPS = 4
ASKED: dict[str, Any] = {
    "num_inference_steps": STEPS,
    "height": 16,
    "width": 16,
    "output_type": "latent",
    "text_guidance_scale": 3.0,
    "style_guidance_scale": 2.0,
}
PROMPTS = ["a red fox", "a tree on a lake"]


@pytest.fixture(scope="module", params=TINY_BASES)
def named(request: pytest.FixtureRequest) -> tuple[str, StyleCrafterPipeline]:
    make, _ = TINY_BASES[request.param]
    base = make()
    if isinstance(base, StyleCrafterPipeline):
        return request.param, base
    pipe = StyleCrafterPipeline.from_base(base, image_encoder=tiny_image_encoder())
    pipe.set_progress_bar_config(disable=True)
    pipe.load_adapter(ours(pipe))
    return request.param, pipe


def draw(named: tuple[str, StyleCrafterPipeline], prompt: Any = PROMPTS[0], **asked: Any) -> Tensor:
    name, pipe = named
    style = {"style_images": tiny_picture(1), "num_frames": TINY_BASES[name][1], "seed": 3}
    return pipe(prompt, **{**ASKED, **style, **asked}).frames


@contextmanager
def counted(pipe: StyleCrafterPipeline) -> Iterator[Counter[str]]:
    """How often each module with weights of the denoiser runs, and the denoiser itself as "" (rows of its input)."""
    calls: Counter[str] = Counter()
    handles = []
    denoiser = pipe.backbone.denoiser
    for name, module in denoiser.named_modules():
        if name == "" or (not list(module.children()) and list(module.parameters())):

            def count(module: nn.Module, args: Any, output: Any, name: str = name) -> None:
                calls[name] += 1

            handles.append(module.register_forward_hook(count))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def hooked(pipe: StyleCrafterPipeline) -> set[str]:
    """The modules that have a forward or hooks of diffusers of their own, below the denoiser."""
    modules = dict(pipe.backbone.denoiser.named_modules())
    return {name for name, m in modules.items() if name and {"forward", "_diffusers_hook"} & set(vars(m))}


def test_off_is_as_ever(named: tuple[str, StyleCrafterPipeline]) -> None:
    off = {"guidance_start": 0.0, "guidance_every": 1, "reuse_every": 1, "reuse_depth": 1}
    plain = draw(named)
    assert torch.equal(draw(named, **off, skip_threshold=0.0, fast=False), plain)


def test_blocks_are_left_out_and_nothing_is_left_behind(named: tuple[str, StyleCrafterPipeline]) -> None:
    name, pipe = named
    apart = {"sequential_guidance": True}  # as passes are made where samples decide for themselves
    with counted(pipe) as calls:
        plain = draw(named, **apart)
    with counted(pipe) as fewer:
        cached = draw(named, **apart, **CACHE[name])
    assert cached.isfinite().all() and not torch.equal(cached, plain)
    assert fewer[""] == calls[""]
    saved = {k for k in calls if fewer[k] < calls[k]}
    if name == "wan":
        assert saved and all(k.startswith("blocks.1.") for k in saved)
    else:
        assert any(k.startswith("mid_block.") for k in saved)
        assert all(2 * fewer[k] == calls[k] for k in saved)  # 4 steps, two of them whole
        shallow = ("conv_in", "conv_out", "time_embedding", "down_blocks.0.resnets", "up_blocks.1.resnets")
        assert not any(k.startswith(shallow) for k in saved)
    assert not hooked(pipe)
    assert torch.equal(draw(named, **apart), plain)


def test_guidance_that_is_kept_saves_its_passes(named: tuple[str, StyleCrafterPipeline]) -> None:
    _, pipe = named
    apart = {"sequential_guidance": True}
    with counted(pipe) as calls:
        plain = draw(named, **apart)
    with counted(pipe) as fewer:
        kept = draw(named, **apart, guidance_every=2)
    assert (calls[""], fewer[""]) == (3 * STEPS, 3 * STEPS // 2 + STEPS // 2)
    assert not torch.equal(kept, plain)
    # The first step is made in full either way.
    seen: list[Tensor] = []

    def see(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.append(tensors["latents"].clone())
        return {}

    for every in (1, 2):
        draw(named, **apart, guidance_every=every, callback_on_step_end=see)
    assert torch.equal(seen[0], seen[STEPS]) and not torch.equal(seen[1], seen[STEPS + 1])


def test_guidance_in_an_interval(named: tuple[str, StyleCrafterPipeline]) -> None:
    _, pipe = named
    apart = {"sequential_guidance": True}
    with counted(pipe) as calls:
        within = draw(named, **apart, guidance_start=0.25, guidance_stop=0.75)
    assert calls[""] == 3 * 2 + 2
    unguided = {"text_guidance_scale": 1.0, "style_guidance_scale": 1.0}
    assert not torch.equal(within, draw(named, **apart, guidance_stop=0.75))
    assert torch.equal(draw(named, guidance_start=1.0), draw(named, **unguided))


@pytest.mark.parametrize("option", ["cache", "guidance", "both"])
def test_a_batch_is_a_loop(named: tuple[str, StyleCrafterPipeline], option: str) -> None:
    name, _ = named
    asked: dict[str, Any] = {} if option == "guidance" else CACHE[name]
    asked = asked if option == "cache" else {**asked, "guidance_every": 2}
    pictures = [[tiny_picture(1)], [tiny_picture(2)]]
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    together = draw(named, PROMPTS, **asked, style_images=pictures, seed=None, generator=generators)
    for i, prompt in enumerate(PROMPTS):
        alone = draw(named, prompt, **asked, style_images=pictures[i], seed=3 + i)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("how", ["interrupt", "error"])
def test_a_call_that_ends_early_leaves_no_hooks(named: tuple[str, StyleCrafterPipeline], how: str) -> None:
    name, pipe = named
    plain = draw(named)

    def stop(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        assert hooked(pipe)
        if how == "error":
            raise RuntimeError("enough")
        pipe.interrupt = True
        return {}

    asked = {**CACHE[name], "guidance_every": 2, "callback_on_step_end": stop}
    if how == "error":
        with pytest.raises(RuntimeError, match="enough"):
            draw(named, **asked)
    else:
        draw(named, **asked)
    assert not hooked(pipe)
    assert torch.equal(draw(named), plain)


def test_what_a_base_does_not_have_is_refused(named: tuple[str, StyleCrafterPipeline]) -> None:
    name, pipe = named
    label = pipe.backbone.label
    if name == "wan":
        with pytest.raises(InvalidInputError, match=rf"{label} has no levels .*--skip-threshold"):
            draw(named, reuse_every=2)
        return
    with pytest.raises(InvalidInputError, match=rf"{label} is no transformer .*--reuse-every"):
        draw(named, skip_threshold=0.1)
    with pytest.raises(InvalidInputError, match="reuse_depth must be from 1 to 1, .* got 2"):
        draw(named, reuse_every=2, reuse_depth=2)


def test_the_fast_mode_sets_what_is_not_said(named: tuple[str, StyleCrafterPipeline]) -> None:
    _, pipe = named
    fast = {k: v for k, v in pipe.backbone.fast.items() if k != "steps"}
    assert fast
    arguments = {"guidance_every", "guidance_start", "guidance_stop", "reuse_every", "skip_threshold"}
    assert set(fast) <= arguments
    assert torch.equal(draw(named, fast=True), draw(named, **fast))
    first, *_ = fast
    said = {"guidance_every": 1, "guidance_stop": 1.0}[first]
    assert torch.equal(draw(named, fast=True, **{first: said}), draw(named, **{**fast, first: said}))


def test_guidance_is_kept_for_its_scales_and_place_alone() -> None:
    reuse, kept = StepReuse(guidance_every=3), torch.ones(1)
    reuse.at(0).keep(("a",), (5.0, 3.0), kept)
    assert reuse.at(2).difference(("a",), (5.0, 3.0)) is kept
    assert reuse.difference(("a",), (4.0, 3.0)) is None  # as once a callback has changed them
    assert reuse.difference(("b",), (5.0, 3.0)) is None
    assert reuse.at(3).difference(("a",), (5.0, 3.0)) is None


@pytest.mark.parametrize("named", ["videocrafter", "animatediff"], indirect=True)
def test_each_window_computes_its_own_deep_features(named: tuple[str, StyleCrafterPipeline]) -> None:
    _, pipe = named
    asked = {"num_frames": 4, "sequential_guidance": True, "reuse_every": STEPS}
    with counted(pipe) as one:
        draw(named, **asked)
    with counted(pipe) as several:
        draw(named, **asked, window=2)
    windows = several[""] // one[""]
    deep = [k for k in one if k.startswith("mid_block.") and one[k] == 3]  # once for each pass of a step
    assert windows > 1 and deep and all(several[k] == windows * one[k] for k in deep)


@pytest.mark.parametrize("named", ["videocrafter", "animatediff"], indirect=True)
def test_windows_and_masks_keep_their_own(named: tuple[str, StyleCrafterPipeline]) -> None:
    """Outside of a mask the clip is that of the text alone, with every option; windows of one size differ."""
    name, _ = named
    asked = {**CACHE[name], "guidance_every": 2, "num_frames": 4, "window": 2}
    mask = torch.zeros(16, 16)
    mask[:, :8] = 1
    text = draw(named, **asked, style_images=None)
    masked = draw(named, **asked, style_masks=mask)
    assert torch.equal(masked[..., 4:], text[..., 4:]) and not torch.equal(masked[..., :4], text[..., :4])
