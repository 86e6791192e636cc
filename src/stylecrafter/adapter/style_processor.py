"""What the attention processors of all fusions share: shapes, queries, factors, and the way out of the layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stylecrafter.adapter.style_slot import GivenStyle, StyleSlot
from stylecrafter.errors import InvalidInputError


@dataclass(frozen=True)
class ActingStyle:
    """One style, and how much it counts in a layer.

    Attributes:
        tokens: (b, q, d); the n / b entries of one sample follow each other.
        factor: One number, or (b, 1 or frames, 1 or queries, 1) in the type of the queries.
    """

    tokens: Tensor
    factor: Tensor | float

    def per_frame(self, x: Tensor) -> Tensor:
        """View (n, t, w) as (b, 1 or frames, queries, w), on which a tensor `factor` is broadcast."""
        frames = self.factor.shape[1] if isinstance(self.factor, Tensor) else 1
        return x.view(self.tokens.shape[0], frames, -1, x.shape[-1])


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a cross-attention layer, as far as it is the same for every fusion."""

    attn: Any
    query: Tensor
    """(n, heads, t, head width)."""
    keys: Callable[[Tensor], tuple[Tensor, Tensor]]
    """The layer's own keys and values of a context (n, l, d): (n, heads, l, width) each."""
    context: Tensor
    """The text (n, l, d), normalised where the layer does so."""
    mask: Tensor | None
    """Added to the logits of the text, broadcastable to (n, heads, t, l); or boolean."""
    styles: tuple[ActingStyle, ...]
    """One, or as many as there are masks: what they add is added up."""

    def heads(self, x: Tensor) -> Tensor:
        """(m, k, heads width) -> (m, heads, k, width)."""
        return split_heads(x, self.attn.heads)

    def attend(self, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """What the layer's queries read off keys and values (n, heads, k, width): (n, t, heads width)."""
        out = F.scaled_dot_product_attention(self.query, key, value, attn_mask=mask)
        n, heads, t, width = out.shape
        return out.transpose(1, 2).reshape(n, t, heads * width)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(n, t, heads width) -> (n, heads, t, width)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class StyleAttentionProcessor(ABC):
    """Attention processor of one cross-attention layer; a plain object, so it adds no weights to the model.

    Without style tokens, or at scale 0, the replaced processor runs, unchanged.

    Args:
        index: Position of this layer in `style_scales`.
        num_layers: L, the length of `style_scales`.
        base: The processor that this one stands in for.
        slot: Where a style may lie that the layer is not handed.
    """

    def __init__(
        self, index: int, num_layers: int, base: Callable[..., Tensor], slot: StyleSlot | None = None
    ) -> None:
        self.index = index
        self.num_layers = num_layers
        self.base = base
        self.slot = StyleSlot() if slot is None else slot
        self.layer_scale = 1.0
        self.frame_scales: tuple[float, ...] | None = None

    @abstractmethod
    def fuse(self, call: Call) -> Tensor:
        """Attend to text and style: (n, t, heads · width), before the layer's output projection."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        style_tokens: Tensor | None = None,
        style_scales: Tensor | None = None,
        num_frames: int | None = None,
    ) -> Tensor:
        """Attend to the text and, if given, to the style.

        Args:
            attn: The diffusers `Attention` module.
            hidden_states: (n, t, c), or (n, c, h, w) where the module takes maps. n is a multiple of the
                styles' batch b: the n / b entries of one sample follow each other (frames of a clip).
            encoder_hidden_states: Text (n, l, d).
            attention_mask: As in diffusers, for the text only.
            temb: As in diffusers.
            style_tokens: (b, q, d), or None for the base attention.
            style_scales: (b, L) or per frame (b, f, L); None: factor 1.
            num_frames: Frames within one sample, if they lie in the token axis; None: n / b.

        Raises:
            InvalidInputError: Shapes that do not fit.
        """
        style = self._style(style_tokens, style_scales, num_frames)
        if style is None:
            return self.base(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        residual = hidden_states
        if attn.spatial_norm is not None:
            hidden_states = attn.spatial_norm(hidden_states, temb)
        map_shape = hidden_states.shape if hidden_states.ndim == 4 else None
        if map_shape is not None:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        n, t, _ = hidden_states.shape
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if attention_mask is not None:
            attention_mask = attn.prepare_attention_mask(attention_mask, context.shape[1], n)
            attention_mask = attention_mask.view(n, attn.heads, -1, attention_mask.shape[-1])
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        query = attn.to_q(hidden_states)
        if encoder_hidden_states is not None and attn.norm_cross:
            context = attn.norm_encoder_hidden_states(context)

        def keys(context: Tensor) -> tuple[Tensor, Tensor]:
            key, value = (split_heads(to(context), attn.heads) for to in (attn.to_k, attn.to_v))
            return (key if attn.norm_k is None else attn.norm_k(key)), value

        q = split_heads(query, attn.heads)
        call = Call(
            attn=attn,
            query=q if attn.norm_q is None else attn.norm_q(q),
            keys=keys,
            context=context,
            mask=attention_mask,
            styles=self._acting(style, n, t, query),
        )
        out = attn.to_out[1](attn.to_out[0](self.fuse(call).to(query.dtype)))
        if map_shape is not None:
            out = out.transpose(1, 2).reshape(map_shape)
        if attn.residual_connection:
            out = out + residual
        return out if attn.rescale_output_factor == 1.0 else out / attn.rescale_output_factor

    def _style(
        self, tokens: Tensor | None, scales: Tensor | None, num_frames: int | None
    ) -> GivenStyle | None:
        """What the layer was handed, or what lies in the slot; None where no style acts here."""
        if self.layer_scale == 0.0:
            return None
        return self.slot.style if tokens is None else GivenStyle(tokens, scales, num_frames)

    def _acting(self, style: GivenStyle, n: int, t: int, like: Tensor) -> tuple[ActingStyle, ...]:
        """The style with the product of all factors; or those of the masks' regions, each with its own.

        Args:
            style: For the b samples of this call.
            n: Entries of the call, t tokens each.
            t: See n.
            like: Gives device and dtype.

        Raises:
            InvalidInputError: Shapes that do not fit.
        """
        tokens, regions = style.tokens, self.slot.regions
        b, count = tokens.shape[0], 1 if regions is None else regions.count
        if tokens.ndim != 3 or b == 0 or n % b or tokens.shape[1] % count:
            several = f" that {count} regions share evenly" if count > 1 else ""
            raise InvalidInputError(
                f"style tokens must be (batch, tokens, width) with a batch that divides {n}{several}, "
                f"got {tuple(tokens.shape)}"
            )
        frames, queries = style.num_frames or n // b, n // b * t
        factors = self._factors(style.scales, b, frames, count, like)
        if regions is None:
            per_frame = factors[0].shape[1] if isinstance(factors[0], Tensor) else 1
            if queries % per_frame:
                raise InvalidInputError(f"{queries} tokens per sample are no {per_frame} frames")
            return (ActingStyle(tokens, factors[0]),)
        masks = regions.of_samples(b, frames, queries, like)
        parts = tokens.chunk(count, dim=1)
        return tuple(
            ActingStyle(part, masks[:, r, :, :, None] * factor)
            for r, (part, factor) in enumerate(zip(parts, factors, strict=True))
        )

    def _factors(
        self, scales: Tensor | None, b: int, frames: int, count: int, like: Tensor
    ) -> list[Tensor | float]:
        """The product of all factors of each of `count` styles: one number, or (b, 1 or frames, 1, 1)."""
        total = self.num_layers * count
        if scales is not None:
            wanted = (b, total), (b, frames, total)
            if tuple(scales.shape) not in wanted:
                raise InvalidInputError(
                    f"style scales must be {wanted[0]}, or {wanted[1]} with one per frame, got {tuple(scales.shape)}"
                )
        if self.frame_scales is not None and len(self.frame_scales) != frames:
            raise InvalidInputError(
                f"set_scale was given {len(self.frame_scales)} frame scales, the clip has {frames} frames"
            )
        places = range(self.index, total, self.num_layers)
        return [
            self._product(None if scales is None else scales[..., i].reshape(b, -1), b, like) for i in places
        ]

    def _product(self, factor: Tensor | None, b: int, like: Tensor) -> Tensor | float:
        """A factor (b, 1 or frames) of this layer times those of `set_scale`."""
        if self.frame_scales is not None:
            per_frame = torch.tensor(self.frame_scales, device=like.device, dtype=like.dtype)
            factor = per_frame.expand(b, -1) if factor is None else factor * per_frame
        if factor is None:
            return self.layer_scale
        if self.layer_scale != 1.0:
            factor = factor * self.layer_scale
        return factor.to(like.dtype)[:, :, None, None]


class StyleBlindProcessor:
    """Stands before a processor that knows nothing of styles, and keeps the style arguments from it.

    diffusers hands `cross_attention_kwargs` to every attention of a block; without this, each layer outside
    the adapter would warn about them in every step.
    """

    def __init__(self, base: Callable[..., Tensor]) -> None:
        self.base = base

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        style_tokens: Tensor | None = None,
        style_scales: Tensor | None = None,
        num_frames: int | None = None,
    ) -> Tensor:
        """Run the base attention."""
        return self.base(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
