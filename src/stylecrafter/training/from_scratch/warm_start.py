"""Warm start: a model of our own begins with what fits of another one, instead of from nothing.

A larger vocabulary or another autoencoder need not cost the whole training again: towers, the UNet and the adapter are
taken over, what the change concerns is translated (words one by one, the layers at the latents by least squares), and
the rest begins afresh. Every stage is then trained as the recipe says.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import cast

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTokenizer

from stylecrafter.adapter.dual_attention import StyleKeyValue
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.data.batch import BatchSource
from stylecrafter.errors import CheckpointError
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.training.from_scratch.encoder_stages import (
    AutoencoderStage,
    ClipStage,
    some_pictures,
)
from stylecrafter.training.parts import Parts
from stylecrafter.training.stages import AdapterStage, BaseStage, JointStage, Stage

logger = logging.getLogger(__name__)

#: Pictures that the translation between two autoencoders is fitted to.
FITTED_PICTURES = 192


def warm_start(stage: Stage, parts: Parts | None, source: StyleCrafterPipeline) -> None:
    """Let the weights that `stage` trains begin as those of `source`, wherever names and shapes agree.

    Autoencoders are taken over whole or not at all. Temporal training changes nothing: it goes on from the base.

    Args:
        stage: A stage that has not taken a step.
        parts: The models of a denoising stage.
        source: What to begin with.

    Raises:
        CheckpointError: Nothing of `source` fits.
    """
    if isinstance(stage, AutoencoderStage):
        if _shapes(stage.vae.state_dict()) == _shapes(source.vae.state_dict()):
            stage.vae.load_state_dict(source.vae.state_dict())
        else:
            logger.info("autoencoder: begins from nothing, its sizes are others")
    elif isinstance(stage, ClipStage):
        _take_over("clip.text_model", stage.clip.text_model, source.text_encoder)
        _take_over("clip.vision_model", stage.clip.vision_model, source.image_encoder)
        translate_words(
            stage.clip.text_model.embeddings.token_embedding,
            stage.tokenizer,
            source.text_encoder.get_input_embeddings(),
            source.tokenizer,
        )
    elif parts is not None and isinstance(stage, BaseStage):
        own = parts.backbone.components
        _take_over("unet", own["unet"], source.unet)
        if stage.pictures is not None:
            translate_latents(own["unet"], own["vae"], source.unet, source.vae, stage.pictures)
        if stage.config.train_text_encoder:
            _take_over("text_encoder", own["text_encoder"], source.text_encoder)
            translate_words(
                own["text_encoder"].get_input_embeddings(),
                own["tokenizer"],
                source.text_encoder.get_input_embeddings(),
                source.tokenizer,
            )
    elif (
        parts is not None
        and isinstance(stage, AdapterStage | JointStage)
        and source.style_adapter is not None
    ):
        _warm_start_adapter(stage, parts, source)


def translate_words(
    new: nn.Embedding, words: CLIPTokenizer, old: nn.Embedding, old_words: CLIPTokenizer
) -> None:
    """Give every word that both tokenizers know its old embedding; the others keep what they have."""
    places = old_words.get_vocab()
    with torch.no_grad():
        for word, place in words.get_vocab().items():
            if word in places:
                new.weight[place] = old.weight[places[word]].to(new.weight)


def translate_latents(
    unet: VideoCrafterUNet,
    vae: AutoencoderKL,
    old_unet: VideoCrafterUNet,
    old_vae: AutoencoderKL,
    pictures: BatchSource,
) -> None:
    """Let the first and the last layer read and write latents of `vae` as the old ones did those of `old_vae`.

    Both ways between the two latent spaces are linear maps of channels, fitted to pictures by least squares; biases
    stay, as noise has none. Latents of equal autoencoders are mapped by the identity.

    Raises:
        CheckpointError: The autoencoders reduce pictures by different factors.
    """
    new, old = [], []
    for part in some_pictures(pictures, FITTED_PICTURES):
        new.append(_latents(vae, part))
        old.append(_latents(old_vae, part))
        if new[-1].shape[-2:] != old[-1].shape[-2:]:
            raise CheckpointError(
                f"latents of {tuple(new[-1].shape[-2:])} and {tuple(old[-1].shape[-2:])}: a model cannot start from "
                "one whose autoencoder reduces pictures by another factor"
            )
    ours, theirs = (_by_channel(torch.cat(latents)) for latents in (new, old))
    with torch.no_grad():
        reading = torch.linalg.lstsq(ours, theirs).solution  # (new channels, old channels)
        writing = torch.linalg.lstsq(theirs, ours).solution  # (old channels, new channels)
        first, last = (
            {k: v.double() for k, v in layer.state_dict().items()}
            for layer in (old_unet.conv_in, old_unet.conv_out)
        )
        unet.conv_in.load_state_dict(
            first | {"weight": torch.einsum("oihw,ni->onhw", first["weight"], reading)}
        )
        unet.conv_out.load_state_dict(
            {"weight": torch.einsum("oihw,on->nihw", last["weight"], writing), "bias": last["bias"] @ writing}
        )


@torch.no_grad()
def _latents(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Scaled latents (n, c, h, w) of pictures in [0, 1]."""
    means = vae.encode(pictures.to(vae.device, vae.dtype) * 2 - 1).latent_dist.mean
    return means.float() * vae.config.scaling_factor


def _by_channel(latents: Tensor) -> Tensor:
    """Centred rows (n * h * w, c) in double precision."""
    rows = latents.movedim(1, -1).flatten(0, -2).double()
    return rows - rows.mean(0)


def _warm_start_adapter(stage: AdapterStage | JointStage, parts: Parts, source: StyleCrafterPipeline) -> None:
    """Extractor, keys, values, and norms that hold the means of the old factors: the predictor of them begins afresh.

    A predictor that has come to its limits (all factors 2) would hardly move from there.
    """
    adapter, old = parts.adapter(), source.style_adapter
    fresh = {name: value.clone() for name, value in adapter.state_dict().items() if "scale_predictor" in name}
    _take_over("style_adapter", adapter, old)
    adapter.load_state_dict(fresh, strict=False)
    if stage.pictures is None or adapter.scale_predictor is None:
        return
    batch = stage.pictures.batch(0, slice(0, stage.pictures.batch_size))
    if batch.references is None:
        return
    with torch.no_grad():
        tokens = old.encode(source.references.tokens(batch.references).float())
        given = source.tokenizer(
            batch.captions, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        factors = old.predict_scales(tokens, source.text_encoder(input_ids=given).last_hidden_state).mean(0)
        for layer, factor in zip(adapter.layers, factors, strict=False):
            # Behind the norm: what is in front of it would be divided out again.
            norm = cast("nn.LayerNorm", cast("StyleKeyValue", layer).norm)
            norm.weight.mul_(factor)
            norm.bias.mul_(factor)


def _take_over(name: str, new: nn.Module, old: nn.Module) -> None:
    """Copy all weights of the same name and shape, and say what is left.

    Raises:
        CheckpointError: There are none.
    """
    theirs = {_bare(key): value for key, value in old.state_dict().items()}
    own = {_bare(key): value for key, value in new.state_dict().items()}
    fitting = [key for key, value in own.items() if key in theirs and theirs[key].shape == value.shape]
    if not fitting:
        raise CheckpointError(f"{name}: no weight has the name and shape of one in the model to start from")
    with torch.no_grad():
        for key in fitting:
            own[key].copy_(theirs[key])
    left = sorted(set(own) - set(fitting))
    logger.info("%s: %d weights taken over, fresh: %s", name, len(fitting), ", ".join(left) or "none")


def _bare(key: str) -> str:
    """A weight's name inside its tower, which some classes name in front and some do not."""
    return key.removeprefix("text_model.").removeprefix("vision_model.")


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}
