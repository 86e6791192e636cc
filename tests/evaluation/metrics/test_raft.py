from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.evaluation.metrics.raft import LEAST_SIDE, STRIDE, RaftFlow, RaftSmall
from tests.golden import regenerate

EXPECTED = Path(__file__).parents[2] / "data" / "raft_small_flow.safetensors"


def weights() -> dict[str, torch.Tensor]:
    """Values for every published name, by the rule of `tests.golden.regenerate`."""
    shapes = {name: tuple(value.shape) for name, value in RaftSmall().state_dict().items()}
    values = regenerate.weights(shapes, "raft_small.")
    return {name: torch.from_numpy(value) for name, value in values.items()}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raft") / "raft_small.pth"
    torch.save(weights(), path)
    return path


@torch.no_grad()
def test_it_computes_what_the_published_one_does() -> None:
    """Against torchvision's raft_small with the same weights, every eighth pixel of the flow."""
    model = RaftSmall().eval()
    model.load_state_dict(weights(), strict=True)
    assert sum(value.numel() for value in model.parameters()) == 990_162
    picture = torch.from_numpy(regenerate.picture(136, 128)).permute(2, 0, 1)[None].float() / 255 * 2 - 1
    flow = model(picture, picture.roll((3, -2), (2, 3)) * 0.9)
    expected = load_file(EXPECTED)["flow"]
    assert (flow[0, :, ::8, ::8] - expected).norm() <= 1e-4 * expected.norm()


@pytest.mark.parametrize("size", [(32, 48), (130, 200)])
def test_clips_of_any_size_have_a_flow_in_their_own_pixels(checkpoint: Path, size: tuple[int, int]) -> None:
    frames = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0))
    flow = RaftFlow(checkpoint)(frames)
    assert flow.shape == (2, 2, *size) and flow.isfinite().all()
    # A batch is a loop of ones.
    torch.testing.assert_close(RaftFlow(checkpoint)(frames[1:]), flow[1:])


def test_what_is_enlarged_is_brought_back(checkpoint: Path) -> None:
    """A small clip has the flow of its enlargement, in its own, smaller pixels."""
    frames = torch.rand(2, 3, LEAST_SIDE // 2, LEAST_SIDE // 2, generator=torch.Generator().manual_seed(1))
    large = torch.nn.functional.interpolate(frames, (LEAST_SIDE, LEAST_SIDE), mode="bilinear")
    small, twice = (RaftFlow(checkpoint)(clip).mean((2, 3)) for clip in (frames, large))
    torch.testing.assert_close(small, twice / 2, rtol=1e-3, atol=1e-3)


def test_other_files_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    lacking, foreign = weights(), weights()
    lacking.pop("context_encoder.conv.bias")
    foreign["mask_predictor.conv.weight"] = torch.zeros(1)
    for state, says in (
        (lacking, r"context_encoder\.conv\.bias.* missing"),
        (foreign, "mask_predictor.* unknown"),
    ):
        torch.save(state, tmp_path / "other.pth")
        with pytest.raises(CheckpointError, match=says):
            RaftFlow(tmp_path / "other.pth")
    torch.save({key: value * float("nan") for key, value in weights().items()}, tmp_path / "nan.pth")
    with pytest.raises(CheckpointError, match=r"RAFT: \d+ tensors .* not finite"):
        RaftFlow(tmp_path / "nan.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(CheckpointError):
        RaftFlow(tmp_path / "text.pth")
    with pytest.raises(CheckpointError):
        RaftFlow(tmp_path / "gone.pth")


def test_sides_that_do_not_fit_are_refused() -> None:
    model = RaftSmall()
    for size in ((LEAST_SIDE, LEAST_SIDE + 1), (LEAST_SIDE - STRIDE, LEAST_SIDE)):
        with pytest.raises(InvalidInputError, match="multiples of 8"):
            model(torch.zeros(1, 3, *size), torch.zeros(1, 3, *size))
