"""What a pipeline uses where a call says nothing."""

from __future__ import annotations

import inspect

import pytest

from stylecrafter import StyleCrafterPipeline
from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.fitting import MOST, check_defaults


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (MOST + 1, str(MOST + 1)), (10**40, "very many"), (True, "True"), ("8", "'8'")],
)
def test_a_default_that_is_no_count_is_shown(value: object, shown: str) -> None:
    check_defaults({"default_frames": MOST}, {})
    with pytest.raises(InvalidInputError, match=f"default_frames must be a whole number .* got {shown}$"):
        check_defaults({"default_frames": value}, {})


def test_without_numbers_of_its_own_a_model_is_the_published_one() -> None:
    parameters = inspect.signature(StyleCrafterPipeline.__init__).parameters.values()
    numbers = {p.name: p.default for p in parameters if isinstance(p.default, (bool, int, float))}
    assert numbers == {
        "reference_size": 512,
        "image_tokens_half": False,
        "default_steps": 50,
        "default_eta": 1.0,
        "default_text_guidance": 16.0,
        "default_style_guidance": 8.5,
        "default_published_guidance": False,
        "default_guidance_stop": 1.0,
        "default_shared_noise": 0.0,
        "default_style_corners": False,
        "default_frames": 16,
        "default_height": 320,
        "default_width": 512,
        "default_fps": 10.0,
        "default_style_scale": 1.0,
        "force_zeros_for_empty_prompt": True,  # what diffusers' SDXL does
    }
