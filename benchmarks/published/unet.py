"""The published UNet of VideoCrafter with StyleCrafter's dual attention, on the weights of one of ours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.published.layers import (
    Downsample,
    GroupNorm32,
    ResBlock,
    SpatialTransformer,
    TemporalTransformer,
    Upsample,
)
from stylecrafter import StyleAdapter, VideoCrafterUNet
from stylecrafter.weights.formats.videocrafter_unet import cross_attention_names, published_unet_state


class PublishedUNet(nn.Module):
    """One pass as published: text and style repeated for every frame, keys and values computed anew in every layer.

    Args:
        config: Of a `VideoCrafterUNet`.
        fused: Spatial attention and that to text and style in one call, as with xformers, which the published
            requirements list; False is the published code without it. (There it forgets to scale the logits of the
            style; here it does not, so that the numbers stay the same.)
    """

    def __init__(self, config: Mapping[str, Any], fused: bool) -> None:
        super().__init__()
        channels, attended = list(config["block_out_channels"]), list(config["attention_levels"])
        width, groups, depth = (
            config["attention_head_dim"],
            config["norm_num_groups"],
            config["transformer_layers_per_block"],
        )
        reach = config["max_relative_position"]
        emb = 4 * channels[0]

        def layer(c_in: int, c: int, attention: bool, *after: nn.Module) -> nn.ModuleList:
            parts: list[nn.Module] = [ResBlock(c_in, emb, c, groups)]
            if attention:
                parts.append(
                    SpatialTransformer(c, width, config["cross_attention_dim"], depth, groups, fused)
                )
                parts.append(TemporalTransformer(c, c // width, width, depth, reach, groups))
            return nn.ModuleList([*parts, *after])

        self.time_embed = nn.Sequential(nn.Linear(channels[0], emb), nn.SiLU(), nn.Linear(emb, emb))
        self.input_blocks = nn.ModuleList(
            [nn.ModuleList([nn.Conv2d(config["in_channels"], channels[0], 3, padding=1)])]
        )
        heads, head = config["init_temporal_heads"], config["init_temporal_head_dim"]
        self.init_attn = nn.ModuleList(
            [TemporalTransformer(channels[0], heads, head, depth, reach, groups, linear=False)]
        )
        skips, previous, last = [channels[0]], channels[0], len(channels) - 1
        for level, c in enumerate(channels):
            for _ in range(config["layers_per_block"]):
                self.input_blocks.append(layer(previous, c, attended[level]))
                skips.append(c)
                previous = c
            if level < last:
                self.input_blocks.append(nn.ModuleList([Downsample(c)]))
                skips.append(c)
        self.middle_block = layer(previous, previous, True, ResBlock(previous, emb, previous, groups))
        self.output_blocks = nn.ModuleList()
        for level, c in reversed(list(enumerate(channels))):
            for i in range(config["layers_per_block"] + 1):
                up = [Upsample(c)] if level and i == config["layers_per_block"] else []
                self.output_blocks.append(layer(previous + skips.pop(), c, attended[level], *up))
                previous = c
        self.out = nn.Sequential(
            GroupNorm32(groups, previous),
            nn.SiLU(),
            nn.Conv2d(previous, config["out_channels"], 3, padding=1),
        )

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        text: Tensor,
        style: Tensor | None = None,
        scales: Tensor | None = None,
    ) -> Tensor:
        """Noise in x (b, c, f, h, w) at timesteps (b,), with text (b, l, d), style (b, q, d) and factors (b, L)."""
        b, _, frames, height, width = x.shape
        emb = self.time_embed(sinusoids(timesteps, self.time_embed[0].in_features))
        emb = emb.repeat_interleave(frames, dim=0)
        text = text.repeat_interleave(frames, dim=0)
        style = None if style is None else style.repeat_interleave(frames, dim=0)
        factors = _factors(None if style is None else scales, frames)
        x = x.permute(0, 2, 1, 3, 4).reshape(b * frames, -1, height, width).contiguous()
        skips: list[Tensor] = []
        for i, block in enumerate(self.input_blocks):
            x = run(block, x, emb, text, style, factors, frames)
            if i == 0:
                x = self.init_attn[0](x, frames)
            skips.append(x)
        x = run(self.middle_block, x, emb, text, style, factors, frames)
        for block in self.output_blocks:
            x = run(block, torch.cat([x, skips.pop()], dim=1), emb, text, style, factors, frames)
        x = self.out(x)
        return x.reshape(b, frames, -1, *x.shape[-2:]).permute(0, 2, 1, 3, 4).contiguous()


def run(
    block: Any,
    x: Tensor,
    emb: Tensor,
    text: Tensor,
    style: Tensor | None,
    factors: Iterator[Tensor | None],
    frames: int,
) -> Tensor:
    """The parts of a block, each with what it reads."""
    for part in block:
        if isinstance(part, ResBlock):
            x = part(x, emb)
        elif isinstance(part, SpatialTransformer):
            x = part(x, text, style, [next(factors) for _ in part.transformer_blocks])
        elif isinstance(part, TemporalTransformer):
            x = part(x, frames)
        else:
            x = part(x)
    return x


def published_copy(
    unet: VideoCrafterUNet, adapter: StyleAdapter | None, *, fused: bool = False
) -> PublishedUNet:
    """The published structure on the very tensors of a UNet of ours and its adapter; nothing is copied."""
    config = {**unet.config}
    with torch.device("meta"):
        plain = PublishedUNet(config, fused)
    own = {name: value for name, value in unet.state_dict().items() if ".processor." not in name}
    plain.load_state_dict(published_unet_state(own, config), assign=True)
    if adapter is not None:
        names = cross_attention_names(config)
        layers = dict(zip(adapter.layer_names, adapter.layers, strict=True))
        for published, ours in names.items():
            plain.get_submodule(published).style = layers[ours]
    return plain.eval()


def sinusoids(timesteps: Tensor, width: int) -> Tensor:
    """(b,) -> (b, width), cosines first."""
    steps = torch.arange(width // 2, dtype=torch.float32, device=timesteps.device)
    angles = timesteps[:, None].float() * torch.exp(-math.log(10000) * steps / (width // 2))[None]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def _factors(scales: Tensor | None, frames: int) -> Iterator[Tensor | None]:
    """The factor of every layer (b f, 1, 1), in their order; None for ever without a style."""
    while scales is None:
        yield None
    for column in scales.repeat_interleave(frames, dim=0).unbind(dim=1):
        yield column[:, None, None]
