"""The texture loss sees direction, scale and contrast, and forgives a shift."""

from __future__ import annotations

import math

import pytest
import torch

from stylecrafter.training.from_scratch.texture_loss import filters, texture_energies, texture_loss


def stripes(wavelength: float, angle: float = 0.0, shift: float = 0.0, contrast: float = 1.0) -> torch.Tensor:
    """(1, 3, 32, 32) grey waves."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    wave = torch.sin(2 * math.pi * ((x + shift) * math.cos(angle) + y * math.sin(angle)) / wavelength)
    return (wave * contrast).expand(1, 3, 32, 32)


def test_filters_have_unit_norm_and_no_mean() -> None:
    bank = filters()
    assert bank.flatten(1).norm(dim=1) == pytest.approx(1.0, abs=1e-5)
    assert bank.sum((1, 2, 3)).abs().max() < 1e-5


def test_a_shift_costs_little_and_anything_else_much() -> None:
    wanted = stripes(4.6)
    shifted = texture_loss(stripes(4.6, shift=1.7), wanted).item()
    assert texture_loss(wanted, wanted).item() == 0
    others = (
        stripes(4.6, angle=math.pi / 2),
        stripes(2.2),
        stripes(4.6, contrast=0.4),
        torch.zeros(1, 3, 32, 32),
    )
    for other in others:
        assert texture_loss(other, wanted).item() > 5 * shifted


def test_pixels_alone_would_prefer_the_mean_to_a_shifted_texture() -> None:
    wanted, shifted, mean = stripes(4.6), stripes(4.6, shift=2.3), torch.zeros(1, 3, 32, 32)
    assert (mean - wanted).abs().mean() < (shifted - wanted).abs().mean()
    assert texture_loss(mean, wanted) > texture_loss(shifted, wanted)


def test_gradients_reach_the_decoded_picture_only() -> None:
    decoded, wanted = stripes(3.2).clone().requires_grad_(), stripes(4.6).clone().requires_grad_()
    texture_loss(decoded, wanted).backward()
    assert decoded.grad is not None and decoded.grad.abs().sum() > 0 and wanted.grad is None
    assert [e.shape[2:] for e in texture_energies(decoded)] == [(7, 7), (3, 3)]
