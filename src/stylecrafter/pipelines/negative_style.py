"""A style to move away from: what the pass without prompt reads in place of no style.

Of the two passes without style it is this one alone. In equation 2 its weight is 1 - s_text, below zero with any
guidance, so that the result moves away from what it shows, with a style of its own or without. The pass with the prompt
has the weight s_text - s_style, which may have either sign or be 0: a negative style there would draw near, or do
nothing (docs/how-to/steering.md has the measurement).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.base import StylizedPipelineBase
from stylecrafter.pipelines.guided_noise import Guidance
from stylecrafter.pipelines.regional_style import GivenStyles, whole_style


def negative_style(
    pipe: StylizedPipelineBase, given: GivenStyles, text: Tensor, params: Any, guidance: Guidance
) -> tuple[Tensor | None, Tensor | None]:
    """Its tokens (prompts, q, d) and factors (prompts, L); None where there is none.

    Args:
        pipe: Reads pictures and predicts factors.
        given: The style, as a call brings it.
        text: States (prompts, l, d) of the negative prompts, which the same pass reads.
        params: Filled `SamplingParams`.
        guidance: Of the call.

    Raises:
        InvalidInputError: Pictures and tokens, or a call whose guidance has no such pass.
    """
    if given.pictures is not None and given.tokens is not None:
        raise InvalidInputError("give either negative_style_images or negative_style_tokens")
    style = whole_style(pipe, given, text, params.style_corners)
    if style is None or params.negative_style_scale == 0.0:
        return None, None
    if guidance.text_scale == 1.0:
        raise InvalidInputError(
            "a negative style acts through the guidance by text, which is off at text_guidance_scale "
            f"{params.text_guidance:g}"
        )
    return style, pipe.predict_scales(style, text) * params.negative_style_scale
