"""The style adapter: extractor, scale predictor and the style side of every cross-attention layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack, cast

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn

from stylecrafter.adapter.adapter_card import adapter_card
from stylecrafter.adapter.adapter_options import (
    AdapterOptions,
    ExtractorType,
    FusionType,
    ImageFeatures,
    NullStyle,
    Preprocessing,
    ScaleType,
    check_options,
)
from stylecrafter.adapter.attach_to_text import AttachToTextProcessor
from stylecrafter.adapter.base_layers import check_fit, cross_attention_layers, norms_all_heads
from stylecrafter.adapter.base_weights import put_into, replace_weights
from stylecrafter.adapter.dual_attention import DualCrossAttentionProcessor, StyleKeyValue
from stylecrafter.adapter.extractors import make_extractor
from stylecrafter.adapter.scale_predictor import ScalePredictor, check_conditions
from stylecrafter.adapter.scales import Scale, frame_scales, layer_scales
from stylecrafter.adapter.style_processor import StyleAttentionProcessor, StyleBlindProcessor
from stylecrafter.adapter.style_slot import StyleSlot
from stylecrafter.adapter.transformer_attention import WanDualAttentionProcessor
from stylecrafter.errors import InvalidInputError
from stylecrafter.weights.hub import HubCard, PushedWithCard
from stylecrafter.weights.loading import StrictWeights


@dataclass(frozen=True)
class _Attachment:
    """The model an adapter is attached to, and the processors and weights that stood there before."""

    module: nn.Module
    originals: dict[str, Any]
    styled: dict[str, StyleAttentionProcessor]
    slot: StyleSlot
    replaced: dict[str, Tensor]


#: Width of the scale predictor where style and text differ in theirs (StyleCrafter-SDXL).
DEFAULT_SCALE_DIM = 512


class StyleAdapter(PushedWithCard, StrictWeights, ModelMixin, ConfigMixin):
    """Style for any diffusers model with cross-attention, trained while that model stays frozen.

    Args:
        image_dim: Width of the image encoder's tokens.
        text_dim: Width of the text embeddings, and of the style tokens where `style_dim` does not say otherwise.
        layer_names: Names of the cross-attention modules in the model, in the order of the scales; None, for
            published files that number them: all that the model has, in the order in which it registers them, known
            once the adapter is attached.
        layer_dims: Inner width (heads x head width) of each of these layers.
        num_style_tokens: Style tokens per sample.
        extractor_layers: Blocks of the extractor.
        extractor_heads: Heads of the extractor, which divide `image_dim`; without effect on the MLP.
        scale_layers: Blocks of the scale predictor.
        scale_heads: Heads of the scale predictor; divides `text_dim`.
        scale_head_dim: Hidden width of the scale predictor's last two layers.
        extractor_type: What reads the style out of image tokens: "query", the paper's learned queries, or one of
            the alternatives of its table S8, "transformer" and "mlp" (`pooled_extractors`), or of IP-Adapter, "linear"
            and "resampler" (`image_prompts`).
        fusion_type: "dual", a second attention per layer for the style (equation 1), or "attach_to_text", style
            tokens behind the text's (the paper's ablation; `AttachToTextProcessor`).
        scale_type: "predicted" factors of the layers, from style and text, or "fixed" ones of 1 (the paper's
            ablation "w/o adaptive fusion"). What belongs to the other choice has no weights here.
        style_dim: Width of the style tokens; None: `text_dim`.
        scale_dim: Width in which the scale predictor works, with maps of style and text to it; None: `text_dim`.
        extractor_dim: Width in which the extractor works, for those that have one of their own; None: `image_dim`.
        key_value_bias: Style keys and values have a bias; with `output_norm` and `key_norm`, see `StyleKeyValue`.
        output_norm: LayerNorm of the style's attention.
        key_norm: RMSNorm of the style's keys.
        image_features: What of the image encoder `encode` reads (`ImageFeatures`).
        null_style: What stands for "no style" in guidance (`NullStyle`).
        preprocessing: What pictures go through before the encoder (`Preprocessing`).
        num_local_tokens: Of the style tokens, those that an extractor reads off selected patches; the others are of the
            picture as a whole.
        embed_dim: Width of the picture's embedding, for extractors that read it beside image tokens.
        default_scale: Strength at which the adapter is meant to be used (`style_scale` of a call).
        default_negative_prompt: What a call moves away from, if it names nothing.
        default_text_guidance: Scale of the prompt that it is meant for; None: what the base model has.
        default_style_guidance: Likewise, of the style.

    Raises:
        UnknownNameError: No such extractor, fusion or kind of scales.
        InvalidInputError: Sizes below 1, or not one width per layer.
    """

    @register_to_config
    def __init__(
        self,
        image_dim: int,
        text_dim: int,
        layer_names: Sequence[str] | None,
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
        style_dim: int | None = None,
        scale_dim: int | None = None,
        extractor_dim: int | None = None,
        key_value_bias: bool = False,
        output_norm: bool = True,
        key_norm: bool = False,
        image_features: ImageFeatures = "last_normed",
        null_style: NullStyle = "omit",
        preprocessing: Preprocessing = "blur",
        default_scale: float = 1.0,
        default_negative_prompt: str = "",
        num_local_tokens: int | None = None,
        embed_dim: int | None = None,
        default_text_guidance: float | None = None,
        default_style_guidance: float | None = None,
    ) -> None:
        super().__init__()
        check_options({name: self.config[name] for name in AdapterOptions.__annotations__})
        names = tuple(map(str, range(len(layer_dims)))) if layer_names is None else tuple(layer_names)
        if not names or len(names) != len(layer_dims):
            raise InvalidInputError(
                f"need one width per layer and at least one layer, got {len(names)} names and "
                f"{len(layer_dims)} widths"
            )
        self.layer_names = names
        style_width = style_dim or text_dim
        self.extractor = make_extractor(self.config)
        self.scale_predictor: ScalePredictor | None = None
        if scale_type == "predicted":
            if scale_dim is None and style_width != text_dim:
                raise InvalidInputError(
                    f"style tokens of width {style_width} beside texts of width {text_dim} need a scale_dim, to which "
                    "the scale predictor maps both"
                )
            widths = (None, None) if scale_dim is None else (text_dim, style_width)
            self.scale_predictor = ScalePredictor(
                scale_dim or text_dim, scale_heads, len(names), scale_layers, scale_head_dim, *widths
            )
        #: What each layer learns; empty where the style goes through the base's own keys and values.
        self.layers = nn.ModuleList(
            StyleKeyValue(style_width, dim, bias=key_value_bias, output_norm=output_norm, key_norm=key_norm)
            for dim in layer_dims
            if fusion_type == "dual"
        )
        #: Weights of the base model that it was trained with, where its file holds them: `attach` puts them in. They
        #: are no part of the adapter, and not saved with it.
        self.base_weights: dict[str, Tensor] | None = None
        self._attachment: _Attachment | None = None
        self._layer_scales: tuple[float, ...] = (1.0,) * len(self.layer_names)
        self._frame_scales: tuple[float, ...] | None = None

    @classmethod
    def for_model(
        cls,
        module: nn.Module,
        image_dim: int,
        layers: Mapping[str, Any] | None = None,
        text_dim: int | None = None,
        **options: Unpack[AdapterOptions],
    ) -> StyleAdapter:
        """Build a fresh adapter that fits `module`: one layer per cross-attention.

        The style keys and values of dual fusion start as copies of the text's (keys from keys, values from values),
        with bias and norm where the layers have them.

        Args:
            module: A model with cross-attention layers that read one width.
            image_dim: Width of the image encoder's tokens.
            layers: Name -> cross-attention of the model, in the order of the scales; None: found by type.
            text_dim: Width of text states, for models that map them before cross-attention; None: what layers read.
            **options: Other arguments of the constructor (`num_style_tokens`, `fusion_type`, ...).

        Raises:
            InvalidInputError: The model has no cross-attention, or layers of several text widths; or see the class.
            UnknownNameError: An option that does not exist; or see the class.
        """
        check_options(options)
        found = cross_attention_layers(module) if layers is None else layers
        if not found:
            raise InvalidInputError(f"{type(module).__name__} has no cross-attention layer to attach to")
        widths = sorted({layer.to_k.in_features for layer in found.values()})
        if len(widths) > 1:
            raise InvalidInputError(f"cross-attention layers read texts of different widths: {widths}")
        first = next(iter(found.values()))
        # What the text's own keys and values have, those of the style start with.
        options = cast(
            "AdapterOptions",
            {
                "key_value_bias": first.to_k.bias is not None,
                "key_norm": norms_all_heads(first),
                **options,
            },
        )
        if text_dim not in (None, widths[0]):
            options = cast("AdapterOptions", {"scale_dim": min(DEFAULT_SCALE_DIM, widths[0]), **options})
        dims = [layer.to_k.out_features for layer in found.values()]
        adapter = cls(
            image_dim, text_dim or widths[0], tuple(found), tuple(dims), style_dim=widths[0], **options
        )
        with torch.no_grad():
            # Style that is attached to the text brings no layers to copy to.
            for own, name in zip(adapter.layers, adapter.layer_names, strict=False):
                cast("StyleKeyValue", own).start_from(found[name])
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
        self,
        image_tokens: Tensor,
        text_embeds: Tensor,
        token_weights: Tensor | None = None,
        image_embeds: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`encode`, then `predict_scales`: style tokens (b, q, style_dim) and factors (b, L)."""
        style_tokens = self.encode(image_tokens, image_embeds, text_embeds, token_weights=token_weights)
        return style_tokens, self.predict_scales(style_tokens, text_embeds)

    def encode(
        self,
        image_tokens: Tensor,
        image_embeds: Tensor | None = None,
        text: Tensor | None = None,
        *,
        token_weights: Tensor | None = None,
    ) -> Tensor:
        """Style tokens (b, q, style_dim) from image tokens (b, n, image_dim).

        Args:
            image_tokens: The tokens of all pictures of a sample, one picture after the other.
            image_embeds: What some extractors read beside them (`needs`), such as an embedding of the picture (b, w).
            text: Text states (b, l, text_dim), likewise.
            token_weights: (b, n), >= 0; weight 2 is the token given twice, 0 the token left out.

        Raises:
            InvalidInputError: Shapes that do not fit, negative weights, a sample of weights 0 alone, or something that
                this adapter's extractor needs is missing.
        """
        given = {"image_embeds": image_embeds, "text": text}
        beside = {name: given[name] for name in self.needs}
        for name, value in beside.items():
            if value is None:
                raise InvalidInputError(
                    f"this adapter's extractor ({self.config['extractor_type']}) needs {name} beside image tokens"
                )
        if image_embeds is not None and "image_embeds" not in self.needs:
            raise InvalidInputError(
                "this adapter reads image tokens alone, but image_embeds were given (weights are token_weights=)"
            )
        return self.extractor(image_tokens, token_weights, **beside)

    @property
    def needs(self) -> tuple[str, ...]:
        """What `encode` needs beside image tokens: "image_embeds", "text"."""
        return tuple(getattr(self.extractor, "needs", ()))

    @property
    def reads(self) -> dict[str, str]:
        """How `encode` wants pictures read: fields of a `ReferenceEncoder`."""
        return {"features": self.config["image_features"], "preprocessing": self.config["preprocessing"]}

    @property
    def style_dim(self) -> int:
        """Width of style tokens."""
        return int(self.config["style_dim"] or self.config["text_dim"])

    def predict_scales(self, style_tokens: Tensor, text_embeds: Tensor) -> Tensor:
        """Factor of every layer (b, L) from style tokens (b, q, style_dim) and text embeddings (b, l, text_dim).

        1 + tanh(.), in (0, 2), where factors are predicted; 1 where they are fixed.

        Raises:
            InvalidInputError: Shapes that do not fit.
        """
        if self.scale_predictor is not None:
            return self.scale_predictor(style_tokens, text_embeds)
        check_conditions(style_tokens, text_embeds, self.style_dim, self.config["text_dim"])
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
        """Take part in the cross-attention of `module`; its state dict stays as it is, unless `base_weights` say
        otherwise.

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
        names = self._names_in(module)
        check_fit(self.config, names, module, owners)
        if self.config["layer_names"] is None:
            self.layer_names = names
            self.register_to_config(layer_names=names)
        replaced = {} if self.base_weights is None else replace_weights(module, self.base_weights)
        slot = StyleSlot(self.style_dim)
        index = {name: i for i, name in enumerate(self.layer_names)}
        originals: dict[str, Any] = {}
        styled: dict[str, StyleAttentionProcessor] = {}
        for name, owner in owners.items():
            originals[name] = owner.get_processor()
            if name in index:
                styled[name] = self._processor(owner, index[name], originals[name], slot)
                owner.set_processor(styled[name])
            elif not isinstance(originals[name], nn.Module):
                # One with weights stays where it is: behind another, they would leave the model's state dict.
                owner.set_processor(StyleBlindProcessor(originals[name]))
        self._attachment = _Attachment(module, originals, styled, slot, replaced)
        self._push_scales()
        return self

    def detach(self) -> None:
        """Give the model back the processors, and the weights, that it had.

        Raises:
            InvalidInputError: The adapter is not attached.
        """
        if self._attachment is None:
            raise InvalidInputError("the adapter is not attached to a model; call attach(model) first")
        for name, processor in self._attachment.originals.items():
            owner: Any = self._attachment.module.get_submodule(name)
            owner.set_processor(processor)
        put_into(self._attachment.module, self._attachment.replaced)
        self._attachment = None

    def is_attached_to(self, module: nn.Module) -> bool:
        """Whether the adapter takes part in the cross-attention of this very model."""
        return self._attachment is not None and self._attachment.module is module

    def hub_card(
        self, repo_id: str, license: str | None = None, base_model: str | None = None, training: str = ""
    ) -> HubCard:
        """What its page on the hub says; see `push_to_hub`."""
        return adapter_card(self, repo_id, license, base_model, training)

    def _processor(self, owner: Any, index: int, base: Any, slot: StyleSlot) -> StyleAttentionProcessor:
        place = index, self.num_layers, base, slot
        if self.config["fusion_type"] == "attach_to_text":
            return AttachToTextProcessor(*place)
        kind = WanDualAttentionProcessor if norms_all_heads(owner) else DualCrossAttentionProcessor
        return kind(cast("StyleKeyValue", self.layers[index]), *place)

    def _names_in(self, module: nn.Module) -> tuple[str, ...]:
        """Of its layers; those that a published file only numbers have the names that the model gives them."""
        if self.config["layer_names"] is not None:
            return self.layer_names
        found = tuple(cross_attention_layers(module))
        if len(found) != self.num_layers:
            raise InvalidInputError(
                f"the adapter has {self.num_layers} layers, {type(module).__name__} has {len(found)} cross-attention "
                "layers: it is of another base model"
            )
        return found

    def _push_scales(self) -> None:
        if self._attachment is None:
            return
        for name, value in zip(self.layer_names, self._layer_scales, strict=True):
            processor = self._attachment.styled[name]
            processor.layer_scale, processor.frame_scales = value, self._frame_scales


# Saved pipelines name a component by its module; the public one outlives moves inside the package.
StyleAdapter.__module__ = "stylecrafter"
