"""What a style paints from: the plain picture with its tones, outlines, palette and parameters."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stylecrafter.styleworld.fields import blur, colour, column, edges, grid, luminance

STYLE_PARAMETERS = 4


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """What a style paints from. Shapes: n pictures of h × w."""

    rgb: torch.Tensor
    """(n, 3, h, w) the plain picture."""
    tone: torch.Tensor
    """(n, h, w) its tones in [0, 1], with figure and ground kept apart (see `canvas`)."""
    edge: torch.Tensor
    """(n, h, w) outlines in [0, 1]."""
    x: torch.Tensor
    """(1, h, w) pixel coordinates in units of the picture."""
    y: torch.Tensor
    palette: torch.Tensor
    """(n, 5, 3) colours, dark to light."""
    p: torch.Tensor
    """(n, 4) parameters in [0, 1]."""

    @property
    def ink(self) -> torch.Tensor:
        return colour(self.palette[:, 0])

    @property
    def paper(self) -> torch.Tensor:
        return colour(self.palette[:, -1])

    def between(self, parameter: int, low: float, high: float) -> torch.Tensor:
        """Parameter number `parameter`, spread over low … high: (n,)."""
        return low + (high - low) * self.p[:, parameter]


#: Least distance between the mean tones of figure and ground after `canvas` has set them apart.
FIGURE_CONTRAST = 0.42


def canvas(rgb: torch.Tensor, figure: torch.Tensor, palette: torch.Tensor, p: torch.Tensor) -> Canvas:
    """Prepare plain pictures for painting.

    As a painter would, it quiets the ground (tones pulled towards their mean), and where figure and ground are of
    like tone it moves the figure away from the ground, on the side on which it already is.

    Args:
        rgb: (n, 3, h, w) in [0, 1].
        figure: (n, h, w) in [0, 1], how much of a pixel belongs to the object.
        palette: (n, 5, 3) in [0, 1].
        p: (n, 4) in [0, 1].
    """
    x, y = grid(rgb.shape[-2], rgb.shape[-1], rgb.device)
    # Warmth bends the tones, so that hues of one luma stay apart.
    tone = (luminance(rgb) + (rgb[:, 0] - rgb[:, 2]) * 0.15).clamp(0, 1)
    near = blur(figure, rgb.shape[-1] // 6)
    ground_weight = (1 - figure) * (near + 1e-3)
    ground = (tone * ground_weight).sum((1, 2)) / ground_weight.sum((1, 2)).clamp(min=1e-3)
    area = figure.sum((1, 2)).clamp(min=1e-3)
    mean = (tone * figure).sum((1, 2)) / area
    # Too close to call: the figure goes where there is more room.
    side = torch.where(
        (mean - ground).abs() < 0.08, torch.where(ground < 0.5, 1.0, -1.0), (mean - ground).sign()
    )
    target = ground + side * torch.maximum((mean - ground).abs(), torch.full_like(mean, FIGURE_CONTRAST))
    target = torch.where((target < 0.05) | (target > 0.95), target.clamp(0.12, 0.88), target)
    ground_tone = column(ground) + (tone - column(ground)) * 0.6
    figure_tone = column(target) + (tone - column(mean)) * 0.9
    tone = torch.lerp(ground_tone, figure_tone, figure).clamp(0, 1)
    outline = torch.maximum(edges(figure) * 2.2 - 0.2, edges(tone) * 2.5 - 0.3).clamp(0, 1)
    return Canvas(rgb=rgb, tone=tone, edge=outline, x=x, y=y, palette=palette, p=p)
