"""A loss on textures: what they look like, not where exactly their lines fall.

An autoencoder that is judged pixel by pixel answers stripes and dots whose place it does not know with their mean.
The energies of oriented filters in small windows tell scale, direction and contrast of a texture, whatever its phase
(as in the texture model of Portilla and Simoncelli, 2000).
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F

from stylecrafter.runtime.devices import constant

WAVELENGTHS = (2.2, 3.2, 4.6, 6.5)
"""In pixels."""
DIRECTIONS = 6
RADIUS = 4
#: Sides of the windows in which energies are compared, in pixels.
WINDOWS = (8, 16)
#: One lightness and two colour channels of RGB.
_OPPONENT = ((0.299, 0.587, 0.114), (0.5, -0.5, 0.0), (0.25, 0.25, -0.5))


@functools.cache
def filters(device: torch.device = torch.device("cpu")) -> torch.Tensor:  # noqa: B008  # immutable
    """Gabor filters of unit norm and zero mean (2 · wavelengths · directions, 1, k, k): even and odd ones in turn."""
    y, x = torch.meshgrid(*(torch.arange(-RADIUS, RADIUS + 1.0),) * 2, indexing="ij")
    kernels = []
    for wavelength in WAVELENGTHS:
        window = torch.exp(-(x * x + y * y) / (2 * (0.45 * wavelength + 0.5) ** 2))
        for k in range(DIRECTIONS):
            angle = math.pi * k / DIRECTIONS
            along = 2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / wavelength
            for phase in (0.0, math.pi / 2):
                kernel = window * torch.cos(along + phase)
                kernel = kernel - window * (kernel.sum() / window.sum())
                kernels.append(kernel / kernel.norm())
    return torch.stack(kernels)[:, None].to(device)


def texture_energies(pictures: torch.Tensor) -> list[torch.Tensor]:
    """Root mean energies of the filters in windows of each size: for (n, 3, h, w), one (3n, filters, h', w') each."""
    opponent = constant(tuple(v for row in _OPPONENT for v in row), pictures.device).reshape(3, 3)
    channels = torch.einsum("cd,ndhw->nchw", opponent, pictures.float()).flatten(0, 1)[:, None]
    bank = filters(pictures.device)
    answers = F.conv2d(F.pad(channels, (RADIUS,) * 4, mode="reflect"), bank)
    energy = answers[:, 0::2].square() + answers[:, 1::2].square() + 1e-4
    return [F.avg_pool2d(energy, side, side // 2).sqrt() for side in WINDOWS]


def texture_loss(decoded: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """L1 between texture energies of (n, 3, h, w) each, summed over the window sizes; sides of at least 16 pixels."""
    with torch.no_grad():
        wanted = texture_energies(pictures)
    pairs = zip(texture_energies(decoded), wanted, strict=True)
    return torch.stack([F.l1_loss(mine, theirs) for mine, theirs in pairs]).sum()
