"""Weights kept in 8 bits: which layers, how they are stored, and what they take then."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from stylecrafter.errors import InvalidInputError, MissingDependencyError
from stylecrafter.pipelines.memory_options import NEEDS_TORCHAO, check_weights_name

#: Layers that stay as they are, by their names: those that are few and that everything passes through, and those whose
#: library looks at the dtype of their weights. T5 casts what enters `wo` to that.
_KEPT = re.compile(
    r"norm|emb|patch|projection|conv_in|conv_out|^proj_in$|^proj_out$|(^|\.)wo$|^extractor\.|^scale_predictor\."
)
_MATRICES = (nn.Linear,)
_KERNELS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def stored_layers(model: nn.Module, weights_as: str) -> Iterator[Any]:
    """The layers of a component whose weights are kept in 8 bits.

    Args:
        model: A component of a pipeline, but the autoencoder, which keeps all of its own.
        weights_as: "fp8", matrices and convolutions; "int8", matrices; "full", none.
    """
    kinds: tuple[type[nn.Module], ...] = {"full": (), "int8": _MATRICES}.get(
        weights_as, (*_MATRICES, *_KERNELS)
    )
    for name, layer in model.named_modules():
        if isinstance(layer, kinds) and not _KEPT.search(name):
            yield layer


def stored_models(components: dict[str, Any]) -> list[nn.Module]:
    """The components that have such layers."""
    return [m for name, m in components.items() if isinstance(m, nn.Module) and name != "vae"]


def saved_bytes(model: nn.Module, weights_as: str) -> int:
    """Bytes that a component's weights take less than in full."""
    saved = 0
    for layer in stored_layers(model, weights_as):
        for name, weight in layer.named_parameters():
            if weights_as == "fp8":
                saved += weight.numel() * (weight.element_size() - 1)
            elif name == "weight":  # with a scale for every row
                saved += weight.numel() * (weight.element_size() - 1) - len(weight) * weight.element_size()
    return saved


def store_weights(components: dict[str, Any], weights_as: str) -> None:
    """Keep the weights of a pipeline's models in 8 bits; they are widened layer by layer when they are used.

    Args:
        components: Of the pipeline.
        weights_as: "fp8" (diffusers' layerwise casting, e4m3) or "int8" (torchao, a scale for every row).

    Raises:
        UnknownNameError: Another name.
        InvalidInputError: "full": what was rounded does not come back.
        MissingDependencyError: torchao is not installed.
    """
    if check_weights_name(weights_as) == "full":
        raise InvalidInputError("weights that were rounded to 8 bits do not come back: load the model again")
    store = _as_float8 if weights_as == "fp8" else _as_int8
    for model in stored_models(components):
        store(model)


def _as_float8(model: nn.Module) -> None:
    from diffusers.hooks import apply_layerwise_casting

    for layer in list(stored_layers(model, "fp8")):
        # Without patterns: this very layer.
        apply_layerwise_casting(layer, torch.float8_e4m3fn, layer.weight.dtype, skip_modules_pattern=None)


def _as_int8(model: nn.Module) -> None:
    try:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_
    except ImportError as error:
        raise MissingDependencyError(NEEDS_TORCHAO) from error
    chosen = {id(layer) for layer in stored_layers(model, "int8")}
    quantize_(model, Int8WeightOnlyConfig(), filter_fn=lambda layer, name: id(layer) in chosen)
