"""Where in the picture a style acts: masks, laid over the queries of every layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stylecrafter.errors import InvalidInputError


class StyleRegions:
    """One mask for each of r styles, in [0, 1]: 0 where it does not act at all, 1 where it acts in full.

    With r regions the style tokens of a pass are those of r styles, one after the other, (b, r q, d), and its scales
    those of r styles, (b, r L) or (b, f, r L). What the styles add to a layer's attention is added up.

    Args:
        masks: On the grid of the latents, (b, r, 1 or f, h, w); f latent frames.

    Raises:
        InvalidInputError: Another number of axes.
    """

    def __init__(self, masks: Tensor) -> None:
        if masks.ndim != 5:
            raise InvalidInputError(
                f"style masks must be (samples, styles, frames, h, w), got {tuple(masks.shape)}"
            )
        self.masks = masks
        self._resized: dict[tuple[int, torch.dtype], Tensor] = {}

    @property
    def count(self) -> int:
        """r, the number of styles."""
        return self.masks.shape[1]

    @property
    def union(self) -> Tensor:
        """Where any style acts, on the grid of the latents: (b, 1, 1 or f, h, w)."""
        return self.masks.sum(1, keepdim=True).clamp(max=1)

    def frames(self, part: slice) -> StyleRegions:
        """Those of a part of the clip's latent frames."""
        return self if self.masks.shape[2] == 1 else StyleRegions(self.masks[:, :, part])

    def samples(self, part: slice) -> StyleRegions:
        """Those of a part of the samples."""
        return StyleRegions(self.masks[part])

    def repeated(self, copies: int) -> StyleRegions:
        """Those of every sample `copies` times in a row."""
        return self if copies == 1 else StyleRegions(self.masks.repeat_interleave(copies, dim=0))

    def twice(self) -> StyleRegions:
        """Those of all samples, and then of all once more."""
        return StyleRegions(torch.cat([self.masks] * 2))

    def of_samples(self, samples: int, frames: int, queries: int, like: Tensor) -> Tensor:
        """Masks (samples, r, frames, queries / frames) of the queries of a layer, resized by area.

        A layer's grid is that of the latents, halved as often as the number of its queries says: UNets halve their maps
        from level to level, transformers join 2 x 2 latents.

        Args:
            samples: b, or b f where every frame has a style of its own and is a sample to the layer.
            frames: Of a sample.
            queries: Of a sample.
            like: Gives device and dtype.

        Raises:
            InvalidInputError: Other samples or frames, or a number of queries that no such grid has.
        """
        b, r, given, height, width = self.masks.shape
        split, rest = divmod(samples, b)
        if rest or given not in (1, frames * split) or queries % frames:
            raise InvalidInputError(
                f"style masks of {b} samples and {given} frames do not fit {samples} samples of {frames} frames and "
                f"{queries} tokens"
            )
        tokens = queries // frames
        key = tokens, like.dtype
        if key not in self._resized:
            grid = grid_of(tokens, height, width)
            resized = F.interpolate(self.masks.flatten(0, 1).float(), grid, mode="area")
            self._resized[key] = resized.reshape(b, r, given, tokens).to(like)
        masks = self._resized[key].expand(-1, -1, frames * split, -1)
        return masks.unflatten(2, (split, frames)).transpose(1, 2).flatten(0, 1)


def grid_of(tokens: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a layer with so many queries per frame, on latents of height x width.

    Raises:
        InvalidInputError: No halving of the latents has so many.
    """
    rows, columns = height, width
    while rows * columns > tokens:
        rows, columns = -(-rows // 2), -(-columns // 2)
    if rows * columns != tokens:
        raise InvalidInputError(
            f"a layer has {tokens} queries per frame, which is no halving of the latents' {height} x {width}: "
            "style masks cannot be laid over it"
        )
    return rows, columns
