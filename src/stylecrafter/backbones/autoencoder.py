"""An autoencoder that begins as the best linear one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import Decoder, Encoder
from torch import Tensor, nn

from stylecrafter.errors import InvalidInputError
from stylecrafter.weights.loading import StrictWeights


class ShortcutEncoder(Encoder):
    """diffusers' encoder plus a linear map of every patch of factor x factor pixels to its latent."""

    def __init__(self, factor: int, in_channels: int, out_channels: int, **options: Any) -> None:
        super().__init__(in_channels=in_channels, out_channels=out_channels, double_z=True, **options)
        self.shortcut = nn.Conv2d(in_channels, 2 * out_channels, factor, stride=factor, bias=False)

    def forward(self, sample: Tensor) -> Tensor:
        """(n, c, h, w) to moments (n, 2 latent channels, h / factor, w / factor)."""
        return super().forward(sample) + self.shortcut(sample)


class ShortcutDecoder(Decoder):
    """diffusers' decoder plus a linear map of every latent to its patch of factor x factor pixels."""

    def __init__(self, factor: int, in_channels: int, out_channels: int, **options: Any) -> None:
        super().__init__(in_channels=in_channels, out_channels=out_channels, **options)
        self.shortcut = nn.ConvTranspose2d(in_channels, out_channels, factor, stride=factor, bias=False)

    def forward(self, sample: Tensor, latent_embeds: Tensor | None = None) -> Tensor:
        """(n, latent channels, h, w) to pixels (n, c, h factor, w factor)."""
        return super().forward(sample, latent_embeds) + self.shortcut(sample)


class ShortcutAutoencoder(StrictWeights, AutoencoderKL):
    """`AutoencoderKL` with linear shortcuts around encoder and decoder, so that those learn what a linear one leaves.

    Residual autoencoding as in DC-AE (Chen et al., 2024), with one shortcut from end to end. A small autoencoder from
    nothing needs very long to learn what principal components give at once: with 12 channels for patches of 4 x 4
    pixels of StyleWorld it was at 21 dB after 5,000 steps, the components are at 24 dB (docs/notes/training_mini.md).

    Its config is that of `AutoencoderKL`, less the convolutions between moments and networks.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",),
        up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",),
        block_out_channels: tuple[int, ...] = (64,),
        layers_per_block: int = 1,
        act_fn: str = "silu",
        latent_channels: int = 4,
        norm_num_groups: int = 32,
        sample_size: int = 32,
        scaling_factor: float = 1.0,
        force_upcast: bool = False,
        shift_factor: float | None = None,
        latents_mean: tuple[float, ...] | None = None,
        latents_std: tuple[float, ...] | None = None,
        use_quant_conv: bool = False,
        use_post_quant_conv: bool = False,
        mid_block_add_attention: bool = True,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            down_block_types=down_block_types,
            up_block_types=up_block_types,
            block_out_channels=block_out_channels,
            layers_per_block=layers_per_block,
            act_fn=act_fn,
            latent_channels=latent_channels,
            norm_num_groups=norm_num_groups,
            sample_size=sample_size,
            scaling_factor=scaling_factor,
            shift_factor=shift_factor,
            latents_mean=latents_mean,
            latents_std=latents_std,
            force_upcast=force_upcast,
            use_quant_conv=use_quant_conv,
            use_post_quant_conv=use_post_quant_conv,
            mid_block_add_attention=mid_block_add_attention,
        )
        factor = 2 ** (len(block_out_channels) - 1)
        shared: dict[str, Any] = {
            "block_out_channels": block_out_channels,
            "layers_per_block": layers_per_block,
            "norm_num_groups": norm_num_groups,
            "act_fn": act_fn,
            "mid_block_add_attention": mid_block_add_attention,
        }
        self.encoder = ShortcutEncoder(
            factor, in_channels, latent_channels, down_block_types=down_block_types, **shared
        )
        self.decoder = ShortcutDecoder(
            factor, latent_channels, out_channels, up_block_types=up_block_types, **shared
        )

    @torch.no_grad()
    def fit_shortcuts(self, batches: Iterable[Tensor], log_variance: float = -6.0) -> None:
        """Set the shortcuts to the principal components of patches, and have encoder and decoder add nothing yet.

        Latents are components by falling energy, each divided by the square root of its deviation: a compromise
        between latents of one deviation, most of them noise, and the components themselves, most of them close to 0.

        Args:
            batches: Pictures, each batch (n, in_channels, h, w) in [-1, 1], sides multiples of the factor.
            log_variance: Of the latents' noise, everywhere.

        Raises:
            InvalidInputError: Fewer numbers in a patch than there are latent channels, or fewer patches.
        """
        encoder, decoder = self.encoder.shortcut, self.decoder.shortcut
        factor, latents = encoder.kernel_size[0], decoder.in_channels
        numbers, count = encoder.in_channels * factor**2, 0
        products = torch.zeros(numbers, numbers, dtype=torch.float64)
        for pictures in batches:
            patches = (
                nn.functional.pixel_unshuffle(pictures.cpu().double(), factor).transpose(0, 1).flatten(1)
            )
            products += patches @ patches.T
            count += patches.shape[1]
        if not latents <= numbers <= count:
            raise InvalidInputError(
                f"{count} patches of {numbers} numbers cannot give {latents} components; "
                f"at least {numbers} patches, and no more components than numbers"
            )
        energies, components = torch.linalg.eigh(products / count)
        order = energies.argsort(descending=True)[:latents]
        deviations = energies[order].clamp(min=1e-8).sqrt()
        chosen = components[:, order].T.unflatten(1, encoder.weight.shape[1:])
        scale = deviations.rsqrt()[:, None, None, None]
        encoder.weight.zero_()
        encoder.weight[:latents] = (chosen * scale).to(encoder.weight)
        decoder.weight.copy_((chosen / scale).to(decoder.weight))
        for last in (self.encoder.conv_out, self.decoder.conv_out):
            last.weight.zero_()
            last.bias.zero_()
        self.encoder.conv_out.bias[latents:] = log_variance


# Saved pipelines name a component by its module; the public one outlives moves inside the package.
ShortcutAutoencoder.__module__ = "stylecrafter"
