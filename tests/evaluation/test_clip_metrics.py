from __future__ import annotations

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.clip_metrics import (
    AppearanceMetric,
    ClipMetric,
    SimilarityMetric,
    TemporalMetric,
    fitted,
    some_frames,
)
from stylecrafter.evaluation.metrics.flow import optical_flow
from stylecrafter.evaluation.metrics.info import MeasuredClip, metric_info

DINO_STYLE = metric_info("dino_style", "a test")


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def clip(frames: torch.Tensor, references: tuple[int, ...] = (0,), prompt: str = "a fox") -> MeasuredClip:
    return MeasuredClip(0, "0000", prompt, frames, references)


class MeanColour:
    """An encoder whose space is known: the mean colour, of length 1."""

    name = "mean colour"

    def __init__(self, digest: str = "1") -> None:
        self.seen, self.digest = 0, digest

    def pictures(self, pictures: torch.Tensor) -> torch.Tensor:
        self.seen += len(pictures)
        return torch.nn.functional.normalize(pictures.mean((2, 3)), dim=1)

    def texts(self, texts: list[str]) -> torch.Tensor:
        return torch.nn.functional.normalize(
            torch.tensor([[float("red" in t), 1.0, 0.0] for t in texts]), dim=1
        )


@pytest.fixture
def pictures() -> list[torch.Tensor]:
    dark, light = noise(0, 3, 80, 64) * 0.4, 1 - noise(1, 3, 64, 64) * 0.4
    return [dark, light]


def test_a_copy_of_the_reference_is_nearest_to_it_and_exposed_by_copying(
    pictures: list[torch.Tensor],
) -> None:
    measure = AppearanceMetric(pictures)
    scores = measure(clip(fitted(pictures, 64, 64)[:1].repeat(5, 1, 1, 1)))
    assert scores["style_found"] == scores["palette_nearer"] == 1.0
    assert scores["copying"] == pytest.approx(1.0, abs=1e-3)
    assert scores["texture_distance"] == pytest.approx(0.0, abs=1e-3)
    assert scores["palette_distance"] == pytest.approx(0.0, abs=0.5)
    other = measure(clip(fitted(pictures, 64, 64)[1:].repeat(5, 1, 1, 1)))
    assert other["style_found"] == other["palette_nearer"] == 0.0
    assert other["copying"] is not None and other["copying"] < 0.5
    assert set(scores) == {info.name for info in measure.infos}


def test_the_nearest_of_several_own_references_counts(pictures: list[torch.Tensor]) -> None:
    third = noise(5, 3, 64, 64) * torch.tensor([1.0, 0.1, 0.1])[:, None, None]
    measure = AppearanceMetric([*pictures, third])
    copy_of_second = fitted(pictures, 64, 64)[1:].repeat(3, 1, 1, 1)
    scores = measure(clip(copy_of_second, (0, 1)))
    assert scores["style_found"] == 1.0
    assert scores["copying"] == pytest.approx(1.0, abs=1e-3)


def test_what_cannot_be_said_is_none(pictures: list[torch.Tensor]) -> None:
    small = AppearanceMetric(pictures)(clip(noise(2, 3, 3, 12, 12)))
    assert small["texture_distance"] is None and small["style_found"] is None
    assert small["palette_distance"] is not None and small["copying"] is not None
    alone = AppearanceMetric(pictures[:1])(clip(noise(2, 3, 3, 64, 64)))
    assert alone["style_found"] is None and alone["palette_nearer"] is None
    assert alone["texture_distance"] is not None
    with pytest.raises(InvalidInputError, match="without style pictures"):
        AppearanceMetric([])


def test_a_still_clip_has_no_dynamics_and_a_picture_no_time() -> None:
    measure = TemporalMetric()
    still = measure(clip(noise(3, 1, 3, 32, 32).repeat(4, 1, 1, 1)))
    assert still == {"dynamics": 0.0, "flicker": None, "warping_error": None}
    assert measure(clip(noise(3, 1, 3, 32, 32))) == dict.fromkeys(still)


def test_similarity_by_hand() -> None:
    red, green = torch.zeros(3, 8, 8), torch.zeros(3, 8, 8)
    red[0], green[1] = 1, 1
    measure = SimilarityMetric(DINO_STYLE, MeanColour(), [red, green])
    assert measure(clip(red[None].repeat(6, 1, 1, 1)))["dino_style"] == pytest.approx(1.0)
    assert measure(clip(red[None], (1,)))["dino_style"] == pytest.approx(0.0)
    assert measure(clip(red[None], (0, 1)))["dino_style"] == pytest.approx(0.5)  # the mean over both
    yellow = (red + green)[None]
    assert measure(clip(yellow))["dino_style"] == pytest.approx(0.5**0.5)


def test_clip_scores_by_hand() -> None:
    red, green = torch.zeros(3, 8, 8), torch.zeros(3, 8, 8)
    red[0], green[1] = 1, 1
    encoder = MeanColour()
    measure = ClipMetric(encoder, [red], ["a red fox", "a fox"])  # type: ignore[arg-type]
    before = encoder.seen
    scores = measure(clip(torch.stack([red, green, green]), prompt="a fox"))
    assert encoder.seen - before == 3  # every frame counts, as published
    assert scores == {
        "clip_text": pytest.approx(2 / 3),
        "clip_style": pytest.approx(1 / 3),
        "clip_temporal": pytest.approx(0.5),
    }
    assert measure(clip(red[None], prompt="a red fox"))["clip_text"] == pytest.approx(0.5**0.5)


def test_keys_tell_pictures_apart(pictures: list[torch.Tensor]) -> None:
    assert AppearanceMetric(pictures).key == AppearanceMetric(list(pictures)).key
    assert AppearanceMetric(pictures).key != AppearanceMetric(pictures[::-1]).key
    first, other = (SimilarityMetric(DINO_STYLE, MeanColour(), p).key for p in (pictures, pictures[:1]))
    assert first != other


def test_keys_tell_weights_apart(pictures: list[torch.Tensor]) -> None:
    keys = [SimilarityMetric(DINO_STYLE, MeanColour(digest), pictures).key for digest in "12"]
    asked = [ClipMetric(MeanColour(digest), pictures, ["a fox"]).key for digest in "12"]  # type: ignore[arg-type]
    flows = [TemporalMetric(optical_flow, "RAFT-small", digest).key for digest in "12"]
    assert all(one != other for one, other in (keys, asked, flows))


def test_references_are_as_large_as_frames_where_size_is_seen() -> None:
    class Size(MeanColour):
        """Sees how large a picture is, and nothing else."""

        def pictures(self, pictures: torch.Tensor) -> torch.Tensor:
            angle = torch.tensor(float(pictures.shape[-1]) / 100)
            return torch.stack([angle.cos(), angle.sin()]).expand(len(pictures), 2)

    large, small = noise(0, 3, 96, 96), clip(noise(1, 2, 3, 32, 32))
    assert SimilarityMetric(DINO_STYLE, Size(), [large])(small)["dino_style"] < 0.9  # type: ignore[operator]
    fitting = SimilarityMetric(DINO_STYLE, Size(), [large], as_large_as_frames=True)
    assert fitting(small)["dino_style"] == pytest.approx(1)
    assert fitting(clip(noise(1, 2, 3, 48, 48)))["dino_style"] == pytest.approx(1)
    assert fitting.key != SimilarityMetric(DINO_STYLE, Size(), [large]).key


def test_frames_are_spread_evenly() -> None:
    frames = torch.arange(16.0)[:, None, None, None].expand(16, 3, 2, 2)
    assert some_frames(frames)[:, 0, 0, 0].tolist() == [0, 5, 10, 15]
    assert len(some_frames(frames[:2])) == 2
