"""The autoencoder against the published code, tiny and at full size."""

from __future__ import annotations

import pytest
import torch

from stylecrafter.pipelines.official import VAE, build_vae
from stylecrafter.weights.formats.checkpoint_files import with_prefix
from tests.golden.support import Comparison, checkpoint, draw, expected


@pytest.mark.parametrize("size", ["tiny", pytest.param("full", marks=pytest.mark.slow)])
def test_encode_and_decode(size: str) -> None:
    vae, left_over = build_vae(with_prefix(checkpoint(size, "model", VAE), VAE), copy=False)
    assert left_over == []
    assert vae.config["scaling_factor"] == 0.18215
    b, h, w = (2, 16, 24) if size == "tiny" else (1, 64, 96)
    with torch.no_grad():
        posterior = vae.encode(0.5 * draw("image", b, 3, h, w)).latent_dist
        outputs = {
            "decode": vae.decode(draw("latent", b, 4, 8, 12)).sample,
            "mean": posterior.mean,
            "logvar": posterior.logvar,
            "mode": posterior.mode(),
        }
    comparison = Comparison(1e-5)
    comparison.add_all(outputs, expected(f"{size}/vae"))
    comparison.check()
