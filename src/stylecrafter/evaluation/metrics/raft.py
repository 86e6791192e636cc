"""RAFT-small (Teed and Deng 2020), the optical flow that the paper's warping error is measured with.

Loads the weights that torchvision publishes (`raft_small_C_T_V2-01064c6d.pth`, BSD-3-Clause); the names of the modules
are those of that file.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.digest import weights_digest
from stylecrafter.weights.formats.checkpoint_files import fill, read_checkpoint, tensors_only

#: Each feature stands for so many pixels a side.
STRIDE = 8
LEVELS, RADIUS, UPDATES = 4, 3, 12
HIDDEN, CONTEXT, MOTION = 96, 64, 82
#: The coarsest correlations need two features a side.
LEAST_SIDE = STRIDE * 2**LEVELS


def _conv(c_in: int, c_out: int, kernel: int, stride: int = 1, *, norm: bool = False) -> nn.Sequential:
    """Convolution, norm over the picture where asked, ReLU."""
    layers: list[nn.Module] = [nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2)]
    return nn.Sequential(*layers, *([nn.InstanceNorm2d(c_out)] if norm else []), nn.ReLU())


class _Bottleneck(nn.Module):
    def __init__(self, c_in: int, c_out: int, stride: int, norm: bool) -> None:
        super().__init__()
        inner = c_out // 4
        self.convnormrelu1 = _conv(c_in, inner, 1, norm=norm)
        self.convnormrelu2 = _conv(inner, inner, 3, stride, norm=norm)
        self.convnormrelu3 = _conv(inner, c_out, 1, norm=norm)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            self.downsample = _conv(c_in, c_out, 1, stride, norm=norm)[:-1]

    def forward(self, x: Tensor) -> Tensor:
        inner = self.convnormrelu3(self.convnormrelu2(self.convnormrelu1(x)))
        return F.relu(self.downsample(x) + inner)


class _Encoder(nn.Module):
    """Pictures (n, 3, h, w) to features (n, c, h / 8, w / 8)."""

    def __init__(self, c_out: int, norm: bool) -> None:
        super().__init__()
        self.convnormrelu = _conv(3, 32, 7, 2, norm=norm)
        self.layer1 = nn.Sequential(_Bottleneck(32, 32, 1, norm), _Bottleneck(32, 32, 1, norm))
        self.layer2 = nn.Sequential(_Bottleneck(32, 64, 2, norm), _Bottleneck(64, 64, 1, norm))
        self.layer3 = nn.Sequential(_Bottleneck(64, 96, 2, norm), _Bottleneck(96, 96, 1, norm))
        self.conv = nn.Conv2d(96, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.layer3(self.layer2(self.layer1(self.convnormrelu(x)))))


class _MotionEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convcorr1 = _conv(LEVELS * (2 * RADIUS + 1) ** 2, 96, 1)
        self.convflow1 = _conv(2, 64, 7)
        self.convflow2 = _conv(64, 32, 3)
        self.conv = _conv(96 + 32, MOTION - 2, 3)

    def forward(self, flow: Tensor, correlations: Tensor) -> Tensor:
        seen = torch.cat([self.convcorr1(correlations), self.convflow2(self.convflow1(flow))], 1)
        return torch.cat([self.conv(seen), flow], 1)


class _GatedUnit(nn.Module):
    """A gated recurrent unit of 3 x 3 convolutions."""

    def __init__(self, c_in: int) -> None:
        super().__init__()
        self.convz, self.convr, self.convq = (
            nn.Conv2d(HIDDEN + c_in, HIDDEN, 3, padding=1) for _ in range(3)
        )

    def forward(self, hidden: Tensor, x: Tensor) -> Tensor:
        both = torch.cat([hidden, x], 1)
        update, reset = self.convz(both).sigmoid(), self.convr(both).sigmoid()
        candidate = self.convq(torch.cat([reset * hidden, x], 1)).tanh()
        return torch.lerp(hidden, candidate, update)


class _FlowHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(HIDDEN, 128, 3, padding=1), nn.Conv2d(128, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x).relu())


class _UpdateBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.motion_encoder = _MotionEncoder()
        self.recurrent_block = nn.ModuleDict({"convgru1": _GatedUnit(MOTION + CONTEXT)})
        self.flow_head = _FlowHead()

    def forward(
        self, hidden: Tensor, context: Tensor, correlations: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        motion = self.motion_encoder(flow, correlations)
        hidden = self.recurrent_block["convgru1"](hidden, torch.cat([context, motion], 1))
        return hidden, self.flow_head(hidden)


class RaftSmall(nn.Module):
    """Flow from pictures to their successors."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_encoder = _Encoder(128, norm=True)
        self.context_encoder = _Encoder(HIDDEN + CONTEXT, norm=False)
        self.update_block = _UpdateBlock()

    def forward(self, before: Tensor, after: Tensor, updates: int = UPDATES) -> Tensor:
        """Flow (n, 2, h, w) in pixels, (x, y).

        Args:
            before: (n, 3, h, w) in [-1, 1], sides multiples of `STRIDE` of at least `LEAST_SIDE`.
            after: Likewise.
            updates: Steps of refinement.

        Raises:
            InvalidInputError: Shapes that differ, or sides that do not fit.
        """
        h, w = before.shape[2:]
        if before.shape != after.shape or h % STRIDE or w % STRIDE or min(h, w) < LEAST_SIDE:
            raise InvalidInputError(
                f"no flow from {tuple(before.shape)} to {tuple(after.shape)}: both must be (n, 3, h, w) with sides "
                f"that are multiples of {STRIDE} and at least {LEAST_SIDE}"
            )
        features = self.feature_encoder(torch.cat([before, after]))
        pyramid = correlation_pyramid(*features.chunk(2))
        hidden, context = self.context_encoder(before).split([HIDDEN, CONTEXT], 1)
        hidden, context = hidden.tanh(), context.relu()
        start = _positions(h // STRIDE, w // STRIDE).to(before)
        at = start.expand(len(before), -1, -1, -1)
        for _ in range(updates):
            hidden, change = self.update_block(hidden, context, look_up(pyramid, at), at - start)
            at = at + change
        return STRIDE * F.interpolate(at - start, size=(h, w), mode="bilinear", align_corners=True)


def correlation_pyramid(before: Tensor, after: Tensor) -> list[Tensor]:
    """Products of all features with all others, and their means over ever larger squares (section 3.2).

    Args:
        before: (n, c, h, w).
        after: Likewise.

    Returns:
        `LEVELS` tensors (n h w, 1, h / 2^level, w / 2^level).
    """
    n, c, h, w = before.shape
    products = torch.einsum("nca,ncb->nab", before.flatten(2), after.flatten(2)) / math.sqrt(c)
    levels = [products.reshape(n * h * w, 1, h, w)]
    while len(levels) < LEVELS:
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def look_up(pyramid: list[Tensor], at: Tensor) -> Tensor:
    """Correlations around places: (n, LEVELS (2 RADIUS + 1)^2, h, w), x outermost within a level.

    Args:
        pyramid: See `correlation_pyramid`.
        at: (n, 2, h, w), where each feature is thought to have gone, (x, y) in features.
    """
    n, _, h, w = at.shape
    reach = torch.arange(-RADIUS, RADIUS + 1, dtype=at.dtype, device=at.device)
    around = torch.stack(torch.meshgrid(reach, reach, indexing="ij"), -1)
    centres = at.permute(0, 2, 3, 1).reshape(n * h * w, 1, 1, 2)
    found = []
    for level, products in enumerate(pyramid):
        size = at.new_tensor([products.shape[3] - 1, products.shape[2] - 1])
        places = (centres / 2**level + around) * 2 / size - 1
        found.append(F.grid_sample(products, places, align_corners=True).reshape(n, h, w, -1))
    return torch.cat(found, -1).permute(0, 3, 1, 2)


def _positions(h: int, w: int) -> Tensor:
    """(1, 2, h, w): the place of every feature, (x, y)."""
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return torch.stack([x, y])[None].float()


class RaftFlow:
    """Optical flow of clips by RAFT-small.

    Clips are enlarged to sides that are multiples of `STRIDE` and at least `LEAST_SIDE`, and the flow is brought back.

    Args:
        checkpoint: torchvision's file; read with `weights_only=True`.
        device: Where it runs.

    Raises:
        CheckpointError: The file is missing or something else.
    """

    name = "RAFT-small"

    def __init__(self, checkpoint: str | Path, device: str | torch.device = "cpu") -> None:
        state = tensors_only(read_checkpoint(checkpoint, "RAFT"), "RAFT")
        self._model = RaftSmall().eval()
        fill(self._model, state, f"{checkpoint}, read as torchvision's RAFT", copy=True)
        self.digest = weights_digest(self._model)
        self._model.to(device)
        self._device = torch.device(device)

    @torch.no_grad()
    def __call__(self, frames: Tensor) -> Tensor:
        """Flow between consecutive frames (f, 3, h, w) in [0, 1]: (f - 1, 2, h, w) in pixels, (x, y)."""
        h, w = frames.shape[2:]
        scale = max(1.0, LEAST_SIDE / min(h, w))
        height, width = (math.ceil(side * scale / STRIDE) * STRIDE for side in (h, w))
        large = F.interpolate(frames.float(), (height, width), mode="bilinear", align_corners=False)
        pixels = (large * 2 - 1).to(self._device)
        flows = [self._model(a[None], b[None]) for a, b in zip(pixels, pixels[1:], strict=False)]
        flow = F.interpolate(torch.cat(flows).cpu(), (h, w), mode="bilinear", align_corners=False)
        return flow * flow.new_tensor([w / width, h / height])[:, None, None]
