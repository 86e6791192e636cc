"""What saves memory leaves results as they are, and goes away without a trace."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.hooks import CpuOffload, UserCpuOffloadHook
from torch import nn

from stylecrafter import StyleAdapter, StyleCrafterPipeline
from stylecrafter.errors import InvalidInputError, MissingDependencyError, UnknownNameError
from stylecrafter.pipelines.footprint import weights_of
from stylecrafter.pipelines.memory_options import MemoryOptions
from stylecrafter.pipelines.offloading import OthersLeave, has_group_offload
from stylecrafter.pipelines.stored_weights import saved_bytes, stored_models
from tests.tiny import (
    TINY_BASES,
    WIDTH,
    tiny_image_encoder,
    tiny_picture,
)

#: Weights read from a file lie elsewhere in memory, by which products of matrices may round differently.
ROUNDING = {"rtol": 1e-4, "atol": 1e-5}


def made(base: str) -> StyleCrafterPipeline:
    """A pipeline of that base with an adapter and an image encoder."""
    pipe = TINY_BASES[base][0]()
    if not isinstance(pipe, StyleCrafterPipeline):
        pipe = StyleCrafterPipeline.from_base(pipe)
        backbone = pipe.backbone
        adapter = StyleAdapter.for_model(
            backbone.denoiser,
            WIDTH,
            backbone.attention_layers(),
            text_dim=backbone.text_dim,
            num_style_tokens=2,
            extractor_layers=1,
            extractor_heads=2,
            scale_layers=1,
            scale_heads=2,
        )
        pipe.load_adapter(adapter.eval(), image_encoder=tiny_image_encoder())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: StyleCrafterPipeline, frames: int, **asked: Any) -> torch.Tensor:
    size = {"num_frames": frames, "height": 16, "width": 16}
    return pipe(
        "a red fox", tiny_picture(1), num_inference_steps=2, seed=1, output_type="pt", **size, **asked
    ).frames


@pytest.fixture(scope="module", params=list(TINY_BASES))
def case(request: pytest.FixtureRequest) -> tuple[StyleCrafterPipeline, int, torch.Tensor]:
    """A pipeline, the frames of its clip, and the clip."""
    pipe, frames = made(request.param), TINY_BASES[request.param][1]
    return pipe, frames, draw(pipe, frames)


def test_models_are_fetched_before_they_run(
    case: tuple[StyleCrafterPipeline, int, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: a layer must not run while its model is elsewhere."""
    pipe, frames, wanted = case
    pipe.enable_model_cpu_offload(device="cpu")
    together = {id(pipe.backbone.denoiser), id(pipe.controlnet)}
    for hook in pipe._all_hooks:
        others = {id(h.model) for h in pipe._all_hooks if h is not hook}
        if id(hook.model) in together:
            others -= together
        sent = (
            hook.hook.prev_module_hook
        )  # who is sent away before this one runs, wherever it stands in the chain
        assert isinstance(sent, OthersLeave) and {id(h.model) for h in sent.hooks} == others
    here: list[nn.Module] = []
    fetch = CpuOffload.pre_forward

    def fetched(hook: CpuOffload, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        here[:] = [module]  # and all others have left
        return fetch(hook, module, *args, **kwargs)

    monkeypatch.setattr(CpuOffload, "pre_forward", fetched)
    handles = [
        layer.register_forward_pre_hook(lambda layer, args, model=model: check(model))
        for model in (hook.model for hook in pipe._all_hooks)
        for layer in model.modules()
        if layer is not model and next(layer.parameters(recurse=False), None) is not None
    ]

    def check(model: nn.Module) -> None:
        assert here == [model], f"{type(model).__name__} ran elsewhere"

    try:
        assert torch.equal(draw(pipe, frames), wanted)
        assert here == [pipe.vae]
    finally:
        for handle in handles:
            handle.remove()
        pipe.disable_offload()
    assert not any(hasattr(m, "_hf_hook") for m in pipe.components.values()) and not pipe.offloaded
    assert torch.equal(draw(pipe, frames), wanted)


def test_layers_wait_elsewhere(case: tuple[StyleCrafterPipeline, int, torch.Tensor], tmp_path: Path) -> None:
    pipe, frames, wanted = case
    pipe.enable_group_offload("cpu")
    assert torch.equal(draw(pipe, frames), wanted)
    # On the disk, what is not fetched is not there at all. T5 has one matrix under two names, which the disk loses.
    shares = "T5" in type(pipe.tokenizer).__name__
    if shares:
        with pytest.raises(InvalidInputError, match="share weights"):
            pipe.enable_group_offload("cpu", offload_to_disk_path=tmp_path)
    kept = ("text_encoder",) if shares else ()
    pipe.enable_group_offload("cpu", offload_to_disk_path=tmp_path, exclude_modules=kept)
    torch.testing.assert_close(draw(pipe, frames), wanted, **ROUNDING)
    pipe.disable_offload()
    assert not any(map(has_group_offload, pipe.backbone.models().values())) and not pipe.offloaded
    torch.testing.assert_close(draw(pipe, frames), wanted, **ROUNDING)


def test_low_memory_runs_one_by_one(
    case: tuple[StyleCrafterPipeline, int, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, frames, wanted = case
    before = dict(vars(pipe.vae))
    passes, decoded = [], []
    predict, decode = pipe.predict_noise, pipe.vae.decode
    monkeypatch.setattr(
        type(pipe), "predict_noise", lambda p, x, *a, **k: (passes.append(len(x)), predict(x, *a, **k))[1]
    )
    monkeypatch.setattr(
        type(pipe.vae), "decode", lambda v, z, *a, **k: (decoded.append(len(z)), decode(z, *a, **k))[1]
    )
    pipe.enable_low_memory()
    assert pipe.low_memory and pipe.vae.use_tiling and not pipe.offloaded
    torch.testing.assert_close(draw(pipe, frames), wanted, **ROUNDING)
    assert set(passes) == {1} and set(decoded) == {1}
    pipe.disable_low_memory()
    monkeypatch.undo()
    assert {name: before[name] for name in before if name.startswith(("tile", "use"))} == {
        name: value for name, value in vars(pipe.vae).items() if name.startswith(("tile", "use"))
    }
    torch.testing.assert_close(draw(pipe, frames), wanted, **ROUNDING)


@pytest.mark.parametrize("weights_as", ["fp8", "int8"])
@pytest.mark.parametrize("base", TINY_BASES)
def test_weights_of_8_bits(base: str, weights_as: str, tmp_path: Path) -> None:
    if weights_as == "int8" and find_spec("torchao") is None:
        with pytest.raises(MissingDependencyError, match=r"stylecrafter\[quantize\]"):
            made(base).store_weights("int8")
        pytest.skip("torchao is not installed")
    pipe, frames = made(base), TINY_BASES[base][1]
    wanted, whole = draw(pipe, frames), weights_of(pipe)
    saved = sum(saved_bytes(model, weights_as) for model in stored_models(pipe.components))
    pipe.store_weights(weights_as)
    got = draw(pipe, frames)
    assert got.isfinite().all() and 0 < (got - wanted).abs().mean() < 0.05
    if weights_as == "fp8":
        assert weights_of(pipe) == whole - saved < 0.8 * whole
    layer = pipe.style_adapter.layers[0].to_k.weight
    assert layer.dtype == (torch.float8_e4m3fn if weights_as == "fp8" else torch.float32)
    own = [p for name, p in pipe.style_adapter.named_parameters() if not name.startswith("layers.")]
    assert {p.dtype for p in (*own, *pipe.vae.parameters())} == {torch.float32}
    assert pipe.backbone.dtype == torch.float32  # what it computes in
    with pytest.raises(InvalidInputError, match="loaded in full"):
        pipe.save_pretrained(tmp_path)
    with pytest.raises(InvalidInputError, match="load them again"):
        pipe.store_weights("fp8")
    pipe.enable_model_cpu_offload(device="cpu")
    assert torch.equal(draw(pipe, frames), got)


def test_an_adapter_that_comes_later_is_offloaded_likewise() -> None:
    pipe = made("sd")
    adapter, wanted = pipe.style_adapter, draw(pipe, 1)
    pipe.unload_adapter()
    pipe.enable_model_cpu_offload(device="cpu")
    hooks = list(pipe._all_hooks)
    pipe.load_adapter(adapter, image_encoder=tiny_image_encoder())
    assert pipe._all_hooks and pipe._all_hooks != hooks and hasattr(pipe.image_encoder, "_hf_hook")
    assert torch.equal(draw(pipe, 1), wanted)
    with pytest.raises(InvalidInputError, match="before they are offloaded"):
        pipe.store_weights("fp8")


class Recorded(UserCpuOffloadHook):
    """One that keeps its model where it is."""

    left = False

    def offload(self) -> None:
        self.left = True


def test_others_leave_from_wherever_they_are() -> None:
    hooks = [Recorded(nn.Linear(1, 1, device=device), None) for device in ("cpu", "meta", "meta")]
    others = OthersLeave(hooks)
    assert others.model is hooks[1].model  # accelerate asks whether there is one to send away
    others.offload()
    assert [hook.left for hook in hooks] == [False, True, True]


def test_blocks_that_are_never_called_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="leaf_level"):
        made("videocrafter").enable_group_offload("cpu", offload_type="block_level", num_blocks_per_group=1)


def test_options_are_what_they_say() -> None:
    assert MemoryOptions().offloading("cuda") == "none" and MemoryOptions().recorded() == {}
    low = MemoryOptions(low_memory=True, weights_as="fp8")
    assert (low.offloading("cuda"), low.offloading("cpu")) == ("model", "none")
    assert low.recorded() == {"low_memory": True, "weights_as": "fp8"}
    assert MemoryOptions(True, "none").offloading("cuda") == "none"
    with pytest.raises(InvalidInputError, match="runs on cpu, which has no other memory"):
        MemoryOptions(offload="group").checked("cpu")
    for options in ({"offload": "disk"}, {"weights_as": "int4"}):
        with pytest.raises(UnknownNameError):
            MemoryOptions(**options)
