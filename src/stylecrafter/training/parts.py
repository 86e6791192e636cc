"""The models that a stage of training works with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionModel, CLIPVisionModelWithProjection

from stylecrafter.adapter.adapter_options import AdapterOptions
from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.protocol import Backbone
from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.references.encoder import ReferenceEncoder, feature_width


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A base model with its style adapter; which of their parameters move is the stage's matter."""

    backbone: Backbone
    image_encoder: CLIPVisionModel | CLIPVisionModelWithProjection
    style_adapter: StyleAdapter | None = None
    half_tokens: bool = False
    """Whether image tokens are rounded to float16 (`ReferenceEncoder.half_tokens`)."""

    @property
    def references(self) -> ReferenceEncoder:
        """What reads style references: the very chain that the exported model reads style pictures with."""
        asked = {} if self.style_adapter is None else self.style_adapter.reads
        return ReferenceEncoder(self.image_encoder, self.half_tokens, **asked)

    def models(self) -> dict[str, nn.Module]:
        """Name -> model of everything that has parameters."""
        models = {**self.backbone.models(), "image_encoder": self.image_encoder}
        if self.style_adapter is not None:
            models["style_adapter"] = self.style_adapter
        return models

    def adapter(self) -> StyleAdapter:
        """The style adapter.

        Raises:
            InvalidInputError: There is none.
        """
        if self.style_adapter is None:
            raise InvalidInputError("this stage needs a style adapter; build one with StyleAdapter.for_model")
        return self.style_adapter


def fresh_adapter(backbone: Backbone, image_encoder: Any, options: AdapterOptions) -> StyleAdapter:
    """A fresh adapter in the layers of a base model, for what it reads of that encoder.

    Raises:
        InvalidInputError: Options that no adapter can be built of, or not there.
    """
    width = feature_width(image_encoder, options.get("image_features", "last_normed"))
    layers = backbone.attention_layers()
    adapter = StyleAdapter.for_model(backbone.denoiser, width, layers, backbone.text_dim, **options)
    return adapter.attach(backbone.denoiser)


def refuse_unread(adapter: StyleAdapter) -> None:
    """Refuse an adapter that reads more of a picture than training has of it.

    Raises:
        InvalidInputError: It does.
    """
    if adapter.needs:
        raise InvalidInputError(
            f"the adapter's extractor ({adapter.config['extractor_type']}) reads {' and '.join(adapter.needs)} beside "
            "image tokens, which training does not give it; train another, or a fresh one"
        )


def prefixed(prefix: str, parameters: Iterable[tuple[str, nn.Parameter]]) -> dict[str, nn.Parameter]:
    """Name -> parameter, with the name of the model in front."""
    return {f"{prefix}.{name}": value for name, value in parameters}


def freeze_all_but(modules: Iterable[nn.Module], trainable: dict[str, nn.Parameter]) -> None:
    """Let gradients reach exactly `trainable` among the parameters of `modules`."""
    chosen = {id(value) for value in trainable.values()}
    for module in modules:
        for parameter in module.parameters():
            parameter.requires_grad_(id(parameter) in chosen)


def load_trained(models: dict[str, nn.Module], weights: dict[str, torch.Tensor]) -> None:
    """Put trained weights ("unet.…", "style_adapter.…") into the models they belong to.

    Raises:
        CheckpointError: A weight belongs to none of `models`, or has another shape there.
    """
    known = {f"{owner}.{name}": v for owner, model in models.items() for name, v in model.named_parameters()}
    unknown = [name for name in weights if name not in known]
    if unknown:
        raise CheckpointError(
            f"{len(unknown)} trained weights belong to none of {', '.join(models)}; first: {unknown[0]}"
        )
    with torch.no_grad():
        for name, value in weights.items():
            if known[name].shape != value.shape:
                raise CheckpointError(
                    f"{name} was trained with shape {tuple(value.shape)}, the model has {tuple(known[name].shape)}"
                )
            known[name].copy_(value)
