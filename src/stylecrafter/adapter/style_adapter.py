"""The style adapter: extractor, scale predictor and the style side of every cross-attention layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack, cast

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn

from stylecrafter.adapter.adapter_card import adapter_card
from stylecrafter.adapter.adapter_options import (
    AdapterOptions,
    ExtractorType,
    FusionType,
    ScaleType,
    check_options,
)
from stylecrafter.adapter.attach_to_text import AttachToTextProcessor
from stylecrafter.adapter.dual_attention import DualCrossAttentionProcessor, StyleKeyValue
from stylecrafter.adapter.pooled_extractors import mlp_extractor, transformer_extractor
from stylecrafter.adapter.query_transformer import QueryTransformer
from stylecrafter.adapter.scale_predictor import ScalePredictor, check_conditions
from stylecrafter.adapter.scales import Scale, frame_scales, layer_scales
from stylecrafter.adapter.style_processor import StyleAttentionProcessor, StyleBlindProcessor
from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.weights.hub import HubCard, PushedWithCard
from stylecrafter.weights.loading import StrictWeights


@dataclass(frozen=True)
class _Attachment:
    """The model an adapter is attached to and the processors that stood there before."""

    module: nn.Module
    originals: dict[str, Any]
    styled: dict[str, StyleAttentionProcessor]


def cross_attention_layers(module: nn.Module) -> dict[str, Attention]:
    """Name -> module of all cross-attention layers (diffusers `Attention`), in registration order."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, Attention) and layer.is_cross_attention
    }


class StyleAdapter(PushedWithCard, StrictWeights, ModelMixin, ConfigMixin):
    """Style for any diffusers model with cross-attention, trained while that model stays frozen.

    Args:
        image_dim: Width of the image encoder's tokens.
        text_dim: Width of the text embeddings, and of the style tokens.
        layer_names: Names of the cross-attention modules in the model, in the order of the scales.
        layer_dims: Inner width (heads x head width) of each of these layers.
        num_style_tokens: Style tokens per sample.
        extractor_layers: Blocks of the extractor.
        extractor_heads: Heads of the extractor, which divide `image_dim`; without effect on the MLP.
        scale_layers: Blocks of the scale predictor.
        scale_heads: Heads of the scale predictor; divides `text_dim`.
        scale_head_dim: Hidden width of the scale predictor's last two layers.
        extractor_type: What reads the style out of image tokens: "query", the paper's learned queries, or one of
            the alternatives of its table S8, "transformer" and "mlp" (`pooled_extractors`).
        fusion_type: "dual", a second attention per layer for the style (equation 1), or "attach_to_text", style
            tokens behind the text's (the paper's ablation; `AttachToTextProcessor`).
        scale_type: "predicted" factors of the layers, from style and text, or "fixed" ones of 1 (the paper's
            ablation "w/o adaptive fusion"). What belongs to the other choice has no weights here.

    Raises:
        UnknownNameError: No such extractor, fusion or kind of scales.
        InvalidInputError: Sizes below 1, or not one width per layer.
    """

    @register_to_config
    def __init__(
        self,
        image_dim: int,
        text_dim: int,
        layer_names: Sequence[str],
        layer_dims: Sequence[int],
        num_style_tokens: int = 8,
        extractor_layers: int = 3,
        extractor_heads: int = 8,
        scale_layers: int = 2,
        scale_heads: int = 8,
        scale_head_dim: int = 32,
        extractor_type: ExtractorType = "query",
        fusion_type: FusionType = "dual",
        scale_type: ScaleType = "predicted",
    ) -> None:
        super().__init__()
        check_options(
            {
                "num_style_tokens": num_style_tokens,
                "extractor_layers": extractor_layers,
                "extractor_heads": extractor_heads,
                "scale_layers": scale_layers,
                "scale_heads": scale_heads,
                "scale_head_dim": scale_head_dim,
                "extractor_type": extractor_type,
                "fusion_type": fusion_type,
                "scale_type": scale_type,
            }
        )
        if not layer_names or len(layer_names) != len(layer_dims):
            raise InvalidInputError(
                f"need one width per layer and at least one layer, got {len(layer_names)} names and "
                f"{len(layer_dims)} widths"
            )
        self.layer_names = tuple(layer_names)
        shape = (image_dim, text_dim, extractor_heads, num_style_tokens, extractor_layers)
        self.extractor: nn.Module
        if extractor_type == "query":
            self.extractor = QueryTransformer(*shape)
        elif extractor_type == "transformer":
            self.extractor = transformer_extractor(*shape)
        else:
            self.extractor = mlp_extractor(image_dim, text_dim, num_style_tokens, extractor_layers)
        self.scale_predictor: ScalePredictor | None = None
        if scale_type == "predicted":
            self.scale_predictor = ScalePredictor(
                text_dim, scale_heads, len(layer_names), scale_layers, scale_head_dim
            )
        #: What each layer learns; empty where the style goes through the base's own keys and values.
        self.layers = nn.ModuleList(
            StyleKeyValue(text_dim, dim) for dim in layer_dims if fusion_type == "dual"
        )
        self._attachment: _Attachment | None = None
        self._layer_scales: tuple[float, ...] = (1.0,) * len(self.layer_names)
        self._frame_scales: tuple[float, ...] | None = None

    @classmethod
    def for_model(
        cls,
        module: nn.Module,
        image_dim: int,
        layers: Mapping[str, Attention] | None = None,
        **options: Unpack[AdapterOptions],
    ) -> StyleAdapter:
        """Build a fresh adapter that fits `module`: one layer per cross-attention.

        The style keys and values of dual fusion start as copies of the text's (keys from keys, values from values).

        Args:
            module: A model with diffusers cross-attention layers of one text width.
            image_dim: Width of the image encoder's tokens.
            layers: Name -> cross-attention of the model, in the order of the scales; None: found by type.
            **options: Other arguments of the constructor (`num_style_tokens`, `fusion_type`, ...).

        Raises:
            InvalidInputError: The model has no cross-attention, or layers of several text widths; or see the class.
            UnknownNameError: An option that does not exist; or see the class.
        """
        check_options(options)
        found = cross_attention_layers(module) if layers is None else layers
        if not found:
            raise InvalidInputError(f"{type(module).__name__} has no cross-attention layer to attach to")
        text_dims = sorted({layer.cross_attention_dim for layer in found.values()})
        if len(text_dims) > 1:
            raise InvalidInputError(f"cross-attention layers read texts of different widths: {text_dims}")
        dims = [layer.to_k.out_features for layer in found.values()]
        adapter = cls(image_dim, text_dims[0], tuple(found), tuple(dims), **options)
        with torch.no_grad():
            # Style that is attached to the text brings no layers to copy to.
            for own, name in zip(adapter.layers, adapter.layer_names, strict=False):
                own.to_k.weight.copy_(found[name].to_k.weight)
                own.to_v.weight.copy_(found[name].to_v.weight)
        return adapter

    @property
    def options(self) -> AdapterOptions:
        """What it was built with, less what follows from the models around it: as `for_model` takes it."""
        return cast("AdapterOptions", {name: self.config[name] for name in AdapterOptions.__annotations__})

    @property
    def num_layers(self) -> int:
        """L, the number of layers that read the style."""
        return len(self.layer_names)

    @property
    def attached(self) -> bool:
        """Whether the adapter is attached to a model."""
        return self._attachment is not None

    def forward(
        self, image_tokens: Tensor, text_embeds: Tensor, token_weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`encode`, then `predict_scales`: style tokens (b, q, text_dim) and factors (b, L)."""
        style_tokens = self.encode(image_tokens, token_weights)
        return style_tokens, self.predict_scales(style_tokens, text_embeds)

    def encode(self, image_tokens: Tensor, token_weights: Tensor | None = None) -> Tensor:
        """Style tokens (b, q, text_dim) from image tokens (b, n, image_dim).

        Args:
            image_tokens: The tokens of all pictures of a sample, one picture after the other.
            token_weights: (b, n), >= 0; weight 2 is the token given twice, 0 the token left out.

        Raises:
            InvalidInputError: Shapes that do not fit, negative weights, or a sample of weights 0 alone.
        """
        return self.extractor(image_tokens, token_weights)

    def predict_scales(self, style_tokens: Tensor, text_embeds: Tensor) -> Tensor:
        """Factor of every layer (b, L) from style tokens (b, q, text_dim) and text embeddings (b, l, text_dim).

        1 + tanh(.), in (0, 2), where factors are predicted; 1 where they are fixed.

        Raises:
            InvalidInputError: Shapes that do not fit.
        """
        if self.scale_predictor is not None:
            return self.scale_predictor(style_tokens, text_embeds)
        check_conditions(style_tokens, text_embeds, self.config["text_dim"])
        return style_tokens.new_ones(style_tokens.shape[0], self.num_layers)

    def set_scale(self, scale: Scale = 1.0, frames: Iterable[float] | None = None) -> None:
        """Set how strongly the layers and frames follow the style; every call sets all of them anew.

        Factors multiply what the style adds to a layer's attention, in every fusion: 0 is the base bit for bit.

        Args:
            scale: One factor for all layers; or one per layer (L numbers); or a mapping from layer names or
                dotted prefixes of them to factors: the longest match counts, layers without one have 1
                ("" matches every layer).
            frames: One factor per frame, multiplied with the layer's, or None for 1 in all frames.

        Raises:
            InvalidInputError: No finite numbers, or not one per layer.
            UnknownNameError: A name that no layer has.
        """
        per_layer = layer_scales(scale, self.layer_names)
        per_frame = None if frames is None else frame_scales(frames)
        self._layer_scales, self._frame_scales = per_layer, per_frame
        self._push_scales()

    def attach(self, module: nn.Module) -> StyleAdapter:
        """Take part in the cross-attention of `module`; its weights and state dict stay as they are.

        Afterwards the model takes `style_tokens` and `style_scales` (diffusers models: in
        `cross_attention_kwargs`); without them it computes what it did before.

        Raises:
            InvalidInputError: Already attached, or the model's layers do not fit.
            UnknownNameError: A layer that the model does not have.
        """
        if self._attachment is not None:
            owner = type(self._attachment.module).__name__
            raise InvalidInputError(f"the adapter is already attached to a {owner}; call detach() first")
        owners = {
            name: layer
            for name, layer in module.named_modules()
            if hasattr(layer, "set_processor") and hasattr(layer, "get_processor")
        }
        self._check_fit(module, owners)
        index = {name: i for i, name in enumerate(self.layer_names)}
        originals: dict[str, Any] = {}
        styled: dict[str, StyleAttentionProcessor] = {}
        for name, owner in owners.items():
            originals[name] = owner.get_processor()
            if name in index:
                styled[name] = self._processor(index[name], originals[name])
                owner.set_processor(styled[name])
            elif not isinstance(originals[name], nn.Module):
                # One with weights stays where it is: behind another, they would leave the model's state dict.
                owner.set_processor(StyleBlindProcessor(originals[name]))
        self._attachment = _Attachment(module, originals, styled)
        self._push_scales()
        return self

    def detach(self) -> None:
        """Give the model back the processors it had.

        Raises:
            InvalidInputError: The adapter is not attached.
        """
        if self._attachment is None:
            raise InvalidInputError("the adapter is not attached to a model; call attach(model) first")
        for name, processor in self._attachment.originals.items():
            owner: Any = self._attachment.module.get_submodule(name)
            owner.set_processor(processor)
        self._attachment = None

    def is_attached_to(self, module: nn.Module) -> bool:
        """Whether the adapter takes part in the cross-attention of this very model."""
        return self._attachment is not None and self._attachment.module is module

    def hub_card(
        self, repo_id: str, license: str | None = None, base_model: str | None = None, training: str = ""
    ) -> HubCard:
        """What its page on the hub says; see `push_to_hub`."""
        return adapter_card(self, repo_id, license, base_model, training)

    def _processor(self, index: int, base: Any) -> StyleAttentionProcessor:
        if self.config["fusion_type"] == "attach_to_text":
            return AttachToTextProcessor(index, self.num_layers, base)
        layer = cast(StyleKeyValue, self.layers[index])
        return DualCrossAttentionProcessor(layer, index, self.num_layers, base)

    def _check_fit(self, module: nn.Module, owners: Mapping[str, Any]) -> None:
        # Also one at other layers: its processors would be kept from the style like all that know none.
        taken = [n for n, o in owners.items() if isinstance(o.get_processor(), StyleAttentionProcessor)]
        if taken:
            raise InvalidInputError(f"another adapter is attached at layer {taken[0]}; detach that one first")
        for name, dim in zip(self.layer_names, self.config["layer_dims"], strict=True):
            if name not in owners:
                known = cross_attention_layers(module)
                raise unknown_name(f"layer of {type(module).__name__}", name, known)
            owner = owners[name]
            inner, text = owner.to_k.out_features, owner.cross_attention_dim
            if inner != dim or text != self.config["text_dim"]:
                raise InvalidInputError(
                    f"layer {name} has inner width {inner} and text width {text}, the adapter expects {dim} "
                    f"and {self.config['text_dim']}"
                )
            processor = owner.get_processor()
            if not isinstance(processor, AttnProcessor | AttnProcessor2_0):
                raise InvalidInputError(
                    f"layer {name} has the attention processor {type(processor).__name__}; style "
                    "attention can stand in for AttnProcessor and AttnProcessor2_0 only"
                )

    def _push_scales(self) -> None:
        if self._attachment is None:
            return
        for name, value in zip(self.layer_names, self._layer_scales, strict=True):
            processor = self._attachment.styled[name]
            processor.layer_scale, processor.frame_scales = value, self._frame_scales


# Saved pipelines name a component by its module; the public one outlives moves inside the package.
StyleAdapter.__module__ = "stylecrafter"
