from __future__ import annotations

import pytest
from PIL import Image

from stylecrafter.errors import InvalidInputError
from stylecrafter.styleworld import splits
from stylecrafter.styleworld.sheets import contact_sheet, world_sheets


def test_pictures_lie_in_rows_with_captions_below() -> None:
    colours = ["red", "lime", "blue"]
    pictures = [Image.new("RGB", (40, 40), colour) for colour in colours]
    sheet = contact_sheet(pictures, ["one", "two", "three"], 2, 40)
    bare = contact_sheet(pictures, [], 2, 40)
    assert sheet.width == bare.width and sheet.height > bare.height + 20
    assert bare.getpixel((20, 20)) == (255, 0, 0) and bare.getpixel((68, 20)) == (0, 255, 0)
    assert bare.getpixel((20, 68)) == (0, 0, 255)
    below = sheet.crop((4, 46, 44, 60))
    assert min(below.convert("L").get_flattened_data()) < 100  # ink
    assert sheet.width % 2 == sheet.height % 2 == 0


def test_large_pictures_are_fitted_whole() -> None:
    sheet = contact_sheet([Image.new("RGB", (300, 100), "red")], [], 1, 60)
    column = [sheet.getpixel((34, y)) for y in range(4, 64)]
    assert column[0] == (255, 255, 255) and column[30] == (255, 0, 0)


def test_a_sheet_of_the_world_has_a_row_for_each_kind() -> None:
    (sheet,) = world_sheets(splits.SMALL, columns=2, size=32)
    (fewer,) = world_sheets(splits.SMALL, styles=["poster"], columns=2, size=32)
    assert sheet.height > 9 * (fewer.height - 4)
    assert fewer.tobytes() == world_sheets(splits.SMALL, styles=["poster"], columns=2, size=32)[0].tobytes()
    assert (
        fewer.tobytes()
        != world_sheets(splits.SMALL, styles=["poster"], columns=2, size=32, seed=1)[0].tobytes()
    )


def test_clips_move_or_become_strips() -> None:
    moving = world_sheets(splits.SMALL, styles=["poster"], columns=4, frames=3, size=32)
    assert len(moving) == 3 and moving[0].tobytes() != moving[2].tobytes()
    (strip,) = world_sheets(splits.SMALL, styles=["poster"], frames=3, size=32, strips=True)
    assert strip.width == 3 * 36 + 4


def test_refusals() -> None:
    with pytest.raises(InvalidInputError, match="0 pictures"):
        contact_sheet([], [], 2, 32)
    with pytest.raises(InvalidInputError, match="2 captions"):
        contact_sheet([Image.new("RGB", (9, 9))], ["a", "b"], 2, 32)
    with pytest.raises(InvalidInputError, match="0 columns"):
        world_sheets(splits.SMALL, columns=0)
