from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from stylecrafter.backbones.autoencoder import ShortcutAutoencoder
from stylecrafter.errors import InvalidInputError
from stylecrafter.styleworld import splits, world


def small(latent_channels: int = 6) -> ShortcutAutoencoder:
    torch.manual_seed(0)
    return ShortcutAutoencoder(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16), latent_channels=latent_channels, norm_num_groups=4, sample_size=16,
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """(20, 3, 32, 32) in [-1, 1]."""
    batch = world.sample(20, torch.Generator().manual_seed(1), vocabulary=splits.SMALL)
    return world.render(batch, 32)[:, 0] * 2 - 1


@torch.no_grad()
def through(vae: ShortcutAutoencoder, pictures: torch.Tensor) -> torch.Tensor:
    return vae.decode(vae.encode(pictures).latent_dist.mean).sample


def error(vae: ShortcutAutoencoder, pictures: torch.Tensor) -> float:
    return float((through(vae, pictures) - pictures).square().mean())


def test_it_begins_as_principal_components(pictures: torch.Tensor) -> None:
    vae = small(6)
    vae.fit_shortcuts(pictures.split(8))
    patches = F.pixel_unshuffle(pictures, 2).transpose(0, 1).flatten(1)
    energies = torch.linalg.svdvals(patches).square() / patches.numel()
    assert error(vae, pictures) == pytest.approx(float(energies[6:].sum()), rel=1e-3)
    assert error(small(6), pictures) > 20 * error(vae, pictures)


def test_with_all_components_nothing_is_lost(pictures: torch.Tensor) -> None:
    vae = small(12)
    vae.fit_shortcuts([pictures])
    torch.testing.assert_close(through(vae, pictures), pictures, atol=1e-4, rtol=0)


def test_latents_fall_in_energy_and_have_the_noise_that_was_asked_for(pictures: torch.Tensor) -> None:
    vae = small(6)
    vae.fit_shortcuts([pictures], log_variance=-4.0)
    with torch.no_grad():
        posterior = vae.encode(pictures).latent_dist
    energies = posterior.mean.square().mean((0, 2, 3))
    assert (energies.diff() <= 1e-6).all()
    torch.testing.assert_close(posterior.logvar, torch.full_like(posterior.logvar, -4.0))


def test_encoder_and_decoder_learn_what_is_left(pictures: torch.Tensor) -> None:
    vae = small(3)
    vae.fit_shortcuts([pictures])
    before = error(vae, pictures)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=3e-3)
    for _ in range(30):
        loss = F.mse_loss(vae.decode(vae.encode(pictures).latent_dist.mean).sample, pictures)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(value.grad is not None for value in vae.parameters())
    assert error(vae, pictures) < 0.9 * before


def test_it_is_saved_and_loaded_and_tiled_as_any_other(pictures: torch.Tensor, tmp_path: Path) -> None:
    vae = small(6)
    vae.fit_shortcuts([pictures])
    vae.save_pretrained(tmp_path)
    loaded = ShortcutAutoencoder.from_pretrained(tmp_path)
    assert torch.equal(through(vae, pictures), through(loaded.eval(), pictures))
    assert loaded.config.latent_channels == 6 and loaded.config.use_quant_conv is False
    loaded.enable_tiling()
    # What is linear does not know of tiles; encoder and decoder add nothing yet.
    torch.testing.assert_close(through(loaded, pictures), through(vae, pictures), atol=1e-4, rtol=0)


def test_what_cannot_be_fitted_is_refused(pictures: torch.Tensor) -> None:
    with pytest.raises(InvalidInputError, match="cannot give 6 components"):
        small(6).fit_shortcuts([pictures[:1, :, :4, :4]])
    with pytest.raises(InvalidInputError, match="cannot give 13 components"):
        small(13).fit_shortcuts([pictures])
