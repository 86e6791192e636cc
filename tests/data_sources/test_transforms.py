from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from stylecrafter.data.transforms import References, reference_picture, target_picture
from stylecrafter.errors import InvalidInputError
from stylecrafter.media.tensors import to_tensor
from stylecrafter.references.crops import corner_crops, middle_of_strip, style_crop


def ramp(width: int, height: int) -> Image.Image:
    """Red grows with x, green with y, over 0 … 255."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 0 * x], -1).astype(np.uint8))


def middle(values: torch.Tensor) -> float:
    return float(values[..., values.shape[-2] // 2, values.shape[-1] // 2])


@pytest.mark.parametrize("size", [(90, 30), (30, 90), (7, 300), (32, 32), (900, 600), (1, 1)])
@pytest.mark.parametrize("shape", [(32, 32), (20, 32), (33, 17)])
def test_target_has_its_size_and_its_middle(size: tuple[int, int], shape: tuple[int, int]) -> None:
    target = target_picture(ramp(*size), *shape)
    assert target.size == (shape[1], shape[0])
    if min(size) > 20:
        assert abs(middle(to_tensor(target)[0]) - 0.5) < 0.06


def test_target_keeps_all_of_the_short_side_and_the_shape() -> None:
    target = to_tensor(target_picture(ramp(400, 100), 50, 50))
    assert target[1].min() < 0.03 and target[1].max() > 0.97
    assert target[0].max() - target[0].min() == pytest.approx(0.25, abs=0.02)


def test_resizing_is_antialiased() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    small = to_tensor(target_picture(Image.fromarray(stripes), 32, 32))
    assert small.std() < 0.02 and abs(small.mean() - 0.5) < 0.02


def test_style_crop_is_as_large_as_published() -> None:
    generator = torch.Generator().manual_seed(0)
    spans, lefts = [], []
    for _ in range(40):
        crop = to_tensor(style_crop(ramp(600, 400), 64, generator))
        assert crop.shape == (3, 64, 64)
        spans.append(float(crop[1].max() - crop[1].min()))
        lefts.append(float(crop[0].min()))
    # 512 of 800: 64 % of the short side, anywhere.
    assert np.mean(spans) == pytest.approx(0.64, abs=0.02)
    assert min(lefts) < 0.1 and max(lefts) > 0.45


def test_style_crop_depends_on_the_generator_alone() -> None:
    one, two = (style_crop(ramp(90, 70), 32, torch.Generator().manual_seed(5)) for _ in range(2))
    assert one.tobytes() == two.tobytes()
    state = torch.Generator().manual_seed(5)
    style_crop(ramp(500, 70), 32, state)
    other = torch.Generator().manual_seed(5)
    style_crop(ramp(33, 70), 32, other)
    assert torch.equal(state.get_state(), other.get_state())


@pytest.mark.parametrize("size", [(600, 400), (400, 600), (70, 70)])
def test_corner_crops_are_the_outermost_style_crops(size: tuple[int, int]) -> None:
    short = min(size)
    across, down = (64 / 100 * short / side for side in size)  # 512 of 800 of the short side
    spans = [(0, across), (1 - across, 1)], [(0, down), (1 - down, 1)]
    crops = corner_crops(ramp(*size), 64)
    assert len(crops) == 4
    for crop, (x, y) in zip(crops, [(x, y) for y in spans[1] for x in spans[0]], strict=True):
        pixels = to_tensor(crop)
        assert pixels.shape == (3, 64, 64)
        for channel, (low, high) in zip(pixels, (x, y), strict=False):
            assert float(channel.min()) == pytest.approx(low, abs=0.02)
            assert float(channel.max()) == pytest.approx(high, abs=0.02)


def test_whole_reference_shows_the_target() -> None:
    picture, generator = ramp(90, 70), torch.Generator()
    whole = reference_picture(picture, 32, References.WHOLE, generator)
    assert whole.tobytes() == target_picture(picture, 32, 32).tobytes()
    with pytest.raises(InvalidInputError):
        reference_picture(picture, 32, References.NONE, generator)


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (2, 3_000)])
def test_strips_are_cut_before_they_are_enlarged(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    resize = Image.Image.resize

    def recorded(image: Image.Image, target: tuple[int, int], *more: object) -> Image.Image:
        made.append(target[0] * target[1])
        return resize(image, target, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "resize", recorded)
    strip = Image.new("RGB", size, "red")
    for picture in (
        target_picture(strip, 32, 48),
        style_crop(strip, 32, torch.Generator().manual_seed(0)),
        *corner_crops(strip, 32),
    ):
        assert picture.getpixel((16, 16)) == (255, 0, 0)
    assert max(made) <= 64 * 50**2


def test_panoramas_are_not_cut() -> None:
    wide = Image.new("RGB", (640, 10))
    assert middle_of_strip(wide) is wide
    assert middle_of_strip(Image.new("RGB", (650, 10))).size == (640, 10)
