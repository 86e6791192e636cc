"""The UNet and its dual cross-attention against the published code, tiny and at full size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.pipelines.official import UNET, build_adapter, build_unet, load_temporal
from stylecrafter.weights.formats.checkpoint_files import with_prefix
from stylecrafter.weights.formats.videocrafter_unet import unet_modules
from tests.golden.support import HEADS, Comparison, checkpoint, draw, expected, temporal_checkpoint

SIZES = ["tiny", pytest.param("full", marks=pytest.mark.slow)]


@dataclass
class Golden:
    """One size of the model with its inputs."""

    size: str
    unet: VideoCrafterUNet
    adapter: StyleAdapter

    def run(self, latents: Tensor, steps: list[int], text: Tensor, *style: Tensor) -> Tensor:
        with torch.no_grad():
            return self.unet(latents, torch.tensor(steps), text, *style).sample


@pytest.fixture(scope="module", params=SIZES)
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    heads = HEADS[request.param]
    tensors = with_prefix(checkpoint(request.param, "model", UNET), UNET)
    unet, left_over = build_unet(tensors, heads["attention_head_dim"], copy=False)
    assert left_over == []
    adapter_tensors = checkpoint(request.param, "adapter")
    adapter = build_adapter(adapter_tensors, unet, heads["adapter_num_heads"], copy=False)
    adapter.attach(unet)
    yield Golden(request.param, unet, adapter)


def video_inputs(golden: Golden) -> tuple[list[int], Tensor, Tensor, Tensor, Tensor]:
    """Steps, latents, text, style tokens and scales."""
    layers = golden.adapter.num_layers
    if golden.size == "tiny":
        steps, latents, width = [981, 21], draw("latents", 2, 4, 4, 8, 12), 64
    else:
        steps, latents, width = [781], draw("latents", 1, 4, 16, 8, 16), 1024
    b = len(steps)
    scales = 1 + 0.5 * draw("scale_scalar", b, layers, 1).squeeze(-1)
    return steps, latents, draw("text", b, 77, width), draw("style_tokens", b, 8, width), scales


def test_video(golden: Golden) -> None:
    steps, latents, text, style, scales = video_inputs(golden)
    wanted = expected(f"{golden.size}/unet_video")
    activations, handles = _record(golden.unet, wanted)
    outputs = {"out": golden.run(latents, steps, text, style, scales)}
    for handle in handles:
        handle.remove()
    outputs["out_no_style"] = golden.run(latents, steps, text)
    outputs["out_no_scale"] = golden.run(latents, steps, text, style)
    if golden.size == "tiny":
        longer = draw("latents7", 1, 4, 7, 8, 12)
        outputs["out_7frames"] = golden.run(longer, steps[:1], text[:1], style[:1], scales[:1])
    comparison = Comparison(1e-5)
    comparison.add_all(outputs | activations, wanted)
    if golden.size == "full":
        larger = golden.run(draw("latents16", 1, 4, 16, 16, 16), steps, text, style, scales)
        comparison.add("16x16.out", larger, expected("full/unet_video_16x16")["out"])
    comparison.check()


def test_picture(golden: Golden) -> None:
    wanted = expected(f"{golden.size}/unet_image")
    if golden.size == "tiny":
        steps, _, text, style, scales = video_inputs(golden)
        latents = draw("latents_image", 2, 4, 1, 8, 12)
    else:
        steps, latents = [981, 21], draw("latents_image", 2, 4, 1, 16, 8)
        text, style = draw("text_image", 2, 77, 1024), draw("style_image", 2, 8, 1024)
        scales = 1 + 0.5 * draw("scale_image", 2, golden.adapter.num_layers, 1).squeeze(-1)
    outputs = {
        "out": golden.run(latents, steps, text, style, scales),
        "out_no_style": golden.run(latents, steps, text),
        "out_no_scale": golden.run(latents, steps, text, style),
    }
    comparison = Comparison(1e-5)
    comparison.add_all(outputs, wanted)
    comparison.check()


def test_dual_cross_attention(golden: Golden) -> None:
    wanted = expected(f"{golden.size}/dual_cross_attention")
    modules = unet_modules(golden.unet.config)
    width = golden.unet.config["cross_attention_dim"]
    outputs = {}
    for name in ("input_blocks.1.1", "middle_block.1"):
        attention = golden.unet.get_submodule(f"{modules[name]}.transformer_blocks.0.attn2")
        queries = draw(f"q.{name}", 2, 24, wanted[f"{name}.out"].shape[-1])
        text, style = draw(f"text.{name}", 2, 77, width), draw(f"style.{name}", 2, 8, width)
        scales = 1 + 0.5 * draw(f"scale.{name}", 2, golden.adapter.num_layers, 1).squeeze(-1)
        with torch.no_grad():
            outputs[f"{name}.out"] = attention(queries, text, style_tokens=style, style_scales=scales)
            outputs[f"{name}.out_no_scale"] = attention(queries, text, style_tokens=style)
            outputs[f"{name}.out_no_style"] = attention(queries, text)
    comparison = Comparison(1e-5)
    comparison.add_all(outputs, wanted)
    comparison.check()


def test_temporal_checkpoint(golden: Golden) -> None:
    steps, latents, text, style, scales = video_inputs(golden)
    before = {name: module.state_dict() for name, module in golden.unet.temporal_modules()}
    load_temporal(golden.unet, temporal_checkpoint(golden.size))
    outputs = {"out": golden.run(latents, steps, text, style, scales)}
    for name, module in golden.unet.temporal_modules():
        module.load_state_dict(before[name], assign=True)
    comparison = Comparison(1e-5)
    comparison.add_all(outputs, expected(f"{golden.size}/unet_video_temporal"))
    comparison.check()


def _record(
    unet: VideoCrafterUNet, wanted: dict[str, Tensor]
) -> tuple[dict[str, Tensor], list[torch.utils.hooks.RemovableHandle]]:
    """Record the outputs of the published blocks named `act.*`, as much of them as is stored."""
    modules = unet_modules(unet.config)
    activations: dict[str, Tensor] = {}
    handles = []
    for name in (key for key in wanted if key.startswith("act.")):
        # A published block is a sequence; ours that ends it gives its output.
        last = [ours for published, ours in modules.items() if published.startswith(f"{name[4:]}.")][-1]

        def hook(module: object, args: object, output: Tensor, name: str = name) -> None:
            if output.ndim == 4 and wanted[name].shape[0] != output.shape[0]:
                output = output[[0, 5, 10, 15], :4]
            activations[name] = output

        handles.append(unet.get_submodule(last).register_forward_hook(hook))
    return activations, handles
