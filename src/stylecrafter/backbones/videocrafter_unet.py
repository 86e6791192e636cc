"""The VideoCrafter text-to-video UNet as a diffusers model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.attention import AttentionMixin
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from diffusers.utils import BaseOutput
from torch import Tensor, nn

from stylecrafter.backbones.inputs import attached_slot, check_shapes, rows_per_frame
from stylecrafter.backbones.spatial import SpatialTransformer
from stylecrafter.backbones.temporal import RelativeTemporalAttention, TemporalTransformer
from stylecrafter.errors import InvalidInputError
from stylecrafter.weights.loading import StrictWeights


@dataclass
class VideoCrafterOutput(BaseOutput):
    """The predicted noise `sample` (b, c, f, h, w)."""

    sample: Tensor


@dataclass(frozen=True)
class _Context:
    """What every layer of one forward call sees."""

    temb: Tensor
    text: Tensor
    style: dict[str, Any]
    num_frames: int
    temporal: bool


class _Stage(nn.Module):
    """One resolution of one path: residual blocks, each followed by spatial and temporal attention."""

    def __init__(
        self,
        resnets: Sequence[nn.Module],
        attentions: Sequence[nn.Module],
        temporals: Sequence[nn.Module],
        downsampler: nn.Module | None = None,
        upsampler: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.attentions = nn.ModuleList(attentions)
        self.temporals = nn.ModuleList(temporals)
        self.downsamplers = nn.ModuleList([downsampler] if downsampler is not None else [])
        self.upsamplers = nn.ModuleList([upsampler] if upsampler is not None else [])


class VideoCrafterUNet(StrictWeights, ModelMixin, ConfigMixin, AttentionMixin, PeftAdapterMixin):
    """Text-to-video UNet with relative-position temporal attention (published `UNetModel`, `UNet2DModel`).

    A clip runs through all layers; with `temporal=False` the temporal layers are left out and every frame is
    a picture of its own. Sizes need not be multiples of the total downsampling. Low-rank matrices go in as into any
    model of diffusers (`add_adapter`, `load_lora_adapter`, `set_adapters`; needs peft), beside a style adapter.

    Args:
        in_channels: Latent channels in.
        out_channels: Latent channels out.
        block_out_channels: Channels per resolution, from fine to coarse; multiples of `norm_num_groups`.
        attention_levels: Which resolutions have spatial and temporal attention (the middle always has).
        layers_per_block: Residual blocks per resolution on the way down; one more on the way up.
        transformer_layers_per_block: Blocks per transformer.
        attention_head_dim: Width of an attention head; divides the channels of levels with attention.
        cross_attention_dim: Width of the text embeddings.
        norm_num_groups: Groups of all group norms.
        max_relative_position: Largest distance in frames with its own relative position.
        init_temporal_heads: Heads of the temporal transformer after the first convolution.
        init_temporal_head_dim: Width of a head there.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["ResnetBlock2D", "SpatialTransformer", "TemporalTransformer"]

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 4,
        block_out_channels: Sequence[int] = (320, 640, 1280, 1280),
        attention_levels: Sequence[bool] = (True, True, True, False),
        layers_per_block: int = 2,
        transformer_layers_per_block: int = 1,
        attention_head_dim: int = 64,
        cross_attention_dim: int = 1024,
        norm_num_groups: int = 32,
        max_relative_position: int = 16,
        init_temporal_heads: int = 8,
        init_temporal_head_dim: int = 64,
    ) -> None:
        super().__init__()
        _check_sizes(block_out_channels, attention_levels, attention_head_dim, norm_num_groups)
        channels = tuple(block_out_channels)
        temb_dim = 4 * channels[0]

        def resnet(c_in: int, c_out: int) -> ResnetBlock2D:
            return ResnetBlock2D(
                in_channels=c_in, out_channels=c_out, temb_channels=temb_dim, groups=norm_num_groups, eps=1e-5
            )

        def spatial(c: int) -> SpatialTransformer:
            return SpatialTransformer(
                c, attention_head_dim, cross_attention_dim, transformer_layers_per_block, norm_num_groups
            )

        def temporal(
            c: int, heads: int | None = None, head_dim: int = attention_head_dim
        ) -> TemporalTransformer:
            return TemporalTransformer(
                c,
                heads if heads is not None else c // head_dim,
                head_dim,
                transformer_layers_per_block,
                max_relative_position,
                norm_num_groups,
            )

        def stage(widths: Sequence[tuple[int, int]], attention: bool, **samplers: nn.Module | None) -> _Stage:
            attended = [c_out for _, c_out in widths] if attention else []
            return _Stage(
                [resnet(*width) for width in widths],
                [spatial(c) for c in attended],
                [temporal(c) for c in attended],
                **samplers,
            )

        self.time_proj = Timesteps(channels[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(channels[0], temb_dim)
        self.conv_in = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        self.init_temporal = temporal(channels[0], init_temporal_heads, init_temporal_head_dim)

        self.down_blocks = nn.ModuleList()
        skips = [channels[0]]
        previous = channels[0]
        last = len(channels) - 1
        for level, c in enumerate(channels):
            widths = [(previous if i == 0 else c, c) for i in range(layers_per_block)]
            down = None if level == last else Downsample2D(c, use_conv=True, name="op")
            self.down_blocks.append(stage(widths, attention_levels[level], downsampler=down))
            skips += [c] * (layers_per_block + (down is not None))
            previous = c
        self.mid_block = stage([(previous, previous)] * 2, attention=False)
        self.mid_block.attentions.append(spatial(previous))
        self.mid_block.temporals.append(temporal(previous))
        self.up_blocks = nn.ModuleList()
        for level, c in reversed(list(enumerate(channels))):
            widths = [((previous if i == 0 else c) + skips.pop(), c) for i in range(layers_per_block + 1)]
            up = None if level == 0 else Upsample2D(c, use_conv=True)
            self.up_blocks.append(stage(widths, attention_levels[level], upsampler=up))
            previous = c

        self.conv_norm_out = nn.GroupNorm(norm_num_groups, channels[0], eps=1e-5)
        self.conv_act = nn.SiLU()
        self.conv_out = nn.Conv2d(channels[0], out_channels, 3, padding=1)
        for parameter in self.conv_out.parameters():
            nn.init.zeros_(parameter)
        self.gradient_checkpointing = False

    def enable_group_offload(
        self,
        onload_device: torch.device,
        offload_device: torch.device = torch.device("cpu"),  # noqa: B008  # as diffusers has it
        offload_type: str = "block_level",
        *args: Any,
        **options: Any,
    ) -> None:
        """As any model of diffusers, by layers.

        Raises:
            InvalidInputError: By blocks: they are never called as a whole, so that nothing would fetch their weights.
        """
        if offload_type != "leaf_level":
            raise InvalidInputError(
                f"a VideoCrafter UNet leaves the device by layers: offload_type='leaf_level', not {offload_type!r}"
            )
        super().enable_group_offload(onload_device, offload_device, offload_type, *args, **options)

    def temporal_modules(self) -> Iterator[tuple[str, TemporalTransformer]]:
        """Name and module of all temporal transformers, the one after the first convolution included."""
        for name, module in self.named_modules():
            if isinstance(module, TemporalTransformer):
                yield name, module

    def stretch_time(self, factor: float) -> None:
        """Let the temporal layers take clips of so many times the frames for those that they have learned.

        Args:
            factor: At least 1 (`RelativeTemporalAttention.stretch_positions`).

        Raises:
            InvalidInputError: It is below 1 or not finite.
        """
        if not 1 <= factor < float("inf"):
            raise InvalidInputError(f"time is stretched by a factor of at least 1, got {factor}")
        for _, transformer in self.temporal_modules():
            for module in transformer.modules():
                if isinstance(module, RelativeTemporalAttention):
                    module.stretch_positions(factor)

    def temporal_parameters(self) -> Iterator[nn.Parameter]:
        """Everything that stage 2 trains: the parameters of all temporal transformers."""
        for _, module in self.temporal_modules():
            yield from module.parameters()

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float | int,
        encoder_hidden_states: Tensor,
        style_tokens: Tensor | None = None,
        style_scales: Tensor | None = None,
        temporal: bool | None = None,
        return_dict: bool = True,
    ) -> VideoCrafterOutput | tuple[Tensor]:
        """Predict the noise in `sample`.

        Args:
            sample: Noisy latents (b, c, f, h, w).
            timestep: One step for all samples or one per sample (b), 0 to 999.
            encoder_hidden_states: Text embeddings (b, l, cross_attention_dim).
            style_tokens: Style (b, q, cross_attention_dim) for an attached `StyleAdapter`, or one for every frame
                (b, f, q, cross_attention_dim); None leaves the adapter out.
            style_scales: Factors per layer (b, L) or per frame and layer (b, f, L); None: 1.
            temporal: Whether the temporal layers run; None: if there is more than one frame.
            return_dict: False returns a tuple.

        Raises:
            InvalidInputError: Shapes that do not fit, or a style without an attached adapter.
        """
        channels, width = self.config["in_channels"], self.config["cross_attention_dim"]
        check_shapes(
            sample, channels, encoder_hidden_states, width, style_tokens, style_scales, style_per_frame=True
        )
        if style_tokens is not None:
            attached_slot(self)
        b, _, f, h, w = sample.shape
        timesteps = torch.as_tensor(timestep, device=sample.device).reshape(-1)
        if timesteps.shape[0] not in (1, b):
            raise InvalidInputError(f"need one timestep or {b}, got {timesteps.shape[0]}")
        temb = self.time_embedding(self.time_proj(timesteps).to(self.dtype)).expand(b, -1)
        style: dict[str, Any] = {}
        text, frames_per_row = encoder_hidden_states, f
        if style_tokens is not None:
            if style_tokens.ndim == 4:
                text, style_tokens, style_scales = rows_per_frame(text, style_tokens, style_scales)
                frames_per_row = 1
            style = {"style_tokens": style_tokens, "style_scales": style_scales, "num_frames": frames_per_row}
        context = _Context(
            temb=temb.repeat_interleave(f, dim=0),
            text=text,
            style=style,
            num_frames=f,
            temporal=f > 1 if temporal is None else temporal,
        )

        x = self.conv_in(sample.transpose(1, 2).reshape(b * f, -1, h, w))
        if context.temporal:
            x = self._run(self.init_temporal, x, f)
        skips = [x]
        for block in _stages(self.down_blocks):
            for i in range(len(block.resnets)):
                x = self._layer(block, i, x, context)
                skips.append(x)
            for downsampler in block.downsamplers:
                x = downsampler(x)
                skips.append(x)
        x = self._layer(self.mid_block, 0, x, context)
        x = self._run(self.mid_block.resnets[1], x, context.temb)
        for block in _stages(self.up_blocks):
            for i in range(len(block.resnets)):
                x = self._layer(block, i, torch.cat([x, skips.pop()], dim=1), context)
            for upsampler in block.upsamplers:
                x = upsampler(x, output_size=skips[-1].shape[-2:])
        x = self.conv_out(self.conv_act(self.conv_norm_out(x)))
        x = x.view(b, f, -1, h, w).transpose(1, 2)
        return VideoCrafterOutput(sample=x) if return_dict else (x,)

    def _layer(self, block: _Stage, index: int, x: Tensor, context: _Context) -> Tensor:
        """Residual block number `index` of a stage and the attention after it."""
        x = self._run(block.resnets[index], x, context.temb)
        if len(block.attentions) > index:
            x = self._run(block.attentions[index], x, context.text, context.style)
            if context.temporal:
                x = self._run(block.temporals[index], x, context.num_frames)
        return x

    def _run(self, module: nn.Module, *args: Any) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(module, *args)
        return module(*args)


def _stages(blocks: nn.ModuleList) -> Iterator[_Stage]:
    return cast("Iterator[_Stage]", iter(blocks))


def _check_sizes(channels: Sequence[int], attention: Sequence[bool], head_dim: int, groups: int) -> None:
    if not channels or len(channels) != len(attention):
        raise InvalidInputError(
            f"need one attention flag per resolution, got {len(channels)} widths and {len(attention)} flags"
        )
    for c in channels:
        if c % groups:
            raise InvalidInputError(f"channels {c} are not a multiple of the {groups} groups of the norms")
    attended = [c for c, flag in zip(channels, attention, strict=True) if flag] + [channels[-1]]
    for c in attended:
        if c % head_dim:
            raise InvalidInputError(f"channels {c} are not a multiple of the head width {head_dim}")


# Saved pipelines name a component by its module; the public one outlives moves inside the package.
VideoCrafterUNet.__module__ = "stylecrafter"
